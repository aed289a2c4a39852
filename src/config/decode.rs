//! The keys of the file itself, each with the section that reads it: from nodes to a [`Draft`].
//!
//! A section lies in the file of its subject, with what its keys are when they are left out. What needs more than one
//! key is no business of it: see the rules in `check`.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::buffers::{BUFFERS, BuffersConfig};
use super::channels::{CHANNELS, ChannelsDraft};
use super::control::{CONTROL, control};
use super::draft::{Draft, StoreDraft};
use super::form;
use super::grip::GRIP;
use super::limits::{LIMITS, Limits};
use super::listen::{LISTENER, listeners};
use super::log::{LOG, LogConfig};
use super::pool::{POOL, pools, upstream};
use super::presence::{PRESENCE, presence};
use super::problem::Problem;
use super::section::{Key, Keyed, Section, Value};
use super::site::{SITE, sites};
use super::store::{STORE, StoreConfig, store};
use super::tickets::{TICKETS, TicketsConfig};
use super::timeouts::{DRAIN, DrainConfig, TIMEOUTS, Timeouts};
use super::tree::Node;
use super::user::{GROUP, USER};

/// Reads a tree; problems that leave a draft go into `problems`.
pub(super) fn read(root: &Node, problems: &mut Vec<Problem>) -> Draft {
    let mut draft = Draft {
        threads: threads(),
        listen: Vec::new(),
        control: None,
        upstream: None,
        pools: None,
        sites: None,
        channels: ChannelsDraft::default(),
        limits: Limits::default(),
        buffers: BuffersConfig::default(),
        timeouts: Timeouts::default(),
        tickets: TicketsConfig::default(),
        presence: Vec::new(),
        grip: None,
        drain: DrainConfig::default(),
        log: LogConfig::default(),
        trusted_proxies: Vec::new(),
        store: StoreDraft::Plain(StoreConfig::Memory),
        user: None,
        group: None,
        // What systemd's own services are given; a thread that turns does so many times a second.
        watchdog: Some(Duration::from_secs(30)),
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
        Key::section("presence", "[].", &PRESENCE, |file, value| presence(&mut file.presence, value)),
        Key::section("grip", ".", &GRIP, |file, value| GRIP.fill(file.grip.get_or_insert_default(), value)),
        Key::section("drain", ".", &DRAIN, |file, value| DRAIN.fill(&mut file.drain, value)),
        Key::section("log", ".", &LOG, |file, value| LOG.fill(&mut file.log, value)),
        Key::new("trusted_proxies", |file, value| {
            value.each(|item| file.trusted_proxies.extend(item.read(&form::NET)));
        }),
        Key::new("threads", |file, value| value.put(&mut file.threads, &form::THREADS)),
        Key::section("store", ".", &STORE, |file, value| file.store = store(value)),
        Key::new("user", |file, value| file.user = value.placed(&USER)),
        Key::new("group", |file, value| file.group = value.placed(&GROUP)),
        Key::new("watchdog", |file, value| value.put(&mut file.watchdog, &form::PATIENCE)),
    ],
};

/// As many as cores; one where the system doesn't tell.
fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
