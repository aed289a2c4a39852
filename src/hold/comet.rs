//! The native dialect: `X-Comet-*` in the head of an answer.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;

use super::ticket::{TICKET_MAX, TicketTerms};
use super::{BadInstruction, Dialect, Fields, Instruction, Order, Since};
use crate::message::{ChannelName, TransportId};
use crate::transport::{self, Parameters};

pub(super) const COMET: Dialect = Dialect { prefix: "x-comet-", read };

const SUBSCRIBE: &str = "X-Comet-Subscribe";
const SUBSCRIBE_NAME: HeaderName = HeaderName::from_static("x-comet-subscribe");
const TRANSPORT: &str = "X-Comet-Transport";
const TIMEOUT: &str = "X-Comet-Timeout";
const KEEPALIVE: &str = "X-Comet-Keepalive";
const RETRY: &str = "X-Comet-Retry";
const TICKET: &str = "X-Comet-Ticket";
const TAG: &str = "X-Comet-Tag";
const MESSAGES: &str = "X-Comet-Messages";

/// Bytes of the path for messages: as long as one in a request is allowed to be by default.
const PATH_BYTES_MAX: usize = 8192;
/// Bytes of a tag: a session's name and what it is made of.
const TAG_BYTES_MAX: usize = 256;

/// Longest time that a header may name: a year, so that no arithmetic on deadlines can overflow.
const SECONDS_MAX: u64 = 366 * 24 * 3600;

fn read(headers: &HeaderMap) -> Result<Option<Order>, BadInstruction> {
    read_own(headers).map(|instruction| instruction.map(Order::Hold))
}

fn read_own(headers: &HeaderMap) -> Result<Option<Instruction>, BadInstruction> {
    // Nearly every answer: a look at its few names costs less than a search.
    if !headers.keys().any(|name| *name == SUBSCRIBE_NAME) {
        return Ok(None);
    }
    let fields = &Fields::of(&COMET, headers);
    let mut channels = Vec::new();
    for value in fields.values(SUBSCRIBE) {
        subscriptions(value, &mut channels)?;
    }
    if channels.is_empty() {
        return Err(bad(SUBSCRIBE, "", "it names no channel"));
    }
    let seconds = |header| number(fields, header).map(|number| number.map(Duration::from_secs));
    let retry = number(fields, RETRY)?.map(Duration::from_millis);
    let (transport, parameters) = read_transport(fields)?;
    let (timeout, keepalive) = (seconds(TIMEOUT)?, seconds(KEEPALIVE)?);
    let (tag, messages, ticket) = (read_tag(fields)?, read_messages(fields)?, read_ticket(fields)?);
    #[rustfmt::skip]
    let instruction = Instruction {
        channels, transport, parameters, timeout, keepalive, retry, tag, messages, ticket,
    };
    Ok(Some(instruction))
}

fn read_tag(fields: &Fields) -> Result<Option<Box<str>>, BadInstruction> {
    let Some(tag) = single(fields, TAG)? else { return Ok(None) };
    let fits = !tag.is_empty() && tag.len() <= TAG_BYTES_MAX && !tag.chars().any(char::is_control);
    let expected = || format!("a tag has 1 to {TAG_BYTES_MAX} bytes and no control characters");
    if fits { Ok(Some(tag.into())) } else { Err(bad(TAG, tag, expected())) }
}

/// `/chat/messages?room=5`: a path of the same site.
fn read_messages(fields: &Fields) -> Result<Option<Box<str>>, BadInstruction> {
    let Some(path) = single(fields, MESSAGES)? else { return Ok(None) };
    let fits = path.starts_with('/')
        && path.len() <= PATH_BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        && path.parse::<PathAndQuery>().is_ok();
    let expected = || bad(MESSAGES, path, "the path of a route was expected, such as /chat/messages");
    if fits { Ok(Some(path.into())) } else { Err(expected()) }
}

/// `10m`; what it says of the transport has been read before.
fn read_ticket(fields: &Fields) -> Result<Option<Box<TicketTerms>>, BadInstruction> {
    let Some(text) = single(fields, TICKET)? else { return Ok(None) };
    let time = ticket_time(text).filter(|time| !time.is_zero() && *time <= TICKET_MAX);
    let expected = || bad(TICKET, text, "a time up to 24h was expected, such as 90s, 10m or 2h");
    let time = time.ok_or_else(expected)?;
    let transport = single(fields, TRANSPORT)?.unwrap_or_default().into();
    Ok(Some(Box::new(TicketTerms { time, transport, until: None })))
}

