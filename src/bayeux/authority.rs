//! What an application is asked about clients, and what it says to that; pure.
//!
//! All that the messages of a request need to know is asked at once. An answer may be remembered for the session that it
//! was about, for as long as it says, and for nobody else.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What an application has answered.
#[derive(Debug)]
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// How long it may be remembered, where it says that.
    pub max_age: Option<Duration>,
    /// Its body.
    pub body: Bytes,
}

/// Something that not everybody may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Deed {
    pub(super) verb: Verb,
    /// A channel or a pattern; nothing for a handshake.
    pub(super) channel: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verb {
    Handshake,
    Subscribe,
    Publish,
}

/// What was said to a deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    Granted,
    /// With this error.
    Denied(Box<str>),
}

/// What is known about the deeds of a request.
pub(super) enum Rulings {
    /// Nobody is to be asked.
    Free,
    /// What was said, by session. What isn't here nobody has said anything to.
    Said(HashMap<(Box<str>, Deed), Ruling>),
}

/// Questions about the deeds of a request.
#[derive(Default)]
pub(super) struct Inquiry<'a> {
    questions: Vec<Question<'a>>,
    asked: HashSet<(Box<str>, Deed)>,
    known: HashMap<(Box<str>, Deed), Ruling>,
}

#[derive(Serialize)]
struct Question<'a> {
    may: Verb,
    client: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    channel: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<&'a RawValue>,
}

/// Rulings that a session's application doesn't have to give again for a while.
#[derive(Default)]
pub(super) struct Remembered(HashMap<Deed, (Ruling, Instant)>);

/// Nobody could be asked, or what he said can't be understood.
const FAILED: &str = "503::authorization_failed";
/// Bytes of an error that an application words itself.
const ERROR_MAX: usize = 256;

impl Verb {
    fn denied(self) -> &'static str {
        match self {
            Verb::Handshake => "handshake_denied",
            Verb::Subscribe => "subscribe_denied",
            Verb::Publish => "publish_denied",
        }
    }
}

impl Deed {
    pub(super) fn new(verb: Verb, channel: &str) -> Deed {
        Deed { verb, channel: channel.into() }
    }

    fn denied(&self) -> Ruling {
        Ruling::Denied(format!("403:{}:{}", self.channel, self.verb.denied()).into())
    }
}

impl Rulings {
    /// Whether a client may do something.
    pub(super) fn allow(&self, client: &str, verb: Verb, channel: &str) -> Result<(), Cow<'static, str>> {
        let Rulings::Said(said) = self else { return Ok(()) };
        match said.get(&(client.into(), Deed::new(verb, channel))) {
            Some(Ruling::Granted) => Ok(()),
            Some(Ruling::Denied(error)) => Err(error.to_string().into()),
            None => Err(FAILED.into()),
        }
    }
}

impl<'a> Inquiry<'a> {
    /// Asks about a deed, once, unless it is remembered what was said.
    pub(super) fn ask(&mut self, client: &str, deed: Deed, ext: Option<&'a RawValue>) {
        if self.asked.insert((client.into(), deed.clone())) {
            let Deed { verb, channel } = deed;
            self.questions.push(Question { may: verb, client: client.into(), channel, ext });
        }
    }

    /// What is remembered of a deed.
    pub(super) fn knows(&mut self, client: &str, deed: Deed, ruling: Ruling) {
        self.known.insert((client.into(), deed), ruling);
    }

