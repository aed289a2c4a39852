//! What applications of GRIP link to from held streams: what clients lack, and where it is heard that one has gone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use crate::support::{Origin, Perihelion, Raw, Received, Reply, wait_until};

/// A stream on a channel, with what it has of it and where more is.
fn stream(channel: &str, link: &str, body: &str) -> Reply {
    let reply = Reply::ok(body).with("Grip-Hold", "stream").with("Grip-Channel", channel);
    reply.with("Grip-Link", link)
}

fn ask(proxy: &Perihelion, target: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\nCookie: a=b\r\n\r\n"));
    raw
}

/// Asks for a stream that begins with these bytes.
fn held(proxy: &Perihelion, target: &str, beginning: &str) -> Raw {
    let mut raw = ask(proxy, target);
    assert_eq!(raw.head().status(), 200);
    raw.piece(beginning);
    raw
}

fn item(channel: &str, id: &str, prev_id: &str) -> String {
    format!(
        r#"{{"channel":"{channel}","id":"{id}","prev-id":"{prev_id}","http-stream":{{"content":"{id}\n"}}}}"#
    )
}

fn publish(proxy: &Perihelion, items: &[String]) {
    let answer = proxy.control("POST", "/publish/", &format!("{{\"items\":[{}]}}", items.join(",")));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Published\n"));
}

fn asked_for(origin: &Origin, target: &str) -> Vec<Received> {
    origin.received().into_iter().filter(|request| request.target() == target).collect()
}

#[test]
fn what_a_stream_lacks_is_asked_for_once_for_all_that_lack_the_same() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/stream" => {
            stream("a; prev-id=1", "</next?b=c>; rel=next", "open\n").with("Content-Type", "text/plain")
        }
        "/next?b=c" => stream("a; prev-id=4, b", "<later>; rel=next", "2 3 4\n").with("X-Unseen", "1"),
        _ => stream("a; prev-id=9", "</later>; rel=next", "more\n"),
    });
    let proxy = Perihelion::before_with(&origin, "grip: {key: changeme}\nthreads: 2\n");
    let mut clients: Vec<Raw> = (0..8).map(|_| held(&proxy, "/stream", "open\n")).collect();
    proxy.wait_subscribers("a", 8);
    // It lacks 2, so that 4 is not for it yet, and neither is what comes meanwhile.
    publish(&proxy, &[item("a", "4", "3")]);
    for client in &mut clients {
        client.piece("2 3 4\n");
    }
    proxy.wait_subscribers("b", 8);
    let asked = asked_for(&origin, "/next?b=c");
    assert_eq!(asked.len(), 1, "{asked:?}");
    let head = &asked[0].head;
    assert_eq!((asked[0].method(), head.get("host")), ("GET", Some("example.com")));
    assert_eq!(head.all("grip-last"), ["a; last-id=1"]);
    assert!(head.has("grip-sig") && head.has("grip-feature") && !head.has("cookie"), "{head:?}");
    // They go on where the application says, on the channels that it names.
    publish(&proxy, &[item("a", "5", "4"), item("b", "x", "")]);
    for client in &mut clients {
        client.piece("5\nx\n");
    }
    assert_eq!(proxy.subscribers("a"), 8);
    // The link is another one now, and so are the ids.
    publish(&proxy, &[item("a", "9", "8")]);
    for client in &mut clients {
        client.piece("more\n");
    }
    let asked = asked_for(&origin, "/later");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].head.all("grip-last"), ["a; last-id=5", "b; last-id=x"]);
    proxy.wait_subscribers("b", 0);
    proxy.wait_metric("perihelion_comet_recovering", &[], 0.0);
    proxy.wait_metric("perihelion_comet_recoveries_total", &[("result", "ok")], 2.0);
}

