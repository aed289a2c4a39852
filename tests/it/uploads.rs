//! A request's body that its client sends slowly waits in the proxy: no worker of the application is asked for before
//! it is there, nothing is lost, and whatever is full, the request goes on.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use crate::support::{
    ClosesOnSecondRequest, DEADLINE, Origin, Perihelion, Raw, Reply, hash, noise, wait_until,
};

const KIBIBYTE: usize = 1 << 10;
const MEBIBYTE: usize = 1 << 20;

/// An application that says the hash of what it gets.
fn hashing() -> Origin {
    Origin::replying(|request| Reply::ok(hash(&request.body)))
}

/// A proxy with one route.
fn before(origin: &Origin, route: &str, more: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: {:?}, max_connections: 2 }} }}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app{route} }}] }} }}\n{more}\n",
        origin.url()
    ))
}

fn head(length: usize, more: &str) -> String {
    format!("POST /upload HTTP/1.1\r\nHost: example.com\r\nContent-Length: {length}\r\n{more}\r\n")
}

/// The three ways in which a body may wait, as configured, with a body that is larger than what stays in memory.
const WAYS: [(&str, &str, &str); 3] = [
    ("nothing waits", ", buffer: off", ""),
    ("in memory", "", "buffers: { request: 4MiB, disk: off }"),
    ("on disk", "", "buffers: { request: 64KiB }"),
];

/// A proxy that chooses for each request of a connection: what isn't an upload goes elsewhere.
fn selecting(origin: &Origin, elsewhere: &Origin, route: &str, more: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {}, other: {} }}\n\
         sites:\n  \"*\": other\n  \"*.com\":\n    routes:\n      - {{ path: /, pool: other }}\n      \
         - {{ path: /upload, pool: app{route} }}\n{more}\n",
        origin.url(),
        elsewhere.url()
    ))
}

/// The matrix of Perlbal's own tests: directly and by a choice for each request, all ways to wait, with and without a
/// stray line end behind the body and a pause before it, over one kept connection.
#[test]
fn trap_10_a_body_arrives_as_it_was_sent_whatever_waits_and_however_it_comes() {
    for (way, route, more) in WAYS {
        let (origin, elsewhere) = (hashing(), Origin::replying(|_| Reply::ok("elsewhere")));
        let direct = before(&origin, route, more);
        let selecting = selecting(&origin, &elsewhere, route, more);
        for (chooses, proxy) in [("directly", &direct), ("by a choice", &selecting)] {
            for (stray, pause) in [("", false), ("", true), ("\r\n", false), ("\r\n", true)] {
                let case = format!("{way}, {chooses}, stray {stray:?}, pause {pause}");
                uploads(proxy, &origin, stray, pause, &case);
            }
            proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
            proxy.wait_metric("perihelion_buffer_disk_bytes", &[], 0.0);
            let spills = proxy.metric("perihelion_buffer_spills_total", &[("kind", "request")]);
            // One of the four bodies is larger than what may stay in memory and what gathers for a write.
            assert_eq!(spills, if way == "on disk" { 4.0 } else { 0.0 }, "{way}, {chooses}");
        }
    }
}

/// Some bodies over one connection, with another request between them.
fn uploads(proxy: &Perihelion, origin: &Origin, stray: &str, pause: bool, case: &str) {
    let mut raw = proxy.connect();
    for length in [0, 5, 100 * KIBIBYTE, 700 * KIBIBYTE] {
        let body = noise(length);
        raw.send(head(length, ""));
        if pause {
            // The head has been read when another one is answered.
            proxy.get("/between");
        }
        raw.send(&body);
        raw.send(stray);
        let answer = raw.answer();
        assert_eq!((answer.status(), answer.text()), (200, hash(&body)), "{case}");
        let upload = origin.received().into_iter().rfind(|request| request.target() == "/upload");
        assert_eq!(upload.unwrap().head.length(), Some(length), "{case}");
        // The connection was kept, and goes on, maybe to another pool.
        assert_eq!(raw.get("/after").status(), 200, "{case}");
    }
}

#[test]
fn a_chunked_body_that_is_held_whole_gets_a_length() {
    for (_, route, more) in &WAYS[1..] {
        let origin = hashing();
        let proxy = before(&origin, route, more);
        let body = noise(MEBIBYTE + 7);
        let mut raw = proxy.connect();
        raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in body.chunks(60_001) {
            raw.send(format!("{:x}\r\n", chunk.len()));
            raw.send(chunk);
            raw.send("\r\n");
        }
        assert!(origin.received().is_empty());
        raw.send("0\r\n\r\n");
        assert_eq!(raw.answer().text(), hash(&body));
        let request = origin.only();
        assert_eq!((request.head.length(), request.head.chunked()), (Some(body.len()), false));
    }
}

