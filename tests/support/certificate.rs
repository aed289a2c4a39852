//! Certificates made for one test, and clients that trust nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::Folder;

pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    chain: String,
    key: String,
}

impl Certificate {
    /// Self-signed, for these names.
    pub(crate) fn for_names(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("plain names");
        Certificate {
            der: made.cert.der().clone(),
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub(crate) fn write(&self, folder: &Folder, name: &str) -> (PathBuf, PathBuf) {
        let chain = folder.write(&format!("{name}.pem"), &self.chain);
        let key = folder.write(&format!("{name}.key"), &self.key);
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("a file of our own");
        (chain, key)
    }

    /// A client that trusts this certificate and speaks one version of TLS.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate of our own");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        let config = builder.expect("a version that the provider knows");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }
}
