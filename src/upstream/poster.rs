//! Posts to URLs that belong to no pool: a request with a body that is here, and the whole of a small answer.
//!
//! Names are looked up each time. A clock is the caller's: whoever waits no longer drops the future, and with it the
//! connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::Method;
use hyper::body::Body as _;
use hyper::http::response::Parts;
use rustls::pki_types::ServerName;

use super::errand::{Errand, Errands, Whose};
use super::link::LinkError;
use super::outgoing::{Outgoing, Pace, Upload};
use super::request_head::{Fields, RequestHead};
use crate::body::ClientBody;
use crate::config::{KeepaliveConfig, PostUrl, Roots};

/// Posts, on one thread.
pub struct Poster {
    errands: Arc<Errands>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unposted {
    /// It can't be reached, or isn't who it should be.
    #[error("it can't be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// It gave no answer.
    #[error("it gave no answer: {0}")]
    NoAnswer(#[source] LinkError),
    /// Its answer broke off.
    #[error("it broke off its answer: {0}")]
    Broken(#[source] io::Error),
    /// Its answer is longer than anybody wants to know.
    #[error("its answer is longer than {0} bytes")]
    TooLarge(usize),
}

/// All of them are on the one thread that posts.
const WORKER: usize = usize::MAX;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

impl Poster {
    /// Keeps so many connections for so long, and believes these where a URL is `https`.
    pub fn new(keepalive: &KeepaliveConfig, roots: Roots) -> Poster {
        Poster { errands: Errands::new(keepalive, roots) }
    }

    /// Posts once, and again where a connection that was kept turns out to be closed.
    ///
    /// # Errors
    /// There is no answer, or one with a body of more than `limit` bytes.
    pub async fn post(
        &self,
        url: &PostUrl,
        fields: &[(&str, &[u8])],
        body: Bytes,
        limit: usize,
    ) -> Result<(Parts, Bytes), Unposted> {
        let (mut errand, addresses) = self.connect(url).await?;
        let mut answered = ask(&mut errand, url, fields, body.clone()).await;
        if errand.is_kept() && answered.is_err() {
            errand = self.fresh(&addresses).await?;
            answered = ask(&mut errand, url, fields, body).await;
        }
        let head = answered.map_err(Unposted::NoAnswer)?;
        Ok((head, collect(&mut errand, limit).await?))
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        self.errands.sweep(Instant::now());
    }

    async fn connect(&self, url: &PostUrl) -> Result<(Errand, Vec<Whose>), Unposted> {
        let name = match url.secure {
            true => {
                let name = ServerName::try_from(url.host.clone());
                Some(name.map_err(|error| Unposted::Unreachable(io::Error::other(error)))?)
            }
            false => None,
        };
        let found = resolve(&url.host, url.port).await.map_err(Unposted::Unreachable)?;
        let whose = |address: SocketAddr| Whose { address, name: name.clone() };
        let addresses: Vec<Whose> = found.into_iter().take(ADDRESSES_MAX).map(whose).collect();
        match addresses.iter().find_map(|whose| self.errands.kept(whose, WORKER)) {
            Some(errand) => Ok((errand, addresses)),
            None => Ok((self.fresh(&addresses).await?, addresses)),
        }
    }

    async fn fresh(&self, addresses: &[Whose]) -> Result<Errand, Unposted> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for whose in addresses {
            match self.errands.connect(whose, WORKER).await {
                Ok(errand) => return Ok(errand),
                Err(error) => last = error,
            }
        }
        Err(Unposted::Unreachable(last))
    }
}

async fn ask(
    errand: &mut Errand,
    url: &PostUrl,
    more: &[(&str, &[u8])],
    body: Bytes,
) -> Result<Parts, LinkError> {
    let length = body.len().to_string();
    let mut fields = Fields::with_capacity(more.len() + 3);
    fields.add("host", url.authority.as_bytes());
    fields.add("user-agent", concat!("perihelion/", env!("CARGO_PKG_VERSION")).as_bytes());
    more.iter().for_each(|(name, value)| fields.add(name, *value));
    fields.add("content-length", length.as_bytes());
    let upload = Upload::new(None, Pace::default());
    let body = Outgoing::new(None, Some(ClientBody::of(body)), &upload);
    errand.ask(&RequestHead { method: &Method::POST, target: &url.target, fields }, body).await
}

async fn collect(errand: &mut Errand, limit: usize) -> Result<Bytes, Unposted> {
    let mut whole = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *errand).poll_frame(cx)).await;
        let Some(frame) = frame.transpose().map_err(Unposted::Broken)? else { return Ok(whole.into()) };
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(Unposted::TooLarge(limit));
        }
        whole.extend_from_slice(&data);
    }
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
    }
}
