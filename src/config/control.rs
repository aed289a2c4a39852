//! `control`: where the application and operators reach the proxy.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::control_certificates::{CONTROL_CLIENTS, SubjectConfig, control_clients};
use super::draft::{ControlDraft, TokenDraft};
use super::form::{self, Form};
use super::problem::{Fault, Placed, Problem};
use super::secret::{Secret, secret};
use super::section::{Key, Section, Value};
use super::{Certificate, ClientCertificates, listen};

/// The control port.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Where it listens. Anything but loopback or a Unix socket has a token or asks for certificates.
    pub address: Endpoint,
    /// Bearer tokens. Without any, and without `clients`, everybody may do everything.
    pub tokens: Vec<TokenConfig>,
    /// Certificates as those of a listener; empty means plain HTTP.
    pub tls: Vec<Certificate>,
    /// Whose certificates are believed; there is `tls` then.
    pub clients: Option<ClientCertificates>,
    /// What those are good for.
    pub subjects: Vec<SubjectConfig>,
}

/// A bearer token, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// Whose it is, for the log.
    pub name: String,
    /// What the request carries.
    pub token: Secret,
    /// At least one.
    pub roles: Vec<Role>,
}

/// What somebody may do at the control port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Publish, and end connections and tickets by tag or channel: what an application does.
    Publish,
    /// Look at everything, and change nothing.
    Read,
    /// Everything.
    Admin,
}

/// An address to listen on or connect to, TCP or Unix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// IP address and port.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

pub(super) static CONTROL: Section<ControlDraft> = Section {
    short: Some(form::ENDPOINT.expected),
    required: &[("address", form::ENDPOINT.expected)],
    keys: &[
        Key::new("address", |control, value| control.address = value.placed(&form::ENDPOINT)),
        Key::new("token", |control, value| {
            control.token_typed = true;
            let place = value.node.place;
            control.token = token(value).map(|value| Placed { place, value });
        }),
        Key::section("tokens", "[].", &TOKEN, |control, value| {
            control.token_typed = true;
            value.each_of_some(|item| {
                let mut draft = TokenDraft::default();
                TOKEN.fill(&mut draft, item);
                control.tokens.push(draft);
            });
        }),
        Key::section("tls", "[].", &listen::CERTIFICATE, |control, value| {
            control.tls_typed = Some(value.node.place);
            value.each_of_some(|item| control.tls.push(listen::pair(item)));
        }),
        Key::section("client_certificates", ".", &CONTROL_CLIENTS, |control, value| {
            control.clients = control_clients(value);
        }),
    ],
};

static TOKEN: Section<TokenDraft> = Section {
    short: None,
    required: &[("name", NAME.expected), ("token", TOKEN_EXPECTED), ("roles", ROLE.expected)],
    keys: &[
        Key::new("name", |draft, value| draft.name = value.placed(&NAME)),
        Key::new("token", |draft, value| {
            let place = value.node.place;
            draft.token = token(value).map(|value| Placed { place, value });
        }),
        Key::new("roles", |draft, value| value.each_of_some(|item| draft.roles.extend(item.read(&ROLE)))),
    ],
};

static NAME: Form<String> =
    Form { expected: "up to 64 letters, digits, `-`, `_` and `.`", read: |text| form::POOL.read(text) };

pub(super) static ROLE: Form<Role> = Form {
    expected: "publish, read or admin",
    read: |text| {
        form::choice(text, &[("publish", Role::Publish), ("read", Role::Read), ("admin", Role::Admin)])
    },
};

pub(super) fn control(value: Value<'_>) -> ControlDraft {
    let mut control = ControlDraft::default();
    match value.is_text() {
        true => control.address = value.placed(&form::ENDPOINT),
        false => CONTROL.fill(&mut control, value),
    }
    control
}

impl ControlDraft {
    /// Every token, each of another name and another text: what a request may do is one answer.
    pub(super) fn tokens(self, problems: &mut Vec<Problem>) -> Vec<TokenConfig> {
        let only = self.token.map(|token| TokenDraft {
            name: Some(Placed { place: token.place, value: "token".to_owned() }),
            token: Some(token),
            roles: vec![Role::Admin],
        });
        let mut tokens: Vec<TokenConfig> = Vec::new();
        let mut lines = Vec::new();
        for draft in only.into_iter().chain(self.tokens) {
            let (Some(name), Some(token)) = (draft.name, draft.token) else { continue };
            if let Some(first) = tokens.iter().position(|one| one.name == name.value) {
                let fault = Fault::Repeated { what: "token", value: name.value.clone(), first: lines[first] };
                problems.push(Problem::new(name.place, fault).expected("another name"));
            } else if let Some(first) = tokens.iter().position(|one| one.token == token.value) {
                let fault =
                    Fault::Repeated { what: "the token of", value: name.value.clone(), first: lines[first] };
                problems.push(Problem::new(token.place, fault).expected("a token of its own"));
            }
            tokens.push(TokenConfig { name: name.value, token: token.value, roles: draft.roles });
            lines.push(token.place.line);
        }
        tokens
    }
}

/// A bearer token of visible ASCII (RFC 6750 §2.1 allows less, servers take more); a problem never shows it.
fn token(value: Value<'_>) -> Option<Secret> {
    secret(value, TOKEN_EXPECTED, |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
}

const TOKEN_EXPECTED: &str = "visible ASCII characters without spaces";
