//! Who has a ticket comes back without the application, as long as the ticket is good and for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use socket2::Socket;

use crate::support::{Answer, Head, Origin, Perihelion, Raw, Received, Reply, Then, wait_until};

const SSE: &str = "Accept: text/event-stream\r\n";

/// An application that can be stopped, as its requests see it.
struct App {
    origin: Origin,
    stopped: Arc<AtomicBool>,
}

impl App {
    /// Answers `/hold?CHANNELS` with a hold and these fields.
    fn holding(fields: &'static [(&'static str, &'static str)]) -> App {
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = stopped.clone();
        let origin = Origin::new(move |request: &Received, socket: &mut Socket| {
            if is_stopped.load(Ordering::SeqCst) {
                return Then::Reset;
            }
            let channels = request.target().split_once('?').map_or("news", |(_, channels)| channels);
            let reply = Reply::hold(channels.split('&').next().unwrap_or_default()).body("hello");
            fields.iter().fold(reply, |reply, (name, value)| reply.with(name, value)).send_to(request, socket)
        });
        App { origin, stopped }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.origin.received().len()
    }
}

fn ask(proxy: &Perihelion, target: &str, fields: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    raw
}

/// `comet-ticket=…` of a head.
fn cookie(head: &Head) -> String {
    let cookies = head.all("set-cookie");
    let ticket = cookies.iter().find(|cookie| cookie.starts_with("comet-ticket="));
    let ticket = ticket.unwrap_or_else(|| panic!("no ticket in {head:?}"));
    ticket.split(';').next().unwrap_or_default().to_string()
}

fn cookie_field(head: &Head) -> String {
    format!("Cookie: a=1; {}\r\n", cookie(head))
}

/// A long-poll that is answered.
fn polled(proxy: &Perihelion, fields: &str) -> Answer {
    ask(proxy, "/hold?news", fields).answer()
}

const TICKET: &[(&str, &str)] = &[("X-Comet-Ticket", "10m")];

