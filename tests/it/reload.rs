//! Another configuration takes over in one step, and nothing that is open or held notices.

use rustls::version::TLS13;

use crate::support::{Certificate, EventSource, Origin, Perihelion, Place, Raw, Reply, wait_until};

fn named(name: &'static str) -> Origin {
    Origin::replying(move |request| match request.target() {
        "/hold" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        _ => Reply::ok(name),
    })
}

fn shortest(origin: &Origin) -> String {
    format!("listen: $HTTP\nupstream: {}\ncontrol: $CONTROL\n", origin.url())
}

#[test]
fn routes_and_pools_are_swapped_and_a_held_connection_lives_on() {
    let (old, new) = (named("old"), named("new"));
    let proxy = Perihelion::before(&old);
    let mut kept = proxy.connect();
    assert_eq!(kept.get("/").text(), "old");
    let mut events = EventSource::open(proxy.http(), "/hold");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "before");
    assert_eq!(proxy.reload(&shortest(&new)).status(), 200);
    assert_eq!(kept.get("/").text(), "new");
    assert_eq!(proxy.get("/").text(), "new");
    proxy.publish("news", "after");
    assert_eq!(events.data(2), ["before", "after"]);
    proxy.wait_metric("perihelion_config_reloads_total", &[("result", "ok")], 1.0);
    proxy.wait_metric("perihelion_config_last_reload_successful", &[], 1.0);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[], 0.0);
    wait_until("the old pool's connections are closed", || old.open_connections() == 0);
}

#[test]
fn hup_reloads_as_the_control_port_does() {
    let (old, new) = (named("old"), named("new"));
    let proxy = Perihelion::before(&old);
    let mut events = EventSource::open(proxy.http(), "/hold");
    proxy.wait_subscribers("news", 1);
    proxy.write_configuration(&shortest(&new));
    proxy.signal("HUP");
    proxy.wait_metric("perihelion_config_reloads_total", &[("result", "ok")], 1.0);
    assert_eq!(proxy.get("/").text(), "new");
    proxy.publish("news", "still held");
    assert_eq!(events.next().data, "still held");
}

#[test]
fn a_bad_file_changes_nothing_and_says_so_in_answer_metric_and_log() {
    let origin = named("old");
    let proxy = Perihelion::before(&origin);
    let mut events = EventSource::open(proxy.http(), "/hold");
    proxy.wait_subscribers("news", 1);
    let answer = proxy.reload("listen: $HTTP\nupstraem: http://127.0.0.1:9\ncontrol: $CONTROL\n");
    assert_eq!(answer.status(), 400);
    let error = answer.json()["error"].as_str().unwrap().to_string();
    assert!(error.contains("perihelion.yaml:2:1") && error.contains("`upstream`"), "{error}");
    proxy.wait_metric("perihelion_config_reloads_total", &[("result", "rejected")], 1.0);
    proxy.wait_metric("perihelion_config_last_reload_successful", &[], 0.0);
    wait_until("the log says it", || proxy.stderr().contains("upstraem"));
    assert_eq!(proxy.get("/").text(), "old");
    proxy.publish("news", "still held");
    assert_eq!(events.next().data, "still held");
    proxy.signal("HUP");
    proxy.wait_metric("perihelion_config_reloads_total", &[("result", "rejected")], 2.0);
    assert_eq!(proxy.reload(&shortest(&origin)).status(), 200);
    proxy.wait_metric("perihelion_config_last_reload_successful", &[], 1.0);
}

#[test]
fn a_request_that_is_under_way_ends_on_the_old_configuration() {
    let (tell, told) = std::sync::mpsc::sync_channel::<()>(1);
    let told = std::sync::Mutex::new(told);
    let old = Origin::replying(move |_| {
        told.lock().unwrap().recv_timeout(crate::support::DEADLINE).unwrap();
        Reply::ok("old")
    });
    let new = named("new");
    let proxy = Perihelion::before(&old);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    old.wait_for_request(0);
    assert_eq!(proxy.reload(&shortest(&new)).status(), 200);
    assert_eq!(proxy.get("/").text(), "new");
    tell.send(()).unwrap();
    assert_eq!(raw.answer().text(), "old");
    assert_eq!(raw.get("/").text(), "new");
}

