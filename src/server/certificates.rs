//! Certificates are taken anew when their files change: whoever renews them need not tell us.
//!
//! Files are looked at by their times, which works on every file system. A pair that doesn't fit together is half
//! written or wrong: the one before stays in use, and is tried again at the next change.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Server;
use crate::config::{Certificate, ClientCertificates, Config, ControlConfig, ListenerConfig};
use crate::metrics::Metrics;

/// Between two looks at the files.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// The files of certificates as they were seen last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Seen {
    /// As they are now. What can't be looked at has no time.
    pub(super) fn now(config: &Config) -> Seen {
        let own = served(config).flat_map(|certificate| [&certificate.certificate, &certificate.key]);
        let clients = config.listen.iter().filter_map(|listener| listener.clients.as_ref());
        let clients = clients.chain(config.control.iter().filter_map(|control| control.clients.as_ref()));
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
        match self.renew().await {
            Ok(()) => {
                note_expiry(&self.config, &self.metrics);
                tracing::info!("certificates have changed and are in use");
            }
            Err(problem) => tracing::warn!("a certificate has changed and is not taken: {problem}"),
        }
    }

    /// All of it or nothing.
    async fn renew(&mut self) -> Result<(), String> {
        let listen = renewed_listeners(&self.config.listen)?;
        let control = self.config.control.as_ref().map(renewed_control).transpose()?;
        let change = self.doors.plan(&listen).map_err(|error| error.to_string())?;
        let entrance = self.entrance_of(control.as_ref()).map_err(|error| error.to_string())?;
        self.doors.apply(change, &self.workers).await;
        self.open_control(entrance);
        (self.config.listen, self.config.control) = (listen, control);
        Ok(())
    }
}

fn renewed_listeners(listen: &[ListenerConfig]) -> Result<Vec<ListenerConfig>, String> {
    let renew = |listener: &ListenerConfig| {
        let (tls, clients) = renewed(&listener.tls, listener.clients.as_ref())?;
        Ok(ListenerConfig { tls, clients, ..listener.clone() })
    };
    listen.iter().map(renew).collect()
}

fn renewed_control(control: &ControlConfig) -> Result<ControlConfig, String> {
    let (tls, clients) = renewed(&control.tls, control.clients.as_ref())?;
    Ok(ControlConfig { tls, clients, ..control.clone() })
}

type Renewed = (Vec<Certificate>, Option<ClientCertificates>);

fn renewed(tls: &[Certificate], clients: Option<&ClientCertificates>) -> Result<Renewed, String> {
    let tls = tls.iter().map(Certificate::read_again).collect::<Result<_, _>>()?;
    Ok((tls, clients.map(ClientCertificates::read_again).transpose()?))
}

/// Every certificate that somebody is shown.
fn served(config: &Config) -> impl Iterator<Item = &Certificate> {
    let listeners = config.listen.iter().flat_map(|listener| &listener.tls);
    listeners.chain(config.control.iter().flat_map(|control| &control.tls))
}

/// Says when the certificates in use end.
pub(super) fn note_expiry(config: &Config, metrics: &Metrics) {
    metrics.tls_certificate_not_after.reset();
    for certificate in served(config) {
        let file = certificate.certificate.display().to_string();
        metrics.tls_certificate_not_after.with_label_values(&[file.as_str()]).set(certificate.not_after);
    }
}