#[test]
fn nothing_is_lost_or_doubled_that_is_published_while_the_application_answers() {
    // The application's threads may outlive the test, and must not keep the proxy alive.
    let (proxy_at, published) = (Arc::new(OnceLock::<Weak<Perihelion>>::new()), AtomicUsize::new(0));
    let there = proxy_at.clone();
    let origin = Origin::replying(move |request: &Received| match request.target() {
        "/stream" => stream("a; prev-id=1", "</next>; rel=next", "open\n"),
        _ => {
            let proxy = &there.get().and_then(Weak::upgrade).expect("it is there");
            let first = published.fetch_add(2, Ordering::SeqCst);
            assert_eq!(first, 0, "asked once");
            // One that the answer has, and one that it doesn't.
            publish(proxy, &[item("a", "5", "4"), item("a", "6", "5")]);
            stream("a; prev-id=5", "</next>; rel=next", "2 3 4 5\n")
        }
    });
    let proxy = Arc::new(Perihelion::before(&origin));
    assert!(proxy_at.set(Arc::downgrade(&proxy)).is_ok());
    let mut client = held(&proxy, "/stream", "open\n");
    proxy.wait_subscribers("a", 1);
    publish(&proxy, &[item("a", "2", "1"), item("a", "4", "3")]);
    client.piece("2\n2 3 4 5\n6\n");
    publish(&proxy, &[item("a", "7", "6")]);
    client.piece("7\n");
}

#[test]
fn a_stream_that_was_silent_is_asked_for_and_one_that_was_not_is_left_alone() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/stream" => stream("r1; prev-id=1, r2", "</n>; rel=next; timeout=1", "open\n"),
        // It goes on where the client is.
        _ => {
            let last = request.head.get("grip-last").unwrap().rsplit('=').next().unwrap().to_owned();
            stream(&format!("r1; prev-id={last}"), "</n>; rel=next; timeout=1", ".")
        }
    });
    let proxy = Perihelion::before(&origin);
    let mut client = held(&proxy, "/stream", "open\n");
    proxy.wait_subscribers("r1", 1);
    publish(&proxy, &[item("r1", "2", "1"), item("r1", "3", "2")]);
    // Each second, while only one of its channels is heard of, and then none. A second may be over before.
    let mut heard = String::new();
    while !heard.ends_with("2\n3\n...") {
        heard += &String::from_utf8(client.chunk().unwrap()).unwrap();
    }
    assert_eq!(heard.trim_start_matches('.'), "2\n3\n...");
    let asked = asked_for(&origin, "/n");
    let of = |last: &str| asked.iter().filter(|request| request.head.all("grip-last") == [last]).count();
    assert!(of("r1; last-id=3") >= 3, "{asked:?}");
    assert_eq!(of("r1; last-id=3") + of("r1; last-id=1"), asked.len(), "{asked:?}");
}

#[test]
fn a_hint_has_the_application_asked() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/stream" => stream("a", "</next>; rel=next", "open\n"),
        "/next" => stream("a", "</next>; rel=next", "hinted\n"),
        _ => Reply::ok("open\n").with("Grip-Hold", "stream").with("Grip-Channel", "a"),
    });
    let proxy = Perihelion::before(&origin);
    let (mut client, mut other) = (held(&proxy, "/stream", "open\n"), held(&proxy, "/without", "open\n"));
    proxy.wait_subscribers("a", 2);
    publish(&proxy, &[r#"{"channel":"a","http-stream":{"action":"hint"}}"#.into()]);
    client.piece("hinted\n");
    publish(&proxy, &[r#"{"channel":"a","http-stream":{"content":"live\n"}}"#.into()]);
    client.piece("live\n");
    other.piece("live\n");
}

#[test]
fn pages_are_put_behind_a_stream_up_to_the_one_that_is_held_or_its_end() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/stream" => stream("a; prev-id=1", "</page1>; rel=next", "open\n"),
        "/page1" => {
            Reply::ok("1\n").with("Grip-Channel", "a; prev-id=2").with("Grip-Link", "</page2>; rel=next")
        }
        "/page2" => stream("a; prev-id=3", "</last>; rel=next", "2\n"),
        _ => Reply::ok("last\n"),
    });
    let proxy = Perihelion::before(&origin);
    let mut client = held(&proxy, "/stream", "open\n");
    proxy.wait_subscribers("a", 1);
    publish(&proxy, &[item("a", "3", "2")]);
    client.piece("1\n2\n");
    assert_eq!(asked_for(&origin, "/page2")[0].head.all("grip-last"), ["a; last-id=2"]);
    publish(&proxy, &[item("a", "6", "5")]);
    client.piece("last\n");
    assert_eq!(client.chunk(), None);
    assert_eq!(client.get("/last").text(), "last\n");
}

