//! Which route a request is for: host, then path; pure.
//!
//! Hosts are compared without port, trailing dot and case: exactly, else by the longest `*.suffix` (which stands for
//! one or more labels), else `*`. Among the routes of a site the longest path wins whatever their order: `/a/` matches
//! what begins with it, `/a` matches itself and everything below `/a/`, `/` everything.
//!
//! Paths are compared after decoding what two servers could read differently (`%61`, `//`, `.` and `..` segments,
//! RFC 3986 §6.2.2), so that `/x/../admin` can't get around the route `/admin`; the application is sent the original.
//! An encoded slash, backslash or NUL makes a path ambiguous: only a site without any route but `/` serves it.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::edge::plain_path;

/// Hosts and paths, each leading to a target.
#[derive(Debug)]
pub struct Router<T> {
    sites: Vec<Site<T>>,
    exact: HashMap<String, usize>,
    /// By what follows the star, its dot included.
    suffixes: HashMap<String, usize>,
    any: Option<usize>,
}

/// A site as it is routed.
#[derive(Debug)]
pub struct Site<T> {
    /// Host patterns in lower case.
    pub hosts: Vec<String>,
    /// Paths and their targets.
    pub routes: Vec<(String, T)>,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// To this target, at this index of a site.
    Route(usize, &'a T),
    /// The site has no route for the path.
    NoRoute(usize),
    /// No site is meant by the host.
    NoSite,
    /// The path may mean two things, and the site has more than one route.
    Ambiguous(usize),
}

impl<T> Router<T> {
    /// Of sites whose hosts are distinct.
    pub fn new(mut sites: Vec<Site<T>>) -> Router<T> {
        let (mut exact, mut suffixes, mut any) = (HashMap::new(), HashMap::new(), None);
        for (index, site) in sites.iter_mut().enumerate() {
            site.routes.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
            for host in &site.hosts {
                match host.strip_prefix('*') {
                    Some("") => any = Some(index),
                    Some(suffix) => drop(suffixes.insert(suffix.to_owned(), index)),
                    None => drop(exact.insert(host.clone(), index)),
                }
            }
        }
        Router { sites, exact, suffixes, any }
    }

    /// The route for an authority (a Host, or that of an absolute target) and the path of a target.
    pub fn find(&self, authority: &str, path: &str) -> Found<'_, T> {
        let Some(index) = self.site(authority) else { return Found::NoSite };
        self.find_in(index, path)
    }

    /// The route of a site by its index, for the path of a target.
    pub fn find_in(&self, index: usize, path: &str) -> Found<'_, T> {
        let routes = &self.sites[index].routes;
        // One route for everything, as most sites have: nothing to be mistaken about.
        if let [(root, target)] = routes.as_slice()
            && root == "/"
        {
            return Found::Route(index, target);
        }
        let Some(path) = plain_path(path) else { return Found::Ambiguous(index) };
        let found = routes.iter().find(|(prefix, _)| matches(prefix, &path));
        found.map_or(Found::NoRoute(index), |(_, target)| Found::Route(index, target))
    }

    fn site(&self, authority: &str) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() {
            return self.any;
        }
        let host = host(authority);
        let host = host.as_ref();
        if let Some(index) = self.exact.get(host) {
            return Some(*index);
        }
        if self.suffixes.is_empty() {
            return self.any;
        }
        let dots = host.match_indices('.').map(|(at, _)| at);
        let mut suffixes = dots.filter_map(|at| self.suffixes.get(&host[at..]));
        suffixes.next().copied().or(self.any)
    }
}

/// The host of an authority as patterns are written: no port, no trailing dot, lower case.
fn host(authority: &str) -> Cow<'_, str> {
    let host = match memchr::memrchr(b':', authority.as_bytes()) {
        Some(colon) if !authority.ends_with(']') => &authority[..colon],
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    }
}

