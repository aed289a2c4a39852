//! Pages of every origin: answers that they may read, and scripts that ask in their place and are called with the answer.

use crate::support::{Answer, Origin, Perihelion, Received, Reply};

fn proxy(origin: &Origin, routes: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\nsites: {{ \"*\": {{ routes: [{routes}] }} }}\n",
        origin.url()
    ))
}

const SCRIPTS: &str = "{ path: /, pool: app, cross_origin: true, jsonp: true }, \
    { path: /body/, pool: app, jsonp: { argument: body, body: message, default_callback: take } }";

/// Says what it was asked; holds by GRIP what it is asked to, and by our own headers.
fn application() -> Origin {
    Origin::replying(|request: &Received| {
        let grip = |mode| Reply::ok("{\"a\":1}\n").with("Grip-Hold", mode).with("Grip-Channel", "news");
        match request.target().split('?').next().unwrap_or_default() {
            "/poll" => grip("response").with("Grip-Timeout", "5").with("X-App", "1"),
            "/stream" => grip("stream"),
            "/comet" => Reply::hold("news").with("X-Comet-Transport", "sse"),
            "/pieces" => Reply::ok("\u{e9}\"".repeat(20_000) + "\n").chunked(),
            "/packed" => Reply::ok("x").with("Content-Encoding", "br"),
            "/missing" => Reply::status("404 Not Found", "there is none\n")
                .with("Cache-Control", "no-store")
                .with("Set-Cookie", "s=1"),
            _ => {
                let head = &request.head;
                let field = |name| head.get(name).unwrap_or("-").to_owned();
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let asked = [request.method(), request.target(), &field("x-a"), &field("cookie"), &body];
                Reply::ok(format!("\"{}\"\n", asked.join(" ")))
            }
        }
    })
}

fn script(answer: &Answer) -> String {
    assert_eq!(
        (answer.status(), answer.head.get("content-type"), answer.head.get("x-content-type-options")),
        (200, Some("application/javascript"), Some("nosniff"))
    );
    answer.text()
}

#[test]
fn a_script_asks_for_anything_and_is_called_with_the_answer() {
    let origin = application();
    let proxy = proxy(&origin, SCRIPTS);
    let ask = |target: &str| script(&proxy.get(target));
    let put = "/x?q=1&callback=app.f&_method=PUT&_body=%7B%7D&_headers=%7B%22X-A%22%3A%22b%22%2C%22Cookie%22%3A%22c%22%7D";
    let called = ask(put);
    assert!(called.starts_with("/**/app.f({\"code\": 200, \"reason\": \"OK\", \"headers\": {"), "{called}");
    assert!(called.ends_with("\"body\": \"\\\"PUT /x?q=1 b - {}\\\"\\n\"});\n"), "{called}");
    assert_eq!(ask("/body/x?message=%5B1%5D"), "/**/take(\"POST /body/x - - [1]\");\n");
    assert_eq!(ask("/body/x?callback=f&_method=GET&a"), "/**/f(\"GET /body/x?a - - \");\n");
    // In pieces, whatever these are.
    let body = "\u{e9}\\\"".repeat(20_000);
    assert!(ask("/pieces?callback=f").ends_with(&format!("\"body\": \"{body}\\n\"}});\n")));
    let missing = proxy.get("/missing?callback=f");
    assert_eq!(
        (missing.head.get("cache-control"), missing.head.has("set-cookie")),
        (Some("no-store"), false)
    );
    let called = script(&missing);
    assert!(called.starts_with("/**/f({\"code\": 404, \"reason\": \"Not Found\""), "{called}");
    assert!(called.contains("\"Cache-Control\": \"no-store\"") && !called.contains("s=1"), "{called}");
    assert!(
        ask("/packed?callback=f").starts_with("/**/f({\"code\": 502"),
        "what can't be read is said to be so"
    );
}

#[test]
fn what_no_script_may_name_is_refused_and_ordinary_requests_stay() {
    let origin = application();
    let proxy = proxy(&origin, SCRIPTS);
    for bad in
        ["callback=alert(1)", "callback=f&_method=a%20b", "callback=f&_headers=1", "callback=f&_method=TRACE"]
    {
        let answer = proxy.get(&format!("/x?{bad}"));
        let refused = answer.status() == 400 || answer.text().starts_with("/**/f({\"code\": 405");
        assert!(refused, "{bad}: {}", answer.text());
    }
    assert_eq!(origin.received().len(), 0);
    assert_eq!(proxy.get("/x?_method=PUT").text(), "\"GET /x?_method=PUT - - \"\n");
    let mut raw = proxy.connect();
    raw.send("POST /x?callback=f HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(raw.answer().text(), "\"POST /x?callback=f - - hi\"\n");
    raw.send("GET /x?callback=f HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(script(&raw.answer()).contains("GET /x"), "the connection goes on");
}

#[test]
fn a_held_response_becomes_a_script_whatever_ends_it() {
    let origin = application();
    let proxy = proxy(&origin, SCRIPTS);
    let mut raw = proxy.connect();
    let ask = "GET /poll?callback=f HTTP/1.1\r\nHost: a\r\n\r\n";
    raw.send(ask);
    proxy.wait_subscribers("news", 1);
    let items = r#"{"items":[{"channel":"news","http-response":{"code":201,"headers":{"X-App":"2"},
        "body-patch":[{"op":"replace","path":"/a","value":"<"}]}}]}"#;
    assert_eq!(proxy.control("POST", "/publish/", items).status(), 200);
    let called = script(&raw.answer());
    assert!(called.starts_with("/**/f({\"code\": 201, \"reason\": \"Created\""), "{called}");
    assert!(called.contains("\"X-App\": \"2\"") && !called.contains("Grip-"), "{called}");
    assert!(called.ends_with("\"body\": \"{\\\"a\\\":\\\"\\u003c\\\"}\\n\"});\n"), "{called}");
    // Nobody publishes: the application's own answer, as a script as well.
    raw.send(ask);
    let called = script(&raw.answer());
    assert!(called.starts_with("/**/f({\"code\": 200") && called.contains("\"X-App\": \"1\""), "{called}");
    assert!(called.ends_with("\"body\": \"{\\\"a\\\":1}\\n\"});\n"), "{called}");
    // A stream would never be a whole script.
    raw.send("GET /stream?callback=f HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(script(&raw.answer()).ends_with("\"body\": \"{\\\"a\\\":1}\\n\"});\n"));
    // What is held by our own headers is JSON-P of our own.
    raw.send("GET /comet?callback=f HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "hello");
    let answer = raw.answer();
    assert!(answer.text().starts_with("/**/f(") && answer.text().contains("hello"), "{}", answer.text());
}

#[test]
fn every_origin_reads_every_answer_of_an_open_route() {
    let origin = application();
    let proxy = proxy(&origin, SCRIPTS);
    let ask = |target: &str| {
        let mut raw = proxy.connect();
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\n\r\n"));
        raw
    };
    let missing = ask("/missing").answer().head;
    let allowed = |name: &str| missing.get(&format!("access-control-{name}")).map(str::to_owned);
    assert_eq!(allowed("allow-origin").as_deref(), Some("https://b.example"));
    assert_eq!(allowed("allow-credentials").as_deref(), Some("true"));
    assert_eq!(missing.get("vary"), Some("origin"));
    let held = ask("/stream").head();
    assert_eq!(held.get("access-control-allow-origin"), Some("https://b.example"));
    let closed = ask("/body/x").answer().head;
    assert!(!closed.has("access-control-allow-origin") && !closed.has("vary"), "{closed:?}");
}
