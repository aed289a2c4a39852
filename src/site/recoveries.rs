//! What held clients of GRIP may lack, and which of them have gone: their applications are asked, once for all streams
//! that lack the same, and again by the request of each response.
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
use crate::edge::Edge;
use crate::exchange::{Client, Context, KeptRequest, Unrecovered, ask_again, recover, request, tell_gone};
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

/// What is known of a held client for whom an application may be asked.
struct Known {
    host: Option<HeaderValue>,
    passport: Passport,
    secure: bool,
    /// Where it is told that the client has gone.
    gone: Option<Box<str>>,
    /// The request whose response is held.
    request: Option<KeptRequest>,
}

/// Something to ask.
enum Errand {
    /// For what clients lack, and how often it was asked for before.
    Missing(Arc<Lacked>, Arc<Known>, u32),
    /// The request of a client that has these ids.
    Again(Arc<Known>, LastIds, Line),
    /// Nothing: the application hears that a client has gone.
    Gone(Arc<Known>),
}

/// The owner of a held client.
struct Anchor {
    recoveries: Arc<Recoveries>,
    known: Arc<Known>,
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
            let could_lose = hold.could_lose();
            let Some(company) = hold.grip.as_mut().filter(|_| hold.ear.is_none()) else { return };
            let has_link = company.ways.next.is_some() || company.ways.gone.is_some();
            let body = company.request_body.take();
            let kept = could_lose.then(|| KeptRequest::new(request, body)).flatten();
            if has_link || kept.is_some() {
                let known = Arc::new(Known::new(client, request, company.ways.gone.take(), kept));
                let anchor = Anchor { recoveries: self.clone(), known };
                hold.ear = Some(Box::new(Ear::new(Arc::new(anchor), fresh_number())));
            }
        });
    }

    fn ask_for(&self, known: &Arc<Known>, missing: Missing) {
        let Missing { target, mut last_ids, line } = missing;
        last_ids.sort();
        self.waiting.inc();
        let Some(target) = target else {
            let errand = Errand::Again(known.clone(), last_ids, line);
            self.board.lock().add(Duration::ZERO, errand);
            return self.bell.notify_one();
        };
        let lacked = Lacked { host: known.host.clone(), secure: known.secure, target, last_ids };
        let mut board = self.board.lock();
        if let Some(lines) = board.lacking.get_mut(&lacked) {
            return lines.push(line);
        }
        let lacked = Arc::new(lacked);
        board.lacking.insert(lacked.clone(), vec![line]);
        board.add(GATHER, Errand::Missing(lacked, known.clone(), 0));
        drop(board);
        self.bell.notify_one();
    }

    fn tell_gone(&self, known: &Arc<Known>) {
        let mut board = self.board.lock();
        if board.gone >= GONE_MAX {
            return tracing::warn!("applications don't hear of all clients that have gone");
        }
        board.gone += 1;
        board.add(Duration::ZERO, Errand::Gone(known.clone()));
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
    fn later(self, known: Arc<Known>, attempt: u32) {
        let wait = Duration::from_millis((1000 << attempt) + fastrand::u64(0..1000));
        let errand = Errand::Missing(self.lacked.clone(), known, attempt + 1);
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

impl Known {
    fn new(client: &Client, request: &Parts, gone: Option<Box<str>>, kept: Option<KeptRequest>) -> Known {
        // A copy: the field is a part of the buffer that the request was read into, which would live as long as the hold.
        let host = request.headers.get(HOST).and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok());
        Known { host, passport: client.passport.clone(), secure: client.secure, gone, request: kept }
    }

    /// With a clock for one request of this thread.
    fn client(&self, worker: usize) -> Client {
        Client::for_one_request(self.passport.clone(), self.secure, worker)
    }
}

impl Hears for Anchor {
    fn hear(&self, _hold: u64, said: Said) {
        match said {
            Said::Missing(missing) => self.recoveries.ask_for(&self.known, *missing),
            Said::Over(_) if self.known.gone.is_some() => self.recoveries.tell_gone(&self.known),
            Said::Over(_) => {}
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
        let [ok, later, failed] = &self.recoveries.results;
        match errand {
            Errand::Missing(lacked, known, attempt) => {
                let waiting = Waiting { recoveries: self.recoveries.clone(), lacked };
                match self.ask_for(&waiting.lacked, &known.client(worker)).await {
                    Ok(resume) => {
                        ok.inc();
                        let resume = Arc::new(resume);
                        waiting.tell(|| Speech::Resume(resume.clone()));
                    }
                    Err(Unrecovered::Later) if attempt < RETRIES => {
                        later.inc();
                        waiting.later(known, attempt);
                    }
                    Err(_) => failed.inc(),
                }
            }
            Errand::Again(known, last_ids, line) => {
                let said = self.ask_again(&known, &last_ids, &known.client(worker)).await;
                if said.is_some() { ok } else { failed }.inc();
                self.recoveries.waiting.dec();
                // Whom nothing is said asks again itself, having got what its application has given.
                line.speak(said.unwrap_or_else(|| Speech::Close(0, "".into())));
            }
            Errand::Gone(known) => {
                let (snapshot, client) = (self.snapshot(), known.client(worker));
                let gone = known.gone.as_deref().unwrap_or_default();
                if let Some(parts) = request(Method::POST, gone, known.host.as_ref())
                    && let Some((ctx, _)) = self.way_of_link(&snapshot.0, &client, &parts)
                {
                    tell_gone(ctx, &parts).await;
                }
            }
        }
    }

    async fn ask_for(&self, lacked: &Lacked, client: &Client) -> Result<Resume, Unrecovered> {
        let parts = request(Method::GET, &lacked.target, lacked.host.as_ref()).ok_or(Unrecovered::Never)?;
        let snapshot = self.snapshot();
        let (ctx, _) = self.way_of_link(&snapshot.0, client, &parts).ok_or(Unrecovered::Later)?;
        recover(ctx, &parts, &lacked.last_ids).await
    }

    async fn ask_again(&self, known: &Known, last_ids: &LastIds, client: &Client) -> Option<Speech> {
        let request = known.request.as_ref()?;
        let parts = request.parts()?;
        let snapshot = self.snapshot();
        let (ctx, edge) = self.way_of_link(&snapshot.0, client, &parts)?;
        let mut said = ask_again(ctx, (&parts, request.body()), last_ids).await?;
        let headers = match &mut said {
            Speech::HoldAgain(hold) => Some(&mut hold.answer.headers),
            Speech::Whole(answer, _) => Some(&mut answer.headers),
            _ => None,
        };
        if let Some((edge, headers)) = edge.zip(headers) {
            edge.edit_answer(headers);
        }
        Some(said)
    }

    /// Leads a request of the proxy's own to its route, unless the site is closed. Nobody's address is charged for it.
    fn way_of_link<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        client: &'a Client,
        parts: &Parts,
    ) -> Option<(Context<'a>, Option<&'a Edge>)> {
        let path = parts.uri.path();
        let Found::Route(index, route) = snapshot.router.find(authority(parts), path) else { return None };
        let Action::Pool(pool, handoffs) = &route.action else {
            tracing::warn!(path, "a link of an application leads to no route with a pool");
            return None;
        };
        if snapshot.facts[index].maintenance.closed().is_some() {
            return None;
        }
        let edge = route.edge.as_deref();
        let edits = edge.map_or(&[][..], |edge| &edge.request);
        let ctx = self.context(snapshot, client, &snapshot.sites[index], (route, pool), edits);
        Some((Context { handoffs: handoffs.as_ref(), ..ctx }, edge))
    }
}
