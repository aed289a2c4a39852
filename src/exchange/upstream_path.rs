//! What takes the place of a route's path in requests to the application; pure.

use hyper::Uri;

use super::refusal::Refusal;
use crate::edge::behind;
use crate::upstream::Fields;

/// Tells the application what its own links have to begin with, as other proxies call it.
const FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// `upstream_path` of a route.
pub struct UpstreamPath {
    /// That of the route.
    path: Box<str>,
    becomes: Box<str>,
    /// What is in front of the application's own paths, if they are the same behind that.
    prefix: Option<Box<str>>,
}

impl UpstreamPath {
    /// For a route of this path.
    pub fn new(path: &str, becomes: &str) -> UpstreamPath {
        let bare = |path: &str| path.trim_end_matches('/').to_owned();
        let prefix =
            bare(path).strip_suffix(&bare(becomes)).filter(|prefix| !prefix.is_empty()).map(Box::from);
        UpstreamPath { path: path.into(), becomes: becomes.into(), prefix }
    }

    /// What the application is asked for by a request for `uri`: path and query. Both ways of writing the place where the
    /// two paths meet give one slash.
    ///
    /// # Errors
    /// The path could mean two things, one of them outside of what the application has below `becomes`.
    pub(super) fn target(&self, uri: &Uri) -> Result<String, Refusal> {
        // Of the whole server (RFC 9112 §3.2.4).
        if uri.path() == "*" {
            return Ok("*".to_owned());
        }
        let rest = behind(uri.path(), &self.path);
        let rest =
            rest.ok_or(Refusal::BadRequest("the path has an encoded slash, a backslash or a zero byte"))?;
        let mut target = String::with_capacity(self.becomes.len() + uri.path().len() + 1);
        match &*rest {
            "" => target.push_str(&self.becomes),
            rest => {
                target.push_str(self.becomes.trim_end_matches('/'));
                target.push('/');
                target.push_str(rest.strip_prefix('/').unwrap_or(rest));
            }
        }
        if let Some(query) = uri.query() {
            target.push('?');
            target.push_str(query);
        }
        Ok(target)
    }

    /// Says what the application's own paths stand behind, for those that make links by it.
    pub(super) fn say(&self, fields: &mut Fields<'_>) {
        let Some(prefix) = &self.prefix else { return };
        // A proxy before this one may have taken something away, too.
        let before = fields.all(FORWARDED_PREFIX).next().map(<[u8]>::to_vec).unwrap_or_default();
        fields.set(FORWARDED_PREFIX, [&before, prefix.as_bytes()].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, becomes: &str, uri: &str) -> String {
        let target = UpstreamPath::new(path, becomes).target(&uri.parse().unwrap());
        target.unwrap_or_else(|refusal| refusal.status().as_str().to_owned())
    }

    #[test]
    fn what_is_behind_the_path_of_the_route_stands_behind_another() {
        for (path, becomes, uri, expected) in [
            ("/shop", "/", "/shop/a?b=/c", "/a?b=/c"),
            ("/shop", "/", "/shop", "/"),
            ("/shop", "/", "/shop?x", "/?x"),
            ("/shop/", "/", "/shop/", "/"),
            ("/shop/", "/", "/shop/a/", "/a/"),
            ("/shop/", "/app", "/shop/a", "/app/a"),
            ("/shop/", "/app", "/shop/", "/app"),
            ("/shop", "/app/", "/shop/a", "/app/a"),
            ("/", "/app", "/a", "/app/a"),
            ("/", "/app", "/", "/app"),
            ("/shop", "/", "http://example.com/shop/a", "/a"),
            ("/shop", "/", "*", "*"),
            // As it was written, where that can be read in one way only.
            ("/shop", "/", "/sh%6Fp/a%20b%3Bc/%C3%A9", "/a%20b%3Bc/%C3%A9"),
            ("/shop", "/", "/shop/100%", "/100%"),
            // Nothing leads out of what the application has there.
            ("/shop", "/app", "/shop/../shop/a", "/app/a"),
            ("/shop", "/app", "/shop/x/%2e%2E/a%20b", "/app/a%20b"),
            ("/shop", "/app", "//shop//a", "/app/a"),
            ("/shop", "/app", "/x/..;y/shop/a;v=1", "/app/a;v=1"),
            ("/", "/app", "/../a", "/app/a"),
            ("/", "/app", "/..%2fa", "400"),
            ("/", "/app", "/a\\b", "400"),
        ] {
            assert_eq!(target(path, becomes, uri), expected, "{path} {becomes} {uri}");
        }
    }

    #[test]
    fn the_application_hears_what_its_paths_stand_behind() {
        let said = |path: &str, becomes: &str, before: &'static str| {
            let mut fields = Fields::default();
            if !before.is_empty() {
                fields.add(FORWARDED_PREFIX, before.as_bytes());
            }
            UpstreamPath::new(path, becomes).say(&mut fields);
            let said =
                fields.all(FORWARDED_PREFIX).next().map(|said| String::from_utf8_lossy(said).into_owned());
            said.unwrap_or_default()
        };
        assert_eq!(said("/shop", "/", ""), "/shop");
        assert_eq!(said("/shop/", "/", "/eu"), "/eu/shop");
        assert_eq!(said("/shop/api/", "/api/", ""), "/shop");
        assert_eq!(said("/shop", "/app", ""), "", "no prefix makes one of the other");
        assert_eq!(said("/", "/app", ""), "");
    }
}
