//! Lines of the access log: NCSA combined byte for byte as nginx writes it, and JSON.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Version;
use serde::Serialize;

use super::{End, Exchange, HoldEnd, Subject};

/// `client - - [time] "request" status bytes "referer" "user agent"`.
pub(super) fn combined(subject: &Subject, status: u16, bytes: u64) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    // Writing into memory can't fail.
    let _ = write!(line, "{} - - [", subject.client);
    local_time(subject.began, &mut line);
    line.extend_from_slice(b"] \"");
    escaped(subject.method.as_str(), &mut line);
    line.push(b' ');
    escaped(&subject.target, &mut line);
    let _ = write!(line, " {}\" {status:03} {bytes} \"", protocol(subject.version));
    escaped_bytes(subject.referer.as_deref().unwrap_or(b"-"), &mut line);
    line.extend_from_slice(b"\" \"");
    escaped_bytes(subject.user_agent.as_deref().unwrap_or(b"-"), &mut line);
    line.extend_from_slice(b"\"\n");
    line
}

/// The same for what is no request: its first line as it came.
pub(super) fn refused_combined(
    at: SystemTime,
    client: IpAddr,
    request: &[u8],
    status: u16,
    bytes: u64,
) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    // Writing into memory can't fail.
    let _ = write!(line, "{client} - - [");
    local_time(at, &mut line);
    line.extend_from_slice(b"] \"");
    escaped_bytes(request, &mut line);
    let _ = writeln!(line, "\" {status:03} {bytes} \"-\" \"-\"");
    line
}

/// As nginx escapes: quotes, backslashes and everything outside printable ASCII as `\xHH`.
fn escaped(text: &str, line: &mut Vec<u8>) {
    escaped_bytes(text.as_bytes(), line);
}

fn escaped_bytes(text: &[u8], line: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' | ..0x20 | 0x7f.. => {
                let _ = write!(line, "\\x{byte:02X}");
            }
            _ => line.push(byte),
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// `24/Nov/2026:03:27:24 +0000`, cut out of `Tue, 24 Nov 2026 03:27:24 GMT`.
fn local_time(time: SystemTime, line: &mut Vec<u8>) {
    let date = httpdate::fmt_http_date(time);
    let part = |from, to| date.get(from..to).unwrap_or_default();
    let _ = write!(line, "{}/{}/{}:{} +0000", part(5, 7), part(8, 11), part(12, 16), part(17, 25));
}

/// `2026-11-24T03:27:24.512Z` (RFC 3339).
fn timestamp(time: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = httpdate::fmt_http_date(time);
    let part = |from, to| date.get(from..to).unwrap_or_default();
    let month = MONTHS.find(part(8, 11)).map_or(0, |index| index / 3 + 1);
    let milliseconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
    format!("{}-{month:02}-{}T{}.{milliseconds:03}Z", part(12, 16), part(5, 7), part(17, 25))
}

#[derive(Serialize)]
struct JsonSubject<'a> {
    ts: String,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    site: &'a str,
    method: &'a str,
    target: &'a str,
    proto: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct JsonExchange<'a> {
    #[serde(flatten)]
    subject: JsonSubject<'a>,
    status: u16,
    bytes_out: u64,
    dur_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttfb_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    retries: u8,
    end: &'static str,
}

#[derive(Serialize)]
struct JsonHold<'a> {
    #[serde(flatten)]
    subject: JsonSubject<'a>,
    status: u16,
    end: &'static str,
    comet: JsonComet,
}

#[derive(Serialize)]
struct JsonComet {
    transport: &'static str,
    channels_n: usize,
    events: u64,
    bytes: u64,
    held_ms: f64,
    close_reason: &'static str,
}

pub(super) fn exchange_json(subject: &Subject, exchange: &Exchange) -> Vec<u8> {
    json_line(&JsonExchange {
        subject: json_subject(subject),
        status: exchange.status,
        bytes_out: exchange.body_bytes_sent,
        dur_ms: milliseconds(exchange.duration),
        ttfb_ms: exchange.ttfb.map(milliseconds),
        upstream: exchange.server.as_deref(),
        retries: exchange.retries,
        end: word(exchange.end),
    })
}

#[derive(Serialize)]
struct JsonRefused<'a> {
    ts: String,
    client: String,
    request: Cow<'a, str>,
    status: u16,
    bytes_out: u64,
    end: &'static str,
}

