//! `control`: where the application and operators reach the proxy.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::draft::ControlDraft;
use super::form;
use super::secret::{Secret, secret};
use super::section::{Key, Section, Value};

/// The control port.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Where it listens. Anything but loopback or a Unix socket has a token.
    pub address: Endpoint,
    /// The bearer token that each request has to carry.
    pub token: Option<Secret>,
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
            control.token = token(value);
        }),
    ],
};

pub(super) fn control(value: Value<'_>) -> ControlDraft {
    let mut control = ControlDraft::default();
    match value.is_text() {
        true => control.address = value.placed(&form::ENDPOINT),
        false => CONTROL.fill(&mut control, value),
    }
    control
}

/// A bearer token of visible ASCII (RFC 6750 §2.1 allows less, servers take more); a problem never shows it.
fn token(value: Value<'_>) -> Option<Secret> {
    secret(value, "visible ASCII characters without spaces", |text| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
}
