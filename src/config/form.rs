//! The forms that the text of a value can have: what each looks like, and how it is read.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Uri};
use ipnet::IpNet;
use rustls::pki_types::ServerName;

use super::draft::SyncWord;
use super::problem::nearest;
use super::{
    AccessFormat, Buffer, Carry, Endpoint, LogLevel, NamedConfig, Rate, ServerConfig, SlowReader,
    StoreConfig, UrlPattern, VerifyConfig, Websockets, address, units,
};

/// How one kind of value is written.
pub(super) struct Form<T: 'static> {
    /// What it looks like, for people.
    pub(super) expected: &'static str,
    /// Reads it.
    pub(super) read: fn(&str) -> Result<T, Unfit>,
}

/// Why a text doesn't have a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It isn't even like it.
    Unlike,
    /// It is near to this text, which has the form.
    Meant(String),
}

/// What turns a bound off.
pub(super) const OFF: &str = "off";

/// A wait that ends.
pub(super) static DURATION: Form<Duration> =
    Form { expected: "a duration above zero such as 250ms, 5s, 10m, 1h or 2d", read: some_time };

/// A delay that may be none.
pub(super) static DELAY: Form<Duration> = Form { expected: units::DURATION, read: units::duration };

/// A duration, or `None` for `off`.
pub(super) static DURATION_OR_OFF: Form<Option<Duration>> = Form {
    expected: "a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for no limit",
    read: |text| or_off(text, some_time, units::duration),
};

/// How long a thread may stand still, or `None` for `off`. Threads with nothing to do turn once a second.
pub(super) static PATIENCE: Form<Option<Duration>> = Form {
    expected: "a duration from 5s, or `off`",
    read: |text| match (DURATION_OR_OFF.read)(text)? {
        Some(time) if time < Duration::from_secs(5) => Err(Unfit::Unlike),
        time => Ok(time),
    },
};

/// How often something is done, or `None` for `off`.
pub(super) static INTERVAL: Form<Option<Duration>> = Form {
    expected: "a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for never",
    read: DURATION_OR_OFF.read,
};

/// At least one.
pub(super) static COUNT: Form<usize> = Form { expected: "a whole number from 1", read: some };

/// A bound on a number, or `None` for `off`.
pub(super) static COUNT_OR_OFF: Form<Option<usize>> = Form {
    expected: "a whole number from 1, or `off` for no limit",
    read: |text| or_off(text, some, units::count),
};

/// The same where the type has no room for zero.
pub(super) static NONZERO_OR_OFF: Form<Option<NonZeroUsize>> = Form {
    expected: COUNT_OR_OFF.expected,
    read: |text| (COUNT_OR_OFF.read)(text).map(|count| count.and_then(NonZeroUsize::new)),
};

/// How many times something may happen, or `None` for `off`.
pub(super) static TURNS: Form<Option<NonZeroU32>> = Form {
    expected: COUNT_OR_OFF.expected,
    read: |text| {
        let count = (COUNT_OR_OFF.read)(text)?;
        Ok(count.and_then(|count| u32::try_from(count).ok()).and_then(NonZeroU32::new))
    },
};

/// How many times at least.
pub(super) static TIMES: Form<NonZeroU32> = Form {
    expected: COUNT.expected,
    read: |text| {
        let count = usize_in(units::count(text)?, 1..=u32::MAX.into())?;
        NonZeroU32::new(count as u32).ok_or(Unfit::Unlike)
    },
};

/// Nothing else can stand here by itself.
pub(super) static ONLY_OFF: Form<()> = Form {
    expected: "`off`, or a mapping",
    read: |text| or_off(text, |_| Err(Unfit::Unlike), units::count).map(|_: Option<()>| ()),
};

