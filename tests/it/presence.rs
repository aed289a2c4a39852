//! Who is on a channel is known and told: a join at the first connection, a leave when the last is gone for long enough.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{
    Certificate, EventSource, Origin, Perihelion, Place, Raw, Received, Reply, wait_for, wait_until,
};

/// Holds `/CHANNELS;TAG`.
fn hold(request: &Received) -> Reply {
    let (channels, tag) = request.target()[1..].split_once(';').unwrap();
    let reply = Reply::hold(channels).with("X-Comet-Keepalive", "1").with("X-Comet-Timeout", "300");
    if tag.is_empty() { reply } else { reply.with("X-Comet-Tag", tag) }
}

fn open(proxy: &Perihelion, target: &str) -> EventSource {
    EventSource::open(proxy.http(), target)
}

/// Type, channel and member of the next news, and how many members there are then.
#[track_caller]
fn news(events: &mut EventSource) -> (String, String, String, u64) {
    let event = events.next();
    assert_eq!(event.event, "comet.presence");
    said(&serde_json::from_str(&event.data).unwrap())
}

fn said(change: &Value) -> (String, String, String, u64) {
    let text = |key: &str| change[key].as_str().unwrap().to_owned();
    assert!(change["at"].as_u64().unwrap() > 1_700_000_000_000);
    (text("type"), text("channel"), text("member"), change["members"].as_u64().unwrap())
}

fn change(kind: &str, channel: &str, member: &str, members: u64) -> (String, String, String, u64) {
    (kind.into(), channel.into(), member.into(), members)
}

