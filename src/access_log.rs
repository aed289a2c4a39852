//! The access log: one line for each exchange, and one more when a held connection ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Who asked for what: what both lines of a hold have in common.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The client, behind trusted proxies if there are any.
    pub client: IpAddr,
    /// Configured name of the site, `_other` where there was none.
    pub site: Arc<str>,
    /// Request method.
    pub method: hyper::Method,
    /// Request target as it was sent.
    pub target: Box<str>,
    /// HTTP version.
    pub version: hyper::Version,
    /// `Referer`.
    pub referer: Option<Box<str>>,
    /// `User-Agent`.
    pub user_agent: Option<Box<str>>,
    /// When the head of the request was there.
    pub began: SystemTime,
}