#[test]
fn an_application_that_fails_is_asked_again_and_what_no_stream_can_be_ends_it() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::replying(move |request: &Received| match request.target() {
        "/stream" => stream("a; prev-id=1", "</next>; rel=next", "open\n"),
        "/next" => match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status("503 Service Unavailable", "down"),
            _ => stream("a; prev-id=3", "</poll>; rel=next", "2 3\n"),
        },
        _ => Reply::ok("never").with("Grip-Hold", "response").with("Grip-Channel", "a"),
    });
    let proxy = Perihelion::before(&origin);
    let mut client = held(&proxy, "/stream", "open\n");
    proxy.wait_subscribers("a", 1);
    publish(&proxy, &[item("a", "3", "2")]);
    client.piece("2 3\n");
    proxy.wait_metric("perihelion_comet_recoveries_total", &[("result", "later")], 1.0);
    publish(&proxy, &[item("a", "9", "8")]);
    assert_eq!(client.chunk(), None);
    proxy.wait_metric("perihelion_comet_recoveries_total", &[("result", "failed")], 1.0);
}

#[test]
fn a_stream_that_could_lose_something_and_has_no_link_is_an_ordinary_answer() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/elsewhere" => stream("a; prev-id=1", "<http://other.example/>; rel=next", "body\n"),
        _ => Reply::ok("body\n").with("Grip-Hold", "stream").with("Grip-Channel", "a; prev-id=1"),
    });
    let proxy = Perihelion::before(&origin);
    for target in ["/stream", "/elsewhere"] {
        let answer = proxy.get(target);
        assert_eq!((answer.text().as_str(), answer.head.length()), ("body\n", Some(5)), "{target}");
    }
}

#[test]
fn an_application_hears_that_a_client_has_gone() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/folder/stream" => stream("a", "<left?c=1>; rel=gone", "open\n"),
        _ => Reply::ok(""),
    });
    let proxy = Perihelion::before_with(&origin, "grip: {key: changeme}\n");
    let features = |request: &Received| request.head.get("grip-feature").unwrap().to_owned();
    let client = held(&proxy, "/folder/stream", "open\n");
    assert!(features(&origin.only()).contains("link:gone"));
    proxy.wait_subscribers("a", 1);
    drop(client);
    let gone = origin.wait_for_request(1);
    assert_eq!((gone.method(), gone.target(), gone.head.length()), ("POST", "/folder/left?c=1", Some(0)));
    assert!(gone.head.has("grip-sig") && gone.body.is_empty());
    // The same where it is ended.
    let mut client = held(&proxy, "/folder/stream", "open\n");
    proxy.wait_subscribers("a", 1);
    publish(&proxy, &[r#"{"channel":"a","http-stream":{"action":"close"}}"#.into()]);
    assert_eq!(client.chunk(), None);
    wait_until("the application hears of it", || asked_for(&origin, "/folder/left?c=1").len() == 2);
}

#[test]
fn items_come_in_their_order_and_one_that_is_alone_does_not_wait_for_ever() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/stream" => stream("a; prev-id=1", "</next>; rel=next", "open\n"),
        _ => stream("a; prev-id=9", "</next>; rel=next", "4 to 9\n"),
    });
    let proxy = Perihelion::before(&origin);
    let mut client = held(&proxy, "/stream", "open\n");
    proxy.wait_subscribers("a", 1);
    publish(&proxy, &[item("a", "1", "0")]);
    publish(&proxy, &[item("a", "3", "2")]);
    assert_eq!(proxy.metric("perihelion_comet_out_of_order", &[]), 1.0);
    publish(&proxy, &[item("a", "2", "1")]);
    client.piece("2\n3\n");
    assert_eq!(asked_for(&origin, "/next").len(), 0);
    let began = std::time::Instant::now();
    publish(&proxy, &[item("a", "9", "8")]);
    client.piece("4 to 9\n");
    assert!(began.elapsed().as_secs_f64() >= 4.9, "{:?}", began.elapsed());
    proxy.wait_metric("perihelion_comet_out_of_order", &[], 0.0);
    // One that needn't wait is a gap at once.
    let bypassing = item("a", "20", "19").replace("\"id\"", "\"no-seq\":true,\"id\"");
    publish(&proxy, &[bypassing]);
    client.piece("4 to 9\n");
}

