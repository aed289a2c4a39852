//! Which pool answers a request: one [`Snapshot`] of everything that a configuration says about it, looked up once
//! for each request and kept until its end.
//!
//! A reload puts another snapshot in place; requests in work keep theirs. Pools that the new configuration has, too,
//! stay, with their connections and their waiting lines, and take over what it says of them.

mod authority;
mod bayeux;
mod converse;
mod desk;
mod elsewhere;
mod passing;
mod recoveries;
mod route;
pub mod router;
mod snapshot;
mod talks;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::Cache;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use crate::access_log::AccessLog;
use crate::bayeux::Bayeux;
use crate::body::{Body, ClientBody};
use crate::config::{Edit, Websockets};
use crate::edge::plain_path;
use crate::exchange::{
    Client, Context, Host, Outcome, Place, Refusal, Rules, SiteMetrics, asks_for_socket, exchange,
    forges_events, is_own, offer_grip, open, redirect, refuse, serve_file, serve_script,
};
use crate::files::Folder;
use crate::hold::{Counting, Keeper, TakeOver};
use crate::quota::Quota;

pub use recoveries::Recoveries;
pub use snapshot::{NO_SITE, Snapshot, Snapshots};

use route::{Action, Route};
use router::Found;
use talks::Talks;

/// The sites as one thread serves them.
pub struct Site {
    snapshot: RefCell<Local>,
    keeper: Arc<dyn Keeper>,
    log: AccessLog,
    quota: Arc<Quota>,
    bayeux: Arc<Bayeux>,
    talks: Talks,
    recoveries: Arc<Recoveries>,
}

/// A thread's own count of who uses the snapshot: one that all threads share would be a place that they fight for.
struct Local {
    cache: Cache<Snapshots, Arc<Snapshot>>,
    shared: Rc<Shared>,
}

/// The process's share of a snapshot that one thread has.
struct Shared(Arc<Snapshot>);

impl Site {
    /// For one thread.
    pub fn new(
        snapshots: Snapshots,
        keeper: Arc<dyn Keeper>,
        log: AccessLog,
        quota: Arc<Quota>,
        (bayeux, recoveries): (Arc<Bayeux>, Arc<Recoveries>),
    ) -> Rc<Site> {
        let shared = Rc::new(Shared(snapshots.load_full()));
        let snapshot = RefCell::new(Local { cache: Cache::new(snapshots), shared });
        Rc::new(Site { snapshot, keeper, log, quota, bayeux, talks: Talks::default(), recoveries })
    }

    /// The service of one connection.
    pub fn serve(self: &Rc<Site>, client: Client) -> Visit {
        Visit { site: self.clone(), client }
    }

    /// Lets go of a snapshot that has been replaced, which otherwise the next request would do: idle connections of
    /// its pools are closed with it.
    pub fn renew(&self) {
        self.snapshot();
    }

    fn snapshot(&self) -> Rc<Shared> {
        let Local { cache, shared } = &mut *self.snapshot.borrow_mut();
        let current = cache.load();
        if !Arc::ptr_eq(current, &shared.0) {
            *shared = Rc::new(Shared(current.clone()));
        }
        shared.clone()
    }

