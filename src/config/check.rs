//! The rules that need more than one key: from a draft to a [`Config`], every broken rule told.
//!
//! Where a problem is told, the config that comes out is not to be used; see [`Config::parse`].

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use super::client_certificates::ClientsDraft;
use super::draft::{
    ActionDraft, BodyLimit, CertificateDraft, ControlDraft, Draft, KeptDraft, ListenerDraft, RedisTlsDraft,
    RouteDraft, SiteDraft, StoreDraft, SyncWord,
};
use super::edge::EdgeDraft;
use super::pool::UPSTREAM_POOL;
use super::problem::{Fault, Place, Placed, Problem, nearest, quote};
use super::route::ROUTE_PATH;
use super::site::UPSTREAM_SITE;
use super::tree::Node;
use super::{
    Action, Authority, BayeuxConfig, Buffer, BuffersConfig, Certificate, Config, ControlConfig, CorsConfig,
    DiskConfig, DrainConfig, EdgeConfig, Endpoint, HTTPS_PORT, Limits, ListenerConfig, PoolConfig,
    RedisConfig, RedisTls, RouteConfig, Secret, ServerConfig, SiteConfig, StoreConfig, SyncTime, Websockets,
    certificate, user,
};

/// Checks a draft against the tree that it was read from. Reads the certificates that it names.
pub(super) fn check(draft: Draft, root: &Node, now: SystemTime, problems: &mut Vec<Problem>) -> Config {
    let mut rules =
        Rules { root, now, request_body: draft.limits.request_body, tls_port: HTTPS_PORT, problems };
    let mut addresses = HashMap::new();
    let listen = rules.listeners(draft.listen, &mut addresses);
    rules.tls_port = tls_port(&listen);
    let control = draft.control.and_then(|control| rules.control(control, &mut addresses));
    let (pools, sites) = rules.way_of_requests(draft.upstream, draft.pools, draft.sites);
    let limits = rules.limits(draft.limits);
    let buffers = rules.buffers(draft.buffers);
    let drain = rules.drain(draft.drain);
    let store = rules.store(draft.store);
    let user = user::look_up(draft.user, draft.group, rules.problems);
    Config {
        threads: draft.threads,
        listen,
        control,
        pools,
        sites,
        channels: draft.channels.finish(limits.subscribers),
        limits,
        buffers,
        timeouts: draft.timeouts,
        tickets: draft.tickets,
        presence: draft.presence,
        grip: draft.grip,
        drain,
        store,
        log: draft.log,
        trusted_proxies: draft.trusted_proxies,
        user,
        watchdog: draft.watchdog,
    }
}

/// The only port that has TLS here; where there are several or none, somebody else's is meant, and the usual one.
fn tls_port(listen: &[ListenerConfig]) -> u16 {
    let mut ports = listen.iter().filter(|listener| !listener.tls.is_empty()).map(|one| one.address.port());
    match ports.next() {
        Some(port) if port > 0 && ports.all(|other| other == port) => port,
        _ => HTTPS_PORT,
    }
}

