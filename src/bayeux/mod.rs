//! Bayeux 1.0: messages come in requests, where a connect that waits becomes a hold, or on WebSockets.
//!
//! A session lives here and nowhere else: [`session`] says what it is, [`table`] which sessions want what. Requests are
//! answered on the threads that they come on; one thread of the room ([`Courier`]) takes what the hub brings, tells
//! shards what to answer and ends sessions whose clients stay away. One lock guards the table; it is never held while
//! something is waited for.
//!
//! Channels are those of the hub, by the same name. The room knows no routes and no sockets, and keeps no message: what
//! waits for a client is shared with all who get it.

mod authority;
mod body;
mod connect;
mod consult;
mod courier;
mod desk;
mod envelope;
#[cfg(test)]
pub(crate) mod fuzz;
mod guest;
mod handshake;
#[cfg(test)]
mod journeys;
mod mail;
mod meta;
#[cfg(test)]
mod moments;
mod name;
mod session;
mod socket;
mod sockets;
mod table;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::{Method, StatusCode};
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};

use crate::hold::{Answer, ClientSide, Ear, Hold, Source, moment};
use crate::hub::Hub;
use crate::message::{Entry, TransportId};
use crate::metrics::Metrics;
use crate::transport::{self, Parameters};

use desk::Desk;
use envelope::Request;
use meta::{Said, Visitor};
use table::Table;

pub use authority::Answered;
pub use body::BadRequest;
pub use courier::Courier;
pub use guest::{Guest, Says};
pub use session::Terms;

/// All sessions of the process.
pub struct Bayeux {
    hub: Arc<Hub>,
    desk: Arc<Desk>,
    table: Mutex<Table>,
    sessions_max: AtomicUsize,
    random: SystemRandom,
    metrics: Metrics,
}

/// A request, read to its end.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The query of its target.
    pub query: Option<&'a str>,
    /// Its body.
    pub body: &'a [u8],
    /// The client's side, for a hold.
    pub client: ClientSide,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Reply {
    /// It is answered with 200, these headers and this body.
    Answer(HeaderMap, Vec<u8>),
    /// It is held.
    Hold(Box<Hold>),
}

/// The cookie by which the clients of one browser are known to be so.
const BROWSER: &str = "BAYEUX_BROWSER";
const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript;charset=UTF-8");
/// 160 bits, so that none is guessed and none comes twice.
const ID_BYTES: usize = 20;

impl Bayeux {
    /// Without sessions yet; at most so many at once.
    pub fn new(hub: &Arc<Hub>, sessions_max: usize, metrics: &Metrics) -> Arc<Bayeux> {
        let desk = Arc::new(Desk::default());
        let bell = desk.clone();
        let table = table::table(hub, metrics, Box::new(move || bell.ring_news()));
        Arc::new(Bayeux {
            hub: hub.clone(),
            desk,
            table: Mutex::new(table),
            sessions_max: AtomicUsize::new(sessions_max),
            random: SystemRandom::new(),
            metrics: metrics.clone(),
        })
    }

    /// Takes another bound for sessions that come from now on.
    pub fn set_sessions_max(&self, sessions: usize) {
        self.sessions_max.store(sessions, Ordering::Relaxed);
    }

    /// Answers a request to a route with these terms. Waits for the store, where something is published, and for the
    /// authority of the terms, where they have one; it takes questions, and has no answer where it can't be asked.
    ///
    /// # Errors
    /// The request can't be answered in the protocol.
    pub async fn ask(
        &self,
        terms: &Arc<Terms>,
        question: Question<'_>,
        authority: impl AsyncFnOnce(Vec<u8>) -> Option<Answered>,
    ) -> Result<Reply, BadRequest> {
        let Question { method, headers, query, body, client } = question;
        let carried = body::read(method, headers, query, body)?;
        let lists = carried.texts.iter().map(|text| envelope::read(text));
        let messages: Vec<Request<'_>> =
            lists.collect::<Option<Vec<_>>>().ok_or(BadRequest::NoMessages)?.into_iter().flatten().collect();
        if messages.is_empty() {
            return Err(BadRequest::NoMessages);
        }
        let callback = carried.callback.as_deref();
        let visitor = Visitor { terms, browser: browser(headers), callback, socket: None };
        let said = self.hear(&visitor, &messages, authority).await;
        Ok(self.reply(&visitor, said, client))
    }

    fn reply(&self, visitor: &Visitor<'_>, said: Said, client: ClientSide) -> Reply {
        match said {
            Said::Answer { messages, replies, browser } => {
                self.answered(visitor, (&messages, &replies), browser)
            }
            Said::Hold { hold, timeout, fallback } => {
                let (ear, is_script) = (Ear::new(self.desk.clone(), hold), visitor.callback.is_some());
                Reply::Hold(Box::new(held(timeout, fallback, is_script, client, ear)))
            }
            Said::OnSocket => unreachable!("it came in a request"),
        }
    }

    fn answered(
        &self,
        visitor: &Visitor<'_>,
        (messages, replies): (&[Arc<Entry>], &[Vec<u8>]),
        browser: Option<Box<str>>,
    ) -> Reply {
        let body = words::body(messages, replies, visitor.callback);
        self.metrics.comet_deliveries.with_label_values(&["bayeux"]).inc_by(messages.len() as u64);
        let mut answer = answer_headers(visitor.callback.is_some());
        if let Some(browser) = browser {
            answer.insert(SET_COOKIE, cookie(&browser));
        }
        // Replies of one moment, which are nobody else's.
        answer.insert("cache-control", HeaderValue::from_static("no-cache, no-store"));
        Reply::Answer(answer, body)
    }

    /// A name that nobody guesses.
    fn fresh_id(&self) -> Option<Box<str>> {
        let mut bytes = [0; ID_BYTES];
        self.random.fill(&mut bytes).ok()?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }
}

fn answer_headers(script: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, if script { SCRIPT } else { JSON });
    if script {
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        headers.insert("content-disposition", HeaderValue::from_static("attachment; filename=f.txt"));
    }
    headers
}

fn held(timeout: Duration, fallback: Vec<u8>, script: bool, client: ClientSide, ear: Ear) -> Hold {
    const TRANSPORT: TransportId = transport::BAYEUX;
    let answer =
        Answer { status: StatusCode::OK, headers: answer_headers(script), body: Bytes::from(fallback) };
    Hold {
        wishes: Vec::new(),
        transport: TRANSPORT,
        parameters: Parameters::default(),
        timeout: Some(timeout),
        keepalive: None,
        retry: None,
        answer,
        at: moment(),
        source: Source::Application,
        tag: None,
        messages: None,
        client,
        subject: None,
        ear: Some(Box::new(ear)),
        grip: None,
    }
}

/// Gives a browser its name.
fn cookie(browser: &str) -> HeaderValue {
    HeaderValue::try_from(format!("{BROWSER}={browser}; Path=/; HttpOnly")).expect("hexadecimal digits")
}

/// What the client's browser is called, if it has been given a name.
fn browser(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let value = pairs
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(BROWSER)?.strip_prefix('='))?;
    let is_own = value.len() == 2 * ID_BYTES && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_own.then_some(value)
}

/// Milliseconds of a duration, as the protocol counts.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