    async fn answer(
        &self,
        snapshot: &Snapshot,
        client: &Client,
        parts: &Parts,
        body: ClientBody,
    ) -> Result<Response<Body>, TakeOver> {
        let mut cors = None;
        let (index, edge, wish) = match snapshot.router.find(authority(parts), parts.uri.path()) {
            Found::Route(index, route) if !route.is_internal => {
                cors = Some(&route.cors).filter(|cors| cors.is_on());
                (Some(index), route.edge.as_deref(), Wish::Route(index, route))
            }
            Found::NoRoute(index) | Found::Route(index, _) => {
                (Some(index), snapshot.edges[index].as_deref(), Wish::None(Refusal::NoRoute))
            }
            Found::Ambiguous(index) => (Some(index), snapshot.edges[index].as_deref(), Wish::None(AMBIGUOUS)),
            Found::NoSite => (None, None, Wish::None(Refusal::NoRoute)),
        };
        let wish = self.bar(snapshot, index, client, &parts.headers).map_or(wish, Wish::None);
        let site = index.map_or(&snapshot.other, |index| &snapshot.sites[index]);
        let counting = snapshot.counts_holds.then(|| {
            let address = client.address_behind(&snapshot.rules, &parts.headers);
            Counting { keeper: self.keeper.as_ref(), quota: &self.quota, address }
        });
        let keeper: &dyn Keeper = match &counting {
            Some(counting) => counting,
            None => self.keeper.as_ref(),
        };
        let errand = Errand { client, snapshot, rules: &snapshot.rules, site, keeper };
        let mut result = match edge {
            None => self.act(errand, wish, &[], parts, body).await,
            // In a box of its own, so that requests without an edge don't carry its size.
            Some(edge) => Box::pin(self.pass(errand, edge, wish, parts, body)).await,
        };
        if let (Some(cors), Ok(response)) = (cors, &mut result)
            && is_own(response)
        {
            cors.mark_own(parts.headers.get(ORIGIN), response.headers_mut());
        }
        result
    }

    /// Why nothing is to be done for a request at the moment, whatever it asks for.
    fn bar(
        &self,
        snapshot: &Snapshot,
        index: Option<usize>,
        client: &Client,
        headers: &HeaderMap,
    ) -> Option<Refusal> {
        let address = || client.address_behind(&snapshot.rules, headers);
        if let Some(pace) = &snapshot.pace
            && let Err(wait) = self.quota.request(pace, address(), Instant::now())
        {
            return Some(Refusal::TooFast(wait));
        }
        let closed = snapshot.facts[index?].maintenance.closed()?;
        (!closed.admits(address())).then_some(Refusal::Maintenance(closed.retry_after))
    }

    async fn act(
        &self,
        errand: Errand<'_>,
        wish: Wish<'_>,
        edits: &[Edit],
        parts: &Parts,
        body: ClientBody,
    ) -> Result<Response<Body>, TakeOver> {
        let Errand { client, rules, site, keeper, .. } = errand;
        let (index, route) = match wish {
            Wish::Route(index, route) => (index, route),
            Wish::None(refusal) => return Ok(self.refuse(errand, (parts, &body), &refusal)),
        };
        let log = &self.log;
        match &route.action {
            Action::Pool(pool, handoffs) => {
                let (pool, handoffs) = match &route.sockets {
                    Some(sockets) if asks_for_socket(parts) => (&sockets.0, &sockets.1),
                    _ => (pool, handoffs),
                };
                let websockets = route.rules.websockets;
                let over_http = websockets == Websockets::OverHttp;
                let offered;
                let edits = match websockets {
                    Websockets::Grip if asks_for_socket(parts) => {
                        offered = [edits, &[offer_grip()]].concat();
                        &offered
                    }
                    _ => edits,
                };
                let (cors, handoffs, route) = (&route.cors, handoffs.as_ref(), &route.rules);
                let ctx = Context { client, rules, route, site, cors, pool, handoffs, keeper, log, edits };
                if over_http && forges_events(parts) {
                    return Ok(self.refuse(errand, (parts, &body), &Refusal::ForgedEvents));
                }
                if over_http && asks_for_socket(parts) {
                    return self.talks.opened(Box::pin(open(ctx, parts, body)).await, rules.socket_message);
                }
                match exchange(ctx, parts, body).await {
                    Outcome::Answered(response) => Ok(response),
                    Outcome::Left(take_over) => Err(take_over),
                    Outcome::Joined(take_over, far) => {
                        Err(self.talks.joined(take_over, far, rules.socket_message))
                    }
                    Outcome::Elsewhere(elsewhere) => Box::pin(self.elsewhere(errand, index, elsewhere)).await,
                }
            }
            Action::Files(folder) => {
                // A future of its own, so that requests to an application don't carry its size.
                Ok(Box::pin(file(client, rules, site, log, (route, folder), (parts, &body))).await)
            }
            Action::Bayeux(terms) => {
                let host = Host { client, rules, site, cors: &route.cors, keeper, log };
                Box::pin(self.bayeux(errand.snapshot, terms, host, parts, body)).await
            }
            Action::Script(cache_control) => {
                // What is below its path is something else.
                if plain_path(parts.uri.path()).as_deref() != Some(route.path.as_bytes()) {
                    return Ok(self.refuse(errand, (parts, &body), &Refusal::NoFile));
                }
                let script = (&route.cors, cache_control);
                Ok(serve_script(client, rules, site, log, script, (parts, &body)))
            }
            Action::Redirect(elsewhere) => {
                let location = elsewhere.location(&parts.uri);
                Ok(self.redirect(errand, (parts, &body), elsewhere.status, &location))
            }
        }
    }

