//! Every key of the configuration in tables of sections: from nodes to a [`Draft`].
//!
//! What needs more than one key is no business of this file: see the rules in `check`.

use std::collections::HashMap;

use super::bayeux::BAYEUX;
use super::draft::{
    ActionDraft, BodyLimit, CertificateDraft, ControlDraft, Draft, FilesDraft, ListenerDraft, RouteDraft,
    SiteDraft, StoreDraft,
};
use super::edge::{COMPRESS, EdgeDraft, HEADERS};
use super::problem::{Fault, Placed, Problem};
use super::redirect::{REDIRECT, redirect};
use super::section::{Key, Keyed, Section, Value};
use super::store::{STORE, store};
use super::tickets::TICKETS;
use super::tree::{Content, Node};
use super::{
    Action, BayeuxConfig, Buffer, BuffersConfig, ChannelsConfig, CorsConfig, DrainConfig, EjectConfig,
    FilesConfig, HealthConfig, HistoryConfig, KeepaliveConfig, Limits, LogConfig, PerAddress, PoolConfig,
    QueueConfig, ReproxyConfig, RetriesConfig, Secret, ServerConfig, SignConfig, StoreConfig, TicketsConfig,
    Timeouts, UploadConfig, defaults, form,
};

/// Reads a tree; problems that leave a draft go into `problems`.
pub(super) fn read(root: &Node, problems: &mut Vec<Problem>) -> Draft {
    let mut draft = Draft {
        threads: defaults::threads(),
        listen: Vec::new(),
        control: None,
        upstream: None,
        pools: None,
        sites: None,
        channels: ChannelsConfig::default(),
        limits: Limits::default(),
        buffers: BuffersConfig::default(),
        timeouts: Timeouts::default(),
        tickets: TicketsConfig::default(),
        drain: DrainConfig::default(),
        log: LogConfig::default(),
        trusted_proxies: Vec::new(),
        store: StoreDraft::Plain(StoreConfig::Memory),
    };
    FILE.fill(&mut draft, Value { key: "the file", node: root, problems });
    draft
}

/// The path of every key, such as `listen[].tls[].key` and `pools.NAME.servers`, in the order of the documentation.
pub fn keys() -> Vec<String> {
    let mut paths = Vec::new();
    FILE.paths("", &mut paths);
    paths
}

static FILE: Section<Draft> = Section {
    short: None,
    required: &[("listen", form::SOCKET.expected)],
    keys: &[
        Key::section("listen", "[].", &LISTENER, |file, value| listeners(&mut file.listen, value)),
        Key::section("control", ".", &CONTROL, |file, value| file.control = Some(control(value))),
        Key::new("upstream", |file, value| file.upstream = Some(upstream(value))),
        Key::section("pools", ".NAME.", &POOL, |file, value| file.pools = Some(pools(value))),
        Key::section("sites", ".HOST.", &SITE, |file, value| file.sites = Some(sites(value))),
        Key::section("channels", ".", &CHANNELS, |file, value| CHANNELS.fill(&mut file.channels, value)),
        Key::section("limits", ".", &LIMITS, |file, value| LIMITS.fill(&mut file.limits, value)),
        Key::section("buffers", ".", &BUFFERS, |file, value| BUFFERS.fill(&mut file.buffers, value)),
        Key::section("timeouts", ".", &TIMEOUTS, |file, value| TIMEOUTS.fill(&mut file.timeouts, value)),
        Key::section("tickets", ".", &TICKETS, |file, value| TICKETS.fill(&mut file.tickets, value)),
        Key::section("drain", ".", &DRAIN, |file, value| DRAIN.fill(&mut file.drain, value)),
        Key::section("log", ".", &LOG, |file, value| LOG.fill(&mut file.log, value)),
        Key::new("trusted_proxies", |file, value| {
            value.each(|item| file.trusted_proxies.extend(item.read(&form::NET)));
        }),
        Key::new("threads", |file, value| value.put(&mut file.threads, &form::THREADS)),
        Key::section("store", ".", &STORE, |file, value| file.store = store(value)),
    ],
};