#[test]
fn no_worker_is_asked_for_before_a_body_is_whole() {
    let origin = hashing();
    let proxy = before(&origin, "", "");
    let body = noise(MEBIBYTE);
    let mut raw = proxy.connect();
    raw.send(head(body.len(), ""));
    raw.send(&body[..body.len() - 1]);
    proxy.wait_metric("perihelion_buffer_spills_total", &[("kind", "request")], 1.0);
    assert_eq!(proxy.metric("perihelion_upstream_connections_opened_total", &[]), 0.0);
    raw.send(&body[body.len() - 1..]);
    assert_eq!(raw.answer().text(), hash(&body));
}

#[test]
fn a_connection_that_idles_keeps_nothing_of_the_last_body() {
    let origin = hashing();
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: {}, keepalive: {{ idle: 5m }} }} }}\n\
         sites: {{ \"*\": app }}\n",
        origin.url()
    ));
    let body = noise(200 * KIBIBYTE);
    let mut raw = proxy.connect();
    raw.send(head(body.len(), ""));
    raw.send(&body);
    assert_eq!(raw.answer().text(), hash(&body));
    proxy.wait_metric("perihelion_upstream_connections", &[("state", "idle")], 1.0);
    proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
    assert_eq!(origin.open_connections(), 1);
}

/// One that uploads slower than half of this in a second needs a file, by the time that is left.
#[test]
fn a_body_for_which_there_is_no_reason_to_wait_is_streamed_when_memory_is_full() {
    let origin = hashing();
    let proxy = before(&origin, "", "buffers: { request: 64KiB, upload: { size: off, time: off } }");
    let body = noise(MEBIBYTE);
    let mut raw = proxy.connect();
    raw.send(head(body.len(), ""));
    raw.send(&body[..body.len() / 2]);
    proxy.wait_metric("perihelion_upstream_connections", &[("state", "busy")], 1.0);
    raw.send(&body[body.len() / 2..]);
    assert_eq!(raw.answer().text(), hash(&body));
    assert_eq!(proxy.metric("perihelion_buffer_spills_total", &[]), 0.0);
}

#[test]
fn a_disk_that_is_full_makes_streams_of_uploads() {
    let origin = hashing();
    let proxy = before(&origin, "", "buffers: { request: 64KiB, disk: 200KiB }");
    let body = noise(2 * MEBIBYTE);
    let mut raw = proxy.connect();
    for framing in ["length", "chunked"] {
        match framing {
            "length" => {
                raw.send(head(body.len(), ""));
                raw.send(&body);
            }
            _ => {
                raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
                raw.send(format!("{:x}\r\n", body.len()));
                raw.send(&body);
                raw.send("\r\n0\r\n\r\n");
            }
        }
        assert_eq!(raw.answer().text(), hash(&body), "{framing}");
        assert_eq!(origin.last().head.chunked(), framing == "chunked");
    }
    assert_eq!(proxy.metric("perihelion_buffer_full_total", &[("kind", "request")]), 2.0);
    proxy.wait_metric("perihelion_buffer_disk_bytes", &[], 0.0);
}

#[test]
fn a_client_that_waits_for_100_is_told_once_by_the_proxy_whatever_waits() {
    for (way, route, more) in WAYS {
        let origin = hashing();
        let proxy = before(&origin, route, more);
        let body = noise(200 * KIBIBYTE);
        let mut raw = proxy.connect();
        for _ in 0..2 {
            raw.send(head(body.len(), "Expect: 100-continue\r\n"));
            assert_eq!(raw.head().status(), 100, "{way}");
            raw.send(&body);
            let head = raw.head();
            assert_eq!(head.status(), 200, "{way}");
            assert_eq!(raw.body_behind(head).text(), hash(&body), "{way}");
            assert!(!origin.last().head.has("expect"));
        }
    }
}

#[test]
fn a_route_has_a_limit_of_its_own_and_nobody_is_told_to_go_on_above_it() {
    let origin = hashing();
    let proxy = before(&origin, ", request_body: 1000B", "limits: { request_body: 1MiB }");
    let mut raw = proxy.connect();
    raw.send(head(1001, "Expect: 100-continue\r\n"));
    assert_eq!(raw.head().status(), 413);
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    raw.send(format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001)));
    assert_eq!(raw.answer().status(), 413);
    let mut raw = proxy.connect();
    raw.send(head(1000, ""));
    raw.send(noise(1000));
    assert_eq!(raw.answer().status(), 200);
    assert_eq!((origin.received().len(), origin.connections()), (1, 1));
}