    fn refuse(
        &self,
        errand: Errand<'_>,
        request: (&Parts, &ClientBody),
        refusal: &Refusal,
    ) -> Response<Body> {
        let Errand { client, rules, site, .. } = errand;
        refuse(client, rules, site, &self.log, request, refusal)
    }

    fn redirect(
        &self,
        errand: Errand<'_>,
        request: (&Parts, &ClientBody),
        status: StatusCode,
        location: &str,
    ) -> Response<Body> {
        let Errand { client, rules, site, .. } = errand;
        redirect(client, rules, site, &self.log, request, (status, location))
    }
}

/// Who asks, by which rules, and for whom it is counted.
#[derive(Clone, Copy)]
struct Errand<'a> {
    client: &'a Client,
    snapshot: &'a Snapshot,
    rules: &'a Rules,
    site: &'a Arc<SiteMetrics>,
    /// Who holds, if there is a place for its address.
    keeper: &'a dyn Keeper,
}

/// What a request is for.
enum Wish<'a> {
    /// What this route of the site at this index has.
    Route(usize, &'a Route),
    /// Nothing that is here.
    None(Refusal),
}

/// Of a folder, by what stands in the path behind that of the route.
async fn file(
    client: &Client,
    rules: &Rules,
    site: &Arc<SiteMetrics>,
    log: &AccessLog,
    (route, folder): (&Route, &Arc<Folder>),
    request: (&Parts, &ClientBody),
) -> Response<Body> {
    let Some(path) = plain_path(request.0.uri.path()) else {
        return refuse(client, rules, site, log, request, &AMBIGUOUS);
    };
    let rest = path.strip_prefix(route.path.as_bytes()).unwrap_or_default();
    serve_file(client, rules, site, log, Place { folder, path: &path, rest }, request).await
}

const AMBIGUOUS: Refusal = Refusal::BadRequest("the path has an encoded slash, a backslash or a zero byte");

/// What the request says of the host; that of an absolute target counts more than `Host` (RFC 9112 §3.2.2).
fn authority(parts: &Parts) -> &str {
    match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        // It stands first in most heads, so that looking is cheaper than searching.
        None => {
            let host = parts.headers.iter().find(|(name, _)| **name == HOST);
            host.and_then(|(_, host)| host.to_str().ok()).unwrap_or_default()
        }
    }
}

/// The service of one connection.
pub struct Visit {
    site: Rc<Site>,
    client: Client,
}

impl Visit {
    /// Answers one request, or has its connection taken over.
    pub async fn answer(&self, request: Request<ClientBody>) -> Result<Response<Body>, TakeOver> {
        // Everybody further in borrows the head: it is large, and would be moved from hand to hand.
        let (parts, body) = request.into_parts();
        let snapshot = self.site.snapshot();
        let mut answered = self.site.answer(&snapshot.0, &self.client, &parts, body).await;
        if let Err(take_over) = &mut answered {
            let bytes_max = snapshot.0.rules.socket_message;
            self.site.talks.attend(&self.client, &parts, bytes_max, take_over);
            self.site.recoveries.attend(&self.client, &parts, take_over);
        }
        answered
    }
}
