//! Addresses, servers, hosts, paths and networks as people write them; nothing is resolved here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::form::Unfit;
use super::{Endpoint, ServerConfig, Target, UrlPattern};

/// Bytes of a Unix socket's path: `sun_path` without the zero at its end.
const UNIX_PATH_MAX: usize = 107;
/// Bytes of a host name (RFC 1035 §2.3.4).
const HOST_MAX: usize = 253;
/// The port of `http` (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;
/// The port of `https` (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;

/// IP address and port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Unfit> {
    text.parse().map_err(|_| socket_meant(text).map_or(Unfit::Unlike, Unfit::Meant))
}

/// What other programs accept as an address to listen on.
fn socket_meant(text: &str) -> Option<String> {
    let text = text.strip_prefix("http://").unwrap_or(text);
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port: u16 = port.parse().ok()?;
    let ip = match host {
        "" | "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        ip => ip,
    };
    let address = format!("{ip}:{port}");
    address.parse::<SocketAddr>().is_ok().then_some(address)
}

/// IP address and port, or `unix:` and an absolute path.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, Unfit> {
    match text.strip_prefix("unix:") {
        Some(path) => unix_path(path).map(Endpoint::Unix),
        None => socket(text).map(Endpoint::Tcp),
    }
}

/// A relative path would change its meaning with the directory that the proxy is started in.
fn unix_path(path: &str) -> Result<PathBuf, Unfit> {
    let fits = path.starts_with('/') && path.len() > 1 && path.len() <= UNIX_PATH_MAX && !path.contains('\0');
    if fits { Ok(PathBuf::from(path)) } else { Err(Unfit::Unlike) }
}

/// `http://host[:port]`, the same with `https`, `host:port`, or `unix:` and an absolute path.
pub(super) fn server(text: &str) -> Result<ServerConfig, Unfit> {
    let tls = text.starts_with("https://");
    let target = match text.strip_prefix("unix:") {
        Some(path) => Target::Unix(unix_path(path)?),
        None => tcp_target(text)?,
    };
    Ok(ServerConfig { name: text.to_owned(), target, tls })
}

fn tcp_target(text: &str) -> Result<Target, Unfit> {
    let of_scheme = |scheme, port| text.strip_prefix(scheme).map(|rest| (rest, Some(port)));
    let (authority, default_port) = of_scheme("http://", HTTP_PORT)
        .or_else(|| of_scheme("https://", HTTPS_PORT))
        .map_or((text, None), |(rest, port)| (rest.strip_suffix('/').unwrap_or(rest), port));
    let (host, port) = split_port(authority);
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0),
        None => default_port,
    };
    let host = bare_host(host).ok_or(Unfit::Unlike)?;
    match port {
        Some(port) => Ok(Target::Tcp { host, port }),
        None => Err(Unfit::Unlike),
    }
}

/// Host and port; the colons of an IPv6 address in brackets belong to the host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// A name or an address without its brackets.
fn bare_host(host: &str) -> Option<String> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok().map(|address| address.to_string()),
        None => is_name(host).then(|| host.to_owned()),
    }
}

/// A host pattern in lower case: a name, an IP address (IPv6 in brackets), `*.suffix`, or `*`.
pub(super) fn host(text: &str) -> Result<String, Unfit> {
    let lower = text.to_lowercase();
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    let in_brackets = name.starts_with('[') && bare_host(name).is_some();
    if lower == "*" || is_name(name) || (in_brackets && name == lower) {
        return Ok(lower);
    }
    Err(host_meant(&lower).map_or(Unfit::Unlike, Unfit::Meant))
}

/// The origin of a page as browsers write it (RFC 6454 §6.2): lower case, no path, no port that the scheme implies.
pub(super) fn origin(text: &str) -> Result<String, Unfit> {
    let lower = text.to_lowercase();
    let (scheme, rest) = lower.split_once("://").ok_or(Unfit::Unlike)?;
    let implied = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(Unfit::Unlike),
    };
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.strip_suffix(implied).unwrap_or(authority);
    let (host, port) = split_port(authority);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = is_name(host) || host.starts_with('[') && bare_host(host).is_some();
    if !is_host || !port.is_none_or(is_port) {
        return Err(Unfit::Unlike);
    }
    let origin = format!("{scheme}://{authority}");
    if origin == lower { Ok(origin) } else { Err(Unfit::Meant(origin)) }
}

