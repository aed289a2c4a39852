//! Who may use the control port: whoever has a token or a certificate with the role for it, or where neither is asked
//! for, whoever is surely no web page.
//!
//! A page in an operator's browser can send requests to a loopback address, and by a name that it lets point there
//! (DNS rebinding) even read the answers. So a request without a token is refused if it carries `Origin`, or a
//! `Host` that is not the address itself. A certificate is shown by a browser whatever page asks, so that it is good for
//! nothing beside `Origin`; names that point elsewhere are found out by TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, StatusCode};
use rustls::ServerConfig;
use subtle::ConstantTimeEq;

use super::reply::Failure;
use crate::config::{Endpoint, Role, Subject, SubjectConfig, TokenConfig};
use crate::jwt::{self, VerifyingKey};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What opens the control port.
#[derive(Debug, Default)]
pub struct Entrance {
    /// Bearer tokens.
    pub tokens: Vec<TokenConfig>,
    /// What certificates are good for; `None` where none is asked for.
    pub subjects: Option<Vec<SubjectConfig>>,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<ServerConfig>>,
}

/// The one in use, which a reload replaces.
pub type Entrances = Arc<ArcSwap<Entrance>>;

/// What a request comes with.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) headers: &'a HeaderMap,
    /// Whose certificate its connection has shown.
    pub(super) subject: Option<&'a Subject>,
}

/// The check before every request.
#[derive(Clone)]
pub struct Guard {
    entrance: Entrances,
    /// `None` for a Unix socket, whose `Host` says nothing.
    address: Option<SocketAddr>,
    /// With what the tokens of publishers of GRIP are checked.
    publish_key: Option<VerifyingKey>,
}

impl Guard {
    /// For an address as bound.
    pub fn new(address: &Endpoint, entrance: Entrances) -> Guard {
        let address = match address {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        };
        Guard { entrance, address, publish_key: None }
    }

    /// The same with a key by which publishers are known.
    pub fn with_publish_key(self, key: Option<VerifyingKey>) -> Guard {
        Guard { publish_key: key, ..self }
    }

    /// TLS for a new connection, where it is spoken.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.entrance.load().tls.clone()
    }

    /// Who may publish by GRIP: with a key whoever has signed a JWT with it, and whoever is let in for it anyway.
    pub(super) fn check_publisher(&self, asked: Asked<'_>, now: SystemTime) -> Result<Caller, Failure> {
        let Some(key) = &self.publish_key else { return self.check(asked, Role::Publish) };
        let said = bearer(asked.headers).map(|token| jwt::verify(token, key, now));
        match said {
            Some(Ok(())) => Ok(Caller::Publisher),
            _ if self.entrance.load().asks() => self.check(asked, Role::Publish),
            Some(Err(bad)) => Err(Failure::new(StatusCode::UNAUTHORIZED, format!("the token: {bad}"))),
            None => Err(Failure::new(StatusCode::UNAUTHORIZED, "publishing needs a JWT")),
        }
    }

    /// Who asks, if they may do what `role` may.
    pub(super) fn check(&self, asked: Asked<'_>, role: Role) -> Result<Caller, Failure> {
        let entrance = self.entrance.load();
        if !entrance.asks() {
            return self.check_stranger(asked.headers).map(|()| Caller::Anybody);
        }
        let said = bearer(asked.headers);
        match (said, asked.subject) {
            (None, Some(subject)) => entrance.check_subject(subject, asked.headers, role),
            _ => entrance.check_token(said.unwrap_or_default(), role),
        }
    }

    fn check_stranger(&self, headers: &HeaderMap) -> Result<(), Failure> {
        if headers.contains_key(ORIGIN) {
            return Err(Failure::new(StatusCode::FORBIDDEN, "a request with Origin needs a token"));
        }
        // Pictures and scripts are asked for without `Origin`; `none` is what a person has typed.
        if let Some(site) = headers.get(SEC_FETCH_SITE)
            && site != "none"
            && site != "same-origin"
        {
            return Err(Failure::new(StatusCode::FORBIDDEN, "a request of a web page needs a token"));
        }
        if !self.host_is_ours(headers) {
            let error = "without a token Host has to be the control port's address";
            return Err(Failure::new(StatusCode::FORBIDDEN, error));
        }
        Ok(())
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

impl Entrance {
    /// Whether everybody has to say who they are.
    fn asks(&self) -> bool {
        !self.tokens.is_empty() || self.subjects.is_some()
    }

    fn check_token(&self, said: &[u8], role: Role) -> Result<Caller, Failure> {
        // Each is compared, so that the time says nothing of which is nearly right.
        let mut found = None;
        for token in &self.tokens {
            if bool::from(said.ct_eq(token.token.0.as_bytes())) {
                found = Some(token);
            }
        }
        let Some(token) = found else {
            return Err(Failure::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong"));
        };
        match may(&token.roles, role) {
            true => Ok(Caller::Known(token.name.as_str().into())),
            false => Err(lacks("token", &token.name, role)),
        }
    }

    fn check_subject(&self, subject: &Subject, headers: &HeaderMap, role: Role) -> Result<Caller, Failure> {
        if headers.contains_key(ORIGIN) {
            return Err(Failure::new(StatusCode::FORBIDDEN, "a request with Origin needs a token"));
        }
        let found = self.subjects.iter().flatten().find(|one| one.subject == *subject);
        match found {
            Some(found) if may(&found.roles, role) => Ok(Caller::Known(subject.as_str().into())),
            Some(_) => Err(lacks("certificate", subject.as_str(), role)),
            None => {
                let error = format!("the certificate {:?} has no role", subject.as_str());
                Err(Failure::new(StatusCode::FORBIDDEN, error))
            }
        }
    }
}

fn may(roles: &[Role], role: Role) -> bool {
    roles.contains(&role) || roles.contains(&Role::Admin)
}

fn lacks(what: &str, name: &str, role: Role) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, format!("the {what} {name:?} lacks the role {:?}", word(role)))
}

