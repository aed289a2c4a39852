//! Instructions as an application may write them by mistake, and tickets as anybody may make them up.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{StatusCode, Version};
use ring::hmac;

use super::ticket::{Scope, Ticket};
use super::{Answer, Asked, ClientSide, Order, is_instruction, read_instruction};
use crate::fuzz::{kind, sentence};
use crate::message::{Epoch, Position, Sequence};

const HERE: Position = Position { epoch: Epoch(14), sequence: Sequence(5) };

/// Lines of a head; what no parser of heads would let through is left out.
fn fields(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(50) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// An answer's head; its first line is the query of the request, and the request has the fields that begin with `asked-`.
pub(crate) fn headers(input: &[u8]) -> u64 {
    let all = fields(input);
    let query = std::str::from_utf8(input.split(|byte| *byte == b'\n').next().unwrap_or_default()).ok();
    let mut request = HeaderMap::new();
    for (name, value) in &all {
        if let Some(name) =
            name.as_str().strip_prefix("asked-").and_then(|name| name.parse::<HeaderName>().ok())
        {
            request.append(name, value.clone());
        }
    }
    match read_instruction(&all) {
        Ok(None) => 0,
        Err(bad) => kind(sentence(&bad.to_string())),
        Ok(Some(Order::Grip(terms))) => {
            kind((terms.mode.map(|mode| format!("{mode:?}")), terms.channels.len(), terms.is_body))
        }
        Ok(Some(Order::Hold(instruction))) => {
            assert!(!instruction.channels.is_empty(), "held for nothing");
            let asked = Asked {
                headers: &request,
                upgrade: request.contains_key("upgrade"),
                query,
                forwarded_at: HERE,
                now: HERE,
                at: UNIX_EPOCH,
            };
            let answer =
                Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: bytes::Bytes::new() };
            let client = ClientSide { version: Version::HTTP_11, keep_alive: true };
            match instruction.hold(asked, answer, client) {
                Ok(hold) => {
                    assert!(!hold.answer.headers.keys().any(|name| is_instruction(name.as_str())));
                    kind((hold.transport, hold.wishes.len(), hold.tag.is_some(), hold.timeout.is_some()))
                }
                Err(unfit) => kind(unfit.to_string()),
            }
        }
    }
}

/// The body of an instruct, with nothing else said.
pub(crate) fn instruct(input: &[u8]) -> u64 {
    let says = HeaderMap::from_iter([(
        hyper::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grip-instruct"),
    )]);
    let Ok(Some(Order::Grip(mut terms))) = read_instruction(&says) else { panic!("an instruct is one") };
    match terms.read_body(StatusCode::OK, input) {
        Ok(answer) => {
            assert!(
                !answer.headers.keys().any(|name| is_instruction(name.as_str())),
                "an instruction to a client"
            );
            kind((terms.mode.map(|mode| format!("{mode:?}")), terms.channels.len(), answer.status.as_u16()))
        }
        Err(bad) => kind(sentence(&bad.to_string())),
    }
}

/// What nobody has signed is refused, and what was signed in another version of ours does no harm.
pub(crate) fn tickets(input: &[u8]) -> u64 {
    let keys = [hmac::Key::new(hmac::HMAC_SHA256, &[1; 32])];
    let scope = Scope { site: "shop", authority: "shop.example", path: "/events", query: Some("room=1") };
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let text = String::from_utf8_lossy(input);
    assert!(Ticket::open(&text, &keys, &scope, now).is_err(), "a ticket that nobody has signed");

    let payload = URL_SAFE_NO_PAD.encode(input);
    let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&keys[0], &scope.signed(&payload)));
    match Ticket::open(&format!("{payload}.{tag}"), &keys, &scope, now) {
        Err(bad) => kind(bad.to_string()),
        Ok(ticket) => {
            let (status, fields) = ticket.head();
            let _ = (
                ticket.lasts(std::time::UNIX_EPOCH),
                ticket.issued(),
                ticket.is_of_poll(),
                ticket.position(),
            );
            let channels = ticket.instruction().map(|instruction| instruction.channels.len());
            kind((status.as_u16(), fields.len(), channels, ticket.tag().is_some()))
        }
    }
}
