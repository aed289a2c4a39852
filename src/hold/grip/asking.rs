//! Filters that ask a URL about each message, for each client: what is asked, and what comes of the answer; pure.
//!
//! Whoever holds the client asks through [`Asks`], gives it nothing else meanwhile, and goes on with what is ruled.

use std::borrow::Cow;

use bytes::Bytes;

use super::filter::{Filters, Step};
use super::session::{Meta, Session};
use crate::hold::Line;
use crate::message::Message;

/// A message that waits for a ruling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub(super) filters: Filters,
    /// The filter that asks.
    pub(super) at: usize,
    /// As far as the filters before it have changed it.
    pub(super) content: Bytes,
    /// What the client has of its channels.
    pub(super) last_ids: LastIds,
}

/// Channels by the names that the application says, and the id of the last message that a client has of each.
type LastIds = Vec<(Box<str>, Box<str>)>;

/// What is asked. Equal questions have one answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The whole URL.
    pub url: Box<str>,
    /// What is known of the client, as a JSON object.
    pub client: Box<str>,
    /// What the publisher says of the message, as a JSON object.
    pub message: Box<str>,
    /// What the client has.
    pub last_ids: LastIds,
    /// The message itself, where it may be changed.
    pub content: Option<Bytes>,
}

/// What is said about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It is for the client, as it is.
    Pass,
    /// These bytes are, in its place.
    Replace(Bytes),
    /// It isn't, or nobody could say so.
    Drop,
}

/// What comes of a ruling.
#[derive(Debug, PartialEq, Eq)]
pub enum Ruled {
    /// These bytes are for the client.
    Send(Bytes),
    /// The next filter asks.
    Ask(Pending),
    /// It isn't for the client.
    Nothing,
}

/// Whoever asks.
pub trait Asks: Send + Sync {
    /// Asks for a client whose request was for this URL, and tells the ruling through the line. Called by threads that must
    /// not wait.
    fn ask(&self, question: Question, origin: &str, line: Line);
}

impl Session {
    /// What is asked about a message whose client has begun at this URL; `None` where its meta names no URL.
    pub fn question(&self, pending: &Pending, message: &Message, origin: &str) -> Option<Question> {
        let url = self.meta_of("url").filter(|url| !url.is_empty())?;
        let published = message.forms.as_ref().map(|forms| &forms.meta);
        Some(Question {
            url: resolved(origin, url)?,
            client: object(self.meta()),
            message: published.map_or_else(|| "{}".into(), object),
            last_ids: pending.last_ids.clone(),
            content: pending.filters.changes(pending.at).then(|| pending.content.clone()),
        })
    }

    /// Goes on with a message behind the filter that has asked.
    pub fn ruled(&self, pending: Pending, ruling: Ruling) -> Ruled {
        let Pending { filters, at, content, last_ids } = pending;
        let content = match ruling {
            Ruling::Drop => return Ruled::Nothing,
            Ruling::Pass => content,
            Ruling::Replace(content) => content,
        };
        let bytes = |changed: Cow<'_, [u8]>| match changed {
            Cow::Borrowed(_) => content.clone(),
            Cow::Owned(changed) => changed.into(),
        };
        match self.filtered(&filters, at + 1, &content) {
            Ok(Step::Done(changed)) => Ruled::Send(bytes(changed)),
            Ok(Step::Ask(at, changed)) => {
                Ruled::Ask(Pending { content: bytes(changed), filters, at, last_ids })
            }
            Err(error) => {
                tracing::debug!(%error, "a message is left out");
                Ruled::Nothing
            }
        }
    }
}

fn object(meta: &Meta) -> Box<str> {
    let pairs = meta.iter().map(|(name, value)| (name.to_string(), serde_json::Value::from(&**value)));
    serde_json::Value::Object(pairs.collect()).to_string().into()
}

