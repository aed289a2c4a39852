//! `X-Reproxy-Service` with `X-Cometd`: an application hands a request over for a Bayeux client that it names.

use serde_json::{Value, json};

use crate::support::{Origin, Perihelion, Raw, Received, Reply};

/// An application that knows its clients by their cookie, and says what the query wants about them.
fn application() -> Origin {
    Origin::replying(|request: &Received| {
        let reply = Reply::ok("the body is nobody's")
            .with("X-Reproxy-Service", "cometd")
            .with("Set-Cookie", "seen=1");
        let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
        match path {
            "/plain" => reply,
            _ => query.split('&').fold(reply, |reply, pair| match pair.split_once('=') {
                Some(("cometd", value)) => reply.with("X-Cometd", &value.replace('+', " ")),
                Some(("data", value)) => reply.with("X-Cometd-Data", value),
                _ => reply,
            }),
        }
    })
}

fn proxy(origin: &Origin, terms: &str) -> Perihelion {
    let app = origin.url();
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: [\"{app}\"], reproxy: {{ sites: [cometd] }} }} }}\n\
         sites:\n  \"*\": app\n  cometd:\n    routes: [{{ path: /, bayeux: {terms} }}]\n"
    ))
}

fn get(raw: &mut Raw, target: &str) {
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\nX-Cometd: id=forged\r\n\r\n"));
}

/// A connect that is held: it has been taken over when this returns.
fn held(proxy: &Perihelion, target: &str) -> Raw {
    let opened = ("perihelion_comet_streams_opened_total", [("transport", "bayeux")]);
    let before = proxy.metric(opened.0, &opened.1);
    let mut raw = proxy.connect();
    get(&mut raw, target);
    proxy.wait_metric(opened.0, &opened.1, before + 1.0);
    raw
}

const CLIENT: &str = "/events?cometd=id=guid-1;+channels=/news;/chat/*;+action=connect";

#[test]
fn an_application_hands_over_a_client_and_is_free_while_it_waits() {
    let origin = application();
    let proxy = proxy(&origin, "{}");
    let mut raw = held(&proxy, CLIENT);
    assert!(!origin.only().head.has("x-cometd"));
    assert_eq!(proxy.subscribers("%2Fnews"), 1);
    proxy.publish("%2Fchat%2Froom", "hello");
    let answer = raw.answer();
    assert_eq!(
        answer.text(),
        "[{\"channel\":\"/chat/room\",\"data\":\"hello\"},{\"channel\":\"/meta/connect\",\"successful\":true}]"
    );
    assert_eq!(answer.head.get("content-type"), Some("application/json;charset=UTF-8"));
    assert_eq!(answer.head.get("set-cookie"), Some("seen=1"));
    assert!(!answer.head.has("x-cometd") && !answer.head.has("x-reproxy-service"));
    // What comes before it is back waits for it, and its connection serves on.
    proxy.publish("%2Fnews", "meanwhile");
    proxy.wait_metric("perihelion_bayeux_sessions", &[], 1.0);
    get(&mut raw, CLIENT);
    assert_eq!(raw.answer().json()[0], json!({"channel": "/news", "data": "meanwhile"}));
}

#[test]
fn a_client_has_one_connection_and_its_newest_counts() {
    let origin = application();
    let proxy = proxy(&origin, "{}");
    let mut first = held(&proxy, CLIENT);
    let mut second = held(&proxy, CLIENT);
    assert_eq!(first.head().status(), 500);
    proxy.publish("%2Fnews", "to the second");
    assert_eq!(second.answer().json()[0]["data"], "to the second");
    let bye = proxy.get("/?cometd=id=guid-1;action=disconnect").json();
    assert_eq!(bye, json!([{"channel": "/meta/disconnect", "successful": true}]));
    proxy.wait_metric("perihelion_bayeux_sessions", &[], 0.0);
}

#[test]
fn what_a_client_says_is_answered_in_the_name_that_its_application_gave_it() {
    let origin = application();
    let proxy = proxy(&origin, "{ timeout: 300ms }");
    let welcome = proxy.get("/?cometd=id=guid-1;action=handshake").json();
    assert_eq!(
        (&welcome[0]["clientId"], &welcome[0]["successful"]),
        (&json!("guid-1"), &json!(true)),
        "{welcome}"
    );
    let subscribed = proxy.get("/?cometd=id=guid-1;channels=/a;action=subscribe").json();
    assert_eq!(
        subscribed,
        json!([{"channel": "/meta/subscribe", "successful": true, "subscription": ["/a"]}])
    );
    let escape =
        |value: Value| value.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let data = escape(json!([{"channel": "/a", "clientId": "somebody-else", "data": 1, "id": "p"}]));
    let said: Value = proxy.get(&format!("/?cometd=id=guid-1&data={data}")).json();
    assert!(
        said.as_array().unwrap().contains(&json!({"channel": "/a", "id": "p", "successful": true})),
        "{said}"
    );
    let called = proxy.get("/?cometd=id=guid-2&jsonp=my.cb");
    assert_eq!(called.text(), "/**/my.cb([{\"channel\":\"/meta/connect\",\"successful\":true}]);");
    assert_eq!(proxy.get("/?cometd=id=guid-1&data=%5B%7B").status(), 502);
}

#[test]
fn an_application_that_names_no_client_or_nonsense_is_told_so_and_a_full_house_says_it() {
    let origin = application();
    let proxy = proxy(&origin, "{ timeout: 300ms, subscriptions: 2 }");
    assert_eq!(proxy.get("/plain").status(), 502);
    assert_eq!(proxy.get("/?cometd=channels=/a").status(), 502);
    assert_eq!(proxy.get("/?cometd=id=x;action=dance").status(), 502);
    for (channels, error) in [
        ("/a;/b;/c", "403::too_many_subscriptions"),
        ("/meta/x", "403::subscribe_denied"),
        ("a+b", "403::subscription_invalid"),
    ] {
        let refused = proxy.get(&format!("/?cometd=id=x;channels={channels}")).json();
        assert_eq!(refused[0]["error"], error, "{channels}");
    }
}
