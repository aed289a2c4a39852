//! `pushpin.conf`: ports, keys and limits, and what of the rest somebody has changed.

use std::collections::BTreeMap;
use std::path::Path;

use super::Source;
use super::fits;
use super::grip::{anchored, is_name, key_of};
use super::yaml::{Yaml, quoted};

/// What was typed, by section and key. What wasn't has Pushpin's default.
pub(super) struct Settings(BTreeMap<(String, String), String>);

/// Keys without an equivalent: section, key, Pushpin's default, and what to know about it. A default is not worth a
/// remark.
const WITHOUT: &[(&str, &str, &str, &str)] = &[
    ("runner", "https_ports", "", "name certificate and key in an entry of `listen` with `tls`"),
    ("runner", "local_ports", "", "listeners are TCP; put the proxy on a loopback address"),
    ("runner", "allow_compression", "false", "`compress` of a site compresses ordinary answers"),
    ("runner", "log_level", "2", "`log.level` and `log.access`"),
    (
        "proxy",
        "accept_x_forwarded_protocol",
        "false",
        "`trusted_proxies` says whose X-Forwarded-* is believed",
    ),
    ("proxy", "set_x_forwarded_protocol", "proto-only", "X-Forwarded-Proto is always sent"),
    ("proxy", "x_forwarded_for", "", "X-Forwarded-For is replaced for all but `trusted_proxies`"),
    ("proxy", "x_forwarded_for_trusted", "", "X-Forwarded-For is extended for `trusted_proxies`"),
    ("proxy", "accept_pushpin_route", "false", "routes have no ids"),
    ("proxy", "cdn_loop", "", "`headers.request.add` of a site can send it"),
    ("proxy", "log_from", "false", "`log.access: json` has the client's address"),
    ("proxy", "log_user_agent", "false", "`log.access: combined` has it"),
    (
        "proxy",
        "upstream_key",
        "",
        "instances of the proxy aren't put behind one another; several share a `store`",
    ),
    ("proxy", "workers", "", "`threads` is the number of cores without the key"),
    (
        "proxy",
        "max_open_requests",
        "",
        "`pools.NAME.max_connections` bounds what an application is asked at once",
    ),
    ("handler", "push_in_spec", "", "publish over HTTP: there is no ZeroMQ here"),
    ("handler", "push_in_sub_specs", "", "publish over HTTP: there is no ZeroMQ here"),
    ("handler", "push_in_sub_connect", "false", "publish over HTTP: there is no ZeroMQ here"),
    ("handler", "command_spec", "", "the control port has commands over HTTP"),
    ("handler", "stats_spec", "", "`GET /metrics` on the control port"),
    ("handler", "stats_format", "tnetstring", "`GET /metrics` on the control port"),
    (
        "handler",
        "message_rate",
        "2500",
        "deliveries aren't throttled: a burst is one write for each connection",
    ),
    ("handler", "message_hwm", "25000", "nothing waits in a queue for each connection"),
    ("handler", "message_block_size", "", "what it counts is in the metrics in bytes"),
    ("handler", "message_wait", "5000", "messages are in the order in which they are published"),
    ("handler", "id_cache_ttl", "60", "the id of an item counts for a minute"),
    ("handler", "subscription_linger", "60", "a channel lives while it has subscribers or history"),
    ("handler", "stats_connection_ttl", "120", "`GET /channels` on the control port"),
    ("handler", "stats_subscription_ttl", "60", "`GET /channels` on the control port"),
    ("handler", "stats_report_interval", "10", "`GET /metrics` on the control port"),
    ("handler", "prometheus_port", "", "`GET /metrics` on the control port"),
    ("handler", "prometheus_prefix", "", "the names of metrics are those of docs/metrics.md"),
];

/// Limits with an equivalent: section, key, what is no more than ours has anyway, ours, and the unit of that.
const LIMITS: &[(&str, &str, u64, &str, &str)] = &[
    ("runner", "client_maxconn", 0, "connections", ""),
    ("runner", "client_buffer_size", 8192, "request_header", "B"),
    ("handler", "push_in_http_max_body_size", 0, "publish_body", "B"),
    ("handler", "connection_subscription_max", 0, "hold_channels", ""),
];

/// What Pushpin takes of a client's message that goes to an application over HTTP.
const SOCKET_MESSAGE: &str = "socket_message: 200000B";

