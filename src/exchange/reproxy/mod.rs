//! An answer that only says where the rest of it lies: in a file, at a URL, at another route or site of this proxy.
//!
//! The application's connection is given back first, then the rest is fetched: a worker is never held while bytes are
//! sent that others can send. The head is the application's, filled up by the target's ([`Said`]). Nothing that
//! a target says is obeyed, and nothing at all unless it was configured.

mod allowed;
mod cometd;
mod elsewhere;
mod fetch;
mod instruction;
mod memory;
mod said;

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Body as _;
use hyper::header::HeaderMap;
use hyper::http::request;
use hyper::{Method, Response, Uri};
use prometheus::IntCounter;

use super::check::Asked;
use super::files::{Wish, find};
use super::forward::Answer;
use super::marks::Marks;
use super::record::Record;
use super::refusal::Refusal;
use super::{Context, Outcome};
use crate::body::Body;
use crate::config::{KeepaliveConfig, ReproxyConfig};
use crate::files::{Folder, Found, Name, file_headers};
use crate::metrics::Metrics;
use crate::upstream::{Errands, Lease};

pub use cometd::{Cometd, CometdAction};
pub use elsewhere::Elsewhere;
pub(super) use instruction::{Instruction, read};

use allowed::Allowed;
use fetch::Fetch;
use instruction::Target;
use memory::Memory;
use said::Said;

/// Bytes of an answer that are read although nobody wants them, so that its connection can be kept.
const DRAINED_MAX: u64 = 64 * 1024;
/// How long they are waited for; then the connection is closed, as it would cost no more.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// What the applications of a pool may hand on to.
pub struct Reproxy {
    allowed: Allowed,
    folders: Box<[Arc<Folder>]>,
    /// Names of sites.
    sites: Box<[Box<str>]>,
    memory: Option<Memory>,
    /// Time to connect to a URL.
    connect: Duration,
    errands: Arc<Errands>,
    counts: Counts,
}

impl PartialEq for Handoffs {
    fn eq(&self, other: &Handoffs) -> bool {
        Arc::ptr_eq(&self.reproxy, &other.reproxy) && self.redirects == other.redirects
    }
}

impl Eq for Handoffs {}

impl std::fmt::Debug for Handoffs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handoffs").field("redirects", &self.redirects).finish_non_exhaustive()
    }
}

/// What the answers of one route may do.
#[derive(Clone)]
pub struct Handoffs {
    /// By the pool.
    pub reproxy: Arc<Reproxy>,
    /// Whether the site has routes that only `X-Accel-Redirect` leads to.
    pub redirects: bool,
}

/// `perihelion_reproxy_total` and `perihelion_reproxy_cache_total` of one pool.
struct Counts {
    /// By kind, then whether it came to an answer.
    handed_on: [[IntCounter; 2]; 4],
    passed_over: IntCounter,
    hits: IntCounter,
    misses: IntCounter,
}

const KINDS: [&str; 4] = ["file", "path", "url", "site"];

impl Counts {
    fn new(pool: &str, metrics: &Metrics) -> Counts {
        let counter = |kind, result| metrics.reproxied.with_label_values(&[pool, kind, result]);
        let remembered = |result| metrics.reproxy_cache.with_label_values(&[pool, result]);
        Counts {
            handed_on: KINDS.map(|kind| [counter(kind, "failed"), counter(kind, "ok")]),
            passed_over: metrics.reproxy_passed_over.with_label_values(&[pool]),
            hits: remembered("hit"),
            misses: remembered("miss"),
        }
    }

    fn handed_on(&self, kind: usize, came: bool) {
        self.handed_on[kind][usize::from(came)].inc();
    }

    fn passed_over(&self) {
        self.passed_over.inc();
    }
}

