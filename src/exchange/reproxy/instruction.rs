//! What an application's answer says about where the rest of it lies; pure.
//!
//! Perlbal's words are X-Reproxy-*, nginx's is X-Accel-Redirect, Apache's and lighttpd's X-Sendfile. Where an answer
//! says several, a file counts more than an internal path, that more than URLs, and a site least.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;

use super::cometd::{self, Cometd};
use super::{Handoffs, Reproxy};
use crate::files::{Folder, Name};
use crate::hold::BadInstruction;

/// URLs that are tried; more would be a wait without an end for the client.
const URLS_MAX: usize = 16;
/// How long an answer may be remembered.
const CACHED_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Headers that may be remembered with it.
const CACHED_HEADERS_MAX: usize = 32;
/// Characters of a bad value that an operator reads.
const QUOTED_CHARS: usize = 200;

/// Where the rest of an answer lies.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::exchange) struct Instruction {
    pub(super) target: Target,
    /// Bytes that the whole of it has.
    pub(super) expected_size: Option<u64>,
    /// Whether it may be remembered.
    pub(super) cached: Option<Cached>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// In this folder.
    File(Arc<Folder>, Name),
    /// At another route of the same site.
    Path(PathAndQuery),
    /// At one of these, the first that can be read.
    Urls(Vec<Uri>),
    /// At the same path of another site, perhaps for this client of Bayeux.
    Site(Box<str>, Option<Box<Cometd>>),
}

/// How long which of its headers are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cached {
    pub(super) time: Duration,
    pub(super) headers: Vec<HeaderName>,
}

/// Reads the head of an answer. What nothing is configured for is as if it weren't there.
pub(in crate::exchange) fn read(
    headers: &HeaderMap,
    handoffs: &Handoffs,
) -> Result<Option<Instruction>, BadInstruction> {
    let Some(target) = target(headers, handoffs)? else { return Ok(None) };
    let expected_size = match field(headers, "x-reproxy-expected-size") {
        Some(value) => Some(
            number(value)
                .ok_or_else(|| bad("X-Reproxy-Expected-Size", value, "expected is a number of bytes"))?,
        ),
        None => None,
    };
    let cached = match field(headers, "x-reproxy-cache-for") {
        Some(value) => Some(cached(value).ok_or_else(|| {
            bad("X-Reproxy-Cache-For", value, "expected are seconds, and names of headers behind a semicolon")
        })?),
        None => None,
    };
    Ok(Some(Instruction { target, expected_size, cached }))
}

fn target(headers: &HeaderMap, handoffs: &Handoffs) -> Result<Option<Target>, BadInstruction> {
    let Handoffs { reproxy, redirects } = handoffs;
    for (name, written) in [("x-reproxy-file", "X-Reproxy-File"), ("x-sendfile", "X-Sendfile")] {
        if let Some(value) = field(headers, name).filter(|_| !reproxy.folders.is_empty()) {
            let found = reproxy.file(value.as_bytes());
            let (folder, file) =
                found.ok_or_else(|| bad(written, value, "it is no file below a folder of reproxy.files"))?;
            return Ok(Some(Target::File(folder, file)));
        }
    }
    if let Some(value) = field(headers, "x-accel-redirect").filter(|_| *redirects) {
        let path = path(value).ok_or_else(|| bad("X-Accel-Redirect", value, "expected is a path"))?;
        return Ok(Some(Target::Path(path)));
    }
    if let Some(value) = field(headers, "x-reproxy-url").filter(|_| !reproxy.allowed.is_empty()) {
        return Ok(Some(Target::Urls(urls(value))));
    }
    if let Some(value) = field(headers, "x-reproxy-service").filter(|_| !reproxy.sites.is_empty()) {
        let site =
            value.to_str().ok().and_then(|name| reproxy.sites.iter().find(|site| ***site == *name.trim()));
        let site = site.ok_or_else(|| bad("X-Reproxy-Service", value, "it is no site of reproxy.sites"))?;
        return Ok(Some(Target::Site(site.clone(), cometd::read(headers)?)));
    }
    Ok(None)
}

impl Reproxy {
    /// The folder that an absolute path lies in, the innermost where they are nested.
    fn file(&self, path: &[u8]) -> Option<(Arc<Folder>, Name)> {
        use std::os::unix::ffi::OsStrExt;
        let below = |folder: &Arc<Folder>| {
            let root = folder.path.as_os_str().as_bytes();
            let rest = path.strip_prefix(root.strip_suffix(b"/").unwrap_or(root))?;
            let name = Name::of_application(rest).filter(|_| rest.starts_with(b"/"))?;
            Some((folder.clone(), name, rest.len()))
        };
        let innermost = self.folders.iter().filter_map(below).min_by_key(|(.., rest)| *rest);
        innermost.map(|(folder, name, _)| (folder, name))
    }
}

pub(super) fn field<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a HeaderValue> {
    headers.get(HeaderName::from_static(name)).filter(|value| !value.is_empty())
}

