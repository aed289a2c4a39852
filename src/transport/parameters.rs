//! What one client's frames are made with besides messages: said by the application or by the request, checked.
//!
//! What opens a door between origins (`domain`, `origin`) is the application's word alone. The function that
//! is called may be the client's, since its page has to have it; a request from a foreign site may not name one in
//! a page of this one, where it would choose what is called there.

use std::time::Duration;

use super::{Delivery, Transport};
use crate::message::Position;

/// Parameters of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Function that is called with what comes; a name such as `app.news.take`.
    pub(super) callback: Option<Box<str>>,
    /// The domain that a frame and its page agree on.
    pub(super) domain: Option<Box<str>>,
    /// The origin of the page that a frame may speak to.
    pub(super) origin: Option<Box<str>>,
    /// Bytes of padding before the first message.
    pub(super) padding: usize,
    /// The query with which a client that is answered at once comes again, without its position.
    pub(super) query: Option<Box<str>>,
    /// What the head of a WebSocket says to the request's key.
    pub(super) accept: Option<Box<str>>,
    /// With what it may come back without the application.
    pub(super) ticket: Option<Box<InBand>>,
    /// What its stream says at its beginning, where it wants that.
    pub(super) begin: Option<Box<Begin>>,
}

/// Where a stream begins, for a client that comes back before it has got a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begin {
    /// The place of all its channels, where that is one.
    pub(super) position: Option<Position>,
}

impl Begin {
    /// `{"event":"comet.open","position":…,"retry":…}`; the type only where the stream has no other place for it.
    pub(super) fn object(&self, event: Option<&str>, retry: Option<Duration>) -> String {
        let retry = retry.map_or("null".into(), |retry| retry.as_millis().to_string());
        format!("{{{}\"position\":{},\"retry\":{retry}}}", typed(event), quoted(self.position))
    }
}

/// The type of an object as its first field.
fn typed(event: Option<&str>) -> String {
    event.map_or(String::new(), |event| format!("\"event\":\"{event}\","))
}

fn quoted(position: Option<Position>) -> String {
    position.map_or("null".into(), |position| format!("\"{position}\""))
}

/// A ticket as a page's script gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InBand {
    /// The ticket: letters, digits, `-`, `_` and a full stop.
    text: Box<str>,
    /// Where its hold begins, where that is one place for all channels.
    pub(super) position: Option<Position>,
}

impl InBand {
    /// `{"event":"comet.ticket","ticket":…,"position":…}`; the type only where the stream has no other place for it.
    pub(super) fn object(&self, event: Option<&str>, out: &mut Vec<u8>) {
        out.push(b'{');
        out.extend_from_slice(typed(event).as_bytes());
        out.extend_from_slice(b"\"ticket\":\"");
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(b"\",\"position\":");
        out.extend_from_slice(quoted(self.position).as_bytes());
        out.push(b'}');
    }

    /// The first field of the answer to a poll, which says its position itself.
    pub(super) fn beginning(&self) -> String {
        format!("{{\"ticket\":\"{}\",", self.text)
    }
}

/// What a request says of its frames.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The query of its target.
    pub query: Option<&'a str>,
    /// Whether a browser says that another site has sent it (`Sec-Fetch-Site: cross-site`).
    pub cross_site: bool,
    /// The answer to its key, where it becomes a WebSocket.
    pub accept: Option<&'a str>,
}

/// The function that the request wants to be called can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCallback {
    /// It isn't a name.
    #[error("the callback is not the name of a function")]
    Name,
    /// It is to be called in a page of this site by order of another.
    #[error("another site can't name a callback here")]
    Foreign,
}

/// As in the rules for JSONP that its clients keep: more is no name but a programme.
const CALLBACK_BYTES_MAX: usize = 64;
/// Longest host name (RFC 1035 §2.3.4); an origin has a scheme and a port besides.
const DOMAIN_BYTES_MAX: usize = 253;
/// More than any engine has waited for, which is 4 KiB.
const PADDING_MAX: usize = 16 * 1024;
/// Names under which requests carry a callback.
const CALLBACK_KEYS: [&str; 2] = ["callback", "jsonp"];

