//! What is held, or has become a tunnel, at the far end of a pipe, on a stream of HTTP/2: its answer becomes that of the
//! stream, and bytes go both ways as fast as the client takes them.
//!
//! Whoever holds speaks as on a socket, a head of HTTP/1 first. That head is read once and written as HTTP/2 has it; what
//! follows needs no framing of its own, since the stream has one.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use hyper::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, TRANSFER_ENCODING, UPGRADE};
use hyper::{Response, StatusCode, Version};

use super::meter::Meter;
use super::{FULL, earns};
use crate::wire::{StreamEnd, Waiting};

/// Fields that an application's head may have; the listener of a hold has seen it.
const FIELDS_MAX: usize = 256;

/// A stream, and the end of the pipe that is its.
pub(super) struct Passage {
    pub(super) pipe: StreamEnd,
    pub(super) speaks: Speaks,
    /// What a WebSocket's client says; nobody else says anything.
    pub(super) hears: Option<RecvStream>,
    /// Whether the client has asked for a WebSocket.
    pub(super) is_socket: bool,
    pub(super) meter: Rc<Meter>,
}

/// How far the answer is.
pub(super) enum Speaks {
    /// Its head isn't whole.
    Head(SendResponse<Bytes>, Vec<u8>),
    Body(SendStream<Bytes>),
}

/// It is over, and needs no further word.
struct Over;

/// Carries to the end of both sides. Dropping it takes the pipe from whoever holds it.
impl Future for Passage {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_out(cx).is_ready() {
            return Poll::Ready(());
        }
        let reset = match &mut self.speaks {
            Speaks::Head(respond, _) => respond.poll_reset(cx).is_ready(),
            Speaks::Body(send) => send.poll_reset(cx).is_ready(),
        };
        if reset || self.poll_in(cx).is_err() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Passage {
    /// What is said to the client; ready when that was all.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let waiting = ready!(self.pipe.poll_waiting(cx));
            let went = match (&mut self.speaks, waiting) {
                (Speaks::Head(respond, _), Waiting::Cut | Waiting::End) => {
                    respond.send_reset(Reason::INTERNAL_ERROR);
                    Err(Over)
                }
                (Speaks::Head(..), Waiting::Bytes(_)) => self.head(),
                (Speaks::Body(send), Waiting::Cut) => {
                    send.send_reset(Reason::CANCEL);
                    Err(Over)
                }
                (Speaks::Body(send), Waiting::End) => {
                    // It may have been reset meanwhile, and is over in any case.
                    let _ = send.send_data(Bytes::new(), true);
                    Err(Over)
                }
                (Speaks::Body(_), Waiting::Bytes(some)) => ready!(self.poll_body(cx, some)),
            };
            if let Err(Over) = went {
                return Poll::Ready(());
            }
        }
    }

    /// Takes what is there of the head; with its end it is written, and the body begins.
    fn head(&mut self) -> Result<(), Over> {
        let Speaks::Head(respond, head) = &mut self.speaks else { return Ok(()) };
        let (bytes, is_last) = self.pipe.take(FULL);
        head.extend_from_slice(&bytes);
        let Some(length) = memchr::memmem::find(head, b"\r\n\r\n").map(|end| end + 4) else { return Ok(()) };
        let body = Bytes::copy_from_slice(&head[length..]);
        let is_all = is_last && body.is_empty();
        let answer = answer(&head[..length], self.is_socket);
        let Some(mut send) = answer.and_then(|answer| respond.send_response(answer, is_all).ok()) else {
            respond.send_reset(Reason::INTERNAL_ERROR);
            return Err(Over);
        };
        // What came with the head is little, and goes to the library at once, which keeps it until there is a window.
        let is_over = is_all || !body.is_empty() && (send.send_data(body, is_last).is_err() || is_last);
        self.speaks = Speaks::Body(send);
        if is_over { Err(Over) } else { Ok(()) }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, some: usize) -> Poll<Result<(), Over>> {
        let Speaks::Body(send) = &mut self.speaks else { return Poll::Ready(Ok(())) };
        send.reserve_capacity(some);
        if send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Over)),
            }
        }
        let (bytes, is_last) = self.pipe.take(send.capacity());
        if earns(bytes.len(), some) {
            self.meter.earn();
        }
        let sent = send.send_data(bytes, is_last);
        Poll::Ready(if is_last || sent.is_err() { Err(Over) } else { Ok(()) })
    }

    /// What the client says, as far as somebody takes it.
    fn poll_in(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        while let Some(hears) = &mut self.hears {
            if self.pipe.poll_room(cx).is_pending() {
                return Ok(());
            }
            match hears.poll_data(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(said))) => {
                    self.pipe.put(&said);
                    hears.flow_control().release_capacity(said.len()).map_err(|_| Over)?;
                }
                Poll::Ready(Some(Err(_))) => return Err(Over),
                Poll::Ready(None) => {
                    self.pipe.end_input();
                    self.hears = None;
                }
            }
        }
        Ok(())
    }
}

/// The head of HTTP/2 for one of HTTP/1. A WebSocket is open by a 200 (RFC 8441 §5); what else would say so isn't said.
fn answer(head: &[u8], asked_for_socket: bool) -> Option<Response<()>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(head).ok()?.is_complete().then_some(())?;
    let status = StatusCode::from_u16(parsed.code?).ok()?;
    let status = match status {
        StatusCode::SWITCHING_PROTOCOLS if asked_for_socket => StatusCode::OK,
        StatusCode::SWITCHING_PROTOCOLS => return None,
        status if status.is_success() && asked_for_socket => StatusCode::BAD_GATEWAY,
        status => status,
    };
    let mut answer = Response::new(());
    (*answer.status_mut(), *answer.version_mut()) = (status, Version::HTTP_2);
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if ![CONNECTION, UPGRADE, TRANSFER_ENCODING, SEC_WEBSOCKET_ACCEPT].contains(&name) {
            answer.headers_mut().append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_http_1_loses_what_is_of_its_connection() {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\nset-cookie: a=1\r\n\
            set-cookie: b=\u{fc}\r\n\r\n";
        let head: Vec<u8> = head.chars().map(|c| c as u8).collect();
        let read = answer(&head, false).unwrap();
        assert_eq!((read.status(), read.headers().len()), (StatusCode::OK, 3));
        assert_eq!(read.headers().get_all("set-cookie").iter().nth(1).unwrap().as_bytes(), b"b=\xfc");
        let upgraded = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-accept: x\r\nsec-websocket-protocol: chat\r\n\r\n";
        let read = answer(upgraded, true).unwrap();
        assert_eq!((read.status(), read.headers().len()), (StatusCode::OK, 1));
        assert!(answer(upgraded, false).is_none());
        assert_eq!(
            answer(&head, true).unwrap().status(),
            StatusCode::BAD_GATEWAY,
            "200 would open a WebSocket"
        );
    }
}
