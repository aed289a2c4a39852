//! Which URLs an application may have fetched: hosts by name, addresses by network, and nothing private by accident; pure.
//!
//! A name that is listed isn't enough to reach a private address: what it resolves to counts too, when it is
//! connected to, so that a name that somebody else holds can't be pointed inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::UrlPattern;

/// Patterns that were configured.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    patterns: Box<[UrlPattern]>,
    /// Our control port, which isn't reached whatever they say.
    control: Option<SocketAddr>,
}

impl Allowed {
    pub(super) fn new(patterns: &[UrlPattern], control: Option<SocketAddr>) -> Allowed {
        Allowed { patterns: patterns.into(), control }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a URL may name this host: a name in lower case, or an address without brackets.
    pub(super) fn host(&self, host: &str, port: u16) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.lists(address, port) || is_public(address) && self.names("", port),
            Err(_) => self.names(host, port),
        }
    }

    /// Whether a host that is allowed may be reached at this address.
    pub(super) fn address(&self, address: IpAddr, port: u16) -> bool {
        !self.is_control(address, port) && (is_public(address) || self.lists(address, port))
    }

    fn is_control(&self, address: IpAddr, port: u16) -> bool {
        self.control.is_some_and(|control| {
            let is_it = control.ip() == address.to_canonical() || control.ip().is_unspecified();
            is_it && control.port() == port
        })
    }

    fn lists(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.patterns.iter().any(|pattern| match pattern {
            UrlPattern::Net { net, port: only } => net.contains(&address) && is_port(*only, port),
            UrlPattern::Host { .. } => false,
        })
    }

    fn names(&self, name: &str, port: u16) -> bool {
        self.patterns.iter().any(|pattern| match pattern {
            UrlPattern::Host { host, port: only } => is_host(host, name) && is_port(*only, port),
            UrlPattern::Net { .. } => false,
        })
    }
}

fn is_port(only: Option<u16>, port: u16) -> bool {
    only.is_none_or(|only| only == port)
}

fn is_host(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => name.ends_with(suffix),
        None => pattern == name,
    }
}

/// Whether an address belongs to the open network (RFC 6890): not to a machine, a link, a site or a protocol.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation();
    // This network, shared addresses (RFC 6598), protocols, benchmarks, and what is reserved.
    let special =
        a == 0 || a == 100 && b & 0xc0 == 64 || (a, b, c) == (192, 0, 0) || a == 198 && b & 0xfe == 18;
    !reserved && !special && a < 240
}

/// Global unicast is 2000::/3 so far. In it, prefixes that carry an IPv4 address are no way around its own rules.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let carries_v4 = segments[0] == 0x2002 || segments[0] == 0x2001 && segments[1] == 0;
    let documentation = segments[0] == 0x2001 && segments[1] == 0xdb8 || segments[0] == 0x3fff;
    segments[0] & 0xe000 == 0x2000 && !carries_v4 && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Allowed {
        let host = |host: &str, port| UrlPattern::Host { host: host.into(), port };
        let net = |net: &str, port| UrlPattern::Net { net: net.parse().unwrap(), port };
        Allowed::new(
            &[
                host("media.example", None),
                host("*.cdn.example", Some(80)),
                net("10.1.0.0/16", None),
                net("127.0.0.1/32", Some(7500)),
            ],
            None,
        )
    }

    #[test]
    fn the_control_port_is_reached_whatever_is_listed_by_nobody() {
        let net = |net: &str| UrlPattern::Net { net: net.parse().unwrap(), port: None };
        let listed = [net("127.0.0.0/8"), net("10.0.0.0/8")];
        let reached = |control: &str, address: &str, port| {
            Allowed::new(&listed, Some(control.parse().unwrap())).address(address.parse().unwrap(), port)
        };
        assert!(!reached("127.0.0.1:7070", "127.0.0.1", 7070));
        assert!(!reached("127.0.0.1:7070", "::ffff:127.0.0.1", 7070));
        assert!(!reached("0.0.0.0:7070", "10.0.0.1", 7070));
        assert!(reached("127.0.0.1:7070", "127.0.0.1", 7071) && reached("127.0.0.1:7070", "10.0.0.1", 7070));
    }

    #[test]
    fn a_host_is_listed_or_its_address_is() {
        let table = [
            ("media.example", 8080, true),
            ("x.media.example", 80, false),
            ("a.cdn.example", 80, true),
            ("a.cdn.example", 81, false),
            ("cdn.example", 80, false),
            ("evilcdn.example", 80, false),
            ("10.1.2.3", 7500, true),
            ("10.2.0.1", 80, false),
            ("127.0.0.1", 7500, true),
            ("127.0.0.1", 7070, false),
            ("::ffff:127.0.0.1", 7070, false),
            ("8.8.8.8", 80, false),
            ("localhost", 7500, false),
            ("", 80, false),
        ];
        for (host, port, expected) in table {
            assert_eq!(allowed().host(host, port), expected, "{host}:{port}");
        }
        let any = Allowed::new(&[UrlPattern::Host { host: "*".into(), port: None }], None);
        assert!(any.host("anything.example", 1) && any.host("8.8.8.8", 1) && !any.host("10.1.2.3", 1));
    }

    #[test]
    fn nothing_private_is_reached_unless_its_address_is_listed() {
        for private in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:0:a00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!allowed().address(private.parse().unwrap(), 80), "{private}");
        }
        for public in ["8.8.8.8", "100.128.0.1", "2a00:1450::1", "10.1.0.1"] {
            assert!(allowed().address(public.parse().unwrap(), 80), "{public}");
        }
        assert!(allowed().address("127.0.0.1".parse().unwrap(), 7500));
    }
}
