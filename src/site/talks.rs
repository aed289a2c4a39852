//! Held WebSockets whose clients are heard: each message goes to an application or to Bayeux, one after another.
//!
//! Shards leave word at a desk; one task of the thread reads it, and each message is a task of its own for as long as it
//! is on its way. A client whose message is on its way is not read on for long (`hold/talk.rs`), so what waits here is
//! bounded by what is held.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Response;
use hyper::http::request::Parts;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::route::{Action, Route};
use super::router::Found;
use super::{Site, Snapshot, authority};
use crate::bayeux::{Bayeux, Terms};
use crate::body::Body;
use crate::config::Edit;
use crate::exchange::{
    Answered, Caller, Client, Context, EventSession, FarSide, Opened, Refusal, SAID_MAX, SiteMetrics,
    Speaker, Told, carry, lost, not_carried, tell,
};
use crate::hold::{Ear, End, Hears, Hold, Line, Said, Speech, TakeOver, Words, fresh_number};
use crate::upstream::Pool;

/// The conversations of a thread.
#[derive(Default)]
pub(super) struct Talks {
    desk: Arc<Desk>,
    open: RefCell<HashMap<u64, Talk>>,
    /// When applications are asked after a silence.
    due: RefCell<BTreeSet<(Instant, u64)>>,
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
    /// Where all that is said of it goes, while an application that speaks WebSocket itself hears it.
    far: Option<mpsc::Sender<Said>>,
    /// How it has ended.
    over: Option<End>,
    /// Whether its application is to be asked though nothing was said.
    is_wanted: bool,
    /// When it is, if nothing happens.
    looked_after_at: Option<Instant>,
}

/// Who hears a client.
pub(super) enum Listener {
    /// An application, which is told by requests.
    Application(Box<Speaker>),
    /// An application that is told of everything, as GRIP has it.
    Events(Box<EventSession>),
    /// An application that speaks WebSocket itself; nothing once it is heard (`Talk::far`), and when it hears no more.
    Far(Option<Box<FarSide>>),
    /// Bayeux on these terms, and the client for whom their authority is asked, where they have one.
    Bayeux(Arc<Terms>, Option<Box<Caller>>),
}

/// What is to be heard.
struct Errand {
    hold: u64,
    listener: Listener,
    line: Option<Line>,
    task: Task,
}

/// What there is to do with it.
enum Task {
    /// A message of the client.
    Words(Words),
    /// What the listener has taken note of.
    Tell,
    /// All that comes from now on.
    Follow(mpsc::Receiver<Said>),
}

impl Hears for Desk {
    fn hear(&self, hold: u64, said: Said) {
        self.letters.lock().push((hold, said));
        self.bell.notify_one();
    }
}

impl Desk {
    /// What was left until now.
    fn take(&self) -> Vec<(u64, Said)> {
        mem::take(&mut *self.letters.lock())
    }

    /// Waits for what was left. Cancel-safe.
    async fn letters(&self) -> Vec<(u64, Said)> {
        loop {
            let letters = self.take();
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
        let ear = match listener {
            Listener::Events(_) | Listener::Far(_) => {
                Ear::listening_to_all(self.desk.clone(), number, bytes_max)
            }
            _ => Ear::listening(self.desk.clone(), number, bytes_max),
        };
        self.open.borrow_mut().insert(number, Talk::new(listener));
        Box::new(ear)
    }

    /// Gives a WebSocket that its application has opened over HTTP an ear that hears everything for it.
    pub(super) fn opened(&self, opened: Opened, bytes_max: usize) -> Result<Response<Body>, TakeOver> {
        match opened {
            Opened::Answered(response) => Ok(response),
            Opened::Held(mut take_over, session) => {
                let ear = self.begin(Listener::Events(session), bytes_max);
                take_over.edit_hold(|hold| hold.ear = Some(ear));
                Err(take_over)
            }
        }
    }

    /// The same for one that the application speaks itself.
    pub(super) fn joined(&self, mut take_over: TakeOver, far: Box<FarSide>, bytes_max: usize) -> TakeOver {
        let ear = self.begin(Listener::Far(Some(far)), bytes_max);
        take_over.edit_hold(|hold| hold.ear = Some(ear));
        take_over
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
            let said = talk.pass_on(said)?;
            match said {
                Said::Here(line) => {
                    match &mut talk.listener {
                        Some(Listener::Bayeux(..)) => bayeux.socket_opens(hold, line.clone()),
                        Some(Listener::Events(session)) => {
                            session.take_opening().into_iter().for_each(|speech| line.speak(speech));
                            talk.looks_after(hold, &mut self.due.borrow_mut());
                        }
                        Some(Listener::Application(_) | Listener::Far(_)) | None => {}
                    }
                    talk.line = Some(line);
                }
                Said::Words(words) => talk.words.push_back(words),
                // Nobody else asks what has arrived.
                Said::Sent(more) => bayeux.socket_heard(hold, more),
                Said::Wanted => talk.is_wanted = true,
                // No WebSocket lacks anything that its application is asked for.
                Said::Missing(_) => {}
                Said::Over(end) => talk.over = Some(end),
            }
        }
        self.next(bayeux, hold)
    }

