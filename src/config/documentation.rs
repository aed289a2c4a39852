//! The examples in `config/` and the reference in `docs/configuration.md` say what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::certificate::fixture::Folder;
use super::tree::{self, Content, Node};
use super::{
    ChannelsConfig, Config, DrainConfig, Limits, LogConfig, PoolConfig, PresenceConfig, Roots, TicketsConfig,
    Timeouts, keys,
};

const REFERENCE: &str = include_str!("../../docs/configuration.md");
const MOVING: &str = include_str!("../../docs/perlbal.md");
const FULL: &str = include_str!("../../config/full.yaml");

/// The variables that the examples use, with a certificate that exists.
struct Variables(Folder);

impl Variables {
    fn new() -> Self {
        let folder = Folder::new();
        folder.pair("example", 2060);
        folder.write("503.html", "<p>soon");
        folder.write("502.html", "<p>later");
        let both = ["pem", "key"]
            .map(|end| std::fs::read_to_string(folder.file(&format!("example.{end}"))).unwrap());
        folder.write("site.pem", &both.concat());
        Variables(folder)
    }

    fn read(&self, name: &str, text: &str) -> Config {
        let environment = |name: &str| match name {
            "PERIHELION_CERTIFICATE" => Some(self.0.file("example.pem")),
            "PERIHELION_KEY" => Some(self.0.file("example.key")),
            "PERIHELION_FILES" => Some(self.0.path.display().to_string()),
            "PERIHELION_PAGE" => Some(self.0.file("503.html")),
            "PERIHELION_TOKEN" => Some("s3cret".to_owned()),
            "SHOP_TOKEN" => Some("another".to_owned()),
            "GRAPHS_TOKEN" => Some("a-third".to_owned()),
            "TICKET_KEY" => Some("a key of at least thirty-two bytes".to_owned()),
            "OLD_TICKET_KEY" => Some("the one before, which is read still".to_owned()),
            "GRIP_KEY" => Some("changeme".to_owned()),
            _ => None,
        };
        Config::parse(name, text, &environment).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

fn root(text: &str) -> Node {
    tree::read(text, &mut Vec::new()).unwrap()
}

/// The path of every key in a tree, with the text behind it.
fn typed(node: &Node, path: &str, into: &mut BTreeMap<String, String>) {
    match &node.content {
        Content::Text(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        Content::List(nodes) => {
            into.insert(path.to_owned(), String::new());
            nodes.iter().for_each(|node| typed(node, &format!("{path}[]"), into));
        }
        Content::Map(entries) => {
            into.insert(path.to_owned(), String::new());
            for entry in entries {
                let below = match path {
                    "" => entry.key.clone(),
                    "pools" => "pools.NAME".to_owned(),
                    "sites" => "sites.HOST".to_owned(),
                    _ => format!("{path}.{}", entry.key),
                };
                typed(&entry.value, &below, into);
            }
        }
        Content::Nothing | Content::Broken => {}
    }
}

fn typed_in(text: &str) -> BTreeMap<String, String> {
    let mut paths = BTreeMap::new();
    typed(&root(text), "", &mut paths);
    paths
}

/// Key and default of each row in the tables of the reference.
fn documented() -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for line in REFERENCE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", key, _type, default, _meaning, ""] = cells[..] {
            let twice = rows.insert(key.trim_matches('`').to_owned(), default.to_owned());
            assert_eq!(twice, None, "{key} stands in two rows");
        }
    }
    rows
}

#[test]
fn every_example_loads() {
    let variables = Variables::new();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "yaml", "{}", path.display());
        variables.read(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
}

