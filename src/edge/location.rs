//! Where else a request belongs: with TLS, to the one host of its site, or to where its route leads.

use hyper::http::uri::PathAndQuery;
use hyper::{StatusCode, Uri};

use crate::config::{Carry, HTTPS_PORT, RedirectConfig, SiteConfig};

/// How every request of a site is to be addressed.
pub struct Canon {
    /// What stands behind the host of an address with TLS, for those who came without; nothing for the usual port.
    https: Option<Box<str>>,
    host: Option<Box<str>>,
}

impl Canon {
    /// As configured; `None` where any address is right.
    pub fn new(site: &SiteConfig) -> Option<Canon> {
        let host = site.canonical.as_deref().map(Box::from);
        let port = |port: u16| if port == HTTPS_PORT { "".into() } else { format!(":{port}").into() };
        let https = site.https.map(port);
        (https.is_some() || host.is_some()).then_some(Canon { https, host })
    }

    /// Where a request belongs that came by this address; `None` where it is right, or names no host to go to.
    pub fn location(&self, secure: bool, authority: &str, target: &Uri) -> Option<String> {
        let (host, port) = split(authority);
        let other = self.host.as_deref().filter(|other| !other.eq_ignore_ascii_case(host));
        let upgrade = self.https.as_deref().filter(|_| !secure);
        if host.is_empty() || upgrade.is_none() && other.is_none() {
            return None;
        }
        let scheme = if secure || upgrade.is_some() { "https" } else { "http" };
        // The port that the request came to is that of plain HTTP, and says nothing of where TLS is.
        let port = upgrade.unwrap_or(port);
        let host = other.unwrap_or(host);
        Some(format!("{scheme}://{host}{port}{}", path_and_query(target)))
    }
}

/// Host, and port with its colon.
fn split(authority: &str) -> (&str, &str) {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
        _ => (authority, ""),
    };
    (host.strip_suffix('.').unwrap_or(host), port)
}

fn path_and_query(target: &Uri) -> &str {
    let path = target.path_and_query().map_or("/", PathAndQuery::as_str);
    // `OPTIONS *` means the server as a whole.
    if path == "*" { "/" } else { path }
}

/// A route that leads elsewhere.
pub struct Redirect {
    /// The status that says so.
    pub status: StatusCode,
    to: Box<str>,
    carry: Carry,
    /// Of the route.
    path: Box<str>,
}

impl Redirect {
    /// Of the route with this path.
    pub fn new(path: &str, config: &RedirectConfig) -> Redirect {
        let RedirectConfig { to, status, carry } = config;
        Redirect { status: *status, to: to.as_str().into(), carry: *carry, path: path.into() }
    }

    /// Where this target leads.
    pub fn location(&self, target: &Uri) -> String {
        let rest = match self.carry {
            Carry::Off => return self.to.to_string(),
            Carry::Whole => path_and_query(target),
            // A path that was only equal after decoding has nothing behind that could be told apart.
            Carry::Rest => path_and_query(target).strip_prefix(&*self.path).unwrap_or_default(),
        };
        let to = self.to.trim_end_matches('/');
        match rest.as_bytes().first() {
            None => self.to.to_string(),
            Some(b'?') => format!("{}{rest}", self.to),
            // One slash exactly: two at the beginning of a path, or a backslash, would make a host of what follows.
            Some(_) => format!("{to}/{}", rest.trim_start_matches(['/', '\\'])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canon(https: Option<&str>, host: Option<&str>) -> Canon {
        Canon { https: https.map(Box::from), host: host.map(Box::from) }
    }

    #[test]
    fn a_site_has_one_address() {
        let table = [
            (Some(""), None, false, "a.example", Some("https://a.example/p?q=1")),
            (Some(""), None, false, "a.example:8080", Some("https://a.example/p?q=1")),
            (Some(":8443"), None, false, "a.example:8080", Some("https://a.example:8443/p?q=1")),
            (Some(":8443"), None, true, "a.example:8080", None),
            (Some(""), None, true, "a.example", None),
            (Some(""), None, false, "", None),
            (Some(""), None, false, "[::1]:80", Some("https://[::1]/p?q=1")),
            (None, Some("a.example"), false, "www.a.example:8080", Some("http://a.example:8080/p?q=1")),
            (None, Some("a.example"), true, "www.a.example", Some("https://a.example/p?q=1")),
            (None, Some("a.example"), false, "A.Example", None),
            (None, Some("a.example"), false, "a.example.", None),
            (Some(""), Some("a.example"), false, "www.a.example:80", Some("https://a.example/p?q=1")),
            (Some(":8443"), Some("a.example"), false, "www.a.example", Some("https://a.example:8443/p?q=1")),
            (Some(""), Some("a.example"), false, "a.example", Some("https://a.example/p?q=1")),
            (Some(""), Some("a.example"), true, "a.example:8443", None),
        ];
        for (https, host, secure, authority, location) in table {
            let found = canon(https, host).location(secure, authority, &"/p?q=1".parse().unwrap());
            assert_eq!(found.as_deref(), location, "{https:?} {host:?} {secure} {authority}");
        }
        let server = canon(Some(""), None).location(false, "a", &Uri::from_static("*"));
        assert_eq!(server.as_deref(), Some("https://a/"));
    }

    #[test]
    fn a_redirect_carries_what_it_is_told_to_and_never_to_another_host() {
        use Carry::{Off, Rest, Whole};
        let table = [
            ("https://b.example/new", Off, "/old", "/old/a?b", "https://b.example/new"),
            ("https://b.example", Whole, "/", "/a?b", "https://b.example/a?b"),
            ("https://b.example/", Whole, "/old", "/old/a", "https://b.example/old/a"),
            ("https://b.example/new", Rest, "/old", "/old/a/b?c", "https://b.example/new/a/b?c"),
            ("https://b.example/new/", Rest, "/old/", "/old/a", "https://b.example/new/a"),
            ("https://b.example/new", Rest, "/old", "/old", "https://b.example/new"),
            ("https://b.example/new", Rest, "/old", "/old?a", "https://b.example/new?a"),
            ("https://b.example/new", Rest, "/old", "/%6fld/a", "https://b.example/new"),
            ("/", Rest, "/old", "/old//evil.example/", "/evil.example/"),
            ("/", Whole, "/", "//evil.example/", "/evil.example/"),
            ("/new", Rest, "/old", "/old/a", "/new/a"),
        ];
        for (to, carry, path, target, location) in table {
            let config = RedirectConfig { to: to.into(), status: StatusCode::FOUND, carry };
            let target = PathAndQuery::try_from(target).unwrap();
            assert_eq!(Redirect::new(path, &config).location(&Uri::from(target)), location, "{to} {path}");
        }
    }
}
