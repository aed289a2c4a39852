//! The other side: clients, certificates, and the event loop of one connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use crate::wire::{Fault, Scratch, Wire, WireStream};

pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of a socket's buffer: small enough to be full all the time, large enough for TCP not to wait for its timers.
pub(super) const BUFFER: usize = 16 << 10;

/// How a connection of a test is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Tls13(rustls::CipherSuite),
    Tls12,
}

pub(super) const AES_128: Kind = Kind::Tls13(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
pub(super) const AES_256: Kind = Kind::Tls13(rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
pub(super) const CHACHA: Kind = Kind::Tls13(rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
pub(super) const ALL: [Kind; 5] = [Kind::Plain, AES_128, AES_256, CHACHA, Kind::Tls12];

/// The event loop of one connection: edge triggered, so that a short count must be followed by an edge.
pub(super) struct Turns {
    poll: Poll,
    pub(super) scratch: Scratch,
}

impl Turns {
    pub(super) fn of(wire: &Wire) -> Turns {
        let poll = Poll::new().unwrap();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut SourceFd(&wire.socket().unwrap().as_raw_fd()), Token(0), interest)
            .unwrap();
        Turns { poll, scratch: Scratch::new() }
    }

    pub(super) fn wait(&mut self) {
        let mut events = Events::with_capacity(4);
        self.poll.poll(&mut events, Some(DEADLINE)).unwrap();
        assert!(!events.is_empty(), "nothing happened within {DEADLINE:?}");
    }

    /// One read, waited for.
    pub(super) fn read(&mut self, wire: &mut Wire, size: usize, arrived: &mut Vec<u8>) -> io::Result<usize> {
        let mut into = vec![0; size];
        loop {
            match wire.read(&mut into, &mut self.scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(),
                Ok(count) => {
                    arrived.extend(&into[..count]);
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Writes until the socket is full and a record half sent; returns what must be offered next.
pub(super) fn fill(wire: &mut Wire, scratch: &mut Scratch) -> Vec<u8> {
    socket2::SockRef::from(wire.socket().unwrap()).set_send_buffer_size(BUFFER).unwrap();
    loop {
        let bytes = noise(50_000);
        match wire.write(&bytes, scratch) {
            Ok(count) if wire.half_sent() > 0 => return bytes[count..].to_vec(),
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                assert!(wire.half_sent() > 0, "the socket filled up between two records");
                return bytes;
            }
        }
    }
}

pub(super) enum Client {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    pub(super) fn tls(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        match self {
            Client::Plain(_) => panic!("a client without TLS"),
            Client::Tls(stream) => stream,
        }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Client::Plain(socket) => socket,
            Client::Tls(stream) => &mut stream.sock,
        }
    }

    /// Nothing comes after this: said in TLS, or by the end of the stream.
    pub(super) fn end(&mut self) {
        match self {
            Client::Plain(socket) => socket.shutdown(Shutdown::Write).unwrap(),
            Client::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
        }
    }
}

impl Read for Client {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Client::Plain(socket) => socket.read(into),
            Client::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Client::Plain(socket) => socket.write(bytes),
            Client::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Client::Plain(socket) => socket.flush(),
            Client::Tls(stream) => stream.flush(),
        }
    }
}

/// Reads to the end, expecting about `length` bytes, in small pieces so that the other side's buffer stays full.
pub(super) fn spawn_slow_reader(mut client: Client, length: usize) -> JoinHandle<Vec<u8>> {
    socket2::SockRef::from(&*client.socket()).set_recv_buffer_size(BUFFER).unwrap();
    thread::spawn(move || {
        let mut arrived = Vec::with_capacity(length);
        let mut part = [0; 3_000];
        loop {
            match client.read(&mut part).unwrap() {
                0 => return arrived,
                count => arrived.extend(&part[..count]),
            }
        }
    })
}

/// A wire whose client has finished the handshake.
pub(super) fn connected(kind: Kind) -> (Wire, Client) {
    let (socket, client) = sockets(kind);
    let talk = thread::spawn(move || {
        let mut client = client;
        if let Client::Tls(stream) = &mut client {
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock).unwrap();
            }
        }
        client
    });
    let wire = runtime().block_on(async { accept(kind, socket).await.into_wire().await.unwrap().0 });
    assert_eq!(wire.is_tls(), kind != Kind::Plain);
    (wire, talk.join().unwrap())
}

/// Both ends, before any handshake.
pub(super) fn sockets(kind: Kind) -> (TcpStream, Client) {
    let (server, client) = pair();
    let client = match kind {
        Kind::Plain => Client::Plain(client),
        Kind::Tls12 | Kind::Tls13(_) => {
            let name = "localhost".try_into().unwrap();
            let connection = ClientConnection::new(certified().client(kind), name).unwrap();
            Client::Tls(Box::new(StreamOwned::new(connection, client)))
        }
    };
    (server, client)
}

pub(super) async fn accept(kind: Kind, socket: TcpStream) -> WireStream {
    let stream = WireStream::plain(socket);
    match kind {
        Kind::Plain => stream,
        Kind::Tls12 | Kind::Tls13(_) => stream.shake_hands(certified().server(kind)).await.unwrap(),
    }
}

pub(super) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let server = listener.accept().unwrap().0;
    server.set_nonblocking(true).unwrap();
    (server, client)
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A certificate of its own and what both sides make of it.
pub(super) struct Certified {
    certificate: rustls::pki_types::CertificateDer<'static>,
    key: rustls::pki_types::PrivatePkcs8KeyDer<'static>,
}

pub(super) fn certified() -> &'static Certified {
    static CERTIFIED: std::sync::OnceLock<Certified> = std::sync::OnceLock::new();
    CERTIFIED.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Certified { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der().into() }
    })
}

impl Certified {
    pub(super) fn server(&self, kind: Kind) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider(kind))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key().into())
            .unwrap();
        config.enable_secret_extraction = true;
        Arc::new(config)
    }

    fn client(&self, kind: Kind) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let versions: &[_] = match kind {
            Kind::Tls12 => &[&rustls::version::TLS12],
            Kind::Plain | Kind::Tls13(_) => &[&rustls::version::TLS13],
        };
        let config = ClientConfig::builder_with_provider(provider(kind))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// ring with the one suite of TLS 1.3 that is tested, and all of TLS 1.2.
pub(super) fn provider(kind: Kind) -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    if let Kind::Tls13(wanted) = kind {
        provider.cipher_suites.retain(|suite| suite.tls13().is_none() || suite.suite() == wanted);
    }
    Arc::new(provider)
}

pub(super) fn fault<T>(outcome: io::Result<T>) -> Fault {
    let Err(error) = outcome else { panic!("no error") };
    *error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("no fault: {error}"))
}

/// Bytes without a period that could hide a lost or repeated part.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}