/// A host in a URL, with a port, or with the dot that ends an absolute name.
fn host_meant(text: &str) -> Option<String> {
    let text = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
    let (name, _) = text.split_once('/').unwrap_or((text, ""));
    let (name, _) = split_port(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = if name.starts_with('.') { format!("*{name}") } else { name.to_owned() };
    is_name(name.strip_prefix("*.").unwrap_or(&name)).then_some(name)
}

/// Labels of letters, digits, `-` and `_`; other scripts are written in their `xn--` form, as clients send them.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(letters)
    };
    name.len() <= HOST_MAX && name.split('.').all(label)
}

/// The beginning of a path (RFC 3986 §3.3), compared as it is.
pub(super) fn path(text: &str) -> Result<String, Unfit> {
    let segment = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=:@%".contains(&byte);
    if text.starts_with('/') && text.bytes().all(segment) {
        return Ok(text.to_owned());
    }
    let meant = format!("/{}", text.trim_start_matches('/').trim_end_matches('*'));
    Err(if meant.bytes().all(segment) { Unfit::Meant(meant) } else { Unfit::Unlike })
}

/// Where a redirect leads: an absolute URL of the web, or a path that can't be taken for another host
/// (RFC 3986 §4.2).
pub(super) fn location(text: &str) -> Result<String, Unfit> {
    let visible = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    let on_the_web = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = match on_the_web {
        Some(rest) => {
            let (host, port) = split_port(rest.split(['/', '?', '#']).next().unwrap_or_default());
            bare_host(host).is_some() && port.is_none_or(|port| port.parse::<u16>().is_ok())
        }
        None => text.starts_with('/') && !text.starts_with("//"),
    };
    if good && text.bytes().all(visible) { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
}

/// A network whose host bits are zero, or one address.
pub(super) fn net(text: &str) -> Result<IpNet, Unfit> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet = text.parse().map_err(|_| Unfit::Unlike)?;
    if net.trunc() == net { Ok(net) } else { Err(Unfit::Meant(net.trunc().to_string())) }
}

