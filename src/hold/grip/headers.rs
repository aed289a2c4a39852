//! `Grip-*` headers of an answer. The first of those that can stand only once counts, as in Pushpin.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::filter::{FILTERS_MAX, Filters};
use super::keepalive::KeepAlive;
use super::params::{Element, elements, link_elements, param};
use super::{CHANNELS_MAX, Channel, GRIP, Link, Mode, Next, Status, Terms, bad, body};
use crate::hold::{BadInstruction, Fields};
use crate::message::ChannelName;

const HOLD: &str = "Grip-Hold";
const CHANNEL: &str = "Grip-Channel";
const TIMEOUT: &str = "Grip-Timeout";
const KEEP_ALIVE: &str = "Grip-Keep-Alive";
const SET_META: &str = "Grip-Set-Meta";
const STATUS: &str = "Grip-Status";
const LINK: &str = "Grip-Link";
const EXPOSE: &str = "Grip-Expose-Headers";

/// Longest time that may be named: a year, so that no arithmetic on deadlines can overflow.
pub(super) const SECONDS_MAX: u64 = 366 * 24 * 3600;
/// How long a stream may be silent before its application is asked, where that doesn't say. As Pushpin has it.
const LINK_TIMEOUT: Duration = Duration::from_secs(120);
const LINK_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Reads them all.
pub(super) fn read(headers: &HeaderMap) -> Result<Terms, BadInstruction> {
    let fields = &Fields::of(&GRIP, headers);
    let mut terms = Terms {
        mode: first(fields, HOLD)?.map(mode).transpose()?,
        channels: channels(fields)?,
        timeout: first(fields, TIMEOUT)?
            .map(|text| seconds(text).map_err(|reason| bad(TIMEOUT, text, reason)))
            .transpose()?,
        keepalive: first(fields, KEEP_ALIVE)?
            .map(|text| KeepAlive::read(text).map_err(|reason| bad(KEEP_ALIVE, text, reason)))
            .transpose()?,
        meta: all(fields, SET_META)?
            .iter()
            .filter_map(|element| param(&element.value))
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        status: first(fields, STATUS)?.filter(|text| !text.is_empty()).map(status).transpose()?,
        expose: all(fields, EXPOSE)?
            .iter()
            .filter_map(|name| HeaderName::from_bytes(name.value.as_bytes()).ok())
            .collect(),
        is_body: headers.get(CONTENT_TYPE).is_some_and(|value| body::is_instruct(value.as_bytes())),
        ..Terms::default()
    };
    links(fields, &mut terms)?;
    Ok(terms)
}

/// A whole number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(seconds) if digits => Ok(Duration::from_secs(seconds.min(SECONDS_MAX))),
        _ => Err("a whole number of seconds was expected".into()),
    }
}

/// A channel with its filters; none where no channel has such a name.
pub(super) fn channel(
    name: &str,
    prev_id: Option<&str>,
    filters: &[&str],
) -> Result<Option<Channel>, String> {
    if filters.len() > FILTERS_MAX {
        return Err(format!("a channel has at most {FILTERS_MAX} filters"));
    }
    // No message is ever published to what is no name.
    let Ok(name) = ChannelName::parse(name) else { return Ok(None) };
    let filters = Filters::read(filters.iter().copied());
    Ok(Some(Channel { name, prev_id: prev_id.map(Into::into), filters }))
}

/// Adds a channel as long as there is room; a name that comes again counts once.
pub(super) fn add(channels: &mut Vec<Channel>, channel: Channel) {
    if channels.len() >= CHANNELS_MAX {
        return tracing::debug!(channel = %channel.name, "a client of GRIP is on no more than {CHANNELS_MAX} channels");
    }
    if channels.iter().all(|known| known.name != channel.name) {
        channels.push(channel);
    }
}

fn mode(text: &str) -> Result<Mode, BadInstruction> {
    match text {
        "response" => Ok(Mode::Response),
        "stream" => Ok(Mode::Stream),
        _ => Err(bad(HOLD, text, "it must be set to either 'response' or 'stream'")),
    }
}

fn channels(fields: &Fields) -> Result<Vec<Channel>, BadInstruction> {
    let mut channels = Vec::new();
    for element in all(fields, CHANNEL)? {
        let filters: Vec<&str> = element.all("filter").collect();
        let read = channel(&element.value, element.get("prev-id"), &filters);
        if let Some(channel) = read.map_err(|reason| bad(CHANNEL, &element.value, reason))? {
            add(&mut channels, channel);
        }
    }
    Ok(channels)
}

/// `304` or `418 Teapot`.
fn status(text: &str) -> Result<Status, BadInstruction> {
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    let code = code.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
    // HTTP/1 has no other status for a final answer.
    let code = code.filter(|code| code.as_u16() >= 200);
    let code = code.ok_or_else(|| bad(STATUS, text, "a status and its words were expected"))?;
    let reason = reason.trim();
    Ok(Status { code, reason: (!reason.is_empty()).then(|| reason.into()) })
}

