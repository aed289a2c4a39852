//! `grip-stream`, `grip-response` and `grip-websocket`: what a client held by GRIP is given, where its own filters don't
//! change it.
//!
//! A message has a form for each; one of ours is its data in all. Heads are the application's own.

use super::websocket::{self, Kind};
use super::{Closing, Delivery, Field, MediaType, Opening, Transport};
use crate::message::{Data, Entry, Gap, ReplyBody, ToResponse, ToSocket, ToStream};

/// Bytes of a stream.
pub(super) struct GripStream;

/// An answer, of which the held connection writes the head.
pub(super) struct GripResponse;

/// Frames of a WebSocket.
pub(super) struct GripSocket;

/// What stands in our own pings there: applications hear the answers to theirs, and not those to ours.
pub const OWN_PING: &[u8] = b"~";

impl Transport for GripStream {
    fn name(&self) -> &'static str {
        "grip-stream"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Nothing
    }

    fn has_own_head(&self) -> bool {
        false
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        out.extend_from_slice(opening.body);
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        match &entry.message.forms {
            None => out.extend_from_slice(entry.message.data.bytes()),
            Some(forms) => {
                if let Some(ToStream::Send(bytes)) = forms.stream.as_ref().map(|form| &form.act) {
                    out.extend_from_slice(bytes);
                }
            }
        }
    }

    fn close(&self, _closing: &Closing, _out: &mut Vec<u8>) {}

    /// The protocol has no word for it: the application is asked.
    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}

impl Transport for GripResponse {
    fn name(&self) -> &'static str {
        "grip-response"
    }

    fn delivery(&self) -> Delivery {
        Delivery::OneAnswer
    }

    fn media_type(&self) -> MediaType {
        MediaType::Nothing
    }

    fn has_own_head(&self) -> bool {
        false
    }

    fn open(&self, _opening: &Opening, _out: &mut Vec<u8>) {}

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        match &entry.message.forms {
            None => out.extend_from_slice(entry.message.data.bytes()),
            Some(forms) => {
                if let Some(ToResponse::Send(reply)) = forms.response.as_ref().map(|form| &form.act)
                    && let ReplyBody::Whole(bytes) = &reply.body
                {
                    out.extend_from_slice(bytes);
                }
            }
        }
    }

    fn close(&self, _closing: &Closing, _out: &mut Vec<u8>) {}

    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}

impl Transport for GripSocket {
    fn name(&self) -> &'static str {
        "grip-websocket"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Socket
    }

    fn media_type(&self) -> MediaType {
        MediaType::Nothing
    }

    fn fields(&self, opening: &Opening, fields: &mut Vec<Field>) {
        websocket::Websocket.fields(opening, fields);
    }

    /// The application's answer was for the proxy.
    fn open(&self, _opening: &Opening, _out: &mut Vec<u8>) {}

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        let message = &entry.message;
        match &message.forms {
            None => {
                let is_bytes = matches!(message.data, Data::Binary(_));
                let kind = if is_bytes { Kind::Binary } else { Kind::Text };
                websocket::message(kind, message.data.bytes(), out);
            }
            Some(forms) => {
                if let Some(ToSocket::Send(kind, bytes)) = forms.socket.as_ref().map(|form| &form.act) {
                    websocket::message((*kind).into(), bytes, out);
                }
            }
        }
    }

    fn close(&self, closing: &Closing, out: &mut Vec<u8>) {
        websocket::Websocket.close(closing, out);
    }

    /// A ping that tells its pong.
    fn keep_alive(&self) -> &'static [u8] {
        b"\x89\x01~"
    }

    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}
