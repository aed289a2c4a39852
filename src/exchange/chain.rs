//! The proxies before us, as `X-Forwarded-For` and `Forwarded` list them; pure.
//!
//! A list is believed from its end: the last entry was written by the peer, the one before it by whoever the peer saw,
//! and so on for as long as each of them is a proxy of ours.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::check::tokens;
use crate::upstream::Fields;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address behind trusted proxies: the last one in the chain that isn't trusted itself.
/// What can't be read hides whatever stands before it.
pub(super) fn client_behind(headers: &HeaderMap, peer: IpAddr, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer;
    if !trusts(client) {
        return client;
    }
    let lines: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let chain: Vec<&[u8]> = lines.iter().flat_map(|line| tokens(line)).collect();
    for hop in chain.iter().rev() {
        if !trusts(client) {
            break;
        }
        match address_of(hop) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = text.parse::<IpAddr>().ok().or_else(|| bare().map(IpAddr::from));
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

/// The last proxy as `Forwarded` names it, where others have begun to (RFC 7239 §4, §6).
pub(super) fn element(address: &HeaderValue, secure: bool) -> HeaderValue {
    let address = String::from_utf8_lossy(address.as_bytes());
    let scheme = if secure { "https" } else { "http" };
    let element = match address.contains(':') {
        true => format!("for=\"[{address}]\";proto={scheme}"),
        false => format!("for={address};proto={scheme}"),
    };
    HeaderValue::try_from(element).unwrap_or_else(|_| HeaderValue::from_static("for=unknown"))
}

/// Puts the last proxy behind those that trusted ones have named.
pub(super) fn extend(fields: &mut Fields<'_>, name: &'static str, last: &[u8]) {
    let chain = fields.all(name).chain([last]).collect::<Vec<_>>().join(&b", "[..]);
    fields.set(name, chain);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(entries: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in entries.split('|') {
            headers.append(FORWARDED_FOR, HeaderValue::try_from(line).unwrap());
        }
        headers
    }

    #[test]
    fn the_client_is_whoever_the_first_trusted_proxy_saw() {
        let trusts = |address: IpAddr| address.to_string().starts_with("10.") || address.is_loopback();
        let table = [
            ("6.6.6.6, 1.1.1.1, 10.0.0.2", "10.0.0.1", "1.1.1.1"),
            ("6.6.6.6, 1.1.1.1|10.0.0.2", "10.0.0.1", "1.1.1.1"),
            ("6.6.6.6", "9.9.9.9", "9.9.9.9"),
            ("", "10.0.0.1", "10.0.0.1"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.1", "10.0.0.3"),
            // As Azure, and whoever has read RFC 7239, write them.
            ("1.1.1.1:4711", "10.0.0.1", "1.1.1.1"),
            ("[2001:db8::7]:4711, 10.0.0.2:80", "::1", "2001:db8::7"),
            ("[2001:db8::7]", "10.0.0.1", "2001:db8::7"),
            ("2001:db8::7", "10.0.0.1", "2001:db8::7"),
            ("::ffff:1.1.1.1", "10.0.0.1", "1.1.1.1"),
            // What can't be read hides what stands before it.
            ("1.1.1.1, junk, 10.0.0.2", "10.0.0.1", "10.0.0.2"),
            ("1.1.1.1, unknown", "10.0.0.1", "10.0.0.1"),
            ("1.1.1.1, _hidden", "10.0.0.1", "10.0.0.1"),
            ("1.1.1.1, 1.2.3", "10.0.0.1", "10.0.0.1"),
            ("1.1.1.1, 1.2.3.4:99999", "10.0.0.1", "10.0.0.1"),
            ("1.1.1.1, [1.2.3.4]", "10.0.0.1", "10.0.0.1"),
            ("1.1.1.1, 10.0.0.2 10.0.0.3", "10.0.0.1", "10.0.0.1"),
        ];
        for (entries, peer, client) in table {
            let found = client_behind(&chain(entries), peer.parse().unwrap(), trusts);
            assert_eq!(found.to_string(), client, "{entries} from {peer}");
        }
    }

    #[test]
    fn an_element_of_forwarded_puts_long_addresses_in_quotes() {
        let said = |address, secure| element(&HeaderValue::from_static(address), secure);
        assert_eq!(said("192.0.2.7", true), "for=192.0.2.7;proto=https");
        assert_eq!(said("2001:db8::7", false), "for=\"[2001:db8::7]\";proto=http");
    }
}
