//! Where a link leads, from the request whose answer it stands in (RFC 3986 §5.2); pure.

use std::borrow::Cow;
use std::fmt::Write;

use hyper::Uri;
use hyper::http::uri::PathAndQuery;

use super::Link;

impl Link {
    /// As it stands there. What may not stand in a URI is encoded (RFC 3987 §3.1): applications write names of channels
    /// as they are.
    pub(super) fn read(text: &str) -> Option<Link> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return None;
        }
        let mut link = String::new();
        for letter in text.chars() {
            match letter.is_ascii_graphic() {
                true => link.push(letter),
                false => letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                    let _ = write!(link, "%{byte:02X}");
                }),
            }
        }
        Some(Link(link.into()))
    }

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
        without_dots(target).parse().ok()
    }
}

/// Without `.` and `..` in its path (RFC 3986 §5.2.4).
fn without_dots(target: &str) -> Cow<'_, str> {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    if !path.contains("/.") {
        return Cow::Borrowed(target);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let folder = if path.ends_with("/.") || path.ends_with("/..") { "/" } else { "" };
    let slash = if kept.is_empty() && !folder.is_empty() { "" } else { "/" };
    Cow::Owned(format!("{slash}{}{folder}{query}", kept.join("/")))
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
            ("../next?a=/..", Some("/next?a=/..")),
            ("./next", Some("/events/next")),
            ("..", Some("/")),
            ("../../../a/./b/.", Some("/a/b/")),
            ("/.hidden", Some("/.hidden")),
        ] {
            let found = Link(link.into()).target(&from, "example.com");
            assert_eq!(found.as_ref().map(PathAndQuery::as_str), target, "{link}");
        }
    }

    #[test]
    fn what_may_not_stand_in_a_uri_is_encoded() {
        let read = |text| Link::read(text).map(|link| link.0.into_string());
        assert_eq!(read("/n?c=é b&d=%20").as_deref(), Some("/n?c=%C3%A9%20b&d=%20"));
        assert_eq!((read(""), read("/a\u{7f}")), (None, None));
    }
}
