//! Who may use the control port: whoever has the token, or where there is none, whoever is surely no web page.
//!
//! A page in an operator's browser can send requests to a loopback address, and by a name that it lets point there
//! (DNS rebinding) even read the answers. So a request without a token is refused if it carries `Origin`, or a
//! `Host` that is not the address itself.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use subtle::ConstantTimeEq;

use super::reply::Failure;
use crate::jwt;

/// The check before every request.
#[derive(Clone)]
pub struct Guard {
    token: Option<Box<[u8]>>,
    /// `None` for a Unix socket, whose `Host` says nothing.
    address: Option<SocketAddr>,
    /// With what publishers of GRIP sign.
    publish_key: Option<Box<[u8]>>,
}

impl Guard {
    /// For a TCP address as bound.
    pub fn tcp(address: SocketAddr, token: Option<&str>) -> Guard {
        Guard { token: token.map(|token| token.as_bytes().into()), address: Some(address), publish_key: None }
    }

    /// For a Unix socket.
    pub fn unix(token: Option<&str>) -> Guard {
        Guard { token: token.map(|token| token.as_bytes().into()), address: None, publish_key: None }
    }

    /// The same with a key by which publishers are known.
    pub fn with_publish_key(self, key: Option<Box<[u8]>>) -> Guard {
        Guard { publish_key: key, ..self }
    }

    /// Who may publish by GRIP: with a key whoever has signed a JWT with it, and who may do everything.
    pub(super) fn check_publisher(&self, headers: &HeaderMap, now: SystemTime) -> Result<(), Failure> {
        let Some(key) = &self.publish_key else { return self.check(headers) };
        let said = bearer(headers).map(|token| jwt::verify(token, key, now));
        match said {
            Some(Ok(())) => Ok(()),
            _ if self.token.is_some() => self.check(headers),
            Some(Err(bad)) => Err(Failure::new(StatusCode::UNAUTHORIZED, format!("the token: {bad}"))),
            None => Err(Failure::new(StatusCode::UNAUTHORIZED, "publishing needs a JWT")),
        }
    }

    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Failure> {
        match &self.token {
            Some(token) if bearer(headers).is_some_and(|said| said.ct_eq(token).into()) => Ok(()),
            Some(_) => Err(Failure::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong")),
            None if headers.contains_key(ORIGIN) => {
                Err(Failure::new(StatusCode::FORBIDDEN, "a request with Origin needs a token"))
            }
            None if !self.host_is_ours(headers) => Err(Failure::new(
                StatusCode::FORBIDDEN,
                "without a token Host has to be the control port's address",
            )),
            None => Ok(()),
        }
    }

    fn host_is_ours(&self, headers: &HeaderMap) -> bool {
        let Some(address) = self.address else { return true };
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        if let Ok(named) = host.parse::<SocketAddr>() {
            return named.port() == address.port() && same_machine(named.ip(), address.ip());
        }
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
        name.eq_ignore_ascii_case("localhost")
            && address.ip().is_loopback()
            && port == address.port().to_string()
    }
}

/// `127.0.0.2` may be reached as `127.0.0.1` only where both are loopback addresses.
fn same_machine(named: IpAddr, bound: IpAddr) -> bool {
    named == bound || (named.is_loopback() && bound.is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(guard: &Guard, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.append(*name, value.parse().unwrap());
        });
        guard.check(&map).is_ok()
    }

    #[test]
    fn a_token_is_all_that_counts_where_there_is_one() {
        let guard = Guard::tcp("127.0.0.1:7070".parse().unwrap(), Some("s3cret"));
        assert!(allowed(&guard, &[("authorization", "Bearer s3cret"), ("origin", "http://evil")]));
        assert!(allowed(&guard, &[("authorization", "bearer  s3cret")]));
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer", "Bearer "] {
            assert!(!allowed(&guard, &[("authorization", wrong), ("host", "127.0.0.1:7070")]), "{wrong}");
        }
        assert!(!allowed(&guard, &[("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")]));
        assert!(!allowed(&guard, &[("host", "127.0.0.1:7070")]));
    }

    #[test]
    fn without_a_token_no_web_page_gets_in() {
        let guard = Guard::tcp("127.0.0.1:7070".parse().unwrap(), None);
        for host in ["127.0.0.1:7070", "localhost:7070", "LOCALHOST:7070", "127.0.0.5:7070", "[::1]:7070"] {
            assert!(allowed(&guard, &[("host", host)]), "{host}");
        }
        for host in ["evil.example:7070", "127.0.0.1", "127.0.0.1:80", "localhost", "10.0.0.1:7070", ""] {
            assert!(!allowed(&guard, &[("host", host)]), "{host}");
        }
        assert!(!allowed(&guard, &[("host", "127.0.0.1:7070"), ("origin", "null")]));
        assert!(!allowed(&guard, &[]));
        assert!(allowed(&Guard::unix(None), &[("host", "whatever")]));
    }
}
