//! What held clients of GRIP may lack, and which of them have gone: their applications are asked, once for all clients
//! that lack the same.
//!
//! Shards leave word at one board for the process, since clients that lack the same are held everywhere; whichever thread
//! of ordinary work looks next does what is due. Each client stands there once at most while it is asked for, so that
//! the board is bounded by what is held; how much is asked at once is `limits.recoveries`.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::route::Action;
use super::router::Found;
use super::{Site, Snapshot, authority};
use crate::exchange::{Client, Context, Unrecovered, recover, request, tell_gone};
use crate::hold::grip::{LastIds, Missing, Resume};
use crate::hold::{Ear, Hears, Line, Passport, Said, Speech, TakeOver, fresh_number};
use crate::metrics::Metrics;

/// Everything that applications are to be asked.
pub struct Recoveries {
    board: Mutex<Board>,
    bell: Notify,
    /// Clients that wait for what they may lack.
    waiting: IntGauge,
    /// How often it was there, may be later, and was given up.
    results: [IntCounter; 3],
}

#[derive(Default)]
struct Board {
    /// By when it is due; a number tells apart what is due at the same time.
    due: BTreeMap<(Instant, u64), Errand>,
    /// Who waits for the same.
    lacking: HashMap<Arc<Lacked>, Vec<Line>>,
    running: usize,
    gone: usize,
}

/// What makes two clients lack the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Lacked {
    host: Option<HeaderValue>,
    secure: bool,
    target: Arc<str>,
    last_ids: LastIds,
}

/// For whom an application is asked.
#[derive(Clone)]
struct Asker {
    host: Option<HeaderValue>,
    passport: Passport,
    secure: bool,
}

/// Something to ask.
enum Errand {
    /// For what clients lack, and how often it was asked for before.
    Missing(Arc<Lacked>, Asker, u32),
    /// Nothing: the application hears that a client has gone.
    Gone(Box<str>, Asker),
}

/// What the owner of a held client knows of it.
struct Anchor {
    recoveries: Arc<Recoveries>,
    asker: Asker,
    gone: Option<Box<str>>,
}

/// How long those who lack the same are waited for: shards find out within a turn of each other, and each has its own
/// ticks.
const GATHER: Duration = Duration::from_millis(100);
/// Attempts after the first, as in Pushpin.
const RETRIES: u32 = 5;
/// Clients of whose end applications are yet to hear; of more they don't.
const GONE_MAX: usize = 100_000;

impl Recoveries {
    /// None.
    pub fn new(metrics: &Metrics) -> Arc<Recoveries> {
        let result = |result| metrics.comet_recoveries.with_label_values(&[result]);
        Arc::new(Recoveries {
            board: Mutex::default(),
            bell: Notify::new(),
            waiting: metrics.comet_recovering.clone(),
            results: ["ok", "later", "failed"].map(result),
        })
    }

    /// Gives a hold whose application has named links an ear for what they are for.
    pub(super) fn attend(self: &Arc<Self>, client: &Client, request: &Parts, take_over: &mut TakeOver) {
        take_over.edit_hold(|hold| {
            let Some(company) = hold.grip.as_mut().filter(|_| hold.ear.is_none()) else { return };
            if company.ways.next.is_none() && company.ways.gone.is_none() {
                return;
            }
            let gone = company.ways.gone.take();
            let anchor = Anchor { recoveries: self.clone(), asker: Asker::new(client, request), gone };
            hold.ear = Some(Box::new(Ear::new(Arc::new(anchor), fresh_number())));
        });
    }

    fn ask_for(&self, asker: &Asker, missing: Missing) {
        let Missing { target: Some(target), mut last_ids, line } = missing else { return };
        last_ids.sort();
        let lacked = Lacked { host: asker.host.clone(), secure: asker.secure, target, last_ids };
        self.waiting.inc();
        let mut board = self.board.lock();
        if let Some(lines) = board.lacking.get_mut(&lacked) {
            return lines.push(line);
        }
        let lacked = Arc::new(lacked);
        board.lacking.insert(lacked.clone(), vec![line]);
        board.add(GATHER, Errand::Missing(lacked, asker.clone(), 0));
        drop(board);
        self.bell.notify_one();
    }

    fn tell_gone(&self, target: &str, asker: &Asker) {
        let mut board = self.board.lock();
        if board.gone >= GONE_MAX {
            return tracing::warn!("applications don't hear of all clients that have gone");
        }
        board.gone += 1;
        board.add(Duration::ZERO, Errand::Gone(target.into(), asker.clone()));
        drop(board);
        self.bell.notify_one();
    }

    /// The next of what is due, while no more than so many are under way. Cancel-safe.
    async fn next(self: &Arc<Self>, limit: impl Fn() -> usize) -> (Errand, Running) {
        loop {
            let first = match self.board.lock().take(Instant::now(), limit()) {
                Ok(errand) => {
                    // Another thread may do the next.
                    self.bell.notify_one();
                    return (errand, Running(self.clone()));
                }
                Err(first) => first,
            };
            match first {
                Some(at) => drop(tokio::time::timeout_at(at.into(), self.bell.notified()).await),
                None => self.bell.notified().await,
            }
        }
    }
}

impl Board {
    fn add(&mut self, after: Duration, errand: Errand) {
        self.due.insert((Instant::now() + after, fresh_number()), errand);
    }