/// A path as applications write it: escaped, or with spaces and UTF-8 as they are.
fn path(value: &HeaderValue) -> Option<PathAndQuery> {
    let mut text = String::with_capacity(value.len());
    for &byte in value.as_bytes() {
        match byte {
            b'!'..=b'~'
                if !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#') =>
            {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    PathAndQuery::try_from(text).ok().filter(|path| path.path().starts_with('/'))
}

/// Those that are URLs; one that isn't is as good as one that can't be reached.
fn urls(value: &HeaderValue) -> Vec<Uri> {
    let words = value.as_bytes().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.filter_map(|word| Uri::try_from(word).ok()).take(URLS_MAX).collect()
}

fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `300; Last-Modified Content-Type`.
fn cached(value: &HeaderValue) -> Option<Cached> {
    let text = value.to_str().ok()?;
    let (seconds, names) = text.split_once(';').unwrap_or((text, ""));
    let time = Duration::from_secs(seconds.trim().parse().ok()?).min(CACHED_MAX);
    let names = names.split([' ', ',', ';']).filter(|name| !name.is_empty());
    let headers: Vec<HeaderName> = names.map(|name| name.parse().ok()).collect::<Option<_>>()?;
    (headers.len() <= CACHED_HEADERS_MAX).then_some(Cached { time, headers })
}

pub(super) fn bad(header: &'static str, value: &HeaderValue, reason: &str) -> BadInstruction {
    let value = String::from_utf8_lossy(value.as_bytes()).chars().take(QUOTED_CHARS).collect();
    BadInstruction { header, value, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::handoffs;
    use super::*;

    fn said(fields: &[(&'static str, &'static str)]) -> Result<Option<String>, &'static str> {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let read = read(&fields.iter().map(field).collect(), &handoffs()).map_err(|bad| bad.header)?;
        Ok(read.map(|instruction| match instruction.target {
            Target::File(folder, _) => format!("file in {}", folder.path.display()),
            Target::Path(path) => format!("path {path}"),
            Target::Urls(urls) => format!("urls {urls:?}"),
            Target::Site(site, None) => format!("site {site}"),
            Target::Site(site, Some(client)) => format!("{} at site {site}", client.id),
        }))
    }

    #[test]
    fn each_dialect_says_where_the_rest_lies() {
        let table = [
            (("x-sendfile", "/srv/media/a.jpg"), Ok("file in /srv/media")),
            (("x-sendfile", "/srv/media/deep/.x/a"), Ok("file in /srv/media/deep/")),
            (("x-reproxy-file", "/srv/media/a%2e"), Ok("file in /srv/media")),
            (("x-sendfile", "/etc/passwd"), Err("X-Sendfile")),
            (("x-sendfile", "/srv/media/../secret"), Err("X-Sendfile")),
            (("x-sendfile", "/srv/mediaserver/a"), Err("X-Sendfile")),
            (("x-sendfile", "a.jpg"), Err("X-Sendfile")),
            (("x-sendfile", "/srv/media"), Err("X-Sendfile")),
            (("x-accel-redirect", "/kept/a b?x=1"), Ok("path /kept/a%20b?x=1")),
            (("x-accel-redirect", "/kept/%C3%A9"), Ok("path /kept/%C3%A9")),
            (("x-accel-redirect", "@named"), Err("X-Accel-Redirect")),
            (("x-accel-redirect", "http://a/b"), Err("X-Accel-Redirect")),
            (("x-reproxy-url", "http://a/1  http://b/2 ://"), Ok("urls [http://a/1, http://b/2]")),
            (("x-reproxy-service", "chat.example"), Ok("site chat.example")),
            (("x-reproxy-service", "other.example"), Err("X-Reproxy-Service")),
            (("x-cometd", "id=x"), Ok("")),
        ];
        for (field, expected) in table {
            let expected = expected.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
            assert_eq!(said(&[field]), expected, "{field:?}");
        }
        let client = [("x-reproxy-service", "chat.example"), ("x-cometd", "id=x; channels=/a")];
        assert_eq!(said(&client), Ok(Some("x at site chat.example".into())));
        assert_eq!(said(&[("content-type", "a/b"), ("x-sendfile", "")]), Ok(None));
        let both = [("x-reproxy-url", "http://a/"), ("x-reproxy-file", "/srv/media/a")];
        assert_eq!(said(&both), Ok(Some("file in /srv/media".into())));
    }

    #[test]
    fn sizes_and_times_are_numbers() {
        let url = ("x-reproxy-url", "http://a/");
        assert_eq!(said(&[url, ("x-reproxy-expected-size", "12x")]), Err("X-Reproxy-Expected-Size"));
        assert_eq!(said(&[url, ("x-reproxy-cache-for", "soon")]), Err("X-Reproxy-Cache-For"));
        let time = |text| cached(&HeaderValue::from_static(text));
        let expected = Cached {
            time: Duration::from_secs(300),
            headers: vec!["etag".parse().unwrap(), "x-a".parse().unwrap()],
        };
        assert_eq!(time("300; ETag X-A"), Some(expected));
        assert_eq!(time("5").map(|cached| cached.headers.len()), Some(0));
        assert_eq!(time("99999999999999").map(|cached| cached.time), Some(CACHED_MAX));
    }
}
