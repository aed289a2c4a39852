//! Carries what held clients say to whoever hears them, each message in a task of its own.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;
use tokio::task::JoinSet;

use super::route::{Action, Route};
use super::router::Found;
use super::talks::{Errand, Listener, Task};
use super::{Site, Snapshot, authority};
use crate::config::Edit;
use crate::exchange::{
    Answered, Client, Context, EventSession, Refusal, SiteMetrics, Speaker, Told, carry, lost, not_carried,
    tell,
};
use crate::hold::{Said, Speech, Words};
use crate::upstream::Pool;

/// Where the requests of a client that is held go.
struct Way<'a> {
    site: &'a Arc<SiteMetrics>,
    target: Result<(&'a Route, &'a Arc<Pool>), Refusal>,
}

/// Attempts at telling an application of events before its client is given up.
const ATTEMPTS: u32 = 6;

impl Site {
    /// Carries what clients say, for as long as the thread lives.
    pub async fn converse(self: Rc<Self>) {
        let mut errands = JoinSet::new();
        loop {
            let due: Vec<Errand> = tokio::select! {
                letters = self.talks.desk.letters() => self.note_all(letters),
                () = self.talks.silence() => self.talks.due(&self.bayeux),
                Some(done) = errands.join_next() => match done {
                    // What was said meanwhile goes with the next, all of it.
                    Ok((hold, listener)) => {
                        let mut due = self.note_all(self.talks.desk.take());
                        due.extend(self.talks.is_back(&self.bayeux, hold, listener));
                        due
                    }
                    Err(error) => {
                        tracing::error!(%error, "a message was lost with the task that carried it");
                        continue;
                    }
                },
            };
            for errand in due {
                errands.spawn_local(self.clone().run(errand));
            }
        }
    }

    fn note_all(&self, letters: Vec<(u64, Said)>) -> Vec<Errand> {
        letters.into_iter().filter_map(|(hold, said)| self.talks.note(&self.bayeux, hold, said)).collect()
    }

    /// The client is read on once its message is answered, whatever was said.
    async fn run(self: Rc<Self>, errand: Errand) -> (u64, Listener) {
        let Errand { hold, mut listener, line, task } = errand;
        match (&mut listener, task) {
            (Listener::Application(speaker), Task::Words(Words { kind, data, receipt })) => {
                speaker.describe(kind);
                let Answered { message, close } = self.carry(speaker, data).await;
                if let Some(line) = line {
                    if let Some((kind, data)) = message {
                        line.speak(Speech::Message(kind, data.into(), 0));
                    }
                    if let Some((code, reason)) = close {
                        line.speak(Speech::Close(code, reason));
                    }
                }
                drop(receipt);
            }
            (Listener::Bayeux(terms, caller, browser), Task::Words(Words { kind, data, receipt })) => {
                let authority = async |questions| {
                    self.consult(&self.snapshot().0, terms, caller.as_mut()?, questions).await
                };
                self.bayeux.socket_says((terms, browser.as_deref()), hold, (kind, &data), authority).await;
                drop(receipt);
            }
            (Listener::Events(session), _) => {
                let speeches = self.tell(session).await;
                if let Some(line) = line {
                    speeches.into_iter().for_each(|speech| line.speak(speech));
                }
            }
            (Listener::Far(far), Task::Follow(said)) => {
                if let Some((far, line)) = far.take().zip(line) {
                    far.carry(line, said, self.keeper.as_ref()).await;
                }
            }
            (Listener::Far(_) | Listener::Application(_) | Listener::Bayeux(..), _) => {}
        }
        (hold, listener)
    }

    async fn carry(&self, speaker: &Speaker, data: Vec<u8>) -> Answered {
        let (snapshot, client, parts) = (self.snapshot(), speaker.client(), speaker.parts());
        let snapshot = &snapshot.0;
        let (log, rules) = (&self.log, &snapshot.rules);
        let Way { site, target } = self.way(snapshot, &client, parts);
        let (route, pool) = match target {
            Ok(target) => target,
            Err(refusal) => return not_carried(&client, rules, site, log, parts, &refusal),
        };
        let edits = speaker.edits(route.edge.as_ref().map_or(&[][..], |edge| &edge.request));
        carry(self.context(snapshot, &client, site, (route, pool), &edits), parts, data.into()).await
    }

    /// Tells an application of what has happened, again where it can't be reached.
    async fn tell(&self, session: &mut EventSession) -> Vec<Speech> {
        for attempt in 0.. {
            let refusal = {
                let (snapshot, client, parts) = (self.snapshot(), session.client(), session.parts());
                let snapshot = &snapshot.0;
                let Way { site, target } = self.way(snapshot, &client, &parts);
                let (route, pool) = match target {
                    Ok(target) => target,
                    Err(refusal) => return lost(session, site, &refusal),
                };
                let edits = route.edge.as_ref().map_or(&[][..], |edge| &edge.request);
                let pool = route.sockets.as_ref().map_or(pool, |sockets| &sockets.0);
                let ctx = self.context(snapshot, &client, site, (route, pool), edits);
                match tell(ctx, session).await {
                    Told::Speeches(speeches) => return speeches,
                    Told::Again(refusal) if attempt + 1 == ATTEMPTS => return lost(session, site, &refusal),
                    Told::Again(refusal) => refusal,
                }
            };
            let wait = Duration::from_millis((1000 << attempt) + fastrand::u64(0..1000));
            tracing::debug!(%refusal, ?wait, "events of a WebSocket wait");
            tokio::time::sleep(wait).await;
        }
        Vec::new()
    }

    pub(super) fn context<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        client: &'a Client,
        site: &'a Arc<SiteMetrics>,
        (route, pool): (&'a Route, &'a Arc<Pool>),
        edits: &'a [Edit],
    ) -> Context<'a> {
        Context {
            client,
            rules: &snapshot.rules,
            route: &route.rules,
            site,
            cors: &route.cors,
            pool,
            handoffs: None,
            keeper: self.keeper.as_ref(),
            log: &self.log,
            edits,
        }
    }

    /// Looked up anew for each request: a configuration that has changed counts.
    fn way<'a>(&self, snapshot: &'a Snapshot, client: &Client, parts: &Parts) -> Way<'a> {
        let (index, route) = match snapshot.router.find(authority(parts), parts.uri.path()) {
            Found::Route(index, route) => (Some(index), Some(route)),
            Found::NoRoute(index) | Found::Ambiguous(index) => (Some(index), None),
            Found::NoSite => (None, None),
        };
        let site = index.map_or(&snapshot.other, |index| &snapshot.sites[index]);
        let target = match self.bar(snapshot, index, client, &parts.headers) {
            Some(refusal) => Err(refusal),
            None => match route.map(|route| (route, &route.action)) {
                Some((route, Action::Pool(pool, _))) => Ok((&**route, pool)),
                _ => {
                    let path = parts.uri.path();
                    tracing::warn!(
                        site = &**site.name(),
                        path,
                        "messages of a WebSocket lead to no route with a pool"
                    );
                    Err(Refusal::NoRoute)
                }
            },
        };
        Way { site, target }
    }
}
