//! Held WebSockets whose clients are heard: each message goes to an application or to Bayeux, one after another.
//!
//! Shards leave word at a desk; one task of the thread reads it, and each message is a task of its own for as long as it
//! is on its way. A client whose message is on its way is not read on for long (`hold/talk.rs`), so what waits here is
//! bounded by what is held.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use hyper::Response;
use hyper::http::request::Parts;
use tokio::sync::mpsc;

use super::desk::Desk;
use crate::bayeux::{Bayeux, Terms};
use crate::body::Body;
use crate::exchange::{Caller, Client, EventSession, FarSide, Opened, SAID_MAX, Speaker};
use crate::hold::{Ear, End, Hold, Line, Said, TakeOver, Words, fresh_number};

/// The conversations of a thread.
#[derive(Default)]
pub(super) struct Talks {
    pub(super) desk: Arc<Desk>,
    open: RefCell<HashMap<u64, Talk>>,
    /// When applications are asked after a silence.
    due: RefCell<BTreeSet<(Instant, u64)>>,
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
    /// Bayeux on these terms, the client for whom their authority is asked, where they have one, and what its browser is
    /// called, where they want the same one.
    Bayeux(Arc<Terms>, Option<Box<Caller>>, Option<Box<str>>),
}

/// What is to be heard.
pub(super) struct Errand {
    pub(super) hold: u64,
    pub(super) listener: Listener,
    pub(super) line: Option<Line>,
    pub(super) task: Task,
}

/// What there is to do with it.
pub(super) enum Task {
    /// A message of the client.
    Words(Words),
    /// What the listener has taken note of.
    Tell,
    /// All that comes from now on.
    Follow(mpsc::Receiver<Said>),
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
    pub(super) fn note(&self, bayeux: &Bayeux, hold: u64, said: Said) -> Option<Errand> {
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

    pub(super) fn is_back(&self, bayeux: &Bayeux, hold: u64, listener: Listener) -> Option<Errand> {
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
    pub(super) async fn silence(&self) {
        let first = self.due.borrow().first().map(|(at, _)| *at);
        match first {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    /// What is to be asked for that.
    pub(super) fn due(&self, bayeux: &Bayeux) -> Vec<Errand> {
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
