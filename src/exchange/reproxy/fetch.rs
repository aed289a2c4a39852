//! Fetches what an application's answer points to, from the first of its URLs that has it.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE};
use hyper::http::{request, response};
use hyper::{Method, Response, StatusCode, Uri};
use rustls::pki_types::ServerName;

use super::super::Context;
use super::super::files::{response as answer, without_body};
use super::super::record::Record;
use super::super::relay::fetched;
use super::super::sending::whole;
use super::Reproxy;
use super::said::Said;
use crate::body::Body;
use crate::config::HTTPS_PORT;
use crate::files::{Ranged, any_range, range, unmet, validators};
use crate::upstream::{Errand, Fields, LinkError, Outgoing, RequestHead, Whose};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// The port of `http` (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;
/// A thing whose length isn't known yet: only whether a part may be asked for is.
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// Why a URL is passed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfetched {
    /// Nothing but `http` and `https` is spoken.
    #[error("it is no http or https URL")]
    Scheme,
    /// The list says so.
    #[error("reproxy.urls doesn't list it")]
    Host,
    /// It resolves only to addresses that nobody listed.
    #[error("its addresses are private, and reproxy.urls doesn't list them")]
    Address,
    /// Nobody that is trusted vouches for its server.
    #[error("its certificate is not right: {0}")]
    Untrusted(std::io::Error),
    /// It can't be reached.
    #[error("it can't be reached: {0}")]
    Connect(std::io::Error),
    /// It gave no answer.
    #[error("it gave no answer: {0}")]
    NoAnswer(LinkError),
    /// A clock ran out.
    #[error("it took too long")]
    Late,
    /// It has something else to say.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// What it has isn't what the application meant.
    #[error("its size is {found:?} instead of {expected}")]
    Size {
        /// Bytes of the whole, where it says so.
        found: Option<u64>,
        /// What the application said.
        expected: u64,
    },
}

/// What is to be fetched, and for whom.
pub(super) struct Fetch<'a> {
    pub(super) ctx: &'a Context<'a>,
    pub(super) reproxy: &'a Reproxy,
    pub(super) parts: &'a request::Parts,
    pub(super) expected_size: Option<u64>,
}

