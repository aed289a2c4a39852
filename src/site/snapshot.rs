//! Everything that a configuration says about requests, as it is used: made by a start or a reload, kept by each request
//! until its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::config::{BuffersConfig, Config, CorsConfig, PoolConfig, RouteConfig, SiteConfig};
use crate::edge::{Edge, Maintenance};
use crate::exchange::{Cors, Handoffs, Identity, Reproxy, RouteRules, Rules, SiteMetrics};
use crate::metrics::Metrics;
use crate::quota::Pace;
use crate::spool::Spools;
use crate::upstream::Pool;

use super::route::Route;
use super::router::{self, Found, Router};

/// What a request is routed and bounded by.
pub struct Snapshot {
    pub(super) router: Router<Arc<Route>>,
    /// By the router's index of the site.
    pub(super) sites: Vec<Arc<SiteMetrics>>,
    /// The same, for requests that no route is meant by.
    pub(super) edges: Vec<Option<Box<Edge>>>,
    /// For requests that no site is meant by.
    pub(super) other: Arc<SiteMetrics>,
    /// For those that the proxy makes by itself.
    pub(super) by_itself: (RouteRules, Cors),
    pub(super) rules: Rules,
    /// How fast an address may ask; `None` for any.
    pub(super) pace: Option<Pace>,
    /// Questions of `recoveries` that are under way at once.
    pub(super) recoveries: usize,
    /// Whether holds are counted for addresses.
    pub(super) counts_holds: bool,
    /// As the control port sees them, by the router's index.
    pub(super) facts: Vec<Facts>,
    /// The same for every snapshot.
    spools: Arc<Spools>,
    pub(super) pools: BTreeMap<String, PoolInUse>,
}

/// What is said of a site on the control port.
pub(super) struct Facts {
    name: String,
    hosts: Vec<String>,
    /// The same over all snapshots in which there is such a site.
    pub(super) maintenance: Arc<Maintenance>,
}

#[derive(Clone)]
pub(super) struct PoolInUse {
    config: PoolConfig,
    connect: Duration,
    pub(super) pool: Arc<Pool>,
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
        let identity = config.grip.as_ref().map(|grip| Arc::new(Identity::new(grip)));
        let route = |site: &SiteConfig, route: &RouteConfig, redirects: bool| {
            let pool =
                |name: &String| pools.get(name).map(|used| (used.pool.clone(), used.handoffs(redirects)));
            let rules = RouteRules::new(route, config, identity.as_ref(), &spools);
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
            by_itself: (
                RouteRules::of_proxy(config, identity.as_ref(), &spools),
                Cors::new(&CorsConfig::default()),
            ),
            rules: Rules::new(config),
            pace: Pace::new(&config.limits.per_address),
            recoveries: config.limits.recoveries,
            counts_holds: config.limits.per_address.holds.is_some(),
            facts: config.sites.iter().map(|site| Facts::new(site, before, metrics)).collect(),
            spools,
            pools,
        }
    }

    /// How the application knows the proxy whose client asked for this URL.
    pub fn identity_for(&self, origin: &str) -> Option<Arc<Identity>> {
        let behind_scheme = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let (authority, path) =
            behind_scheme.split_at(behind_scheme.find('/').unwrap_or(behind_scheme.len()));
        let own = match self.router.find(authority, path) {
            Found::Route(_, route) => route.rules.grip.identity(),
            _ => None,
        };
        own.or(self.by_itself.0.grip.identity()).cloned()
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
