//! Rules become sites by host and routes by path, their targets pools.
//!
//! Pushpin looks among the rules of a host alone, if there are any, and takes the longest path: so do sites. It tries
//! targets in order; servers of a pool are used all together.

use std::collections::BTreeSet;

use super::fits;
use super::grip::{Grip, grip};
use super::routes::{Part, Rule};
use super::settings::Settings;
use super::yaml::{Yaml, quoted};

/// Pools and sites in the order of the rules.
#[derive(Default)]
pub(super) struct Layout {
    pools: Vec<Pool>,
    sites: Vec<Site>,
    remarks: Vec<String>,
    /// Whether pages of every origin may read everything.
    open: bool,
    /// Whether clients are told what is wrong.
    debug: bool,
}

struct Pool {
    name: String,
    servers: Vec<String>,
    /// Lines below it.
    more: Vec<String>,
    remarks: Vec<String>,
}

struct Site {
    host: String,
    routes: Vec<Route>,
    paths: BTreeSet<String>,
}

struct Route {
    path: String,
    pool: String,
    /// Fields of the request that are set, and that are removed.
    set: Vec<(String, String)>,
    remove: Vec<String>,
    /// Whether WebSockets are told of by requests.
    over_http: bool,
    /// Where they go, if not to `pool`.
    websocket_pool: Option<String>,
    /// Whether clients are told what is wrong.
    debug: bool,
    /// What takes the place of the path.
    upstream_path: Option<String>,
    /// What stands before the names of channels.
    channel_prefix: Option<String>,
    grip: Grip,
    /// What is said of JSON-P where pages of every origin may read everything.
    jsonp: Option<Vec<String>>,
    remarks: Vec<String>,
}

/// Properties of a condition without an equivalent.
const CONDITIONS: &[(&str, &str)] = &[
    ("proto", "a route takes HTTP and WebSockets"),
    ("ssl", "a route takes requests with TLS and without; `https: redirect` of a site leads to TLS"),
    ("id", "routes have no ids"),
    ("orig_headers", "fields are sent once, since instances of the proxy aren't put behind one another"),
    ("session", "positions are in the messages"),
    ("sockjs", "there is no SockJS here: `perihelion.js` falls back by itself"),
    ("sockjs_as_path", "there is no SockJS here: `perihelion.js` falls back by itself"),
    ("log_level", "`log.level` is the same for all routes"),
];

/// Properties of a target without an equivalent.
const TARGETS: &[(&str, &str)] = &[
    ("one_event", "events that are there go together"),
    ("ipc_file_mode", "there is no ZeroMQ here"),
    ("trust_connect_host", "`pools.NAME.tls.name` says whose certificate is expected"),
];

impl Layout {
    /// Of rules, of which all are open or tell what is wrong where the settings say so.
    pub(super) fn of(rules: &[Rule], settings: &Settings) -> Layout {
        let (open, debug) = (settings.has_open_origins(), settings.tells_reasons());
        let mut layout = Layout { open, debug, ..Layout::default() };
        for rule in rules {
            let (other, is_same) = other(rules, rule);
            match (other, is_for_sockets(rule)) {
                (Some(_), true) if is_same => {}
                // What is no WebSocket is what the other rule says, as long as that is the same for a longer path.
                (Some(rest), true)
                    if !["replace_beg", "path_rem"].iter().any(|name| rest.condition.has(name)) =>
                {
                    layout.add(&rest.at(path_of(&rule.condition)), Some(rule));
                }
                (_, true) => layout.add(rule, None),
                (sockets, false) => layout.add(rule, sockets),
            }
        }
        layout
    }

