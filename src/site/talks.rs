//! Held WebSockets whose clients are heard: each message goes to an application or to Bayeux, one after another.
//!
//! Shards leave word at a desk; one task of the thread reads it, and each message is a task of its own for as long as it
//! is on its way. A client whose message is on its way is not read on for long (`hold/talk.rs`), so what waits here is
//! bounded by what is held.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use hyper::http::request::Parts;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::route::Action;
use super::router::Found;
use super::{Site, authority};
use crate::bayeux::{Bayeux, Terms};
use crate::exchange::{Answered, Caller, Client, Context, Refusal, Speaker, carry, not_carried};
use crate::hold::{Ear, Hears, Hold, Line, Said, Speech, TakeOver, Words, fresh_number};

/// The conversations of a thread.
#[derive(Default)]
pub(super) struct Talks {
    desk: Arc<Desk>,
    open: RefCell<HashMap<u64, Talk>>,
}

/// Where shards leave word.
#[derive(Default)]
struct Desk {
    letters: Mutex<Vec<(u64, Said)>>,
    bell: Notify,
}

/// One client's messages.
struct Talk {
    /// Away with a message that is on its way.
    listener: Option<Listener>,
    /// Until it is held there is none, and nothing is said either.
    line: Option<Line>,
    words: VecDeque<Words>,
    is_over: bool,
}

/// Who hears a client.
pub(super) enum Listener {
    /// An application, which is told by requests.
    Application(Box<Speaker>),
    /// Bayeux on these terms, and the client for whom their authority is asked, where they have one.
    Bayeux(Arc<Terms>, Option<Box<Caller>>),
}

/// A message that is to be heard.
struct Errand {
    hold: u64,
    listener: Listener,
    line: Line,
    words: Words,
}

impl Hears for Desk {
    fn hear(&self, hold: u64, said: Said) {
        self.letters.lock().push((hold, said));
        self.bell.notify_one();
    }
}

impl Desk {
    /// Waits for what was left. Cancel-safe.
    async fn letters(&self) -> Vec<(u64, Said)> {
        loop {
            let letters = mem::take(&mut *self.letters.lock());
            if !letters.is_empty() {
                return letters;
            }
            self.bell.notified().await;
        }
    }
}

impl Talks {
    /// An ear for a WebSocket, which its listener gets messages of up to so many bytes from.
    pub(super) fn begin(&self, listener: Listener, bytes_max: usize) -> Box<Ear> {
        let number = fresh_number();
        let talk = Talk { listener: Some(listener), line: None, words: VecDeque::new(), is_over: false };
        self.open.borrow_mut().insert(number, talk);
        Box::new(Ear::listening(self.desk.clone(), number, bytes_max))
    }

    /// Gives a hold that names a path for messages an ear for them.
    pub(super) fn attend(
        &self,
        client: &Client,
        request: &Parts,
        bytes_max: usize,
        take_over: &mut TakeOver,
    ) {
        take_over.edit_hold(|hold| {
            if let Some(speaker) = speaker(client, request, hold) {
                hold.ear = Some(self.begin(Listener::Application(Box::new(speaker)), bytes_max));
            }
        });
    }

    /// What is to be done for something that was said.
    fn note(&self, bayeux: &Bayeux, hold: u64, said: Said) -> Option<Errand> {
        {
            let mut open = self.open.borrow_mut();
            let talk = open.get_mut(&hold)?;
            match said {
                Said::Here(line) => {
                    if talk.is_bayeux() {
                        bayeux.socket_opens(hold, line.clone());
                    }
                    talk.line = Some(line);
                }
                Said::Words(words) => talk.words.push_back(words),
                // Nobody else asks what has arrived.
                Said::Sent(more) => bayeux.socket_heard(hold, more),
                Said::Over(_) => talk.is_over = true,
            }
        }
        self.next(bayeux, hold)
    }

