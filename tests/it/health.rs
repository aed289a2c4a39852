//! Servers that fail, are asked whether they are well, and are taken out and put back by operators.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::Socket;

use crate::support::{
    Answer, Application, Gate, NameServer, Origin, Perihelion, Place, Received, Reply, Then, wait_until,
};

fn configuration(servers: &[&Origin], more: &str) -> String {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: [{}]\n{more}\nsites: {{ \"*\": app }}\n",
        urls.join(", ")
    )
}

fn before(servers: &[&Origin], more: &str) -> Perihelion {
    Perihelion::start(&configuration(servers, more))
}

fn good(name: &'static str) -> Origin {
    Origin::replying(move |_| Reply::ok(name))
}

/// A server that drops its connections without an answer as long as it is broken.
struct Fragile {
    origin: Origin,
    broken: Arc<AtomicBool>,
}

impl Fragile {
    fn broken() -> Fragile {
        let broken = Arc::new(AtomicBool::new(true));
        let state = broken.clone();
        let origin = Origin::new(move |request: &Received, socket: &mut Socket| {
            if state.load(Ordering::SeqCst) {
                Then::Close
            } else {
                Reply::ok("mended").send_to(request, socket)
            }
        });
        Fragile { origin, broken }
    }

    fn mend(&self) {
        self.broken.store(false, Ordering::SeqCst);
    }
}

fn is_up(proxy: &Perihelion, server: &Origin) -> bool {
    proxy.metric("perihelion_upstream_up", &[("server", &server.url())]) == 1.0
}

#[test]
fn a_server_that_fails_again_and_again_is_left_out() {
    let (fragile, other) = (Fragile::broken(), good("other"));
    let proxy = before(
        &[&fragile.origin, &other],
        "    eject: { faults: 2, time: 10m, time_max: 10m }\n    retries: off",
    );
    wait_until("it is ejected", || {
        proxy.get("/");
        !is_up(&proxy, &fragile.origin)
    });
    proxy.wait_metric("perihelion_upstream_ejections_total", &[], 1.0);
    let before = fragile.origin.received().len();
    for _ in 0..8 {
        assert_eq!(proxy.get("/").text(), "other");
    }
    assert_eq!(fragile.origin.received().len(), before);
}

#[test]
fn a_server_that_was_left_out_comes_back_when_it_answers_again() {
    let (fragile, other) = (Fragile::broken(), good("other"));
    let proxy = before(&[&fragile.origin, &other], "    eject: { faults: 2, time: 100ms }\n    retries: off");
    wait_until("it is ejected", || {
        proxy.get("/");
        proxy.metric("perihelion_upstream_ejections_total", &[]) >= 1.0
    });
    fragile.mend();
    wait_until("it answers", || proxy.get("/").text() == "mended");
    wait_until("it is up", || is_up(&proxy, &fragile.origin));
}

#[test]
fn the_last_server_is_never_left_out() {
    let [one, two, three] = [(); 3].map(|()| Fragile::broken());
    let eject = "    eject: { faults: 1, time: 10m, time_max: 10m }\n    retries: off";
    let alone = before(&[&one.origin], eject);
    for _ in 0..5 {
        assert_eq!(alone.get("/").status(), 502);
    }
    assert_eq!(one.origin.received().len(), 5);
    one.mend();
    assert_eq!(alone.get("/").text(), "mended");

    let proxy = before(&[&two.origin, &three.origin], eject);
    for _ in 0..6 {
        assert_eq!(proxy.get("/").status(), 502);
    }
    proxy.wait_metric("perihelion_upstream_ejections_total", &[], 1.0);
    two.mend();
    three.mend();
    assert_eq!(proxy.get("/").text(), "mended");
}

#[test]
fn a_server_goes_and_comes_by_what_it_answers_when_it_is_asked() {
    let well = Arc::new(AtomicBool::new(true));
    let state = well.clone();
    let asked = Origin::replying(move |request| match request.target() {
        "/up?deep=1" if state.load(Ordering::SeqCst) => Reply::ok("well"),
        "/up?deep=1" => Reply::status("503 Service Unavailable", "ill"),
        _ => Reply::ok("asked"),
    });
    let other = good("other");
    // An answer has to come within the interval, also that of a server that is well.
    let health =
        "    health: { path: /up?deep=1, host: app.example, interval: 1s, jitter: 0s, rise: 2, fall: 2 }";
    let proxy = before(&[&asked, &other], health);
    let question = asked.wait_for_request(0);
    assert_eq!(question.head.line, "GET /up?deep=1 HTTP/1.1");
    assert_eq!(question.head.get("host"), Some("app.example"));
    wait_until("it gets requests", || proxy.get("/").text() == "asked");
    well.store(false, Ordering::SeqCst);
    wait_until("it is down", || !is_up(&proxy, &asked));
    for _ in 0..6 {
        assert_eq!(proxy.get("/").text(), "other");
    }
    assert!(proxy.metric("perihelion_upstream_health_checks_total", &[("result", "failed")]) >= 2.0);
    well.store(true, Ordering::SeqCst);
    wait_until("it is back", || is_up(&proxy, &asked));
    wait_until("it gets requests", || proxy.get("/").text() == "asked");
}

#[test]
fn where_no_server_is_well_they_are_asked_all_the_same() {
    let origin = Origin::replying(|request| match request.target() {
        "/up" => Reply::status("500 Internal Server Error", ""),
        _ => Reply::ok("served"),
    });
    let proxy = before(&[&origin], "    health: { path: /up, interval: 20ms, jitter: 0s }");
    wait_until("it is down", || !is_up(&proxy, &origin));
    assert_eq!(proxy.get("/").text(), "served");
}

#[test]
fn a_server_may_have_a_name_with_several_addresses() {
    let origin = good("by name");
    let url = origin.url().replace("127.0.0.1", "localhost");
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: {url}\n    resolve: 50ms\n    keepalive: off\n\
         sites: {{ \"*\": app }}\n"
    ));
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "by name");
    }
}

