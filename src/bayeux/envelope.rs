//! Messages of Bayeux as they come and go: JSON in, JSON out; pure.
//!
//! Ids and data are passed on as they were written. What a server need not understand (`ext` of unknown extensions,
//! `minimumVersion`, `timestamp`) is passed over.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::message::{NESTING_MAX, nesting};

/// A message of a client.
#[derive(Debug, Deserialize)]
pub(super) struct Request<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) channel: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "clientId")]
    pub(super) client_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "supportedConnectionTypes")]
    pub(super) connection_types: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    pub(super) subscription: Option<&'a RawValue>,
    /// There even where it is `null`.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ext: Option<&'a RawValue>,
    #[serde(borrow, default)]
    advice: Option<&'a RawValue>,
}

fn present<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The extensions that are known here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Ext<'a> {
    #[serde(borrow, default)]
    pub(super) ack: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) timesync: Option<Timesync<'a>>,
}

/// What a client's clock says.
#[derive(Debug, Deserialize)]
pub(super) struct Timesync<'a> {
    #[serde(borrow)]
    pub(super) tc: &'a RawValue,
    #[serde(default)]
    pub(super) l: Option<f64>,
    #[serde(default)]
    pub(super) o: Option<f64>,
}

/// What a client wants of its connect.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Wanted {
    /// Milliseconds.
    #[serde(default)]
    pub(super) timeout: Option<f64>,
}

impl<'a> Request<'a> {
    /// Extensions; what isn't understood is none, since old clients send `false` there and new ones what they like.
    pub(super) fn ext(&self) -> Ext<'a> {
        self.ext.and_then(|ext| serde_json::from_str(ext.get()).ok()).unwrap_or_default()
    }

    /// The same as they were written.
    pub(super) fn raw_ext(&self) -> Option<&'a RawValue> {
        self.ext
    }

    /// What the client advises, where it does.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.advice.map(|advice| serde_json::from_str(advice.get()).unwrap_or_default())
    }

    /// The names that it subscribes to: one or several. `None` where it says none.
    pub(super) fn subscriptions(&self) -> Option<Vec<Cow<'a, str>>> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Names<'n> {
            #[serde(borrow)]
            One(Cow<'n, str>),
            #[serde(borrow)]
            Several(Vec<Cow<'n, str>>),
        }
        match serde_json::from_str(self.subscription?.get()).ok()? {
            Names::One(name) => Some(vec![name]),
            Names::Several(names) => (!names.is_empty()).then_some(names),
        }
    }

    /// The names of `/meta` have to be known, whatever is asked of them.
    pub(super) fn channel(&self) -> &str {
        self.channel.as_deref().unwrap_or_default()
    }
}

/// The messages of one text: a list, or one alone. `None` where it is neither, or nested too deeply.
pub(super) fn read(text: &str) -> Option<Vec<Request<'_>>> {
    if nesting(text.as_bytes()) > NESTING_MAX {
        return None;
    }
    if text.trim_start().starts_with('[') {
        serde_json::from_str(text).ok()
    } else {
        serde_json::from_str(text).ok().map(|one| vec![one])
    }
}

/// What a client is advised to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Advice {
    pub(super) reconnect: &'static str,
    pub(super) interval: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<u64>,
    #[serde(rename = "multiple-clients", skip_serializing_if = "std::ops::Not::not")]
    pub(super) multiple_clients: bool,
}

impl Advice {
    /// The session is unknown, or gone.
    pub(super) const HANDSHAKE: Advice =
        Advice { reconnect: "handshake", interval: 0, timeout: None, multiple_clients: false };
    /// Nothing that the client could do would help.
    pub(super) const NONE: Advice =
        Advice { reconnect: "none", interval: 0, timeout: None, multiple_clients: false };
}

/// Extensions of a reply.
#[derive(Debug, Default, Serialize)]
pub(super) struct ReplyExt<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ack: Option<Ack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timesync: Option<Clocks<'a>>,
}