fn poll(channel: &str, body: &str) -> Reply {
    Reply::ok(body).with("Grip-Hold", "response").with("Grip-Channel", channel).with("X-App", "1")
}

fn answer_item(id: &str, prev_id: &str) -> String {
    format!(r#"{{"channel":"a","id":"{id}","prev-id":"{prev_id}","http-response":{{"body":"{id}\n"}}}}"#)
}

#[test]
fn a_response_that_could_have_missed_something_is_asked_for_again_in_its_own_words() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::replying(move |request: &Received| match request.head.get("grip-last") {
        None if request.target() == "/ordinary" => Reply::ok("ordinary"),
        None => poll("a; prev-id=1", "late\n"),
        Some(_) if asked.fetch_add(1, Ordering::SeqCst) == 0 => poll("a; prev-id=4", "later\n"),
        Some(_) => Reply::status("201 Created", "all of it\n").with("X-App", "2"),
    });
    let proxy = Perihelion::before(&origin);
    let mut client = proxy.connect();
    client
        .send("POST /poll?x=1 HTTP/1.1\r\nHost: example.com\r\nCookie: a=b\r\nContent-Length: 4\r\n\r\nbody");
    proxy.wait_subscribers("a", 1);
    publish(&proxy, &[answer_item("4", "3")]);
    origin.wait_for_request(1);
    // It is held again, where the application says: what follows is its answer.
    proxy.wait_metric("perihelion_comet_recovering", &[], 0.0);
    publish(&proxy, &[answer_item("9", "8")]);
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (201, "all of it\n"));
    assert_eq!((answer.head.get("x-app"), answer.head.length()), (Some("2"), Some(10)));
    let received = origin.received();
    let ids: Vec<_> = received.iter().map(|request| request.head.all("grip-last").join("|")).collect();
    assert_eq!(ids, ["", "a; last-id=1", "a; last-id=4"]);
    for request in &received {
        assert_eq!(
            (request.method(), request.target(), &request.body[..]),
            ("POST", "/poll?x=1", &b"body"[..])
        );
        assert_eq!(request.head.get("cookie"), Some("a=b"));
    }
    // The connection is an ordinary one again.
    assert_eq!(client.get("/ordinary").text(), "ordinary");
}

#[test]
fn a_response_that_begins_behind_what_was_published_is_asked_for_again_at_once() {
    let origin = Origin::replying(|request: &Received| match request.head.get("grip-last") {
        None => poll("a; prev-id=1", "late\n"),
        Some(last) => Reply::ok(last),
    });
    let proxy = Perihelion::before(&origin);
    // Somebody has to be there, so that it is known what was published last.
    let mut first = ask(&proxy, "/poll");
    proxy.wait_subscribers("a", 1);
    publish(&proxy, &[r#"{"channel":"a","id":"2","prev-id":"1","http-stream":{"content":"x"}}"#.into()]);
    let mut second = ask(&proxy, "/poll");
    assert_eq!(second.answer().text(), "a; last-id=1");
    publish(&proxy, &[r#"{"channel":"a","id":"3","prev-id":"2","http-response":{"action":"hint"}}"#.into()]);
    assert_eq!(first.answer().text(), "a; last-id=2");
}

#[test]
fn all_clients_are_asked_for_when_that_is_wanted() {
    let origin =
        Origin::replying(|request: &Received| match (request.target(), request.head.get("grip-last")) {
            ("/stream", _) => stream("a", "</next>; rel=next", "open\n"),
            ("/next", _) => stream("a", "</next>; rel=next", "more\n"),
            ("/counted", None) => poll("a; prev-id=1", "late\n"),
            ("/counted", Some(_)) => Reply::ok("again\n"),
            _ => poll("a", "late\n"),
        });
    let proxy = Perihelion::before(&origin);
    let mut client = held(&proxy, "/stream", "open\n");
    let (mut counted, mut other) = (ask(&proxy, "/counted"), ask(&proxy, "/other"));
    proxy.wait_subscribers("a", 3);
    let answer = proxy.control("POST", "/recover/", "");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Updated\n"));
    client.piece("more\n");
    assert_eq!(counted.answer().text(), "again\n");
    // Its client asks again itself.
    assert_eq!(other.answer().text(), "late\n");
    assert_eq!(proxy.control("GET", "/recover", "").status(), 405);
}
