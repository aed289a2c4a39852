//! Looking at sites, and closing one for a while.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::reply::{Failure, Reply, json};
use crate::edge::{Closed, Maintenance};

/// A site as the control port sees it.
pub struct SiteInUse {
    /// Its name in the configuration.
    pub name: String,
    /// The hosts that it answers for.
    pub hosts: Vec<String>,
    /// Whether it is closed.
    pub maintenance: Arc<Maintenance>,
}

#[derive(Serialize)]
struct Facts<'a> {
    site: &'a str,
    hosts: &'a [String],
    maintenance: State,
}

#[derive(Serialize)]
struct State {
    on: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
}

/// What may be said of a maintenance.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default = "yes")]
    on: bool,
    /// In seconds.
    retry_after: Option<u32>,
    #[serde(default)]
    allow: Vec<String>,
}

fn yes() -> bool {
    true
}

/// `GET /sites`.
pub(super) fn list(sites: &[SiteInUse]) -> Reply {
    let sites: Vec<_> = sites.iter().map(facts).collect();
    json(StatusCode::OK, &serde_json::json!({ "sites": sites }))
}

/// `GET /sites/NAME`.
pub(super) fn inspect(sites: &[SiteInUse], name: &str) -> Result<Reply, Failure> {
    Ok(json(StatusCode::OK, &facts(find(sites, name)?)))
}

/// `POST /sites/NAME/maintenance`; without a body it is `on`.
pub(super) fn maintain(sites: &[SiteInUse], name: &str, body: &[u8]) -> Result<Reply, Failure> {
    let site = find(sites, name)?;
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let wish: Wish = serde_json::from_slice(body)
        .map_err(|error| Failure::bad(format!("the body is no maintenance: {error}")))?;
    let closed = wish.on.then(|| closed(wish)).transpose()?;
    let said = if closed.is_some() { "closed for maintenance" } else { "open again" };
    tracing::info!(site = site.name, "a site is {said}");
    site.maintenance.set(closed);
    Ok(json(StatusCode::OK, &facts(site)))
}

/// `DELETE /sites/NAME/maintenance`.
pub(super) fn open(sites: &[SiteInUse], name: &str) -> Result<Reply, Failure> {
    maintain(sites, name, br#"{"on":false}"#)
}

fn closed(wish: Wish) -> Result<Closed, Failure> {
    let net = |text: &String| {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let net = address.or_else(|_| text.parse::<IpNet>());
        net.map_err(|_| Failure::bad(format!("allow: {text:?} is no IP address and no network")))
    };
    let allow = wish.allow.iter().map(net).collect::<Result<_, _>>()?;
    let retry_after = wish.retry_after.map(|seconds| Duration::from_secs(seconds.into()));
    Ok(Closed { retry_after, allow })
}

fn find<'a>(sites: &'a [SiteInUse], name: &str) -> Result<&'a SiteInUse, Failure> {
    let found = sites.iter().find(|site| site.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, format!("there is no site {name:?}")))
}

fn facts(site: &SiteInUse) -> Facts<'_> {
    let closed = site.maintenance.closed();
    let maintenance = State {
        on: closed.is_some(),
        retry_after: closed.as_ref().and_then(|closed| closed.retry_after).map(|time| time.as_secs()),
        allow: closed.iter().flat_map(|closed| &closed.allow).map(IpNet::to_string).collect(),
    };
    Facts { site: &site.name, hosts: &site.hosts, maintenance }
}
