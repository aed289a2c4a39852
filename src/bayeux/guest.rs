//! A client whom an application names, and hands over with what it hears: the way in of cometd-perl.
//!
//! The application has said who it is, so that it needs no handshake. Its session is like any other from then on: it may
//! come back through the application or speak to the route by itself, and what is published meanwhile waits for it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::authority::Answered;
use super::envelope::{self, Reply as ReplyMessage, Request};
use super::meta::{self, BAD_SUBSCRIPTION, FULL, META, TOO_MANY_SUBSCRIPTIONS, UNKNOWN_SESSION, Visitor};
use super::name::{self, Kind};
use super::session::{Session, Terms};
use super::{BadRequest, Bayeux, Reply, body};
use crate::hold::ClientSide;
use crate::transport;

/// Such a client.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    /// The name of its session.
    pub id: &'a str,
    /// What it hears besides what it hears already.
    pub channels: &'a [Box<str>],
    /// What it says, or wants to have said for it.
    pub says: Says<'a>,
    /// The query of its request, which may name a function to call.
    pub query: Option<&'a str>,
    /// Its side, for a hold.
    pub client: ClientSide,
}

/// What is answered.
#[derive(Debug, Clone, Copy)]
pub enum Says<'a> {
    /// Messages, escaped as in a URL.
    Messages(&'a str),
    /// One message on `/meta/` with this last segment.
    Meta(&'static str),
}

impl Bayeux {
    /// Answers for a guest. Waits as a [request](Bayeux::ask) does; what its application has said nobody is asked about.
    ///
    /// # Errors
    /// Its messages are none.
    pub async fn receive(
        &self,
        terms: &Arc<Terms>,
        guest: Guest<'_>,
        authority: impl AsyncFnOnce(Vec<u8>) -> Option<Answered>,
    ) -> Result<Reply, BadRequest> {
        let callback = transport::callback(guest.query).map_err(|_| BadRequest::Callback)?;
        let visitor = Visitor { terms, browser: None, callback: callback.as_deref(), socket: None };
        let text = match guest.says {
            Says::Messages(escaped) => body::unescaped(escaped).ok_or(BadRequest::NoMessages)?,
            Says::Meta(word) => said_for(guest, word),
        };
        let mut messages = envelope::read(&text).ok_or(BadRequest::NoMessages)?;
        if messages.is_empty() {
            return Err(BadRequest::NoMessages);
        }
        // Whoever the messages say that they are of, the application has said it better.
        messages.iter_mut().for_each(|message| message.client_id = Some(guest.id.into()));
        if let Err(error) = self.seat(&visitor, guest) {
            let refused: Vec<_> = messages.iter().map(|message| meta::refusal(message, &error)).collect();
            return Ok(self.answered(&visitor, (&[], &refused), None));
        }
        if let Some(handshake) = messages.iter().find(|message| message.channel() == "/meta/handshake") {
            let reply = welcomed(&visitor, guest, handshake);
            return Ok(self.answered(&visitor, (&[], &[reply]), None));
        }
        let said = self.hear(&visitor, &messages, authority).await;
        Ok(self.reply(&visitor, said, guest.client))
    }

    /// Sees to it that there is a session with this name, which hears these channels.
    fn seat(&self, visitor: &Visitor<'_>, guest: Guest<'_>) -> Result<(), Cow<'static, str>> {
        let (mut table, now) = (self.table.lock(), Instant::now());
        if table.find(guest.id).is_none() {
            if table.len() >= self.sessions_max.load(Ordering::Relaxed) {
                return Err(FULL.into());
            }
            table.add(Session::of_guest(guest.id.into(), visitor.terms.clone(), now));
        }
        let key = meta::known(&table, visitor, guest.id).ok_or(UNKNOWN_SESSION)?;
        for name in guest.channels {
            let (kind, pattern) = name::pattern(name).ok_or(BAD_SUBSCRIPTION)?;
            match kind {
                Kind::Meta => return Err(META.into()),
                Kind::Service => continue,
                Kind::Broadcast => {}
            }
            let has_room = |session: &Session| {
                let room = session.terms.route.subscriptions;
                session.subscriptions.len() < room || session.subscriptions.contains_key(name)
            };
            if !table.get(key).is_some_and(has_room) {
                return Err(TOO_MANY_SUBSCRIPTIONS.into());
            }
            table.subscribe(key, pattern, name, now).map_err(|refused| meta::unsubscribable(&refused))?;
        }
        Ok(())
    }
}

/// The message of a client whose application says only what it wants.
fn said_for(guest: Guest<'_>, word: &str) -> String {
    let message = serde_json::json!([{
        "channel": format!("/meta/{word}"),
        "connectionType": "long-polling",
        "subscription": guest.channels,
    }]);
    message.to_string()
}

fn welcomed(visitor: &Visitor<'_>, guest: Guest<'_>, request: &Request<'_>) -> Vec<u8> {
    let reply = ReplyMessage {
        client_id: Some(guest.id),
        version: Some("1.0"),
        minimum_version: Some("1.0"),
        connection_types: Some(super::handshake::CONNECTION_TYPES),
        advice: Some(meta::retry(visitor.terms)),
        ..ReplyMessage::to(request)
    };
    reply.json()
}