#[test]
fn a_body_that_stops_is_408_and_keeps_no_worker() {
    let origin = hashing();
    let proxy = before(&origin, "", "timeouts: { body: 300ms }");
    let mut raw = proxy.connect();
    raw.send(head(1000, ""));
    raw.send("and no more");
    let answer = raw.answer();
    assert_eq!((answer.status(), answer.head.get("connection")), (408, Some("close")));
    raw.assert_closed();
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_client_that_leaves_in_its_body_leaves_nothing_behind() {
    let origin = hashing();
    let proxy = before(&origin, "", "buffers: { folder: $FOLDER }");
    let mut raw = proxy.connect();
    raw.send(head(2 * MEBIBYTE, ""));
    raw.send(noise(MEBIBYTE));
    wait_until("it is on disk", || proxy.metric("perihelion_buffer_disk_bytes", &[]) > 0.0);
    assert_eq!(std::fs::read_dir(proxy.place.folder.path()).unwrap().count(), 1);
    drop(raw);
    proxy.wait_metric("perihelion_buffer_disk_bytes", &[], 0.0);
    proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
    // By what was read, or before anybody read it.
    let broken = || proxy.metric("perihelion_request_errors_total", &[("reason", "body_broken")]);
    let left = || proxy.metric("perihelion_requests_total", &[("code", "499")]);
    wait_until("it is counted", || broken() + left() == 1.0);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_that_is_held_is_sent_again_over_a_fresh_connection() {
    let origin = Origin::new(ClosesOnSecondRequest);
    let proxy = before(&origin, "", "");
    assert_eq!(proxy.get("/").text(), "connection 0");
    let body = noise(500 * KIBIBYTE);
    let mut raw = proxy.connect();
    raw.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    raw.send(&body);
    assert_eq!(raw.answer().text(), "connection 1");
    assert_eq!(hash(&origin.last().body), hash(&body));
    proxy.wait_metric("perihelion_upstream_retries_total", &[], 1.0);
    // What may not be repeated is not.
    raw.send(head(4, ""));
    raw.send("once");
    assert_eq!(raw.answer().status(), 502);
}

#[test]
fn an_application_that_answers_before_it_has_read_is_heard() {
    for (way, route, more) in WAYS {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Perihelion::start(&format!(
            "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {upstream:?} }}\n\
             sites: {{ \"*\": {{ routes: [{{ path: /, pool: app{route} }}] }} }}\n{more}\n"
        ));
        let application = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            // The head is there, and not more of the body than came along.
            assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
            socket.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").unwrap();
            socket
        });
        let mut raw = proxy.connect();
        raw.send(head(300 * KIBIBYTE, ""));
        // All of it where it is waited for, so that somebody is asked.
        raw.send(noise(if route.is_empty() { 300 * KIBIBYTE } else { 1000 }));
        let answer = raw.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (403, "no"), "{way}");
        drop(application.join().unwrap());
    }
}

/// Clients that upload slowly in front of a two-worker application.
const CROWD: usize = 100;
const UPLOAD: usize = 100 * KIBIBYTE;

#[test]
fn a_crowd_of_slow_uploads_keeps_no_ordinary_request_waiting() {
    let busy = Arc::new(AtomicUsize::new(0));
    let origin = Origin::replying(move |request| {
        assert!(busy.fetch_add(1, Ordering::SeqCst) < 2, "two workers");
        let reply = Reply::ok(hash(&request.body));
        busy.fetch_sub(1, Ordering::SeqCst);
        reply
    });
    let proxy = before(&origin, "", "buffers: { memory: 2MiB, request: 32KiB, upload: { size: 32KiB } }");
    let body = noise(UPLOAD);
    let mut crowd: Vec<Raw> = (0..CROWD).map(|_| proxy.connect()).collect();
    crowd.iter_mut().for_each(|raw| raw.send(head(UPLOAD, "")));
    for piece in body.chunks(UPLOAD / 10) {
        crowd.iter_mut().for_each(|raw| raw.send(piece));
        // Who had to wait for one of them would do so for ever, since none goes on before.
        assert_eq!(proxy.get("/ordinary").status(), 200);
    }
    for raw in &mut crowd {
        assert_eq!(raw.answer().text(), hash(&body));
    }
    // None of them waited for a worker that waited for a client.
    assert_eq!(proxy.metric("perihelion_queue_rejected_total", &[]), 0.0);
    proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
    proxy.wait_metric("perihelion_buffer_disk_bytes", &[], 0.0);
}

