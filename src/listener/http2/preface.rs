//! Tells HTTP/2 from HTTP/1 by a client's first bytes, on ports without TLS where both are spoken (RFC 9113 §3.3).

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::PREFACE;
use crate::wire::WireStream;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Reads as far as it takes to know; gives what was read. Who has left, or was silent for too long, speaks nothing.
pub(in crate::listener) async fn tell_apart(
    wire: &mut WireStream,
    patience: Duration,
) -> io::Result<(Protocol, Vec<u8>)> {
    let mut read = Vec::new();
    let listen = async {
        while PREFACE.starts_with(&read) {
            if read.len() == PREFACE.len() {
                return Ok(Protocol::Http2);
            }
            let before = read.len();
            read.resize(PREFACE.len(), 0);
            let count = wire.read(&mut read[before..]).await?;
            read.truncate(before + count);
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok::<_, io::Error>(Protocol::Http1)
    };
    let protocol = tokio::time::timeout(patience, listen).await.map_err(io::Error::from)??;
    Ok((protocol, read))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn heard(pieces: &[&[u8]]) -> Result<(Protocol, Vec<u8>), io::ErrorKind> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let mut wire = WireStream::plain(listener.accept().await.unwrap().0.into_std().unwrap());
        let say = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        };
        let (told, _client) = tokio::join!(tell_apart(&mut wire, Duration::from_millis(200)), say);
        told.map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn the_first_bytes_that_differ_decide() {
        let preface = || PREFACE.to_vec();
        assert_eq!(heard(&[PREFACE]).await, Ok((Protocol::Http2, preface())));
        let bytes: Vec<&[u8]> = PREFACE.chunks(1).collect();
        assert_eq!(heard(&bytes).await, Ok((Protocol::Http2, preface())));
        assert_eq!(heard(&[b"GET"]).await, Ok((Protocol::Http1, b"GET".to_vec())));
        assert_eq!(heard(&[b"P", b"OST / "]).await.map(|told| told.0), Ok(Protocol::Http1));
        assert_eq!(heard(&[b"PRI * HT"]).await, Err(io::ErrorKind::TimedOut), "it may be one yet");
        assert_eq!(heard(&[]).await, Err(io::ErrorKind::TimedOut));
    }
}