/// Members of a channel with their connections.
fn members(proxy: &Perihelion, channel: &str) -> Vec<(String, u64)> {
    let answer = proxy.control("GET", &format!("/channels/{channel}/presence"), "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let page = answer.json();
    let member = |row: &Value| {
        assert!(row["since"].as_u64().unwrap() > 1_700_000_000_000);
        (row["member"].as_str().unwrap().to_owned(), row["connections"].as_u64().unwrap())
    };
    let list: Vec<_> = page["members"].as_array().unwrap().iter().map(member).collect();
    assert_eq!((page["channel"].as_str(), page["count"].as_u64()), (Some(channel), Some(list.len() as u64)));
    list
}

fn watching(grace: &str) -> String {
    format!("presence: {{ channels: room-*, grace: {grace}, publish: '{{channel}}.presence' }}")
}

#[test]
fn a_member_joins_with_its_first_connection_and_leaves_after_its_last() {
    let origin = Origin::replying(hold);
    let proxy = Perihelion::before_with(&origin, &watching("250ms"));
    let mut told = open(&proxy, "/room-1.presence,room-2.presence;watcher");
    let first = open(&proxy, "/room-1,room-2,other;ann");
    assert_eq!(news(&mut told), change("join", "room-1", "ann", 1));
    assert_eq!(news(&mut told), change("join", "room-2", "ann", 1));
    let second = open(&proxy, "/room-1;ann");
    let nobody = open(&proxy, "/room-1;");
    let bob = open(&proxy, "/room-1;bob");
    assert_eq!(news(&mut told), change("join", "room-1", "bob", 2));
    proxy.wait_subscribers("room-1", 4);
    assert_eq!(members(&proxy, "room-1"), [("ann".to_owned(), 2), ("bob".to_owned(), 1)]);
    assert_eq!(members(&proxy, "room-2"), [("ann".to_owned(), 1)]);
    assert_eq!(members(&proxy, "room-3"), []);
    let page = proxy.control("GET", "/channels/room-1/presence?limit=1", "").json();
    assert_eq!((&page["count"], &page["next"]), (&json!(2), &json!("ann")));
    let page = proxy.control("GET", "/channels/room-1/presence?limit=1&after=ann", "").json();
    assert_eq!((&page["members"][0]["member"], &page["next"]), (&json!("bob"), &Value::Null));
    let places = proxy.control("GET", "/tags/ann/presence", "").json();
    let places =
        places["channels"].as_array().unwrap().iter().map(|row| (&row["channel"], &row["connections"]));
    assert_eq!(places.collect::<Vec<_>>(), [(&json!("room-1"), &json!(2)), (&json!("room-2"), &json!(1))]);
    proxy.wait_metric("perihelion_presence_members", &[], 3.0);

    drop(second);
    drop(nobody);
    drop(bob);
    // Nobody leaves as long as somebody of his is there: the first to leave is the other one.
    assert_eq!(news(&mut told), change("leave", "room-1", "bob", 1));
    drop(first);
    let mut last = [news(&mut told), news(&mut told)];
    last.sort();
    assert_eq!(last, [change("leave", "room-1", "ann", 0), change("leave", "room-2", "ann", 0)]);
    assert_eq!(members(&proxy, "room-1"), []);
    proxy.wait_metric("perihelion_presence_changes_total", &[("change", "join")], 3.0);
    proxy.wait_metric("perihelion_presence_changes_total", &[("change", "leave")], 3.0);
    proxy.wait_metric("perihelion_presence_members", &[], 0.0);
}

#[test]
fn who_comes_back_within_the_grace_has_not_left() {
    let origin = Origin::replying(hold);
    let proxy = Perihelion::before_with(&origin, &watching("4s"));
    let mut told = open(&proxy, "/room-1.presence;");
    let ann = open(&proxy, "/room-1;ann");
    assert_eq!(news(&mut told), change("join", "room-1", "ann", 1));
    drop(ann);
    wait_until("ann is between two connections", || members(&proxy, "room-1") == [("ann".to_owned(), 0)]);
    let _ann = open(&proxy, "/room-1;ann");
    let bob = open(&proxy, "/room-1;bob");
    drop(bob);
    // Ann's grace would have been over before that of Bob.
    assert_eq!(news(&mut told), change("join", "room-1", "bob", 2));
    assert_eq!(news(&mut told), change("leave", "room-1", "bob", 1));
    assert_eq!(members(&proxy, "room-1"), [("ann".to_owned(), 1)]);
}

#[test]
fn polls_of_one_member_are_one_stay() {
    let origin = Origin::replying(|request| hold(request).with("X-Comet-Transport", "long-poll"));
    let proxy = Perihelion::before_with(&origin, &watching("4s"));
    let mut told = Raw::connect(proxy.http());
    let mut ann = Raw::connect(proxy.http());
    for number in 0..5 {
        // A poll that has been answered leaves its channel a moment later.
        proxy.wait_subscribers("room-1", 0);
        ann.send("GET /room-1;ann HTTP/1.1\r\nHost: a\r\n\r\n");
        proxy.wait_subscribers("room-1", 1);
        proxy.publish("room-1", &number.to_string());
        assert_eq!(ann.answer().json()["messages"][0]["data"], number.to_string());
    }
    drop(ann);
    proxy.wait_metric("perihelion_presence_changes_total", &[("change", "leave")], 1.0);
    proxy.wait_metric("perihelion_presence_changes_total", &[("change", "join")], 1.0);
    // What was published is in the channel's history.
    let history = proxy.control("GET", "/channels/room-1.presence/messages", "").json();
    let types = history["messages"].as_array().unwrap().iter().map(|message| &message["data"]["type"]);
    assert_eq!(types.collect::<Vec<_>>(), [&json!("join"), &json!("leave")]);
    told.send("GET /room-1.presence;watcher HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_subscribers("room-1.presence", 1);
}

#[test]
fn a_peer_that_is_dead_leaves_though_nothing_says_so() {
    let origin = Origin::replying(hold);
    let proxy = Perihelion::before_with(&origin, &format!("{}\ntimeouts: {{ body: 2s }}", watching("0s")));
    let mut told = open(&proxy, "/room-1.presence;");
    let dead = open(&proxy, "/room-1;dead");
    let _alive = open(&proxy, "/room-1;alive");
    let mut joined = [news(&mut told).2, news(&mut told).2];
    joined.sort();
    assert_eq!(joined, ["alive", "dead"]);
    dead.cut_cable();
    // Its socket never fills: all that it is sent are keep-alives.
    assert_eq!(news(&mut told), change("leave", "room-1", "dead", 1));
    proxy.wait_subscribers("room-1", 1);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "slow")], 1.0);
}

