//! `listen`: where clients reach the proxy, and with which certificates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;

use super::client_certificates::{CLIENTS, ClientCertificates, clients};
use super::draft::{CertificateDraft, ListenerDraft};
use super::problem::{Place, Placed};
use super::section::{Key, Section, Value};
use super::{certificate, form};

/// One listening address.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Certificates in the order of the file, the first for clients that name none; empty means plain HTTP.
    pub tls: Vec<Certificate>,
    /// Peers whose connections begin with a PROXY header, which names the client.
    pub proxy_protocol: Vec<IpNet>,
    /// Who clients of TLS may show that they are; `None` asks nobody.
    pub clients: Option<ClientCertificates>,
    /// Whether HTTP/2 is spoken with clients that ask for it: by ALPN, or by their first bytes without TLS.
    pub http2: bool,
}

/// A certificate chain with its key, read and matched.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The file of the chain.
    pub certificate: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
    /// Both, as rustls wants them.
    pub certified: Arc<rustls::sign::CertifiedKey>,
    /// When it ends, in seconds of Unix time.
    pub not_after: i64,
}

impl Certificate {
    /// What the same files hold now.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn read_again(&self) -> Result<Certificate, String> {
        let nowhere = Place { line: 0, column: 0 };
        let placed = |path: &PathBuf| Placed { place: nowhere, value: path.clone() };
        certificate::read(placed(&self.certificate), placed(&self.key), SystemTime::now())
            .map_err(|problem| problem.to_string())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        let files = |certificate: &Certificate| (certificate.certificate.clone(), certificate.key.clone());
        files(self) == files(other) && self.certified.cert == other.certified.cert
    }
}

impl Eq for Certificate {}

pub(super) static LISTENER: Section<ListenerDraft> = Section {
    short: Some(form::SOCKET.expected),
    required: &[("address", form::SOCKET.expected)],
    keys: &[
        Key::new("address", |listener, value| listener.address = value.placed(&form::SOCKET)),
        Key::section("tls", "[].", &CERTIFICATE, |listener, value| {
            value.each_of_some(|item| listener.tls.push(pair(item)));
        }),
        Key::new("proxy_protocol", |listener, value| {
            value.each_of_some(|item| listener.proxy_protocol.extend(item.read(&form::NET)));
        }),
        Key::section("client_certificates", ".", &CLIENTS, |listener, value| {
            listener.clients = clients(value);
        }),
        Key::new("http2", |listener, value| listener.http2 = value.read(&form::YES_OR_NO)),
    ],
};

pub(super) static CERTIFICATE: Section<CertificateDraft> = Section {
    short: Some("a file that holds both certificate and key"),
    required: &[("certificate", form::FILE.expected)],
    keys: &[
        Key::new("certificate", |pair, value| pair.certificate = value.placed(&form::FILE)),
        Key::new("key", |pair, value| pair.key = value.placed(&form::FILE)),
    ],
};

pub(super) fn listeners(listeners: &mut Vec<ListenerDraft>, value: Value<'_>) {
    value.each_of_some(|item| {
        let mut listener = ListenerDraft::default();
        match item.is_text() {
            true => listener.address = item.placed(&form::SOCKET),
            false => LISTENER.fill(&mut listener, item),
        }
        listeners.push(listener);
    });
}

/// One entry of `tls`.
pub(super) fn pair(value: Value<'_>) -> CertificateDraft {
    let mut pair = CertificateDraft::default();
    match value.is_text() {
        true => pair.certificate = value.placed(&form::FILE),
        false => CERTIFICATE.fill(&mut pair, value),
    }
    pair
}
