//! The control port: nobody gets at it from another machine without saying who they are.

use std::net::SocketAddr;

use super::{Lines, Rules};
use crate::config::draft::ControlDraft;
use crate::config::problem::{Fault, Placed};
use crate::config::{ControlConfig, Endpoint};

impl Rules<'_> {
    pub(super) fn control(
        &mut self,
        mut draft: ControlDraft,
        seen: &mut Lines<SocketAddr>,
    ) -> Option<ControlConfig> {
        let address = draft.address.take();
        let (clients, tls, tls_typed) =
            (draft.clients.take(), std::mem::take(&mut draft.tls), draft.tls_typed);
        let asks = draft.token_typed || clients.is_some();
        let tokens = draft.tokens(self.problems);
        if let Some(place) = clients.as_ref().and_then(|clients| clients.place())
            && tls_typed.is_none()
        {
            let fault = Fault::Needs { key: "client_certificates", other: "tls" };
            self.tell(place, fault, "a certificate of the control port");
        }
        let tls = tls.into_iter().filter_map(|pair| self.certificate(pair)).collect();
        let (clients, subjects) = clients.and_then(|clients| clients.finish(self.problems)).unzip();
        let Placed { place, value: address } = address?;
        match (&address, tls_typed) {
            (Endpoint::Tcp(tcp), _) => {
                self.once(&Placed { place, value: *tcp }, seen);
                if !tcp.ip().to_canonical().is_loopback() && !asks {
                    let expected = "a `token`, `client_certificates`, a loopback address or a Unix socket";
                    self.tell(place, Fault::OpenControl(tcp.to_string()), expected);
                }
            }
            // Nobody listens in there, and who asks is known to the system.
            (Endpoint::Unix(_), Some(place)) => {
                let fault = Fault::Needs { key: "control.tls", other: "an IP address and a port" };
                self.tell(place, fault, "another `address`, or no `tls`");
            }
            (Endpoint::Unix(_), None) => {}
        }
        Some(ControlConfig { address, tokens, tls, clients, subjects: subjects.unwrap_or_default() })
    }
}