static LISTENER: Section<ListenerDraft> = Section {
    short: Some(form::SOCKET.expected),
    required: &[("address", form::SOCKET.expected)],
    keys: &[
        Key::new("address", |listener, value| listener.address = value.placed(&form::SOCKET)),
        Key::section("tls", "[].", &CERTIFICATE, |listener, value| {
            value.each_of_some(|item| listener.tls.push(certificate(item)));
        }),
        Key::new("proxy_protocol", |listener, value| {
            value.each_of_some(|item| listener.proxy_protocol.extend(item.read(&form::NET)));
        }),
    ],
};

static CERTIFICATE: Section<CertificateDraft> = Section {
    short: Some("a file that holds both certificate and key"),
    required: &[("certificate", form::FILE.expected)],
    keys: &[
        Key::new("certificate", |pair, value| pair.certificate = value.placed(&form::FILE)),
        Key::new("key", |pair, value| pair.key = value.placed(&form::FILE)),
    ],
};

static CONTROL: Section<ControlDraft> = Section {
    short: Some(form::ENDPOINT.expected),
    required: &[("address", form::ENDPOINT.expected)],
    keys: &[
        Key::new("address", |control, value| control.address = value.placed(&form::ENDPOINT)),
        Key::new("token", |control, value| {
            control.token_typed = true;
            control.token = token(value);
        }),
    ],
};

static POOL: Section<PoolConfig> = Section {
    short: Some("a server, a list of servers"),
    required: &[("servers", "at least one server")],
    keys: &[
        Key::new("servers", |pool, value| pool.servers = servers(value)),
        Key::new("max_connections", |pool, value| {
            value.put(&mut pool.max_connections, &form::NONZERO_OR_OFF)
        }),
        Key::section("queue", ".", &QUEUE, |pool, value| match value.is_text() {
            true => value.put(&mut pool.queue.length, &form::COUNT_OR_NONE),
            false => QUEUE.fill(&mut pool.queue, value),
        }),
        Key::section("keepalive", ".", &KEEPALIVE, |pool, value| match value.is_text() {
            true => value.put(&mut pool.keepalive.connections, &form::COUNT_OR_NONE),
            false => KEEPALIVE.fill(&mut pool.keepalive, value),
        }),
        Key::section("reproxy", ".", &REPROXY, |pool, value| REPROXY.fill(&mut pool.reproxy, value)),
        Key::new("connect_ahead", |pool, value| value.put(&mut pool.connect_ahead, &form::COUNT_OR_NONE)),
        Key::new("verify", |pool, value| pool.verify = value.read(&form::VERIFY)),
        Key::section("eject", ".", &EJECT, eject),
        Key::section("health", ".", &HEALTH, |pool, value| {
            let mut health = HealthConfig::at(String::new());
            match value.is_text() {
                true => value.put(&mut health.path, &form::QUESTION),
                false => HEALTH.fill(&mut health, value),
            }
            pool.health = Some(health);
        }),
        Key::new("resolve", |pool, value| value.put(&mut pool.resolve, &form::INTERVAL)),
        Key::section("retries", ".", &RETRIES, |pool, value| match value.is_text() {
            true => value.put(&mut pool.retries.attempts, &form::COUNT_OR_NONE),
            false => RETRIES.fill(&mut pool.retries, value),
        }),
        Key::new("error_retries", |pool, value| {
            value.each_of_some(|item| pool.error_retries.extend(item.read(&form::DELAY)));
        }),
    ],
};

static EJECT: Section<EjectConfig> = Section {
    short: Some("`off`"),
    required: &[],
    keys: &[
        Key::new("faults", |eject, value| value.put(&mut eject.faults, &form::TIMES)),
        Key::new("time", |eject, value| value.put(&mut eject.time, &form::DURATION)),
        Key::new("time_max", |eject, value| value.put(&mut eject.time_max, &form::DURATION)),
    ],
};

