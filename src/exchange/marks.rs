//! What a request is called on its way, for whoever follows it through logs and traces: `X-Request-Id`,
//! `X-Request-Start` and, where the client brings none, `traceparent`.
//!
//! Made for each request, so nothing here locks, asks the system or, but for one block in dozens of requests,
//! allocates. A trusted proxy has seen the request before: its id and its time stay.
//!
//! <https://www.w3.org/TR/trace-context/>

use std::cell::RefCell;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
pub(super) const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a trusted proxy's id, which goes into logs.
const ID_MAX: usize = 200;
/// Hexadecimal digits of an id that is made, which is also that of a trace.
const ID_DIGITS: usize = 32;
/// Version, trace, span, flags.
const TRACE_DIGITS: usize = 55;
/// Bytes from which the values of one request after the other are cut.
const BLOCK: usize = 4096;
/// Room for all values of one request.
const VALUES_MAX: usize = 160;

thread_local! {
    static INK: RefCell<BytesMut> = RefCell::default();
}

/// The names of one request.
#[derive(Clone)]
pub(super) struct Marks {
    /// `X-Request-Id`.
    pub(super) id: HeaderValue,
    /// `X-Request-Start`: when the request met the first proxy, as nginx's users write it.
    pub(super) start: HeaderValue,
    /// `traceparent` of a trace that begins here.
    pub(super) trace: HeaderValue,
}

impl Marks {
    /// For a request whose head is there now.
    pub(super) fn new(headers: &HeaderMap, trusted: bool) -> Marks {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let made = made(fastrand::u128(1..), fastrand::u64(1..), now);
        if !trusted {
            return made;
        }
        let said = |name| only(headers, &name).filter(|value| is_word(value)).cloned();
        Marks {
            id: said(REQUEST_ID).unwrap_or(made.id),
            start: said(REQUEST_START).unwrap_or(made.start),
            trace: made.trace,
        }
    }
}

/// The values that stand one behind the other in one piece of memory.
fn made(id: u128, span: u64, now: std::time::Duration) -> Marks {
    INK.with_borrow_mut(|ink| {
        if ink.capacity() < VALUES_MAX {
            *ink = BytesMut::with_capacity(BLOCK);
        }
        let id = hexadecimal(id);
        ink.extend_from_slice(&id);
        // Sampled: applications follow the one who begins, and would record nothing at all otherwise.
        for part in [&b"00-"[..], &id, b"-", &hexadecimal(span.into())[ID_DIGITS / 2..], b"-01"] {
            ink.extend_from_slice(part);
        }
        // Writing into memory can't fail.
        let _ = write!(Room(ink), "t={}.{:03}", now.as_secs(), now.subsec_millis());
        let all = ink.split().freeze();
        let trace_end = ID_DIGITS + TRACE_DIGITS;
        Marks {
            id: value(all.slice(..ID_DIGITS)),
            trace: value(all.slice(ID_DIGITS..trace_end)),
            start: value(all.slice(trace_end..)),
        }
    })
}

/// `BytesMut` as something to write to.
struct Room<'a>(&'a mut BytesMut);

impl std::io::Write for Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn value(bytes: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes).expect("digits, letters and `-`, `=`, `.`")
}

fn hexadecimal(number: u128) -> [u8; ID_DIGITS] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; ID_DIGITS];
    for (pair, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}

/// The value of a field that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether it can be written into a line of a log as it is.
fn is_word(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=ID_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// Whether a trace can be followed by this (W3C Trace Context §3.2.2): of a version to come the first four parts are
/// read, and something may stand behind them.
pub(super) fn is_trace_parent(bytes: &[u8]) -> bool {
    let (Some(known), rest) = (bytes.get(..TRACE_DIGITS), bytes.get(TRACE_DIGITS..).unwrap_or_default())
    else {
        return false;
    };
    let part = |from: usize, to: usize| known.get(from..to).unwrap_or_default();
    let digits = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    let (version, trace, span, flags) = (part(0, 2), part(3, 35), part(36, 52), part(53, 55));
    let dashes = [2, 35, 52].into_iter().all(|at| known.get(at) == Some(&b'-'));
    let goes_on = rest.is_empty() || version != b"00" && rest.starts_with(b"-");
    dashes
        && goes_on
        && version != b"ff"
        && [version, trace, span, flags].into_iter().all(digits)
        && some(trace)
        && some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_made_can_be_read_and_is_another_each_time() {
        let marks = made(0x0123_4567_89ab_cdef, 0xfe, std::time::Duration::from_millis(1_764_060_000_007));
        assert_eq!(marks.id, "00000000000000000123456789abcdef");
        assert_eq!(marks.trace, "00-00000000000000000123456789abcdef-00000000000000fe-01");
        assert_eq!(marks.start, "t=1764060000.007");
        assert!(is_trace_parent(marks.trace.as_bytes()));
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| Marks::new(&HeaderMap::new(), false).id).collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn only_a_trusted_proxy_names_a_request() {
        let said = map(&[(REQUEST_ID, "abc-1"), (REQUEST_START, "t=1")]);
        let marks = Marks::new(&said, true);
        assert_eq!((marks.id, marks.start), ("abc-1".parse().unwrap(), "t=1".parse().unwrap()));
        let marks = Marks::new(&said, false);
        assert!(marks.id != "abc-1" && marks.start != "t=1");
        for bad in ["", "a b", "a\tb"] {
            assert_ne!(Marks::new(&map(&[(REQUEST_ID, bad)]), true).id, bad, "{bad}");
        }
        let twice = map(&[(REQUEST_ID, "a"), (REQUEST_ID, "b")]);
        assert_eq!(Marks::new(&twice, true).id.len(), ID_DIGITS);
    }

    #[test]
    fn a_trace_is_followed_only_where_it_can_be() {
        let trace = |text: &'static str| is_trace_parent(text.as_bytes());
        for good in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later",
        ] {
            assert!(trace(good), "{good}");
        }
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        ] {
            assert!(!trace(bad), "{bad}");
        }
    }
}
