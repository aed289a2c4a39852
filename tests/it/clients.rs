//! Who the client is behind load balancers and proxies, and what a request is called on its way.

use std::net::{IpAddr, SocketAddr, TcpStream};

use rustls::version::TLS13;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{Certificate, Origin, Perihelion, Place, Raw, Reply};

const GET: &str = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

fn behind_balancers(origin: &Origin, networks: &str) -> Perihelion {
    behind_balancers_with(origin, networks, "")
}

fn behind_balancers_with(origin: &Origin, networks: &str, more: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: [{{ address: $HTTP, proxy_protocol: {networks} }}]\nupstream: {}\ncontrol: $CONTROL\n{more}\n",
        origin.url()
    ))
}

/// Version 2, with an extension of no meaning.
fn binary_header(client: [u8; 4], port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let [a, b, c, d] = client;
    let body = [a, b, c, d, 192, 0, 2, 1, high, low, 0x01, 0xbb, 0xe0, 0, 3, 1, 2, 3];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..], &[body.len() as u8], &body].concat()
}

#[test]
fn a_balancer_names_the_client_by_a_header_of_either_version() {
    let origin = Origin::replying(|_| Reply::ok("seen"));
    let proxy = behind_balancers(&origin, "[127.0.0.0/8]");
    let headers = [
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 443\r\n".to_vec(), "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 40000 443\r\n".to_vec(), "2001:db8::9"),
        (binary_header([203, 0, 113, 10], 40000), "203.0.113.10"),
    ];
    for (header, client) in headers {
        let mut raw = proxy.connect();
        raw.send([&header, GET.as_bytes()].concat());
        assert_eq!(raw.answer().text(), "seen");
        assert_eq!(origin.last().head.get("x-forwarded-for"), Some(client));
        // The header is one for the connection, not for each request.
        assert_eq!(raw.get("/again").text(), "seen");
        assert_eq!(origin.last().head.get("x-forwarded-for"), Some(client));
        proxy.wait_access_line(|line| line.starts_with(&format!("{client} - - [")));
    }
}

#[test]
fn a_balancers_header_may_come_in_pieces() {
    let origin = Origin::replying(|_| Reply::ok("seen"));
    let proxy = behind_balancers(&origin, "[127.0.0.0/8]");
    for header in
        [b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 443\r\n".to_vec(), binary_header([203, 0, 113, 9], 1)]
    {
        let mut raw = proxy.connect();
        for piece in header.chunks(7) {
            raw.send(piece);
            std::thread::yield_now();
        }
        raw.send(GET);
        assert_eq!(raw.answer().text(), "seen");
        assert_eq!(origin.last().head.get("x-forwarded-for"), Some("203.0.113.9"));
    }
}

#[test]
fn a_balancer_that_speaks_for_itself_is_the_client() {
    let origin = Origin::replying(|_| Reply::ok("alive"));
    let proxy = behind_balancers(&origin, "[127.0.0.0/8]");
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"] {
        let mut raw = proxy.connect();
        let own = raw.local_address().ip().to_string();
        raw.send([header, GET.as_bytes()].concat());
        assert_eq!(raw.answer().text(), "alive");
        assert_eq!(origin.last().head.get("x-forwarded-for"), Some(&*own));
    }
}

#[test]
fn a_balancer_without_a_header_is_closed_without_a_word_and_counted() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = behind_balancers_with(&origin, "[127.0.0.0/8]", "timeouts: { request_head: 2s }");
    let bad =
        [GET, "PROXY TCP4 203.0.113.9\r\n", "PROXY TCP9 1 2 3 4\r\n", "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", ""];
    for bytes in bad {
        let mut raw = proxy.connect();
        raw.send(bytes);
        raw.assert_closed();
    }
    assert_eq!(origin.received().len(), 0);
    let count = bad.len() as f64;
    proxy.wait_metric("perihelion_connections_rejected_total", &[("reason", "proxy_protocol")], count);
}