static HEALTH: Section<HealthConfig> = Section {
    short: Some(form::QUESTION.expected),
    required: &[("path", form::QUESTION.expected)],
    keys: &[
        Key::new("path", |health, value| value.put(&mut health.path, &form::QUESTION)),
        Key::new("host", |health, value| health.host = value.read(&form::HOST_FIELD)),
        Key::new("interval", |health, value| value.put(&mut health.interval, &form::DURATION)),
        Key::new("jitter", |health, value| value.put(&mut health.jitter, &form::DELAY)),
        Key::new("timeout", |health, value| value.put(&mut health.timeout, &form::DURATION)),
        Key::new("rise", |health, value| value.put(&mut health.rise, &form::TIMES)),
        Key::new("fall", |health, value| value.put(&mut health.fall, &form::TIMES)),
    ],
};

static RETRIES: Section<RetriesConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("attempts", |retries, value| value.put(&mut retries.attempts, &form::COUNT_OR_NONE)),
        Key::new("share", |retries, value| value.put(&mut retries.share, &form::PERCENT)),
        Key::new("floor", |retries, value| value.put(&mut retries.floor, &form::FLOOR)),
    ],
};

static QUEUE: Section<QueueConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("length", |queue, value| value.put(&mut queue.length, &form::COUNT_OR_NONE)),
        Key::new("timeout", |queue, value| value.put(&mut queue.timeout, &form::DURATION)),
        Key::section("high", "[].", &SIGN, |queue, value| queue.high = signs(value)),
        Key::section("low", "[].", &SIGN, |queue, value| queue.low = signs(value)),
        Key::new("relief", |queue, value| value.put(&mut queue.relief, &form::TURNS)),
    ],
};

static SIGN: Section<SignConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("cookie", |sign, value| sign.cookie = value.read(&form::COOKIE)),
        Key::new("header", |sign, value| sign.header = value.read(&form::HEADER)),
        Key::new("path", |sign, value| sign.path = value.read(&form::PATH)),
        Key::new("peer", |sign, value| sign.peer = value.read(&form::NET)),
    ],
};

static KEEPALIVE: Section<KeepaliveConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("connections", |keepalive, value| {
            value.put(&mut keepalive.connections, &form::COUNT_OR_NONE)
        }),
        Key::new("idle", |keepalive, value| value.put(&mut keepalive.idle, &form::DURATION)),
        Key::new("requests", |keepalive, value| value.put(&mut keepalive.requests, &form::TURNS)),
    ],
};

static REPROXY: Section<ReproxyConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("urls", |reproxy, value| {
            value.each_of_some(|item| reproxy.urls.extend(item.read(&form::URL_PATTERN)));
        }),
        Key::new("files", |reproxy, value| {
            value.each_of_some(|item| reproxy.files.extend(item.read(&form::ABSOLUTE_FOLDER)));
        }),
        Key::new("sites", |reproxy, value| {
            value.each_of_some(|item| reproxy.sites.extend(item.read(&form::HOST)));
        }),
        Key::new("cache", |reproxy, value| value.put(&mut reproxy.cache, &form::COUNT_OR_NONE)),
    ],
};

static SITE: Section<SiteDraft> = Section {
    short: Some("the name of a pool"),
    required: &[],
    keys: &[
        Key::new("aliases", |site, value| {
            value.each(|item| site.aliases.extend(item.placed(&form::HOST)));
        }),
        Key::section("routes", "[].", &ROUTE, |site, value| site.routes = Some(routes(value))),
        Key::new("pool", site_pool),
        Key::new("https", |site, value| value.put(&mut site.https, &form::HTTPS)),
        Key::new("canonical", |site, value| site.canonical = value.placed(&form::HOST)),
        Key::new("cors", |site, value| cors(&mut site.cors, value)),
        Key::new("allow", |site, value| site.edge.allow(value)),
        Key::new("deny", |site, value| site.edge.deny(value)),
        Key::section("headers", ".", &HEADERS, |site, value| site.edge.headers(value)),
        Key::new("errors", |site, value| site.edge.errors(value)),
        Key::section("compress", ".", &COMPRESS, |site, value| site.edge.compress(value)),
    ],
};