impl Parameters {
    /// Gives the client a ticket, in frames that have a place for it.
    pub fn carry(&mut self, ticket: String, position: Option<Position>) {
        self.ticket = Some(Box::new(InBand { text: ticket.into(), position }));
    }

    /// Says at the beginning of a stream where that is; `None` where its channels begin at several places.
    pub fn say_beginning(&mut self, position: Option<Position>) {
        self.begin = Some(Box::new(Begin { position }));
    }

    /// Takes one that stands behind the transport's name in the application's header.
    ///
    /// # Errors
    /// Why it can't be meant.
    pub fn set(&mut self, transport: &dyn Transport, name: &str, value: &str) -> Result<(), String> {
        if !transport.parameters().contains(&name) {
            return Err(format!("{} has no parameter {name:?}", transport.name()));
        }
        let expected = |what: &str| format!("{name} is {what}, not {value:?}");
        match name {
            "callback" if is_function_name(value) => self.callback = Some(value.into()),
            "domain" if is_domain(value) => self.domain = Some(value.into()),
            "origin" if is_origin(value) => self.origin = Some(value.into()),
            "padding" => match value.parse() {
                Ok(bytes) if bytes <= PADDING_MAX => self.padding = bytes,
                _ => return Err(expected(&format!("a number of bytes up to {PADDING_MAX}"))),
            },
            "callback" => return Err(expected("the name of a function")),
            "domain" => return Err(expected("a host name")),
            _ => return Err(expected("an origin such as https://www.example.com")),
        }
        Ok(())
    }

    /// Adds what the request says and the application has left open.
    ///
    /// # Errors
    /// A callback that can't be called, wherever the transport calls one.
    pub fn complete(mut self, transport: &dyn Transport, asked: Asked) -> Result<Parameters, BadCallback> {
        if transport.parameters().contains(&"callback") && self.callback.is_none() {
            self.callback = callback(asked.query)?;
            // A script of JSONP runs in the page that names the function; a frame calls into its parent.
            let calls_parent = transport.parameters().contains(&"domain");
            if self.callback.is_some() && calls_parent && asked.cross_site {
                return Err(BadCallback::Foreign);
            }
        }
        self.accept = asked.accept.map(Into::into);
        if transport.delivery() == Delivery::AtOnce {
            self.query = asked.query.map(without_position);
        }
        Ok(self)
    }
}

/// What bytes that are shared by all clients are made with.
pub(crate) static NONE: Parameters = Parameters {
    callback: None,
    domain: None,
    origin: None,
    padding: 0,
    query: None,
    accept: None,
    ticket: None,
    begin: None,
};

/// Whether a query names a function to call.
pub(super) fn names_callback(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| CALLBACK_KEYS.contains(&split(pair).0)))
}

/// The function that a query names, in `callback` or `jsonp`.
///
/// # Errors
/// It isn't the name of one.
pub fn callback(query: Option<&str>) -> Result<Option<Box<str>>, BadCallback> {
    let mut named = query.unwrap_or_default().split('&').map(split);
    let Some((_, value)) = named.find(|(key, _)| CALLBACK_KEYS.contains(key)) else { return Ok(None) };
    function_name(value).map(Some)
}

/// A function whose name stands in a query, percent-encoded.
///
/// # Errors
/// It isn't the name of one.
pub fn function_name(encoded: &str) -> Result<Box<str>, BadCallback> {
    let name = decoded(encoded).filter(|name| is_function_name(name));
    name.map(Into::into).ok_or(BadCallback::Name)
}

/// A query without the client's position.
pub(crate) fn without_position(query: &str) -> Box<str> {
    let kept = query.split('&').filter(|pair| !pair.is_empty() && split(pair).0 != "lastEventId");
    kept.collect::<Vec<_>>().join("&").into()
}

fn split(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

/// Without percent-encoding (RFC 3986 §2.1); `None` for what isn't UTF-8 then, or no encoding.
fn decoded(text: &str) -> Option<String> {
    String::from_utf8(percent_decoded(text)?).ok()
}

/// Bytes that stand percent-encoded in a query; `None` where that is no encoding.
pub fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

/// Names with full stops between them, in ASCII; reserved words do no harm, since they can't be called.
fn is_function_name(name: &str) -> bool {
    let part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
        !part.is_empty() && part.bytes().all(inner) && !part.as_bytes()[0].is_ascii_digit()
    };
    name.len() <= CALLBACK_BYTES_MAX && name.split('.').all(part)
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner)
    };
    name.len() <= DOMAIN_BYTES_MAX && name.split('.').all(label)
}

