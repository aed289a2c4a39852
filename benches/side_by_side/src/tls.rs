//! The certificate that TLS contestants present, and the client's side that verifies it and every byte after it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The name in the certificate and in the client's hello.
const NAME: &str = "bench.test";

/// Makes TLS 1.3 client sessions that trust this run's certificate alone.
#[derive(Clone)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Writes a new certificate and its key into `folder`, as the peers' configurations name them.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let made =
            rcgen::generate_simple_self_signed([NAME.to_owned()]).context("can't make a certificate")?;
        fs::write(folder.join("certificate.pem"), made.cert.pem())?;
        let key = folder.join("certificate.key");
        fs::write(&key, made.signing_key.serialize_pem())?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each connection pays its whole handshake, as a new visitor's does.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }

    /// A session for a new connection.
    pub(crate) fn session(&self) -> Result<ClientConnection> {
        Ok(ClientConnection::new(Arc::clone(&self.config), ServerName::try_from(NAME)?)?)
    }
}
