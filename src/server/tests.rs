//! The whole process over real sockets: what a reload changes, what it leaves alone, and how the process leaves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Running, Server};
use crate::config::{Config, Endpoint};

const DEADLINE: Duration = Duration::from_secs(10);

/// An application that answers with its name; paths under `/held` are taken over.
fn application(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || {
                while let Some(head) = head_of(&mut client) {
                    let hold = if head.starts_with("GET /held") { "X-Comet-Subscribe: news\r\n" } else { "" };
                    let length = name.len();
                    let answer = format!("HTTP/1.1 200 OK\r\n{hold}Content-Length: {length}\r\n\r\n{name}");
                    client.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

fn head_of(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// A configuration file that goes with its test.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        File(std::env::temp_dir().join(format!("perihelion-{name}-{}.yaml", std::process::id())))
    }

    fn start(&self, text: &str) -> Running {
        std::fs::write(&self.0, text).unwrap();
        Server::start(Config::load(&self.0).unwrap(), Some(self.0.clone())).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
}

fn get(client: &mut TcpStream, path: &str) -> String {
    write!(client, "GET {path} HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    let head = head_of(client).unwrap();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    client.read_exact(&mut body).unwrap();
    format!("{} {}", &head[9..12], String::from_utf8(body).unwrap())
}

fn ask_control(running: &Running, method: &str, path: &str) -> String {
    let Some(Endpoint::Tcp(address)) = running.control else { panic!("a control port") };
    let mut client = connect(address);
    write!(
        client,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_reload_changes_routes_and_listeners_and_touches_no_connection() {
    let (one, two) = (application("one"), application("two"));
    let file = File::new("reload");
    let text = |listen: &str, app: SocketAddr| {
        format!(
            "threads: 2\nlisten: {listen}\nupstream: http://{app}\ncontrol: 127.0.0.1:0\nlog: {{ access: off }}\n"
        )
    };
    let running = file.start(&text("[127.0.0.1:0]", one));
    let mut kept = connect(running.addresses[0]);
    let mut held = connect(running.addresses[0]);
    assert_eq!(get(&mut kept, "/"), "200 one");
    assert_eq!(get(&mut held, "/held"), "200 ");

    let second = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(&file.0, text(&format!("[\"127.0.0.1:0\", \"{second}\"]"), two)).unwrap();
    let answer = ask_control(&running, "POST", "/reload");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("listens on {second}")),
        "{answer}"
    );
    assert_eq!(get(&mut kept, "/"), "200 two");
    assert_eq!(get(&mut connect(second), "/"), "200 two");

    std::fs::write(&file.0, "listen: 127.0.0.1:0\nupstraem: x\n").unwrap();
    let answer = ask_control(&running, "POST", "/reload");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("upstraem"), "{answer}");
    assert_eq!(get(&mut kept, "/"), "200 two");
    let metrics = ask_control(&running, "GET", "/metrics");
    assert!(metrics.contains("perihelion_config_last_reload_successful 0"), "{metrics}");
    assert!(metrics.contains("perihelion_config_reloads_total{result=\"ok\"} 1"));
    assert!(metrics.contains("perihelion_comet_streams{transport=\"sse\"} 1"));

    std::fs::write(&file.0, text("[127.0.0.1:0]", two)).unwrap();
    assert!(ask_control(&running, "POST", "/reload").contains(&format!("no longer listens on {second}")));
    until("the second listener is closed", || TcpStream::connect(second).is_err());

    running.stop();
    running.stop();
    running.wait();
}

#[test]
fn a_drain_says_so_ends_what_is_held_and_lets_the_process_end() {
    let app = application("one");
    let file = File::new("drain");
    let running = file.start(&format!(
        "threads: 1\nlisten: 127.0.0.1:0\nupstream: http://{app}\ncontrol: 127.0.0.1:0\n\
         log: {{ access: off }}\ndrain: {{ lameduck: 300ms, spread: 100ms, timeout: 5s }}\n"
    ));
    let (mut idle, mut held) = (connect(running.addresses[0]), connect(running.addresses[0]));
    assert_eq!(get(&mut idle, "/"), "200 one");
    assert_eq!(get(&mut held, "/held"), "200 ");
    assert!(ask_control(&running, "GET", "/readyz").starts_with("HTTP/1.1 200"));
    running.stop();
    until("it is not ready", || ask_control(&running, "GET", "/readyz").starts_with("HTTP/1.1 503"));
    assert_eq!(get(&mut idle, "/"), "200 one", "lame, not dead");
    let mut rest = String::new();
    held.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "a stream ends cleanly: {rest:?}");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    running.wait();
}

#[test]
fn a_connection_over_the_limit_is_closed_and_counted_and_held_ones_count() {
    let app = application("one");
    let file = File::new("limit");
    let running = file.start(&format!(
        "threads: 1\nlisten: 127.0.0.1:0\nupstream: http://{app}\ncontrol: 127.0.0.1:0\n\
         log: {{ access: off }}\nlimits: {{ connections: 2, held_connections: 2 }}\ndrain: {{ timeout: 1s, spread: 10ms }}\n"
    ));
    let (mut first, mut second) = (connect(running.addresses[0]), connect(running.addresses[0]));
    assert_eq!(get(&mut first, "/held"), "200 ");
    assert_eq!(get(&mut second, "/"), "200 one");
    assert_eq!(connect(running.addresses[0]).read(&mut [0]).unwrap_or(0), 0);
    drop(first);
    until("the place is free", || {
        let mut third = connect(running.addresses[0]);
        let sent = third.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        sent.is_ok() && head_of(&mut third).is_some()
    });
    assert!(ask_control(&running, "GET", "/metrics").contains("reason=\"limit\"}"));
    running.stop();
    running.wait();
}

#[test]
fn tls_is_chosen_by_name_and_swapped_by_a_reload_under_open_connections() {
    let app = application("one");
    let (file, pem) = (File::new("tls"), File::new("tls-pem"));
    let certify = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(&pem.0, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&pem.0, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        made.cert.der().clone()
    };
    let certificate = certify("a.test");
    let path = pem.0.display();
    let running = file.start(&format!(
        "threads: 1\nlisten:\n  - address: 127.0.0.1:0\n    tls: [{{ certificate: {path}, key: {path} }}]\n\
         upstream: http://{app}\ncontrol: 127.0.0.1:0\nlog: {{ access: off }}\ndrain: {{ timeout: 1s, spread: 10ms }}\n"
    ));
    let client = |certificate: &rustls::pki_types::CertificateDer<'static>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let tls = rustls::ClientConnection::new(Arc::new(config), "a.test".try_into().unwrap()).unwrap();
        rustls::StreamOwned::new(tls, connect(running.addresses[0]))
    };
    let ask = |stream: &mut rustls::StreamOwned<rustls::ClientConnection, TcpStream>| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let mut text = String::new();
        while !text.ends_with("one") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            text.push(byte[0].into());
        }
    };
    let mut open = client(&certificate);
    ask(&mut open);
    let renewed = certify("a.test");
    assert!(ask_control(&running, "POST", "/reload").starts_with("HTTP/1.1 200"));
    ask(&mut open);
    ask(&mut client(&renewed));
    assert!(client(&certificate).write_all(b"x").and_then(|()| client(&certificate).flush()).is_err());
    running.stop();
    running.wait();
}