impl Fetch<'_> {
    /// Answers with what the first good URL has; `None` where there is none, which leaves the record as it was.
    pub(super) async fn first_of(
        &self,
        urls: &[Uri],
        mut said: Said,
        record: &mut Record,
    ) -> Option<Response<Body>> {
        let wish = &self.parts.headers;
        if said.status == StatusCode::OK
            && said.has_validator()
            && let Some(outcome) = unmet(wish, validators(&said.headers))
        {
            return Some(without_body(outcome, said.headers, record));
        }
        let (errand, head) = self.good(urls, &said).await?;
        self.describe(&mut said, &head);
        if said.status == StatusCode::OK
            && head.status != StatusCode::RANGE_NOT_SATISFIABLE
            && let Some(outcome) = unmet(wish, validators(&said.headers))
        {
            return Some(without_body(outcome, said.headers, record));
        }
        if said.status == StatusCode::OK && is_about_a_part(head.status) {
            said.status = head.status;
        }
        record.answers(said.status);
        let body = match self.parts.method {
            Method::HEAD => whole(Bytes::new(), record),
            _ => fetched(self.ctx, &said.headers, errand, record),
        };
        Some(answer(said.status, said.headers, body))
    }

    async fn good(&self, urls: &[Uri], said: &Said) -> Option<(Errand, response::Parts)> {
        for url in urls {
            match self.one(url, said).await {
                Ok(good) => return Some(good),
                Err(
                    why
                    @ (Unfetched::Host | Unfetched::Address | Unfetched::Scheme | Unfetched::Untrusted(_)),
                ) => {
                    tracing::warn!(%url, "an application's answer points to a URL that isn't fetched: {why}");
                }
                Err(why) => tracing::debug!(%url, "passed over: {why}"),
            }
            self.reproxy.counts.passed_over();
        }
        None
    }

    async fn one(&self, url: &Uri, said: &Said) -> Result<(Errand, response::Parts), Unfetched> {
        let asks_for_part = self.wants_part(said);
        let request = self.request(url, asks_for_part, said);
        let mut errand = self.connect(url).await?;
        let mut head = self.ask(&mut errand, &request).await;
        if let (true, Err(Unfetched::NoAnswer(_))) = (errand.is_kept(), &head) {
            // Its server may have closed it before it was asked, and what is fetched may be fetched again.
            errand = self.fresh(&errand.whose().clone()).await?;
            head = self.ask(&mut errand, &request).await;
        }
        let head = head?;
        self.check(&head, asks_for_part)?;
        Ok((errand, head))
    }

    async fn ask(
        &self,
        errand: &mut Errand,
        request: &RequestHead<'_>,
    ) -> Result<response::Parts, Unfetched> {
        let Context { client, rules, .. } = self.ctx;
        let asked =
            client.clock.limit(rules.response_timeout, errand.ask(request, Outgoing::default())).await;
        asked.map_err(|_| Unfetched::Late)?.map_err(Unfetched::NoAnswer)
    }

    /// A connection to an address that may be asked: one that is there, or a new one.
    async fn connect(&self, url: &Uri) -> Result<Errand, Unfetched> {
        let Place { host, port, secure } = Place::of(url)?;
        if !self.reproxy.allowed.host(&host, port) {
            return Err(Unfetched::Host);
        }
        let name = match secure {
            true => Some(ServerName::try_from(host.clone()).map_err(|_| Unfetched::Host)?),
            false => None,
        };
        let (clock, time) = (&self.ctx.client.clock, self.reproxy.connect);
        let addresses = clock.limit(time, resolve(&host, port)).await.map_err(|_| Unfetched::Late)?;
        let addresses = addresses.map_err(Unfetched::Connect)?;
        let reachable = |address: &&SocketAddr| self.reproxy.allowed.address(address.ip(), port);
        let addresses: Vec<Whose> = addresses
            .iter()
            .filter(reachable)
            .take(ADDRESSES_MAX)
            .map(|address| Whose { address: *address, name: name.clone() })
            .collect();
        let worker = self.ctx.client.worker;
        if let Some(errand) = addresses.iter().find_map(|whose| self.reproxy.errands.kept(whose, worker)) {
            return Ok(errand);
        }
        let mut last = Unfetched::Address;
        for whose in &addresses {
            match self.fresh(whose).await {
                Ok(errand) => return Ok(errand),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn fresh(&self, whose: &Whose) -> Result<Errand, Unfetched> {
        let connecting = self.reproxy.errands.connect(whose, self.ctx.client.worker);
        let connected = self.ctx.client.clock.limit(self.reproxy.connect, connecting).await;
        connected.map_err(|_| Unfetched::Late)?.map_err(|error| {
            let is_tls = error.get_ref().is_some_and(|source| source.is::<rustls::Error>());
            if is_tls { Unfetched::Untrusted(error) } else { Unfetched::Connect(error) }
        })
    }

    /// What the target is asked: nothing of the client's but the part that it wants, where the validator that it
    /// wants it under is the target's.
    fn request<'r>(&'r self, url: &'r Uri, asks_for_part: bool, said: &Said) -> RequestHead<'r> {
        let mut fields = Fields::with_capacity(3);
        fields.add("host", url.authority().map_or("", |authority| authority.as_str()).as_bytes());
        let names = if said.has_validator() { &["range"][..] } else { &["range", "if-range"] };
        for name in names.iter().filter(|_| asks_for_part) {
            if let Some(value) = self.parts.headers.get(*name) {
                fields.add(name, value.as_bytes());
            }
        }
        let method = if self.parts.method == Method::HEAD { &Method::HEAD } else { &Method::GET };
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        RequestHead { method, target, fields }
    }

    /// Whether one part is asked for, under a condition that the application's head meets or has nothing to say to.
    fn wants_part(&self, said: &Said) -> bool {
        if said.status != StatusCode::OK || self.parts.method != Method::GET {
            return false;
        }
        let wish = &self.parts.headers;
        let ranged = match said.has_validator() {
            true => range(wish, validators(&said.headers), UNKNOWN_LENGTH, SystemTime::now()),
            false => any_range(wish, UNKNOWN_LENGTH),
        };
        ranged != Ranged::Whole
    }

    fn check(&self, head: &response::Parts, asks_for_part: bool) -> Result<(), Unfetched> {
        let good = match head.status {
            status if is_about_a_part(status) => asks_for_part && head.headers.contains_key(CONTENT_RANGE),
            status => status.is_success(),
        };
        if !good {
            return Err(Unfetched::Status(head.status));
        }
        match self.expected_size {
            Some(expected) if full_size(head) != Some(expected) => {
                Err(Unfetched::Size { found: full_size(head), expected })
            }
            _ => Ok(()),
        }
    }

    fn describe(&self, said: &mut Said, head: &response::Parts) {
        said.fill(&head.headers);
        if !is_about_a_part(head.status) {
            said.headers.remove(CONTENT_RANGE);
        }
        if said.status != StatusCode::OK {
            said.headers.remove(ACCEPT_RANGES);
        }
        if let Some(length) = head.headers.get(CONTENT_LENGTH) {
            said.headers.insert(CONTENT_LENGTH, length.clone());
        }
    }
}

fn is_about_a_part(status: StatusCode) -> bool {
    matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
}

/// Where a URL leads.
struct Place {
    /// In lower case, without brackets.
    host: String,
    port: u16,
    /// Whether TLS is spoken there.
    secure: bool,
}

impl Place {
    fn of(url: &Uri) -> Result<Place, Unfetched> {
        let authority = url.authority().filter(|authority| !authority.as_str().contains('@'));
        let host = authority.map_or("", |authority| authority.host());
        let (secure, usual) = match url.scheme_str() {
            Some("http") => (false, HTTP_PORT),
            Some("https") => (true, HTTPS_PORT),
            _ => return Err(Unfetched::Scheme),
        };
        if host.is_empty() {
            return Err(Unfetched::Scheme);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host);
        Ok(Place { host: host.to_ascii_lowercase(), port: url.port_u16().unwrap_or(usual), secure })
    }
}

async fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
    }
}

/// Bytes of the whole thing, of which a part may have come.
fn full_size(head: &response::Parts) -> Option<u64> {
    let text = |name| head.headers.get(name)?.to_str().ok();
    match is_about_a_part(head.status) {
        true => text(CONTENT_RANGE)?.rsplit_once('/')?.1.trim().parse().ok(),
        false => text(CONTENT_LENGTH)?.parse().ok(),
    }
}