#[test]
fn a_stream_that_was_cut_goes_on_while_the_application_is_stopped() {
    let app = App::holding(&[
        ("X-Comet-Ticket", "10m"),
        ("X-Comet-Retry", "2000"),
        ("Access-Control-Allow-Origin", "https://www.example.com"),
        ("Set-Cookie", "session=1"),
    ]);
    let proxy = Perihelion::before(&app.origin);
    let mut raw = ask(&proxy, "/hold?news", SSE);
    let head = raw.head();
    let own = head.all("set-cookie")[1];
    assert!(
        own.contains("; Path=/hold; Max-Age=600; HttpOnly; SameSite=Lax") && !own.contains("Secure"),
        "{own}"
    );
    let position = proxy.publish("news", "1");
    raw.until(b"data: 1\n\n");
    drop(raw);
    proxy.wait_subscribers("news", 0);
    app.stop();
    proxy.publish("news", "2");
    let back = format!("{SSE}{}Last-Event-ID: {position}\r\n", cookie_field(&head));
    let mut raw = ask(&proxy, "/hold?news", &back);
    let head = raw.head();
    assert_eq!((head.status(), head.get("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.get("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(head.all("set-cookie").len(), 1, "{head:?}");
    let beginning = String::from_utf8(raw.until(b"data: 2\n\n")).unwrap();
    assert!(beginning.contains("retry: 2000\n") && !beginning.contains("hello"), "{beginning}");
    // The next ticket works as well.
    proxy.publish("news", "3");
    raw.until(b"data: 3\n\n");
    let back = format!("{SSE}{}Last-Event-ID: {position}\r\n", cookie_field(&head));
    ask(&proxy, "/hold?news", &back).until(b"data: 3\n\n");
    assert_eq!(app.requests(), 1);
    proxy.wait_metric("perihelion_comet_tickets_total", &[("result", "taken")], 2.0);
    proxy.wait_metric("perihelion_comet_tickets_total", &[("result", "given")], 3.0);
}

#[test]
fn a_poll_goes_on_by_itself_and_its_timeout_is_an_empty_answer() {
    let app = App::holding(&[("X-Comet-Ticket", "10m"), ("X-Comet-Timeout", "1")]);
    let proxy = Perihelion::before(&app.origin);
    let first = polled(&proxy, "");
    assert_eq!(first.text(), "hello");
    app.stop();
    let position = proxy.publish("news", "1");
    let at = format!("Last-Event-ID: {}-0\r\n", position.split_once('-').unwrap().0);
    let answer = polled(&proxy, &format!("{}{at}", cookie_field(&first.head)));
    let said = answer.json();
    assert_eq!((&said["messages"][0]["data"], &said["position"]), (&"1".into(), &position.as_str().into()));
    // The ticket in the answer is the one in the cookie, for scripts that can't have it.
    let ticket = said["ticket"].as_str().unwrap();
    assert_eq!(cookie(&answer.head), format!("comet-ticket={ticket}"));
    let answer = polled(&proxy, &format!("Comet-Ticket: {ticket}\r\nLast-Event-ID: {position}\r\n"));
    let said = answer.json();
    assert_eq!((&said["messages"], &said["gap"]), (&Value::Array(Vec::new()), &Value::Bool(false)));
    assert_eq!(said["position"], position.as_str());
    assert!(said["ticket"].is_string());
    assert_eq!(app.requests(), 1);
}

#[test]
fn streams_say_their_ticket_to_scripts() {
    let app = App::holding(TICKET);
    let proxy = Perihelion::before(&app.origin);
    let start = proxy.publish("news", "before");
    let mut raw = ask(&proxy, "/hold?news", SSE);
    let head = raw.head();
    let text = String::from_utf8(raw.until(b"}\n\n")).unwrap();
    let (_, event) = text.split_once("id: ").unwrap();
    let (id, data) = event.split_once("\nevent: comet.ticket\ndata: ").unwrap();
    assert_eq!(id, start);
    let said: Value = serde_json::from_str(data.trim()).unwrap();
    let ticket = said["ticket"].as_str().unwrap();
    assert_eq!(
        (format!("comet-ticket={ticket}"), &said["position"]),
        (cookie(&head), &start.as_str().into())
    );
    app.stop();
    // It was cut before the first message: what it missed since its beginning comes.
    proxy.publish("news", "1");
    for position in [format!("Last-Event-ID: {start}\r\n"), String::new()] {
        let mut raw = ask(&proxy, "/hold?news", &format!("{SSE}Comet-Ticket: {ticket}\r\n{position}"));
        let text = String::from_utf8(raw.until(b"data: 1\n\n")).unwrap();
        assert!(!text.contains("data: before"), "{text}");
    }
}

#[test]
fn a_new_page_asks_the_application_since_only_that_knows_what_it_shows() {
    let app = App::holding(TICKET);
    let proxy = Perihelion::before(&app.origin);
    let head = ask(&proxy, "/hold?news", SSE).head();
    let page = format!("{SSE}{}Referer: http://example.com/\r\n", cookie_field(&head));
    assert_eq!(ask(&proxy, "/hold?news", &page).head().status(), 200);
    assert_eq!(app.requests(), 2);
    proxy.wait_metric("perihelion_comet_tickets_total", &[("result", "unfit")], 1.0);
}

#[test]
fn no_application_gets_a_ticket() {
    let app = App::holding(TICKET);
    let proxy = Perihelion::before(&app.origin);
    let fields = "Cookie: a=1; comet-ticket=x.y\r\nCookie: b=2\r\nComet-Ticket: x.y\r\n";
    let _first = ask(&proxy, "/hold?news", fields);
    let request = app.origin.wait_for_request(0);
    assert_eq!(request.head.get("cookie"), Some("a=1; b=2"));
    assert!(!request.head.has("comet-ticket"), "{request:?}");
    let _second = ask(&proxy, "/hold?news", "Cookie: comet-ticket=x.y\r\n");
    assert!(!app.origin.wait_for_request(1).head.has("cookie"));
}

#[test]
fn what_is_forged_or_foreign_is_an_ordinary_request() {
    let app = App::holding(TICKET);
    let proxy = Perihelion::before(&app.origin);
    let position = format!("Last-Event-ID: {}\r\n", proxy.publish("news", "1"));
    let good = cookie(&ask(&proxy, "/hold?news", SSE).head());
    let count = |reason: &str| proxy.metric("perihelion_comet_tickets_total", &[("result", reason)]);
    let mut requests = 1;
    let mut comes_back = |target: &str, cookie: &str, accept: &str| {
        let head = ask(&proxy, target, &format!("{accept}Cookie: {cookie}\r\n{position}")).head();
        assert_eq!(head.status(), 200);
        let asked = app.requests() > requests;
        requests = app.requests();
        asked
    };
    assert!(!comes_back("/hold?news", &good, SSE));
    assert!(comes_back("/hold?news", &good[..good.len() - 1], SSE), "forged");
    assert!(comes_back("/hold?other", &good, SSE), "another URL");
    assert!(comes_back("/held?news", &good, SSE), "another path");
    assert_eq!(count("foreign"), 3.0);
    // An event stream is no answer to a request that accepts none; nor is it to be repeated for ever.
    let mut poll = ask(&proxy, "/hold?news", &format!("Cookie: {good}\r\n{position}"));
    app.origin.wait_for_request(4);
    proxy.publish("news", "2");
    assert_eq!(poll.answer().json()["messages"][0]["data"], "2");
    assert_eq!(count("unfit"), 1.0);
    // A poll that doesn't wait is one all the same.
    let good_poll = cookie(&ask(&proxy, "/hold?news", "Prefer: wait=0\r\n").head());
    let mut again = ask(&proxy, "/hold?news", &format!("Cookie: {good_poll}\r\n{position}"));
    assert_eq!(again.answer().json()["messages"][0]["data"], "2");
    assert_eq!(app.requests(), 6);
}

#[test]
fn what_has_expired_is_an_ordinary_request() {
    let app = App::holding(&[("X-Comet-Ticket", "1s")]);
    let proxy = Perihelion::before(&app.origin);
    let good = cookie(&ask(&proxy, "/hold?news", SSE).head());
    wait_until("the ticket expires", || {
        let before = app.requests();
        let head = ask(&proxy, "/hold?news", &format!("{SSE}Cookie: {good}\r\n")).head();
        head.status() == 200 && app.requests() > before
    });
    assert!(proxy.metric("perihelion_comet_tickets_total", &[("result", "expired")]) > 0.0);
}

#[test]
fn keys_rotate_over_reloads_and_tickets_outlive_the_process_that_signed_them() {
    const A: &str = "first-first-first-first-first-fir";
    const B: &str = "second-second-second-second-secon";
    let app = App::holding(TICKET);
    let keys = |keys: &str| {
        format!(
            "listen: $HTTP\nupstream: {}\ncontrol: $CONTROL\ntickets: {{ keys: [{keys}] }}\n",
            app.origin.url()
        )
    };
    let mut proxy = Perihelion::start(&keys(A));
    let position = proxy.publish("news", "1");
    let fields = |cookie: &str| format!("{SSE}Cookie: {cookie}\r\nLast-Event-ID: {position}\r\n");
    let old = cookie(&ask(&proxy, "/hold?news", SSE).head());
    assert_eq!(proxy.reload(&keys(&format!("{B}, {A}"))).status(), 200);
    let new = cookie(&ask(&proxy, "/hold?news", &fields(&old)).head());
    assert_eq!(app.requests(), 1);
    assert_eq!(proxy.reload(&keys(B)).status(), 200);
    ask(&proxy, "/hold?news", &fields(&new)).head();
    assert_eq!(app.requests(), 1);
    ask(&proxy, "/hold?news", &fields(&old)).head();
    assert_eq!(app.requests(), 2);
    proxy.kill_and_start();
    // Where the channel began anew, the gap is told.
    ask(&proxy, "/hold?news", &fields(&new)).until(b"event: comet.gap\n");
    assert_eq!(app.requests(), 2);
}

/// A client of a storm, as far as it has come.
struct Client {
    accept: &'static str,
    raw: Raw,
    cookie: String,
}

impl Client {
    fn open(proxy: &Perihelion, accept: &'static str, more: &str) -> Client {
        let mut raw = ask(proxy, "/hold?news", &format!("{accept}{more}"));
        // A poll has no head before it is answered: its ticket comes with the first message.
        let cookie = if accept.is_empty() { String::new() } else { cookie(&raw.head()) };
        Client { accept, raw, cookie }
    }

    /// Reads up to this message, and gives everything before it.
    fn reads(&mut self, last: &str) -> String {
        if self.accept.is_empty() {
            let answer = self.raw.answer();
            self.cookie = cookie(&answer.head);
            return answer.text();
        }
        String::from_utf8(self.raw.until(format!("data: {last}\n\n").as_bytes())).unwrap()
    }
}

/// 1,000 where nobody says otherwise: `PERIHELION_STORM=10000 cargo test --test it storm`.
fn storm_size() -> u64 {
    std::env::var("PERIHELION_STORM").ok().map_or(1000, |number| number.parse().unwrap())
}

#[test]
fn a_storm_of_returns_is_held_while_the_application_is_stopped_and_nothing_is_lost() {
    perihelion::server::raise_descriptor_limit();
    let app = App::holding(&[("X-Comet-Ticket", "10m"), ("X-Comet-Timeout", "300")]);
    let proxy = Perihelion::before(&app.origin);
    let count = storm_size();
    let kinds = [SSE, ""].into_iter().cycle().take(count as usize);
    let mut clients: Vec<_> = kinds.map(|accept| Client::open(&proxy, accept, "")).collect();
    proxy.wait_subscribers("news", count);
    let position = proxy.publish("news", "before");
    let cookies: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            client.reads("before");
            (client.accept, std::mem::take(&mut client.cookie))
        })
        .collect();
    drop(clients);
    proxy.wait_subscribers("news", 0);
    let (asked, _) = (app.requests(), app.stop());
    assert_eq!(asked as u64, count);
    let missed: Vec<String> = (0..20).map(|number| format!("missed {number}")).collect();
    missed.iter().for_each(|data| drop(proxy.publish("news", data)));
    let mut returned: Vec<_> = cookies
        .iter()
        .map(|(accept, cookie)| {
            let fields = format!("{accept}Cookie: {cookie}\r\nLast-Event-ID: {position}\r\n");
            ask(&proxy, "/hold?news", &fields)
        })
        .collect();
    for ((accept, _), raw) in cookies.iter().zip(&mut returned) {
        let got: Vec<String> = if accept.is_empty() {
            let said = raw.answer().json();
            assert_eq!(said["gap"], false);
            said["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["data"].as_str().unwrap().into())
                .collect()
        } else {
            assert_eq!(raw.head().status(), 200);
            let text = String::from_utf8(raw.until(b"data: missed 19\n\n")).unwrap();
            assert!(!text.contains("comet.gap"), "{text}");
            text.lines()
                .filter_map(|line| line.strip_prefix("data: missed"))
                .map(|n| format!("missed{n}"))
                .collect()
        };
        assert_eq!(got, missed);
    }
    assert_eq!(app.requests(), asked, "the application sees none of them");
    proxy.wait_metric("perihelion_comet_tickets_total", &[("result", "taken")], count as f64);
    proxy.wait_metric("perihelion_comet_gaps_total", &[], 0.0);
}
