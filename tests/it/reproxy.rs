//! Answers that only say where the rest of them lies: files, URLs, other routes and sites of the proxy.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

use crate::support::{
    Answer, Certificate, ClosesOnSecondRequest, Origin, Perihelion, Place, Raw, Received, Reply, Then, hash,
    noise, wait_until,
};

const DIGITS: &str = "0123456789";

/// A proxy whose application may hand on to files, to URLs on loopback, to internal routes and another site.
struct Stage {
    proxy: Perihelion,
    application: Origin,
    target: Origin,
}

const CONFIGURATION: &str = "
listen: $HTTP
control: $CONTROL
pools:
  app:
    servers: $APP
    max_connections: 1
    reproxy: { urls: 127.0.0.1, files: [$FOLDER/media], sites: [other.example], cache: 10 }
  target: { servers: $TARGET, reproxy: { files: [$FOLDER/media] } }
  silent: $APP
sites:
  other.example: target
  plain.example: silent
  \"*\":
    routes:
      - { path: /, pool: app }
      - { path: /kept/, internal: true, files: $FOLDER/media }
      - { path: /second/, internal: true, pool: target }
";

/// The application answers with the fields of the request's `X-Say`, as `name=value|name=value`.
fn application(request: &Received) -> Reply {
    let say = request.head.get("x-say").unwrap_or_default();
    let mut reply = Reply::ok(request.head.get("x-body").unwrap_or_default());
    for pair in say.split('|').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        match name {
            "status" => reply = Reply::status(statically(value), ""),
            _ => reply = reply.with(name, value),
        }
    }
    reply
}

fn statically(status: &str) -> &'static str {
    ["204 No Content", "404 Not Found", "304 Not Modified"]
        .into_iter()
        .find(|known| known.starts_with(status))
        .unwrap()
}

/// Serves digits with ranges as a store of files does.
fn store(request: &Received) -> Reply {
    let etag = ("ETag", "\"t\"");
    match (request.target(), request.head.get("range")) {
        ("/fails", _) => Reply::status("500 Internal Server Error", "no"),
        ("/short", _) => Reply::ok("012"),
        ("/digits", Some("bytes=2-4")) => Reply::status("206 Partial Content", "234")
            .with("Content-Range", "bytes 2-4/10")
            .with(etag.0, etag.1),
        ("/digits", Some("bytes=50-")) => {
            Reply::status("416 Range Not Satisfiable", "").with("Content-Range", "bytes */10")
        }
        ("/evil", _) => Reply::ok(DIGITS)
            .with("X-Reproxy-File", "/etc/passwd")
            .with("X-Accel-Redirect", "/kept/digits.bin")
            .with("X-Comet-Subscribe", "news")
            .with("Set-Cookie", "evil=1")
            .with("Location", "http://evil.example/"),
        ("/sends-file", _) => Reply::ok("second").with("X-Sendfile", "/etc/passwd"),
        _ => Reply::ok(DIGITS).with("Content-Type", "text/x-target").with(etag.0, etag.1),
    }
}

fn stage_with(target: Origin) -> Stage {
    let place = Place::new();
    let media = place.folder.path().join("media");
    fs::create_dir_all(media.join("deep")).unwrap();
    for (name, text) in [
        ("secret", "secret"),
        ("media/digits.bin", DIGITS),
        ("media/.hidden", "hidden"),
        ("media/a b.txt", "spaces"),
    ] {
        place.folder.write(name, text);
    }
    symlink("../secret", media.join("link")).unwrap();
    let application = Origin::replying(application);
    let configuration = CONFIGURATION.replace("$APP", &application.url()).replace("$TARGET", &target.url());
    Stage { proxy: Perihelion::start_at(place, &configuration, None), application, target }
}

fn stage() -> Stage {
    stage_with(Origin::replying(store))
}

impl Stage {
    /// What a client hears when the application says this; `$T` stands for the target's address, `$F` for the folder.
    fn say(&self, say: &str, fields: &str) -> Answer {
        let mut raw = self.proxy.connect();
        raw.send(format!("GET /x HTTP/1.1\r\nHost: a\r\nX-Say: {}\r\n{fields}\r\n", self.fill(say)));
        raw.answer()
    }