fn links(fields: &Fields, terms: &mut Terms) -> Result<(), BadInstruction> {
    let mut links = Vec::new();
    for value in fields.values(LINK) {
        links.extend(link_elements(text(LINK, value)?));
    }
    for element in links.iter().filter(|element| element.has_params()) {
        let wrong = |reason: &str| bad(LINK, &element.value, reason);
        let inner = element.value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        let inner = inner.ok_or_else(|| wrong("a link stands in <>"))?;
        let link = Link::read(inner).ok_or_else(|| wrong("it leads nowhere"))?;
        match element.get("rel") {
            Some("next") if terms.next.is_none() => {
                let timeout = element.get("timeout").map(seconds).transpose();
                let timeout = timeout.map_err(|reason| wrong(&reason))?.unwrap_or(LINK_TIMEOUT);
                terms.next = Some(Next { link, timeout: timeout.max(LINK_TIMEOUT_MIN) });
            }
            Some("gone") if terms.gone.is_none() => terms.gone = Some(link),
            _ => {}
        }
    }
    Ok(())
}

/// The value of a header's first line.
fn first<'a>(fields: &Fields<'a>, name: &'static str) -> Result<Option<&'a str>, BadInstruction> {
    fields.values(name).next().map(|value| text(name, value).map(str::trim)).transpose()
}

/// The elements of all of its lines.
fn all(fields: &Fields, name: &'static str) -> Result<Vec<Element>, BadInstruction> {
    let mut read = Vec::new();
    for value in fields.values(name) {
        read.extend(elements(text(name, value)?));
    }
    Ok(read)
}

/// Channels are UTF-8, so that is what headers are read as.
fn text<'a>(name: &'static str, value: &'a HeaderValue) -> Result<&'a str, BadInstruction> {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes).map_err(|_| bad(name, &String::from_utf8_lossy(bytes), "UTF-8 was expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(fields: &[(&'static str, &str)]) -> Result<Terms, BadInstruction> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        read(&headers)
    }

    #[test]
    fn channels_come_from_all_lines_and_the_rest_from_the_first() {
        let many: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        let read = terms(&[
            ("grip-hold", "response"),
            ("grip-hold", "stream"),
            ("grip-channel", "a; prev-id=1; prev-id=2; filter=skip-self; Filter=x, b; x=\"open, c"),
            ("grip-channel", "\u{fc}; prev-id=\"x, y\", a; prev-id=9"),
            ("grip-channel", &many.join(", ")),
            ("grip-set-meta", "user=\"alice, \\\"a\\\"\", id_format=x; y=z"),
            ("grip-set-meta", "user=bob"),
            ("grip-timeout", "7"),
            ("grip-timeout", "x"),
        ])
        .unwrap();
        assert_eq!((read.mode, read.response_timeout().as_secs()), (Some(Mode::Response), 7));
        let names: Vec<_> = read.channels.iter().map(|channel| channel.name.as_str()).collect();
        // What breaks off is left out, a name counts once, and twenty are all.
        assert_eq!((&names[..3], names.len()), (&["a", "\u{fc}", "0"][..], CHANNELS_MAX));
        let last: Vec<_> = read.channels.iter().filter_map(|channel| channel.prev_id.as_deref()).collect();
        assert_eq!(last, ["1", "x, y"]);
        let meta: Vec<_> = read.meta.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(meta, [("user", "alice, \"a\""), ("id_format", "x"), ("user", "bob")]);
    }

    #[test]
    fn times_are_those_of_pushpin_where_nothing_is_said() {
        let seconds = |timeout: Option<&str>| {
            let fields: Vec<_> = timeout.into_iter().map(|timeout| ("grip-timeout", timeout)).collect();
            terms(&fields).unwrap().response_timeout().as_secs()
        };
        assert_eq!([None, Some("0"), Some("4"), Some("6")].map(seconds), [55, 5, 5, 6]);
        let link = |value: &str| terms(&[("grip-link", value)]).map(|terms| terms.next);
        for (value, seconds) in
            [("</a>; rel=next", 120), ("</a>; rel=next; timeout=0", 1), ("<a>; timeout=9; rel=next", 9)]
        {
            assert_eq!(link(value).unwrap().unwrap().timeout.as_secs(), seconds, "{value}");
        }
        for nowhere in ["</a>", "a", "</a>; rel=gone", "</a>; rel=other"] {
            assert_eq!(link(nowhere), Ok(None), "{nowhere}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_header() {
        for (name, value) in [
            ("Grip-Hold", "Stream"),
            ("Grip-Channel", "a; filter=1; filter=2; filter=3; filter=4; filter=5; filter=6"),
            ("Grip-Timeout", "-1"),
            ("Grip-Timeout", "1.5"),
            ("Grip-Keep-Alive", ""),
            ("Grip-Keep-Alive", "a; timeout=-1"),
            ("Grip-Keep-Alive", "a; format=hex"),
            ("Grip-Status", "1000"),
            ("Grip-Status", "OK 200"),
            ("Grip-Link", "/a; rel=next"),
            ("Grip-Link", "<>; rel=next"),
            ("Grip-Link", "</a>; rel=next; timeout=x"),
        ] {
            let lower = HeaderName::try_from(name).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(lower, value.parse().unwrap());
            assert_eq!(read(&headers).map_err(|bad| bad.header).err(), Some(name), "{name}: {value}");
        }
    }
}
