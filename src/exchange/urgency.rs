//! How urgent a request is that has to wait for a connection, by its cookies, header, path and client; pure.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::COOKIE;

use crate::config::{NamedConfig, QueueConfig, SignConfig};
use crate::upstream::Class;

/// What a request is told by.
pub(super) struct Look<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) path: &'a str,
    /// The client, behind whatever proxies of ours.
    pub(super) client: IpAddr,
}

impl Look<'_> {
    /// The first class with a sign that fits.
    pub(super) fn class(&self, queue: &QueueConfig) -> Class {
        let fits = |signs: &[SignConfig]| signs.iter().any(|sign| self.fits(sign));
        if fits(&queue.high) {
            Class::High
        } else if fits(&queue.low) {
            Class::Low
        } else {
            Class::Normal
        }
    }

    fn fits(&self, sign: &SignConfig) -> bool {
        sign.cookie.as_ref().is_none_or(|cookie| self.has_cookie(cookie))
            && sign.header.as_ref().is_none_or(|field| self.has_field(field))
            && sign.path.as_ref().is_none_or(|path| self.path.starts_with(path))
            && sign.peer.is_none_or(|net| net.contains(&self.client))
    }

    fn has_field(&self, field: &NamedConfig) -> bool {
        let wanted = |value: &[u8]| field.value.as_ref().is_none_or(|wanted| wanted.as_bytes() == value);
        self.headers.get_all(&*field.name).iter().any(|value| wanted(value.as_bytes()))
    }

    /// RFC 6265 §4.2.1.
    fn has_cookie(&self, cookie: &NamedConfig) -> bool {
        let pairs =
            self.headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
        pairs.map(<[u8]>::trim_ascii).any(|pair| {
            let (name, value) = match memchr::memchr(b'=', pair) {
                Some(end) => (&pair[..end], &pair[end + 1..]),
                None => (pair, &[][..]),
            };
            name == cookie.name.as_bytes()
                && cookie.value.as_ref().is_none_or(|wanted| wanted.as_bytes() == value)
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn named(name: &str, value: Option<&str>) -> Option<NamedConfig> {
        Some(NamedConfig { name: name.to_owned(), value: value.map(str::to_owned) })
    }

    fn is_high(sign: SignConfig, fields: &[(&'static str, &'static str)]) -> bool {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers = HeaderMap::from_iter(fields.iter().map(pair));
        let look = Look { headers: &headers, path: "/admin/users", client: [10, 1, 2, 3].into() };
        let queue = QueueConfig { high: vec![sign], ..QueueConfig::default() };
        look.class(&queue) == Class::High
    }

    #[test]
    fn a_cookie_fits_by_its_whole_name_and_value() {
        let cases = [
            (named("vip", None), "vip=1", true),
            (named("vip", None), "a=b; vip=; c=d", true),
            (named("vip", None), "vip", true),
            (named("vip", None), "xvip=1; vipx=2", false),
            (named("tier", Some("gold")), "a=1;tier=gold", true),
            (named("tier", Some("gold")), "tier=golden", false),
            (named("tier", Some("gold")), "Tier=gold", false),
        ];
        for (cookie, header, expected) in cases {
            let sign = SignConfig { cookie, ..SignConfig::default() };
            assert_eq!(is_high(sign, &[("cookie", header)]), expected, "{header}");
        }
    }

    #[test]
    fn everything_that_a_sign_names_has_to_fit() {
        let header = || named("x-priority", Some("high"));
        let sign = |path: &str, peer: &str| SignConfig {
            cookie: None,
            header: header(),
            path: Some(path.to_owned()),
            peer: Some(peer.parse().unwrap()),
        };
        let fields = [("x-priority", "low"), ("x-priority", "high")];
        assert!(is_high(sign("/admin/", "10.0.0.0/8"), &fields));
        assert!(!is_high(sign("/admin/", "11.0.0.0/8"), &fields));
        assert!(!is_high(sign("/shop/", "10.0.0.0/8"), &fields));
        assert!(!is_high(sign("/admin/", "10.0.0.0/8"), &fields[..1]));
    }

    #[test]
    fn high_counts_more_than_low() {
        let every = || vec![SignConfig { path: Some("/".to_owned()), ..SignConfig::default() }];
        let headers = HeaderMap::new();
        let look = Look { headers: &headers, path: "/x", client: [10, 1, 2, 3].into() };
        let class = |high, low| look.class(&QueueConfig { high, low, ..QueueConfig::default() });
        assert_eq!(class(every(), every()), Class::High);
        assert_eq!(class(Vec::new(), every()), Class::Low);
        assert_eq!(class(Vec::new(), Vec::new()), Class::Normal);
    }
}
