//! Wires against a real TLS client, over loopback sockets, every byte compared.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Fault, Scratch, Wire, WireError, WireStream};

const DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of a socket's buffer: small enough to be full all the time, large enough for TCP not to wait for its timers.
const BUFFER: usize = 16 << 10;

/// How a connection of a test is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Tls13(rustls::CipherSuite),
    Tls12,
}

const AES_128: Kind = Kind::Tls13(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
const AES_256: Kind = Kind::Tls13(rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
const CHACHA: Kind = Kind::Tls13(rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
const ALL: [Kind; 5] = [Kind::Plain, AES_128, AES_256, CHACHA, Kind::Tls12];

#[test]
fn every_byte_arrives_though_records_are_half_sent() {
    for kind in ALL {
        let (mut wire, client) = connected(kind);
        socket2::SockRef::from(wire.socket()).set_send_buffer_size(BUFFER).unwrap();
        let sent = noise(700_001);
        let reader = spawn_slow_reader(client, sent.len());
        let mut turns = Turns::of(&wire);
        let (mut at, mut half_sent) = (0, 0);
        let lengths = [150, 20_000, 1, 16_384, 100_000, 16_385];
        for round in 0.. {
            // Whole runs of different lengths, each offered until it is out, as a shard would.
            let end = (at + lengths[round % lengths.len()]).min(sent.len());
            while at < end {
                let (first, second) = sent[at..end].split_at((end - at) / 3);
                match wire.write2(first, second, &mut turns.scratch) {
                    Ok(count) => at += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => turns.wait(),
                    Err(error) => panic!("{kind:?}: {error}"),
                }
                half_sent += usize::from(wire.half_sent() > 0);
                assert!(wire.half_sent() <= 48 << 10);
            }
            if at == sent.len() {
                break;
            }
        }
        wire.close();
        assert!(reader.join().unwrap() == sent, "{kind:?}: other bytes arrived");
        assert_eq!(half_sent > 0, kind != Kind::Plain, "{kind:?}: nothing was half sent, nothing was tested");
    }
}

#[test]
fn every_byte_of_the_client_arrives_whatever_the_size_of_the_buffer() {
    for kind in ALL {
        for size in [1, 100, 16_384, 40_000] {
            let (mut wire, mut client) = connected(kind);
            let sent = noise(if size == 1 { 20_000 } else { 200_000 });
            let expected = sent.clone();
            let writer = thread::spawn(move || {
                for part in sent.chunks(7_001) {
                    client.write_all(part).unwrap();
                }
                client.end();
                client
            });
            let mut turns = Turns::of(&wire);
            let mut arrived = Vec::new();
            while turns.read(&mut wire, size, &mut arrived).unwrap() > 0 {}
            assert!(arrived == expected, "{kind:?} in reads of {size}");
            assert!(matches!(wire.read(&mut [0], &mut turns.scratch), Ok(0)), "{kind:?}: an end stays one");
            drop(writer.join().unwrap());
        }
    }
}

#[test]
fn many_slices_are_one_run_of_bytes() {
    for kind in ALL {
        let (mut wire, client) = connected(kind);
        let sent = noise(30_000);
        let reader = spawn_slow_reader(client, sent.len());
        let slices: Vec<_> = sent.chunks(11).map(IoSlice::new).collect();
        let count = wire.write_vectored(&slices, &mut Scratch::new()).unwrap();
        assert_eq!(count, sent.len());
        wire.close();
        assert!(reader.join().unwrap() == sent, "{kind:?}");
    }
}

#[test]
fn other_bytes_than_those_of_a_half_sent_record_are_never_sealed() {
    let wrong: [fn(Vec<u8>) -> Vec<u8>; 2] = [
        |mut bytes| {
            bytes[0] ^= 1;
            bytes
        },
        |bytes| bytes[..1].to_vec(),
    ];
    for spoil in wrong {
        let (mut wire, _client) = connected(AES_128);
        let mut scratch = Scratch::new();
        let rest = fill(&mut wire, &mut scratch);
        let outcome = wire.write(&spoil(rest), &mut scratch);
        assert_eq!(fault(outcome), Fault::OtherBytes);
    }
}

#[test]
fn a_goodbye_is_an_end_and_so_is_the_end_of_the_stream() {
    for kind in ALL {
        for say_goodbye in [true, false] {
            let (mut wire, mut client) = connected(kind);
            client.write_all(b"last words").unwrap();
            if say_goodbye {
                client.end();
            }
            client.socket().shutdown(Shutdown::Write).unwrap();
            let mut turns = Turns::of(&wire);
            let mut arrived = Vec::new();
            while turns.read(&mut wire, 64, &mut arrived).unwrap() > 0 {}
            assert_eq!(arrived, b"last words", "{kind:?} {say_goodbye}");
        }
    }
}

#[test]
fn a_client_reads_a_clean_end_after_close() {
    for kind in ALL {
        let (mut wire, mut client) = connected(kind);
        wire.write(b"bye", &mut Scratch::new()).unwrap();
        wire.close();
        let mut arrived = Vec::new();
        // rustls calls an end without close_notify an error.
        client.read_to_end(&mut arrived).unwrap();
        assert_eq!(arrived, b"bye", "{kind:?}");
    }
}

#[test]
fn new_keys_end_the_connection_after_what_came_before_them() {
    let (mut wire, mut client) = connected(AES_256);
    client.write_all(b"before").unwrap();
    client.tls().conn.refresh_traffic_keys().unwrap();
    client.write_all(b"behind").unwrap();
    let mut turns = Turns::of(&wire);
    let mut arrived = Vec::new();
    let outcome = loop {
        match turns.read(&mut wire, 64, &mut arrived) {
            Ok(count) => assert!(count > 0),
            Err(error) => break Err::<(), _>(error),
        }
    };
    assert_eq!(fault(outcome), Fault::Handshake(24));
    assert_eq!(arrived, b"before");
    wire.close();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the client is told with a close_notify");
}

#[test]
fn what_is_no_record_of_the_client_ends_the_connection() {
    let table: [(&[u8], Fault); 5] = [
        (b"\x17\x03\x03\x00\x20 not sealed with anybody's keys...", Fault::BadMac),
        (b"\x17\x03\x03\x41\x01", Fault::Oversized),
        (b"\x15\x03\x03\x00\x02\x02\x50", Fault::Unexpected(21)),
        (b"GET / HTTP/1.1\r\n\r\n", Fault::NotTls),
        (b"\x17\x03\x03\x00\x20 cut", Fault::Truncated),
    ];
    for (bytes, expected) in table {
        let (mut wire, mut client) = connected(AES_128);
        client.socket().write_all(bytes).unwrap();
        client.socket().shutdown(Shutdown::Write).unwrap();
        let outcome = Turns::of(&wire).read(&mut wire, 64, &mut Vec::new());
        assert_eq!(fault(outcome), expected);
        wire.close();
        let seen = client.read(&mut [0]);
        match expected.alert() {
            Some(alert) => {
                let error = seen.unwrap_err().to_string();
                assert!(error.contains(&format!("{:?}", rustls::AlertDescription::from(alert))), "{error}");
            }
            None => assert_eq!(seen.unwrap(), 0),
        }
    }
}

#[test]
fn a_connection_goes_to_and_fro_with_bytes_under_way() {
    for kind in ALL {
        let (mut wire, mut client) = connected(kind);
        let mut scratch = Scratch::new();
        for round in 0..3 {
            let request = noise(20_000 + round);
            client.write_all(&request).unwrap();
            // A record's first part is read by one owner, the rest by the next.
            let mut arrived = Vec::new();
            Turns::of(&wire).read(&mut wire, 5_000, &mut arrived).unwrap();
            wire = runtime().block_on(async {
                let mut stream = WireStream::from_wire(wire).unwrap();
                assert_eq!(stream.session().is_some(), kind == Kind::Tls12);
                let mut some = vec![0; 12_000 - arrived.len()];
                stream.read_exact(&mut some).await.unwrap();
                arrived.extend(some);
                stream.write_all(b"from the stream, ").await.unwrap();
                stream.into_wire().await.unwrap()
            });
            let mut turns = Turns::of(&wire);
            while arrived.len() < request.len() {
                assert!(turns.read(&mut wire, 3_000, &mut arrived).unwrap() > 0);
            }
            assert!(arrived == request, "{kind:?} round {round}");
            wire.write(b"from the wire", &mut scratch).unwrap();
            let mut answer = [0; 30];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"from the stream, from the wire", "{kind:?} round {round}");
        }
    }
}

#[test]
fn what_came_with_the_request_is_read_after_the_take_over() {
    for kind in ALL {
        let (socket, mut client) = sockets(kind);
        let talk = thread::spawn(move || {
            client.write_all(b"first").unwrap();
            client.write_all(b"second").unwrap();
            client.write_all(&noise(17_000)).unwrap();
            client.end();
            client
        });
        let mut wire = runtime().block_on(async {
            let mut stream = accept(kind, socket).await;
            let mut first = [0; 3];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"fir");
            stream.into_wire().await.unwrap()
        });
        assert!(kind == Kind::Plain || wire.holds_input());
        let mut turns = Turns::of(&wire);
        let mut arrived = Vec::new();
        while turns.read(&mut wire, 4_000, &mut arrived).unwrap() > 0 {}
        assert!(arrived == [b"stsecond", &noise(17_000)[..]].concat(), "{kind:?}");
        drop(talk.join().unwrap());
    }
}

#[test]
fn an_answer_to_new_keys_is_out_before_the_session_goes() {
    let (socket, mut client) = sockets(AES_128);
    let talk = thread::spawn(move || {
        client.write_all(b"old").unwrap();
        client.tls().conn.refresh_traffic_keys().unwrap();
        client.write_all(b"new").unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"held");
        client.write_all(b"more").unwrap();
        client
    });
    let mut wire = runtime().block_on(async {
        let mut stream = accept(AES_128, socket).await;
        let mut request = [0; 6];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"oldnew");
        stream.into_wire().await.unwrap()
    });
    let mut turns = Turns::of(&wire);
    wire.write(b"held", &mut turns.scratch).unwrap();
    let mut arrived = Vec::new();
    turns.read(&mut wire, 64, &mut arrived).unwrap();
    assert_eq!(arrived, b"more");
    drop(talk.join().unwrap());
}

