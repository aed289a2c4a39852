//! An application behind TLS: reached where its certificate is believed, and never where it isn't.

use std::io::{Read, Write};

use socket2::Socket;

use crate::support::{
    Certificate, Origin, Perihelion, Place, Received, Reply, Then, hash, noise, wait_until,
};

/// A proxy with TLS in front of the application, which is what the proxy under test takes for its application.
struct Secure {
    server: Perihelion,
    certificate: Certificate,
}

impl Secure {
    fn before(origin: &Origin) -> Secure {
        let place = Place::new();
        let certificate = Certificate::for_names(&["app.internal"]);
        certificate.write(&place.folder, "app");
        let configuration = format!(
            "listen: [{{ address: $TLS, tls: [{{ certificate: $FOLDER/app.pem, key: $FOLDER/app.key }}] }}]\n\
             upstream: {}\ncontrol: $CONTROL\n",
            origin.url()
        );
        Secure { server: Perihelion::start_at(place, &configuration, None), certificate }
    }

    /// A proxy in front of it with these lines of `tls`; `$FOLDER/app.pem` is its certificate.
    fn reached(&self, tls: &str) -> Perihelion {
        let place = Place::new();
        self.certificate.write(&place.folder, "app");
        Certificate::for_names(&["app.internal"]).write(&place.folder, "other");
        let configuration = format!(
            "listen: $HTTP\ncontrol: $CONTROL\n\
             pools: {{ app: {{ servers: \"https://{}\", tls: {tls} }} }}\nsites: {{ \"*\": {{ pool: app }} }}\n",
            self.server.place.tls()
        );
        Perihelion::start_at(place, &configuration, None)
    }
}

fn echo() -> Origin {
    Origin::replying(|request| {
        Reply::ok(&request.body).with("X-Got-Host", request.head.get("host").unwrap_or(""))
    })
}

#[test]
fn bodies_go_through_tls_whole_and_connections_are_used_again() {
    let origin = echo();
    let secure = Secure::before(&origin);
    let proxy = secure.reached("{ ca: $FOLDER/app.pem, name: app.internal }");
    let mut raw = proxy.connect();
    for length in [0, 10, 3_000_000] {
        let body = noise(length);
        raw.send(format!("POST /echo HTTP/1.1\r\nHost: example.com\r\nContent-Length: {length}\r\n\r\n"));
        raw.send(&body);
        let answer = raw.answer();
        assert_eq!((answer.status(), hash(&answer.body)), (200, hash(&body)));
        assert_eq!(answer.head.get("x-got-host"), Some("example.com"));
    }
    let opened = proxy.metric("perihelion_upstream_connections_opened_total", &[("pool", "app")]);
    assert!(opened < 3.0, "{opened} connections for three requests");
}

#[test]
fn a_server_whose_certificate_is_not_believed_gets_no_request() {
    let origin = echo();
    let secure = Secure::before(&origin);
    for tls in ["{ ca: $FOLDER/other.pem, name: app.internal }", "{ ca: $FOLDER/app.pem }", "{}"] {
        let proxy = secure.reached(tls);
        assert_eq!(proxy.get("/").status(), 502, "{tls}");
        proxy.wait_metric("perihelion_upstream_errors_total", &[("reason", "tls")], 1.0);
    }
    assert_eq!(origin.received().len(), 0);
    let proxy = secure.reached("{ verify: off }");
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn a_server_that_speaks_no_tls_is_named_in_the_log() {
    let origin = echo();
    // A server that answers what it takes for a bad request.
    let server = Perihelion::before(&origin);
    let plain = format!("https://{}", server.http());
    let proxy = Perihelion::start(&format!("listen: $HTTP\ncontrol: $CONTROL\nupstream: {plain}\n"));
    assert_eq!(proxy.get("/").status(), 502);
    wait_until("the log says why", || proxy.stderr().contains(&format!("can't connect to {plain}: TLS: ")));
}

#[test]
fn a_websocket_goes_through_to_an_application_behind_tls() {
    let origin = Origin::new(|_: &Received, socket: &mut Socket| {
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        let mut bytes = [0; 65536];
        while let Ok(length @ 1..) = socket.read(&mut bytes) {
            if socket.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        Then::Close
    });
    let secure = Secure::before(&origin);
    let proxy = secure.reached("{ ca: $FOLDER/app.pem, name: app.internal }");
    let mut raw = proxy.connect();
    raw.send(
        "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(raw.head().status(), 101);
    for piece in noise(200_000).chunks(40_000) {
        raw.send(piece);
        assert!(raw.exactly(piece.len()) == piece);
    }
    drop(raw);
    wait_until("the application's side is closed", || origin.open_connections() == 0);
}