/// A host pattern, an address or a network; the first two may have a port.
pub(super) fn url_pattern(text: &str) -> Result<UrlPattern, Unfit> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(net) = net(bare) {
        return Ok(UrlPattern::Net { net, port: None });
    }
    if text.contains('/') {
        return net(text).map(|net| UrlPattern::Net { net, port: None });
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(UrlPattern::Net { net: IpNet::from(address.ip()), port: Some(address.port()) });
    }
    let (name, port) = split_port(text);
    let port = port.map(|port| port.parse().map_err(|_| Unfit::Unlike)).transpose()?;
    Ok(UrlPattern::Host { host: host(name)?, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant<T>(text: &str) -> Result<T, Unfit> {
        Err(Unfit::Meant(text.into()))
    }

    #[test]
    fn what_other_programs_take_for_an_address_is_answered_with_the_whole_one() {
        let table = [
            ("127.0.0.1:8080", Ok("127.0.0.1:8080")),
            ("[::]:443", Ok("[::]:443")),
            ("127.0.0.1:0", Ok("127.0.0.1:0")),
            ("8080", meant("0.0.0.0:8080")),
            (":8080", meant("0.0.0.0:8080")),
            ("*:80", meant("0.0.0.0:80")),
            ("localhost:80", meant("127.0.0.1:80")),
            ("http://10.0.0.1:80", meant("10.0.0.1:80")),
            ("example.com:80", Err(Unfit::Unlike)),
            ("127.0.0.1", Err(Unfit::Unlike)),
            ("127.0.0.1:65536", Err(Unfit::Unlike)),
            ("127.0.0.1:-1", Err(Unfit::Unlike)),
            ("", Err(Unfit::Unlike)),
        ];
        for (text, expected) in table {
            assert_eq!(
                socket(text).map(|address| address.to_string()),
                expected.map(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn a_server_is_a_name_with_a_port_or_a_unix_socket() {
        let tcp = |host: &str, port| Some(Target::Tcp { host: host.into(), port });
        let long = format!("unix:/{}", "a".repeat(UNIX_PATH_MAX));
        let table = [
            ("http://10.0.0.5:8000", tcp("10.0.0.5", 8000)),
            ("http://app/", tcp("app", 80)),
            ("http://my_app.internal:3000", tcp("my_app.internal", 3000)),
            ("http://[::1]:8000", tcp("::1", 8000)),
            ("http://[::1]", tcp("::1", 80)),
            ("app:8000", tcp("app", 8000)),
            ("unix:/run/app.sock", Some(Target::Unix("/run/app.sock".into()))),
            ("app", None),
            ("https://app:8443", tcp("app", 8443)),
            ("https://app/", tcp("app", 443)),
            ("https://app/path", None),
            ("http://app:0", None),
            ("http://app:80/path", None),
            ("http://user@app:80", None),
            ("http://app:80?x", None),
            ("http://:80", None),
            ("http://", None),
            ("http://::1:80", None),
            ("http://[::1", None),
            ("http://app:80 ", None),
            ("unix:app.sock", None),
            ("unix:/", None),
            ("unix:/a\0b", None),
            (&long, None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(server(text).ok().map(|server| server.target), expected, "{text}");
        }
    }

    #[test]
    fn hosts_are_lower_case_and_have_no_port() {
        let table = [
            ("Example.COM", Ok("example.com")),
            ("*.example.com", Ok("*.example.com")),
            ("*", Ok("*")),
            ("10.0.0.1", Ok("10.0.0.1")),
            ("[::1]", Ok("[::1]")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("example.com:8080", meant("example.com")),
            ("example.com.", meant("example.com")),
            ("https://example.com/x", meant("example.com")),
            (".example.com", meant("*.example.com")),
            ("*.*.com", Err(Unfit::Unlike)),
            ("*example.com", Err(Unfit::Unlike)),
            ("*.[::1]", Err(Unfit::Unlike)),
            ("bücher.example", Err(Unfit::Unlike)),
            ("a..b", Err(Unfit::Unlike)),
            ("", Err(Unfit::Unlike)),
        ];
        for (text, expected) in table {
            assert_eq!(host(text), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn redirects_lead_to_the_web_or_to_the_same_host() {
        let good = [
            "https://a.example",
            "http://a.example:8080/b?c=d#e",
            "https://[::1]/",
            "/",
            "/a/b?c",
            "https://a?b",
        ];
        for text in good {
            assert_eq!(location(text).as_deref(), Ok(text));
        }
        let bad = [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "ftp://a",
            "https://",
            "https://a b",
            "https://a/\n",
            "https://u@a",
            "https://a:x/",
            "https:///a",
            "/ü",
        ];
        for text in bad {
            assert_eq!(location(text), Err(Unfit::Unlike), "{text}");
        }
    }

    #[test]
    fn paths_are_prefixes_and_networks_have_no_host_bits() {
        let paths = [
            ("/", Ok("/")),
            ("/a%20b/", Ok("/a%20b/")),
            ("static", meant("/static")),
            ("/static/*", meant("/static/")),
            ("/a?b", Err(Unfit::Unlike)),
            ("/a b", Err(Unfit::Unlike)),
            ("/é", Err(Unfit::Unlike)),
        ];
        for (text, expected) in paths {
            assert_eq!(path(text), expected.map(str::to_owned), "{text}");
        }
        let nets = [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("10.0.0.1", Ok("10.0.0.1/32")),
            ("::1", Ok("::1/128")),
            ("10.0.0.1/8", meant("10.0.0.0/8")),
            ("10.0.0.0/33", Err(Unfit::Unlike)),
            ("proxy.example", Err(Unfit::Unlike)),
        ];
        for (text, expected) in nets {
            assert_eq!(net(text).map(|net| net.to_string()), expected.map(str::to_owned), "{text}");
        }
    }
}
