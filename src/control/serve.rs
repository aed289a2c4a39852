//! The control port's sockets: accepting, TLS where it is spoken, one small HTTP/1 server for each connection, bounded in
//! number and time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Control, Peer};
use crate::config::{Endpoint, Subject};

/// Connections at once: publishers keep theirs, so that a few hundred are a large site.
const CONNECTIONS_MAX: usize = 1024;
/// From accept, or from the last answer, to the end of the next head.
const IDLE: Duration = Duration::from_secs(90);
/// From accept to the end of TLS's handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A bound control port.
pub enum ControlListener {
    /// On an IP address.
    Tcp(std::net::TcpListener),
    /// On a path, which is removed when the listener goes.
    Unix(StdUnixListener, PathBuf),
}

impl ControlListener {
    /// Binds. A socket file that nobody listens on any more is replaced.
    pub fn bind(address: &Endpoint) -> io::Result<ControlListener> {
        match address {
            Endpoint::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(ControlListener::Tcp(listener))
            }
            Endpoint::Unix(path) => {
                let listener = bind_unix(path)?;
                listener.set_nonblocking(true)?;
                Ok(ControlListener::Unix(listener, path.clone()))
            }
        }
    }

    /// The address as bound, for a TCP listener.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            ControlListener::Tcp(listener) => listener.local_addr().ok(),
            ControlListener::Unix(..) => None,
        }
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        if let ControlListener::Unix(_, path) = self {
            // Whoever starts next replaces a file that is left.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_unix(path: &PathBuf) -> io::Result<StdUnixListener> {
    match StdUnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            StdUnixListener::bind(path)
        }
        result => result,
    }
}

impl Control {
    /// Serves until it is dropped. Runs on a `LocalSet`.
    pub async fn serve(self: Rc<Self>, listener: ControlListener) -> io::Result<()> {
        let mut connections = JoinSet::new();
        // Ends with the others.
        connections.spawn_local(self.clone().keep_order());
        match &listener {
            ControlListener::Tcp(socket) => {
                let socket = TcpListener::from_std(socket.try_clone()?)?;
                loop {
                    let accepted = socket.accept().await;
                    let accepted = accepted.map(|(stream, peer)| (stream, peer.to_string()));
                    self.connection(accepted, &mut connections).await;
                }
            }
            ControlListener::Unix(socket, _) => {
                let socket = UnixListener::from_std(socket.try_clone()?)?;
                loop {
                    let accepted = socket.accept().await.map(|(stream, _)| {
                        let peer = named(&stream);
                        (stream, peer)
                    });
                    self.connection(accepted, &mut connections).await;
                }
            }
        }
    }

    async fn connection<S>(self: &Rc<Self>, accepted: io::Result<(S, String)>, connections: &mut JoinSet<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) if connections.len() <= CONNECTIONS_MAX => {
                connections.spawn_local(self.clone().one_connection(stream, peer));
            }
            Ok(_) => tracing::warn!(limit = CONNECTIONS_MAX, "the control port has too many connections"),
            Err(error) => {
                tracing::warn!(%error, "the control port can't accept");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }

    async fn one_connection<S: AsyncRead + AsyncWrite + Unpin>(self: Rc<Self>, stream: S, name: String) {
        let Some(tls) = self.guard.tls() else {
            return self.requests(stream, Peer { name, subject: None }).await;
        };
        match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let subject = shown.and_then(|certificate| Subject::of_certificate(certificate));
                self.requests(stream, Peer { name, subject }).await;
            }
            Ok(Err(error)) => {
                self.refused("tls", &name);
                tracing::debug!(%error, peer = name, "no handshake at the control port");
            }
            Err(_) => self.refused("tls", &name),
        }
    }

    async fn requests<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, peer: Peer) {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.answer(request, &peer).await) });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the control port broke");
        }
    }
}

/// The process at the other end, as the system knows it.
fn named(stream: &UnixStream) -> String {
    match stream.peer_cred() {
        Ok(peer) => format!("uid {} pid {}", peer.uid(), peer.pid().unwrap_or_default()),
        Err(_) => "unix".to_owned(),
    }
}