    fn gist(&self, say: &str, fields: &str) -> (u16, String) {
        let answer = self.say(say, fields);
        (answer.status(), answer.text())
    }

    fn fill(&self, say: &str) -> String {
        let media = self.proxy.place.folder.path().join("media");
        say.replace("$T", &self.target.url()).replace("$F", &media.display().to_string())
    }

    fn counted(&self, kind: &str, result: &str) -> f64 {
        let labels = [("pool", "app"), ("kind", kind), ("result", result)];
        self.proxy.metric("perihelion_reproxy_total", &labels)
    }
}

#[test]
fn a_file_is_sent_for_the_application_under_each_of_its_names() {
    let stage = stage();
    for say in
        ["X-Sendfile=$F/digits.bin", "X-Reproxy-File=$F/digits.bin", "X-Accel-Redirect=/kept/digits.bin"]
    {
        let answer = stage.say(say, "");
        assert_eq!((answer.status(), answer.text().as_str()), (200, DIGITS), "{say}");
        assert_eq!(answer.head.get("content-type"), Some("application/octet-stream"), "{say}");
        assert!(answer.head.has("etag") && answer.head.has("last-modified"), "{:?}", answer.head);
        assert_eq!(stage.gist(say, "Range: bytes=-3\r\n"), (206, "789".into()), "{say}");
        assert_eq!(stage.gist(say, "Range: bytes=10-\r\n"), (416, String::new()), "{say}");
        let condition = format!("If-None-Match: {}\r\n", answer.head.get("etag").unwrap());
        assert_eq!(stage.gist(say, &condition), (304, String::new()), "{say}");
    }
    assert_eq!(stage.gist("X-Accel-Redirect=/kept/a b.txt", ""), (200, "spaces".into()));
    assert_eq!(stage.gist("X-Accel-Redirect=/kept/a%20b.txt", ""), (200, "spaces".into()));
    assert_eq!(stage.gist("X-Sendfile=$F/.hidden", ""), (200, "hidden".into()));
    assert_eq!((stage.counted("file", "ok"), stage.counted("path", "ok")), (9.0, 6.0));
}

#[test]
fn nothing_leads_out_of_the_folders_that_were_listed() {
    let stage = stage();
    for (say, status) in [
        ("X-Sendfile=/etc/passwd", 502),
        ("X-Sendfile=$F/../secret", 502),
        ("X-Sendfile=$F", 502),
        ("X-Sendfile=digits.bin", 502),
        ("X-Reproxy-File=$Fx/digits.bin", 502),
        ("X-Sendfile=$F/link", 404),
        ("X-Sendfile=$F/%2e%2e/secret", 404),
        ("X-Sendfile=$F/deep", 404),
        ("X-Sendfile=$F/none", 404),
        ("X-Reproxy-File=$F/digits.bin|X-Reproxy-Expected-Size=11", 404),
        ("X-Accel-Redirect=/kept/link", 404),
        ("X-Accel-Redirect=/kept/.hidden", 404),
        ("X-Accel-Redirect=/kept/..%2fsecret", 502),
        ("X-Accel-Redirect=@named", 502),
        ("X-Reproxy-Service=plain.example", 502),
    ] {
        let answer = stage.say(say, "");
        assert_eq!(answer.status(), status, "{say}");
        assert!(!answer.text().contains("secret") && !answer.text().contains("media"), "{}", answer.text());
    }
    let good = "X-Reproxy-File=$F/digits.bin|X-Reproxy-Expected-Size=10";
    assert_eq!(stage.gist(good, "Range: bytes=0-0\r\n"), (206, "0".into()));
    // What only applications lead to is nothing to a client.
    assert_eq!(stage.proxy.get("/kept/digits.bin").status(), 404);
    assert_eq!(stage.proxy.get("/second/digits").status(), 404);
}