static ROUTE: Section<RouteDraft> = Section {
    short: None,
    required: &[("path", form::PATH.expected)],
    keys: &[
        Key::new("path", |route, value| route.path = value.placed(&form::PATH)),
        Key::new("pool", |route, value| {
            let place = value.node.place;
            let action = value.read(&form::POOL).map(Action::Pool);
            route.actions.push(ActionDraft { key: "pool", place, action });
        }),
        Key::section("files", ".", &FILES, |route, value| route.actions.push(files(value))),
        Key::new("internal", |route, value| value.put(&mut route.internal, &form::YES_OR_NO)),
        Key::new("buffer", |route, value| buffer(&mut route.buffer, value)),
        Key::new("request_body", |route, value| {
            route.request_body = value.read(&form::SIZE_OR_OFF).map(BodyLimit);
        }),
        Key::section("redirect", ".", &REDIRECT, |route, value| {
            let place = value.node.place;
            let action = redirect(value).map(Action::Redirect);
            route.actions.push(ActionDraft { key: "redirect", place, action });
        }),
        Key::section("bayeux", ".", &BAYEUX, |route, value| {
            let place = value.node.place;
            let mut bayeux = BayeuxConfig::default();
            BAYEUX.fill(&mut bayeux, value);
            route.actions.push(ActionDraft { key: "bayeux", place, action: Some(Action::Bayeux(bayeux)) });
        }),
        Key::new("allow", |route, value| route.edge.allow(value)),
        Key::new("deny", |route, value| route.edge.deny(value)),
        Key::section("headers", ".", &HEADERS, |route, value| route.edge.headers(value)),
        Key::new("errors", |route, value| route.edge.errors(value)),
        Key::section("compress", ".", &COMPRESS, |route, value| route.edge.compress(value)),
    ],
};

static FILES: Section<FilesDraft> = Section {
    short: Some("the path of a folder"),
    required: &[("root", form::FOLDER.expected)],
    keys: &[
        Key::new("root", |files, value| files.root = value.placed(&form::FOLDER)),
        Key::new("index", |files, value| index(&mut files.index, value)),
        Key::new("cache_control", |files, value| files.cache_control = value.read(&form::FIELD)),
    ],
};

static CHANNELS: Section<ChannelsConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::section("history", ".", &HISTORY, |channels, value| match value.is_text() {
            true => value.put(&mut channels.history.messages, &form::COUNT_OR_NONE),
            false => HISTORY.fill(&mut channels.history, value),
        }),
        Key::new("slow", |channels, value| value.put(&mut channels.slow, &form::SLOW)),
        Key::new("keepalive", |channels, value| value.put(&mut channels.keepalive, &form::INTERVAL)),
        Key::new("poll_timeout", |channels, value| value.put(&mut channels.poll_timeout, &form::DURATION)),
        Key::new("returns", |channels, value| value.put(&mut channels.returns, &form::RATE_OR_OFF)),
    ],
};

static HISTORY: Section<HistoryConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("messages", |history, value| value.put(&mut history.messages, &form::COUNT_OR_NONE)),
        Key::new("age", |history, value| value.put(&mut history.age, &form::DURATION_OR_OFF)),
    ],
};