/// A URL from where the client's request was for (RFC 3986 §5.2, without dots, which a list of beginnings must not be
/// got around by).
fn resolved(origin: &str, url: &str) -> Option<Box<str>> {
    let (scheme, rest) = origin.split_once("://")?;
    let root = &origin[..origin.len() - rest.len() + rest.find('/').unwrap_or(rest.len())];
    let path = origin[root.len()..].split('?').next().unwrap_or_default();
    let whole = match url {
        _ if url.starts_with("http://") || url.starts_with("https://") => url.to_owned(),
        _ if url.starts_with("//") => format!("{scheme}:{url}"),
        _ if url.starts_with('/') => format!("{root}{url}"),
        _ if url.starts_with('?') => format!("{root}{path}{url}"),
        _ => format!("{root}{}/{url}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    let whole = whole.split('#').next().unwrap_or_default();
    let lower = whole.to_ascii_lowercase();
    let has_dots = ["/.", "%2e", "\\", "@"].iter().any(|odd| lower.contains(odd));
    (!has_dots && whole.bytes().all(|byte| byte.is_ascii_graphic())).then(|| whole.into())
}

#[cfg(test)]
mod tests {
    use super::super::session::Subscription;
    use super::super::{Deed, Filters};
    use super::*;
    use crate::message::{ChannelName, Data, Form, Forms, ToStream};

    fn session(filters: &[&str]) -> Session {
        let subscription = Subscription {
            name: ChannelName::parse("a").unwrap(),
            prev_id: Some("1".into()),
            filters: Filters::read(filters.iter().copied()),
        };
        let meta = [("user", "é"), ("url", "check?x=1")].map(|(name, value)| (name.into(), value.into()));
        Session::new(vec![subscription], meta.into(), None)
    }

    fn message(content: &'static str) -> Message {
        let stream = Form { filters: None, act: ToStream::Send(content.into()) };
        let meta = vec![("sender".into(), "b".into())];
        let forms = Forms {
            id: Some("2".into()),
            prev_id: Some("1".into()),
            meta,
            stream: Some(stream),
            ..Forms::default()
        };
        Message {
            forms: Some(Box::new(forms)),
            ..Message::new(ChannelName::parse("a").unwrap(), Data::Text(content.into()))
        }
    }

    fn pending(session: &mut Session, message: &Message) -> Pending {
        match session.on_stream(message) {
            Deed::Ask(pending) => *pending,
            deed => panic!("{deed:?}"),
        }
    }

    #[test]
    fn a_question_says_what_is_known_of_client_and_message() {
        let mut session = session(&["http-check"]);
        let message = message("hi");
        let pending = pending(&mut session, &message);
        let question = session.question(&pending, &message, "https://example.com/events/all?y").unwrap();
        assert_eq!(&*question.url, "https://example.com/events/check?x=1");
        assert_eq!(&*question.client, r#"{"url":"check?x=1","user":"é"}"#);
        assert_eq!(&*question.message, r#"{"sender":"b"}"#);
        assert_eq!(question.content, None);
        // What it had before this one.
        assert_eq!(question.last_ids, [("a".into(), "1".into())]);
        assert_eq!(session.ruled(pending.clone(), Ruling::Pass), Ruled::Send("hi".into()));
        assert_eq!(session.ruled(pending, Ruling::Drop), Ruled::Nothing);
    }

    #[test]
    fn filters_go_on_in_their_order_with_what_is_ruled() {
        let mut session = session(&["var-subst", "http-modify", "build-id", "http-check"]);
        let message = message("hi %(user)s");
        let first = pending(&mut session, &message);
        let question = session.question(&first, &message, "http://example.com").unwrap();
        assert_eq!((&*question.url, question.content), ("http://example.com/check?x=1", Some("hi é".into())));
        let Ruled::Ask(second) = session.ruled(first.clone(), Ruling::Replace("%(x)I!".into())) else {
            panic!()
        };
        let question = session.question(&second, &message, "http://example.com").unwrap();
        assert_eq!(question.content, None);
        assert_eq!(session.ruled(second, Ruling::Pass), Ruled::Send("x!".into()));
        // What can't be applied leaves it out.
        assert_eq!(session.ruled(first, Ruling::Replace("%I".into())), Ruled::Nothing);
    }

    #[test]
    fn a_url_leads_from_the_request_and_never_by_dots() {
        let from = |url| resolved("https://example.com:8443/a/b?x", url);
        for (url, expected) in [
            ("/c?d=1#e", Some("https://example.com:8443/c?d=1")),
            ("c", Some("https://example.com:8443/a/c")),
            ("?d", Some("https://example.com:8443/a/b?d")),
            ("//other/c", Some("https://other/c")),
            ("http://other:1/c", Some("http://other:1/c")),
            ("../c", None),
            ("/x/%2E%2e/c", None),
            ("/x\\c", None),
            ("http://a@b/", None),
            ("/c d", None),
            ("/c\r\nx", None),
        ] {
            assert_eq!(from(url).as_deref(), expected, "{url}");
        }
    }
}