#[test]
fn an_upload_that_breaks_its_limit_after_an_early_answer_is_never_ended_as_if_it_were_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (go_on, gate) = sync_channel::<()>(2);
    let application = std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut request = vec![0];
        // A connection that speaks before it is asked is not used.
        socket.read_exact(&mut request).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n").unwrap();
        while gate.recv().is_ok() {
            socket.write_all(b"5\r\nstill\r\n").unwrap();
        }
        // However the connection ends, what came before counts.
        let late = socket.read_to_end(&mut request).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(!late, "its client has left long ago");
        String::from_utf8_lossy(&request).into_owned()
    });
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {url:?} }}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app, buffer: off, request_body: 1KiB }}] }} }}\n\
         timeouts: {{ body: 10m }}\n"
    ));
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    assert_eq!(raw.head().status(), 200);
    assert_eq!(raw.chunk().as_deref(), Some(&b"early"[..]));
    raw.send(format!("7d0\r\n{}\r\n", "x".repeat(2000)));
    for rest in ["5\r\nworld\r\n", "0\r\n\r\n"] {
        raw.send(rest);
        go_on.send(()).unwrap();
        assert_eq!(raw.chunk().as_deref(), Some(&b"still"[..]), "the answer goes on");
    }
    drop((go_on, raw));
    let request = application.join().unwrap();
    assert!(request.ends_with("\r\n\r\n5\r\nhello\r\n"), "{request}");
}

/// R-U-Dead-Yet: bytes that keep coming, so that silence is never too long.
#[test]
fn a_body_that_drips_is_given_up_and_one_that_keeps_pace_is_not() {
    let origin = Origin::replying(|request| Reply::ok(request.body.len().to_string()));
    let proxy =
        Perihelion::before_with(&origin, "timeouts: { body_rate: 1KB, body_grace: 500ms, body: 20s }\n");
    let head =
        |length: usize| format!("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {length}\r\n\r\n");
    let mut dripping = proxy.connect();
    dripping.send(head(1_000_000));
    let began = std::time::Instant::now();
    let mut drops = 0;
    while dripping.try_send("x").is_ok() && began.elapsed() < std::time::Duration::from_secs(10) {
        drops += 1;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(drops < 150, "{drops} drops were taken");
    assert_eq!(dripping.answer().status(), 408);
    assert_eq!(origin.received().len(), 0);

    let mut steady = proxy.connect();
    steady.send(head(20 * 1000));
    for _ in 0..20 {
        steady.send([b'x'; 1000]);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(steady.answer().text(), "20000");
    proxy.wait_metric("perihelion_request_errors_total", &[("reason", "body_timeout")], 1.0);
}

/// An application that takes a piece of a body that is streamed and then nothing more; its client leaves meanwhile. What
/// the client has still said, and that it has left, is behind what nobody reads.
#[test]
fn a_client_that_leaves_while_nobody_reads_its_upload_holds_nobody_up_for_long() {
    for leaves_by_reset in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Perihelion::start(&format!(
            "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: \"http://{address}\", max_connections: 1 }} }}\n\
             sites: {{ \"*\": {{ routes: [{{ path: /, pool: app, buffer: off }}] }} }}\ntimeouts: {{ body: 1s }}\n"
        ));
        let mut client = std::net::TcpStream::connect(proxy.http()).unwrap();
        std::io::Write::write_all(&mut client, head(50 * MEBIBYTE, "").as_bytes()).unwrap();
        let (mut application, _) = listener.accept().unwrap();
        client.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        // Until nobody takes any more.
        while std::io::Write::write_all(&mut client, &noise(MEBIBYTE)).is_ok() {}
        if leaves_by_reset {
            socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
        drop(client);
        proxy.wait_metric("perihelion_requests_in_flight", &[], 0.0);
        proxy.wait_metric("perihelion_connections_open", &[], 0.0);
        proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
        // The application never takes it for a whole one, and its only connection is free for the next.
        application.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
        let mut taken = Vec::new();
        let _ = std::io::Read::read_to_end(&mut application, &mut taken);
        assert!(taken.len() < 50 * MEBIBYTE);
        let mut next = proxy.connect();
        next.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        let (mut application, _) = listener.accept().unwrap();
        // An answer before its question would be nobody's.
        let mut byte = [0];
        assert_eq!(std::io::Read::read(&mut application, &mut byte).unwrap(), 1);
        std::io::Write::write_all(&mut application, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
            .unwrap();
        assert_eq!(next.answer().text(), "next");
    }
}