#[test]
fn a_peer_that_takes_nothing_leaves_too() {
    let origin = Origin::replying(hold);
    let proxy = Perihelion::before_with(&origin, &format!("{}\ntimeouts: {{ body: 2s }}", watching("0s")));
    let mut told = open(&proxy, "/room-1.presence;");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&proxy.http().into()).unwrap();
    let mut stuck = Raw::from_tcp(socket.into());
    stuck.send("GET /room-1;stuck HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(news(&mut told), change("join", "room-1", "stuck", 1));
    let filling = "x".repeat(64 * 1024);
    let ended = [("reason", "slow")];
    wait_until("its socket is full", || {
        (0..8).for_each(|_| drop(proxy.publish("room-1", &filling)));
        // It may be over before anybody has looked.
        proxy.metric("perihelion_comet_slow_streams", &[]) == 1.0
            || proxy.metric("perihelion_comet_streams_closed_total", &ended) == 1.0
    });
    assert_eq!(news(&mut told), change("leave", "room-1", "stuck", 0));
}

/// An application that holds, and takes what is posted to it once it may.
fn taking(may: impl Fn() -> bool + Send + Sync + 'static) -> Origin {
    Origin::replying(move |request| match request.target() {
        "/presence?key=1" if may() => Reply::bodiless("204 No Content"),
        "/presence?key=1" => Reply::status("503 Service Unavailable", ""),
        _ => hold(request),
    })
}

fn letters(origin: &Origin) -> Vec<Value> {
    let posted = origin.received().into_iter().filter(|request| request.target() == "/presence?key=1");
    let read = |request: Received| {
        assert_eq!((request.method(), request.head.get("content-type")), ("POST", Some("application/json")));
        serde_json::from_slice(&request.body).unwrap()
    };
    posted.map(read).collect()
}

fn posting(origin: &Origin, more: &str) -> String {
    format!("presence: {{ channels: room-*, grace: 0s, post: '{}/presence?key=1', {more} }}", origin.url())
}

