//! Asks a new connection a question before it may take a request: a server that takes connections without having a
//! worker for them answers late, and holds nobody back.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::link::Link;
use super::outgoing::Outgoing;
use super::pool::{NoLease, Pool};
use super::request_head::{Fields, RequestHead};
use super::server::{Fault, Server};
use crate::config::VerifyConfig;

/// Bytes of an answer that nobody is interested in.
const ANSWER_MAX: usize = 64 * 1024;

impl Pool {
    /// Opens a connection that has answered, where that is asked for. As in a queue, a worker may be waited for.
    pub(super) async fn dial_verified(&self, server: &Arc<Server>, worker: usize) -> Result<Link, NoLease> {
        let settings = self.settings.load_full();
        let Some(question) = settings.verify.as_ref().filter(|_| server.is_verifiable(Instant::now())) else {
            return self.dial(server, worker).await;
        };
        let link = self.dial(server, worker).await?;
        let limit = settings.queue.timeout;
        let name = || server.name.clone();
        let failure = match tokio::time::timeout(limit, ask(link, server, question)).await {
            Ok(Ok(Some(link))) => return Ok(link),
            Ok(Ok(None)) => {
                server.note_unverifiable(Instant::now());
                tracing::info!(
                    server = &*server.name,
                    "closes connections that were asked: verify is left out for a minute"
                );
                return self.dial(server, worker).await;
            }
            Ok(Err(source)) => NoLease::Connect { server: name(), source: Arc::new(source) },
            Err(_) => NoLease::ConnectTimeout { server: name(), limit },
        };
        server.metrics.failed(Fault::Verify);
        Err(failure)
    }
}

/// The connection, if it can be used again: whatever the answer was.
async fn ask(mut link: Link, server: &Server, question: &VerifyConfig) -> io::Result<Option<Link>> {
    let mut fields = Fields::default();
    fields.add("host", server.host.as_bytes());
    let head = RequestHead { method: &question.method, target: &question.target, fields };
    link.send(&head, Outgoing::default()).await.map_err(io::Error::other)?;
    let mut left = ANSWER_MAX;
    while !link.is_end() {
        let Some(frame) = std::future::poll_fn(|cx| link.poll_body(cx)).await.transpose()? else { break };
        match left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
            Some(rest) => left = rest,
            None => return Ok(None),
        }
    }
    Ok(Some(link).filter(Link::is_ready))
}
