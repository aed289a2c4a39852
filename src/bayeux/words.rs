//! Bodies of answers: messages, replies, and what they are wrapped in for a client that calls a function; pure.

use std::sync::Arc;
use std::time::Instant;

use super::connect::{ClientClock, Connect};
use super::envelope::{Ack, Advice, Clocks, Reply, ReplyExt};
use crate::message::Entry;
use crate::transport;

/// A body: messages, which a client has to see before the reply that makes it connect again, then replies.
pub(super) fn body(messages: &[Arc<Entry>], replies: &[Vec<u8>], callback: Option<&str>) -> Vec<u8> {
    let framing = transport::transport(transport::BAYEUX);
    let mut body = vec![b'['];
    for entry in messages {
        let frame = entry.frame(transport::BAYEUX, |entry, out| framing.piece(entry, out));
        add(frame.payload(), &mut body);
    }
    replies.iter().for_each(|reply| add(reply, &mut body));
    body.push(b']');
    match callback {
        Some(callback) => called(callback, &body),
        None => body,
    }
}

fn add(object: &[u8], body: &mut Vec<u8>) {
    if body.len() > 1 {
        body.push(b',');
    }
    body.extend_from_slice(object);
}

/// The comment keeps a script from being taken for something else that begins with the chosen name.
fn called(callback: &str, json: &[u8]) -> Vec<u8> {
    let mut script = format!("/**/{callback}(").into_bytes();
    transport::script_json(json, &mut script);
    script.extend_from_slice(b");");
    script
}

/// The reply to a connect that was held. Whether it was held until `now` or to the end of its time, which nobody
/// measures, decides about the clocks.
pub(super) fn connect_reply(connect: &Connect, advice: Option<Advice>, now: Option<Instant>) -> Vec<u8> {
    let held = now.map(|now| now.saturating_duration_since(connect.since).as_millis() as u64);
    let timesync = connect.clock.as_ref().zip(held).map(|(clock, held)| clocks(clock, held));
    let ack = connect.batch.map(Ack::Batch);
    let reply = Reply {
        id: connect.id.as_deref(),
        channel: "/meta/connect",
        successful: true,
        advice,
        ext: (ack.is_some() || timesync.is_some()).then_some(ReplyExt { ack, timesync }),
        ..Reply::default()
    };
    reply.json()
}

/// The clocks after so many milliseconds.
pub(super) fn clocks(clock: &ClientClock, held: u64) -> Clocks<'_> {
    Clocks { tc: &clock.tc, ts: clock.ts, p: held, a: clock.accuracy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_list_or_a_call_that_nothing_breaks_out_of() {
        let replies = [b"{\"a\":1}".to_vec(), "{\"b\":\"\u{2028}</script>\"}".as_bytes().to_vec()];
        let plain = String::from_utf8(body(&[], &replies, None)).unwrap();
        assert_eq!(plain, "[{\"a\":1},{\"b\":\"\u{2028}</script>\"}]");
        let called = String::from_utf8(body(&[], &replies, Some("my.cb"))).unwrap();
        assert_eq!(called, "/**/my.cb([{\"a\":1},{\"b\":\"\\u2028\\u003c/script\\u003e\"}]);");
    }
}