#[test]
fn trap_7_whose_headers_the_applications_with_the_targets_length_and_type() {
    let stage = stage();
    let app = "X-Reproxy-URL=$T/digits|Set-Cookie=a=1|ETag=\"app\"|Cache-Control=private";
    let answer = stage.say(app, "");
    let head = &answer.head;
    assert_eq!((answer.status(), answer.text().as_str()), (200, DIGITS));
    for (name, value) in [
        ("set-cookie", "a=1"),
        ("etag", "\"app\""),
        ("cache-control", "private"),
        ("content-type", "text/x-target"),
        ("content-length", "10"),
    ] {
        assert_eq!(head.get(name), Some(value), "{head:?}");
    }
    let typed = stage.say("X-Reproxy-URL=$T/digits|Content-Type=image/png", "");
    assert_eq!(typed.head.get("content-type"), Some("image/png"));
    assert_eq!(stage.gist("status=204|X-Reproxy-URL=$T/digits", ""), (200, DIGITS.into()));
    assert_eq!(
        stage.gist("status=404|X-Reproxy-URL=$T/digits", "Range: bytes=2-4\r\n"),
        (404, DIGITS.into())
    );
    assert!(!stage.target.last().head.has("range"));
    assert_eq!(stage.say("status=304|X-Reproxy-URL=$T/digits", "").status(), 304);

    let part = stage.say("X-Reproxy-URL=$T/digits|X-Reproxy-Expected-Size=10", "Range: bytes=2-4\r\n");
    assert_eq!((part.status(), part.text().as_str()), (206, "234"));
    assert_eq!(
        (part.head.get("content-range"), part.head.get("content-length")),
        (Some("bytes 2-4/10"), Some("3"))
    );
    let beyond = stage.say("X-Reproxy-URL=$T/digits|X-Reproxy-Expected-Size=10", "Range: bytes=50-\r\n");
    assert_eq!((beyond.status(), beyond.head.get("content-range")), (416, Some("bytes */10")));

    let mut raw = stage.proxy.connect();
    for say in ["X-Reproxy-URL=$T/digits", "X-Sendfile=$F/digits.bin"] {
        raw.send(format!("HEAD / HTTP/1.1\r\nHost: a\r\nX-Say: {}\r\n\r\n", stage.fill(say)));
        let head = raw.head();
        assert_eq!((head.status(), head.get("content-length")), (200, Some("10")), "{say}");
    }
    assert_eq!(raw.get("/").status(), 200);
}

#[test]
fn conditions_count_by_the_applications_validators_else_by_the_targets() {
    let stage = stage();
    let app = "X-Reproxy-URL=$T/digits|ETag=\"app\"";
    assert_eq!(stage.say(app, "If-None-Match: \"app\"\r\n").status(), 304);
    assert!(stage.target.received().is_empty(), "nobody had to be asked");
    assert_eq!(stage.say(app, "If-None-Match: \"t\"\r\n").status(), 200);
    assert_eq!(stage.say("X-Reproxy-URL=$T/digits", "If-None-Match: \"t\"\r\n").status(), 304);
    let part = "Range: bytes=2-4\r\n";
    assert_eq!(stage.say(app, &format!("If-Range: \"app\"\r\n{part}")).status(), 206);
    assert_eq!(stage.say(app, &format!("If-Range: \"t\"\r\n{part}")).status(), 200);
    assert_eq!(stage.say("X-Reproxy-URL=$T/digits", "Range: bytes=0-1, 3-4\r\n").status(), 200);
    assert!(!stage.target.last().head.has("range"));
}

#[test]
fn a_target_is_told_nothing_of_the_client() {
    let stage = stage();
    stage.say("X-Reproxy-URL=$T/digits?x=1", "Cookie: a=1\r\nAuthorization: Basic eDp5\r\nReferer: /\r\n");
    let asked = stage.target.only();
    assert_eq!(asked.head.line, "GET /digits?x=1 HTTP/1.1");
    assert_eq!(asked.head.get("host"), stage.target.url().strip_prefix("http://"));
    let names: Vec<&str> = asked.head.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["host"]);
}

