//! A WebSocket through the proxy: after both sides agreed, bytes both ways and nothing else (RFC 9110 §7.8).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context as Turn, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, UPGRADE};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::forward::Answer;
use super::forwarding::to_client;
use super::record::Record;
use super::refusal::Refusal;
use crate::access_log::End;
use crate::date;
use crate::hold::{Duplex, TakeOver, Tunnel};
use crate::upstream::Tunnelled;

/// Bytes on their way in each direction.
const BUFFER: usize = 16 * 1024;
/// Silence in both directions after which a tunnel is closed: WebSockets are quiet for long, and most that mean
/// to stay send pings more often than this.
const IDLE: Duration = Duration::from_secs(3600);

/// The same once one side has said all that it wants to say.
const LINGER: Duration = Duration::from_secs(10);

/// Makes the tunnel of a `101`.
pub(super) fn tunnel(answer: Answer, record: &mut Record) -> Result<TakeOver, Refusal> {
    let Answer { mut head, lease, .. } = answer;
    let far = lease.into_tunnel().ok_or(Refusal::Truncated)?;
    to_client(&mut head.headers, false);
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    record.answers(head.status);
    let record = record.take();
    let head = write_head(&head.headers);
    Ok(TakeOver::Tunnel(Tunnel::new(move |client, read_ahead| ride(client, read_ahead, head, far, record))))
}

fn write_head(headers: &HeaderMap) -> Vec<u8> {
    let mut head = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    if !headers.contains_key(DATE) {
        head.extend_from_slice(b"date: ");
        date::write(&mut head);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Runs until both directions have ended, one has failed, or nothing moved for too long.
async fn ride(
    mut client: Box<dyn Duplex>,
    read_ahead: Bytes,
    mut head: Vec<u8>,
    mut far: Tunnelled,
    mut record: Record,
) {
    head.extend_from_slice(&far.read_ahead);
    let mut out = Direction::new(&read_ahead);
    let mut back = Direction::new(&head);
    let mut silence = Box::pin(tokio::time::sleep(IDLE));
    let result = poll_fn(|cx| {
        let (near, far) = (&mut *client, &mut far.socket);
        let ended = [out.poll(cx, near, far)?.is_ready(), back.poll(cx, far, near)?.is_ready()];
        if ended == [true, true] {
            return Poll::Ready(Ok(()));
        }
        poll_silence(
            cx,
            &mut silence,
            [&mut out, &mut back],
            if ended == [false, false] { IDLE } else { LINGER },
        )
    })
    .await;
    tracing::trace!(sent = out.bytes, received = back.bytes, ?result, "a tunnel ended");
    record.sends(back.bytes.saturating_sub(head.len() as u64));
    record.ends(End::Tunnelled);
}

/// Begins the silence anew when something moved; ready when it has lasted too long.
fn poll_silence(
    cx: &mut Turn<'_>,
    silence: &mut Pin<Box<Sleep>>,
    directions: [&mut Direction; 2],
    limit: Duration,
) -> Poll<io::Result<()>> {
    let moved = directions.map(|direction| std::mem::take(&mut direction.moved)).contains(&true);
    let latest = Instant::now() + limit;
    if moved || silence.deadline() > latest {
        silence.as_mut().reset(latest);
    }
    silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
}

/// Bytes in one direction: read when the last ones are written, so that a slow reader slows its writer.
struct Direction {
    buffer: Vec<u8>,
    /// What is read and not yet written.
    start: usize,
    end: usize,
    /// Whether the reading side has ended.
    over: bool,
    /// Whether the writing side knows.
    done: bool,
    /// Since somebody last asked.
    moved: bool,
    bytes: u64,
}

impl Direction {
    /// With what was read before the tunnel began.
    fn new(first: &[u8]) -> Direction {
        let mut buffer = first.to_vec();
        buffer.resize(first.len().max(BUFFER), 0);
        Direction { buffer, start: 0, end: first.len(), over: false, done: false, moved: false, bytes: 0 }
    }

    /// Ready when everything up to the end of the reading side is written, and the writing side knows it.
    fn poll<R, W>(&mut self, cx: &mut Turn<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        loop {
            while self.start < self.end {
                let pending = &self.buffer[self.start..self.end];
                let written = ready!(Pin::new(&mut *to).poll_write(cx, pending))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += written;
                self.bytes += written as u64;
                self.moved = true;
            }
            ready!(Pin::new(&mut *to).poll_flush(cx))?;
            if self.over {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            let mut space = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut space))?;
            (self.start, self.end) = (0, space.filled().len());
            self.over = self.end == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_flow_after_what_was_read_before_and_ends_are_passed_on() {
        let (mut writer, mut from) = duplex(8);
        let (mut to, mut reader) = duplex(8);
        let mut direction = Direction::new(b"before ");
        let pump = async { poll_fn(|cx| direction.poll(cx, &mut from, &mut to)).await };
        let say = async {
            writer.write_all(&[b'x'; 100]).await.unwrap();
            drop(writer);
        };
        let hear = async {
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let (result, (), heard) = tokio::join!(pump, say, hear);
        assert!(result.is_ok());
        assert_eq!(heard, [&b"before "[..], &[b'x'; 100]].concat());
        assert_eq!(direction.bytes, 107);
    }
}
