//! Clients that show who they are: whom the listener believes gets in, and the application hears who it was.

use hyper::Request;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::{
    Authority, Certificate, EventSource, Http2, Identity, Origin, Perihelion, Place, Raw, Reply,
};

struct Site {
    proxy: Perihelion,
    origin: Origin,
    certificate: Certificate,
    authority: Authority,
}

/// A listener with this mode, whose clients are believed when `authority` says so.
fn site(mode: &str) -> Site {
    let place = Place::new();
    let certificate = Certificate::for_names(&["example.com"]);
    certificate.write(&place.folder, "site");
    let authority = Authority::new();
    authority.write(&place.folder, "clients");
    let origin = Origin::replying(|request| match request.target() {
        "/sse" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        "/poll" => Reply::hold("news"),
        _ => Reply::ok("ordinary"),
    });
    let configuration = format!(
        "listen:\n  - address: $HTTP\n  - address: $TLS\n    \
         tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}]\n    \
         client_certificates: {{ ca: $FOLDER/clients.pem, mode: {mode} }}\n\
         upstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    Site { proxy: Perihelion::start_at(place, &configuration, None), origin, certificate, authority }
}

impl Site {
    fn connect(&self, version: &'static SupportedProtocolVersion, identity: Option<&Identity>) -> Raw {
        let config = self.certificate.client_with(version, identity);
        Raw::tls(self.proxy.place.tls(), "example.com", config)
    }

    /// Whether a client gets an answer.
    fn lets_in(&self, version: &'static SupportedProtocolVersion, identity: Option<&Identity>) -> bool {
        let mut raw = self.connect(version, identity);
        // Under TLS 1.3 the client is through with its handshake before the server has seen its certificate.
        if raw.try_send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").is_err() {
            return false;
        }
        raw.hears_something()
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn a_client_needs_a_certificate_where_it_is_required() {
    let site = site("required");
    let (known, stranger) = (site.authority.issue("alice"), Authority::new().issue("alice"));
    for version in VERSIONS {
        assert!(site.lets_in(version, Some(&known)));
        assert_eq!(site.origin.last().head.get("client-cert"), Some(known.field().as_str()));
        assert!(!site.lets_in(version, None));
        assert!(!site.lets_in(version, Some(&stranger)));
    }
    assert_eq!(site.origin.received().len(), 2);
    site.proxy.wait_metric("perihelion_tls_handshakes_total", &[("result", "failed")], 4.0);
}

#[test]
fn a_client_may_show_a_certificate_where_it_is_optional_and_a_bad_one_is_none() {
    let site = site("optional");
    let (known, stranger) = (site.authority.issue("alice"), Authority::new().issue("alice"));
    for version in VERSIONS {
        assert!(site.lets_in(version, Some(&known)));
        assert_eq!(site.origin.last().head.get("client-cert"), Some(known.field().as_str()));
        assert!(site.lets_in(version, None));
        assert!(!site.origin.last().head.has("client-cert"));
        assert!(!site.lets_in(version, Some(&stranger)));
    }
}

#[test]
fn over_http_2_each_stream_is_of_whom_the_connection_is() {
    let site = site("required");
    let known = site.authority.issue("alice");
    let config = site.certificate.client_with(&TLS13, Some(&known));
    let client = Http2::tls(site.proxy.place.tls(), "example.com", &config, &["h2"]).ok().unwrap();
    for _ in 0..2 {
        let lie = Request::get("https://example.com/").header("client-cert", ":TWFsbG9yeQ==:");
        assert_eq!(client.begin(lie, true).answer(), (200, "ordinary".to_string()));
        assert_eq!(site.origin.last().head.all("client-cert"), [known.field()]);
    }
}

/// RFC 9440 §2.4: what a client says of itself would be believed.
#[test]
fn nobody_says_by_a_header_who_they_are() {
    let site = site("optional");
    let known = site.authority.issue("alice");
    let lie = "Client-Cert: :TWFsbG9yeQ==:\r\nclient-cert-chain: :TWFsbG9yeQ==:\r\nClient_Cert: x\r\n";
    for raw in [&mut site.proxy.connect(), &mut site.connect(&TLS13, None)] {
        raw.send(format!("GET / HTTP/1.1\r\nHost: example.com\r\n{lie}\r\n"));
        assert_eq!(raw.answer().status(), 200);
        let fields = site.origin.last();
        assert!(!fields.lines().any(|line| line.to_ascii_lowercase().starts_with(b"client")));
    }
    let mut raw = site.connect(&TLS13, Some(&known));
    raw.send(format!("GET / HTTP/1.1\r\nHost: example.com\r\n{lie}Connection: client-cert\r\n\r\n"));
    assert_eq!(raw.answer().status(), 200);
    assert_eq!(site.origin.last().head.all("client-cert"), [known.field()]);
    assert!(!site.origin.last().head.has("client-cert-chain"));
}

#[test]
fn a_held_connection_remembers_who_it_is_of() {
    let site = site("required");
    let known = site.authority.issue("alice");
    for version in VERSIONS {
        let mut events = EventSource::over(site.connect(version, Some(&known)), "/sse", None);
        site.proxy.wait_subscribers("news", 1);
        site.proxy.publish("news", "to alice");
        assert_eq!(events.next().data, "to alice");
        drop(events);
        site.proxy.wait_subscribers("news", 0);
        let mut raw = site.connect(version, Some(&known));
        raw.send("GET /poll HTTP/1.1\r\nHost: example.com\r\n\r\n");
        site.proxy.wait_subscribers("news", 1);
        site.proxy.publish("news", "to the poll");
        assert_eq!(raw.answer().json()["messages"][0]["data"], "to the poll");
        // The session is gone by now under TLS 1.3.
        assert_eq!(raw.get("/").status(), 200);
        assert_eq!(site.origin.last().head.get("client-cert"), Some(known.field().as_str()));
        drop(raw);
        site.proxy.wait_subscribers("news", 0);
    }
}

/// A session that was resumed would bring along what was verified before.
#[test]
fn whom_a_new_file_does_not_believe_is_out_whatever_the_client_remembers() {
    let site = site("required");
    let known = site.authority.issue("alice");
    let other = Authority::new();
    let theirs = other.issue("bob");
    for version in VERSIONS {
        let config = site.certificate.client_with(version, Some(&known));
        for _ in 0..2 {
            let mut raw = Raw::tls(site.proxy.place.tls(), "example.com", config.clone());
            assert_eq!(raw.get("/").status(), 200);
        }
        other.write(&site.proxy.place.folder, "clients");
        assert_eq!(site.proxy.control("POST", "/reload", "").status(), 200);
        let mut raw = Raw::tls(site.proxy.place.tls(), "example.com", config);
        let sent = raw.try_send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert!(sent.is_err() || !raw.hears_something());
        assert!(site.lets_in(version, Some(&theirs)));
        site.authority.write(&site.proxy.place.folder, "clients");
        // Taken without a word when the file changes.
        crate::support::wait_until("the file is taken", || site.lets_in(version, Some(&known)));
    }
}