#[test]
fn trap_8_the_next_url_is_asked_after_a_failure_a_bad_status_or_a_wrong_size_and_then_it_is_503() {
    let stage = stage();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let list =
        format!("X-Reproxy-URL=http://{closed}/x $T/fails $T/short $T/digits|X-Reproxy-Expected-Size=10");
    assert_eq!(stage.gist(&list, ""), (200, DIGITS.into()));
    let asked: Vec<String> = stage.target.received().iter().map(|asked| asked.target().to_owned()).collect();
    assert_eq!(asked, ["/fails", "/short", "/digits"]);
    assert_eq!(stage.proxy.metric("perihelion_reproxy_urls_passed_over_total", &[("pool", "app")]), 3.0);
    for bad in
        ["$T/fails", "ftp://127.0.0.1/", "https://127.0.0.1/", "http://u@127.0.0.1/", "nonsense", "$T/short"]
    {
        let answer = stage.say(&format!("X-Reproxy-URL={bad}|X-Reproxy-Expected-Size=10"), "");
        assert_eq!((answer.status(), answer.head.has("retry-after")), (503, true), "{bad}");
    }
    assert_eq!((stage.counted("url", "ok"), stage.counted("url", "failed")), (1.0, 6.0));
}

/// A proxy with one thread, so that the same thread comes back to a connection, whose answers point to this address.
fn handing_on_to(application: &Origin, place: Place, url: &str, more: &str) -> Perihelion {
    let configuration = format!(
        "listen: $HTTP\ncontrol: $CONTROL\nthreads: 1\npools:\n  app:\n    servers: {}\n    max_connections: 1\n\
         \x20   keepalive: {{ idle: 5s }}\n    reproxy: {{ urls: {url:?}{more} }}\nsites: {{ \"*\": app }}\n",
        application.url()
    );
    Perihelion::start_at(place, &configuration, None)
}

fn say(proxy: &Perihelion, fields: &str) -> Answer {
    let mut raw = proxy.connect();
    raw.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Say: {fields}\r\n\r\n"));
    raw.answer()
}

#[test]
fn connections_to_targets_are_kept_and_one_that_was_closed_meanwhile_is_made_anew() {
    let application = Origin::replying(application);
    let target = Origin::replying(store);
    let proxy = handing_on_to(&application, Place::new(), "127.0.0.1", "");
    let url = format!("X-Reproxy-URL={}/digits", target.url());
    for _ in 0..3 {
        assert_eq!(say(&proxy, &url).text(), DIGITS);
    }
    assert_eq!((target.connections(), target.last().place), (1, 2));
    let closing = Origin::new(ClosesOnSecondRequest);
    let url = format!("X-Reproxy-URL={}/", closing.url());
    for _ in 0..3 {
        assert_eq!(say(&proxy, &url).status(), 200);
    }
    assert_eq!(closing.connections(), 3);
}

#[test]
fn what_a_target_has_is_read_at_its_own_speed_however_slow_the_client_is() {
    const PAGE: usize = 8 << 20;
    let application = Origin::replying(application);
    let page = noise(PAGE);
    let sent = page.clone();
    let target = Origin::replying(move |_| Reply::ok(&sent));
    let proxy = handing_on_to(&application, Place::new(), "127.0.0.1", "");
    let url = format!("X-Reproxy-URL={}/page", target.url());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&proxy.http().into()).unwrap();
    let mut sleeper = Raw::from_tcp(socket.into());
    sleeper.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Say: {url}\r\n\r\n"));
    target.wait_for_request(0);
    // The next one goes over the same connection as soon as all of it has been read.
    wait_until("it was read to its end", || {
        say(&proxy, &url);
        target.last().place > 0
    });
    // Before it there may have been only the next one's connection.
    wait_until("it waits on disk", || proxy.metric("perihelion_buffer_disk_bytes", &[]) > 0.0);
    assert_eq!(hash(&sleeper.answer().body), hash(&page));
}