#[test]
fn a_stream_sends_what_it_sealed_even_if_other_bytes_are_offered_next() {
    for kind in ALL {
        let (mut wire, client) = connected(kind);
        wire.write(b"0", &mut Scratch::new()).unwrap();
        socket2::SockRef::from(wire.socket()).set_send_buffer_size(BUFFER).unwrap();
        let sent = noise(400_000);
        let reader = spawn_slow_reader(client, 1 + sent.len());
        runtime().block_on(async {
            let mut stream = WireStream::from_wire(wire).unwrap();
            let mut at = 0;
            while at < sent.len() {
                // Now long, now short: `Pending` binds nobody to the same bytes.
                let length = if at % 2 == 0 { 40_000 } else { 7 };
                let end = (at + length).min(sent.len());
                let halves = sent[at..end].split_at((end - at) / 2);
                at += stream.write_vectored(&[IoSlice::new(halves.0), IoSlice::new(halves.1)]).await.unwrap();
            }
            stream.shutdown().await.unwrap();
        });
        assert!(reader.join().unwrap() == [b"0", &sent[..]].concat(), "{kind:?}");
    }
}

#[test]
fn a_half_sent_record_keeps_a_connection_where_its_plaintext_is() {
    let (mut wire, _client) = connected(CHACHA);
    fill(&mut wire, &mut Scratch::new());
    assert!(matches!(WireStream::from_wire(wire), Err(WireError::HalfSent)));
}

