//! What the head of an answer means: relay it, fetch the rest of it, hold the connection, or open a tunnel; pure.

use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use hyper::http::response::Parts;

use super::check::Asked;
use super::grip::GripRules;
use super::refusal::Refusal;
use super::reproxy::{self, Handoffs};
use super::rules::Rules;
use crate::hold::{BadInstruction, Instruction, Order, grip, read_instruction, read_own_instruction};

/// What is to be done with an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict<'a> {
    /// The client gets it.
    Relay,
    /// The client's connection is held.
    Hold(Instruction),
    /// The client gets it as GRIP says, and is held by it if that is what it says.
    Grip(Box<grip::Terms>),
    /// The rest of it lies elsewhere.
    Reproxy(&'a Handoffs, reproxy::Instruction),
    /// Both connections become a tunnel.
    Tunnel,
}

/// Reads the head of an answer.
pub(super) fn classify<'a>(
    asked: &Asked,
    head: &Parts,
    (rules, grip): (&Rules, &GripRules),
    handoffs: Option<&'a Handoffs>,
) -> Result<Verdict<'a>, Refusal> {
    let headers = &head.headers;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let agreed = headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let tunnel = asked.websocket && agreed;
        return if tunnel {
            Ok(Verdict::Tunnel)
        } else {
            Err(Refusal::BadAnswer("the server switched to a protocol that nobody asked for"))
        };
    }
    let has = |wanted| headers.keys().any(|name| *name == wanted);
    if has(TRANSFER_ENCODING) && has(CONTENT_LENGTH) {
        return Err(Refusal::BadAnswer("the server's answer has two lengths"));
    }
    let hold = match asked.holdable {
        true => instruction(grip, headers)?,
        false => None,
    };
    match hold {
        None => handed_on(head, handoffs),
        Some(Order::Hold(instruction)) if instruction.channels.len() > rules.hold_channels => {
            Err(too_many(&instruction, rules))
        }
        Some(Order::Hold(instruction)) => Ok(Verdict::Hold(instruction)),
        Some(Order::Grip(terms)) => Ok(Verdict::Grip(terms)),
    }
}

/// What it orders, in a dialect that the application speaks.
pub(super) fn instruction(grip: &GripRules, headers: &HeaderMap) -> Result<Option<Order>, Refusal> {
    let order = match grip.is_on() {
        true => read_instruction(headers),
        false => read_own_instruction(headers),
    };
    order.map_err(Refusal::BadInstruction)
}

/// An answer that says that the client has it already is whole.
fn handed_on<'a>(head: &Parts, handoffs: Option<&'a Handoffs>) -> Result<Verdict<'a>, Refusal> {
    let Some(handoffs) = handoffs.filter(|_| head.status != StatusCode::NOT_MODIFIED) else {
        return Ok(Verdict::Relay);
    };
    let read = reproxy::read(&head.headers, handoffs).map_err(Refusal::BadHandoff)?;
    Ok(read.map_or(Verdict::Relay, |instruction| Verdict::Reproxy(handoffs, instruction)))
}

fn too_many(instruction: &Instruction, rules: &Rules) -> Refusal {
    Refusal::BadInstruction(BadInstruction {
        header: "X-Comet-Subscribe",
        value: instruction
            .channels
            .first()
            .map(|(name, _)| format!("{}, …", name.as_str()))
            .unwrap_or_default(),
        reason: format!(
            "it names {} channels, and limits.hold_channels is {}",
            instruction.channels.len(),
            rules.hold_channels
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::Response;

    use super::*;
    use crate::exchange::check::Framing;
    use crate::upstream::Pace;

    fn verdict(
        status: u16,
        fields: &[(&str, &str)],
        asked: impl Fn(&mut Asked),
    ) -> Result<Verdict<'static>, String> {
        let rules = Rules {
            hold_body: 100,
            hold_channels: 2,
            socket_message: 100,
            response_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            pace: Pace::default(),
            trusted_proxies: Box::default(),
        };
        let mut wish = Asked {
            keep_alive: true,
            websocket: false,
            trailers: false,
            replayable: true,
            holdable: true,
            framing: Framing::Absent,
        };
        asked(&mut wish);
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        classify(&wish, &head, (&rules, &GripRules::On(None)), None)
            .map_err(|refusal| refusal.reason().to_owned())
    }

    #[test]
    fn an_instruction_is_obeyed_whatever_the_status() {
        let subscribe = [("x-comet-subscribe", "news")];
        for status in [200, 404, 500] {
            assert!(matches!(verdict(status, &subscribe, |_| ()), Ok(Verdict::Hold(_))), "{status}");
        }
        assert_eq!(verdict(200, &[], |_| ()), Ok(Verdict::Relay));
        assert_eq!(verdict(200, &subscribe, |asked| asked.holdable = false), Ok(Verdict::Relay));
    }

    #[test]
    fn an_instruction_that_can_not_be_obeyed_is_the_application_s_fault() {
        for value in ["a;since=yesterday", "a, b, c"] {
            assert_eq!(verdict(200, &[("x-comet-subscribe", value)], |_| ()), Err("bad_instruction".into()));
        }
    }

    #[test]
    fn a_tunnel_needs_both_sides() {
        let agreed = [("upgrade", "WebSocket")];
        assert_eq!(verdict(101, &agreed, |asked| asked.websocket = true), Ok(Verdict::Tunnel));
        assert_eq!(verdict(101, &agreed, |_| ()), Err("bad_response".into()));
        assert_eq!(
            verdict(101, &[("upgrade", "h2c")], |asked| asked.websocket = true),
            Err("bad_response".into())
        );
        assert_eq!(verdict(400, &[], |asked| asked.websocket = true), Ok(Verdict::Relay));
    }

    #[test]
    fn two_lengths_are_none() {
        let fields = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(verdict(200, &fields, |_| ()), Err("bad_response".into()));
    }
}