impl Settings {
    /// Reads an INI file: `[section]`, `key=value`, comments behind `#` or `;` at the beginning of a line.
    pub(super) fn read(conf: Option<Source<'_>>) -> Settings {
        let Source { text, folder } = conf.unwrap_or(Source { text: "", folder: Path::new("") });
        let mut section = String::new();
        let mut typed = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim().to_lowercase();
            } else if !line.starts_with(['#', ';'])
                && let Some((key, value)) = line.split_once('=')
            {
                let value = value.trim().trim_matches('"');
                typed.insert((section.clone(), key.trim().to_lowercase()), value.to_owned());
            }
        }
        if let Some(key) = typed.get_mut(&("proxy".to_owned(), "sig_key".to_owned())) {
            *key = anchored(key, folder);
        }
        Settings(typed)
    }

    fn typed(&self, section: &str, key: &str) -> Option<&str> {
        self.0.get(&(section.to_owned(), key.to_owned())).map(String::as_str)
    }

    /// Whether pages of every origin may read everything.
    pub(super) fn has_open_origins(&self) -> bool {
        self.typed("proxy", "auto_cross_origin") == Some("true")
    }

    /// Whether clients are told what is wrong.
    pub(super) fn tells_reasons(&self) -> bool {
        self.typed("proxy", "debug") == Some("true")
    }

    /// Everything but pools and sites; `over_http` says whether WebSockets come to an application as requests.
    pub(super) fn write(&self, out: &mut Yaml, over_http: bool) {
        self.listen(out);
        self.control(out);
        let key = self.typed("proxy", "sig_key").unwrap_or("changeme");
        let mut remarks = Vec::new();
        let mut issuer = self.typed("proxy", "sig_iss").unwrap_or("pushpin");
        if !is_name(issuer) {
            remarks.push(format!("sig_iss={issuer}: it can't be named so here"));
            issuer = "pushpin";
        }
        let key = key_of(key, &mut remarks).map_or_else(String::new, |key| format!("key: {key}, "));
        remarks.iter().for_each(|remark| out.not_taken_over(remark));
        out.line(&format!("grip: {{ {key}issuer: {} }}", quoted(issuer)));
        self.limits(out, over_http);
        for (section, key, default, remark) in WITHOUT {
            match self.typed(section, key) {
                Some(value) if value != *default => {
                    out.not_taken_over(&format!("{key}={value} of [{section}]: {remark}"));
                }
                _ => {}
            }
        }
    }

    fn listen(&self, out: &mut Yaml) {
        let typed = self.typed("runner", "http_port").unwrap_or("7999");
        let mut addresses: Vec<String> = Vec::new();
        for port in typed.split(',').map(str::trim).filter(|port| !port.is_empty()) {
            // A port alone is one on every address.
            let read = port.parse().ok().and_then(|port: u16| fits::address("0.0.0.0", Some(port)));
            match read.or_else(|| fits::address(port, None)).map(|address| quoted(&address.to_string())) {
                Some(address) if addresses.contains(&address) => {}
                Some(address) => addresses.push(address),
                None => out.not_taken_over(&format!("http_port={port}: it is no address and port")),
            }
        }
        if addresses.is_empty() {
            out.not_taken_over("http_port is off, and a proxy has to listen somewhere: change this address");
            return out.line("listen: 127.0.0.1:7999");
        }
        out.line(&format!("listen: [{}]", addresses.join(", ")));
    }

    /// A control port that others reach needs a token here.
    fn control(&self, out: &mut Yaml) {
        let address = self.typed("handler", "push_in_http_addr").unwrap_or("127.0.0.1");
        let port = self.typed("handler", "push_in_http_port").unwrap_or("5561");
        let Some(address) = port.parse().ok().and_then(|port| fits::address(address, Some(port))) else {
            let wrong =
                format!("push_in_http_addr={address}, push_in_http_port={port}: it is no address and port");
            out.not_taken_over(&wrong);
            return out.line("control: 127.0.0.1:5561");
        };
        if address.ip().is_loopback() {
            let address = address.to_string();
            let is_plain = !address.contains('[');
            return out.line(&format!("control: {}", if is_plain { address } else { quoted(&address) }));
        }
        out.comment(
            "Others than this machine reach the control port: it needs a token, which publishers send as",
        );
        out.comment(
            "`Authorization: Bearer`. With `grip.publish_key` their own tokens will do: see docs/grip.md.",
        );
        out.line("control:");
        out.line(&format!("  address: {}", quoted(&address.to_string())));
        out.line("  token: ${PERIHELION_TOKEN}");
    }

    fn limits(&self, out: &mut Yaml, over_http: bool) {
        let number = |section, key| self.typed(section, key).and_then(|value| value.parse::<u64>().ok());
        let mut limits = Vec::new();
        for (section, theirs, least, ours, unit) in LIMITS {
            let Some(value) = number(section, theirs).filter(|value| value > least) else { continue };
            let value = format!("{value}{unit}");
            match fits::is_limit(ours, &value) {
                true => limits.push(format!("{ours}: {value}")),
                false => out.not_taken_over(&format!("{theirs}={value}: `limits.{ours}` can't be that")),
            }
        }
        if over_http {
            limits.push(SOCKET_MESSAGE.to_owned());
        }
        if !limits.is_empty() {
            out.line(&format!("limits: {{ {} }}", limits.join(", ")));
        }
    }
}
