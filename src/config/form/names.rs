//! Forms of names: addresses, hosts, paths, files, fields of heads.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper::http::uri::Authority;
use hyper::{Method, Uri};
use ipnet::IpNet;
use rustls::pki_types::ServerName;

use super::{Form, Unfit};
use crate::config::{Endpoint, NamedConfig, ServerConfig, UrlPattern, VerifyConfig, address};

/// What a server is asked for.
pub(in crate::config) static QUESTION: Form<String> = Form {
    expected: "a path such as /up, with a query or without",
    read: |text| {
        let is_path = text.starts_with('/') && text.parse::<Uri>().is_ok();
        if is_path { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// The value of `Host`.
pub(in crate::config) static HOST_FIELD: Form<String> = Form {
    expected: "a host such as example.com, with a port or without",
    read: |text| {
        let is_host = text.parse::<Authority>().is_ok() && !text.contains('@');
        if is_host { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// A question that changes nothing.
pub(in crate::config) static VERIFY: Form<VerifyConfig> = Form {
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

/// What names of keys begin with.
pub(in crate::config) static PREFIX: Form<String> = Form {
    expected: "1 to 64 letters, digits and any of `-_.:`",
    read: |text| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_fit);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// A name that is nobody's but the configuration's own.
pub(in crate::config) static NAME: Form<String> = Form {
    expected: "1 to 200 characters, none of them a control character",
    read: |text| {
        let fits = (1..=200).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// An address to listen on.
pub(in crate::config) static SOCKET: Form<SocketAddr> =
    Form { expected: "an IP address and a port such as 127.0.0.1:8080 or [::]:443", read: address::socket };

/// An address to listen on that may be a Unix socket.
pub(in crate::config) static ENDPOINT: Form<Endpoint> = Form {
    expected: "an IP address and a port such as 127.0.0.1:7070, or unix:/run/perihelion.sock",
    read: address::endpoint,
};

/// A server of a pool.
pub(in crate::config) static SERVER: Form<ServerConfig> = Form {
    expected: "http://host:port or https://host:port without a path, or unix:/run/app.sock",
    read: address::server,
};

/// A name that a certificate can be for.
pub(in crate::config) static TLS_NAME: Form<ServerName<'static>> = Form {
    expected: "a host name or an IP address such as app.internal",
    read: |text| ServerName::try_from(text.to_owned()).map_err(|_| Unfit::Unlike),
};

/// A host pattern, in lower case.
pub(in crate::config) static HOST: Form<String> = Form {
    expected: "a host without a port such as example.com, \"*.example.com\" or \"*\" for every host",
    read: address::host,
};

/// A port of TCP.
pub(in crate::config) static PORT: Form<u16> = Form {
    expected: "a port from 1 to 65535",
    read: |text| text.parse().ok().filter(|port| *port > 0).ok_or(Unfit::Unlike),
};

/// Where a redirect leads.
pub(in crate::config) static LOCATION: Form<String> =
    Form { expected: "a URL such as https://example.com/new, or a path", read: address::location };

/// The origin of a page, as browsers write it.
pub(in crate::config) static ORIGIN: Form<String> = Form {
    expected: "an origin such as https://www.example.com or http://localhost:8080, or `*` alone for any",
    read: address::origin,
};

/// A path prefix.
pub(in crate::config) static PATH: Form<String> = Form {
    expected: "the beginning of a path: a slash, no query, no spaces and no wildcard",
    read: address::path,
};

/// A cookie, with its value or any.
pub(in crate::config) static COOKIE: Form<NamedConfig> = Form {
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
pub(in crate::config) static HEADER: Form<NamedConfig> = Form {
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
pub(in crate::config) static NET: Form<IpNet> =
    Form { expected: "an IP address or a network such as 10.0.0.0/8", read: address::net };

/// A file by its path.
pub(in crate::config) static FILE: Form<PathBuf> = Form {
    expected: "the path of a file",
    read: |text| {
        if text.is_empty() || text.contains('\0') { Err(Unfit::Unlike) } else { Ok(PathBuf::from(text)) }
    },
};

/// A folder by its path.
pub(in crate::config) static FOLDER: Form<PathBuf> =
    Form { expected: "the path of a folder", read: FILE.read };

/// A folder that exists, whose path doesn't depend on where the proxy was started.
pub(in crate::config) static ABSOLUTE_FOLDER: Form<PathBuf> = Form {
    expected: "the path of a folder that exists, from the root",
    read: |text| {
        let path = FILE.read(text)?;
        if path.is_absolute() && path.is_dir() { Ok(path) } else { Err(Unfit::Unlike) }
    },
};

/// URLs by host or network.
pub(in crate::config) static URL_PATTERN: Form<UrlPattern> = Form {
    expected: "a host such as media.example, \"*.example.com\" or \"*\", an IP address or a network such as 10.0.0.0/8; a host and an address may have a port",
    read: address::url_pattern,
};

/// The name of a file that stands for the folder it lies in.
pub(in crate::config) static INDEX: Form<String> = Form {
    expected: "the name of a file without a slash or a dot before it, or `off` for none",
    read: |text| {
        let plain = !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\\', '\0']);
        if plain { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// The value of a header field.
pub(in crate::config) static FIELD: Form<String> = Form {
    expected: "the value of a header field: visible ASCII characters and spaces",
    read: |text| {
        let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let fits = !text.is_empty() && text.bytes().all(visible) && text.trim() == text;
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// The name of a pool, which is also a label of metrics.
pub(in crate::config) static POOL: Form<String> = Form {
    expected: "the name of a pool: up to 64 letters, digits, `-`, `_` and `.`",
    read: |text| {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = (1..=64).contains(&text.len()) && text.chars().all(letters);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(letter)
}