static LIMITS: Section<Limits> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("connections", |limits, value| value.put(&mut limits.connections, &form::COUNT_OR_OFF)),
        Key::section("per_address", ".", &PER_ADDRESS, |limits, value| {
            PER_ADDRESS.fill(&mut limits.per_address, value);
        }),
        Key::new("held_connections", |limits, value| {
            value.put(&mut limits.held_connections, &form::COUNT_OR_OFF);
        }),
        Key::new("new_holds", |limits, value| value.put(&mut limits.new_holds, &form::RATE_OR_OFF)),
        Key::new("request_header", |limits, value| value.put(&mut limits.request_header, &form::HEAD_SIZE)),
        Key::new("request_headers", |limits, value| value.put(&mut limits.request_headers, &form::COUNT)),
        Key::new("request_target", |limits, value| value.put(&mut limits.request_target, &form::TARGET_SIZE)),
        Key::new("request_body", |limits, value| value.put(&mut limits.request_body, &form::SIZE_OR_OFF)),
        Key::new("hold_body", |limits, value| value.put(&mut limits.hold_body, &form::SIZE)),
        Key::new("hold_channels", |limits, value| value.put(&mut limits.hold_channels, &form::COUNT)),
        Key::new("message", |limits, value| value.put(&mut limits.message, &form::SIZE)),
        Key::new("batch", |limits, value| value.put(&mut limits.batch, &form::COUNT)),
        Key::new("channels", |limits, value| value.put(&mut limits.channels, &form::COUNT)),
        Key::new("history_bytes", |limits, value| value.put(&mut limits.history_bytes, &form::SIZE)),
        Key::new("publish_body", |limits, value| value.put(&mut limits.publish_body, &form::SIZE)),
        Key::new("bayeux_sessions", |limits, value| value.put(&mut limits.bayeux_sessions, &form::COUNT)),
        Key::new("turn_bytes", |limits, value| value.put(&mut limits.turn_bytes, &form::SIZE)),
    ],
};

static PER_ADDRESS: Section<PerAddress> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("connections", |limits, value| value.put(&mut limits.connections, &form::COUNT_OR_OFF)),
        Key::new("requests", |limits, value| value.put(&mut limits.requests, &form::RATE_OR_OFF)),
        Key::new("burst", |limits, value| limits.burst = value.read(&form::BURST)),
        Key::new("addresses", |limits, value| value.put(&mut limits.addresses, &form::COUNT)),
        Key::new("except", |limits, value| {
            value.each(|item| limits.except.extend(item.read(&form::NET)));
        }),
    ],
};

static BUFFERS: Section<BuffersConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("memory", |buffers, value| value.put(&mut buffers.memory, &form::SHARED_SIZE)),
        Key::new("request", |buffers, value| value.put(&mut buffers.request, &form::SIZE)),
        Key::new("response", |buffers, value| value.put(&mut buffers.response, &form::SIZE)),
        Key::new("folder", |buffers, value| value.put(&mut buffers.folder, &form::FOLDER)),
        Key::new("disk", |buffers, value| value.put(&mut buffers.disk, &form::SIZE_OR_NONE)),
        Key::section("upload", ".", &UPLOAD, |buffers, value| UPLOAD.fill(&mut buffers.upload, value)),
    ],
};

static UPLOAD: Section<UploadConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("size", |upload, value| value.put(&mut upload.size, &form::SIZE_OR_NEVER)),
        Key::new("rate", |upload, value| value.put(&mut upload.rate, &form::SIZE_OR_NEVER)),
        Key::new("time", |upload, value| value.put(&mut upload.time, &form::INTERVAL)),
    ],
};

static TIMEOUTS: Section<Timeouts> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("request_head", |timeouts, value| value.put(&mut timeouts.request_head, &form::DURATION)),
        Key::new("idle", |timeouts, value| value.put(&mut timeouts.idle, &form::DURATION)),
        Key::new("body", |timeouts, value| value.put(&mut timeouts.body, &form::DURATION)),
        Key::new("tunnel", |timeouts, value| value.put(&mut timeouts.tunnel, &form::DURATION)),
        Key::new("connect", |timeouts, value| value.put(&mut timeouts.connect, &form::DURATION)),
        Key::new("response", |timeouts, value| value.put(&mut timeouts.response, &form::DURATION)),
    ],
};

