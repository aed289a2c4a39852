//! `sites`: hosts, and what holds for all that they are asked for.

use super::draft::SiteDraft;
use super::edge::{COMPRESS, EdgeConfig, EdgeDraft, HEADERS};
use super::form;
use super::problem::Placed;
use super::redirect::{HTTPS, https};
use super::route::{ROUTE, RouteConfig, routes};
use super::section::{Key, Section, Value};
use super::tree::Content;

/// The site that `upstream:` stands for.
pub(super) const UPSTREAM_SITE: &str = "*";

/// One site: the hosts it answers for and its routes.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// The key in the file, which is also the first host pattern.
    pub name: String,
    /// Host patterns, lower case: exact, `*.suffix`, or `*`; the name is the first.
    pub hosts: Vec<String>,
    /// Routes in the order of the file.
    pub routes: Vec<RouteConfig>,
    /// What holds for its requests that no route is meant by.
    pub edge: EdgeConfig,
    /// The port with TLS that requests without it are sent to.
    pub https: Option<u16>,
    /// The host that all others are sent to.
    pub canonical: Option<String>,
    /// Pages of other origins that may read what is held.
    pub cors: CorsConfig,
}

/// Origins whose pages may read the answers of held connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsConfig {
    /// Those that are named, with the cookies of their visitors; none by default.
    Origins(Vec<String>),
    /// Any, without cookies.
    Any,
}

impl Default for CorsConfig {
    fn default() -> CorsConfig {
        CorsConfig::Origins(Vec::new())
    }
}

pub(super) static SITE: Section<SiteDraft> = Section {
    short: Some("the name of a pool"),
    required: &[],
    keys: &[
        Key::new("aliases", |site, value| {
            value.each(|item| site.aliases.extend(item.placed(&form::HOST)));
        }),
        Key::section("routes", "[].", &ROUTE, |site, value| site.routes = Some(routes(value))),
        Key::new("pool", site_pool),
        Key::section("https", ".", &HTTPS, |site, value| site.https = https(value)),
        Key::new("canonical", |site, value| site.canonical = value.placed(&form::HOST)),
        Key::new("cors", |site, value| cors(&mut site.cors, value)),
        Key::new("allow", |site, value| site.edge.allow(value)),
        Key::new("deny", |site, value| site.edge.deny(value)),
        Key::section("headers", ".", &HEADERS, |site, value| site.edge.headers(value)),
        Key::new("errors", |site, value| site.edge.errors(value)),
        Key::section("compress", ".", &COMPRESS, |site, value| site.edge.compress(value)),
    ],
};

pub(super) fn sites(value: Value<'_>) -> Placed<Vec<SiteDraft>> {
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
            https: None,
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
