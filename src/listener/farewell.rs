//! The last that a client gets on its connection: a refusal of our own, a close that lets it read, or a reset.

use std::time::Duration;

use hyper::StatusCode;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::request_reader::Refusal;
use crate::wire::WireStream;

/// Bytes that are read and discarded after the last answer. Closing a socket with unread input resets it, and the
/// reset destroys an answer that the client hasn't read.
const LINGER_BYTES: usize = 64 * 1024;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(2);
/// How long a client may take for a short last answer, or for a farewell under TLS.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// The methods that an application may be asked with.
pub(super) const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Answers a request that no service will see; gives the bytes of the answer's body.
pub(super) async fn refuse(mut wire: WireStream, refusal: Refusal) -> u64 {
    let body = body(refusal);
    let answer = answer(refusal, &body);
    if let Ok(Ok(())) = tokio::time::timeout(LAST_WRITE, wire.write_all(&answer)).await {
        linger(wire).await;
    }
    body.len() as u64
}

/// Ends our side, and reads a little of what the client still sends.
pub(super) async fn linger(mut wire: WireStream) {
    let discard = async {
        wire.shutdown().await?;
        let mut buffer = [0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match wire.read(&mut buffer).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // The connection is over whatever comes of it.
    let _ = tokio::time::timeout(LINGER, discard).await;
}

/// Ends a connection that owes nothing.
pub(super) async fn close(mut wire: WireStream) {
    // As above; only a farewell under TLS can make this wait.
    let _ = tokio::time::timeout(LAST_WRITE, wire.shutdown()).await;
}

/// Cuts a connection so that its client can't take what it got for the whole.
pub(super) fn reset(wire: WireStream) {
    // Where the option can't be set the client sees an ordinary end, which framing makes incomplete but for HTTP/1.0.
    let _ = wire.socket().map(|socket| SockRef::from(&socket).set_linger(Some(Duration::ZERO)));
}

fn reason(refusal: Refusal) -> &'static str {
    let status = StatusCode::from_u16(refusal.status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Refused")
}

/// What a client reads of a refusal.
pub(super) fn body(refusal: Refusal) -> String {
    format!("{} {}: {}\n", refusal.status, reason(refusal), refusal.reason)
}

fn answer(refusal: Refusal, body: &str) -> Vec<u8> {
    let (status, reason) = (refusal.status, reason(refusal));
    // RFC 9110 §15.5.6.
    let allow = if status == 405 { format!("allow: {ALLOW}\r\n") } else { String::new() };
    format!(
        "HTTP/1.1 {status} {reason}\r\ndate: {date}\r\ncontent-type: text/plain; charset=utf-8\r\n\
         {allow}content-length: {length}\r\nconnection: close\r\n\r\n{body}",
        date = httpdate::fmt_http_date(std::time::SystemTime::now()),
        length = body.len(),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_whole_answer_that_names_the_reason_and_closes() {
        let refusal = Refusal { status: 431, reason: "request header too large" };
        let text = String::from_utf8(answer(refusal, &body(refusal))).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(head.ends_with("content-length: 62\r\nconnection: close"), "{head}");
        assert_eq!(body, "431 Request Header Fields Too Large: request header too large\n");
    }
}
