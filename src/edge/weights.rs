//! What a client would rather have: names with weights, as `Accept` and `Accept-Encoding` list them
//! (RFC 9110 §12.4.2).

use hyper::header::{HeaderMap, HeaderName};

/// Each name in its order, with its weight in thousandths; 1000 where it has none. Other parameters are passed over.
pub fn weights(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = (&[u8], u16)> {
    let lines = headers.get_all(field).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(|item| {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        (name, parts.find_map(weight).unwrap_or(1000))
    })
}

/// `q=0.5`; what is no weight counts as none.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let number: f32 = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some((number.clamp(0.0, 1.0) * 1000.0) as u16)
}