#[test]
fn a_name_whose_address_changes_leads_to_the_new_one_and_the_old_one_is_left() {
    let test = "a_name_whose_address_changes_leads_to_the_new_one_and_the_old_one_is_left";
    let (place, here, there) = (Place::new(), Place::new(), Place::new());
    let ip = |place: &Place| match place.http().ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => panic!("places are in 127.0.0.0/8"),
    };
    let Some(names) = NameServer::start(test, &place, ip(&here)) else { return };
    let saying = |place: &Place, word: &'static str| Origin::at(place.http(), Said(word));
    let (old, new) = (saying(&here, "old"), saying(&there, "new"));
    let configuration = "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: http://app.example:8080\n\
                         \x20   resolve: 50ms\nsites: { \"*\": app }\n";
    let proxy = Perihelion::start_behind(&NameServer::shown_to(&place), place, configuration);
    assert_eq!(proxy.get("/").text(), "old");
    names.set(ip(&there));
    wait_until("it is asked at its new address", || proxy.get("/").text() == "new");
    wait_until("nothing leads to the old one", || old.open_connections() == 0);
    assert_eq!(proxy.get("/").text(), "new");
    assert!(new.connections() > 0);
}

/// Says one word.
struct Said(&'static str);

impl Application for Said {
    fn answer(&self, request: &Received, socket: &mut Socket) -> Then {
        Reply::ok(self.0).send_to(request, socket)
    }
}

/// Its path on the control port, as people type it.
fn short_path(server: &Origin) -> String {
    format!("/pools/app/servers/{}", server.url().trim_start_matches("http://"))
}

/// Its path on the control port, as it is configured.
fn path(server: &Origin) -> String {
    let escaped = server.url().replace(':', "%3A").replace('/', "%2F");
    format!("/pools/app/servers/{escaped}")
}

fn set(proxy: &Perihelion, server: &Origin, state: &str) -> Answer {
    let answer = proxy.control("POST", &short_path(server), &format!("{{\"state\":{state:?}}}"));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer
}

#[test]
fn a_server_that_is_drained_finishes_what_it_has_and_gets_nothing_new() {
    let (gate, other) = (Gate::new(), good("other"));
    let proxy = before(&[&gate.origin, &other], "");
    // One request is at work there, and another connection is idle.
    gate.let_one_through();
    wait_until("it has answered once", || proxy.get("/").text() == "let through");
    let mut busy = loop {
        let arrived = || gate.origin.received().len() + other.received().len();
        let before = arrived();
        let mut raw = proxy.connect();
        raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        wait_until("it arrived", || arrived() > before);
        if gate.origin.received().len() == 2 {
            break raw;
        }
        assert_eq!(raw.answer().text(), "other");
    };
    let state = set(&proxy, &gate.origin, "drain").json();
    assert_eq!(state["servers"][0]["state"], "draining");
    assert_eq!(state["servers"][0]["busy"], 1);
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "other");
    }
    gate.let_one_through();
    assert_eq!(busy.answer().text(), "let through");
    wait_until("its connections are closed", || gate.origin.open_connections() == 0);
    wait_until("it has none", || {
        let state = proxy.control("GET", "/pools/app", "").json();
        (&state["servers"][0]["busy"], &state["servers"][0]["idle"]) == (&0.into(), &0.into())
    });
    set(&proxy, &gate.origin, "enable");
    (0..4).for_each(|_| gate.let_one_through());
    wait_until("it serves again", || proxy.get("/").text() == "let through");
}

