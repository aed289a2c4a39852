//! What is counted and written of one request, whatever becomes of it: finished exactly once, on drop.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use hyper::header::{HeaderName, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};
use prometheus::{Histogram, IntCounter, IntGauge};
use tokio::time::Instant;

use super::marks::Marks;
use super::refusal::Refusal;
use super::returning::TicketEnd;
use super::rules::{Client, Rules};
use crate::access_log::{AccessLog, End, Exchange, Subject};
use crate::metrics::Metrics;
use crate::spool::Held;
use crate::upstream::Upload;

/// What nginx calls a request whose client left before there was an answer.
const CLIENT_LEFT: u16 = 499;
/// A request whose client was left without an answer.
const PANICKED: u16 = 500;

/// Methods with a label of their own.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
const OTHER: usize = METHODS.len();
const METHOD_KINDS: usize = OTHER + 1;
/// Each method over HTTP/1, then each over HTTP/2.
const KINDS: usize = 2 * METHOD_KINDS;
/// Statuses with a label of their own: 100 to 599.
const STATUSES: usize = 500;

/// The handles of one site, each looked up at most once.
pub struct SiteMetrics {
    name: Arc<str>,
    metrics: Metrics,
    /// By kind, then by status; most sites see few of either.
    requests: [OnceLock<Box<[OnceLock<IntCounter>]>>; KINDS],
    in_flight: IntGauge,
    /// By class of status, from `1xx`.
    duration: [Histogram; 5],
    ttfb: Histogram,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    errors: [OnceLock<IntCounter>; Refusal::REASONS.len()],
    /// Instructions obeyed, and those refused because of the instruction itself, a limit, its body.
    takeovers: [IntCounter; 4],
    tickets: [OnceLock<IntCounter>; TicketEnd::WORDS.len()],
}

impl SiteMetrics {
    /// For the site with this configured name, `_other` for requests that no site wants.
    pub fn new(site: &str, metrics: &Metrics) -> SiteMetrics {
        let duration = |class| metrics.request_duration.with_label_values(&[site, class]);
        let takeovers = |result| metrics.comet_takeovers.with_label_values(&[site, result]);
        SiteMetrics {
            name: site.into(),
            metrics: metrics.clone(),
            requests: Default::default(),
            in_flight: metrics.requests_in_flight.with_label_values(&[site]),
            duration: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(duration),
            ttfb: metrics.response_ttfb.with_label_values(&[site]),
            request_bytes: metrics.request_bytes.with_label_values(&[site]),
            response_bytes: metrics.response_bytes.with_label_values(&[site]),
            errors: Default::default(),
            takeovers: ["ok", "bad_header", "limit", "body_too_large"].map(takeovers),
            tickets: Default::default(),
        }
    }

    /// The configured name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What became of a ticket.
    pub(super) fn ticket(&self, end: TicketEnd) {
        let end = end as usize;
        let word = TicketEnd::WORDS[end];
        let counter = || self.metrics.comet_tickets.with_label_values(&[&*self.name, word]);
        self.tickets[end].get_or_init(counter).inc();
    }

    /// What became of a message of a WebSocket's client.
    pub(super) fn words(&self, result: &str) {
        self.metrics.comet_words_carried.with_label_values(&[&*self.name, result]).inc();
    }

    fn answered(&self, kind: usize, status: u16) {
        let by_status = self.requests[kind].get_or_init(|| (0..STATUSES).map(|_| OnceLock::new()).collect());
        let label = |code: &str| {
            let method = METHODS.get(kind % METHOD_KINDS).copied().unwrap_or("OTHER");
            let protocol = if kind < METHOD_KINDS { "h1" } else { "h2" };
            self.metrics.requests.with_label_values(&[&*self.name, method, code, protocol])
        };
        match usize::from(status).checked_sub(100).and_then(|index| by_status.get(index)) {
            Some(slot) => slot.get_or_init(|| label(&status.to_string())).inc(),
            None => label("000").inc(),
        }
    }

    fn refused(&self, refusal: &Refusal) {
        let counter = || self.metrics.request_errors.with_label_values(&[&*self.name, refusal.reason()]);
        self.errors[refusal.index()].get_or_init(counter).inc();
        match refusal {
            Refusal::BadInstruction(_) => self.takeovers[1].inc(),
            Refusal::HoldsFull | Refusal::ChannelFull | Refusal::AddressFull | Refusal::HoldsRush(_) => {
                self.takeovers[2].inc();
            }
            Refusal::HoldBody => self.takeovers[3].inc(),
            _ => {}
        }
    }
}

/// The request so far. When it is dropped before anything else happened to it, the client has left, unless the thread
/// unwinds.
pub(super) struct Record(Option<Box<Entry>>);

struct Entry {
    site: Arc<SiteMetrics>,
    log: AccessLog,
    subject: Option<Box<Subject>>,
    kind: usize,
    began: Instant,
    /// When all of the answer was there, if it was at once.
    ended: Option<Instant>,
    head_after: Option<std::time::Duration>,
    status: u16,
    bytes: u64,
    upload: Option<Arc<Upload>>,
    /// The body of the request, until it is known what its answer means.
    body: Option<Arc<Held>>,
    server: Option<Arc<str>>,
    retries: u8,
    end: End,
}

impl Record {
    pub(super) fn begin(
        client: &Client,
        rules: &Rules,
        site: &Arc<SiteMetrics>,
        log: &AccessLog,
        parts: &Parts,
        marks: &Marks,
    ) -> Record {
        site.in_flight.inc();
        let subject = log.is_on().then(|| Box::new(subject(client, rules, site, log, parts, marks)));
        Record(Some(Box::new(Entry {
            site: site.clone(),
            log: log.clone(),
            subject,
            kind: kind(&parts.method, parts.version),
            began: client.clock.now(),
            ended: None,
            head_after: None,
            status: CLIENT_LEFT,
            bytes: 0,
            upload: None,
            body: None,
            server: None,
            retries: 0,
            end: End::ClientAbort,
        })))
    }