#[test]
fn the_full_example_has_every_key_with_its_default() {
    let typed: BTreeSet<String> = typed_in(FULL).into_keys().collect();
    let missing: Vec<String> = keys().into_iter().filter(|key| !typed.contains(key)).collect();
    let exclude = [
        "upstream",
        "sites.HOST.routes[].websocket_pool",
        "sites.HOST.routes[].upstream_path",
        "sites.HOST.routes[].channel_prefix",
        "sites.HOST.routes[].grip",
        "sites.HOST.routes[].grip.key",
        "sites.HOST.routes[].grip.issuer",
        "sites.HOST.routes[].grip.channels",
        "store.redis",
        "store.sentinels",
        "store.tls",
        "store.tls.authority",
        "store.tls.certificate",
        "store.tls.key",
        "store.prefix",
        "store.interval",
    ];
    assert_eq!(missing, exclude, "they exclude others, or change what is there by default");

    let config = Variables::new().read("full.yaml", FULL);
    let pool = &config.pools["app"];
    assert_eq!(*pool, PoolConfig::of(pool.servers.clone()));
    // What has no default, since another key or nothing stands for it, is shown by some value.
    let mut limits = config.limits.clone();
    (limits.per_address.burst, limits.per_address.except) = (None, Vec::new());
    limits.held_is_typed = false;
    let drain = DrainConfig { spread_is_typed: false, ..config.drain.clone() };
    let mut tickets = config.tickets.clone();
    tickets.keys.clear();
    let mut presence = config.presence[0].clone();
    (presence.publish, presence.post) = (None, None);
    presence.channels.clear();
    presence.roots = Roots::default();
    let mut channels = config.channels.clone();
    channels.rules.clear();
    let pairs = [
        (format!("{presence:?}"), format!("{:?}", PresenceConfig::default())),
        (format!("{channels:?}"), format!("{:?}", ChannelsConfig::default())),
        (format!("{:?}", limits), format!("{:?}", Limits::default())),
        (format!("{:?}", config.timeouts), format!("{:?}", Timeouts::default())),
        (format!("{tickets:?}"), format!("{:?}", TicketsConfig::default())),
        (format!("{drain:?}"), format!("{:?}", DrainConfig::default())),
        (format!("{:?}", config.log), format!("{:?}", LogConfig::default())),
    ];
    for (typed, default) in pairs {
        assert_eq!(typed, default);
    }
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let known: BTreeSet<String> = keys().into_iter().collect();
    let documented: BTreeSet<String> = documented().into_keys().collect();
    assert_eq!(documented, known);
}

#[test]
fn the_reference_says_the_defaults_of_the_full_example() {
    let typed = typed_in(FULL);
    let mut count = 0;
    for (key, default) in documented() {
        let default = default.strip_prefix('`').and_then(|default| default.strip_suffix('`'));
        if let (Some(default), Some(text)) = (default, typed.get(&key).filter(|text| !text.is_empty())) {
            assert_eq!(text, default, "{key}");
            count += 1;
        }
    }
    assert!(count >= 30, "{count} defaults compared");
}

#[test]
fn the_examples_of_the_reference_load_and_show_every_key() {
    let variables = Variables::new();
    let mut shown = BTreeSet::new();
    for block in REFERENCE.split("```yaml\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        let folder = variables.0.path.display().to_string();
        let mut text = block.replace("/etc/perihelion", &folder).replace("/srv/shop/static", &folder);
        let has = |key: &str| block.lines().any(|line| line.starts_with(key));
        if !has("listen:") {
            text.push_str("listen: 127.0.0.1:0\n");
        }
        if !has("upstream:") && !has("sites:") {
            text.push_str("upstream: http://127.0.0.1:8000\n");
        }
        variables.read("docs/configuration.md", &text);
        shown.extend(typed_in(block).into_keys());
    }
    let missing: Vec<String> = keys().into_iter().filter(|key| !shown.contains(key)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn what_a_configuration_of_another_proxy_becomes_loads() {
    let variables = Variables::new();
    let folder = variables.0.path.display().to_string();
    let mut count = 0;
    for block in MOVING.split("```yaml\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        variables.read(
            "docs/perlbal.md",
            &block.replace("/etc/perihelion", &folder).replace("/srv/shop/static", &folder),
        );
        count += 1;
    }
    assert!(count >= 3, "{count} configurations");
}