#[test]
fn keys_are_only_taken_where_the_configuration_allows_it() {
    let (socket, client) = sockets(AES_128);
    let talk = thread::spawn(move || {
        let mut client = client;
        client.write_all(b"hello").unwrap();
        client
    });
    let outcome = runtime().block_on(async {
        let mut config = (*certified().server(AES_128)).clone();
        config.enable_secret_extraction = false;
        let stream = WireStream::accept(tokio_socket(socket), Arc::new(config)).await.unwrap();
        stream.into_wire().await
    });
    assert!(matches!(outcome, Err(WireError::KeysKept(_))));
    drop(talk.join().unwrap());
}

#[test]
fn a_client_that_speaks_no_tls_is_refused_at_its_first_bytes() {
    let (server, mut client) = pair();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let config = certified().server(AES_128);
    let outcome = runtime().block_on(async { WireStream::accept(tokio_socket(server), config).await });
    assert_eq!(fault(outcome.map(drop)), Fault::NotTls);
}

/// The event loop of one connection: edge triggered, so that a short count must be followed by an edge.
struct Turns {
    poll: Poll,
    scratch: Scratch,
}

impl Turns {
    fn of(wire: &Wire) -> Turns {
        let poll = Poll::new().unwrap();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut SourceFd(&wire.as_raw_fd()), Token(0), interest).unwrap();
        Turns { poll, scratch: Scratch::new() }
    }

    fn wait(&mut self) {
        let mut events = Events::with_capacity(4);
        self.poll.poll(&mut events, Some(DEADLINE)).unwrap();
        assert!(!events.is_empty(), "nothing happened within {DEADLINE:?}");
    }

    /// One read, waited for.
    fn read(&mut self, wire: &mut Wire, size: usize, arrived: &mut Vec<u8>) -> io::Result<usize> {
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
fn fill(wire: &mut Wire, scratch: &mut Scratch) -> Vec<u8> {
    socket2::SockRef::from(wire.socket()).set_send_buffer_size(BUFFER).unwrap();
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

enum Client {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    fn tls(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        match self {
            Client::Plain(_) => panic!("a client without TLS"),
            Client::Tls(stream) => stream,
        }
    }

    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Client::Plain(socket) => socket,
            Client::Tls(stream) => &mut stream.sock,
        }
    }

    /// Nothing comes after this: said in TLS, or by the end of the stream.
    fn end(&mut self) {
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
fn spawn_slow_reader(mut client: Client, length: usize) -> JoinHandle<Vec<u8>> {
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
fn connected(kind: Kind) -> (Wire, Client) {
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
    let wire = runtime().block_on(async { accept(kind, socket).await.into_wire().await.unwrap() });
    assert_eq!(wire.is_tls(), kind != Kind::Plain);
    (wire, talk.join().unwrap())
}

/// Both ends, before any handshake.
fn sockets(kind: Kind) -> (TcpStream, Client) {
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

async fn accept(kind: Kind, socket: TcpStream) -> WireStream {
    let socket = tokio_socket(socket);
    match kind {
        Kind::Plain => WireStream::plain(socket),
        Kind::Tls12 | Kind::Tls13(_) => WireStream::accept(socket, certified().server(kind)).await.unwrap(),
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let server = listener.accept().unwrap().0;
    server.set_nonblocking(true).unwrap();
    (server, client)
}

fn tokio_socket(socket: TcpStream) -> tokio::net::TcpStream {
    tokio::net::TcpStream::from_std(socket).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A certificate of its own and what both sides make of it.
struct Certified {
    certificate: rustls::pki_types::CertificateDer<'static>,
    key: rustls::pki_types::PrivatePkcs8KeyDer<'static>,
}

fn certified() -> &'static Certified {
    static CERTIFIED: std::sync::OnceLock<Certified> = std::sync::OnceLock::new();
    CERTIFIED.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Certified { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der().into() }
    })
}

impl Certified {
    fn server(&self, kind: Kind) -> Arc<ServerConfig> {
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
fn provider(kind: Kind) -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    if let Kind::Tls13(wanted) = kind {
        provider.cipher_suites.retain(|suite| suite.tls13().is_none() || suite.suite() == wanted);
    }
    Arc::new(provider)
}

fn fault<T>(outcome: io::Result<T>) -> Fault {
    let Err(error) = outcome else { panic!("no error") };
    *error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("no fault: {error}"))
}

/// Bytes without a period that could hide a lost or repeated part.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}
