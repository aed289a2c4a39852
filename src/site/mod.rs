//! Which pool answers a request: one [`Snapshot`] of everything that a configuration says about it, looked up once
//! for each request and kept until its end.
//!
//! A reload puts another snapshot in place; requests in work keep theirs. Pools that the new configuration has, too,
//! stay, with their connections and their waiting lines, and take over what it says of them.

mod authority;
mod bayeux;
mod recoveries;
mod route;
pub mod router;
mod talks;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use hyper::body::Body as _;
use hyper::header::{HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use crate::access_log::AccessLog;
use crate::bayeux::Bayeux;
use crate::body::{Body, ClientBody};
use crate::config::{
    BuffersConfig, Config, CorsConfig, Edit, PoolConfig, RouteConfig, SiteConfig, Websockets,
};
use crate::edge::{Edge, Jsonp, Maintenance, Meant, scripted};
use crate::exchange::{
    Client, Context, Cors, Elsewhere, Handoffs, Host, Outcome, Place, Refusal, Reproxy, RouteRules, Rules,
    SiteMetrics, asks_for_socket, exchange, forges_events, is_own, offer_grip, open, redirect, refuse,
    serve_file, serve_script,
};
use crate::files::Folder;
use crate::hold::{Counting, Keeper, TakeOver};
use crate::metrics::Metrics;
use crate::quota::{Pace, Quota};
use crate::spool::Spools;
use crate::upstream::Pool;

pub use recoveries::Recoveries;

use route::{Action, Route};
use router::{Found, Router, plain};
use talks::Talks;

/// What a request is routed and bounded by.
pub struct Snapshot {
    router: Router<Arc<Route>>,
    /// By the router's index of the site.
    sites: Vec<Arc<SiteMetrics>>,
    /// The same, for requests that no route is meant by.
    edges: Vec<Option<Box<Edge>>>,
    /// For requests that no site is meant by.
    other: Arc<SiteMetrics>,
    /// For those that the proxy makes by itself.
    by_itself: (RouteRules, Cors),
    rules: Rules,
    /// How fast an address may ask; `None` for any.
    pace: Option<Pace>,
    /// Questions of `recoveries` that are under way at once.
    recoveries: usize,
    /// Whether holds are counted for addresses.
    counts_holds: bool,
    /// As the control port sees them, by the router's index.
    facts: Vec<Facts>,
    /// The same for every snapshot.
    spools: Arc<Spools>,
    pools: BTreeMap<String, PoolInUse>,
}

/// What is said of a site on the control port.
struct Facts {
    name: String,
    hosts: Vec<String>,
    /// The same over all snapshots in which there is such a site.
    maintenance: Arc<Maintenance>,
}

#[derive(Clone)]
struct PoolInUse {
    config: PoolConfig,
    connect: Duration,
    pool: Arc<Pool>,
    reproxy: Arc<Reproxy>,
}

impl PoolInUse {
    /// Where answers may point on a site that has routes for it, or has none.
    fn handoffs(&self, redirects: bool) -> Option<Handoffs> {
        let handoffs = Handoffs { reproxy: self.reproxy.clone(), redirects };
        (redirects || self.reproxy.is_on()).then_some(handoffs)
    }
}

/// The snapshot in use, for all threads.
pub type Snapshots = Arc<ArcSwap<Snapshot>>;

/// What is changed in requests that no route is meant by.
const NO_EDITS: &[Edit] = &[];
/// The name of the site, in metrics and logs, of requests that belong to none.
pub const NO_SITE: &str = "_other";

impl Snapshot {
    /// Of a checked configuration; pools of the one `before` take it over, with everything that they have.
    pub fn new(config: &Config, before: Option<&Snapshot>, metrics: &Metrics) -> Snapshot {
        let connect = config.timeouts.connect;
        let pool = |(name, config): (&String, &PoolConfig)| {
            let kept = before.and_then(|before| before.pools.get(name));
            let same = |kept: &&PoolInUse| {
                kept.connect == connect
                    && kept.config.reproxy == config.reproxy
                    && kept.config.keepalive == config.keepalive
            };
            let unchanged = kept.filter(same);
            let reproxy = unchanged.map(|kept| kept.reproxy.clone());
            let pool = match kept {
                Some(kept) => {
                    kept.pool.reconfigure(config, connect);
                    kept.pool.clone()
                }
                None => Pool::new(name, config, connect, metrics),
            };
            let (reproxying, keep) = (&config.reproxy, (&config.keepalive, connect));
            let fresh = || Arc::new(Reproxy::new(name, reproxying, keep, metrics));
            let reproxy = reproxy.unwrap_or_else(fresh);
            (name.clone(), PoolInUse { config: config.clone(), connect, pool, reproxy })
        };
        let pools: BTreeMap<_, _> = config.pools.iter().map(pool).collect();
        let spools = spools(&config.buffers, before, metrics);
        let route = |site: &SiteConfig, route: &RouteConfig, redirects: bool| {
            let pool =
                |name: &String| pools.get(name).map(|used| (used.pool.clone(), used.handoffs(redirects)));
            let rules = RouteRules::new(route, &config.buffers, &spools);
            Some((route.path.clone(), Route::new(site, route, config.limits.message, rules, pool)?))
        };
        let sites = config.sites.iter().map(|site| {
            let redirects = site.routes.iter().any(|route| route.internal);
            let routes = site.routes.iter().filter_map(|config| route(site, config, redirects)).collect();
            router::Site { hosts: site.hosts.clone(), routes }
        });
        Snapshot {
            router: Router::new(sites.collect()),
            sites: config.sites.iter().map(|site| Arc::new(SiteMetrics::new(&site.name, metrics))).collect(),
            edges: config.sites.iter().map(|site| Edge::new(site, &site.edge)).collect(),
            other: Arc::new(SiteMetrics::new(NO_SITE, metrics)),
            by_itself: (RouteRules::of_proxy(&config.buffers, &spools), Cors::new(&CorsConfig::default())),
            rules: Rules::new(config),
            pace: Pace::new(&config.limits.per_address),
            recoveries: config.limits.recoveries,
            counts_holds: config.limits.per_address.holds.is_some(),
            facts: config.sites.iter().map(|site| Facts::new(site, before, metrics)).collect(),
            spools,
            pools,
        }
    }

    /// The sites in the order of the configuration.
    pub fn sites_in_use(&self) -> impl Iterator<Item = (&str, &[String], &Arc<Maintenance>)> {
        self.facts.iter().map(|facts| (&*facts.name, &*facts.hosts, &facts.maintenance))
    }

    /// The pools by name, for whoever sweeps them.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.values().map(|in_use| &in_use.pool)
    }

    /// What became of pools since the snapshot `before`, for the log.
    pub fn changed_pools(&self, before: &Snapshot) -> Vec<String> {
        let change = |(name, pool): (&String, &PoolInUse)| match before.pools.get(name) {
            None => Some(format!("pool {name} is new")),
            Some(known) if known.config == pool.config && known.connect == pool.connect => None,
            Some(_) => Some(format!("pool {name} has changed")),
        };
        let gone = before.pools.keys().filter(|name| !self.pools.contains_key(*name));
        let gone = gone.map(|name| format!("pool {name} is gone"));
        self.pools.iter().filter_map(change).chain(gone).collect()
    }

    /// Closes idle connections that have been idle for too long.
    pub fn sweep(&self, now: Instant) {
        self.pools().for_each(|pool| pool.sweep(now));
        self.pools.values().for_each(|used| used.reproxy.sweep(now));
    }
}

