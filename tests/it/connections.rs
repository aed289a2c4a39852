//! The life of connections to servers: how often each is used, what is had ready, and what is asked before.

use socket2::Socket;

use crate::support::{Origin, Perihelion, Received, Reply, Then, wait_until};

fn before(servers: &[&Origin], more: &str) -> Perihelion {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: [{}]\n{more}\nsites: {{ \"*\": app }}\n",
        urls.join(", ")
    ))
}

/// For each request its connection, its place there, and whether it was said to be the last.
fn uses(origin: &Origin) -> Vec<(usize, usize, bool)> {
    let use_of = |request: Received| {
        let last = request.head.get("connection") == Some("close");
        (request.connection, request.place, last)
    };
    origin.received().into_iter().map(use_of).collect()
}

#[test]
fn a_connection_serves_as_many_requests_as_it_may_and_not_one_more() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = before(&[&origin], "    keepalive: { requests: 3 }");
    let mut raw = proxy.connect();
    for _ in 0..7 {
        assert_eq!(raw.get("/").status(), 200);
    }
    let expected = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)];
    assert_eq!(uses(&origin), expected.map(|(connection, place)| (connection, place, place == 2)));
}

#[test]
fn a_prefork_server_has_its_worker_back_after_each_request() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = before(&[&origin], "    keepalive: off\n    max_connections: 1");
    let mut raw = proxy.connect();
    for number in 0..3 {
        assert_eq!(raw.get("/").status(), 200);
        wait_until("it is closed", || origin.open_connections() == 0);
        assert_eq!(uses(&origin)[number], (number, 0, true));
    }
}

#[test]
fn spare_connections_are_ready_and_those_that_nobody_uses_are_closed() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = before(&[&origin], "    keepalive: off\n    connect_ahead: 2");
    assert_eq!(origin.connections(), 0);
    proxy.get("/");
    proxy.wait_metric("perihelion_upstream_connections", &[("state", "idle")], 2.0);
    wait_until("they have come", || origin.connections() == 3);
    proxy.get("/");
    assert!([1, 2].contains(&uses(&origin)[1].0), "one of those that were ready");
    wait_until("all are closed", || origin.open_connections() == 0);
    assert_eq!(origin.connections(), 4);
}

#[test]
fn trap_2_a_connection_is_asked_before_it_takes_a_request() {
    let origin = Origin::replying(|request| match request.method() {
        "OPTIONS" => Reply::status("501 Not Implemented", "whatever"),
        _ => Reply::ok("served"),
    });
    let proxy = before(&[&origin], "    verify: OPTIONS /up");
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/1").text(), "served");
    assert_eq!(raw.get("/2").text(), "served");
    let lines: Vec<String> = origin.received().iter().map(|request| request.head.line.clone()).collect();
    assert_eq!(lines, ["OPTIONS /up HTTP/1.1", "GET /1 HTTP/1.1", "GET /2 HTTP/1.1"]);
    assert_eq!(origin.received()[0].head.get("host"), origin.url().strip_prefix("http://"));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn trap_2_a_server_without_a_free_worker_gets_no_request() {
    // It takes connections and answers nothing, as a listening socket without a worker does.
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = Origin::replying(|_| Reply::ok("free"));
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: [http://{}, {}]\n    verify: OPTIONS *\n    \
         queue: {{ timeout: 5m }}\nsites: {{ \"*\": app }}\n",
        busy.local_addr().unwrap(),
        free.url()
    ));
    for _ in 0..6 {
        assert_eq!(proxy.get("/").text(), "free");
    }
}

#[test]
fn a_server_that_closes_whoever_asks_is_used_unasked() {
    let origin = Origin::new(|request: &Received, socket: &mut Socket| match request.method() {
        "OPTIONS" => Reply::ok("").until_close().send_to(request, socket),
        _ => {
            Reply::ok("served").send_to(request, socket);
            Then::Close
        }
    });
    let proxy = before(&[&origin], "    verify: OPTIONS *\n    keepalive: off");
    for _ in 0..3 {
        assert_eq!(proxy.get("/").text(), "served");
    }
    let asked = origin.received().iter().filter(|request| request.method() == "OPTIONS").count();
    assert_eq!(asked, 1);
}