/// Whole seconds, minutes, hours or days; seconds where no unit stands.
fn ticket_time(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?))
}

/// `news, user-42;since=POSITION`.
fn subscriptions(
    value: &HeaderValue,
    channels: &mut Vec<(ChannelName, Option<Since>)>,
) -> Result<(), BadInstruction> {
    let text = text(SUBSCRIBE, value)?;
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let name = ChannelName::parse(name).map_err(|error| bad(SUBSCRIBE, text, error))?;
        let since = parts.try_fold(None, |_, parameter| read_since(parameter).map(Some));
        let since = since.map_err(|reason| bad(SUBSCRIBE, text, reason))?;
        if channels.iter().any(|(known, _)| *known == name) {
            return Err(bad(SUBSCRIBE, text, format!("the channel {name:?} is named twice")));
        }
        channels.push((name, since));
    }
    Ok(())
}

fn read_since(parameter: &str) -> Result<Since, String> {
    let value =
        parameter.strip_prefix("since=").ok_or_else(|| format!("the parameter {parameter:?} is unknown"))?;
    match value {
        "now" => Ok(Since::Now),
        "earliest" => Ok(Since::Earliest),
        position => match position.parse() {
            Ok(position) => Ok(Since::Position(position)),
            Err(_) => Err(format!("since is `now`, `earliest` or a position, not {position:?}")),
        },
    }
}

/// `iframe; domain=example.com; callback=app.take`.
fn read_transport(fields: &Fields) -> Result<(Option<TransportId>, Parameters), BadInstruction> {
    single(fields, TRANSPORT)?.map_or_else(|| Ok((None, Parameters::default())), parse_transport)
}

/// The same of the header's value; nothing is `auto`, too.
pub(super) fn parse_transport(value: &str) -> Result<(Option<TransportId>, Parameters), BadInstruction> {
    let mut parameters = Parameters::default();
    let mut parts = value.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    if matches!(name, "" | "auto") && value.len() == name.len() {
        return Ok((None, parameters));
    }
    let known = || transport::names().collect::<Vec<_>>().join(", ");
    let id = transport::named(name);
    let id = id.ok_or_else(|| bad(TRANSPORT, value, format!("the transports are auto, {}", known())))?;
    for parameter in parts {
        let (name, said) = parameter.split_once('=').unwrap_or((parameter, ""));
        let set = parameters.set(transport::transport(id), name.trim(), said.trim());
        set.map_err(|reason| bad(TRANSPORT, value, reason))?;
    }
    Ok((Some(id), parameters))
}

/// A number of seconds or milliseconds, from 1.
fn number(fields: &Fields, header: &'static str) -> Result<Option<u64>, BadInstruction> {
    let Some(text) = single(fields, header)? else { return Ok(None) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && (1..=SECONDS_MAX).contains(&number) => Ok(Some(number)),
        _ => Err(bad(header, text, format!("a whole number from 1 to {SECONDS_MAX} was expected"))),
    }
}

/// The value of a header that may stand once.
fn single<'a>(fields: &Fields<'a>, header: &'static str) -> Result<Option<&'a str>, BadInstruction> {
    let mut said = fields.values(header);
    let Some(value) = said.next() else { return Ok(None) };
    let value = text(header, value)?.trim();
    match said.next() {
        None => Ok(Some(value)),
        Some(_) => Err(bad(header, value, "it may stand only once")),
    }
}

/// Channel names are UTF-8, so the value is read as that and not as visible ASCII only.
fn text<'a>(header: &'static str, value: &'a HeaderValue) -> Result<&'a str, BadInstruction> {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes).map_err(|_| bad(header, &String::from_utf8_lossy(bytes), "UTF-8 was expected"))
}

impl Instruction {
    /// Puts a prefix before the names of its channels.
    ///
    /// # Errors
    /// A name becomes too long.
    pub fn put_under(&mut self, prefix: &str) -> Result<(), BadInstruction> {
        for (name, _) in &mut self.channels {
            *name = name.under(prefix).map_err(|error| bad(SUBSCRIBE, name.as_str(), error))?;
        }
        Ok(())
    }
}