fn matches(prefix: &str, path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(prefix.as_bytes()) else { return false };
    prefix.ends_with('/') || rest.is_empty() || rest[0] == b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str, hosts: &[&str], paths: &[&str]) -> Site<String> {
        Site {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            routes: paths.iter().map(|path| ((*path).to_owned(), format!("{name}{path}"))).collect(),
        }
    }

    fn router() -> Router<String> {
        Router::new(vec![
            site("shop", &["shop.example", "*.shop.example"], &["/", "/admin", "/static/", "/admin/logs"]),
            site("api", &["api.shop.example"], &["/v1/"]),
            site("deep", &["*.api.shop.example"], &["/"]),
            site("v6", &["[::1]"], &["/"]),
        ])
    }

    fn find(authority: &str, path: &str) -> String {
        match router().find(authority, path) {
            Found::Route(_, target) => target.clone(),
            Found::NoRoute(site) => format!("no route in {site}"),
            Found::NoSite => "no site".into(),
            Found::Ambiguous(_) => "ambiguous".into(),
        }
    }

    #[test]
    fn the_host_chooses_the_site() {
        for (authority, expected) in [
            ("shop.example", "shop/"),
            ("SHOP.Example:8080", "shop/"),
            ("shop.example.", "shop/"),
            ("shop.example.:80", "shop/"),
            ("www.shop.example", "shop/"),
            ("a.b.shop.example", "shop/"),
            ("api.shop.example", "no route in 1"),
            ("x.api.shop.example", "deep/"),
            ("[::1]", "v6/"),
            ("[::1]:8443", "v6/"),
            ("myshop.example", "no site"),
            ("example", "no site"),
            ("", "no site"),
        ] {
            assert_eq!(find(authority, "/"), expected, "{authority}");
        }
        let any = Router::new(vec![site("x", &["x.test"], &["/"]), site("any", &["*"], &["/"])]);
        assert_eq!(any.find("y.test", "/"), Found::Route(1, &"any/".to_owned()));
        assert_eq!(any.find("", "/"), Found::Route(1, &"any/".to_owned()));
    }

    #[test]
    fn the_longest_path_wins_as_it_would_be_read_by_a_server() {
        for (path, expected) in [
            ("/", "shop/"),
            ("/x", "shop/"),
            ("*", "no route in 0"),
            ("/admin", "shop/admin"),
            ("/admin/", "shop/admin"),
            ("/admin/x", "shop/admin"),
            ("/administrator", "shop/"),
            ("/admin/logs/1", "shop/admin/logs"),
            ("/static", "shop/"),
            ("/static/x.css", "shop/static/"),
            ("/Admin", "shop/"),
            ("/x/../admin", "shop/admin"),
            ("/x/%2e%2E/admin", "shop/admin"),
            ("/x/..;a=b/admin", "shop/admin"),
            ("/../../admin", "shop/admin"),
            ("//admin", "shop/admin"),
            ("/./admin/./logs", "shop/admin/logs"),
            ("/%61dmin", "shop/admin"),
            ("/admin/../x", "shop/"),
            ("/static/..", "shop/"),
            ("/static/.", "shop/static/"),
            ("/static//", "shop/static/"),
            ("/100%", "shop/"),
            ("/%zz", "shop/"),
            ("/admin%2flogs", "ambiguous"),
            ("/a%5Cb", "ambiguous"),
            ("/a\\b", "ambiguous"),
            ("/admin%00", "ambiguous"),
        ] {
            assert_eq!(find("shop.example", path), expected, "{path}");
        }
    }

    #[test]
    fn a_site_with_one_route_for_everything_serves_what_would_be_ambiguous() {
        assert_eq!(find("x.api.shop.example", "/a%2Fb"), "deep/");
        assert_eq!(find("x.api.shop.example", "*"), "deep/");
        assert_eq!(find("api.shop.example", "/v1"), "no route in 1");
        assert_eq!(find("api.shop.example", "/v1/x"), "api/v1/");
    }
}