#[test]
fn targets_with_tls_have_to_show_a_certificate_that_is_right() {
    let origin = Origin::replying(store);
    let target = Place::new();
    let address = target.tls();
    let certificate = Certificate::for_names(&[&address.ip().to_string()]);
    certificate.write(&target.folder, "site");
    let configuration = format!(
        "listen: [{{ address: $TLS, tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}] }}]\n\
         upstream: {}\ncontrol: $CONTROL\n",
        origin.url()
    );
    let _target = Perihelion::start_at(target, &configuration, None);
    let application = Origin::replying(application);
    let url = format!("X-Reproxy-URL=https://{address}/digits");
    let place = Place::new();
    certificate.write(&place.folder, "ca");
    let allowed = address.to_string();
    let trusting = handing_on_to(&application, place, &allowed, ", ca: $FOLDER/ca.pem");
    for _ in 0..2 {
        assert_eq!(say(&trusting, &url).text(), DIGITS);
    }
    assert_eq!(say(&trusting, &url.replace("https", "http")).status(), 503);
    // Neither the system nor another signer vouches for it.
    assert_eq!(say(&handing_on_to(&application, Place::new(), &allowed, ""), &url).status(), 503);
    let place = Place::new();
    Certificate::for_names(&["elsewhere.example"]).write(&place.folder, "ca");
    let other = handing_on_to(&application, place, &allowed, ", ca: $FOLDER/ca.pem");
    assert_eq!(say(&other, &url).status(), 503);
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn a_private_address_is_reached_only_if_it_is_listed_whatever_name_it_has() {
    let origin = Origin::replying(application);
    let target = Origin::replying(store);
    let port = target.url().rsplit_once(':').unwrap().1.to_owned();
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: {}, reproxy: {{ urls: [\"*\", 127.0.0.2] }} }} }}\n\
         sites: {{ \"*\": app }}\n",
        origin.url()
    ));
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433", "[::1]"] {
        let mut raw = proxy.connect();
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Say: X-Reproxy-URL=http://{host}:{port}/digits\r\n\r\n"
        ));
        assert_eq!(raw.answer().status(), 503, "{host}");
    }
    assert_eq!(target.connections(), 0);
}

#[test]
fn interim_answers_of_a_target_are_passed_over() {
    let target = Origin::new(|_: &Received, socket: &mut Socket| {
        socket
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            .unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal").unwrap();
        Then::KeepAlive
    });
    let stage = stage_with(target);
    assert_eq!(stage.gist("X-Reproxy-URL=$T/", ""), (200, "final".into()));
    assert_eq!(stage.gist("X-Reproxy-URL=$T/", ""), (200, "final".into()));
}

static GATE: AtomicBool = AtomicBool::new(false);

#[test]
fn the_worker_is_free_while_the_target_works() {
    let target = Origin::new(|request: &Received, socket: &mut Socket| {
        wait_until("the gate opens", || GATE.load(Ordering::SeqCst));
        Reply::ok("late").send_to(request, socket)
    });
    let stage = stage_with(target);
    let mut waiting = stage.proxy.connect();
    waiting.send(format!(
        "GET /a HTTP/1.1\r\nHost: a\r\nX-Body: drained\r\nX-Say: {}\r\n\r\n",
        stage.fill("X-Reproxy-URL=$T/")
    ));
    stage.target.wait_for_request(0);
    // The pool has one connection, which the first request would still hold.
    assert_eq!(stage.proxy.get("/b").status(), 200);
    GATE.store(true, Ordering::SeqCst);
    assert_eq!(waiting.answer().text(), "late");
}

#[test]
fn trap_5_the_body_of_a_handed_on_answer_is_read_away_and_its_connection_goes_on() {
    let stage = stage();
    for number in 0..5 {
        let answer = stage.say("X-Sendfile=$F/digits.bin", "X-Body: a body that nobody wants\r\n");
        assert_eq!(answer.text(), DIGITS, "{number}");
    }
    assert_eq!(stage.proxy.get("/").text(), "");
    assert_eq!(stage.application.connections(), 1);
}

