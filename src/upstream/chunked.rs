//! Takes the chunks off an answer's body (RFC 9112 §7.1); bytes in, pieces out.
//!
//! Strict where two readers could differ about where a body ends: lines end with CRLF, a size has one to sixteen
//! digits, and nothing is longer than its bound.

use bytes::{Buf, Bytes, BytesMut};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// Bytes of all extensions of one body.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the trailer section.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Fields of the trailer section.
const TRAILER_FIELDS_MAX: usize = 100;
/// Digits of a chunk's size: all that 64 bits need, so that no size wraps.
const SIZE_DIGITS_MAX: usize = 16;

/// The place in a chunked body that has been reached.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    place: Place,
    extension_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the line that announces a chunk.
    #[default]
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// At the line end behind a chunk's data.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
    End,
}

/// What stands next in a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    /// The last piece.
    Trailers(HeaderMap),
    End,
}

impl Chunked {
    /// The next piece of what has arrived, which is taken out of it; `None` if more has to arrive first.
    pub(super) fn next(&mut self, arrived: &mut BytesMut) -> Result<Option<Piece>, &'static str> {
        loop {
            if let Place::Data(left) = self.place {
                if arrived.is_empty() {
                    return Ok(None);
                }
                let count = usize::try_from(left).map_or(arrived.len(), |left| left.min(arrived.len()));
                let data = arrived.split_to(count).freeze();
                let left = left - count as u64;
                self.place = if left == 0 { Place::DataEnd } else { Place::Data(left) };
                return Ok(Some(Piece::Data(data)));
            }
            if self.place == Place::Trailers && !arrived.starts_with(b"\r\n") {
                return self.trailers(arrived);
            }
            if !self.step(arrived)? {
                return Ok(None);
            }
            if self.place == Place::End {
                return Ok(Some(Piece::End));
            }
        }
    }

    /// Whether the end has arrived behind what was taken, so that nothing needs to be waited for. Takes it then.
    pub(super) fn ends_here(&mut self, arrived: &mut BytesMut) -> Result<bool, &'static str> {
        while !matches!(self.place, Place::Data(_) | Place::End) && self.step(arrived)? {}
        Ok(self.place == Place::End)
    }

    /// Past one line; false if it isn't whole, or is a trailer.
    fn step(&mut self, arrived: &mut BytesMut) -> Result<bool, &'static str> {
        match self.place {
            Place::Size => return self.size_line(arrived),
            Place::DataEnd | Place::Trailers => match arrived.first_chunk::<2>() {
                Some(b"\r\n") => arrived.advance(2),
                Some(_) if self.place == Place::DataEnd => return Err("chunk longer than its size"),
                _ => return Ok(false),
            },
            Place::Data(_) | Place::End => return Ok(false),
        }
        self.place = if self.place == Place::DataEnd { Place::Size } else { Place::End };
        Ok(true)
    }

    fn size_line(&mut self, arrived: &mut BytesMut) -> Result<bool, &'static str> {
        let Some(end) = memchr::memchr(b'\n', arrived) else {
            let longest = SIZE_DIGITS_MAX + EXTENSION_BYTES_MAX + 1;
            return if arrived.len() > longest { Err("chunk size line too long") } else { Ok(false) };
        };
        let line = arrived[..end].strip_suffix(b"\r").ok_or("bare line feed in chunked body")?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let rest = &line[digits..];
        // Blanks between size and extension are bad, and common (RFC 9112 §7.1.1).
        if !matches!(rest.trim_ascii_start(), [] | [b';', ..]) || !(1..=SIZE_DIGITS_MAX).contains(&digits) {
            return Err("bad chunk size");
        }
        self.extension_bytes += rest.len();
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err("chunk extensions too long");
        }
        let digits = std::str::from_utf8(&line[..digits]).map_err(|_| "bad chunk size")?;
        let size = u64::from_str_radix(digits, 16).map_err(|_| "bad chunk size")?;
        arrived.advance(end + 1);
        self.place = if size == 0 { Place::Trailers } else { Place::Data(size) };
        Ok(true)
    }

    fn trailers(&mut self, arrived: &mut BytesMut) -> Result<Option<Piece>, &'static str> {
        let mut fields = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
        let (length, map) = match httparse::parse_headers(arrived, &mut fields) {
            Err(_) => return Err("bad trailers"),
            Ok(httparse::Status::Partial) if arrived.len() > TRAILER_BYTES_MAX => {
                return Err("trailers too long");
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Ok(httparse::Status::Complete((length, fields))) => (length, map(fields)?),
        };
        arrived.advance(length);
        self.place = Place::End;
        Ok(Some(Piece::Trailers(map)))
    }
}