fn bad(header: &'static str, value: &str, reason: impl ToString) -> BadInstruction {
    BadInstruction { header, value: value.chars().take(200).collect(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[(&'static str, &str)]) -> Result<Option<Instruction>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        read_own(&map).map_err(|bad| bad.to_string())
    }

    #[test]
    fn an_ordinary_answer_is_no_instruction() {
        assert_eq!(parse(&[("content-type", "text/html")]), Ok(None));
        assert_eq!(parse(&[("x-comet-timeout", "nonsense")]), Ok(None));
    }

    #[test]
    fn channels_come_from_every_header_and_keep_their_own_since() {
        let headers =
            [("x-comet-subscribe", "news, käse;since=now"), ("x-comet-subscribe", ",user-42 ; since=1f-9")];
        let instruction = parse(&headers).unwrap().unwrap();
        let names: Vec<_> = instruction.channels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["news", "käse", "user-42"]);
        let since: Vec<_> = instruction.channels.iter().map(|(_, since)| *since).collect();
        assert_eq!(since, [None, Some(Since::Now), Some(Since::Position("1f-9".parse().unwrap()))]);
    }

    #[test]
    fn every_other_header_is_read_too() {
        let instruction = parse(&[
            ("x-comet-subscribe", "a"),
            ("x-comet-transport", "ndjson ; padding=1024"),
            ("x-comet-timeout", "55"),
            ("x-comet-keepalive", "20"),
            ("x-comet-retry", "3000"),
            ("x-comet-ticket", "10m"),
            ("x-comet-tag", "session:42"),
        ]);
        let Instruction { transport, timeout, keepalive, retry, tag, ticket, .. } =
            instruction.unwrap().unwrap();
        let (time, said) = ticket.map(|terms| (terms.time, terms.transport)).unwrap();
        assert_eq!((time, &*said), (Duration::from_secs(600), "ndjson ; padding=1024"));
        assert_eq!(tag.as_deref(), Some("session:42"));
        assert_eq!(transport, transport::by_name("ndjson"));
        assert_eq!((timeout, keepalive), (Some(Duration::from_secs(55)), Some(Duration::from_secs(20))));
        assert_eq!(retry, Some(Duration::from_millis(3000)));
    }

    #[test]
    fn what_can_not_be_understood_is_quoted() {
        let subscribe = |value| parse(&[("x-comet-subscribe", value)]).unwrap_err();
        assert!(subscribe("").contains("it names no channel"));
        assert!(subscribe("a;since=yesterday").contains("not \"yesterday\""));
        assert!(subscribe("a;from=1").contains("\"from=1\" is unknown"));
        assert!(subscribe("a, a").contains("named twice"));
        assert!(subscribe(";since=now").contains("can't be empty"));
        let with = |name, value| parse(&[("x-comet-subscribe", "a"), (name, value)]).unwrap_err();
        for (value, reason) in [
            ("telepathy", "X-Comet-Transport: \"telepathy\", but the transports are auto, sse"),
            ("grip-websocket", "the transports are auto, sse"),
            ("auto; padding=1", "the transports are auto"),
            ("sse; padding=many", "padding is a number of bytes"),
            ("sse; domain=a", "sse has no parameter \"domain\""),
            ("iframe; callback=alert(1)", "callback is the name of a function"),
            ("iframe;", "iframe has no parameter \"\""),
        ] {
            let said = with("x-comet-transport", value);
            assert!(said.contains(reason), "{value}: {said}");
        }
        for value in ["", "-1", "+5", "1.5", "0", "99999999999", "x"] {
            assert!(with("x-comet-timeout", value).contains("whole number"), "{value}");
        }
        for value in ["", "-1s", "10 m", "0", "25h", "2d", "10ms", "99999999999999999999d"] {
            assert!(with("x-comet-ticket", value).contains("a time up to 24h"), "{value}");
        }
        let long = format!("/{}", "x".repeat(8192));
        for value in ["", "chat", "http://other/", "/a b", "/a#b", "/ä", &long] {
            assert!(with("x-comet-messages", value).contains("the path of a route"), "{value}");
        }
        for value in ["", "a\u{85}b", &"x".repeat(257)] {
            assert!(with("x-comet-tag", value).contains("a tag has 1 to 256 bytes"), "{value}");
        }
    }
}