#[test]
fn trap_5_a_long_body_of_a_handed_on_answer_is_not_waited_for() {
    let application = Origin::new(|request: &Received, socket: &mut Socket| {
        if request.target() == "/plain" {
            return Reply::ok("plain").send_to(request, socket);
        }
        let path = request.head.get("x-say").unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nX-Sendfile: {path}\r\nContent-Length: 100000000\r\n\r\nbeginning");
        socket.write_all(head.as_bytes()).unwrap();
        Then::KeepAlive
    });
    let stage = Stage { application, ..stage() };
    let place = Place::new();
    fs::create_dir(place.folder.path().join("media")).unwrap();
    place.folder.write("media/digits.bin", DIGITS);
    let configuration =
        CONFIGURATION.replace("$APP", &stage.application.url()).replace("$TARGET", &stage.target.url());
    let stage = Stage { proxy: Perihelion::start_at(place, &configuration, None), ..stage };
    for _ in 0..2 {
        let mut raw = stage.proxy.connect();
        raw.send(format!("GET /x HTTP/1.1\r\nHost: a\r\nX-Say: {}\r\n\r\n", stage.fill("$F/digits.bin")));
        assert_eq!(raw.answer().text(), DIGITS);
    }
    assert_eq!(stage.proxy.get("/plain").text(), "plain");
}

#[test]
fn trap_6_internal_names_cross_in_neither_direction_whether_the_feature_is_on_or_off() {
    let stage = stage();
    let names = [
        "X-Sendfile-Type: X-Accel-Redirect",
        "X-Accel-Mapping: /=/",
        "X-Proxy-Capabilities: reproxy-file",
        "X-Reproxy-File: /etc/passwd",
        "X-Reproxy-Expected-Size: 1",
        "X-Accel-Redirect: /kept/digits.bin",
        "X-Sendfile: /etc/passwd",
    ]
    .join("\r\n");
    let all = "X-Reproxy-File=$F/digits.bin|X-Reproxy-URL=http://10.0.0.1/|X-Reproxy-Expected-Size=10|X-Accel-Expires=5\
               |X-Accel-Redirect=/kept/x|X-Sendfile=/x|X-Reproxy-Cache-For=5|X-Reproxy-Service=x|X-Accel-Charset=utf-8\
               |X-Accel-Limit-Rate=5|X-Sendfile-Temporary=x";
    for (host, text, capabilities) in [("a", DIGITS, Some("reproxy-file")), ("plain.example", "own", None)] {
        let mut raw = stage.proxy.connect();
        let say = stage.fill(all);
        raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Body: own\r\nX-Say: {say}\r\n{names}\r\n\r\n"));
        let answer = raw.answer();
        assert_eq!(answer.text(), text);
        let internal =
            |name: &str| ["x-reproxy", "x-accel", "x-sendfile"].iter().any(|own| name.starts_with(own));
        let leaked = answer.head.fields.iter().find(|(name, _)| internal(&name.to_lowercase()));
        assert_eq!(leaked, None);
        let asked = stage.application.last().head;
        assert_eq!(asked.fields.iter().find(|(name, _)| internal(&name.to_lowercase())), None);
        assert_eq!(asked.get("x-proxy-capabilities"), capabilities);
    }
}

#[test]
fn what_a_target_says_is_never_obeyed_or_passed_on() {
    let stage = stage();
    let answer = stage.say("X-Reproxy-URL=$T/evil", "");
    assert_eq!((answer.status(), answer.text().as_str()), (200, DIGITS));
    for name in ["x-reproxy-file", "x-accel-redirect", "x-comet-subscribe", "set-cookie", "location"] {
        assert!(!answer.head.has(name), "{name}: {:?}", answer.head);
    }
    // Another route of the proxy is asked as any is, and names nothing further.
    for say in ["X-Accel-Redirect=/second/../sends-file", "X-Reproxy-Service=other.example"] {
        let mut raw = stage.proxy.connect();
        raw.send(format!("GET /sends-file HTTP/1.1\r\nHost: a\r\nX-Say: {say}\r\n\r\n"));
        let answer = raw.answer();
        assert!(!answer.head.has("x-sendfile"), "{:?}", answer.head);
        assert!(!answer.text().contains("root:"), "{}", answer.text());
    }
}

