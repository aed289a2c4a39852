//! The line of a pool: who is served when a connection is free, and what a server that takes none does to the others.

use crate::support::{Gate, Origin, Perihelion, Raw, Reply, Unreachable, wait_until};

/// A proxy in front of one worker, with more keys of its pool's queue.
fn before_one_worker(gate: &Gate, queue: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: {}\n    max_connections: 1\n    queue: {queue}\n\
         sites: {{ \"*\": app }}\n",
        gate.origin.url()
    ))
}

/// Asks one after another, so that each is in line before the next comes; the first is at work at once.
fn ask_in_order(proxy: &Perihelion, gate: &Gate, requests: &[(&str, &str)]) -> Vec<Raw> {
    let ask = |(number, (target, field)): (usize, &(&str, &str))| {
        let mut raw = proxy.connect();
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{field}\r\n"));
        gate.origin.wait_for_request(0);
        proxy.wait_metric("perihelion_queue_length", &[], number as f64);
        raw
    };
    requests.iter().enumerate().map(ask).collect()
}

/// Lets all of them through; the targets in the order in which they were served.
fn served(gate: &Gate, mut clients: Vec<Raw>) -> Vec<String> {
    clients.iter().for_each(|_| gate.let_one_through());
    for raw in &mut clients {
        assert_eq!(raw.answer().text(), "let through");
    }
    gate.origin.received().iter().map(|request| request.target().to_string()).collect()
}

const SIGNS: &str = "high: [{ cookie: vip }, { header: \"X-Priority: high\" }, { path: /checkout/ }], low: [{ path: /report/ }]";

#[test]
fn trap_12_the_urgent_are_first_and_their_class_is_that_of_the_moment_they_began_to_wait() {
    let gate = Gate::new();
    let proxy = before_one_worker(&gate, &format!("{{ {SIGNS} }}"));
    let requests = [
        ("/slow", ""),
        ("/report/1", ""),
        ("/n1", "Cookie: theme=vip\r\n"),
        ("/n2", "X-Priority: higher\r\n"),
        ("/vip", "Cookie: a=b; vip=1\r\n"),
        ("/checkout/pay", ""),
        ("/header", "X-Priority: high\r\n"),
    ];
    let clients = ask_in_order(&proxy, &gate, &requests);
    for (class, waiting) in [("high", 3.0), ("normal", 2.0), ("low", 1.0)] {
        assert_eq!(proxy.metric("perihelion_queue_length", &[("class", class)]), waiting, "{class}");
    }
    let order = served(&gate, clients);
    assert_eq!(order, ["/slow", "/vip", "/checkout/pay", "/header", "/n1", "/n2", "/report/1"]);
    proxy.wait_metric("perihelion_queue_wait_seconds_count", &[("class", "high")], 3.0);
}

#[test]
fn whoever_is_passed_over_often_enough_has_a_turn() {
    let gate = Gate::new();
    let proxy = before_one_worker(&gate, &format!("{{ relief: 2, {SIGNS} }}"));
    let vip = |target| (target, "Cookie: vip=1\r\n");
    let requests = [
        ("/first", ""),
        ("/report/1", ""),
        vip("/h1"),
        vip("/h2"),
        vip("/h3"),
        vip("/h4"),
        ("/report/2", ""),
    ];
    let clients = ask_in_order(&proxy, &gate, &requests);
    let order = served(&gate, clients);
    assert_eq!(order, ["/first", "/h1", "/h2", "/report/1", "/h3", "/h4", "/report/2"]);
}

#[test]
fn an_urgent_client_that_leaves_is_out_of_the_line_at_once() {
    let gate = Gate::new();
    let proxy = before_one_worker(&gate, &format!("{{ {SIGNS} }}"));
    let requests = [("/first", ""), ("/n1", ""), ("/vip", "Cookie: vip=1\r\n")];
    let mut clients = ask_in_order(&proxy, &gate, &requests);
    drop(clients.pop());
    proxy.wait_metric("perihelion_queue_length", &[("class", "high")], 0.0);
    proxy.wait_metric("perihelion_queue_rejected_total", &[("reason", "client_gone")], 1.0);
    assert_eq!(served(&gate, clients), ["/first", "/n1"]);
}

