//! An application of GRIP that speaks WebSocket itself: its frames, and those that it is sent; pure.
//!
//! The proxy is its client, so that it masks what it says (RFC 6455 §5.1) and is told without a mask.

use bytes::Bytes;

use super::events::{Event, EventKind};
use super::script::{Script, Tongue};
use crate::hold::{End, Kind, Speech};
use crate::message::Sequence;
use crate::transport::websocket::{self, FromServer, Said};

/// The application's side of a WebSocket.
pub struct Native {
    incoming: FromServer,
    tongue: Tongue,
    /// Bytes of the longest message that it may send.
    bytes_max: usize,
}

/// Its frames can't be read (RFC 6455 §7.4.1).
const INTERNAL_ERROR: u16 = 1011;

impl Native {
    /// Of one that has agreed to this.
    pub fn new(tongue: Tongue, bytes_max: usize) -> Native {
        Native { incoming: FromServer::default(), tongue, bytes_max }
    }

    /// What it has said. What is subscribed begins after this place.
    pub fn hears(&mut self, mut bytes: &[u8], after: Sequence) -> Script {
        let (mut events, mut is_broken) = (Vec::new(), false);
        loop {
            match self.incoming.take(Some(self.bytes_max), &mut bytes) {
                Ok(Some(said)) => events.push(event(said)),
                Ok(None) => break,
                Err(fault) => {
                    tracing::warn!(%fault, "an application breaks the protocol of its WebSocket");
                    is_broken = true;
                    break;
                }
            }
        }
        let mut script = Script::of_events(&self.tongue, events, after);
        if is_broken && !script.ends {
            script.speeches.push(Speech::Close(INTERNAL_ERROR, "".into()));
            script.ends = true;
        }
        script
    }

    /// A message of the client, as a frame for it.
    pub fn tell(kind: Kind, data: &[u8], out: &mut Vec<u8>) {
        websocket::masked(kind, data, fastrand::u32(..).to_be_bytes(), out);
    }

    /// The end, as it hears of it; a client that was lost says nothing.
    pub fn tell_end(end: &End, out: &mut Vec<u8>) {
        let content = match end {
            End::Lost => return,
            End::Left(Some((code, reason))) => Event::close(Some((*code, reason))).content,
            End::Left(None) | End::Spoken | End::Answered => Bytes::new(),
        };
        websocket::masked_close(&content, fastrand::u32(..).to_be_bytes(), out);
    }
}

fn event(said: Said) -> Event {
    let (kind, content) = match said {
        Said::Message(Kind::Text, data) => (EventKind::Text, data),
        Said::Message(_, data) => (EventKind::Binary, data),
        Said::Ping(data) => (EventKind::Ping, data),
        Said::Pong(data) => (EventKind::Pong, data),
        Said::Close(said) => return Event::close(said.as_ref().map(|(code, reason)| (*code, &**reason))),
    };
    Event { kind, content: content.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native() -> Native {
        let mut headers = hyper::HeaderMap::new();
        headers.insert("sec-websocket-extensions", "grip".parse().unwrap());
        Native::new(Tongue::agreed(&headers, None), 10)
    }

    #[test]
    fn frames_of_a_server_come_without_a_mask_and_in_any_pieces() {
        let said = b"\x01\x02m:\x89\x01?\x80\x02hi\x81\x05c:{}!\x88\x04\x0f\xa1go";
        for step in [1, 3, said.len()] {
            let mut native = native();
            let scripts: Vec<Script> =
                said.chunks(step).map(|piece| native.hears(piece, Sequence(1))).collect();
            assert!(scripts.iter().any(|script| script.ends));
            let frames: Vec<u8> = scripts
                .iter()
                .flat_map(|script| &script.speeches)
                .flat_map(|speech| match speech {
                    Speech::Frames(frames) => frames.clone(),
                    Speech::Close(code, reason) => format!("close {code} {reason}").into_bytes(),
                    speech => panic!("{speech:?}"),
                })
                .collect();
            assert_eq!(frames, b"\x89\x01?\x81\x02hiclose 4001 go", "{step}");
        }
        for bad in [&b"\x81\x82\0\0\0\0m:"[..], b"\xc1\x02m:", b"\x81\x0bm:012345678"] {
            let script = native().hears(bad, Sequence(1));
            assert!(matches!(&script.speeches[..], [Speech::Close(1011, _)]), "{bad:?}");
        }
    }

    #[test]
    fn it_is_told_in_masked_frames() {
        let mut out = Vec::new();
        Native::tell(Kind::Text, b"hello", &mut out);
        Native::tell_end(&End::Left(Some((1000, "bye".into()))), &mut out);
        Native::tell_end(&End::Lost, &mut out);
        let mut incoming = crate::transport::websocket::Incoming::default();
        let mut bytes = &out[..];
        let said = || incoming.take(Some(10), &mut bytes);
        let said: Vec<Said> = std::iter::repeat_with(said).map_while(|said| said.unwrap()).collect();
        assert_eq!(
            said,
            [Said::Message(Kind::Text, b"hello".to_vec()), Said::Close(Some((1000, "bye".into())))]
        );
    }
}