#[test]
fn a_request_goes_on_to_another_route_or_site_without_its_body() {
    let stage = stage();
    let mut raw = stage.proxy.connect();
    for (say, target) in [
        ("X-Accel-Redirect=/second/digits?y=2|Set-Cookie=a=1", "/second/digits?y=2"),
        ("X-Reproxy-Service=other.example|Set-Cookie=a=1", "/x?y=1"),
    ] {
        raw.send(format!(
            "POST /x?y=1 HTTP/1.1\r\nHost: a\r\nX-Say: {say}\r\nContent-Type: a/b\r\nContent-Length: 4\r\n\r\nbody"
        ));
        let answer = raw.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, DIGITS), "{say}");
        assert_eq!(answer.head.get("set-cookie"), Some("a=1"));
        let asked = stage.target.last();
        assert_eq!(asked.head.line, format!("GET {target} HTTP/1.1"));
        assert!(!asked.head.has("content-length") && !asked.head.has("content-type"), "{asked:?}");
        assert_eq!(asked.head.get("x-forwarded-host"), Some("a"));
    }
    assert_eq!(stage.application.received().len(), 2);
    assert_eq!((stage.counted("path", "ok"), stage.counted("site", "ok")), (1.0, 1.0));
}

#[test]
fn a_remembered_answer_needs_no_application_and_has_only_the_headers_that_were_named() {
    let stage = stage();
    let say = "X-Reproxy-URL=$T/digits|X-Reproxy-Cache-For=300; ETag X-Kept|ETag=\"app\"|X-Kept=1|X-Other=1|Set-Cookie=a=1";
    let first = stage.say(say, "");
    assert_eq!((first.text().as_str(), first.head.has("x-other")), (DIGITS, true));
    let second = stage.say(say, "");
    assert_eq!(second.text(), DIGITS);
    let has = ["etag", "x-kept", "x-other", "set-cookie"].map(|name| second.head.has(name));
    assert_eq!(has, [true, true, false, false]);
    assert_eq!(stage.say(say, "If-None-Match: \"app\"\r\n").status(), 304);
    assert_eq!(stage.gist(say, "Range: bytes=2-4\r\n"), (206, "234".into()));
    assert_eq!(stage.application.received().len(), 1);
    let counted = |result| stage.proxy.metric("perihelion_reproxy_cache_total", &[("result", result)]);
    assert_eq!((counted("hit"), counted("miss")), (3.0, 1.0));
    assert_eq!(stage.proxy.metric("perihelion_reproxy_cache_entries", &[]), 1.0);

    // Another host, another method and another target are other requests.
    let mut raw = stage.proxy.connect();
    let say = stage.fill("X-Reproxy-URL=$T/digits|X-Reproxy-Cache-For=300|Vary=Cookie");
    for head in [
        "GET /x HTTP/1.1\r\nHost: b",
        "GET /y HTTP/1.1\r\nHost: a",
        "POST /x HTTP/1.1\r\nContent-Length: 0\r\nHost: a",
    ] {
        raw.send(format!("{head}\r\nX-Say: {say}\r\n\r\n"));
        assert_eq!(raw.answer().status(), 200);
    }
    assert_eq!(stage.application.received().len(), 4);
    raw.send(format!("GET /y HTTP/1.1\r\nHost: a\r\nX-Say: {say}\r\n\r\n"));
    assert_eq!((raw.answer().status(), stage.application.received().len()), (200, 5), "it varies");
}

#[test]
fn a_remembered_answer_that_is_gone_is_asked_for_again() {
    let gone: &'static Mutex<bool> = Box::leak(Box::new(Mutex::new(false)));
    let target = Origin::replying(move |_| match *gone.lock().unwrap() {
        true => Reply::status("404 Not Found", ""),
        false => Reply::ok("first"),
    });
    let stage = stage_with(target);
    let say = "X-Reproxy-URL=$T/|X-Reproxy-Cache-For=300";
    assert_eq!(stage.gist(say, ""), (200, "first".into()));
    *gone.lock().unwrap() = true;
    assert_eq!(stage.gist("X-Sendfile=$F/digits.bin", ""), (200, DIGITS.into()));
    assert_eq!(stage.application.received().len(), 2);
}
