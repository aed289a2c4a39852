//! `presence`: whose coming and going is watched on which channels, and who is told.

use std::time::Duration;

use hyper::Uri;

use super::form::{self, Form, Unfit};
use super::redirect::HTTPS_PORT;
use super::section::{Key, Section, Value};
use super::upstream_tls::{Roots, signers};

/// One entry of `presence`: how some channels are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceConfig {
    /// Names of channels, or beginnings of names with a `*` behind them.
    pub channels: Vec<String>,
    /// How long a member without a connection is still there.
    pub grace: Duration,
    /// Name of the channel that joins and leaves are published to, perhaps with `{channel}` in it.
    pub publish: Option<String>,
    /// Where they are posted to.
    pub post: Option<PostUrl>,
    /// Whose certificates are believed there where that is `https`.
    pub roots: Roots,
    /// Members of one channel.
    pub members: usize,
    /// Members of all these channels together.
    pub all_members: usize,
    /// Joins and leaves of one post.
    pub batch: usize,
    /// Joins and leaves that wait to be told.
    pub queue: usize,
}

/// A URL, in parts.
#[derive(Clone, PartialEq, Eq)]
pub struct PostUrl {
    /// Whether it is `https`.
    pub secure: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, also where the URL leaves it out.
    pub port: u16,
    /// What `Host` says.
    pub authority: String,
    /// Path and query, which may hold a secret.
    pub target: String,
}

impl PostUrl {
    /// In the text of a request: as a form reads it.
    pub fn read(text: &str) -> Option<PostUrl> {
        POST.read(text).ok()
    }
}

/// Shows where it leads, and not what is said there.
impl std::fmt::Debug for PostUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}/…", if self.secure { "https" } else { "http" }, self.authority)
    }
}

impl Default for PresenceConfig {
    fn default() -> Self {
        PresenceConfig {
            channels: Vec::new(),
            // A page that is loaded anew and the longest usual reconnection time of a browser take less.
            grace: Duration::from_secs(10),
            publish: None,
            post: None,
            // As for servers of pools.
            roots: Roots::default(),
            // A room that people know one another in has fewer.
            members: 10_000,
            // As many as there may be held connections.
            all_members: 1_000_000,
            // Some hundred kilobytes of JSON.
            batch: 1000,
            // Some minutes of an application that is being restarted.
            queue: 10_000,
        }
    }
}

/// Reads the list.
pub(super) fn presence(into: &mut Vec<PresenceConfig>, value: Value<'_>) {
    value.each(|item| {
        let mut entry = PresenceConfig::default();
        PRESENCE.fill(&mut entry, item);
        into.push(entry);
    });
}

pub(super) static PRESENCE: Section<PresenceConfig> = Section {
    short: None,
    required: &[("channels", CHANNELS.expected)],
    keys: &[
        Key::new("channels", |entry, value| {
            value.each_of_some(|item| entry.channels.extend(item.read(&CHANNELS)));
        }),
        Key::new("grace", |entry, value| value.put(&mut entry.grace, &form::DELAY)),
        Key::new("publish", |entry, value| entry.publish = value.read(&CHANNEL)),
        Key::new("post", |entry, value| entry.post = value.read(&POST)),
        Key::new("ca", |entry, value| entry.roots = signers(value)),
        Key::new("members", |entry, value| value.put(&mut entry.members, &form::COUNT)),
        Key::new("all_members", |entry, value| value.put(&mut entry.all_members, &form::COUNT)),
        Key::new("batch", |entry, value| value.put(&mut entry.batch, &form::COUNT)),
        Key::new("queue", |entry, value| value.put(&mut entry.queue, &form::COUNT)),
    ],
};

/// Bytes of a channel's name.
const NAME_MAX: usize = 1024;
/// The port of `http` (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

static CHANNELS: Form<String> = Form {
    expected: "the name of a channel, or the beginning of names with a `*` behind it such as room-*",
    read: |text| {
        let beginning = text.strip_suffix('*').unwrap_or(text);
        if beginning.contains('*') { Err(Unfit::Unlike) } else { (CHANNEL.read)(text) }
    },
};

static CHANNEL: Form<String> = Form {
    expected: "the name of a channel, in which `{channel}` stands for the watched one's",
    read: |text| {
        let fits = (1..=NAME_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

pub(super) static POST: Form<PostUrl> = Form {
    expected: "a URL such as http://127.0.0.1:8000/presence",
    read: |text| {
        let url: Uri = text.parse().map_err(|_| Unfit::Unlike)?;
        let (secure, usual) = match url.scheme_str() {
            Some("http") => (false, HTTP_PORT),
            Some("https") => (true, HTTPS_PORT),
            _ => return Err(Unfit::Unlike),
        };
        let is_plain = !text.contains(['@', '#']);
        let authority = url.authority().filter(|authority| is_plain && !authority.host().is_empty());
        let authority = authority.ok_or(Unfit::Unlike)?;
        Ok(PostUrl {
            secure,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(usual),
            authority: authority.as_str().to_owned(),
            target: url.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_their_path() {
        let read = |text| POST.read(text).ok().map(|url| (url.host, url.port, url.authority, url.target));
        let parts = |host: &str, port, authority: &str, target: &str| {
            Some((host.to_owned(), port, authority.to_owned(), target.to_owned()))
        };
        for (text, expected) in [
            ("http://127.0.0.1:8000/a?key=x", parts("127.0.0.1", 8000, "127.0.0.1:8000", "/a?key=x")),
            ("http://app", parts("app", 80, "app", "/")),
            ("http://[::1]:1/", parts("::1", 1, "[::1]:1", "/")),
            ("https://app/x", parts("app", 443, "app", "/x")),
            ("ftp://app/", None),
            ("http://user@app/", None),
            ("http://app/#x", None),
            ("/presence", None),
            ("app:80", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(format!("{:?}", POST.read("http://app/?key=x").unwrap()), "http://app/…");
        assert_eq!(format!("{:?}", POST.read("https://app/?key=x").unwrap()), "https://app/…");
    }

    #[test]
    fn channels_are_names_or_beginnings_of_names() {
        for (text, good) in [
            ("room-1", true),
            ("room-*", true),
            ("*", true),
            ("*-room", false),
            ("a*b*", false),
            ("a\nb", false),
            ("", false),
        ] {
            assert_eq!(CHANNELS.read(text).is_ok(), good, "{text}");
        }
    }
}