impl Facts {
    fn new(site: &SiteConfig, before: Option<&Snapshot>, metrics: &Metrics) -> Facts {
        let same = |facts: &&Facts| facts.name == site.name;
        let known = before.and_then(|before| before.facts.iter().find(same));
        let gauge = || metrics.site_maintenance.with_label_values(&[&site.name]);
        let maintenance =
            known.map_or_else(|| Arc::new(Maintenance::new(gauge())), |facts| facts.maintenance.clone());
        Facts { name: site.name.clone(), hosts: site.hosts.clone(), maintenance }
    }
}

/// What there is, with new bounds: what waits is counted by it.
fn spools(config: &BuffersConfig, before: Option<&Snapshot>, metrics: &Metrics) -> Arc<Spools> {
    match before {
        Some(before) => {
            before.spools.reconfigure(config);
            before.spools.clone()
        }
        None => Spools::new(config, metrics),
    }
}

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
        let (index, edge, wish) = match snapshot.router.find(authority(parts), parts.uri.path()) {
            Found::Route(index, route) if !route.is_internal => {
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
        match edge {
            None => self.act(errand, wish, &[], parts, body).await,
            // In a box of its own, so that requests without an edge don't carry its size.
            Some(edge) => Box::pin(self.pass(errand, edge, wish, parts, body)).await,
        }
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

    /// Through the edge of a route, in and out.
    async fn pass(
        &self,
        errand: Errand<'_>,
        edge: &Edge,
        wish: Wish<'_>,
        parts: &Parts,
        body: ClientBody,
    ) -> Result<Response<Body>, TakeOver> {
        let is_of_folder = matches!(&wish, Wish::Route(_, Route { action: Action::Files(_), .. }));
        let result = match self.stop(errand, edge, parts) {
            None => match (&edge.jsonp, &wish) {
                (Some(jsonp), Wish::Route(_, Route { action: Action::Pool(..), .. }))
                    if body.is_end_stream() =>
                {
                    Box::pin(self.act_for_script(errand, wish, (edge, jsonp), parts, body)).await
                }
                _ => self.act(errand, wish, &edge.request, parts, body).await,
            },
            Some(Stop::Denied) => Ok(self.refuse(errand, (parts, &body), &Refusal::Denied)),
            Some(Stop::Elsewhere(location)) => {
                Ok(self.redirect(errand, (parts, &body), StatusCode::PERMANENT_REDIRECT, &location))
            }
        };
        match result {
            Ok(mut response) => {
                if is_own(&response) {
                    edge.dress(&mut response);
                }
                edge.edit_answer(response.headers_mut());
                edge.open_up(&parts.headers, response.headers_mut());
                // A folder has the copies that are to be sent.
                if !is_of_folder {
                    edge.compress(&parts.headers, &mut response);
                }
                Ok(response)
            }
            Err(mut take_over) => {
                take_over.edit_hold(|hold| {
                    edge.edit_answer(&mut hold.answer.headers);
                    // Pages don't read heads of WebSockets.
                    if !hold.is_socket() {
                        edge.open_up(&parts.headers, &mut hold.answer.headers);
                    }
                });
                Err(take_over)
            }
        }
    }

    /// What a script has asked for in the place of its page, answered as a script.
    async fn act_for_script(
        &self,
        errand: Errand<'_>,
        wish: Wish<'_>,
        (edge, jsonp): (&Edge, &Jsonp),
        parts: &Parts,
        body: ClientBody,
    ) -> Result<Response<Body>, TakeOver> {
        let Meant { parts: meant, body: said } = match jsonp.read(parts) {
            Ok(Some(meant)) => meant,
            Ok(None) => return self.act(errand, wish, &edge.request, parts, body).await,
            Err(reason) => return Ok(self.refuse(errand, (parts, &body), &Refusal::BadRequest(reason))),
        };
        let response = self.act(errand, wish, &edge.request, &meant, ClientBody::of(said)).await?;
        Ok(scripted(&meant.extensions, response))
    }

    /// Why a request gets no further than the edge.
    fn stop(&self, errand: Errand<'_>, edge: &Edge, parts: &Parts) -> Option<Stop> {
        let Errand { client, rules, .. } = errand;
        let headers = &parts.headers;
        if !edge.access.is_empty() {
            let address = client.address_behind(rules, headers);
            if !edge.access.iter().all(|access| access.admits(address)) {
                return Some(Stop::Denied);
            }
        }
        let secure = client.is_secure(rules, headers);
        let location = edge.canon.as_ref()?.location(secure, authority(parts), &parts.uri);
        location.map(Stop::Elsewhere)
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
                if plain(parts.uri.path()).as_deref() != Some(route.path.as_bytes()) {
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

/// Why a request gets no further than the edge.
enum Stop {
    Denied,
    /// It belongs there.
    Elsewhere(String),
}

impl Site {
    /// A request that an answer has sent to another route, which may be an internal one. Who may come in was decided
    /// where it came from; what is edited here counts too.
    async fn elsewhere(
        &self,
        errand: Errand<'_>,
        from: usize,
        elsewhere: Box<Elsewhere>,
    ) -> Result<Response<Body>, TakeOver> {
        let Errand { client, snapshot, rules, .. } = errand;
        let named = |name: &str| snapshot.sites.iter().position(|site| **site.name() == *name);
        let index = elsewhere.site().map_or(Some(from), named);
        let path = elsewhere.path().to_owned();
        let Some(Found::Route(_, route)) = index.map(|index| snapshot.router.find_in(index, &path)) else {
            return Ok(elsewhere.nowhere(client, rules));
        };
        let mut result = self.act_elsewhere(errand, route, &path, elsewhere).await;
        if let Some(edge) = &route.edge {
            match &mut result {
                Ok(response) => edge.edit_answer(response.headers_mut()),
                Err(take_over) => take_over.edit_head(|headers| edge.edit_answer(headers)),
            }
        }
        result
    }

    async fn act_elsewhere(
        &self,
        errand: Errand<'_>,
        route: &Route,
        path: &str,
        elsewhere: Box<Elsewhere>,
    ) -> Result<Response<Body>, TakeOver> {
        let Errand { client, rules, site, keeper, .. } = errand;
        match (&route.action, plain(path)) {
            (Action::Pool(pool, _), _) => {
                let edits = route.edge.as_ref().map_or(&[][..], |edge| &edge.request);
                let (cors, route, handoffs) = (&route.cors, &route.rules, None);
                let log = &self.log;
                let ctx = Context { client, rules, route, site, cors, pool, handoffs, keeper, log, edits };
                elsewhere.ask(ctx).await
            }
            (Action::Files(folder), Some(path)) => {
                let rest = path.strip_prefix(route.path.as_bytes()).unwrap_or_default();
                Ok(elsewhere.file(client, rules, Place { folder, path: &path, rest }).await)
            }
            (Action::Bayeux(terms), _) => {
                let host = Host { client, rules, site, cors: &route.cors, keeper, log: &self.log };
                self.bayeux_of_guest(errand.snapshot, terms, host, elsewhere).await
            }
            (Action::Files(_), None) | (Action::Redirect(_) | Action::Script(_), _) => {
                Ok(elsewhere.nowhere(client, rules))
            }
        }
    }
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
    let Some(path) = plain(request.0.uri.path()) else {
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