    /// The questions as they are sent; `None` where there are none.
    pub(super) fn json(&self) -> Option<Vec<u8>> {
        #[derive(Serialize)]
        struct Body<'b> {
            questions: &'b [Question<'b>],
        }
        let body = Body { questions: &self.questions };
        let written = || serde_json::to_vec(&body).expect("strings and values that were read can be written");
        (!self.questions.is_empty()).then(written)
    }

    /// How many questions there are.
    pub(super) fn len(&self) -> usize {
        self.questions.len()
    }

    /// What was said to them, in their order; nothing where that can't be understood.
    pub(super) fn close(self, answered: Option<&Answered>) -> (Vec<(Box<str>, Deed, Ruling)>, Rulings) {
        let rulings = answered.and_then(|answered| self.rulings(answered)).unwrap_or_default();
        let deed = |question: &Question<'_>| Deed::new(question.may, &question.channel);
        let fresh: Vec<_> = (self.questions.iter().zip(rulings))
            .map(|(question, ruling)| (question.client.clone(), deed(question), ruling))
            .collect();
        let mut all = self.known;
        all.extend(
            fresh.iter().map(|(client, deed, ruling)| ((client.clone(), deed.clone()), ruling.clone())),
        );
        (fresh, Rulings::Said(all))
    }

    fn rulings(&self, answered: &Answered) -> Option<Vec<Ruling>> {
        #[derive(Deserialize)]
        struct Body {
            answers: Vec<Said>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            May(bool),
            Error(String),
        }
        let deeds = self.questions.iter().map(|question| Deed::new(question.may, &question.channel));
        match answered.status {
            StatusCode::NO_CONTENT => Some(deeds.map(|_| Ruling::Granted).collect()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Some(deeds.map(|deed| deed.denied()).collect())
            }
            StatusCode::OK => {
                let body: Body = serde_json::from_slice(&answered.body).ok()?;
                let rulings = deeds.zip(&body.answers).map(|(deed, said)| match said {
                    Said::May(true) => Ruling::Granted,
                    Said::Error(error) if is_error(error) => Ruling::Denied(error.as_str().into()),
                    Said::May(false) | Said::Error(_) => deed.denied(),
                });
                (body.answers.len() == self.questions.len()).then(|| rulings.collect())
            }
            _ => None,
        }
    }
}

/// `ccc:arguments:words` (Bayeux 1.0, "error").
fn is_error(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let code = parts.next().unwrap_or_default();
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    is_code && parts.count() == 2 && text.len() <= ERROR_MAX
}

impl Remembered {
    /// What was said to a deed, if that still holds.
    pub(super) fn ruling(&self, deed: &Deed, now: Instant) -> Option<Ruling> {
        let (ruling, until) = self.0.get(deed)?;
        (*until > now).then(|| ruling.clone())
    }