/// The application behind TLS, and its certificate.
fn behind_tls(origin: &Origin) -> (Perihelion, Certificate) {
    let place = Place::new();
    let certificate = Certificate::for_names(&[&place.tls().ip().to_string()]);
    certificate.write(&place.folder, "app");
    let configuration = format!(
        "listen: [{{ address: $TLS, tls: [{{ certificate: $FOLDER/app.pem, key: $FOLDER/app.key }}] }}]\n\
         upstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    (Perihelion::start_at(place, &configuration, None), certificate)
}

#[test]
fn what_is_posted_to_https_reaches_nobody_but_whose_certificate_is_believed() {
    let origin = taking(|| true);
    let (application, certificate) = behind_tls(&origin);
    let start = |signer: &Certificate| {
        let place = Place::new();
        signer.write(&place.folder, "ca");
        let url = format!("https://{}/presence?key=1", application.place.tls());
        let presence = format!("presence: {{ channels: room-*, post: '{url}', ca: $FOLDER/ca.pem }}");
        let text = format!("listen: $HTTP\ncontrol: $CONTROL\nupstream: {}\n{presence}\n", origin.url());
        Perihelion::start_at(place, &text, None)
    };
    let mistaken = start(&Certificate::for_names(&["somebody.else"]));
    mistaken.wait_metric("perihelion_presence_posts_total", &[("result", "failed")], 1.0);
    assert_eq!(letters(&origin).len(), 0);
    drop(mistaken);
    let proxy = start(&certificate);
    let _held = open(&proxy, "/room-1;ann");
    let all = wait_for("the beginning and a join are posted", || {
        let letters = letters(&origin);
        (letters.len() == 2).then_some(letters)
    });
    assert_eq!(said(&all[1]["changes"][0]), change("join", "room-1", "ann", 1));
}

#[test]
fn the_application_gets_batches_again_and_again_until_it_takes_them() {
    static POSTED: AtomicUsize = AtomicUsize::new(0);
    let origin = taking(|| POSTED.fetch_add(1, Ordering::SeqCst) >= 2);
    let proxy = Perihelion::before_with(&origin, &posting(&origin, "batch: 2"));
    let held: Vec<_> = (0..5).map(|n| open(&proxy, &format!("/room-1;m{n}"))).collect();
    let all = wait_for("five joins are posted", || {
        let letters = letters(&origin);
        let count: usize = letters.iter().map(|letter| letter["changes"].as_array().unwrap().len()).sum();
        (count == 5).then_some(letters)
    });
    drop(held);
    // The beginning is refused twice, and then taken.
    assert_eq!(all[0], json!({ "instance": all[0]["instance"], "number": 1, "lost": 0, "changes": [] }));
    assert_eq!((&all[1], &all[2]), (&all[0], &all[0]));
    let mut joined = Vec::new();
    for (place, letter) in all[3..].iter().enumerate() {
        assert_eq!((&letter["instance"], &letter["lost"]), (&all[0]["instance"], &json!(0)));
        assert_eq!(letter["number"], place + 2);
        let changes = letter["changes"].as_array().unwrap();
        assert!((1..=2).contains(&changes.len()));
        joined.extend(changes.iter().map(said));
    }
    let expected = (0..5).map(|n| change("join", "room-1", &format!("m{n}"), n + 1));
    assert_eq!(joined, expected.collect::<Vec<_>>());
    proxy.wait_metric("perihelion_presence_posts_total", &[("result", "failed")], 2.0);
    wait_until("everybody has left", || {
        let left = |letter: Value| {
            letter["changes"].as_array().unwrap().last().is_some_and(|last| last["members"] == 0)
        };
        letters(&origin).pop().is_some_and(left)
    });
}

#[test]
fn what_does_not_fit_in_the_queue_is_dropped_and_said() {
    static MAY: AtomicBool = AtomicBool::new(false);
    let origin = taking(|| MAY.load(Ordering::SeqCst));
    let proxy = Perihelion::before_with(&origin, &posting(&origin, "queue: 3, members: 6"));
    origin.wait_for_request(0);
    let _held: Vec<_> = (0..8).map(|n| open(&proxy, &format!("/room-1;m{n}"))).collect();
    // All of them have come when two were refused.
    proxy.wait_metric("perihelion_presence_refused_total", &[], 2.0);
    MAY.store(true, Ordering::SeqCst);
    let second =
        wait_for("the second letter", || letters(&origin).into_iter().find(|letter| letter["number"] == 2));
    assert_eq!(second["lost"], 3, "{second}");
    let joined: Vec<_> = second["changes"].as_array().unwrap().iter().map(said).collect();
    assert_eq!(joined, [3, 4, 5].map(|n| change("join", "room-1", &format!("m{n}"), n + 1)));
    proxy.wait_metric("perihelion_presence_lost_total", &[("way", "post")], 3.0);
    // Those who were one too many are held all the same.
    proxy.wait_subscribers("room-1", 8);
    assert_eq!(members(&proxy, "room-1").len(), 6);
}

#[test]
fn what_nobody_watches_has_no_presence() {
    let origin = Origin::replying(hold);
    let proxy = Perihelion::before_with(&origin, &watching("1s"));
    let _ann = open(&proxy, "/other;ann");
    for path in ["/channels/other/presence", "/channels/room-1.presence/presence"] {
        let answer = proxy.control("GET", path, "");
        assert_eq!(answer.status(), 404);
        assert!(answer.json()["error"].as_str().unwrap().contains("watches"));
    }
    assert_eq!(
        proxy.control("GET", "/tags/ann/presence", "").json(),
        json!({ "member": "ann", "channels": [] })
    );
    assert_eq!(proxy.control("POST", "/channels/room-1/presence", "").status(), 405);
    assert_eq!(proxy.control("DELETE", "/tags/ann/presence", "").status(), 405);
    assert_eq!(proxy.control("GET", "/channels/room-1/presence?limit=0", "").status(), 400);
    assert_eq!(proxy.metric("perihelion_presence_changes_total", &[]), 0.0);
}
