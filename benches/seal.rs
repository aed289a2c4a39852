//! What TLS adds to a delivery: one event of 150 bytes, and a burst of 64 KiB, to a socket that takes everything.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use divan::Bencher;
use perihelion::wire::{Scratch, Wire, WireStream};
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore, ServerConfig};

fn main() {
    divan::main();
}

/// Suites by name; the first is none at all, and that of TLS 1.2 keeps its session.
const PROTECTION: [(&str, Option<CipherSuite>); 5] = [
    ("plain", None),
    ("aes-128", Some(CipherSuite::TLS13_AES_128_GCM_SHA256)),
    ("aes-256", Some(CipherSuite::TLS13_AES_256_GCM_SHA384)),
    ("chacha20", Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)),
    ("session", Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)),
];

#[divan::bench(args = PROTECTION.map(|(name, _)| name))]
fn event(bencher: Bencher<'_, '_>, protection: &str) {
    deliver(bencher, protection, &[b"id: 1\nevent: x\n", &[b'x'; 135]]);
}

#[divan::bench(args = PROTECTION.map(|(name, _)| name))]
fn burst(bencher: Bencher<'_, '_>, protection: &str) {
    deliver(bencher, protection, &[[b'x'; 1 << 10].as_slice(); 64]);
}

/// Many events under way to one socket are the same bytes to the kernel as one event each to many sockets.
fn deliver(bencher: Bencher<'_, '_>, protection: &str, event: &[&[u8]]) {
    let suite = PROTECTION.into_iter().find(|(name, _)| *name == protection).and_then(|(_, suite)| suite);
    let mut wire = connect(suite);
    let mut scratch = Scratch::new();
    let slices: Vec<IoSlice<'_>> = event.iter().map(|part| IoSlice::new(part)).collect();
    let whole = event.concat();
    bencher.bench_local(|| {
        let mut done = match wire.write_vectored(&slices, &mut scratch) {
            Ok(count) => count,
            Err(error) => again(&error),
        };
        while done < whole.len() {
            done += match wire.write(&whole[done..], &mut scratch) {
                Ok(count) => count,
                Err(error) => again(&error),
            };
        }
    });
}

fn again(error: &io::Error) -> usize {
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    thread::yield_now();
    0
}

/// A wire whose client throws away what it gets, without opening it.
fn connect(suite: Option<CipherSuite>) -> Wire {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port on loopback");
    let mut client = TcpStream::connect(listener.local_addr().expect("a bound address")).expect("loopback");
    let server = listener.accept().expect("loopback").0;
    server.set_nonblocking(true).expect("a socket");
    let Some(suite) = suite else {
        thread::spawn(move || io::copy(&mut client, &mut io::sink()));
        return Wire::plain(server);
    };
    let (server_config, client_config) = configs(suite);
    thread::spawn(move || {
        let name = "localhost".try_into().expect("a name");
        let mut connection = ClientConnection::new(client_config, name).expect("a client");
        while connection.is_handshaking() {
            connection.complete_io(&mut client).expect("a handshake");
        }
        io::copy(&mut client, &mut io::sink())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = WireStream::plain(server).shake_hands(server_config).await.expect("a handshake");
        stream.into_wire().await.expect("a session with its keys").0
    })
}

fn configs(suite: CipherSuite) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|known| known.suite() == suite);
    let version = provider.cipher_suites[0].version();
    let provider = Arc::new(provider);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .expect("the suite's version")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a certificate and its key");
    server.enable_secret_extraction = true;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("the suite's version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}