    /// The next message, unless one is on its way. Whoever has left is forgotten with the last.
    fn next(&self, bayeux: &Bayeux, hold: u64) -> Option<Errand> {
        let mut open = self.open.borrow_mut();
        let talk = open.get_mut(&hold)?;
        let listener = talk.listener.take()?;
        match (talk.words.pop_front(), talk.line.clone()) {
            (Some(words), Some(line)) => Some(Errand { hold, listener, line, words }),
            _ if talk.is_over => {
                open.remove(&hold);
                bayeux.socket_ends(hold);
                None
            }
            _ => {
                talk.listener = Some(listener);
                None
            }
        }
    }

    fn is_back(&self, bayeux: &Bayeux, hold: u64, listener: Listener) -> Option<Errand> {
        self.open.borrow_mut().get_mut(&hold)?.listener = Some(listener);
        self.next(bayeux, hold)
    }
}

impl Talk {
    /// Before its first message, when its listener is there.
    fn is_bayeux(&self) -> bool {
        matches!(self.listener, Some(Listener::Bayeux(..)))
    }
}

fn speaker(client: &Client, request: &Parts, hold: &mut Hold) -> Option<Speaker> {
    let path = hold.messages.take().filter(|_| hold.is_socket())?;
    Speaker::new(client, request, &path, hold.tag.as_deref())
}

impl Site {
    /// Carries what clients say, for as long as the thread lives.
    pub async fn converse(self: Rc<Self>) {
        let mut errands = JoinSet::new();
        loop {
            let due: Vec<Errand> = tokio::select! {
                letters = self.talks.desk.letters() => {
                    letters.into_iter().filter_map(|(hold, said)| self.talks.note(&self.bayeux, hold, said)).collect()
                }
                Some(done) = errands.join_next() => match done {
                    Ok((hold, listener)) => self.talks.is_back(&self.bayeux, hold, listener).into_iter().collect(),
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

    /// The client is read on once its message is answered, whatever was said.
    async fn run(self: Rc<Self>, errand: Errand) -> (u64, Listener) {
        let Errand { hold, mut listener, line, words } = errand;
        let Words { kind, data, receipt } = words;
        match &mut listener {
            Listener::Application(speaker) => {
                speaker.describe(kind);
                let Answered { message, close } = self.carry(speaker, data).await;
                if let Some((kind, data)) = message {
                    line.speak(Speech::Message(kind, data.into(), 0));
                }
                if let Some((code, reason)) = close {
                    line.speak(Speech::Close(code, reason));
                }
            }
            Listener::Bayeux(terms, caller) => {
                let authority = async |questions| {
                    self.consult(&self.snapshot().0, terms, caller.as_mut()?, questions).await
                };
                self.bayeux.socket_says(terms, hold, (kind, &data), authority).await;
            }
        }
        drop(receipt);
        (hold, listener)
    }

    async fn carry(&self, speaker: &Speaker, data: Vec<u8>) -> Answered {
        let (snapshot, client, parts) = (self.snapshot(), speaker.client(), speaker.parts());
        let snapshot = &snapshot.0;
        let (log, rules) = (&self.log, &snapshot.rules);
        let (index, route) = match snapshot.router.find(authority(parts), parts.uri.path()) {
            Found::Route(index, route) => (Some(index), Some(route)),
            Found::NoRoute(index) | Found::Ambiguous(index) => (Some(index), None),
            Found::NoSite => (None, None),
        };
        let site = index.map_or(&snapshot.other, |index| &snapshot.sites[index]);
        let refuse = |refusal| not_carried(&client, rules, site, log, parts, &refusal);
        if let Some(refusal) = self.bar(snapshot, index, &client, &parts.headers) {
            return refuse(refusal);
        }
        let Some((route, Action::Pool(pool, _))) = route.map(|route| (route, &route.action)) else {
            let path = parts.uri.path();
            tracing::warn!(site = &**site.name(), path, "X-Comet-Messages leads to no route with a pool");
            return refuse(Refusal::NoRoute);
        };
        let edits = speaker.edits(route.edge.as_ref().map_or(&[][..], |edge| &edge.request));
        let (cors, keeper, rules_of_route) = (&route.cors, self.keeper.as_ref(), &route.rules);
        let ctx = Context {
            client: &client,
            rules,
            route: rules_of_route,
            site,
            cors,
            pool,
            handoffs: None,
            keeper,
            log,
            edits: &edits,
        };
        carry(ctx, parts, data.into()).await
    }
}
