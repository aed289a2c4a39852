//! Whether what was typed elsewhere may stand in a configuration of ours, asked of what reads that: so no draft is one that
//! can't be loaded.

use std::net::{IpAddr, SocketAddr};

use super::yaml::quoted;
use crate::config::Config;

fn is_taken(pool: &str, sites: &str) -> bool {
    let text = format!("listen: 127.0.0.1:1\npools: {{ a: {{ servers: [{pool}] }} }}\nsites: {sites}\n");
    Config::parse("", &text, &|_| None).is_ok()
}

fn is_route(path: &str, more: &str) -> bool {
    let route = format!("{{ path: {}, pool: a{more} }}", quoted(path));
    is_taken("\"http://a:1\"", &format!("{{ \"*\": {{ routes: [{route}] }} }}"))
}

/// A host, as the name of a site.
pub(super) fn is_host(name: &str) -> bool {
    is_taken("\"http://a:1\"", &format!("{{ {}: {{ routes: [{{ path: /, pool: a }}] }} }}", quoted(name)))
}

/// The path of a route.
pub(super) fn is_path(path: &str) -> bool {
    is_route(path, "")
}

/// What takes the place of it.
pub(super) fn is_upstream_path(path: &str) -> bool {
    is_route("/a", &format!(", upstream_path: {}", quoted(path)))
}

/// What stands before the names of channels.
pub(super) fn is_channel_prefix(prefix: &str) -> bool {
    is_route("/", &format!(", channel_prefix: {}", quoted(prefix)))
}

/// Servers of a pool, each once.
pub(super) fn are_servers(urls: &[String]) -> bool {
    let urls: Vec<String> = urls.iter().map(|url| quoted(url)).collect();
    is_taken(&urls.join(", "), "{ \"*\": { routes: [{ path: /, pool: a }] } }")
}

/// A field that a request may be given.
pub(super) fn is_set(name: &str, value: &str) -> bool {
    let set = format!("{}: {}", quoted(name), quoted(value));
    is_route("/", &format!(", headers: {{ request: {{ set: {{ {set} }} }} }}"))
}

/// One that may be taken from it.
pub(super) fn is_removed(name: &str) -> bool {
    is_route("/", &format!(", headers: {{ request: {{ remove: [{}] }} }}", quoted(name)))
}

/// Whether a limit may have this value.
pub(super) fn is_limit(name: &str, value: &str) -> bool {
    let text = format!("listen: 127.0.0.1:1\nupstream: http://a:1\nlimits: {{ {name}: {value} }}\n");
    Config::parse("", &text, &|_| None).is_ok()
}

/// An address, with a port or one besides.
pub(super) fn address(text: &str, port: Option<u16>) -> Option<SocketAddr> {
    let text = text.trim();
    let address: Option<SocketAddr> = match port {
        Some(port) if text.eq_ignore_ascii_case("localhost") => Some(([127, 0, 0, 1], port).into()),
        Some(port) => text.trim_matches(['[', ']']).parse().ok().map(|ip: IpAddr| (ip, port).into()),
        None => text.parse().ok(),
    };
    address.filter(|address| address.port() > 0)
}