    /// Gives the rest of the record to whoever sees the end of the request.
    pub(super) fn take(&mut self) -> Record {
        Record(self.0.take())
    }

    /// The request is sent to this server.
    pub(super) fn asks(&mut self, server: &Arc<str>) {
        self.change(|entry| entry.server = Some(server.clone()));
    }

    /// The request has this body.
    pub(super) fn uploads(&mut self, upload: Arc<Upload>) {
        self.change(|entry| entry.upload = Some(upload));
    }

    /// The request has this body, which may have to be sent again.
    pub(super) fn keeps(&mut self, body: &Arc<Held>) {
        self.change(|entry| entry.body = Some(body.clone()));
    }

    /// The body that was kept.
    pub(super) fn take_body(&mut self) -> Option<Arc<Held>> {
        self.0.as_mut().and_then(|entry| entry.body.take())
    }

    /// The request had a body of so many bytes, which is read.
    pub(super) fn received(&mut self, bytes: u64) {
        self.change(|entry| entry.site.request_bytes.inc_by(bytes));
    }

    /// Whether nothing of the request's body is left to read.
    pub(super) fn request_is_whole(&self) -> bool {
        let upload = self.0.as_ref().and_then(|entry| entry.upload.as_ref());
        upload.is_some_and(|upload| upload.is_whole())
    }

    pub(super) fn retries(&mut self) {
        self.change(|entry| entry.retries = entry.retries.saturating_add(1));
    }

    /// The head of the answer is there.
    pub(super) fn head_came(&mut self, now: Instant) {
        self.change(|entry| entry.head_after = Some(now - entry.began));
    }

    /// The client gets this status; until the end is known, it may still leave.
    pub(super) fn answers(&mut self, status: StatusCode) {
        self.change(|entry| entry.status = status.as_u16());
    }

    pub(super) fn sends(&mut self, bytes: u64) {
        self.change(|entry| entry.bytes += bytes);
    }

    pub(super) fn ends(&mut self, end: End) {
        self.change(|entry| entry.end = end);
    }

    /// All of the answer is there.
    pub(super) fn whole(&mut self, bytes: u64, now: Instant) {
        self.change(|entry| {
            entry.bytes += bytes;
            (entry.end, entry.ended) = (End::Ok, Some(now));
        });
    }

    /// The client is sent elsewhere.
    pub(super) fn redirected(&mut self, status: StatusCode) {
        self.answers(status);
        self.ends(End::Ok);
    }

    /// The proxy answers by itself.
    pub(super) fn refused(&mut self, refusal: &Refusal, request: &Parts) {
        self.change(|entry| {
            refusal.tell(entry.site.name(), request.uri.path());
            entry.site.refused(refusal);
            entry.head_after = Some(entry.began.elapsed());
            (entry.status, entry.end) = (refusal.status().as_u16(), refusal.end());
        });
    }

    /// The connection is held; gives what the second line in the log needs.
    pub(super) fn held(&mut self, status: StatusCode) -> Option<Box<Subject>> {
        self.answers(status);
        self.ends(End::TakenOver);
        self.0.as_ref().and_then(|entry| {
            entry.site.takeovers[0].inc();
            entry.subject.clone()
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.0 {
            change(entry);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.panicked();
        }
        let duration = self.ended.unwrap_or_else(Instant::now) - self.began;
        let site = &self.site;
        site.in_flight.dec();
        site.answered(self.kind, self.status);
        let class = usize::from(self.status / 100).wrapping_sub(1).min(4);
        if self.end != End::Tunnelled {
            site.duration[class].observe(duration.as_secs_f64());
        }
        if let Some(after) = self.head_after {
            site.ttfb.observe(after.as_secs_f64());
        }
        site.response_bytes.inc_by(self.bytes);
        if let Some(upload) = &self.upload {
            site.request_bytes.inc_by(upload.bytes());
        }
        if let Some(subject) = &self.subject {
            self.log.exchange(subject, &self.summary(duration));
        }
    }
}

impl Entry {
    /// What the client got of an answer stays what it got.
    fn panicked(&mut self) {
        self.end = End::Panicked;
        if self.status == CLIENT_LEFT {
            self.status = PANICKED;
        }
    }

    fn summary(&self, duration: std::time::Duration) -> Exchange {
        Exchange {
            status: self.status,
            body_bytes_sent: self.bytes,
            duration,
            ttfb: self.head_after,
            server: self.server.clone(),
            retries: self.retries,
            end: self.end,
        }
    }
}

fn kind(method: &Method, version: Version) -> usize {
    let index = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(OTHER);
    if version < Version::HTTP_2 { index } else { index + METHOD_KINDS }
}

fn subject(
    client: &Client,
    rules: &Rules,
    site: &SiteMetrics,
    log: &AccessLog,
    parts: &Parts,
    marks: &Marks,
) -> Subject {
    let sent = |name: &HeaderName| parts.headers.get(name).map(|value| value.as_bytes().into());
    let request_id = || String::from_utf8_lossy(marks.id()).into_owned().into_boxed_str();
    Subject {
        client: client.address_behind(rules, &parts.headers),
        site: site.name.clone(),
        method: parts.method.clone(),
        target: parts.uri.to_string().into(),
        version: parts.version,
        referer: sent(&REFERER),
        user_agent: sent(&USER_AGENT),
        request_id: log.names_requests().then(request_id),
        began: SystemTime::now(),
    }
}
