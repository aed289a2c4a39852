//! Plain HTTP where TLS is spoken: a browser that was given `http://` and the port of `https://` is told so.
//!
//! Nothing of the request is understood but that it is one, and nothing of it is said again. What doesn't begin as a
//! request of HTTP/1 does is closed without a word, since nobody knows what an answer would mean to its sender.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::farewell;
use super::request_reader::Refusal;
use crate::wire::WireStream;

/// Letters of a method that somebody may mean.
const METHOD_MAX: usize = 16;
/// How long a client may take for the beginning of its request, which comes in one piece from all that mean well.
const PATIENCE: Duration = Duration::from_secs(2);

const REFUSAL: Refusal =
    Refusal { status: 400, reason: "this port speaks TLS: ask with https:// instead of http://" };

/// Answers a client that has said this instead of shaking hands, if it is HTTP, and closes the connection.
pub(super) async fn turn_away(mut wire: WireStream, mut said: Vec<u8>) {
    let listen = async {
        loop {
            match begins_request(&said) {
                Some(begins) => return begins,
                None => match wire.read_buf(&mut said).await {
                    Ok(0) | Err(_) => return false,
                    Ok(_) => {}
                },
            }
        }
    };
    if tokio::time::timeout(PATIENCE, listen).await == Ok(true) {
        farewell::refuse(wire, REFUSAL).await;
    }
}

/// Whether a request of HTTP/1 begins like this (RFC 9112 §3): a method, a blank and a path. Nobody knows while too
/// little is here.
fn begins_request(said: &[u8]) -> Option<bool> {
    let letters = said.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match &said[letters..] {
        _ if letters > METHOD_MAX => Some(false),
        [] | [b' '] if letters > 0 => None,
        [b' ', b'/', ..] => Some(letters > 0),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_known_by_their_first_bytes() {
        let table: [(&[u8], Option<bool>); 14] = [
            (b"", Some(false)),
            (b"G", None),
            (b"GET", None),
            (b"GET ", None),
            (b"GET /", Some(true)),
            (b"PROPFIND /a HTTP/1.1\r\n", Some(true)),
            (b" /", Some(false)),
            (b"get /", Some(false)),
            (b"GET\t/", Some(false)),
            (b"EHLO mail.example\r\n", Some(false)),
            (b"PRI * HTTP/2.0\r\n", Some(false)),
            (b"SSH-2.0-OpenSSH\r\n", Some(false)),
            (b"\x16\x03", Some(false)),
            (&[b'A'; METHOD_MAX + 1], Some(false)),
        ];
        for (said, expected) in table {
            assert_eq!(begins_request(said), expected, "{}", said.escape_ascii());
        }
    }
}