/// Scheme, host and perhaps a port, as browsers write them (RFC 6454 §6.2).
fn is_origin(origin: &str) -> bool {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let Some(host) = host else { return false };
    let (host, port) = host.rsplit_once(':').unwrap_or((host, "1"));
    is_domain(host) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport;

    fn complete(name: &str, query: impl AsRef<str>, cross_site: bool) -> Result<Parameters, BadCallback> {
        let transport = transport::transport(transport::by_name(name).unwrap());
        Parameters::default()
            .complete(transport, Asked { query: Some(query.as_ref()), cross_site, accept: None })
    }

    #[test]
    fn a_callback_is_the_name_of_a_function_and_nothing_else() {
        fn named(query: impl AsRef<str>) -> Result<Option<Box<str>>, BadCallback> {
            complete("jsonp", query, true).map(|parameters| parameters.callback)
        }
        assert_eq!(named("a=1"), Ok(None));
        for good in ["f", "app.news.take", "$_1", "_cometd_jsonp_7", "a%2Eb", "%66", &"x".repeat(64)] {
            let name = decoded(good).unwrap();
            assert_eq!(named(format!("a=1&callback={good}")), Ok(Some(name.into())), "{good}");
        }
        let bad = ["", "1a", "a..b", ".a", "a.", "a-b", "a(1)", "alert(1)//", "a%0Ab", "a%2", "%zz", "a+b"];
        let long = "x".repeat(65);
        for bad in bad.into_iter().chain(["ä", "%C3%A4", "a%00", "a[0]", "</script>", "a;b", "%ff", &long]) {
            assert_eq!(named(format!("callback={bad}")), Err(BadCallback::Name), "{bad}");
            assert_eq!(named(format!("jsonp={bad}&callback=f")), Err(BadCallback::Name), "{bad}");
        }
        assert_eq!(named("callback"), Err(BadCallback::Name));
    }

    #[test]
    fn another_site_names_no_function_of_a_parent() {
        let named = complete("iframe", "callback=f", false).unwrap();
        assert_eq!(named.callback, Some("f".into()));
        assert_eq!(complete("iframe", "callback=f", true), Err(BadCallback::Foreign));
        assert!(complete("iframe", "", true).is_ok());
        // Who calls nothing isn't asked.
        assert_eq!(complete("sse", "callback=alert(1)", true), Ok(Parameters::default()));
    }

    #[test]
    fn the_application_says_only_what_the_transport_knows() {
        let set = |transport: &str, name, value| {
            let mut parameters = Parameters::default();
            let transport = transport::transport(transport::by_name(transport).unwrap());
            parameters.set(transport, name, value).map(|()| parameters)
        };
        let is_padding = |parameters: Parameters| parameters.padding == 1024;
        assert!(set("sse", "padding", "1024").is_ok_and(is_padding));
        for (transport, name, value) in [
            ("sse", "padding", "16385"),
            ("sse", "padding", "-1"),
            ("sse", "callback", "f"),
            ("long-poll", "padding", "1"),
            ("iframe", "domain", "a\"b"),
            ("iframe", "domain", "a..b"),
            ("iframe", "origin", "https://a/b"),
            ("iframe", "origin", "javascript:alert(1)"),
            ("iframe", "origin", "*"),
            ("iframe", "callback", "f()"),
        ] {
            let said = set(transport, name, value).unwrap_err();
            assert!(said.contains(name), "{transport} {name} {value}: {said}");
        }
        for origin in ["http://localhost:8080", "https://www.example.com"] {
            assert!(set("iframe", "origin", origin).is_ok(), "{origin}");
        }
    }

    #[test]
    fn whoever_comes_again_brings_its_query_without_its_position() {
        let query = |query: &str| complete("client-pull", query, false).unwrap().query.unwrap().to_string();
        assert_eq!(query("lastEventId=e-1&a=%22&&b"), "a=%22&b");
        assert_eq!(query("lastEventId"), "");
    }
}