impl Reproxy {
    /// Of the pool with this name.
    pub fn new(
        pool: &str,
        config: &ReproxyConfig,
        (keepalive, connect): (&KeepaliveConfig, Duration),
        metrics: &Metrics,
    ) -> Reproxy {
        let folder = |path: &std::path::PathBuf| {
            Arc::new(Folder { path: path.clone(), index: Vec::new(), cache_control: None })
        };
        let entries = metrics.reproxy_cache_entries.with_label_values(&[pool]);
        Reproxy {
            allowed: Allowed::new(&config.urls, config.control),
            folders: config.files.iter().map(folder).collect(),
            sites: config.sites.iter().map(|site| site.as_str().into()).collect(),
            memory: NonZeroUsize::new(config.cache).map(|count| Memory::new(count, entries)),
            connect,
            errands: Errands::new(keepalive, config.roots.clone()),
            counts: Counts::new(pool, metrics),
        }
    }

    /// Closes connections to servers of URLs that have been idle for too long.
    pub fn sweep(&self, now: Instant) {
        self.errands.sweep(now);
    }

    /// Whether answers may hand on to anything.
    pub fn is_on(&self) -> bool {
        self.sends_files() || !self.allowed.is_empty() || !self.sites.is_empty()
    }

    /// Whether applications are told that files can be handed on.
    pub(super) fn sends_files(&self) -> bool {
        !self.folders.is_empty()
    }
}

/// Answers what is remembered, without the application.
pub(super) async fn remembered(
    ctx: &Context<'_>,
    handoffs: &Handoffs,
    parts: &request::Parts,
    asked: &Asked,
    record: &mut Record,
) -> Option<Response<Body>> {
    let reproxy = &handoffs.reproxy;
    let memory = reproxy.memory.as_ref().filter(|_| may_be_remembered(parts, asked))?;
    let Some(kept) = memory.recall(parts, Instant::now()) else {
        reproxy.counts.misses.inc();
        return None;
    };
    reproxy.counts.hits.inc();
    let said = Said { status: hyper::StatusCode::OK, headers: kept.headers };
    let fetch = Fetch { ctx, reproxy, parts, expected_size: kept.expected_size };
    let answered = fetch.first_of(&kept.urls, said, record).await;
    reproxy.counts.handed_on(2, answered.is_some());
    if answered.is_none() {
        memory.forget(parts);
    }
    answered
}

fn may_be_remembered(parts: &request::Parts, asked: &Asked) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD) && !asked.has_body() && !asked.websocket
}

/// Does what an answer says, once its connection is given back.
pub(super) async fn hand_on(
    ctx: &Context<'_>,
    (parts, asked, marks): (&request::Parts, &Asked, &Marks),
    handoffs: &Handoffs,
    instruction: Instruction,
    answer: Answer,
    record: &mut Record,
) -> Result<Outcome, Refusal> {
    let Answer { head, lease, .. } = answer;
    give_back(ctx, lease).await;
    ctx.client.clock.start(ctx.rules.body_timeout);
    let (said, reproxy) = (Said::of(head), &handoffs.reproxy);
    let Instruction { target, expected_size, cached } = instruction;
    let (kind, ended) = match target {
        Target::File(folder, name) => {
            (0, file(ctx, parts, (&folder, name), expected_size, said, record).await.map(Outcome::Answered))
        }
        Target::Path(path) => {
            let elsewhere = Elsewhere::at_path(path, parts, marks, said, record.take());
            (1, Ok(Outcome::Elsewhere(Box::new(elsewhere))))
        }
        Target::Site(site, cometd) => {
            let elsewhere = Elsewhere::at_site((site, cometd), parts, marks, said, record.take());
            (3, Ok(Outcome::Elsewhere(Box::new(elsewhere))))
        }
        Target::Urls(urls) => {
            let cached = cached.filter(|_| may_be_remembered(parts, asked));
            if let (Some(memory), Some(cached)) = (&reproxy.memory, cached) {
                memory.keep(parts, &said, (&urls, expected_size), &cached, Instant::now());
            }
            let fetch = Fetch { ctx, reproxy, parts, expected_size };
            (2, url(&fetch, &urls, said, record).await.map(Outcome::Answered))
        }
    };
    ctx.client.clock.start(ctx.rules.body_timeout);
    reproxy.counts.handed_on(kind, ended.is_ok());
    ended
}