/// What has come of a body that is streamed stays in the client's socket until somebody wants it.
#[test]
fn a_client_that_leaves_is_out_of_the_line_though_nobody_has_read_its_body() {
    let gate = Gate::new();
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: {}\n    max_connections: 1\n    \
         queue: {{ timeout: 10m }}\nsites: {{ \"*\": {{ routes: [{{ path: /, pool: app, buffer: off }}] }} }}\n",
        gate.origin.url()
    ));
    let post = |target: &str, said: &str| {
        let mut raw = proxy.connect();
        raw.send(format!("POST {target} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\n{said}"));
        raw
    };
    let mut first = proxy.connect();
    first.send("GET /first HTTP/1.1\r\nHost: example.com\r\n\r\n");
    gate.origin.wait_for_request(0);
    let mut stays = post("/stays", "hello ");
    let mut count = 0.0;
    // With a part of it, with all, and without any.
    for said in ["part", "all of it.", ""] {
        let leaves = post("/leaves", said);
        proxy.wait_metric("perihelion_queue_length", &[], 2.0);
        drop(leaves);
        proxy.wait_metric("perihelion_queue_length", &[], 1.0);
        count += 1.0;
        proxy.wait_metric("perihelion_queue_rejected_total", &[("reason", "client_gone")], count);
    }
    // Who stays is served, with what came before and after it was waited for.
    stays.send("you ");
    (0..3).for_each(|_| gate.let_one_through());
    assert_eq!(first.answer().text(), "let through");
    assert_eq!(stays.answer().text(), "let through");
    assert_eq!(stays.get("/next").status(), 200);
    let bodies: Vec<_> = gate.origin.received().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [&b""[..], b"hello you ", b""]);
    proxy.wait_metric("perihelion_requests_total", &[("code", "499")], count);
}

/// A pool of these servers where a connect may take longer than any test does.
fn patient(servers: &[String], more: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\ntimeouts: {{ connect: 5m }}\npools:\n  app:\n    servers: [{}]\n    \
         queue: {{ timeout: 5m }}\n{more}\nsites: {{ \"*\": app }}\n",
        servers.join(", ")
    ))
}

#[test]
fn trap_2_a_server_that_takes_no_connection_holds_nobody_back() {
    let (nowhere, origin) = (Unreachable::new(), Origin::replying(|_| Reply::ok("here")));
    let proxy = patient(&[nowhere.url(), origin.url()], "");
    let mut clients: Vec<Raw> = (0..8).map(|_| proxy.connect()).collect();
    for raw in &mut clients {
        raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    }
    for raw in &mut clients {
        assert_eq!(raw.answer().text(), "here");
    }
}

#[test]
fn trap_2_where_one_server_takes_long_another_is_asked_besides() {
    let (nowhere, origin) = (Unreachable::new(), Origin::replying(|_| Reply::ok("here")));
    let proxy = patient(&[nowhere.url(), origin.url()], "");
    // Nobody else comes whose connection could serve this one.
    assert_eq!(proxy.get("/").text(), "here");
}

#[test]
fn trap_2_whoever_waits_for_a_connection_is_served_by_the_first_that_is_free() {
    let (nowhere, gate) = (Unreachable::new(), Gate::new());
    let proxy = patient(&[gate.origin.url(), nowhere.url()], "    max_connections: 1");
    let mut first = proxy.connect();
    first.send("GET /first HTTP/1.1\r\nHost: example.com\r\n\r\n");
    gate.origin.wait_for_request(0);
    let mut second = proxy.connect();
    second.send("GET /second HTTP/1.1\r\nHost: example.com\r\n\r\n");
    wait_until("it waits", || proxy.metric("perihelion_queue_length", &[]) == 1.0);
    gate.let_one_through();
    gate.let_one_through();
    assert_eq!(first.answer().text(), "let through");
    assert_eq!(second.answer().text(), "let through");
    assert_eq!(gate.origin.connections(), 1);
}
