//! `long-poll` and `poll`: one JSON answer with every message that is waiting, when there is one or at once, nothing too;
//! the connection stays for the next request.

use super::{Around, Closing, Delivery, MediaType, Opening, Parameters, Transport};
use crate::message::{Entry, Gap};
use crate::transport::ndjson::message_object;

/// See the file's first lines.
pub(super) enum Polls {
    /// The client waits.
    Long,
    /// The client decides when it comes again.
    Short,
}

impl Transport for Polls {
    fn name(&self) -> &'static str {
        match self {
            Polls::Long => "long-poll",
            Polls::Short => "poll",
        }
    }

    fn delivery(&self) -> Delivery {
        match self {
            Polls::Long => Delivery::OneAnswer,
            Polls::Short => Delivery::AtOnce,
        }
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("application/json")
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        let from = out.len();
        self::open(opening, out);
        if let (Polls::Short, Some(ticket)) = (self, &opening.parameters.ticket) {
            out.splice(from..=from, ticket.beginning().into_bytes());
        }
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        message_object(entry, out);
    }

    fn separator(&self) -> &'static [u8] {
        b","
    }

    fn close(&self, _closing: &Closing, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}");
    }

    /// The ticket is the only thing that differs from client to client, where an answer is shared.
    fn around(&self, parameters: &Parameters) -> Option<Around> {
        let ticket = parameters.ticket.as_ref().filter(|_| matches!(self, Polls::Long))?;
        Some(Around { before: ticket.beginning().into(), replaced: 1, after: "" })
    }

    /// Said by `open`, since an answer has one place for it.
    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}

/// `{"position":…,"gap":…,"messages":[`, whose first byte a ticket may stand in place of; a client that comes again by
/// itself is told when, where that is said.
pub(super) fn open(opening: &Opening, out: &mut Vec<u8>) {
    let Opening { position, gap, retry, .. } = opening;
    let retry = retry.map_or(String::new(), |retry| format!("\"retry\":{},", retry.as_millis()));
    out.extend_from_slice(
        format!("{{\"position\":\"{position}\",\"gap\":{gap},{retry}\"messages\":[").as_bytes(),
    );
}
