//! Which compressed copies of a file a client takes, the one that it likes best first (RFC 9110 §12.5.3); pure.

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};

/// A content coding that files are compressed in beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

/// The smallest copies first, which decides among codings that a client likes equally.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

impl Coding {
    /// What the name of the copy has behind that of the file.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    pub(super) fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

/// The codings that a client takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Accepted([Option<Coding>; CODINGS.len()]);

impl Accepted {
    pub(super) fn by(headers: &HeaderMap) -> Accepted {
        let mut weights = [None; CODINGS.len()];
        let mut others = None;
        for value in headers.get_all(ACCEPT_ENCODING) {
            for item in value.as_bytes().split(|byte| *byte == b',') {
                let (name, weight) = weighed(item);
                match CODINGS.iter().position(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes())) {
                    Some(index) => weights[index] = Some(weight),
                    None if name == b"*" => others = Some(weight),
                    None => {}
                }
            }
        }
        let mut liked: Vec<(u16, Coding)> = Vec::with_capacity(CODINGS.len());
        liked.extend(
            weights.iter().zip(CODINGS).filter_map(|(weight, coding)| Some((weight.or(others)?, coding))),
        );
        liked.retain(|(weight, _)| *weight > 0);
        liked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let mut accepted = Accepted::default();
        for (slot, (_, coding)) in accepted.0.iter_mut().zip(liked) {
            *slot = Some(coding);
        }
        accepted
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().flatten()
    }
}

/// A coding and its weight in thousandths; what isn't one counts as unwanted.
fn weighed(item: &[u8]) -> (&[u8], u16) {
    let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
    (name, weight.map_or(1000, thousandths))
}

/// `0`, `1`, `0.25` (RFC 9110 §12.4.2).
fn thousandths(weight: &[u8]) -> u16 {
    match weight {
        [b'1', ..] => 1000,
        [b'0', b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().zip([100, 10, 1]).map(|(digit, place)| u16::from(digit - b'0') * place).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &str) -> Vec<&'static str> {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]);
        Accepted::by(&headers).iter().map(Coding::name).collect()
    }

    #[test]
    fn the_client_s_weights_come_first_and_the_smallest_copy_among_equals() {
        let table: [(&str, &[&str]); 10] = [
            ("gzip, deflate, br, zstd", &["br", "zstd", "gzip"]),
            ("gzip;q=1.0, br;q=0.5", &["gzip", "br"]),
            ("GZIP", &["gzip"]),
            ("br;q=0, gzip", &["gzip"]),
            ("*", &["br", "zstd", "gzip"]),
            ("*;q=0.1, zstd", &["zstd", "br", "gzip"]),
            ("br;q=0, *", &["zstd", "gzip"]),
            ("identity", &[]),
            ("br; q=0.001", &["br"]),
            ("br;q=x, zstd;q=0.0001, gzip;q=0.000", &[]),
        ];
        for (value, expected) in table {
            assert_eq!(accepted(value), expected, "{value}");
        }
    }
}
