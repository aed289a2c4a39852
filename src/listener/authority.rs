//! Whether text is a host with an optional port, as `Host` and an absolute target carry it.
//!
//! Stricter than RFC 3986 §3.2: no user information, no percent-encoding, no sub-delimiters, none of which a
//! name in DNS can hold and all of which some server behind us reads differently.

use std::net::Ipv6Addr;
use std::str::FromStr;

/// Longest host accepted: a name in DNS has at most 253 bytes, and may end in a dot.
const HOST_BYTES_MAX: usize = 255;

/// True for `host`, `host:port`, `[v6]` and `[v6]:port`; the port has one to five digits and fits 16 bits.
pub(super) fn is_authority(text: &[u8]) -> bool {
    if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', literal) else { return false };
        let (address, rest) = (&literal[..end], &literal[end + 1..]);
        return is_ipv6(address) && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port));
    }
    match memchr::memchr(b':', text) {
        Some(colon) => is_name(&text[..colon]) && is_port(&text[colon + 1..]),
        None => is_name(text),
    }
}

fn is_name(host: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.iter().all(legal)
}

fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| Ipv6Addr::from_str(text).is_ok())
}

fn is_port(port: &[u8]) -> bool {
    // `u16::from_str` alone would take a sign.
    (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(port).is_ok_and(|digits| u16::from_str(digits).is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_authority;

    #[test]
    fn hosts_and_ports_are_told_from_everything_else() {
        for good in [
            "a",
            "example.com",
            "a.b-c_d.",
            "10.0.0.1:80",
            "a:65535",
            "a:0",
            "[::1]",
            "[::ffff:1.2.3.4]:8080",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:99999",
            "a:+80",
            "a:80:80",
            "a:000080",
            "u@a",
            "a,b",
            "a b",
            "a/b",
            "a?b",
            "a%20b",
            "::1",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[a]",
            "[::1%eth0]",
            "[]",
            "a\u{a0}",
            "*",
            "a\t",
            "a\0",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        assert!(is_authority(&[b'a'; 255]) && !is_authority(&[b'a'; 256]));
    }
}
