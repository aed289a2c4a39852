//! TLS: the certificate that a client's server name asks for, and what else a handshake needs.
//!
//! Names come out of the certificates themselves. HTTP/2 is negotiated where it is spoken, else HTTP/1.1; keys may be
//! taken out of a session, since a held connection of HTTP/1 keeps nothing else of it.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use crate::config::{Certificate, CertificateMode, ClientCertificates};

/// What all configurations of a process share, so that a reload keeps the tickets of clients valid.
#[derive(Clone, Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

/// Why TLS can't be offered.
#[derive(Debug, thiserror::Error)]
#[error("TLS can't be set up: {0}")]
pub struct TlsError(rustls::Error);

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        TlsError(error)
    }
}

impl Tickets {
    /// With random keys that are changed regularly.
    pub fn new() -> Result<Tickets, TlsError> {
        Ok(Tickets(rustls::crypto::ring::Ticketer::new()?))
    }
}

/// The side of a server with these certificates, the first for clients that name none or another one. Clients show
/// theirs where they are asked to; HTTP/2 is offered or not.
pub fn server_config(
    certificates: &[Certificate],
    tickets: &Tickets,
    (clients, http2): (Option<&ClientCertificates>, bool),
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match clients {
        Some(clients) => verifier(clients, provider.clone())?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(ByName::new(certificates)));
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_secret_extraction = true;
    match clients {
        None => config.ticketer = tickets.0.clone(),
        // A resumed session brings its certificate along unverified: one of another listener, or of before a reload.
        Some(_) => {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
    }
    Ok(Arc::new(config))
}

fn verifier(
    clients: &ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(clients.roots.clone(), provider);
    let builder = match clients.mode {
        CertificateMode::Required => builder,
        CertificateMode::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| TlsError(rustls::Error::General(error.to_string())))
}

/// Certificates by server name.
#[derive(Debug)]
struct ByName {
    default: Option<Arc<CertifiedKey>>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the first label.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn new(certificates: &[Certificate]) -> ByName {
        let default = certificates.first().map(|certificate| certificate.certified.clone());
        let mut names = ByName { default, exact: HashMap::new(), wildcard: HashMap::new() };
        for certificate in certificates {
            names.add(&certificate.certified);
        }
        names
    }

    /// Of two certificates with the same name the first one is used.
    fn add(&mut self, certified: &Arc<CertifiedKey>) {
        let Some(end) = certified.cert.first() else { return };
        // A certificate whose names can't be read still serves as the default.
        let Ok(parsed) = EndEntityCert::try_from(end) else { return };
        for name in parsed.valid_dns_names() {
            let name = name.to_ascii_lowercase();
            let (table, name) = match name.strip_prefix("*.") {
                Some(suffix) => (&mut self.wildcard, suffix.to_owned()),
                None => (&mut self.exact, name),
            };
            table.entry(name).or_insert_with(|| certified.clone());
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(wildcard)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.default.as_ref()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).unwrap();
        Certificate {
            certificate: "c.pem".into(),
            key: "k.pem".into(),
            certified: Arc::new(certified),
            not_after: 0,
        }
    }

    #[test]
    fn the_name_chooses_the_certificate_and_the_first_is_for_the_rest() {
        let certificates = [
            certificate(&["default.example"]),
            certificate(&["Shop.example", "*.shop.example"]),
            certificate(&["api.shop.example"]),
        ];
        let names = ByName::new(&certificates);
        let chosen = |name: &str| {
            let found = names.find(name).or(names.default.as_ref()).unwrap();
            certificates.iter().position(|one| Arc::ptr_eq(&one.certified, found)).unwrap()
        };
        for (name, expected) in [
            ("shop.example", 1),
            ("SHOP.example", 1),
            ("www.shop.example", 1),
            ("api.shop.example", 2),
            ("a.b.shop.example", 0),
            ("default.example", 0),
            ("example", 0),
            ("other.test", 0),
        ] {
            assert_eq!(chosen(name), expected, "{name}");
        }
    }
}