    /// What is due, or by when something will be; nothing where that is for others to say.
    fn take(&mut self, now: Instant, limit: usize) -> Result<Errand, Option<Instant>> {
        let first = self.due.first_key_value().map(|((at, _), _)| *at);
        match first {
            Some(at) if at > now => return Err(Some(at)),
            Some(_) if self.running < limit => {}
            _ => return Err(None),
        }
        let (_, errand) = self.due.pop_first().ok_or(None)?;
        self.running += 1;
        self.gone -= usize::from(matches!(errand, Errand::Gone(..)));
        Ok(errand)
    }
}

/// Something that is under way.
struct Running(Arc<Recoveries>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.board.lock().running -= 1;
        self.0.bell.notify_one();
    }
}

/// Those who wait for the same: whatever happens, they are told.
struct Waiting {
    recoveries: Arc<Recoveries>,
    lacked: Arc<Lacked>,
}

impl Waiting {
    fn tell(&self, speech: impl Fn() -> Speech) {
        let lines = self.recoveries.board.lock().lacking.remove(&self.lacked).unwrap_or_default();
        self.recoveries.waiting.sub(lines.len() as i64);
        lines.iter().for_each(|line| line.speak(speech()));
    }

    /// Asks again after a while.
    fn later(self, asker: Asker, attempt: u32) {
        let wait = Duration::from_millis((1000 << attempt) + fastrand::u64(0..1000));
        let errand = Errand::Missing(self.lacked.clone(), asker, attempt + 1);
        self.recoveries.board.lock().add(wait, errand);
        self.recoveries.bell.notify_one();
        mem::forget(self);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.tell(|| Speech::Close(0, "".into()));
    }
}

impl Asker {
    fn new(client: &Client, request: &Parts) -> Asker {
        // A copy: the field is a part of the buffer that the request was read into, which would live as long as the hold.
        let host = request.headers.get(HOST).and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok());
        Asker { host, passport: client.passport.clone(), secure: client.secure }
    }

    /// With a clock for one request of this thread.
    fn client(&self, worker: usize) -> Client {
        Client::for_one_request(self.passport.clone(), self.secure, worker)
    }
}

impl Hears for Anchor {
    fn hear(&self, _hold: u64, said: Said) {
        match said {
            Said::Missing(missing) => self.recoveries.ask_for(&self.asker, *missing),
            Said::Over(_) => {
                if let Some(gone) = &self.gone {
                    self.recoveries.tell_gone(gone, &self.asker);
                }
            }
            Said::Here(_) | Said::Words(_) | Said::Sent(_) | Said::Wanted => {}
        }
    }
}

impl Site {
    /// Asks applications for what held clients lack, for as long as the thread with this number lives.
    pub async fn recover(self: Rc<Self>, worker: usize) {
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                (errand, running) = self.recoveries.next(|| self.snapshot().0.recoveries) => {
                    let site = self.clone();
                    under_way.spawn_local(async move {
                        site.ask(errand, worker).await;
                        drop(running);
                    });
                }
                Some(done) = under_way.join_next() => if let Err(error) = done {
                    tracing::error!(%error, "a question to an application was lost with its task");
                }
            }
        }
    }

    async fn ask(&self, errand: Errand, worker: usize) {
        match errand {
            Errand::Missing(lacked, asker, attempt) => {
                let waiting = Waiting { recoveries: self.recoveries.clone(), lacked };
                let [ok, later, failed] = &self.recoveries.results;
                match self.ask_for(&waiting.lacked, &asker.client(worker)).await {
                    Ok(resume) => {
                        ok.inc();
                        let resume = Arc::new(resume);
                        waiting.tell(|| Speech::Resume(resume.clone()));
                    }
                    Err(Unrecovered::Later) if attempt < RETRIES => {
                        later.inc();
                        waiting.later(asker, attempt);
                    }
                    Err(_) => failed.inc(),
                }
            }
            Errand::Gone(target, asker) => {
                let client = asker.client(worker);
                if let Some(parts) = request(Method::POST, &target, asker.host.as_ref())
                    && let Some(ctx) = self.way_of_link(&self.snapshot().0, &client, &parts)
                {
                    tell_gone(ctx, &parts).await;
                }
            }
        }
    }

    async fn ask_for(&self, lacked: &Lacked, client: &Client) -> Result<Resume, Unrecovered> {
        let parts = request(Method::GET, &lacked.target, lacked.host.as_ref()).ok_or(Unrecovered::Never)?;
        let snapshot = self.snapshot();
        let ctx = self.way_of_link(&snapshot.0, client, &parts).ok_or(Unrecovered::Later)?;
        recover(ctx, &parts, &lacked.last_ids).await
    }

    /// Leads a request of the proxy's own to its route, unless the site is closed. Nobody's address is charged for it.
    fn way_of_link<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        client: &'a Client,
        parts: &Parts,
    ) -> Option<Context<'a>> {
        let path = parts.uri.path();
        let Found::Route(index, route) = snapshot.router.find(authority(parts), path) else { return None };
        let Action::Pool(pool, _) = &route.action else {
            tracing::warn!(path, "a link of an application leads to no route with a pool");
            return None;
        };
        if snapshot.facts[index].maintenance.closed().is_some() {
            return None;
        }
        let edits = route.edge.as_ref().map_or(&[][..], |edge| &edge.request);
        Some(self.context(snapshot, client, &snapshot.sites[index], (route, pool), edits))
    }
}