/// That batches are counted, or which one this is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Ack {
    On(bool),
    Batch(u64),
}

/// The client's clock, ours, and what lies between.
#[derive(Debug, Serialize)]
pub(super) struct Clocks<'a> {
    pub(super) tc: &'a RawValue,
    pub(super) ts: u64,
    pub(super) p: u64,
    pub(super) a: i64,
}

/// A reply. What is `None` isn't said.
#[derive(Debug, Default, Serialize)]
pub(super) struct Reply<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a RawValue>,
    pub(super) channel: &'a str,
    pub(super) successful: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
    #[serde(rename = "clientId", skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
    #[serde(rename = "minimumVersion", skip_serializing_if = "Option::is_none")]
    pub(super) minimum_version: Option<&'static str>,
    #[serde(rename = "supportedConnectionTypes", skip_serializing_if = "Option::is_none")]
    pub(super) connection_types: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subscription: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<Advice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ext: Option<ReplyExt<'a>>,
}

impl<'a> Reply<'a> {
    /// That a request was obeyed.
    pub(super) fn to(request: &'a Request<'a>) -> Reply<'a> {
        Reply { id: request.id, channel: request.channel(), successful: true, ..Reply::default() }
    }

    /// That it was not, with the protocol's own code and words.
    pub(super) fn refusal(request: &'a Request<'a>, error: &'a str) -> Reply<'a> {
        Reply { successful: false, error: Some(error), ..Reply::to(request) }
    }

    /// As it is sent.
    pub(super) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and values that were read can be written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_alone_is_read_like_a_list_and_what_is_neither_is_not() {
        assert_eq!(read(" {\"channel\":\"/a\"}").unwrap().len(), 1);
        assert_eq!(read("[]").unwrap().len(), 0);
        assert_eq!(read("[{},{\"ext\":false,\"version\":0.9}]").unwrap().len(), 2);
        let deep = format!("[{{\"data\":{}{}}}]", "[".repeat(10_000), "]".repeat(10_000));
        for bad in ["", "junk", "[1]", "[{]", "{\"channel\":1}", "\"x\"", &deep] {
            assert!(read(bad).is_none(), "{bad:.40}");
        }
        assert!(read(&format!("[{{\"data\":\"{}\"}}]", "[".repeat(10_000))).is_some());
    }

    #[test]
    fn data_is_there_even_where_it_is_null() {
        let data = |text| read(text).unwrap()[0].data.map(|data| data.get().to_owned());
        assert_eq!(data("{\"data\":null}").as_deref(), Some("null"));
        assert_eq!(data("{\"data\": {\"a\": 1.0} }").as_deref(), Some("{\"a\": 1.0}"));
        assert_eq!(data("{}"), None);
    }

    #[test]
    fn one_name_or_several_are_subscribed_to() {
        let names = |text: &str| {
            let text = format!("{{\"subscription\":{text}}}");
            read(&text).unwrap()[0].subscriptions().map(|names| names.join(" "))
        };
        assert_eq!(names("\"/a\"").as_deref(), Some("/a"));
        assert_eq!(names("[\"/a\",\"/b\\u002f*\"]").as_deref(), Some("/a /b/*"));
        for bad in ["[]", "1", "null", "[1]", "{}"] {
            assert_eq!(names(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_reply_says_what_there_is_and_keeps_the_id_as_it_was_written() {
        let requests = read("[{\"id\":7,\"channel\":\"/a\"},{\"id\":\"z\",\"channel\":\"/b\"}]").unwrap();
        assert_eq!(Reply::to(&requests[0]).json(), b"{\"id\":7,\"channel\":\"/a\",\"successful\":true}");
        let refusal = Reply::refusal(&requests[1], "402::session_unknown").json();
        let expected =
            "{\"id\":\"z\",\"channel\":\"/b\",\"successful\":false,\"error\":\"402::session_unknown\"}";
        assert_eq!(String::from_utf8(refusal).unwrap(), expected);
    }
}
