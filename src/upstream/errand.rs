//! Requests to servers that belong to no pool, over connections that are kept for a while: plain, or with TLS and a
//! certificate that has to be right.
//!
//! A kept connection stays with the thread that opened it. How many are kept is bounded for each server and for all.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::http::response::Parts;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::link::{Link, LinkError};
use super::outgoing::Outgoing;
use super::request_head::RequestHead;
use super::socket::Socket;
use super::tls::Handshaker;
use crate::config::{KeepaliveConfig, Roots, UpstreamTls};

/// Connections that are kept of all servers together: a few for each of the stores that one application has.
const IDLE_MAX: usize = 256;

/// The connections of those who run errands.
pub struct Errands {
    /// The oldest first.
    idle: Mutex<VecDeque<Kept>>,
    /// For each server.
    keep: usize,
    time: Duration,
    tls: Handshaker,
}

struct Kept {
    whose: Whose,
    link: Link<()>,
}

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// Where it leads.
    pub address: SocketAddr,
    /// Who has to be there, with TLS.
    pub name: Option<ServerName<'static>>,
}

/// A connection for one request, and the body of its answer. Dropped before that was read to its end it is closed.
pub struct Errand {
    /// `None` once the end was read.
    link: Option<Link<()>>,
    whose: Whose,
    errands: Arc<Errands>,
}

impl Errands {
    /// That keep connections as a pool does, and believe these.
    pub fn new(keepalive: &KeepaliveConfig, roots: Roots) -> Arc<Errands> {
        let KeepaliveConfig { connections, idle, .. } = *keepalive;
        Arc::new(Errands {
            idle: Mutex::default(),
            keep: connections,
            time: idle,
            tls: Handshaker::new(UpstreamTls { roots, ..UpstreamTls::default() }),
        })
    }

    /// A connection that was kept on the thread with this number.
    pub fn kept(self: &Arc<Self>, whose: &Whose, worker: usize) -> Option<Errand> {
        let now = Instant::now();
        loop {
            let mut idle = self.idle.lock();
            // The youngest is the one that is least likely to be closed.
            let index = idle.iter().rposition(|kept| kept.whose == *whose && kept.link.worker() == worker)?;
            let kept = idle.remove(index);
            drop(idle);
            if let Some(mut link) = kept.map(|kept| kept.link)
                && !link.is_stale(now)
            {
                return Some(self.errand(whose, link));
            }
        }
    }

    /// A new connection, from the thread with this number.
    pub async fn connect(self: &Arc<Self>, whose: &Whose, worker: usize) -> io::Result<Errand> {
        let tcp = TcpStream::connect(whose.address).await?;
        tcp.set_nodelay(true)?;
        let socket = match &whose.name {
            None => Socket::Tcp(tcp),
            Some(name) => Socket::Tls(Box::new(self.tls.shake_hands(tcp, name.clone()).await?)),
        };
        Ok(self.errand(whose, Link::open(socket, (), worker)))
    }

    fn errand(self: &Arc<Self>, whose: &Whose, link: Link<()>) -> Errand {
        Errand { link: Some(link), whose: whose.clone(), errands: self.clone() }
    }

    /// Closes what has been idle for too long, or was closed by its server.
    pub fn sweep(&self, now: Instant) {
        let mut idle = self.idle.lock();
        let mut stale = Vec::new();
        for mut kept in std::mem::take(&mut *idle) {
            match kept.link.is_stale(now) {
                true => stale.push(kept),
                false => idle.push_back(kept),
            }
        }
        drop(idle);
        drop(stale);
    }

    fn keep(&self, whose: &Whose, mut link: Link<()>) {
        if !link.rest(self.time, Instant::now()) {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.iter().filter(|kept| kept.whose == *whose).count() >= self.keep {
            return;
        }
        let oldest = if idle.len() >= IDLE_MAX { idle.pop_front() } else { None };
        idle.push_back(Kept { whose: whose.clone(), link });
        drop(idle);
        drop(oldest);
    }
}

impl Errand {
    /// Whether it was kept and may have been closed by its server meanwhile.
    pub fn is_kept(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_reused)
    }

    /// Whose connection it is.
    pub fn whose(&self) -> &Whose {
        &self.whose
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn ask(&mut self, head: &RequestHead<'_>, body: Outgoing) -> Result<Parts, LinkError> {
        let link = self.link.as_mut().ok_or(LinkError::Closed)?;
        let head = link.send(head, body).await?;
        self.hand_back_at_end();
        Ok(head)
    }

    fn hand_back_at_end(&mut self) {
        if let Some(link) = self.link.take_if(|link| link.is_end())
            && link.is_ready()
        {
            self.errands.keep(&self.whose, link);
        }
    }
}

impl Body for Errand {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(link) = &mut self.link else { return Poll::Ready(None) };
        let frame = ready!(link.poll_body(cx));
        match &frame {
            Some(Err(_)) => self.link = None,
            _ => self.hand_back_at_end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.link.is_none()
    }

    /// Nothing is said once the end was read, as for any answer of an upstream.
    fn size_hint(&self) -> SizeHint {
        self.link.as_ref().map_or_else(SizeHint::default, Link::size_hint)
    }
}
