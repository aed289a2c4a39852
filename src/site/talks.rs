//! Held WebSockets whose clients speak to an application: each message is carried there, one after another.
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
use crate::exchange::{Answered, Client, Context, Refusal, Speaker, carry, not_carried};
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
    speaker: Option<Box<Speaker>>,
    /// Until it is held there is none, and nothing is said either.
    line: Option<Line>,
    words: VecDeque<Words>,
    is_over: bool,
}

/// A message that is to be carried.
struct Errand {
    hold: u64,
    speaker: Box<Speaker>,
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
                let number = fresh_number();
                let talk = Talk {
                    speaker: Some(Box::new(speaker)),
                    line: None,
                    words: VecDeque::new(),
                    is_over: false,
                };
                self.open.borrow_mut().insert(number, talk);
                hold.ear = Some(Box::new(Ear::listening(self.desk.clone(), number, bytes_max)));
            }
        });
    }

    /// What is to be done for something that was said.
    fn note(&self, hold: u64, said: Said) -> Option<Errand> {
        {
            let mut open = self.open.borrow_mut();
            let talk = open.get_mut(&hold)?;
            match said {
                Said::Here(line) => talk.line = Some(line),
                Said::Words(words) => talk.words.push_back(words),
                Said::Sent(_) => {}
                Said::Over(_) => talk.is_over = true,
            }
        }
        self.next(hold)
    }

    /// The next message, unless one is on its way. Whoever has left is forgotten with the last.
    fn next(&self, hold: u64) -> Option<Errand> {
        let mut open = self.open.borrow_mut();
        let talk = open.get_mut(&hold)?;
        let speaker = talk.speaker.take()?;
        match (talk.words.pop_front(), talk.line.clone()) {
            (Some(words), Some(line)) => Some(Errand { hold, speaker, line, words }),
            _ if talk.is_over => {
                open.remove(&hold);
                None
            }
            _ => {
                talk.speaker = Some(speaker);
                None
            }
        }
    }

    fn is_back(&self, hold: u64, speaker: Box<Speaker>) -> Option<Errand> {
        self.open.borrow_mut().get_mut(&hold)?.speaker = Some(speaker);
        self.next(hold)
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
                    letters.into_iter().filter_map(|(hold, said)| self.talks.note(hold, said)).collect()
                }
                Some(done) = errands.join_next() => match done {
                    Ok((hold, speaker)) => self.talks.is_back(hold, speaker).into_iter().collect(),
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
    async fn run(self: Rc<Self>, errand: Errand) -> (u64, Box<Speaker>) {
        let Errand { hold, mut speaker, line, words } = errand;
        let Words { kind, data, receipt } = words;
        speaker.describe(kind);
        let Answered { message, close } = self.carry(&speaker, data).await;
        if let Some((kind, data)) = message {
            line.speak(Speech::Message(kind, data.into(), 0));
        }
        if let Some((code, reason)) = close {
            line.speak(Speech::Close(code, reason));
        }
        drop(receipt);
        (hold, speaker)
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
