//! TLS of the control port's client: whom it believes, and what it shows.

use std::sync::Arc;

use anyhow::ensure;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::config::{Roots, UpstreamTls};

/// By what the arguments say. Whom the system trusts is read where they name nobody.
pub(super) fn connector(tls: &UpstreamTls) -> anyhow::Result<TlsConnector> {
    let roots = match &tls.roots {
        Roots::These(roots) => roots.clone(),
        Roots::System | Roots::Anybody => system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let shown = SingleCertAndKey::from(identity.certified.clone());
            builder.with_client_cert_resolver(Arc::new(shown))
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system() -> anyhow::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(trusted > 0, "the system trusts nobody: --ca names who may vouch for the control port");
    Ok(Arc::new(roots))
}