#[test]
fn requests_wait_while_every_server_is_taken_out() {
    let origin = good("served");
    let proxy = before(&[&origin], "");
    assert_eq!(proxy.get("/").text(), "served");
    set(&proxy, &origin, "disable");
    wait_until("its connections are closed", || origin.open_connections() == 0);
    let mut waits = proxy.connect();
    waits.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    proxy.wait_metric("perihelion_queue_length", &[], 1.0);
    set(&proxy, &origin, "enable");
    assert_eq!(waits.answer().text(), "served");
}

#[test]
fn trap_12_servers_are_added_and_removed_while_requests_go_on() {
    let (old, new) = (good("old"), good("new"));
    let proxy = before(&[&old], "");
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/").text(), "old");
    assert_eq!(proxy.control("PUT", &path(&new), "").status(), 201);
    assert_eq!(proxy.control("PUT", &path(&new), "").status(), 200);
    wait_until("the new one serves", || raw.get("/").text() == "new");
    assert_eq!(proxy.control("DELETE", &path(&old), "").status(), 200);
    wait_until("idle connections of the removed server are closed", || old.open_connections() == 0);
    let before = old.received().len();
    for _ in 0..4 {
        assert_eq!(raw.get("/").text(), "new");
    }
    assert_eq!(old.received().len(), before);
    assert_eq!(proxy.control("DELETE", &path(&old), "").status(), 404);
    let pools = proxy.control("GET", "/pools", "").json();
    assert_eq!(pools["pools"][0]["servers"].as_array().unwrap().len(), 1);
    // The file is what counts after a reload.
    assert_eq!(proxy.reload(&configuration(&[&old], "")).status(), 200);
    assert_eq!(raw.get("/").text(), "old");
    wait_until("idle connections of the removed server are closed", || new.open_connections() == 0);
}

#[test]
fn trap_12_a_reload_closes_idle_connections_of_servers_that_are_gone_and_no_others() {
    let (stays, goes) = (good("stays"), good("goes"));
    let proxy = before(&[&stays, &goes], "    keepalive: { idle: 5m }");
    wait_until("both have a connection", || {
        proxy.get("/");
        stays.open_connections() == 1 && goes.open_connections() == 1
    });
    let answer = proxy.reload(&configuration(&[&stays], "    keepalive: { idle: 4m }"));
    assert_eq!(answer.json()["note"], "pool app has changed");
    wait_until("they are closed", || goes.open_connections() == 0);
    assert_eq!(proxy.get("/").text(), "stays");
    assert_eq!(stays.connections(), 1);
}

#[test]
fn what_can_not_be_done_with_a_server_is_refused_with_its_reason() {
    let origin = good("");
    let proxy = before(&[&origin], "");
    let cases = [
        ("GET", "/pools/other".to_owned(), "", 404),
        ("POST", "/pools".to_owned(), "", 405),
        ("POST", path(&origin), "{\"state\":\"stop\"}", 400),
        ("POST", path(&origin), "enable", 400),
        ("GET", path(&origin), "", 405),
        ("POST", "/pools/app/servers/nothing".to_owned(), "{\"state\":\"drain\"}", 400),
        ("POST", "/pools/app/servers/127.0.0.9%3A1".to_owned(), "{\"state\":\"drain\"}", 404),
        ("DELETE", "/pools/app/servers/127.0.0.9%3A1".to_owned(), "", 404),
        ("PUT", "/pools/other/servers/127.0.0.9%3A1".to_owned(), "", 404),
    ];
    for (method, path, body, status) in cases {
        let answer = proxy.control(method, &path, body);
        assert_eq!(answer.status(), status, "{method} {path} {body}");
        assert!(answer.json()["error"].as_str().unwrap().len() > 10);
    }
}