#[test]
fn a_certificate_that_is_renewed_is_taken_without_a_word() {
    let place = Place::new();
    let first = Certificate::for_names(&["example.com"]);
    let second = Certificate::for_names(&["example.com"]);
    let (_, key) = first.write(&place.folder, "site");
    let origin = named("over TLS");
    let configuration = format!(
        "listen:\n  - address: $HTTP\n  - address: $TLS\n    tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}]\n\
         upstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    let proxy = Perihelion::start_at(place, &configuration, None);
    let tls = proxy.place.tls();
    let mut kept = Raw::tls(tls, "example.com", first.client(&TLS13));
    assert_eq!(kept.get("/").text(), "over TLS");
    // Half of a renewal: the pair doesn't fit together, and the one before stays.
    second.write(&proxy.place.folder, "new");
    std::fs::rename(proxy.place.folder.path().join("new.pem"), proxy.place.folder.path().join("site.pem"))
        .unwrap();
    wait_until("the half is seen", || proxy.stderr().contains("is not the key of the certificate"));
    assert_eq!(Raw::tls(tls, "example.com", first.client(&TLS13)).get("/").text(), "over TLS");
    std::fs::rename(proxy.place.folder.path().join("new.key"), key).unwrap();
    wait_until("the certificate is taken", || proxy.stderr().contains("certificates have changed"));
    let mut fresh = Raw::tls(tls, "example.com", second.client(&TLS13));
    assert_eq!(fresh.get("/").text(), "over TLS");
    assert_eq!(fresh.server_certificate(), second.der());
    assert_eq!(kept.get("/").text(), "over TLS");
    assert!(proxy.metric("perihelion_tls_certificate_not_after_timestamp_seconds", &[]) > 1.0e9);
}

#[test]
fn a_new_certificate_serves_new_connections_and_old_ones_live_on() {
    let place = Place::new();
    let first = Certificate::for_names(&["example.com"]);
    let second = Certificate::for_names(&["example.com"]);
    first.write(&place.folder, "site");
    let origin = named("over TLS");
    let configuration = format!(
        "listen:\n  - address: $HTTP\n  - address: $TLS\n    tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}]\n\
         upstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    let proxy = Perihelion::start_at(place, &configuration, None);
    let tls = proxy.place.tls();
    let mut kept = Raw::tls(tls, "example.com", first.client(&TLS13));
    assert_eq!(kept.get("/").text(), "over TLS");
    let held = Raw::tls(tls, "example.com", first.client(&TLS13));
    let mut events = EventSource::over(held, "/hold", None);
    proxy.wait_subscribers("news", 1);
    second.write(&proxy.place.folder, "site");
    assert_eq!(proxy.reload(&configuration).status(), 200);
    let mut fresh = Raw::tls(tls, "example.com", second.client(&TLS13));
    assert_eq!(fresh.get("/").text(), "over TLS");
    assert_eq!(fresh.server_certificate(), second.der());
    assert_eq!(kept.get("/").text(), "over TLS");
    proxy.publish("news", "held under the old one");
    assert_eq!(events.next().data, "held under the old one");
}

#[test]
fn a_key_that_does_not_fit_keeps_the_old_certificate() {
    let place = Place::new();
    let first = Certificate::for_names(&["example.com"]);
    first.write(&place.folder, "site");
    let origin = named("over TLS");
    let configuration = format!(
        "listen:\n  - address: $TLS\n    tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}]\n\
         upstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    let proxy = Perihelion::start_at(place, &configuration, None);
    let other = Certificate::for_names(&["example.com"]);
    let (_, key) = other.write(&proxy.place.folder, "other");
    std::fs::copy(key, proxy.place.folder.path().join("site.key")).unwrap();
    assert_eq!(proxy.reload(&configuration).status(), 400);
    let mut raw = Raw::tls(proxy.place.tls(), "example.com", first.client(&TLS13));
    assert_eq!(raw.get("/").text(), "over TLS");
}

#[test]
fn listeners_come_and_go_with_the_file() {
    let origin = named("here");
    let proxy = Perihelion::before(&origin);
    let mut kept = proxy.connect();
    assert_eq!(kept.get("/").text(), "here");
    let moved = format!("listen: $TLS\nupstream: {}\ncontrol: $CONTROL\n", origin.url());
    assert_eq!(proxy.reload(&moved).status(), 200);
    assert_eq!(Raw::connect(proxy.place.tls()).get("/").text(), "here");
    assert_eq!(kept.get("/").text(), "here");
    wait_until("the old address is closed", || std::net::TcpStream::connect(proxy.http()).is_err());
}

#[test]
fn many_reloads_under_publishing_lose_nothing() {
    let origin = named("here");
    let proxy = Perihelion::before(&origin);
    let mut clients: Vec<EventSource> = (0..5).map(|_| EventSource::open(proxy.http(), "/hold")).collect();
    proxy.wait_subscribers("news", 5);
    for n in 0..30 {
        proxy.publish("news", &n.to_string());
        assert_eq!(proxy.reload(&shortest(&origin)).status(), 200);
    }
    let expected: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    for client in &mut clients {
        assert_eq!(client.data(30), expected);
    }
}

#[test]
fn what_waits_for_a_restart_is_said_by_each_reload_until_the_file_is_as_at_the_start() {
    let origin = named("here");
    let proxy = Perihelion::before(&origin);
    let note = |more: &str| {
        let answer = proxy.reload(&format!("{}{more}", shortest(&origin)));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.json()["note"].as_str().unwrap().to_string()
    };
    let other = "threads: 7\nlimits: { publish_body: 1MiB }\ngrip: { publish_key: abc }\n";
    for _ in 0..2 {
        let note = note(other);
        for key in ["threads", "limits.publish_body", "grip.publish_key"] {
            assert!(note.contains(key), "{key}: {note}");
        }
    }
    assert!(!note("").contains("restart"));
}
