//! Where a link leads, from the request whose answer it stands in (RFC 3986 §5.2, without dots, which paths of
//! applications don't have); pure.

use hyper::Uri;
use hyper::http::uri::PathAndQuery;

use super::Link;

impl Link {
    /// The path and query that it leads to on the same host; `None` where it leads elsewhere, or nowhere.
    pub fn target(&self, from: &Uri, host: &str) -> Option<PathAndQuery> {
        let link = &*self.0;
        let path = from.path();
        let target = match link.split_once("://") {
            Some((_, rest)) => {
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                let slash = if path.starts_with('/') { "" } else { "/" };
                authority.eq_ignore_ascii_case(host).then(|| format!("{slash}{path}"))?
            }
            None if link.starts_with("//") => return None,
            None if link.starts_with('/') => link.to_owned(),
            None if link.starts_with('?') => format!("{path}{link}"),
            None => format!("{}/{link}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        let target = target.split('#').next().unwrap_or_default();
        target.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_from_the_request_to_another_path_of_the_same_host() {
        let from: Uri = "/events/all?x=1".parse().unwrap();
        for (link, target) in [
            ("/next?a=1", Some("/next?a=1")),
            ("page3?z=1", Some("/events/page3?z=1")),
            ("?p=2", Some("/events/all?p=2")),
            ("http://Example.com/next", Some("/next")),
            ("http://example.com?x", Some("/?x")),
            ("http://other.example/next", None),
            ("//other.example/next", None),
        ] {
            let found = Link(link.into()).target(&from, "example.com");
            assert_eq!(found.as_ref().map(PathAndQuery::as_str), target, "{link}");
        }
    }
}