/// What a server is asked for.
pub(super) static QUESTION: Form<String> = Form {
    expected: "a path such as /up, with a query or without",
    read: |text| {
        let is_path = text.starts_with('/') && text.parse::<Uri>().is_ok();
        if is_path { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// The value of `Host`.
pub(super) static HOST_FIELD: Form<String> = Form {
    expected: "a host such as example.com, with a port or without",
    read: |text| {
        let is_host = text.parse::<Authority>().is_ok() && !text.contains('@');
        if is_host { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// A share of a hundred.
pub(super) static PERCENT: Form<u32> = Form {
    expected: "a share from 0% to 100%",
    read: |text| {
        let number = text.strip_suffix('%').unwrap_or(text);
        let share = usize_in(units::count(number)?, 0..=100)?;
        if number == text { Err(Unfit::Meant(format!("{text}%"))) } else { Ok(share as u32) }
    },
};

/// A number that may be none.
pub(super) static FLOOR: Form<u32> = Form {
    expected: "a whole number",
    read: |text| Ok(usize_in(units::count(text)?, 0..=u32::MAX.into())? as u32),
};

/// A question that changes nothing.
pub(super) static VERIFY: Form<VerifyConfig> = Form {
    expected: "a method and a path such as `OPTIONS /up`, `OPTIONS *`, `HEAD /up` or `GET /up`",
    read: |text| {
        let (method, target) = text.split_once(' ').ok_or(Unfit::Unlike)?;
        let method = match method {
            "OPTIONS" => Method::OPTIONS,
            "HEAD" => Method::HEAD,
            "GET" => Method::GET,
            _ => return Err(Unfit::Unlike),
        };
        let is_target = target.starts_with('/') || target == "*" && method == Method::OPTIONS;
        let target = target.parse::<Uri>().ok().filter(|_| is_target).map(|_| target.to_owned());
        Ok(VerifyConfig { method, target: target.ok_or(Unfit::Unlike)? })
    },
};

/// How many are kept, 0 for `off`.
pub(super) static COUNT_OR_NONE: Form<usize> = Form {
    expected: "a whole number from 1, or `off` for none",
    read: |text| or_off(text, some, units::count).map(Option::unwrap_or_default),
};

/// So many in a time, or `None` for `off`.
pub(super) static RATE_OR_OFF: Form<Option<Rate>> = Form {
    expected: "a number in a time such as 50/s, 600/m or 1000/h, or `off` for no limit",
    read: |text| or_off(text, rate, units::count),
};

/// How many may come at once.
pub(super) static BURST: Form<NonZeroU32> = Form { expected: COUNT.expected, read: nonzero };

/// Threads; more than a thousand are a slip.
pub(super) static THREADS: Form<NonZeroUsize> = Form {
    expected: "a whole number from 1 to 1024",
    read: |text| {
        let threads = usize_in(units::count(text)?, 1..=1024)?;
        NonZeroUsize::new(threads).ok_or(Unfit::Unlike)
    },
};

/// Bytes of something that is kept in memory.
pub(super) static SIZE: Form<usize> = Form {
    expected: "a size from 1B such as 512B, 64KiB, 10MB or 1GiB",
    read: |text| usize_in(units::size(text)?, 1..=usize::MAX as u64),
};

/// Bytes of memory that many share: each of them needs some, or they would wait for one another.
pub(super) static SHARED_SIZE: Form<usize> = Form {
    expected: "a size from 1MiB such as 64MiB, 100MB or 1GiB",
    read: |text| usize_in(units::size(text)?, 1 << 20..=usize::MAX as u64),
};

/// Bytes of something that is passed on, or `None` for `off`.
pub(super) static SIZE_OR_OFF: Form<Option<u64>> = Form {
    expected: "a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for no limit",
    read: |text| or_off(text, |text| SIZE.read(text).map(|bytes| bytes as u64), units::size),
};

/// Bytes of something that is kept in memory, or `None` for `off`.
pub(super) static MEMORY_OR_OFF: Form<Option<usize>> =
    Form { expected: SIZE_OR_OFF.expected, read: |text| or_off(text, |text| SIZE.read(text), units::size) };

/// Bytes of something that is kept, 0 for `off`.
pub(super) static SIZE_OR_NONE: Form<u64> = Form {
    expected: "a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for none",
    read: |text| SIZE_OR_OFF.read(text).map(Option::unwrap_or_default),
};

/// Bytes from which on something is done, or `None` for `off`.
pub(super) static SIZE_OR_NEVER: Form<Option<u64>> = Form {
    expected: "a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for never",
    read: SIZE_OR_OFF.read,
};

/// Which bodies wait in the proxy; several in a list.
pub(super) static BUFFER: Form<Buffer> = Form {
    expected: "request, response, both in a list, or off",
    read: |text| {
        let bodies = |request, response| Buffer { request, response };
        choice(
            text,
            &[
                ("request", bodies(true, false)),
                ("response", bodies(false, true)),
                (OFF, bodies(false, false)),
            ],
        )
    },
};

pub(super) static WEBSOCKETS: Form<Websockets> = Form {
    expected: "through, grip or over_http",
    read: |text| {
        let ways = [
            ("through", Websockets::Through),
            ("grip", Websockets::Grip),
            ("over_http", Websockets::OverHttp),
        ];
        choice(text, &ways)
    },
};

/// Bytes of a request's head: hyper's buffer can't be smaller than 8 KiB.
pub(super) static HEAD_SIZE: Form<usize> = Form {
    expected: "a size from 8KiB to 16MiB",
    read: |text| usize_in(units::size(text)?, 8 << 10..=16 << 20),
};

/// Streams of a connection; more than thousands are a slip.
pub(super) static STREAMS: Form<usize> = Form {
    expected: "a whole number from 1 to 10000",
    read: |text| usize_in(units::count(text)?, 1..=10_000),
};

/// Bytes of a window (RFC 9113 §6.9.2): no smaller than clients may begin with, and four of them fit a connection's.
pub(super) static WINDOW: Form<usize> = Form {
    expected: "a size from 64KiB to 256MiB",
    read: |text| usize_in(units::size(text)?, 64 << 10..=256 << 20),
};

/// Bytes of a request target: the `http` crate's URIs end there.
pub(super) static TARGET_SIZE: Form<usize> =
    Form { expected: "a size from 1B to 65534B", read: |text| usize_in(units::size(text)?, 1..=65534) };

/// Form of the access log.
pub(super) static ACCESS: Form<AccessFormat> = Form {
    expected: "combined, json or off",
    read: |text| {
        use AccessFormat::*;
        choice(text, &[("combined", Combined), ("json", Json), (OFF, Off)])
    },
};

/// Level of the error log.
pub(super) static LEVEL: Form<LogLevel> = Form {
    expected: "error, warn, info, debug or trace",
    read: |text| {
        use LogLevel::*;
        choice(text, &[("error", Error), ("warn", Warn), ("info", Info), ("debug", Debug), ("trace", Trace)])
    },
};

/// Policy for slow readers.
pub(super) static SLOW: Form<SlowReader> = Form {
    expected: "close, skip or newest",
    read: |text| {
        use SlowReader::*;
        choice(text, &[("close", Close), ("skip", Skip), ("newest", Newest)])
    },
};

/// The store that needs no settings.
pub(super) static STORE: Form<StoreConfig> =
    Form { expected: "memory", read: |text| choice(text, &[("memory", StoreConfig::Memory)]) };

/// What names of keys begin with.
pub(super) static PREFIX: Form<String> = Form {
    expected: "1 to 64 letters, digits and any of `-_.:`",
    read: |text| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_fit);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// When what is published is made safe on a disk.
pub(super) static SYNC: Form<SyncWord> = Form {
    expected: "group or interval",
    read: |text| choice(text, &[("group", SyncWord::Group), ("interval", SyncWord::Interval)]),
};

/// An address to listen on.
pub(super) static SOCKET: Form<SocketAddr> =
    Form { expected: "an IP address and a port such as 127.0.0.1:8080 or [::]:443", read: address::socket };

/// An address to listen on that may be a Unix socket.
pub(super) static ENDPOINT: Form<Endpoint> = Form {
    expected: "an IP address and a port such as 127.0.0.1:7070, or unix:/run/perihelion.sock",
    read: address::endpoint,
};

/// A server of a pool.
pub(super) static SERVER: Form<ServerConfig> = Form {
    expected: "http://host:port or https://host:port without a path, or unix:/run/app.sock",
    read: address::server,
};

/// A name that a certificate can be for.
pub(super) static TLS_NAME: Form<ServerName<'static>> = Form {
    expected: "a host name or an IP address such as app.internal",
    read: |text| ServerName::try_from(text.to_owned()).map_err(|_| Unfit::Unlike),
};

/// Something that is done unless it is turned off.
pub(super) static SWITCH: Form<bool> =
    Form { expected: "on, or `off`", read: |text| choice(text, &[("on", true), (OFF, false)]) };

/// A host pattern, in lower case.
pub(super) static HOST: Form<String> = Form {
    expected: "a host without a port such as example.com, \"*.example.com\" or \"*\" for every host",
    read: address::host,
};

/// Whether a site is for TLS only.
pub(super) static HTTPS: Form<bool> =
    Form { expected: HTTPS_SHORT, read: |text| choice(text, &[("redirect", true), (OFF, false)]) };
pub(super) const HTTPS_SHORT: &str = "redirect, or `off`";

/// A port of TCP.
pub(super) static PORT: Form<u16> = Form {
    expected: "a port from 1 to 65535",
    read: |text| text.parse().ok().filter(|port| *port > 0).ok_or(Unfit::Unlike),
};

/// Where a redirect leads.
pub(super) static LOCATION: Form<String> =
    Form { expected: "a URL such as https://example.com/new, or a path", read: address::location };

/// The status of a redirect.
pub(super) static REDIRECT_STATUS: Form<StatusCode> = Form {
    expected: "301, 302, 303, 307 or 308",
    read: |text| {
        let statuses = ["301", "302", "303", "307", "308"];
        let status = StatusCode::from_bytes(text.as_bytes()).map_err(|_| Unfit::Unlike)?;
        if statuses.contains(&text) { Ok(status) } else { Err(Unfit::Unlike) }
    },
};

/// What a redirect carries over.
pub(super) static CARRY: Form<Carry> = Form {
    expected: "off, whole or rest",
    read: |text| choice(text, &[(OFF, Carry::Off), ("whole", Carry::Whole), ("rest", Carry::Rest)]),
};

/// The origin of a page, as browsers write it.
pub(super) static ORIGIN: Form<String> = Form {
    expected: "an origin such as https://www.example.com or http://localhost:8080, or `*` alone for any",
    read: address::origin,
};

/// A path prefix.
pub(super) static PATH: Form<String> = Form {
    expected: "the beginning of a path: a slash, no query, no spaces and no wildcard",
    read: address::path,
};

/// A cookie, with its value or any.
pub(super) static COOKIE: Form<NamedConfig> = Form {
    expected: "the name of a cookie, or a name and its value such as tier=gold",
    read: |text| {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let visible = value.is_none_or(|value| value.bytes().all(|byte| byte.is_ascii_graphic()));
        if !is_token(name) || !visible {
            return Err(Unfit::Unlike);
        }
        Ok(NamedConfig { name: name.to_owned(), value: value.map(str::to_owned) })
    },
};

/// A header field, with its value or any.
pub(super) static HEADER: Form<NamedConfig> = Form {
    expected: "the name of a header field, or a name and its value such as \"X-Priority: high\"",
    read: |text| {
        let (name, value) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value)));
        if !is_token(name) {
            return Err(Unfit::Unlike);
        }
        let value = value.map(|value| value.trim().to_owned());
        Ok(NamedConfig { name: name.to_ascii_lowercase(), value })
    },
};

/// A network, or one address.
pub(super) static NET: Form<IpNet> =
    Form { expected: "an IP address or a network such as 10.0.0.0/8", read: address::net };

/// A file by its path.
pub(super) static FILE: Form<PathBuf> = Form {
    expected: "the path of a file",
    read: |text| {
        if text.is_empty() || text.contains('\0') { Err(Unfit::Unlike) } else { Ok(PathBuf::from(text)) }
    },
};

/// A folder by its path.
pub(super) static FOLDER: Form<PathBuf> = Form { expected: "the path of a folder", read: FILE.read };

/// A folder that exists, whose path doesn't depend on where the proxy was started.
pub(super) static ABSOLUTE_FOLDER: Form<PathBuf> = Form {
    expected: "the path of a folder that exists, from the root",
    read: |text| {
        let path = FILE.read(text)?;
        if path.is_absolute() && path.is_dir() { Ok(path) } else { Err(Unfit::Unlike) }
    },
};

/// URLs by host or network.
pub(super) static URL_PATTERN: Form<UrlPattern> = Form {
    expected: "a host such as media.example, \"*.example.com\" or \"*\", an IP address or a network such as 10.0.0.0/8; a host and an address may have a port",
    read: address::url_pattern,
};

/// The name of a file that stands for the folder it lies in.
pub(super) static INDEX: Form<String> = Form {
    expected: "the name of a file without a slash or a dot before it, or `off` for none",
    read: |text| {
        let plain = !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\\', '\0']);
        if plain { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// The value of a header field.
pub(super) static FIELD: Form<String> = Form {
    expected: "the value of a header field: visible ASCII characters and spaces",
    read: |text| {
        let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let fits = !text.is_empty() && text.bytes().all(visible) && text.trim() == text;
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// Something that is so or not.
pub(super) static YES_OR_NO: Form<bool> =
    Form { expected: "true or false", read: |text| choice(text, &[("true", true), ("false", false)]) };

/// The name of a pool, which is also a label of metrics.
pub(super) static POOL: Form<String> = Form {
    expected: "the name of a pool: up to 64 letters, digits, `-`, `_` and `.`",
    read: |text| {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = (1..=64).contains(&text.len()) && text.chars().all(letters);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

impl<T> Form<T> {
    pub(super) fn read(&self, text: &str) -> Result<T, Unfit> {
        (self.read)(text)
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(letter)
}

fn some_time(text: &str) -> Result<Duration, Unfit> {
    units::duration(text).and_then(|time| if time.is_zero() { Err(Unfit::Unlike) } else { Ok(time) })
}

fn rate(text: &str) -> Result<Rate, Unfit> {
    let (count, unit) = text.split_once('/').ok_or(Unfit::Unlike)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(Unfit::Unlike),
    };
    Ok(Rate { count: nonzero(count)?, per: Duration::from_secs(seconds) })
}

fn nonzero(text: &str) -> Result<NonZeroU32, Unfit> {
    let count = u32::try_from(units::count(text)?).ok();
    count.and_then(NonZeroU32::new).ok_or(Unfit::Unlike)
}

fn some(text: &str) -> Result<usize, Unfit> {
    usize_in(units::count(text)?, 1..=usize::MAX as u64)
}

fn usize_in(number: u64, range: RangeInclusive<u64>) -> Result<usize, Unfit> {
    let inside = Some(number).filter(|number| range.contains(number));
    inside.and_then(|number| usize::try_from(number).ok()).ok_or(Unfit::Unlike)
}

/// Reads `off` as `None`; a zero or a -1, by which other programs say so, was meant as `off`.
fn or_off<T, N: Default + PartialEq>(
    text: &str,
    read: impl Fn(&str) -> Result<T, Unfit>,
    number: impl Fn(&str) -> Result<N, Unfit>,
) -> Result<Option<T>, Unfit> {
    let elsewhere = ["0", "-1", "none", "no", "false", "unlimited", "infinity"];
    if text == OFF {
        return Ok(None);
    }
    if elsewhere.contains(&text) || number(text) == Ok(N::default()) || text.eq_ignore_ascii_case(OFF) {
        return Err(Unfit::Meant(OFF.to_owned()));
    }
    read(text).map(Some)
}

pub(super) fn choice<T: Clone>(text: &str, choices: &[(&str, T)]) -> Result<T, Unfit> {
    let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| value.clone());
    chosen.ok_or_else(|| {
        let names = choices.iter().map(|(name, _)| *name);
        nearest(text, names).map_or(Unfit::Unlike, Unfit::Meant)
    })
}