    /// What is next, unless something is on its way. Whoever has left is forgotten with the last.
    fn next(&self, bayeux: &Bayeux, hold: u64) -> Option<Errand> {
        let mut open = self.open.borrow_mut();
        let talk = open.get_mut(&hold)?;
        let mut listener = talk.listener.take()?;
        let task = match &mut listener {
            Listener::Events(session) => {
                talk.words.drain(..).for_each(|words| session.hears(words));
                talk.over.iter().for_each(|end| session.ends(end));
                let is_wanted = mem::take(&mut talk.is_wanted) && !session.is_done();
                (session.has_news() || is_wanted).then_some(Task::Tell)
            }
            Listener::Far(Some(_)) if talk.line.is_some() && talk.over.is_none() => Some(talk.follow()),
            Listener::Far(_) => None,
            Listener::Application(_) | Listener::Bayeux(..) => talk.words.pop_front().map(Task::Words),
        };
        if let Some(task) = task {
            talk.forget_due(hold, &mut self.due.borrow_mut());
            return Some(Errand { hold, listener, line: talk.line.clone(), task });
        }
        talk.listener = Some(listener);
        if talk.over.is_some() && !talk.owes() {
            talk.forget_due(hold, &mut self.due.borrow_mut());
            open.remove(&hold);
            bayeux.socket_ends(hold);
        }
        None
    }

    fn is_back(&self, bayeux: &Bayeux, hold: u64, listener: Listener) -> Option<Errand> {
        self.open.borrow_mut().get_mut(&hold)?.listener = Some(listener);
        let next = self.next(bayeux, hold);
        if next.is_none()
            && let Some(talk) = self.open.borrow_mut().get_mut(&hold)
        {
            talk.looks_after(hold, &mut self.due.borrow_mut());
        }
        next
    }

    /// Waits until an application is to be asked after a silence. Cancel-safe.
    async fn silence(&self) {
        let first = self.due.borrow().first().map(|(at, _)| *at);
        match first {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    /// What is to be asked for that.
    fn due(&self, bayeux: &Bayeux) -> Vec<Errand> {
        let now = Instant::now();
        let due: Vec<u64> = {
            let due = self.due.borrow();
            due.iter().take_while(|(at, _)| *at <= now).map(|(_, hold)| *hold).collect()
        };
        let wanted = |hold: u64| {
            if let Some(talk) = self.open.borrow_mut().get_mut(&hold) {
                talk.forget_due(hold, &mut self.due.borrow_mut());
            }
            self.note(bayeux, hold, Said::Wanted)
        };
        due.into_iter().filter_map(wanted).collect()
    }
}

impl Talk {
    fn new(listener: Listener) -> Talk {
        let (listener, words) = (Some(listener), VecDeque::new());
        Talk { listener, line: None, words, far: None, over: None, is_wanted: false, looked_after_at: None }
    }

    /// Leads all that comes to whoever follows it.
    fn follow(&mut self) -> Task {
        let (far, said) = mpsc::channel(SAID_MAX);
        self.far = Some(far);
        Task::Follow(said)
    }

    /// Passes something on where somebody follows, and keeps what nobody does.
    fn pass_on(&mut self, said: Said) -> Option<Said> {
        let Some(far) = &self.far else { return Some(said) };
        if let Said::Over(end) = &said {
            self.over = Some(end.clone());
        }
        // Nobody is to be asked where somebody listens.
        if matches!(said, Said::Wanted) {
            return None;
        }
        // Who has gone hears no more; of the others no more comes than was said and heard.
        match far.try_send(said) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Closed(said) | mpsc::error::TrySendError::Full(said)) => {
                Some(said)
            }
        }
    }

    /// Whether its application has to be told of its end yet.
    fn owes(&self) -> bool {
        matches!(&self.listener, Some(Listener::Events(session)) if !session.is_done())
    }

    /// Sets the time at which its application is asked if nothing happens.
    fn looks_after(&mut self, hold: u64, due: &mut BTreeSet<(Instant, u64)>) {
        self.forget_due(hold, due);
        if let Some(Listener::Events(session)) = &self.listener
            && let Some(after) = session.looks_after()
        {
            let at = Instant::now() + after;
            due.insert((at, hold));
            self.looked_after_at = Some(at);
        }
    }

    fn forget_due(&mut self, hold: u64, due: &mut BTreeSet<(Instant, u64)>) {
        if let Some(at) = self.looked_after_at.take() {
            due.remove(&(at, hold));
        }
    }
}

fn speaker(client: &Client, request: &Parts, hold: &mut Hold) -> Option<Speaker> {
    let path = hold.messages.take().filter(|_| hold.is_socket())?;
    Speaker::new(client, request, &path, hold.tag.as_deref())
}

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
            (Listener::Bayeux(terms, caller), Task::Words(Words { kind, data, receipt })) => {
                let authority = async |questions| {
                    self.consult(&self.snapshot().0, terms, caller.as_mut()?, questions).await
                };
                self.bayeux.socket_says(terms, hold, (kind, &data), authority).await;
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
