//! `grip-stream` and `grip-response`: what a client held by GRIP is given, where its own filters don't change it.
//!
//! A message has a form for each; one of ours is its data in both. Heads are the application's own.

use super::{Closing, Delivery, MediaType, Opening, Transport};
use crate::message::{Entry, Gap, ReplyBody, ToResponse, ToStream};

/// Bytes of a stream.
pub(super) struct GripStream;

/// An answer, of which the held connection writes the head.
pub(super) struct GripResponse;

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
