//! What a request is called on its way, for whoever follows it through logs and traces: `X-Request-Id`,
//! `X-Request-Start` and, where the client brings none, `traceparent`.
//!
//! Made for each request, so nothing here locks, allocates or counts references. A trusted proxy has seen the request
//! before: its id and its time stay.
//!
//! <https://www.w3.org/TR/trace-context/>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::rules::{Client, Rules};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
pub(super) const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a trusted proxy's id, which goes into logs.
const ID_MAX: usize = 200;
/// Hexadecimal digits of an id that is made, which is also that of a trace.
const ID_DIGITS: usize = 32;
const SPAN_DIGITS: usize = 16;
/// Version, trace, span, flags.
const TRACE_DIGITS: usize = 55;
/// `t=`, the seconds until the year 2286, a point, and milliseconds.
const START_DIGITS: usize = 16;

/// The names of one request.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    made: Made,
    /// What a trusted proxy calls it.
    id: Option<HeaderValue>,
    /// When a trusted proxy met it.
    start: Option<HeaderValue>,
}

#[derive(Debug, Clone)]
struct Made {
    trace: [u8; TRACE_DIGITS],
    start: [u8; START_DIGITS],
}

impl Marks {
    /// For a request whose head is there now.
    pub(super) fn new(client: &Client, rules: &Rules, headers: &HeaderMap) -> Marks {
        Marks::at(client.clock.date(), headers, rules.trusts(client.ip()))
    }

    pub(super) fn at(now: SystemTime, headers: &HeaderMap, trusted: bool) -> Marks {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let made = Made::new(fastrand::u128(1..), fastrand::u64(1..), now);
        let said = |name| only(headers, &name).filter(|value| is_word(value)).cloned();
        let (id, start) = if trusted { (said(REQUEST_ID), said(REQUEST_START)) } else { (None, None) };
        Marks { made, id, start }
    }

    /// `X-Request-Id`.
    pub(super) fn id(&self) -> &[u8] {
        let made = || &self.made.trace[TRACE_AT..][..ID_DIGITS];
        self.id.as_ref().map_or_else(made, HeaderValue::as_bytes)
    }

    /// `X-Request-Start`: when the request met the first proxy, as nginx's users write it.
    pub(super) fn start(&self) -> &[u8] {
        self.start.as_ref().map_or(&self.made.start, HeaderValue::as_bytes)
    }

    /// `traceparent` of a trace that begins here.
    pub(super) fn trace(&self) -> &[u8] {
        &self.made.trace
    }
}

/// Where the id of a trace stands, and that of its span.
const TRACE_AT: usize = 3;
const SPAN_AT: usize = TRACE_AT + ID_DIGITS + 1;

impl Made {
    fn new(id: u128, span: u64, now: Duration) -> Made {
        // Sampled: applications follow the one who begins, and would record nothing at all otherwise.
        let mut trace = *b"00-00000000000000000000000000000000-0000000000000000-01";
        hexadecimal(&id.to_be_bytes(), &mut trace[TRACE_AT..][..ID_DIGITS]);
        hexadecimal(&span.to_be_bytes(), &mut trace[SPAN_AT..][..SPAN_DIGITS]);
        let mut start = *b"t=0000000000.000";
        decimal(now.as_secs(), &mut start[2..12]);
        decimal(now.subsec_millis().into(), &mut start[13..]);
        Made { trace, start }
    }
}

fn hexadecimal(bytes: &[u8], text: &mut [u8]) {
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
}

/// The two hexadecimal digits of each byte.
static PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// As many of the last digits as there is room for.
fn decimal(mut number: u64, text: &mut [u8]) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
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
        let made = Made::new(0x0123_4567_89ab_cdef, 0xfe, Duration::from_millis(1_764_060_000_007));
        let marks = Marks { made, id: None, start: None };
        assert_eq!(marks.id(), b"00000000000000000123456789abcdef");
        assert_eq!(marks.trace(), b"00-00000000000000000123456789abcdef-00000000000000fe-01");
        assert_eq!(marks.start(), b"t=1764060000.007");
        assert!(is_trace_parent(marks.trace()));
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| Marks::at(SystemTime::now(), &HeaderMap::new(), false).id().to_vec()).collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn only_a_trusted_proxy_names_a_request() {
        let said = map(&[(REQUEST_ID, "abc-1"), (REQUEST_START, "t=1")]);
        let marks = Marks::at(SystemTime::now(), &said, true);
        assert_eq!((marks.id(), marks.start()), (&b"abc-1"[..], &b"t=1"[..]));
        let marks = Marks::at(SystemTime::now(), &said, false);
        assert!(marks.id() != b"abc-1" && marks.start() != b"t=1");
        for bad in ["", "a b", "a\tb"] {
            assert_ne!(
                Marks::at(SystemTime::now(), &map(&[(REQUEST_ID, bad)]), true).id(),
                bad.as_bytes(),
                "{bad}"
            );
        }
        let twice = map(&[(REQUEST_ID, "a"), (REQUEST_ID, "b")]);
        assert_eq!(Marks::at(SystemTime::now(), &twice, true).id().len(), ID_DIGITS);
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