async fn url(
    fetch: &Fetch<'_>,
    urls: &[Uri],
    said: Said,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let answered = fetch.first_of(urls, said, record).await;
    if answered.is_none()
        && let Some(memory) = &fetch.reproxy.memory
    {
        memory.forget(fetch.parts);
    }
    answered.ok_or(Refusal::Unfetched)
}

/// A file that isn't there, or isn't the one that was meant, is 404: only the application knows another.
async fn file(
    ctx: &Context<'_>,
    parts: &request::Parts,
    (folder, name): (&Arc<Folder>, Name),
    expected_size: Option<u64>,
    mut said: Said,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    // The application meant this very file, and no copy of it in another coding.
    let Found::File(opened) = find(folder, name, &HeaderMap::new()).await? else {
        return Err(Refusal::NoFile);
    };
    if expected_size.is_some_and(|expected| expected != opened.length()) {
        return Err(Refusal::NoFile);
    }
    said.fill(&file_headers(&opened, None, std::time::SystemTime::now()));
    let Context { client, rules, .. } = *ctx;
    Ok(Wish { client, rules, parts }.grant(said.status, said.headers, &opened, record))
}

/// Reads the end of an answer that is short, so that its connection serves others while this client is served.
async fn give_back(ctx: &Context<'_>, lease: Lease) {
    let mut body = lease.into_body();
    let mut left = DRAINED_MAX;
    let drained = std::future::poll_fn(|cx| {
        loop {
            if body.is_end_stream() || body.size_hint().lower() > left {
                return std::task::Poll::Ready(());
            }
            match std::task::ready!(Pin::new(&mut body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match left.checked_sub(bytes) {
                        Some(rest) => left = rest,
                        None => return std::task::Poll::Ready(()),
                    }
                }
                None | Some(Err(_)) => return std::task::Poll::Ready(()),
            }
        }
    });
    // What isn't drained is closed.
    let _ = ctx.client.clock.limit(DRAIN_TIME, drained).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Roots, UrlPattern};

    fn reproxy(config: &ReproxyConfig) -> Reproxy {
        let keepalive = KeepaliveConfig { connections: 1, idle: Duration::from_secs(1), requests: None };
        Reproxy::new("app", config, (&keepalive, Duration::from_secs(1)), &Metrics::new().unwrap())
    }

    /// Everything is allowed that the tests of this room ask for.
    pub(super) fn handoffs() -> Handoffs {
        let config = ReproxyConfig {
            urls: vec![UrlPattern::Host { host: "*".into(), port: None }],
            roots: Roots::default(),
            files: vec!["/srv/media".into(), "/srv/media/deep/".into()],
            sites: vec!["chat.example".into()],
            control: None,
            cache: 10,
        };
        let reproxy = reproxy(&config);
        Handoffs { reproxy: Arc::new(reproxy), redirects: true }
    }

    #[test]
    fn what_isn_t_configured_is_as_if_it_weren_t_said() {
        let reproxy = reproxy(&ReproxyConfig::default());
        assert!(!reproxy.is_on());
        let off = Handoffs { reproxy: Arc::new(reproxy), redirects: false };
        for name in ["x-sendfile", "x-reproxy-file", "x-accel-redirect", "x-reproxy-url", "x-reproxy-service"]
        {
            let headers = HeaderMap::from_iter([(
                hyper::header::HeaderName::from_static(name),
                hyper::header::HeaderValue::from_static("/srv/media/a"),
            )]);
            assert_eq!(read(&headers, &off).map(|found| found.is_some()), Ok(false), "{name}");
            assert_ne!(read(&headers, &handoffs()).map(|found| found.is_some()), Ok(false), "{name}");
        }
    }
}