static DRAIN: Section<DrainConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("timeout", |drain, value| value.put(&mut drain.timeout, &form::DURATION)),
        Key::new("spread", |drain, value| value.put(&mut drain.spread, &form::DELAY)),
        Key::new("lameduck", |drain, value| value.put(&mut drain.lameduck, &form::DELAY)),
    ],
};

static LOG: Section<LogConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("access", |log, value| value.put(&mut log.access, &form::ACCESS)),
        Key::new("level", |log, value| value.put(&mut log.level, &form::LEVEL)),
    ],
};

fn listeners(listeners: &mut Vec<ListenerDraft>, value: Value<'_>) {
    value.each_of_some(|item| {
        let mut listener = ListenerDraft::default();
        match item.is_text() {
            true => listener.address = item.placed(&form::SOCKET),
            false => LISTENER.fill(&mut listener, item),
        }
        listeners.push(listener);
    });
}

fn certificate(value: Value<'_>) -> CertificateDraft {
    let mut pair = CertificateDraft::default();
    match value.is_text() {
        true => pair.certificate = value.placed(&form::FILE),
        false => CERTIFICATE.fill(&mut pair, value),
    }
    pair
}

fn control(value: Value<'_>) -> ControlDraft {
    let mut control = ControlDraft::default();
    match value.is_text() {
        true => control.address = value.placed(&form::ENDPOINT),
        false => CONTROL.fill(&mut control, value),
    }
    control
}

