//! The same promises under TLS: keys only for 1.3, a session for 1.2, certificates by name.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use crate::support::{Certificate, EventSource, Origin, Perihelion, Place, Raw, Reply, hash, noise};

struct Site {
    proxy: Perihelion,
    origin: Origin,
    certificate: Certificate,
}

fn site() -> Site {
    let place = Place::new();
    let certificate = Certificate::for_names(&["example.com"]);
    certificate.write(&place.folder, "site");
    let origin = Origin::replying(|request| match request.target() {
        "/sse" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        "/poll" => Reply::hold("news"),
        "/short-poll" => Reply::hold("news").body("nothing happened").with("X-Comet-Timeout", "1"),
        "/echo" => Reply::ok(&request.body),
        _ => Reply::ok("ordinary"),
    });
    let configuration = format!(
        "listen: [{{ address: $TLS, tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}] }}]\n\
         upstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    Site { proxy: Perihelion::start_at(place, &configuration, None), origin, certificate }
}

impl Site {
    fn connect(&self, version: &'static SupportedProtocolVersion) -> Raw {
        self.connect_with(self.certificate.client(version))
    }

    fn connect_with(&self, config: Arc<ClientConfig>) -> Raw {
        Raw::tls(self.proxy.place.tls(), "example.com", config)
    }
}

fn a_stream_carries_thousands_of_messages(version: &'static SupportedProtocolVersion) {
    let site = site();
    let mut events = EventSource::over(site.connect(version), "/sse", None);
    site.proxy.wait_subscribers("news", 1);
    let items: Vec<String> =
        (0..5000).map(|n| format!("{{\"channel\":\"news\",\"data\":\"message {n}\"}}")).collect();
    for batch in items.chunks(250) {
        let answer = site.proxy.control("POST", "/publish", &format!("{{\"items\":[{}]}}", batch.join(",")));
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(events.data(5000), (0..5000).map(|n| format!("message {n}")).collect::<Vec<_>>());
    let large = "x".repeat(200_000);
    site.proxy.publish("news", &large);
    assert!(events.next().data == large);
    drop(events);
    site.proxy.wait_subscribers("news", 0);
}

#[test]
fn a_stream_under_tls_1_3_carries_thousands_of_messages() {
    a_stream_carries_thousands_of_messages(&TLS13);
}

#[test]
fn a_stream_under_tls_1_2_carries_thousands_of_messages() {
    a_stream_carries_thousands_of_messages(&TLS12);
}

/// Polls and ordinary requests in turn on one connection.
fn a_connection_goes_on_after_each_poll(version: &'static SupportedProtocolVersion) {
    let site = site();
    let mut raw = site.connect(version);
    let body = noise(100_000);
    for round in 0..4 {
        // A poll that has been answered leaves its channel a moment later.
        site.proxy.wait_subscribers("news", 0);
        raw.send("GET /poll HTTP/1.1\r\nHost: example.com\r\n\r\n");
        site.proxy.wait_subscribers("news", 1);
        site.proxy.publish("news", &round.to_string());
        assert_eq!(raw.answer().json()["messages"][0]["data"], round.to_string());
        raw.send(format!(
            "POST /echo HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        raw.send(&body);
        assert_eq!(hash(&raw.answer().body), hash(&body));
        raw.send("GET /short-poll HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_eq!(raw.answer().text(), "nothing happened");
    }
    site.proxy.wait_metric("perihelion_connections_accepted_total", &[], 1.0);
    site.proxy.wait_metric("perihelion_tls_handshakes_total", &[("result", "ok")], 1.0);
    let polls = [("transport", "long-poll")];
    site.proxy.wait_metric("perihelion_comet_streams_opened_total", &polls, 8.0);
    assert_eq!(site.origin.connections(), 1);
}

#[test]
fn a_connection_goes_on_after_each_poll_under_tls_1_3() {
    a_connection_goes_on_after_each_poll(&TLS13);
}

#[test]
fn a_connection_goes_on_after_each_poll_under_tls_1_2() {
    a_connection_goes_on_after_each_poll(&TLS12);
}

#[test]
fn a_request_pipelined_behind_a_poll_survives_the_take_over() {
    for version in [&TLS12, &TLS13] {
        let site = site();
        let mut raw = site.connect(version);
        raw.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        site.proxy.wait_subscribers("news", 1);
        site.proxy.publish("news", "happened");
        assert_eq!(raw.answer().json()["messages"][0]["data"], "happened");
        assert_eq!(raw.answer().text(), "ordinary");
    }
}

#[test]
fn the_application_is_told_that_the_client_came_by_https() {
    let site = site();
    assert_eq!(site.connect(&TLS13).get("/").text(), "ordinary");
    assert_eq!(site.origin.only().head.get("x-forwarded-proto"), Some("https"));
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let place = Place::new();
    let certificates = [("first", "first.example"), ("second", "second.example"), ("wild", "*.wild.example")]
        .map(|(file, name)| {
            let certificate = Certificate::for_names(&[name]);
            certificate.write(&place.folder, file);
            certificate
        });
    let pair = |name| format!("{{ certificate: $FOLDER/{name}.pem, key: $FOLDER/{name}.key }}");
    let origin = Origin::replying(|_| Reply::ok("ordinary"));
    let configuration = format!(
        "listen: [{{ address: $TLS, tls: [{}, {}, {}] }}]\nupstream: {}\ncontrol: $CONTROL\n",
        pair("first"),
        pair("second"),
        pair("wild"),
        origin.url()
    );
    let proxy = Perihelion::start_at(place, &configuration, None);
    for (name, certificate) in ["first.example", "second.example", "a.wild.example"].iter().zip(&certificates)
    {
        let mut raw = Raw::tls(proxy.place.tls(), name, certificate.client(&TLS13));
        assert_eq!(raw.get("/").text(), "ordinary");
        assert_eq!(raw.server_certificate(), certificate.der(), "{name}");
    }
}

#[test]
fn plain_http_on_a_tls_port_reaches_nobody() {
    let site = site();
    let mut raw = Raw::connect(site.proxy.place.tls());
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let answer = raw.answer();
    assert_eq!((answer.status(), answer.head.get("connection")), (400, Some("close")));
    assert_eq!(answer.head.get("content-type"), Some("text/plain; charset=utf-8"));
    assert!(answer.text().contains("this port speaks TLS"), "{}", answer.text());
    raw.assert_closed();
    // Letter by letter, and with a body that nobody reads.
    let mut slow = Raw::connect(site.proxy.place.tls());
    for letter in "POST /secret HTTP/1.1\r\nContent-Length: 60000\r\n\r\n".chars() {
        slow.send(letter.to_string());
    }
    slow.send(vec![b'x'; 60_000]);
    assert_eq!(slow.answer().status(), 400);
    for other in ["EHLO mail.example\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{1}GET / HTTP/1.1\r\n\r\n"]
    {
        let mut raw = Raw::connect(site.proxy.place.tls());
        raw.send(other);
        assert_eq!(raw.until_close(), b"", "{other:?}");
    }
    site.proxy.wait_metric("perihelion_tls_handshakes_total", &[("result", "failed")], 5.0);
    assert_eq!(site.origin.received().len(), 0);
}

#[test]
fn many_streams_under_tls_get_every_message() {
    let site = site();
    let mut clients: Vec<EventSource> = (0..40)
        .map(|n| EventSource::over(site.connect(if n % 2 == 0 { &TLS12 } else { &TLS13 }), "/sse", None))
        .collect();
    site.proxy.wait_subscribers("news", 40);
    for n in 0..50 {
        site.proxy.publish("news", &n.to_string());
    }
    let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for client in &mut clients {
        assert_eq!(client.data(50), expected);
    }
}