    fn add(&mut self, rule: &Rule, sockets: Option<&Rule>) {
        let Rule { condition, targets } = rule;
        let host = condition.value.to_lowercase();
        if host.is_empty() {
            let id = condition.get("id").unwrap_or_default();
            return self.remark(&format!(
                "the rule with id={id}, which requests reach by that alone: routes have no ids"
            ));
        }
        let path = path_of(condition);
        let what = format!("the rule for {host}{path}");
        if !fits::is_host(&host) || !fits::is_path(&path) {
            return self.remark(&format!("{what}: no request is for such a host or path"));
        }
        let Some(pool) = self.pool(&what, targets) else {
            return sockets.into_iter().for_each(|sockets| self.add(sockets, None));
        };
        let websocket_pool = sockets.and_then(|sockets| self.pool(&what, &sockets.targets));
        let (is_open, tells) = (self.open || condition.has("aco"), self.debug);
        let site = self.site(&host);
        if !site.paths.insert(path.clone()) {
            return self.remark(&format!(
                "{what} to {}: another rule for the same path came before",
                targets[0].value
            ));
        }
        let mut route = route(path, pool, condition, targets, sockets);
        route.websocket_pool = websocket_pool;
        route.debug |= tells;
        match is_open {
            true => route.jsonp = Some(jsonp(condition, &mut route.remarks)),
            false => route.remarks.extend(without_aco(condition)),
        }
        site.routes.push(route);
    }

    fn remark(&mut self, what: &str) {
        self.remarks.push(what.to_owned());
    }

    fn site(&mut self, host: &str) -> &mut Site {
        let index = self.sites.iter().position(|site| site.host == host).unwrap_or_else(|| {
            let site = Site { host: host.to_owned(), routes: Vec::new(), paths: BTreeSet::new() };
            self.sites.push(site);
            self.sites.len() - 1
        });
        &mut self.sites[index]
    }

    /// The name of the pool for these targets, made where there is none like it.
    fn pool(&mut self, what: &str, targets: &[Part]) -> Option<String> {
        let mut servers: Vec<&Part> = Vec::new();
        for target in targets {
            match about_target(target) {
                Some(about) => self.remark(&format!("{what}, target {}: {about}", target.value)),
                // One that is tried again is one server.
                None if !fits::are_servers(
                    &servers.iter().copied().chain([target]).map(url).collect::<Vec<_>>(),
                ) => {}
                None => servers.push(target),
            }
        }
        let first = servers.first()?;
        let wanted = Pool::of(&servers, self.free_name(&first.value));
        let same = |pool: &&Pool| pool.servers == wanted.servers && pool.more == wanted.more;
        if let Some(pool) = self.pools.iter().find(same) {
            return Some(pool.name.clone());
        }
        let name = wanted.name.clone();
        self.pools.push(wanted);
        Some(name)
    }

    /// A name after a target, which no other pool has.
    fn free_name(&self, target: &str) -> String {
        let allowed = |character: char| {
            if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '-' }
        };
        let base: String = target.chars().map(allowed).take(58).collect();
        let base = base.trim_matches('-').to_owned();
        let is_taken = |name: &str| self.pools.iter().any(|pool| pool.name == name);
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        std::iter::once(base.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(base)
    }

    pub(super) fn write(&self, out: &mut Yaml) {
        for remark in &self.remarks {
            out.not_taken_over(remark);
        }
        if self.sites.is_empty() {
            out.comment("No rule leads to an application: name yours here.");
            return out.line("upstream: http://127.0.0.1:80");
        }
        out.line("pools:");
        self.pools.iter().for_each(|pool| pool.write(out));
        out.comment("A path is for itself and what stands below it: `/a` for /a/b, and not for /ab, as path_beg=/a is.");
        out.line("sites:");
        self.sites.iter().for_each(|site| site.write(out));
    }
}

fn is_for_sockets(rule: &Rule) -> bool {
    rule.condition.get("proto") == Some("ws")
}