/// A bearer token of visible ASCII (RFC 6750 §2.1 allows less, servers take more); a problem never shows it.
fn token(value: Value<'_>) -> Option<Secret> {
    secret(value, "visible ASCII characters without spaces", |text| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// A text that no problem shows.
pub(super) fn secret(
    value: Value<'_>,
    expected: &'static str,
    fits: impl FnOnce(&str) -> bool,
) -> Option<Secret> {
    let Value { key, node, problems } = value;
    let Content::Text(text) = &node.content else {
        Value { key, node, problems }.refuse(expected);
        return None;
    };
    if !fits(text) {
        problems.push(Problem::new(node.place, Fault::BadSecret(key.to_owned())).expected(expected));
        return None;
    }
    Some(Secret(text.clone()))
}

fn upstream(value: Value<'_>) -> Placed<Vec<ServerConfig>> {
    let place = value.node.place;
    if value.is_map() {
        value.refuse("a server or a list of servers; `pools` and `sites` can say more");
        return Placed { place, value: Vec::new() };
    }
    Placed { place, value: servers(value) }
}

fn pools(value: Value<'_>) -> Placed<Vec<(String, PoolConfig)>> {
    let place = value.node.place;
    let mut pools = Vec::new();
    value.each_named(&form::POOL, |name, value| pools.push((name.value, pool(value))));
    Placed { place, value: pools }
}

/// A pool, or nothing but its servers.
fn pool(value: Value<'_>) -> PoolConfig {
    let mut pool = PoolConfig::of(Vec::new());
    match value.is_text() || value.is_list() {
        true => pool.servers = servers(value),
        false => POOL.fill(&mut pool, value),
    }
    pool
}

/// One server or several, each of them once.
fn servers(value: Value<'_>) -> Vec<ServerConfig> {
    let mut servers = Vec::new();
    let mut lines = HashMap::new();
    value.each_of_some(|item| {
        let place = item.node.place;
        let Value { key, node, problems } = item;
        let Some(server) = (Value { key, node, problems: &mut *problems }).read(&form::SERVER) else {
            return;
        };
        match lines.get(&server.target) {
            Some(&first) => {
                let fault = Fault::Repeated { what: "server", value: server.name, first };
                problems.push(Problem::new(place, fault).expected("each server once in a pool"));
            }
            None => {
                lines.insert(server.target.clone(), place.line);
                servers.push(server);
            }
        }
    });
    servers
}

/// `off`, or when.
fn eject(pool: &mut PoolConfig, value: Value<'_>) {
    if value.is_text() {
        if value.read(&form::ONLY_OFF).is_some() {
            pool.eject = None;
        }
    } else if let Some(eject) = &mut pool.eject {
        EJECT.fill(eject, value);
    }
}

/// Signs of a class, each with at least one key: none at all would fit every request.
fn signs(value: Value<'_>) -> Vec<SignConfig> {
    let mut signs = Vec::new();
    value.each_of_some(|item| {
        let mut sign = SignConfig::default();
        let is_empty = matches!(&item.node.content, Content::Map(entries) if entries.is_empty());
        match is_empty {
            true => item.refuse("cookie, header, path or peer"),
            false => SIGN.fill(&mut sign, item),
        }
        signs.push(sign);
    });
    signs
}

fn sites(value: Value<'_>) -> Placed<Vec<SiteDraft>> {
    let place = value.node.place;
    let mut sites = Vec::new();
    value.each_named(&form::HOST, |name, value| {
        let mut site = SiteDraft {
            name,
            aliases: Vec::new(),
            routes: None,
            pool: None,
            pool_typed: None,
            edge: EdgeDraft::default(),
            https: false,
            canonical: None,
            cors: CorsConfig::default(),
        };
        match value.is_map() {
            true => SITE.fill(&mut site, value),
            false => site_of_pool(&mut site, value),
        }
        sites.push(site);
    });
    Placed { place, value: sites }
}

/// One origin or several, or `*` alone.
fn cors(cors: &mut CorsConfig, value: Value<'_>) {
    if matches!(&value.node.content, Content::Text(text) if text == "*") {
        *cors = CorsConfig::Any;
        return;
    }
    let mut origins = Vec::new();
    value.each(|item| origins.extend(item.read(&form::ORIGIN)));
    *cors = CorsConfig::Origins(origins);
}

/// A site of which nothing but its pool was typed, or something that is no site.
fn site_of_pool(site: &mut SiteDraft, value: Value<'_>) {
    match value.is_text() {
        true => site_pool(site, value),
        false => {
            site.pool_typed = Some(value.node.place);
            SITE.fill(site, value);
        }
    }
}

fn site_pool(site: &mut SiteDraft, value: Value<'_>) {
    site.pool_typed = Some(value.node.place);
    site.pool = value.placed(&form::POOL);
}

fn routes(value: Value<'_>) -> Vec<RouteDraft> {
    let mut routes = Vec::new();
    value.each_of_some(|item| {
        let place = item.is_map().then_some(item.node.place);
        let mut route = RouteDraft { place, ..RouteDraft::default() };
        ROUTE.fill(&mut route, item);
        routes.push(route);
    });
    routes
}

/// A folder of files, or nothing but its path. The place is that of the path.
fn files(value: Value<'_>) -> ActionDraft {
    let mut place = value.node.place;
    let index = vec![defaults::INDEX.to_owned()];
    let mut files = FilesDraft { root: None, index, cache_control: None };
    match value.is_text() {
        true => files.root = value.placed(&form::FOLDER),
        false => FILES.fill(&mut files, value),
    }
    let FilesDraft { root, index, cache_control } = files;
    let action = root.map(|root| {
        place = root.place;
        Action::Files(FilesConfig { root: root.value, index, cache_control })
    });
    ActionDraft { key: "files", place, action }
}

/// One name or several, or `off`.
fn index(names: &mut Vec<String>, value: Value<'_>) {
    names.clear();
    if !matches!(&value.node.content, Content::Text(text) if text == form::OFF) {
        value.each_of_some(|item| names.extend(item.read(&form::INDEX)));
    }
}

/// All that are named.
fn buffer(buffer: &mut Buffer, value: Value<'_>) {
    *buffer = Buffer { request: false, response: false };
    value.each_of_some(|item| {
        if let Some(Buffer { request, response }) = item.read(&form::BUFFER) {
            buffer.request |= request;
            buffer.response |= response;
        }
    });
}
