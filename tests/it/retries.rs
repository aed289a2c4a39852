//! Requests that are sent again: which, where, how often, and what their client sees of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::Socket;

use crate::support::{ClosesEarly, Origin, Perihelion, Received, Reply, Then};

fn before(servers: &[&Origin], more: &str) -> Perihelion {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: [{}]\n{more}\nsites: {{ \"*\": app }}\n",
        urls.join(", ")
    ))
}

/// Answers with these statuses in turn, and with the last of them from then on.
fn answering(statuses: &'static [&'static str]) -> Origin {
    let turn = AtomicUsize::new(0);
    Origin::replying(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        Reply::status(statuses[turn.min(statuses.len() - 1)], format!("answer {turn}"))
    })
}

const SCHEDULE: &str = "    error_retries: [0s, 10ms, 20ms]";

fn post(proxy: &Perihelion) -> u16 {
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody");
    raw.answer().status()
}

#[test]
fn trap_8_a_500_is_hidden_from_whoever_gets_a_better_answer_later() {
    let origin = answering(&["500 Internal Server Error", "500 Internal Server Error", "200 OK"]);
    let proxy = before(&[&origin], SCHEDULE);
    let answer = proxy.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "answer 2"));
    assert_eq!(origin.received().len(), 3);
    proxy.wait_metric("perihelion_upstream_retries_total", &[("reason", "status")], 2.0);
}

#[test]
fn trap_8_after_the_schedule_the_real_500_is_passed_on() {
    let origin = answering(&["500 Internal Server Error"]);
    let proxy = before(&[&origin], SCHEDULE);
    let answer = proxy.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (500, "answer 3"));
    assert_eq!(origin.received().len(), 4);
}

#[test]
fn trap_8_where_no_further_attempt_can_be_made_the_client_gets_the_500_that_was_hidden() {
    let check = |page: Vec<u8>, long: bool| {
        let asked = AtomicUsize::new(0);
        let sent = page.clone();
        let (leave, left) = std::sync::mpsc::sync_channel::<()>(1);
        let left = std::sync::Mutex::new(left);
        let origin = Origin::replying(move |request| match request.target() {
            "/slow" => {
                // Until the test is over.
                let _ = left.lock().unwrap().recv_timeout(crate::support::DEADLINE);
                Reply::ok("slow")
            }
            _ if asked.fetch_add(1, Ordering::SeqCst) == 0 => {
                Reply::status("500 Internal Server Error", &sent).with("X-Error", "a")
            }
            _ => Reply::ok("too late"),
        });
        let more = "    error_retries: [4s]\n    max_connections: 1\n    queue: { timeout: 2s }";
        let proxy = before(&[&origin], more);
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        origin.wait_for_request(0);
        // It has the connection before the second attempt is due.
        let mut slow = proxy.connect();
        slow.send("GET /slow HTTP/1.1\r\nHost: example.com\r\n\r\n");
        origin.wait_for_request(1);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.head.get("x-error")), (500, Some("a")));
        assert_eq!(answer.body, if long { Vec::new() } else { page });
        leave.send(()).unwrap();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| check(vec![b'e'; 1000], false));
        scope.spawn(|| check(vec![b'e'; 200_000], true));
    });
}

#[test]
fn trap_8_a_post_and_any_other_status_pass() {
    let errors = answering(&["500 Internal Server Error"]);
    let proxy = before(&[&errors], SCHEDULE);
    assert_eq!(post(&proxy), 500);
    assert_eq!(errors.received().len(), 1);
    let unavailable = answering(&["503 Service Unavailable"]);
    let proxy = before(&[&unavailable], SCHEDULE);
    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!(unavailable.received().len(), 1);
}

#[test]
fn a_500_is_passed_on_where_nothing_else_is_asked_for() {
    let origin = answering(&["500 Internal Server Error", "200 OK"]);
    assert_eq!(before(&[&origin], "").get("/").status(), 500);
}

#[test]
fn a_request_whose_connection_broke_is_sent_to_another_server() {
    let (broken, good) = (Origin::new(ClosesEarly), Origin::replying(|_| Reply::ok("good")));
    let proxy = before(&[&broken, &good], "");
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "good");
    }
    let broke = broken.received().len() as f64;
    assert!(broke >= 1.0);
    proxy.wait_metric("perihelion_upstream_retries_total", &[("reason", "reset")], broke);
    proxy.wait_metric("perihelion_upstream_errors_total", &[("reason", "reset")], broke);
}

#[test]
fn what_may_not_be_repeated_is_sent_once() {
    let (first, second) = (Origin::new(ClosesEarly), Origin::new(ClosesEarly));
    let proxy = before(&[&first, &second], "");
    assert_eq!(post(&proxy), 502);
    assert_eq!(first.received().len() + second.received().len(), 1);
    assert_eq!(before(&[&first, &second], "    retries: off").get("/").status(), 502);
    assert_eq!(first.received().len() + second.received().len(), 2);
}

#[test]
fn an_answer_that_has_begun_is_never_asked_for_again() {
    let half = |_: &Received, socket: &mut Socket| {
        std::io::Write::write_all(socket, b"HTTP/1.1 200 OK\r\nConte").unwrap();
        Then::Close
    };
    let (first, second) = (Origin::new(half), Origin::new(half));
    assert_eq!(before(&[&first, &second], "").get("/").status(), 502);
    assert_eq!(first.received().len() + second.received().len(), 1);
}

#[test]
fn no_more_is_sent_again_than_the_budget_allows() {
    let (first, second) = (Origin::new(ClosesEarly), Origin::new(ClosesEarly));
    let proxy = before(&[&first, &second], "    retries: { share: 0%, floor: 2 }");
    for _ in 0..5 {
        assert_eq!(proxy.get("/").status(), 502);
    }
    assert_eq!(first.received().len() + second.received().len(), 7);
    proxy.wait_metric("perihelion_upstream_retries_total", &[], 2.0);
    proxy.wait_metric("perihelion_upstream_retry_budget_exhausted_total", &[], 3.0);
}
