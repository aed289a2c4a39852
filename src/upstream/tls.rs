//! TLS to a server: the handshake, and a session that can change threads.
//!
//! HTTP/1.1 is all that is offered (RFC 7301). A session belongs to one connection and is never resumed on another
//! pool's, since each pool has its own configuration.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Roots, UpstreamTls};

/// Sessions that a pool remembers, so that a handshake is cheaper: one or two for each server.
const SESSIONS_MAX: usize = 64;

/// Shakes hands with the `https` servers of a pool.
pub(super) struct Handshaker {
    terms: Arc<UpstreamTls>,
    /// Made for the first handshake: most pools have none, and whom the system trusts takes a megabyte.
    connector: OnceCell<TlsConnector>,
}

/// A connection over TLS, whose socket can be taken to another reactor.
#[derive(Debug)]
pub struct TlsSocket(TlsStream<Movable>);

impl Handshaker {
    /// By what was configured.
    pub(super) fn new(terms: UpstreamTls) -> Handshaker {
        Handshaker { terms: Arc::new(terms), connector: OnceCell::new() }
    }

    /// Shakes hands with a server that was reached as `host`, a name or an address, unless the terms name another.
    pub(super) async fn shake_hands_at(&self, socket: TcpStream, host: &str) -> io::Result<TlsSocket> {
        let name = match &self.terms.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidInput, "no certificate can be for its name")
            })?,
        };
        self.shake_hands(socket, name).await
    }

    /// Shakes hands with whoever has a certificate for this name.
    pub(super) async fn shake_hands(
        &self,
        socket: TcpStream,
        name: ServerName<'static>,
    ) -> io::Result<TlsSocket> {
        let connector = self.connector.get_or_try_init(|| self.connector()).await?;
        connector.connect(name, Movable(Some(socket))).await.map(TlsSocket)
    }

    /// The system's files are read where that may take time.
    async fn connector(&self) -> io::Result<TlsConnector> {
        let terms = self.terms.clone();
        tokio::task::spawn_blocking(move || connector(&terms)).await.map_err(io::Error::other)
    }
}

impl TlsSocket {
    /// The socket below.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        self.0.get_ref().0.0.as_ref()
    }

    /// Registers the socket with the reactor of the thread that calls this.
    pub(super) fn move_here(mut self) -> io::Result<TlsSocket> {
        let movable = self.0.get_mut().0;
        if let Some(socket) = movable.0.take() {
            movable.0 = Some(TcpStream::from_std(socket.into_std()?)?);
        }
        Ok(self)
    }

    /// Whether something was said, or the end has come. What belongs to TLS alone is taken in on the way: servers
    /// send tickets when they like (RFC 8446 §4.6.1).
    pub(super) fn has_something(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.0).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_ready()
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A socket that can be lifted out of the session for a moment; it is missing only then.
#[derive(Debug)]
struct Movable(Option<TcpStream>);

impl Movable {
    fn socket(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        self.get_mut().0.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Movable {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Movable {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}

fn connector(terms: &UpstreamTls) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3");
    let builder = match &terms.roots {
        Roots::System => builder.with_root_certificates(system()),
        Roots::These(roots) => builder.with_root_certificates(roots.clone()),
        Roots::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
    };
    let mut config = match &terms.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified.clone())))
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    TlsConnector::from(Arc::new(config))
}

/// Whom the system trusts.
fn system() -> Arc<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate that the system trusts can't be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("the system trusts nobody: the servers of a pool are believed by its `tls.ca`");
    }
    Arc::new(roots)
}

/// Believes whatever a server shows, for `verify: off`. Signatures are checked all the same: what a session is told
/// comes from whoever began it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
