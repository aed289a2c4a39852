//! Takes the coding off a body that has to be read, or to go on in plain bytes.

use std::io::Read;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, HeaderMap};

/// Why a body stays coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecoded {
    /// Only one coding at once is taken off, and only one that is known.
    #[error("gzip, deflate, br and zstd can be taken off, and only one of them")]
    Unknown,
    /// It isn't what it says, or ends before its end.
    #[error("the body is not in this coding")]
    Broken,
    /// A small body may become one of any size.
    #[error("the body is too large without it")]
    TooLarge,
}

/// The body without the coding that `Content-Encoding` names (RFC 9110 section 8.4.1), which is struck out; of so many bytes
/// at most.
///
/// # Errors
/// It can't be taken off.
pub fn decode(headers: &mut HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, Undecoded> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| Undecoded::Unknown)?;
        let named = value.split(',').map(|coding| coding.trim().to_ascii_lowercase());
        codings.extend(named.filter(|coding| !coding.is_empty() && coding != "identity"));
    }
    // Answers to HEAD and those without a body have nothing to decode.
    let plain = match codings.as_slice() {
        [] => body,
        _ if body.is_empty() => body,
        [coding] => plain(coding, &body, limit)?.into(),
        _ => return Err(Undecoded::Unknown),
    };
    headers.remove(CONTENT_ENCODING);
    Ok(plain)
}

fn plain(coding: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, Undecoded> {
    match coding {
        "gzip" | "x-gzip" => take(flate2::read::MultiGzDecoder::new(body), limit),
        "deflate" => take(flate2::read::ZlibDecoder::new(body), limit),
        "br" => take(brotli::Decompressor::new(body, PIECE), limit),
        "zstd" => take(zstd::stream::read::Decoder::new(body).map_err(|_| Undecoded::Broken)?, limit),
        _ => Err(Undecoded::Unknown),
    }
}

const PIECE: usize = 4096;

fn take(decoder: impl Read, limit: usize) -> Result<Vec<u8>, Undecoded> {
    let mut plain = Vec::new();
    let bound = limit as u64;
    decoder.take(bound.saturating_add(1)).read_to_end(&mut plain).map_err(|_| Undecoded::Broken)?;
    if plain.len() as u64 > bound { Err(Undecoded::TooLarge) } else { Ok(plain) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use hyper::header::HeaderValue;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(coding: &'static str, body: Vec<u8>, limit: usize) -> Result<(Bytes, bool), Undecoded> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        let body = decode(&mut headers, body.into(), limit)?;
        Ok((body, headers.contains_key(CONTENT_ENCODING)))
    }

    #[test]
    fn one_coding_is_taken_off_and_no_longer_named() {
        let text = b"text ".repeat(100);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&text).unwrap();
        let mut br = Vec::new();
        brotli::CompressorWriter::new(&mut br, 4096, 1, 16).write_all(&text).unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        let codings = [
            ("GZIP, identity", gzip(&text)),
            ("deflate", zlib.finish().unwrap()),
            ("br", br),
            ("zstd", zstd),
        ];
        for (coding, body) in codings {
            assert_eq!(decoded(coding, body, text.len()), Ok((text.clone().into(), false)), "{coding}");
        }
        assert_eq!(decoded("identity", text.clone(), 0), Ok((text.into(), false)));
        assert_eq!(decoded("gzip", Vec::new(), 0), Ok((Bytes::new(), false)));
    }

    #[test]
    fn what_can_not_be_taken_off_or_becomes_too_large_is_said() {
        let coded = gzip(&[0; 1 << 20]);
        assert_eq!(decoded("gzip", coded.clone(), (1 << 20) - 1), Err(Undecoded::TooLarge));
        assert_eq!(decoded("gzip", coded[..coded.len() / 2].to_vec(), 1 << 20), Err(Undecoded::Broken));
        assert_eq!(decoded("br", b"plain".to_vec(), 100), Err(Undecoded::Broken));
        for coding in ["gzip, br", "compress", "x"] {
            assert_eq!(decoded(coding, coded.clone(), 1 << 20), Err(Undecoded::Unknown), "{coding}");
        }
    }
}
