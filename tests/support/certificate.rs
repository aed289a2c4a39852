//! Certificates made for one test, and clients that trust nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
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
        self.client_with(version, None)
    }

    /// The same, which shows a certificate of its own where it is asked for one.
    pub(crate) fn client_with(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate of our own");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        let config = builder.expect("a version that the provider knows");
        let config = config.with_root_certificates(roots);
        Arc::new(match identity {
            None => config.with_no_client_auth(),
            Some(Identity { der, key }) => config
                .with_client_auth_cert(vec![der.clone()], key.clone_key())
                .expect("a key that fits its certificate"),
        })
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// One who signs certificates of clients.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The certificate of a client, with its key.
pub(crate) struct Identity {
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().expect("randomness");
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).expect("a key of our own").pem();
        Authority { issuer: Issuer::new(parameters, key), pem }
    }

    /// Writes `NAME.pem`.
    pub(crate) fn write(&self, folder: &Folder, name: &str) {
        folder.write(&format!("{name}.pem"), &self.pem);
    }

    pub(crate) fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("randomness");
        let parameters = CertificateParams::new(vec![name.to_string()]).expect("a plain name");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a key of our own");
        Identity { der: certificate.der().clone(), key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }
}

impl Identity {
    /// The value of `Client-Cert` (RFC 9440 §2.1).
    pub(crate) fn field(&self) -> String {
        use base64::Engine as _;
        format!(":{}:", base64::engine::general_purpose::STANDARD.encode(&self.der))
    }
}