/// Whether a route with this path is meant by a path, as far as nothing is encoded in it.
fn is_below(path: &str, route: &str) -> bool {
    let rest = path.strip_prefix(route);
    rest.is_some_and(|rest| route.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// The keys of a route that say what answers it.
const ACTIONS: &str = "`pool`, `files`, `redirect`, `bayeux` or `script`";

type Pools = BTreeMap<String, PoolConfig>;
/// What was seen, and in which line first.
type Lines<T> = HashMap<T, usize>;

struct Rules<'r> {
    root: &'r Node,
    now: SystemTime,
    /// What a route has that doesn't say.
    request_body: Option<u64>,
    /// Where sites are that are for TLS only, unless they say it.
    tls_port: u16,
    problems: &'r mut Vec<Problem>,
}

impl Rules<'_> {
    fn tell(&mut self, place: Place, fault: Fault, expected: impl Into<Box<str>>) {
        self.problems.push(Problem::new(place, fault).expected(expected));
    }

    fn listeners(&mut self, drafts: Vec<ListenerDraft>, seen: &mut Lines<SocketAddr>) -> Vec<ListenerConfig> {
        let mut listeners = Vec::new();
        for draft in drafts {
            if let Some(place) = draft.clients.as_ref().and_then(ClientsDraft::place)
                && draft.tls.is_empty()
            {
                let fault = Fault::Needs { key: "client_certificates", other: "tls" };
                self.tell(place, fault, "a certificate of the listener");
            }
            let clients = draft.clients.and_then(|clients| clients.finish(self.problems));
            // Without TLS nobody can say what is spoken before it is: only where it is meant.
            let http2 = draft.http2.unwrap_or(!draft.tls.is_empty());
            let tls = draft.tls.into_iter().filter_map(|pair| self.certificate(pair)).collect();
            if let Some(address) = draft.address {
                self.once(&address, seen);
                let proxy_protocol = draft.proxy_protocol;
                listeners.push(ListenerConfig {
                    address: address.value,
                    tls,
                    proxy_protocol,
                    clients,
                    http2,
                });
            }
        }
        listeners
    }

    fn certificate(&mut self, draft: CertificateDraft) -> Option<Certificate> {
        let chain = draft.certificate?;
        let key = draft.key.unwrap_or_else(|| chain.clone());
        match certificate::read(chain, key, self.now) {
            Ok(certificate) => Some(certificate),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn control(&mut self, mut draft: ControlDraft, seen: &mut Lines<SocketAddr>) -> Option<ControlConfig> {
        let address = draft.address.take();
        let token_typed = draft.token_typed;
        let tokens = draft.tokens(self.problems);
        let Placed { place, value: address } = address?;
        if let Endpoint::Tcp(tcp) = address {
            self.once(&Placed { place, value: tcp }, seen);
            if !tcp.ip().to_canonical().is_loopback() && !token_typed {
                let fault = Fault::OpenControl(tcp.to_string());
                self.tell(place, fault, "a `token`, a loopback address or a Unix socket");
            }
        }
        Some(ControlConfig { address, tokens })
    }

    /// Tells what is there a second time. Port 0 is another port each time.
    fn once(&mut self, address: &Placed<SocketAddr>, seen: &mut Lines<SocketAddr>) {
        let Placed { place, value } = *address;
        if value.port() == 0 {
            return;
        }
        match seen.get(&value) {
            Some(&first) => {
                let fault = Fault::Repeated { what: "address", value: value.to_string(), first };
                self.tell(place, fault, "another port");
            }
            None => {
                seen.insert(value, place.line);
            }
        }
    }

    fn way_of_requests(
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
        let websockets = draft.websockets;
        Some(RouteConfig { path, action, buffer, request_body, internal, websockets, edge })
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

    fn is_folder(&mut self, place: Place, path: &Path) -> bool {
        let fault = match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return true,
            Ok(_) => Fault::NotFolder(quote(&path.display().to_string())),
            Err(error) => {
                Fault::Unreadable { path: quote(&path.display().to_string()), reason: error.to_string() }
            }
        };
        self.tell(place, fault, "a folder");
        false
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

    /// Bounds inside other bounds. One that was left out gives way to the one that was typed.
    fn limits(&mut self, mut limits: Limits) -> Limits {
        if let (Some(held), Some(all)) = (&mut limits.held_connections, limits.connections) {
            self.within(("limits.held_connections", held), ("limits.connections", all));
        }
        let head = ("limits.request_header", limits.request_header);
        self.within(("limits.request_target", &mut limits.request_target), head);
        let history = ("limits.history_bytes", limits.history_bytes);
        self.within(("limits.message", &mut limits.message), history);
        let channels = ("limits.channels", limits.channels);
        self.within(("limits.hold_channels", &mut limits.hold_channels), channels);
        limits
    }

    /// What one body may have of what all have.
    fn buffers(&mut self, mut buffers: BuffersConfig) -> BuffersConfig {
        let all = ("buffers.memory", buffers.memory);
        self.within(("buffers.request", &mut buffers.request), all);
        self.within(("buffers.response", &mut buffers.response), all);
        if let Some(typed) = self.root.at("buffers.folder") {
            self.is_folder(typed.place, &buffers.folder);
        }
        buffers
    }

    fn drain(&mut self, mut drain: DrainConfig) -> DrainConfig {
        self.within(("drain.spread", &mut drain.spread), ("drain.timeout", drain.timeout));
        drain
    }

    fn store(&mut self, draft: StoreDraft) -> StoreConfig {
        let Placed { place, value: kept } = match draft {
            StoreDraft::Plain(store) => return store,
            StoreDraft::Kept(kept) => kept,
        };
        let (path, redis) = (self.root.at("store.path"), self.root.at("store.redis"));
        match (path, redis) {
            (None, None) => {
                self.tell(place, Fault::MissingKey("path"), "`path`, or `redis`");
                StoreConfig::Memory
            }
            (Some(_), Some(typed)) => {
                let fault = Fault::Both { key: "store.redis", other: "store.path" };
                self.tell(typed.place, fault, "one of them");
                StoreConfig::Memory
            }
            (Some(_), None) => self.disk(kept),
            (None, Some(_)) => self.redis(kept),
        }
    }

    fn redis(&mut self, kept: KeptDraft) -> StoreConfig {
        for key in ["store.sync", "store.interval"] {
            if let Some(typed) = self.root.at(key) {
                self.tell(
                    typed.place,
                    Fault::Needs { key, other: "store.path" },
                    "`path`, or Redis's own settings",
                );
            }
        }
        if kept.redis.len() > 1
            && let Some(place) = self.root.at("store.sentinels").map(|node| node.place)
        {
            let fault = Fault::Both { key: "store.sentinels", other: "several addresses in store.redis" };
            self.tell(place, fault, "one URL beside them, whose host is the name of the master");
        }
        let has_tls = |urls: &[Secret]| urls.iter().any(|url| url.0.starts_with("rediss://"));
        if let Some(typed) = self.root.at("store.tls")
            && !has_tls(&kept.redis)
            && !has_tls(&kept.sentinels)
        {
            let place = typed.place;
            let fault = Fault::Needs { key: "store.tls", other: "rediss://" };
            self.tell(place, fault, "a URL with `rediss://`, or no `tls`");
        }
        let KeptDraft { redis: urls, sentinels, tls, prefix, waiting, .. } = kept;
        StoreConfig::Redis(RedisConfig { urls, sentinels, tls: self.redis_tls(tls), prefix, waiting })
    }

    fn redis_tls(&mut self, draft: RedisTlsDraft) -> RedisTls {
        let RedisTlsDraft { authority, certificate, key } = draft;
        if let (None, Some(Placed { place, .. })) = (&certificate, &key) {
            let fault = Fault::Needs { key: "store.tls.key", other: "store.tls.certificate" };
            self.tell(*place, fault, "a `certificate`, or no `key`");
        }
        let own = certificate.map(|certificate| {
            let key = key.unwrap_or_else(|| certificate.clone());
            certificate::read(certificate.clone(), key.clone(), self.now)?;
            Ok((certificate::pem(&certificate)?, certificate::pem(&key)?))
        });
        let authority = authority.map(|authority| certificate::authority(&authority, self.now));
        let mut told = |problem| self.problems.push(problem);
        RedisTls {
            authority: authority.and_then(|read| read.map_err(&mut told).ok()),
            own: own.and_then(|read| read.map_err(&mut told).ok()),
        }
    }

    fn disk(&mut self, disk: KeptDraft) -> StoreConfig {
        for key in ["store.sentinels", "store.tls", "store.prefix"] {
            if let Some(typed) = self.root.at(key) {
                let fault = Fault::Needs { key, other: "store.redis" };
                self.tell(typed.place, fault, "`redis`, or none of its keys");
            }
        }
        let sync = match disk.sync {
            SyncWord::Group => SyncTime::Group,
            SyncWord::Interval => SyncTime::Interval(disk.interval),
        };
        if sync == SyncTime::Group
            && let Some(typed) = self.root.at("store.interval")
            && self.was_read("store.sync")
        {
            let fault = Fault::Needs { key: "store.interval", other: "store.sync: interval" };
            self.tell(typed.place, fault, "`sync: interval`, or no `interval`");
        }
        // Where it is missing, that has been told.
        let Some(Placed { place, value: path }) = disk.path else { return StoreConfig::Memory };
        // Its last part is made at the start. Who else uses it, and what is in it, is seen then.
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.is_folder(place, if path.exists() { &path } else { above });
        StoreConfig::Disk(DiskConfig { path, sync, waiting: disk.waiting })
    }

    /// Whether a key has the value that was typed, or its default where none was.
    fn was_read(&self, key: &str) -> bool {
        let place = self.root.at(key).map(|node| node.place);
        place.is_none_or(|place| self.problems.iter().all(|problem| problem.place != Some(place)))
    }

    fn within<T: Copy + PartialOrd>(
        &mut self,
        (key, value): (&'static str, &mut T),
        (bound_key, bound): (&'static str, T),
    ) {
        if *value <= bound {
            return;
        }
        let Some(typed) = self.root.at(key) else {
            *value = bound;
            return;
        };
        // A bound that couldn't be read has its default here, which proves nothing.
        if self.was_read(bound_key) {
            let fault = Fault::MoreThan { key, bound: bound_key };
            self.tell(typed.place, fault, format!("a lower value, or a higher `{bound_key}`"));
        }
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
            edge,
        }
    }
}
