//! `reproxy` of a pool: where the answers of its servers may point.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::form;
use super::section::{Key, Section};
use super::upstream_tls::{Roots, signers};

/// What is fetched for an application that only says where it lies; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReproxyConfig {
    /// Hosts and networks that URLs may name.
    pub urls: Vec<UrlPattern>,
    /// Whose certificates are believed where a URL is `https`.
    pub roots: Roots,
    /// Absolute folders, whose files may be named.
    pub files: Vec<PathBuf>,
    /// Names of sites that requests may be handed on to; each exists.
    pub sites: Vec<String>,
    /// The control port, where URLs may be named at all. None reaches it whatever is listed: it would take the proxy for
    /// somebody on this machine.
    pub control: Option<SocketAddr>,
    /// Answers that are remembered; 0 is `off` in the file.
    pub cache: usize,
}

/// URLs that may be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlPattern {
    /// By name, as hosts of sites are written. What it resolves to has to be public, or be listed too.
    Host {
        /// In lower case.
        host: String,
        /// The only port, if there is one.
        port: Option<u16>,
    },
    /// By address, private ones included.
    Net {
        /// One address or many.
        net: IpNet,
        /// The only port, if there is one.
        port: Option<u16>,
    },
}

pub(super) static REPROXY: Section<ReproxyConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("urls", |reproxy, value| {
            value.each_of_some(|item| reproxy.urls.extend(item.read(&form::URL_PATTERN)));
        }),
        Key::new("ca", |reproxy, value| reproxy.roots = signers(value)),
        Key::new("files", |reproxy, value| {
            value.each_of_some(|item| reproxy.files.extend(item.read(&form::ABSOLUTE_FOLDER)));
        }),
        Key::new("sites", |reproxy, value| {
            value.each_of_some(|item| reproxy.sites.extend(item.read(&form::HOST)));
        }),
        Key::new("cache", |reproxy, value| value.put(&mut reproxy.cache, &form::COUNT_OR_NONE)),
    ],
};