fn map(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, &'static str> {
    let field = |field: &httparse::Header<'_>| {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(field.value).ok()?))
    };
    fields.iter().map(field).collect::<Option<HeaderMap>>().ok_or("bad trailers")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a body gives when its bytes arrive in pieces of this size.
    fn decode(body: &[u8], step: usize) -> Result<(Vec<u8>, Option<HeaderMap>, bool), &'static str> {
        let (mut chunked, mut arrived) = (Chunked::default(), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), None);
        for piece in body.chunks(step) {
            arrived.extend_from_slice(piece);
            while let Some(piece) = chunked.next(&mut arrived)? {
                match piece {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Trailers(map) => trailers = Some(map),
                    Piece::End => return Ok((data, trailers, true)),
                }
                if trailers.is_some() {
                    return Ok((data, trailers, true));
                }
            }
        }
        Ok((data, trailers, false))
    }

    #[test]
    fn a_body_is_the_same_however_it_arrives() {
        let body = b"4\r\nWiki\r\n6 ; a=b\r\npedia \r\nE;x\r\nin \r\n\r\nchunks.\r\n0\r\n\r\n";
        for step in 1..=body.len() {
            let whole = Ok((b"Wikipedia in \r\n\r\nchunks.".to_vec(), None, true));
            assert_eq!(decode(body, step), whole, "{step}");
        }
        let body = b"1\r\na\r\n0\r\nSum: 1\r\nx-y: z\r\n\r\n";
        for step in 1..=body.len() {
            let (data, trailers, ended) = decode(body, step).unwrap();
            assert_eq!((data.as_slice(), ended), (&b"a"[..], true), "{step}");
            assert_eq!(trailers.unwrap()["sum"], "1");
        }
    }

    #[test]
    fn an_end_that_is_there_is_seen_at_once() {
        let (mut chunked, mut arrived) = (Chunked::default(), BytesMut::from("2\r\nhi\r\n0\r\n\r\n"));
        assert_eq!(chunked.next(&mut arrived), Ok(Some(Piece::Data("hi".into()))));
        assert_eq!(chunked.ends_here(&mut arrived), Ok(true));
        assert!(arrived.is_empty());
        let (mut chunked, mut arrived) = (Chunked::default(), BytesMut::from("2\r\nhi\r\n0\r\na: b\r\n\r\n"));
        assert!(matches!(chunked.next(&mut arrived), Ok(Some(Piece::Data(_)))));
        assert_eq!(chunked.ends_here(&mut arrived), Ok(false));
        assert!(matches!(chunked.next(&mut arrived), Ok(Some(Piece::Trailers(_)))));
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        let long = format!("1;{}\r\n", "x".repeat(EXTENSION_BYTES_MAX));
        let trailers = format!("0\r\na: {}", "x".repeat(TRAILER_BYTES_MAX));
        let bad = [
            "\r\n",
            "x\r\n",
            "1\na",
            "-1\r\na",
            "0x1\r\na",
            "11112222333344445\r\n",
            "1\r\nab\r\n",
            "1 a\r\nb",
            "1\r\na\nx",
            &long,
            &trailers,
            "0\r\n bad\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
        ];
        for body in bad {
            assert!(decode(body.as_bytes(), 7).is_err(), "{body:.40}");
        }
    }
}
