//! Streams that GRIP holds: how they live, and what doesn't reach them.

use std::time::{Duration, Instant};

use crate::support::{Origin, Perihelion, Raw, Received, Reply};

fn stream(fields: &[(&str, &str)]) -> Reply {
    let reply = Reply::ok("").with("Grip-Hold", "stream").with("Grip-Channel", "a");
    fields.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
}

fn ask(proxy: &Perihelion, target: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    assert_eq!(raw.head().status(), 200);
    raw
}

fn say(proxy: &Perihelion, content: &str) {
    let item = format!(r#"{{"items":[{{"channel":"a","http-stream":{{"content":"{content}"}}}}]}}"#);
    assert_eq!(proxy.control("POST", "/publish/", &item).text(), "Published\n");
}

#[test]
fn a_sign_of_life_waits_for_a_silence_or_comes_at_its_time() {
    let origin = Origin::replying(|request: &Received| {
        stream(&[("Grip-Keep-Alive", &format!("k; timeout=3; mode={}", &request.target()[1..]))])
    });
    let proxy = Perihelion::before(&origin);
    let (mut idle, mut beating) = (ask(&proxy, "/idle"), ask(&proxy, "/interval"));
    let (began, mut said, mut heard) = (Instant::now(), 0, String::new());
    while !heard.contains('k') {
        say(&proxy, ".");
        said += 1;
        while heard.matches('.').count() < said {
            heard += &String::from_utf8(beating.chunk().unwrap()).unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{heard}");
        std::thread::sleep(Duration::from_millis(50));
    }
    idle.piece(&".".repeat(said));
}

#[test]
fn a_stream_without_signs_of_life_has_none_of_the_proxys_own() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/ours" => Reply::hold("ours"),
        _ => stream(&[]),
    });
    let proxy = Perihelion::before_with(&origin, "channels: { keepalive: 1s }\n");
    let mut held = ask(&proxy, "/");
    let mut ours = proxy.connect();
    ours.send("GET /ours HTTP/1.1\r\nHost: example.com\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(ours.head().status(), 200);
    // Twice the time in which the other one would have had some.
    ours.until(b":\n\n");
    ours.until(b":\n\n");
    say(&proxy, "said\\n");
    held.piece("said\n");
}

#[test]
fn of_a_batch_with_one_bad_item_nothing_reaches_anybody() {
    let origin = Origin::replying(|_: &Received| stream(&[]));
    let proxy = Perihelion::before(&origin);
    let mut held = ask(&proxy, "/");
    proxy.wait_subscribers("a", 1);
    let items = r#"{"items":[{"channel":"a","http-stream":{"content":"never\n"}},{"channel":"a"}]}"#;
    let refused = proxy.control("POST", "/publish/", items);
    assert_eq!((refused.status(), refused.text().as_str()), (400, "Invalid format: no formats specified\n"));
    say(&proxy, "good\\n");
    held.piece("good\n");
}

#[test]
fn a_stream_without_channels_is_held_until_its_client_leaves() {
    let origin = Origin::replying(|_: &Received| Reply::ok("open\n").with("Grip-Hold", "stream"));
    let proxy = Perihelion::before(&origin);
    let mut held = ask(&proxy, "/");
    held.piece("open\n");
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "grip-stream")], 1.0);
    drop(held);
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "grip-stream")], 0.0);
}

#[test]
fn what_is_held_by_grip_outlives_other_routes() {
    let origin = Origin::replying(|_: &Received| stream(&[]));
    let configuration = |channels: &str| {
        format!(
            "listen: $HTTP\ncontrol: $CONTROL\npools: {{app: {{servers: [\"{}\"]}}}}\n\
             sites: {{\"*\": {{routes: [{{path: /, pool: app, grip: {channels}}}]}}}}\n",
            origin.url()
        )
    };
    let proxy = Perihelion::start(&configuration("{channels: first}"));
    let mut held = ask(&proxy, "/");
    assert_eq!(proxy.reload(&configuration("{channels: second}")).status(), 200);
    let _later = ask(&proxy, "/");
    proxy.wait_subscribers("second", 1);
    assert_eq!(proxy.reload(&configuration("off")).status(), 200);
    assert_eq!(proxy.get("/").head.get("grip-hold"), Some("stream"));
    assert_eq!((proxy.subscribers("first"), proxy.subscribers("second")), (1, 1));
    say(&proxy, "still here\\n");
    held.piece("still here\n");
}