pub(super) fn refused_json(
    at: SystemTime,
    client: IpAddr,
    request: &[u8],
    status: u16,
    bytes: u64,
) -> Vec<u8> {
    json_line(&JsonRefused {
        ts: timestamp(at),
        client: client.to_string(),
        request: String::from_utf8_lossy(request),
        status,
        bytes_out: bytes,
        end: word(End::Refused),
    })
}

pub(super) fn hold_json(subject: &Subject, end: &HoldEnd) -> Vec<u8> {
    let &HoldEnd { transport, status, channels, reason, events, bytes, held } = end;
    let held_ms = milliseconds(held);
    let comet = JsonComet { transport, channels_n: channels, events, bytes, held_ms, close_reason: reason };
    json_line(&JsonHold { subject: json_subject(subject), status, end: "closed", comet })
}

fn json_subject(subject: &Subject) -> JsonSubject<'_> {
    JsonSubject {
        ts: timestamp(subject.began),
        client: subject.client.to_string(),
        request_id: subject.request_id.as_deref(),
        site: &subject.site,
        method: subject.method.as_str(),
        target: &subject.target,
        proto: protocol(subject.version),
        referer: subject.referer.as_deref().map(String::from_utf8_lossy),
        user_agent: subject.user_agent.as_deref().map(String::from_utf8_lossy),
    }
}

fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::with_capacity(384);
    // Only maps with keys that are no strings can fail.
    let _ = serde_json::to_writer(&mut line, value);
    line.push(b'\n');
    line
}

/// With microseconds.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn word(end: End) -> &'static str {
    match end {
        End::Ok => "ok",
        End::ClientAbort => "client_abort",
        End::UpstreamConnect => "upstream_connect",
        End::UpstreamReset => "upstream_reset",
        End::UpstreamBad => "upstream_bad",
        End::UpstreamTimeout => "upstream_timeout",
        End::FileBroken => "file_broken",
        End::Stalled => "stalled",
        End::QueueTimeout => "queue_timeout",
        End::QueueFull => "queue_full",
        End::TakenOver => "taken_over",
        End::Tunnelled => "tunnelled",
        End::Refused => "refused",
        End::Panicked => "panic",
    }
}

#[cfg(test)]
pub(super) fn samples() -> (Subject, Exchange) {
    let subject = Subject {
        client: [192, 0, 2, 7].into(),
        site: "example.com".into(),
        method: hyper::Method::GET,
        target: "/a?b=\"c\"".into(),
        version: Version::HTTP_11,
        referer: None,
        user_agent: Some(b"curl/8\\\xc3\xa4\xe9\n".as_slice().into()),
        request_id: Some("abc".into()),
        began: UNIX_EPOCH + Duration::from_millis(784_111_777_042),
    };
    let exchange = Exchange {
        status: 200,
        body_bytes_sent: 5,
        duration: Duration::from_micros(12_345),
        ttfb: Some(Duration::from_millis(9)),
        server: Some("http://10.0.0.5:8000".into()),
        retries: 1,
        end: End::Ok,
    };
    (subject, exchange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_is_what_nginx_writes() {
        let (subject, _) = samples();
        let line = String::from_utf8(combined(&subject, 200, 5)).unwrap();
        let expected = concat!(
            r#"192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] "GET /a?b=\x22c\x22 HTTP/1.1" 200 5 "-" "#,
            r#""curl/8\x5C\xC3\xA4\xE9\x0A""#,
            "\n"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn json_names_what_happened() {
        let (subject, exchange) = samples();
        let line = String::from_utf8(exchange_json(&subject, &exchange)).unwrap();
        assert!(
            line.starts_with(r#"{"ts":"1994-11-06T08:49:37.042Z","client":"192.0.2.7","request_id":"abc","#)
        );
        let end =
            r#""status":200,"bytes_out":5,"dur_ms":12.345,"ttfb_ms":9.0,"upstream":"http://10.0.0.5:8000","#;
        assert!(line.contains(end) && line.ends_with("\"retries\":1,\"end\":\"ok\"}\n"), "{line}");
        let held = HoldEnd {
            transport: "sse",
            status: 200,
            channels: 2,
            reason: "client",
            events: 3,
            bytes: 99,
            held: Duration::from_secs(60),
        };
        let line = String::from_utf8(hold_json(&subject, &held)).unwrap();
        let comet =
            r#""status":200,"end":"closed","comet":{"transport":"sse","channels_n":2,"events":3,"bytes":99,"#;
        assert!(
            line.contains(comet) && line.contains(r#""held_ms":60000.0,"close_reason":"client"}"#),
            "{line}"
        );
    }
}
