//! Pools and sites: which belong together, and what each of them names that has to be there.

use super::{Lines, Pools, Rules};
use crate::config::draft::{ActionDraft, BodyLimit, RouteDraft, SiteDraft};
use crate::config::edge::EdgeDraft;
use crate::config::form;
use crate::config::pool::UPSTREAM_POOL;
use crate::config::problem::{Fault, Place, Placed, Problem, nearest, quote};
use crate::config::route::ROUTE_PATH;
use crate::config::route_grip::RouteGripDraft;
use crate::config::site::UPSTREAM_SITE;
use crate::config::{
    Action, Authority, BayeuxConfig, Buffer, CorsConfig, EdgeConfig, PoolConfig, RouteConfig, RouteGrip,
    ServerConfig, SiteConfig, Websockets,
};

/// Whether a route with this path is meant by a path, as far as nothing is encoded in it.
fn is_below(path: &str, route: &str) -> bool {
    let rest = path.strip_prefix(route);
    rest.is_some_and(|rest| route.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// The keys of a route that say what answers it.
const ACTIONS: &str = "`pool`, `files`, `redirect`, `bayeux` or `script`";

impl Rules<'_> {
    pub(super) fn way_of_requests(
        &mut self,
        upstream: Option<Placed<Vec<ServerConfig>>>,
        pools: Option<Placed<Vec<(String, PoolConfig)>>>,
        sites: Option<Placed<Vec<SiteDraft>>>,
    ) -> (Pools, Vec<SiteConfig>) {
        match (upstream, pools, sites) {
            (Some(upstream), None, None) => self.only_upstream(upstream.value),
            (Some(upstream), _, sites) => {
                let other = if sites.is_some() { "sites" } else { "pools" };
                let fault = Fault::Both { key: "upstream", other };
                self.tell(upstream.place, fault, "one of them");
                (Pools::new(), Vec::new())
            }
            (None, Some(pools), Some(sites)) => {
                let mut pools: Pools = pools.value.into_iter().collect();
                let mut sites = self.sites(sites.value, &pools);
                self.handed_on(&pools, &sites);
                sites.iter_mut().for_each(|site| self.authorities(site, &mut pools));
                (pools, sites)
            }
            (None, Some(pools), None) => self.no_way(pools.place, Fault::MissingKey("sites")),
            (None, None, Some(sites)) => self.no_way(sites.place, Fault::MissingKey("pools")),
            (None, None, None) => self.no_way(self.root.place, Fault::NoUpstream),
        }
    }

    /// The sites that applications may hand on to.
    fn handed_on(&mut self, pools: &Pools, sites: &[SiteConfig]) {
        let names = || sites.iter().map(|site| site.name.as_str());
        for (pool, config) in pools {
            for name in config.reproxy.sites.iter().filter(|name| names().all(|known| known != **name)) {
                let keys = ["pools", pool, "reproxy", "sites"];
                let typed = keys.iter().try_fold(self.root, |node, key| node.below(key));
                let place = typed.map_or(self.root.place, |node| node.place);
                let problem = Problem::new(place, Fault::UnknownSite(name.clone()));
                let nearest = nearest(name, names());
                self.problems.push(problem.expected("a key of `sites`").nearest(nearest));
            }
        }
    }

    /// Those that are asked about clients of Bayeux: a pool of their own, or one that the site's routes lead to.
    fn authorities(&mut self, site: &mut SiteConfig, pools: &mut Pools) {
        let leads_to_pool: Vec<(String, bool)> = site
            .routes
            .iter()
            .map(|route| (route.path.clone(), matches!(route.action, Action::Pool(_))))
            .collect();
        for route in &mut site.routes {
            let Action::Bayeux(BayeuxConfig { authorize: Some(authorize), .. }) = &mut route.action else {
                continue;
            };
            match &mut authorize.at {
                Authority::Server { pool, server, .. } => {
                    let fresh = || PoolConfig::of(vec![server.clone()]);
                    pools.entry(pool.clone()).or_insert_with(fresh);
                }
                Authority::Path { site: own, target } => {
                    own.clone_from(&site.name);
                    let led = leads_to_pool.iter().filter(|(path, _)| is_below(target.path(), path));
                    if led.max_by_key(|(path, _)| path.len()).is_none_or(|(_, is_pool)| !is_pool) {
                        let keys = ["sites", &site.name];
                        let typed = keys.iter().try_fold(self.root, |node, key| node.below(key));
                        let place = typed.map_or(self.root.place, |node| node.place);
                        let fault =
                            Fault::BadValue { key: "authorize".into(), value: quote(target.as_str()) };
                        self.tell(place, fault, "a path that a route with a pool answers, or a URL");
                    }
                }
            }
        }
    }

    fn no_way(&mut self, place: Place, fault: Fault) -> (Pools, Vec<SiteConfig>) {
        self.tell(place, fault, "`upstream`, or `pools` together with `sites`");
        (Pools::new(), Vec::new())
    }

    fn sites(&mut self, drafts: Vec<SiteDraft>, pools: &Pools) -> Vec<SiteConfig> {
        let mut seen = Lines::new();
        drafts.into_iter().map(|draft| self.site(draft, pools, &mut seen)).collect()
    }

    fn site(&mut self, mut draft: SiteDraft, pools: &Pools, seen: &mut Lines<String>) -> SiteConfig {
        let name = draft.name.value.clone();
        let routes = self.routes(&mut draft, pools);
        let edge = EdgeDraft::default().below(&draft.edge);
        let https = draft.https.map(|https| https.port.unwrap_or(self.tls_port));
        let canonical = draft.canonical.take();
        let cors = std::mem::take(&mut draft.cors);
        let mut hosts = Vec::new();
        for host in std::iter::once(draft.name).chain(draft.aliases) {
            match seen.get(&host.value) {
                Some(&first) => {
                    let fault = Fault::Repeated { what: "host", value: host.value, first };
                    self.tell(host.place, fault, "each host once");
                }
                None => {
                    seen.insert(host.value.clone(), host.place.line);
                    hosts.push(host.value);
                }
            }
        }
        let canonical = canonical.and_then(|canonical| self.canonical(canonical, &hosts));
        SiteConfig { name, hosts, routes, edge, https, canonical, cors }
    }

    /// One of the hosts that the site answers for, or those sent there would end up elsewhere.
    fn canonical(&mut self, canonical: Placed<String>, hosts: &[String]) -> Option<String> {
        let Placed { place, value } = canonical;
        let is_for = |pattern: &String| match pattern.strip_prefix('*') {
            Some(suffix) => value.len() > suffix.len() && value.ends_with(suffix),
            None => *pattern == value,
        };
        if !value.starts_with('*') && hosts.iter().any(is_for) {
            return Some(value);
        }
        let fault = Fault::BadValue { key: "canonical".into(), value: quote(&value) };
        self.tell(place, fault, "one host that the site answers for");
        None
    }

    fn routes(&mut self, site: &mut SiteDraft, pools: &Pools) -> Vec<RouteConfig> {
        match (site.routes.take(), site.pool_typed) {
            (Some(drafts), None) => {
                let mut seen = Lines::new();
                let edge = std::mem::take(&mut site.edge);
                let routes = drafts
                    .into_iter()
                    .filter_map(|draft| self.route(draft, &edge, pools, &mut seen))
                    .collect();
                site.edge = edge;
                routes
            }
            (None, Some(_)) => {
                let pool = site.pool.take().and_then(|pool| self.known_pool(pool, pools));
                let edge = EdgeDraft::default().below(&site.edge);
                pool.map(|pool| self.to_pool(pool, edge)).into_iter().collect()
            }
            (Some(_), Some(place)) => {
                self.tell(place, Fault::Both { key: "pool", other: "routes" }, "one of them");
                Vec::new()
            }
            (None, None) => {
                let fault = Fault::NoRoute(quote(&site.name.value));
                self.tell(site.name.place, fault, "`pool` or `routes`");
                Vec::new()
            }
        }
    }

    fn route(
        &mut self,
        draft: RouteDraft,
        site: &EdgeDraft,
        pools: &Pools,
        seen: &mut Lines<String>,
    ) -> Option<RouteConfig> {
        let action = draft.place.and_then(|place| self.action(place, draft.actions, pools));
        let Placed { place, value: path } = draft.path?;
        if let Some(&first) = seen.get(&path) {
            self.tell(
                place,
                Fault::Repeated { what: "path", value: path, first },
                "each path once in a site",
            );
            return None;
        }
        seen.insert(path.clone(), place.line);
        let edge = draft.edge.below(site);
        let request_body = draft.request_body.map_or(self.request_body, |BodyLimit(limit)| limit);
        let (action, buffer, internal) = (action?, draft.buffer, draft.internal);
        let RouteDraft { websockets, websocket_pool, debug, upstream_path, channel_prefix, grip, .. } = draft;
        let websocket_pool = websocket_pool.and_then(|pool| self.websocket_pool(pool, &action, pools));
        let grip = self.grip(grip, websockets);
        #[rustfmt::skip]
        let route = RouteConfig {
            path, action, buffer, request_body, internal, websockets, websocket_pool, debug, upstream_path,
            channel_prefix, grip, edge,
        };
        Some(route)
    }

    /// The pool for the WebSockets of a route that has one for the rest.
    fn websocket_pool(&mut self, pool: Placed<String>, action: &Action, pools: &Pools) -> Option<String> {
        if !matches!(action, Action::Pool(_)) {
            let fault = Fault::Needs { key: "websocket_pool", other: "pool" };
            self.tell(pool.place, fault, "`pool` beside it");
            return None;
        }
        self.known_pool(pool, pools)
    }

    /// What a route says of GRIP, if it is understood there at all.
    fn grip(&mut self, draft: RouteGripDraft, websockets: Websockets) -> Option<RouteGrip> {
        let Some(place) = draft.off else { return Some(draft.grip) };
        if websockets != Websockets::Through {
            let fault = Fault::BadValue { key: "grip".into(), value: form::OFF.into() };
            self.tell(
                place,
                fault,
                "another value where `websockets` is grip or over_http, which are GRIP's",
            );
        }
        None
    }

    /// The one action of a route that begins at `place`.
    fn action(&mut self, place: Place, mut drafts: Vec<ActionDraft>, pools: &Pools) -> Option<Action> {
        match drafts.as_slice() {
            [] => self.tell(place, Fault::NoAction, ACTIONS),
            [_] => {}
            [first, second, ..] => {
                let fault = Fault::TwoActions { key: first.key, other: second.key };
                self.tell(first.place, fault, "one of them");
                return None;
            }
        }
        let ActionDraft { place, action, .. } = drafts.pop()?;
        match action? {
            Action::Pool(value) => self.known_pool(Placed { place, value }, pools).map(Action::Pool),
            Action::Files(files) => self.is_folder(place, &files.root).then_some(Action::Files(files)),
            action @ (Action::Redirect(_) | Action::Bayeux(_) | Action::Script(_)) => Some(action),
        }
    }

    fn known_pool(&mut self, pool: Placed<String>, pools: &Pools) -> Option<String> {
        if pools.contains_key(&pool.value) {
            return Some(pool.value);
        }
        let nearest = nearest(&pool.value, pools.keys().map(String::as_str));
        let problem = Problem::new(pool.place, Fault::UnknownPool(pool.value));
        self.problems.push(problem.expected("a key of `pools`").nearest(nearest));
        None
    }

    /// One pool, and one site that matches every host.
    fn only_upstream(&self, servers: Vec<ServerConfig>) -> (Pools, Vec<SiteConfig>) {
        let pool = UPSTREAM_POOL.to_owned();
        let route = self.to_pool(pool.clone(), EdgeConfig::default());
        let site = UPSTREAM_SITE.to_owned();
        let site = SiteConfig {
            name: site.clone(),
            hosts: vec![site],
            routes: vec![route],
            edge: EdgeConfig::default(),
            https: None,
            canonical: None,
            cors: CorsConfig::default(),
        };
        (Pools::from([(pool, PoolConfig::of(servers))]), vec![site])
    }

    /// The only route of a site of which nothing but its pool was typed.
    fn to_pool(&self, pool: String, edge: EdgeConfig) -> RouteConfig {
        RouteConfig {
            path: ROUTE_PATH.to_owned(),
            action: Action::Pool(pool),
            buffer: Buffer::default(),
            request_body: self.request_body,
            internal: false,
            websockets: Websockets::default(),
            websocket_pool: None,
            debug: false,
            upstream_path: None,
            channel_prefix: None,
            grip: Some(RouteGrip::default()),
            edge,
        }
    }
}
