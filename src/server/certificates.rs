//! Certificates are taken anew when their files change: whoever renews them need not tell us.
//!
//! Files are looked at by their times, which works on every file system. A pair that doesn't fit together is half
//! written or wrong: the one before stays in use, and is tried again at the next change.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Server;
use crate::config::{Certificate, ClientCertificates, Config, ListenerConfig};
use crate::metrics::Metrics;

/// Between two looks at the files.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// The files of certificates as they were seen last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Seen {
    /// As they are now. What can't be looked at has no time.
    pub(super) fn now(config: &Config) -> Seen {
        let certificates = config.listen.iter().flat_map(|listener| &listener.tls);
        let own = certificates.flat_map(|certificate| [&certificate.certificate, &certificate.key]);
        let clients = config.listen.iter().filter_map(|listener| listener.clients.as_ref());
        let paths = own.chain(clients.flat_map(|clients| &clients.files));
        let look = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok();
            (path.clone(), found.and_then(|found| Some((found.modified().ok()?, found.len()))))
        };
        Seen(paths.map(look).collect())
    }
}

impl Server {
    /// Takes certificates whose files have changed since `seen`. Connections that are open keep theirs.
    pub(super) async fn renew_certificates(&mut self, seen: &mut Seen) {
        let now = Seen::now(&self.config);
        if *seen == now {
            return;
        }
        *seen = now;
        let listen = match renewed(&self.config.listen) {
            Ok(listen) => listen,
            Err(problem) => return tracing::warn!("a certificate has changed and is not taken: {problem}"),
        };
        match self.doors.plan(&listen) {
            Ok(change) => {
                self.doors.apply(change, &self.workers).await;
                self.config.listen = listen;
                note_expiry(&self.config, &self.metrics);
                tracing::info!("certificates have changed and are in use");
            }
            Err(problem) => tracing::warn!("a certificate has changed and is not taken: {problem}"),
        }
    }
}

fn renewed(listen: &[ListenerConfig]) -> Result<Vec<ListenerConfig>, String> {
    let renew = |listener: &ListenerConfig| {
        let tls = listener.tls.iter().map(Certificate::read_again).collect::<Result<_, _>>()?;
        let clients = listener.clients.as_ref().map(ClientCertificates::read_again).transpose()?;
        Ok(ListenerConfig { tls, clients, ..listener.clone() })
    };
    listen.iter().map(renew).collect()
}

/// Says when the certificates in use end.
pub(super) fn note_expiry(config: &Config, metrics: &Metrics) {
    metrics.tls_certificate_not_after.reset();
    for certificate in config.listen.iter().flat_map(|listener| &listener.tls) {
        let file = certificate.certificate.display().to_string();
        metrics.tls_certificate_not_after.with_label_values(&[file.as_str()]).set(certificate.not_after);
    }
}