/// The rule for WebSockets that counts where this one does, or the one for the rest: that with the longest path. Rules that
/// name what they are for count more than longer paths. And whether it is for the same path.
fn other<'r>(rules: &'r [Rule], rule: &Rule) -> (Option<&'r Rule>, bool) {
    let host = rule.condition.value.to_lowercase();
    let path = path_of(&rule.condition);
    let is_other = |other: &&Rule| {
        is_for_sockets(other) != is_for_sockets(rule)
            && !host.is_empty()
            && other.condition.value.to_lowercase() == host
            && path.starts_with(&path_of(&other.condition))
    };
    // Of two for the same path the first counts.
    let other = rules.iter().rev().filter(is_other).max_by_key(|other| path_of(&other.condition).len());
    (other, other.is_some_and(|other| path_of(&other.condition) == path))
}

/// Why a target can't be a server.
fn about_target(target: &Part) -> Option<&'static str> {
    match target.value.as_str() {
        "test" => Some("there is no test application"),
        value if value.contains('/') => Some("there is no ZeroMQ here"),
        _ if !fits::are_servers(&[url(target)]) => Some("it is no host and port"),
        _ => None,
    }
}

fn url(target: &Part) -> String {
    let scheme = if target.has("ssl") { "https" } else { "http" };
    format!("{scheme}://{}", target.value)
}

fn path_of(condition: &Part) -> String {
    condition.get("path_beg").filter(|path| path.starts_with('/')).unwrap_or("/").to_owned()
}

/// Of a rule, and the one that is for its WebSockets.
fn route(path: String, pool: String, condition: &Part, targets: &[Part], sockets: Option<&Rule>) -> Route {
    let socket_targets = sockets.map_or(targets, |sockets| &sockets.targets);
    let over_http = socket_targets.iter().any(|target| target.has("over_http"));
    let (set, remove, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
    let debug = condition.has("debug");
    let (upstream_path, channel_prefix, jsonp) = (None, None, None);
    let all: Vec<Part> =
        targets.iter().chain(sockets.iter().flat_map(|sockets| &sockets.targets)).cloned().collect();
    let grip = grip(condition, &all, over_http, &mut remarks);
    #[rustfmt::skip]
    let mut route = Route {
        path, pool, set, remove, over_http, websocket_pool: None, debug, upstream_path, channel_prefix, grip, jsonp, remarks,
    };
    route.upstream_path = upstream_path_of(&route.path, condition, &mut route.remarks);
    if let Some(prefix) = condition.get("prefix").filter(|prefix| !prefix.is_empty()) {
        match fits::is_channel_prefix(prefix) {
            true => route.channel_prefix = Some(prefix.to_owned()),
            false => route.remarks.push(format!("prefix={prefix}: no channel can be named so here")),
        }
    }
    for (name, value) in condition.properties.iter().filter(|(name, _)| name == "header") {
        match value.split_once(':') {
            Some((field, value)) if !value.trim().is_empty() => {
                route.set.push((field.trim().to_owned(), value.trim().to_owned()));
            }
            Some((field, _)) if fits::is_removed(field.trim()) => route.remove.push(field.trim().to_owned()),
            Some((field, _)) => route.remarks.push(format!("header={field}: no such field can be kept back")),
            None => route.remarks.push(format!("{name}={value}: a field has a colon")),
        }
    }
    // What a target says of the host comes later there, and counts.
    let host = targets.iter().find_map(|target| target.get("host")).or_else(|| condition.get("as_host"));
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        route.set.push(("Host".into(), host.to_owned()));
    }
    let last = last_of_each(route.set);
    // A field that no request may carry would make the whole file a bad one.
    let (good, bad) = last.into_iter().partition(|(name, value)| fits::is_set(name, value));
    route.set = good;
    let bad: Vec<(String, String)> = bad;
    route.remarks.extend(bad.iter().map(|(name, _)| format!("header={name}: no such field can be sent")));
    if let Some(sockets) = sockets {
        let more = sockets.condition.properties.iter().filter(|said| {
            !["proto", "path_beg"].contains(&said.0.as_str()) && !condition.properties.contains(said)
        });
        route.remarks.extend(more.map(|(name, _)| {
            format!("{name} of the rule with proto=ws: WebSockets have what the other rule says")
        }));
    }
    let without_pair =
        without(condition, CONDITIONS).filter(|remark| sockets.is_none() || !remark.starts_with("proto="));
    route.remarks.extend(without_pair);
    for target in targets {
        route.remarks.extend(without(target, TARGETS));
    }
    route.remarks.dedup();
    route
}