    /// Keeps what was said; whether there is room among so many.
    pub(super) fn keep(
        &mut self,
        deed: Deed,
        ruling: Ruling,
        (now, until): (Instant, Instant),
        room: usize,
    ) -> bool {
        let kept = &mut self.0;
        if kept.len() >= room && !kept.contains_key(&deed) {
            kept.retain(|_, (_, until)| *until > now);
        }
        let fits = kept.len() < room || kept.contains_key(&deed);
        if fits {
            kept.insert(deed, (ruling, until));
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inquiry() -> Inquiry<'static> {
        let mut inquiry = Inquiry::default();
        inquiry.ask("c1", Deed::new(Verb::Subscribe, "/a/*"), None);
        inquiry.ask("c1", Deed::new(Verb::Publish, "/a/b"), None);
        inquiry.ask("c1", Deed::new(Verb::Publish, "/a/b"), None);
        inquiry.knows("c1", Deed::new(Verb::Publish, "/known"), Ruling::Granted);
        inquiry
    }

    #[test]
    fn each_thing_is_asked_once_in_the_order_of_the_messages() {
        let mut inquiry = inquiry();
        let ext = serde_json::from_str("{\"token\": 1}").unwrap();
        inquiry.ask("c2", Deed::new(Verb::Handshake, ""), Some(ext));
        let expected = "{\"questions\":[{\"may\":\"subscribe\",\"client\":\"c1\",\"channel\":\"/a/*\"},\
            {\"may\":\"publish\",\"client\":\"c1\",\"channel\":\"/a/b\"},\
            {\"may\":\"handshake\",\"client\":\"c2\",\"ext\":{\"token\": 1}}]}";
        assert_eq!(String::from_utf8(inquiry.json().unwrap()).unwrap(), expected);
        assert!(Inquiry::default().json().is_none());
    }

    #[test]
    fn an_answer_is_a_list_or_a_status_and_anything_else_is_none() {
        let denied = |what: &str| Err(Cow::from(what.to_owned()));
        let (subscribe, publish) = (denied("403:/a/*:subscribe_denied"), denied("403:/a/b:publish_denied"));
        let failed = || denied(FAILED);
        for (status, body, expected) in [
            (200, r#"{"answers":[true,true]}"#, [Ok(()), Ok(())]),
            (200, r#"{"answers":[true,false],"more":1}"#, [Ok(()), publish.clone()]),
            (200, r#"{"answers":["403:bob:not_yours",true]}"#, [denied("403:bob:not_yours"), Ok(())]),
            (200, r#"{"answers":["no",true]}"#, [subscribe.clone(), Ok(())]),
            (200, r#"{"answers":[true]}"#, [failed(), failed()]),
            (200, r#"{"answers":[true,true,true]}"#, [failed(), failed()]),
            (200, r#"{"answers":[true,null]}"#, [failed(), failed()]),
            (200, "<html>", [failed(), failed()]),
            (200, "", [failed(), failed()]),
            (204, "", [Ok(()), Ok(())]),
            (401, "", [subscribe.clone(), publish.clone()]),
            (403, "{}", [subscribe.clone(), publish.clone()]),
            (404, "", [failed(), failed()]),
            (302, "", [failed(), failed()]),
            (500, r#"{"answers":[true,true]}"#, [failed(), failed()]),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let answered = Answered { status, max_age: None, body: body.into() };
            let (_, rulings) = inquiry().close(Some(&answered));
            let said = [(Verb::Subscribe, "/a/*"), (Verb::Publish, "/a/b")]
                .map(|(verb, channel)| rulings.allow("c1", verb, channel));
            assert_eq!(said, expected, "{status} {body}");
            assert_eq!(rulings.allow("c1", Verb::Publish, "/known"), Ok(()));
            assert_eq!(rulings.allow("c2", Verb::Publish, "/a/b"), failed());
        }
        let (fresh, rulings) = inquiry().close(None);
        assert!(fresh.is_empty() && rulings.allow("c1", Verb::Publish, "/a/b").is_err());
    }

    #[test]
    fn an_error_in_an_applications_words_has_the_protocols_form() {
        let long = format!("403::{}", "x".repeat(ERROR_MAX));
        for (text, good) in [
            ("403::no", true),
            ("403:a,b:no: never", true),
            ("403:no", false),
            ("40::no", false),
            ("abc::no", false),
            ("", false),
            (&long, false),
        ] {
            assert_eq!(is_error(text), good, "{text}");
        }
    }

    #[test]
    fn what_is_remembered_ends_and_has_a_bound() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let deed = |channel| Deed::new(Verb::Publish, channel);
        let mut remembered = Remembered::default();
        assert!(remembered.keep(deed("/a"), Ruling::Granted, (now, now + second), 2));
        assert!(remembered.keep(deed("/b"), Ruling::Granted, (now, now + 2 * second), 2));
        assert!(!remembered.keep(deed("/c"), Ruling::Granted, (now, now + second), 2));
        assert!(remembered.keep(deed("/a"), deed("/a").denied(), (now, now + second), 2));
        assert_eq!(remembered.ruling(&deed("/a"), now), Some(deed("/a").denied()));
        assert_eq!(remembered.ruling(&deed("/a"), now + second), None);
        assert_eq!(remembered.ruling(&deed("/c"), now), None);
        assert!(remembered.keep(deed("/c"), Ruling::Granted, (now + second, now + 2 * second), 2));
    }
}