#[test]
fn nobody_else_may_claim_an_address_by_a_header() {
    let origin = Origin::replying(|_| Reply::ok("seen"));
    let proxy = behind_balancers(&origin, "[10.0.0.0/8]");
    assert_eq!(proxy.get("/").text(), "seen");
    let mut raw = proxy.connect();
    raw.send(format!("PROXY TCP4 203.0.113.9 192.0.2.1 40000 443\r\n{GET}"));
    assert_eq!(raw.answer().status(), 400);
    raw.assert_closed();
    let mut raw = proxy.connect();
    raw.send([&binary_header([203, 0, 113, 9], 1), GET.as_bytes()].concat());
    assert_eq!(raw.answer().status(), 400);
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn the_networks_of_balancers_change_by_a_reload() {
    let origin = Origin::replying(|_| Reply::ok("seen"));
    let proxy = behind_balancers(&origin, "[10.0.0.0/8]");
    let text = format!(
        "listen: [{{ address: $HTTP, proxy_protocol: 127.0.0.0/8 }}]\nupstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    assert_eq!(proxy.reload(&text).status(), 200);
    let mut raw = proxy.connect();
    raw.send(format!("PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n{GET}"));
    assert_eq!(raw.answer().text(), "seen");
    assert_eq!(origin.only().head.get("x-forwarded-for"), Some("203.0.113.9"));
}

#[test]
fn under_tls_the_header_stands_before_the_handshake() {
    let place = Place::new();
    let certificate = Certificate::for_names(&["example.com"]);
    certificate.write(&place.folder, "site");
    let origin = Origin::replying(|_| Reply::ok("seen"));
    let configuration = format!(
        "listen:\n  - address: $TLS\n    proxy_protocol: 127.0.0.0/8\n\
         \x20   tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}]\n\
         upstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    let proxy = Perihelion::start_at(place, &configuration, None);
    let mut stream = TcpStream::connect(proxy.place.tls()).unwrap();
    std::io::Write::write_all(&mut stream, &binary_header([203, 0, 113, 9], 7)).unwrap();
    let mut raw = Raw::tls_over(stream, "example.com", certificate.client(&TLS13));
    raw.send(GET);
    assert_eq!(raw.answer().text(), "seen");
    let head = origin.only().head;
    assert_eq!(head.get("x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(head.get("x-forwarded-proto"), Some("https"));
}

/// A connection that comes from this loopback address.
fn connect_from(address: &str, proxy: SocketAddr) -> Raw {
    let address: IpAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::new(address, 0))).unwrap();
    socket.connect(&proxy.into()).unwrap();
    Raw::from_tcp(socket.into())
}

const CLAIMS: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nX-Request-Id: claimed-1\r\nX-Request-Start: t=1\r\n\
    X-Forwarded-For: 198.51.100.7:9000, 127.9.9.9\r\nForwarded: for=198.51.100.7\r\n\r\n";

#[test]
fn only_a_trusted_proxy_names_a_request_and_says_when_it_began() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy =
        Perihelion::before_with(&origin, "trusted_proxies: [127.9.9.9, 127.9.9.8]\nlog: { access: json }");
    let mut trusted = connect_from("127.9.9.8", proxy.http());
    trusted.send(CLAIMS);
    trusted.answer();
    let head = origin.last().head;
    assert_eq!((head.get("x-request-id"), head.get("x-request-start")), (Some("claimed-1"), Some("t=1")));
    assert_eq!(head.get("forwarded"), Some("for=198.51.100.7, for=127.9.9.8;proto=http"));
    let line = proxy.wait_access_line(|line| line.contains("\"request_id\":\"claimed-1\""));
    assert!(line.contains("\"client\":\"198.51.100.7\""), "{line}");

    let mut other = connect_from("127.9.9.7", proxy.http());
    other.send(CLAIMS);
    other.answer();
    let head = origin.last().head;
    let id = head.get("x-request-id").unwrap().to_string();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert!(!head.has("forwarded"), "{head:?}");
    let line = proxy.wait_access_line(|line| line.contains(&format!("\"request_id\":\"{id}\"")));
    assert!(line.contains("\"client\":\"127.9.9.7\""), "{line}");
}

#[test]
fn the_application_can_tell_how_long_a_request_was_under_way() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let before = now();
    proxy.get("/");
    let head = origin.only().head;
    let start: f64 = head.get("x-request-start").unwrap().strip_prefix("t=").unwrap().parse().unwrap();
    assert!((before - 0.001..=now()).contains(&start), "{before} {start}");
}

#[test]
fn a_trace_goes_on_where_it_can_and_begins_here_where_it_can_not() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    raw.send(format!("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {trace}\r\nTracestate: a=1\r\n\r\n"));
    raw.answer();
    let head = origin.last().head;
    assert_eq!((head.get("traceparent"), head.get("tracestate")), (Some(trace), Some("a=1")));
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: 00-nothing-01\r\nTracestate: a=1\r\n\r\n");
    raw.answer();
    let head = origin.last().head;
    let id = head.get("x-request-id").unwrap();
    let made = head.get("traceparent").unwrap();
    assert!(made.starts_with(&format!("00-{id}-")) && made.ends_with("-01") && made.len() == 55, "{made}");
    assert!(!head.has("tracestate"), "{head:?}");
}