/// What takes the place of the route's path, where a rule takes something away or puts something in its place.
fn upstream_path_of(path: &str, condition: &Part, remarks: &mut Vec<String>) -> Option<String> {
    let becomes = match (condition.get("replace_beg"), condition.get("path_rem")) {
        (Some(becomes), _) => becomes,
        // So many characters; those of the path are all that is known of a path here.
        (None, Some(count)) => count.parse().ok().and_then(|count: usize| path.get(count..)).unwrap_or("?"),
        (None, None) => return None,
    };
    let becomes = if becomes.is_empty() { "/" } else { becomes };
    if fits::is_upstream_path(becomes) {
        return Some(becomes.to_owned());
    }
    for name in ["replace_beg", "path_rem"] {
        if let Some(value) = condition.get(name) {
            remarks
                .push(format!("{name}={value}: it is not the path of the rule, or its beginning, that goes"));
        }
    }
    None
}

/// The keys of `jsonp` for the properties of a rule.
fn jsonp(condition: &Part, remarks: &mut Vec<String>) -> Vec<String> {
    let mut keys = Vec::new();
    match condition.get("jsonp_mode") {
        None | Some("extended") => {}
        Some("basic") => keys.push("argument: body".to_owned()),
        Some(other) => remarks.push(format!("jsonp_mode={other}: it is basic or extended")),
    }
    let known = [
        ("jsonp_cb", "callback", is_parameter as fn(&str) -> bool),
        ("jsonp_body", "body", is_parameter),
        ("jsonp_defcb", "default_callback", is_function),
        ("jsonp_defmethod", "method", is_method),
    ];
    for (theirs, ours, fits) in known {
        match condition.get(theirs).filter(|value| !value.is_empty()) {
            Some(value) if fits(value) => keys.push(format!("{ours}: {}", quoted(value))),
            Some(value) => remarks.push(format!("{theirs}={value}: it can't be named so here")),
            None => {}
        }
    }
    keys
}

fn is_parameter(name: &str) -> bool {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    (1..=64).contains(&name.len()) && name.chars().all(letters)
}

fn is_function(name: &str) -> bool {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "_$".contains(letter);
    let starts = |part: &str| part.starts_with(|first: char| letters(first) && !first.is_ascii_digit());
    name.len() <= 64 && name.split('.').all(|part| starts(part) && part.chars().all(letters))
}

fn is_method(name: &str) -> bool {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&name)
}

/// Without `aco` Pushpin has no JSON-P.
fn without_aco(condition: &Part) -> impl Iterator<Item = String> + '_ {
    let names = condition.properties.iter().map(|(name, _)| name);
    names
        .filter(|name| name.starts_with("jsonp_"))
        .map(|name| format!("{name}: without aco it has no effect"))
}

/// A field that is set again was not set before.
fn last_of_each(fields: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut last: Vec<(String, String)> = Vec::new();
    for field in fields {
        last.retain(|(name, _)| !name.eq_ignore_ascii_case(&field.0));
        last.push(field);
    }
    last
}

fn without<'p>(part: &'p Part, known: &'static [(&str, &str)]) -> impl Iterator<Item = String> + 'p {
    let about = |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, about)| *about);
    part.properties.iter().filter_map(move |(name, value)| {
        let about = about(name)?;
        Some(if value.is_empty() { format!("{name}: {about}") } else { format!("{name}={value}: {about}") })
    })
}

