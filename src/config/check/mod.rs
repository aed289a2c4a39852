//! The rules that need more than one key: from a draft to a [`Config`], every broken rule told.
//!
//! Where a problem is told, the config that comes out is not to be used; see [`Config::parse`].

mod control;
mod sites;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::SystemTime;

use super::client_certificates::ClientsDraft;
use super::draft::{CertificateDraft, Draft, ListenerDraft};
use super::problem::{Fault, Place, Placed, Problem, quote};
use super::tree::Node;
use super::{
    BuffersConfig, Certificate, Config, ControlConfig, DrainConfig, Endpoint, HTTPS_PORT, Limits,
    ListenerConfig, PoolConfig, Target, certificate, user,
};

/// Checks a draft against the tree that it was read from. Reads the certificates that it names.
pub(super) fn check(draft: Draft, root: &Node, now: SystemTime, problems: &mut Vec<Problem>) -> Config {
    let mut rules =
        Rules { root, now, request_body: draft.limits.request_body, tls_port: HTTPS_PORT, problems };
    let mut addresses = HashMap::new();
    let listen = rules.listeners(draft.listen, &mut addresses);
    rules.tls_port = tls_port(&listen);
    let control = draft.control.and_then(|control| rules.control(control, &mut addresses));
    let (mut pools, sites) = rules.way_of_requests(draft.upstream, draft.pools, draft.sites);
    rules.not_ourselves(&pools, &listen, control.as_ref());
    if let Some(ControlConfig { address: Endpoint::Tcp(address), .. }) = &control {
        let fetching = pools.values_mut().filter(|pool| !pool.reproxy.urls.is_empty());
        fetching.for_each(|pool| pool.reproxy.control = Some(*address));
    }
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

    /// Servers are others. What a name means is looked up later, and isn't known here.
    fn not_ourselves(&mut self, pools: &Pools, listen: &[ListenerConfig], control: Option<&ControlConfig>) {
        let control = control.map(|control| &control.address);
        let is_ours = |target: &Target| match target {
            Target::Unix(path) => matches!(control, Some(Endpoint::Unix(own)) if own == path),
            Target::Tcp { host, port } => {
                let host = if host == "localhost" { "127.0.0.1" } else { host.as_str() };
                let Ok(ip) = host.parse::<IpAddr>() else { return false };
                let control = control.and_then(|control| match control {
                    Endpoint::Tcp(own) => Some(*own),
                    Endpoint::Unix(_) => None,
                });
                let mut own = listen.iter().map(|listener| listener.address).chain(control);
                // A socket for every address of IPv6 takes nothing of IPv4 here.
                let takes =
                    |own: IpAddr| own.is_unspecified() && ip.is_loopback() && own.is_ipv4() == ip.is_ipv4();
                own.any(|own| own.port() == *port && (own.ip() == ip || takes(own.ip())))
            }
        };
        for (pool, config) in pools {
            for server in config.servers.iter().filter(|server| is_ours(&server.target)) {
                let typed = self.root.below("pools").and_then(|pools| pools.below(pool));
                let typed = typed.or_else(|| self.root.below("upstream"));
                let place =
                    typed.map_or(self.root.place, |typed| typed.below("servers").unwrap_or(typed).place);
                self.tell(place, Fault::Ourselves(server.name.clone()), "where the application listens");
            }
        }
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
}