/// `127.0.0.2` may be reached as `127.0.0.1` only where both are loopback addresses.
fn same_machine(named: IpAddr, bound: IpAddr) -> bool {
    named == bound || (named.is_loopback() && bound.is_loopback())
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Nobody has to say who they are.
    Anybody,
    /// Has the token of this name, or the certificate of this subject.
    Known(Arc<str>),
    /// Has signed with the key of GRIP's publishers.
    Publisher,
}

impl Caller {
    /// As the log names them.
    pub(super) fn name(&self) -> &str {
        match self {
            Caller::Anybody => "anybody",
            Caller::Known(name) => name,
            Caller::Publisher => "grip",
        }
    }
}

/// What a request needs; `path` in its segments. What isn't known is for whoever may do everything.
pub(super) fn role_for(method: &Method, path: &[&str]) -> Role {
    match (method, path) {
        (_, ["publish"]) => Role::Publish,
        (&Method::POST, ["channels", _] | ["revoke"] | ["recover"]) => Role::Publish,
        (&Method::GET | &Method::HEAD, _) => Role::Read,
        _ => Role::Admin,
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Publish => "publish",
        Role::Read => "read",
        Role::Admin => "admin",
    }
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
    use crate::config::Secret;

    fn guard(address: &str, tokens: &[(&str, &str, &[Role])]) -> Guard {
        let token = |(name, token, roles): &(&str, &str, &[Role])| TokenConfig {
            name: (*name).to_owned(),
            token: Secret((*token).to_owned()),
            roles: roles.to_vec(),
        };
        let address = match address.parse() {
            Ok(address) => Endpoint::Tcp(address),
            Err(_) => Endpoint::Unix(address.into()),
        };
        let entrance = Entrance { tokens: tokens.iter().map(token).collect(), ..Entrance::default() };
        Guard::new(&address, Arc::new(ArcSwap::from_pointee(entrance)))
    }

    fn asked(guard: &Guard, headers: &[(&'static str, &'static str)], role: Role) -> Result<Caller, Failure> {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.append(*name, value.parse().unwrap());
        });
        guard.check(Asked { headers: &map, subject: None }, role)
    }

    fn allowed(guard: &Guard, headers: &[(&'static str, &'static str)]) -> bool {
        asked(guard, headers, Role::Read).is_ok()
    }

    #[test]
    fn a_token_is_all_that_counts_where_there_is_one() {
        let guard = guard("127.0.0.1:7070", &[("token", "s3cret", &[Role::Admin])]);
        assert!(allowed(&guard, &[("authorization", "Bearer s3cret"), ("origin", "http://evil")]));
        assert!(allowed(&guard, &[("authorization", "bearer  s3cret")]));
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer", "Bearer "] {
            assert!(!allowed(&guard, &[("authorization", wrong), ("host", "127.0.0.1:7070")]), "{wrong}");
        }
        assert!(!allowed(&guard, &[("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")]));
        assert!(!allowed(&guard, &[("host", "127.0.0.1:7070")]));
    }

    #[test]
    fn a_token_opens_what_its_roles_are_for() {
        use Role::{Admin, Publish, Read};
        let tokens: &[(&str, &str, &[Role])] =
            &[("shop", "one", &[Publish]), ("graphs", "two", &[Read]), ("both", "three", &[Publish, Read])];
        let guard = guard("127.0.0.1:7070", tokens);
        let table = [
            ("Bearer one", [true, false, false]),
            ("Bearer two", [false, true, false]),
            ("Bearer three", [true, true, false]),
        ];
        for (token, expected) in table {
            let may = [Publish, Read, Admin].map(|role| asked(&guard, &[("authorization", token)], role));
            assert_eq!(may.each_ref().map(Result::is_ok), expected, "{token}");
            let refused = may.into_iter().find_map(Result::err).unwrap();
            assert_eq!(refused.reply().status(), StatusCode::FORBIDDEN);
        }
        let named = asked(&guard, &[("authorization", "Bearer one")], Publish).unwrap();
        assert_eq!(named.name(), "shop");
        let unknown = asked(&guard, &[("authorization", "Bearer four")], Read).unwrap_err();
        assert_eq!(unknown.reply().status(), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn what_changes_something_needs_more_than_to_look() {
        let table: [(&str, &[&str], Role); 12] = [
            ("POST", &["channels", "news"], Role::Publish),
            ("POST", &["publish"], Role::Publish),
            ("GET", &["publish"], Role::Publish),
            ("POST", &["revoke"], Role::Publish),
            ("GET", &["channels", "news"], Role::Read),
            ("HEAD", &["metrics"], Role::Read),
            ("DELETE", &["channels", "news"], Role::Admin),
            ("POST", &["reload"], Role::Admin),
            ("PUT", &["pools", "app", "servers", "x"], Role::Admin),
            ("POST", &["sites", "a", "maintenance"], Role::Admin),
            ("POST", &["channels", "news", "messages"], Role::Admin),
            ("BREW", &["channels"], Role::Admin),
        ];
        for (method, path, role) in table {
            assert_eq!(role_for(&method.parse().unwrap(), path), role, "{method} {path:?}");
        }
    }

    #[test]
    fn without_a_token_no_web_page_gets_in() {
        let open = guard("127.0.0.1:7070", &[]);
        for host in ["127.0.0.1:7070", "localhost:7070", "LOCALHOST:7070", "127.0.0.5:7070", "[::1]:7070"] {
            assert!(allowed(&open, &[("host", host)]), "{host}");
        }
        for host in ["evil.example:7070", "127.0.0.1", "127.0.0.1:80", "localhost", "10.0.0.1:7070", ""] {
            assert!(!allowed(&open, &[("host", host)]), "{host}");
        }
        assert!(!allowed(&open, &[("host", "127.0.0.1:7070"), ("origin", "null")]));
        for (site, may) in
            [("cross-site", false), ("same-site", false), ("none", true), ("same-origin", true)]
        {
            assert_eq!(
                allowed(&open, &[("host", "127.0.0.1:7070"), ("sec-fetch-site", site)]),
                may,
                "{site}"
            );
        }
        assert!(!allowed(&open, &[]));
        assert!(allowed(&guard("/run/control.sock", &[]), &[("host", "whatever")]));
    }
}