impl Pool {
    fn of(targets: &[&Part], name: String) -> Pool {
        let mut tls = Vec::new();
        let mut remarks = Vec::new();
        if targets.iter().any(|target| target.has("insecure")) {
            tls.push("verify: off".to_owned());
        }
        let path_of = |property| targets.iter().find_map(|target| target.get(property));
        match (path_of("client_cert"), path_of("client_key")) {
            (Some(certificate), Some(key)) => {
                tls.push(format!("certificate: {}, key: {}", quoted(certificate), quoted(key)));
            }
            (None, None) => {}
            _ => remarks.push("client_cert, client_key: each needs the other".to_owned()),
        }
        let more = if tls.is_empty() { Vec::new() } else { vec![format!("tls: {{ {} }}", tls.join(", "))] };
        if targets.len() > 1 {
            remarks.push(
                "targets in order: all servers are used, the least busy first, and who fails is left out"
                    .into(),
            );
        }
        Pool { name, servers: targets.iter().map(|target| url(target)).collect(), more, remarks }
    }

    fn write(&self, out: &mut Yaml) {
        out.line(&format!("  {}:", quoted(&self.name)));
        for remark in &self.remarks {
            out.line(&format!("    # not taken over: {remark}"));
        }
        let servers: Vec<_> = self.servers.iter().map(|server| quoted(server)).collect();
        out.line(&format!("    servers: [{}]", servers.join(", ")));
        self.more.iter().for_each(|line| out.line(&format!("    {line}")));
    }
}

impl Site {
    fn write(&self, out: &mut Yaml) {
        out.line(&format!("  {}:", quoted(&self.host)));
        out.line("    routes:");
        self.routes.iter().for_each(|route| route.write(out));
    }
}

impl Route {
    fn write(&self, out: &mut Yaml) {
        for remark in &self.remarks {
            out.line(&format!("      # not taken over: {}", remark.replace(char::is_control, " ")));
        }
        out.line(&format!("      - path: {}", quoted(&self.path)));
        out.line(&format!("        pool: {}", quoted(&self.pool)));
        let websockets = match (self.over_http, &self.grip) {
            (true, _) => "over_http",
            (false, Grip::On(_)) => "grip",
            (false, Grip::Off) => "through",
        };
        out.line(&format!("        websockets: {websockets}"));
        if let Some(pool) = &self.websocket_pool {
            out.line(&format!("        websocket_pool: {}", quoted(pool)));
        }
        if let Some(path) = &self.upstream_path {
            out.line(&format!("        upstream_path: {}", quoted(path)));
        }
        if let Some(prefix) = &self.channel_prefix {
            out.line(&format!("        channel_prefix: {}", quoted(prefix)));
        }
        match &self.grip {
            Grip::Off => out.line("        grip: off"),
            Grip::On(keys) if keys.is_empty() => {}
            Grip::On(keys) => out.line(&format!("        grip: {{ {} }}", keys.join(", "))),
        }
        if self.debug {
            out.line("        debug: true");
        }
        if let Some(keys) = &self.jsonp {
            out.line("        cross_origin: true   # every page may read everything; `cors` of the site names origins");
            let keys = if keys.is_empty() { "true".to_owned() } else { format!("{{ {} }}", keys.join(", ")) };
            out.line(&format!("        jsonp: {keys}"));
        }
        if self.set.is_empty() && self.remove.is_empty() {
            return;
        }
        out.line("        headers:");
        out.line("          request:");
        if !self.set.is_empty() {
            let set: Vec<_> =
                self.set.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
            out.line(&format!("            set: {{ {} }}", set.join(", ")));
        }
        if !self.remove.is_empty() {
            let remove: Vec<_> = self.remove.iter().map(|name| quoted(name)).collect();
            out.line(&format!("            remove: [{}]", remove.join(", ")));
        }
    }
}
