//! A `files` route: what is served of a folder, to whom, and that nothing leads out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use crate::support::{Answer, Head, Origin, Perihelion, Place, Raw, Reply, wait_until};

const CONFIGURATION: &str = "
listen: $HTTP
control: $CONTROL
pools: { app: $APP }
sites:
  \"*\":
    routes:
      - { path: /, pool: app }
      - { path: /static/, files: { root: $FOLDER/www, cache_control: max-age=60 } }
      - { path: /bare, files: { root: $FOLDER/www, index: off } }
      - { path: /hidden/, internal: true, files: $FOLDER/www }
";

/// A proxy, and a folder `www` beside a secret.
struct Stage {
    proxy: Perihelion,
    _origin: Origin,
}

fn stage() -> Stage {
    let place = Place::new();
    let folder = place.folder.path().to_path_buf();
    let www = folder.join("www");
    for below in ["deep", "empty", ".git", ".well-known/acme", "a b"] {
        fs::create_dir_all(www.join(below)).unwrap();
    }
    for (name, text) in [
        ("secret", "secret"),
        ("www/digits.bin", "0123456789"),
        ("www/app.css", "body { color: black }"),
        ("www/app.css.gz", "(gzip)"),
        ("www/app.css.br", "(brotli)"),
        ("www/index.html", "<p>home"),
        ("www/deep/index.html", "<p>deep"),
        ("www/.git/config", "secret"),
        ("www/.env", "secret"),
        ("www/.well-known/acme/token", "token"),
        ("www/a b/c%d.txt", "spaces"),
        ("www/none.bin", ""),
    ] {
        place.folder.write(name, text);
    }
    symlink("../secret", www.join("link.txt")).unwrap();
    symlink(folder.join("secret"), www.join("absolute.txt")).unwrap();
    symlink("deep/index.html", www.join("inside.html")).unwrap();
    symlink("../..", www.join("up")).unwrap();
    let origin = Origin::replying(|_| Reply::ok("the application"));
    let configuration = CONFIGURATION.replace("$APP", &origin.url());
    Stage { proxy: Perihelion::start_at(place, &configuration, None), _origin: origin }
}

impl Stage {
    fn get(&self, target: &str, fields: &str) -> Answer {
        let mut raw = self.proxy.connect();
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        raw.answer()
    }

    /// Status and body.
    fn gist(&self, target: &str, fields: &str) -> (u16, String) {
        let answer = self.get(target, fields);
        (answer.status(), answer.text())
    }

    fn www(&self) -> std::path::PathBuf {
        self.proxy.place.folder.path().join("www")
    }
}

#[test]
fn a_file_is_served_with_all_that_a_cache_needs() {
    // A date is cut to seconds.
    let before = SystemTime::now() - Duration::from_secs(2);
    let stage = stage();
    let answer = stage.get("/static/digits.bin", "");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "0123456789"));
    let head = &answer.head;
    assert_eq!(head.get("content-type"), Some("application/octet-stream"));
    assert_eq!(head.get("content-length"), Some("10"));
    assert_eq!(head.get("accept-ranges"), Some("bytes"));
    assert_eq!(head.get("cache-control"), Some("max-age=60"));
    assert_eq!(head.get("vary"), None);
    let modified = httpdate::parse_http_date(head.get("last-modified").unwrap()).unwrap();
    assert!(before <= modified && modified <= SystemTime::now());
    let etag = head.get("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag}");

    let page = stage.get("/static/", "");
    assert_eq!(page.head.get("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(stage.gist("/static/none.bin", ""), (200, String::new()));
    assert_eq!(stage.gist("/elsewhere", ""), (200, "the application".into()));
    assert_eq!(stage.get("/bare/digits.bin", "").head.get("cache-control"), None);
}

#[test]
fn head_says_what_get_would_and_sends_nothing() {
    let stage = stage();
    let mut raw = stage.proxy.connect();
    for (range, status, length) in [("", 200, "10"), ("Range: bytes=0-1\r\n", 200, "10")] {
        raw.send(format!("HEAD /static/digits.bin HTTP/1.1\r\nHost: a\r\n{range}\r\n"));
        let head = raw.head();
        assert_eq!((head.status(), head.get("content-length")), (status, Some(length)));
    }
    assert_eq!(raw.get("/static/digits.bin").text(), "0123456789");
}

#[test]
fn one_range_is_sent_alone_and_several_are_the_whole() {
    let stage = stage();
    for (range, status, body, said) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=0-99", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=0-0, 99-", 206, "0", Some("bytes 0-0/10")),
        ("bytes=10-", 416, "", Some("bytes */10")),
        ("bytes=-0", 416, "", Some("bytes */10")),
        ("bytes=0-1, 3-4", 200, "0123456789", None),
        ("bytes=4-2", 200, "0123456789", None),
        ("pages=1", 200, "0123456789", None),
    ] {
        let answer = stage.get("/static/digits.bin", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status(), answer.text().as_str()), (status, body), "{range}");
        assert_eq!(answer.head.get("content-range"), said, "{range}");
    }
    assert_eq!(stage.gist("/static/none.bin", "Range: bytes=0-\r\n"), (200, String::new()));
}

#[test]
fn conditions_decide_before_ranges_do() {
    let stage = stage();
    let head = stage.get("/static/app.css", "").head;
    let (etag, modified) = (head.get("etag").unwrap(), head.get("last-modified").unwrap());
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let range = "Range: bytes=0-3\r\n";
    for (fields, status, body) in [
        (format!("If-None-Match: \"x\", W/{etag}\r\n"), 304, ""),
        (format!("If-None-Match: {etag}\r\nIf-Modified-Since: {old}\r\n{range}"), 304, ""),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {modified}\r\n{range}"), 206, "body"),
        (format!("If-Modified-Since: {modified}\r\n"), 304, ""),
        (format!("If-Match: \"x\"\r\nIf-None-Match: {etag}\r\n"), 412, ""),
        (format!("If-Match: {etag}\r\nIf-Unmodified-Since: {old}\r\n{range}"), 206, "body"),
        (format!("If-Unmodified-Since: {old}\r\n"), 412, ""),
        (format!("If-Range: {etag}\r\n{range}"), 206, "body"),
        (format!("If-Range: \"x\"\r\n{range}"), 200, "body { color: black }"),
        (format!("If-Range: W/{etag}\r\n{range}"), 200, "body { color: black }"),
        (format!("If-Range: {old}\r\n{range}"), 200, "body { color: black }"),
    ] {
        let answer = stage.get("/static/app.css", &fields);
        assert_eq!((answer.status(), answer.text().as_str()), (status, body), "{fields}");
        if status == 304 {
            let kept = ["etag", "last-modified", "cache-control", "vary"].map(|name| answer.head.has(name));
            assert_eq!((kept, answer.head.has("content-type")), ([true; 4], false), "{:?}", answer.head);
        }
    }
}

#[test]
fn a_file_that_changes_has_another_tag() {
    let stage = stage();
    let etag = |stage: &Stage| stage.get("/static/digits.bin", "").head.get("etag").unwrap().to_owned();
    let before = etag(&stage);
    assert_eq!(etag(&stage), before);
    fs::write(stage.www().join("digits.bin"), "9876543210").unwrap();
    assert_ne!(etag(&stage), before);
}

#[test]
fn a_client_gets_the_copy_that_it_takes_and_each_copy_has_a_tag_of_its_own() {
    let stage = stage();
    let copy = |accepted: &str| {
        let answer = stage.get("/static/app.css", &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!(answer.head.get("content-type"), Some("text/css; charset=utf-8"));
        assert_eq!(answer.head.get("vary"), Some("accept-encoding"));
        let coding = answer.head.get("content-encoding").map(str::to_owned);
        (answer.text(), coding, answer.head.get("etag").unwrap().to_owned())
    };
    let (body, coding, brotli) = copy("gzip, deflate, br, zstd");
    assert_eq!((body.as_str(), coding.as_deref()), ("(brotli)", Some("br")));
    let (body, coding, gzip) = copy("br;q=0.1, gzip");
    assert_eq!((body.as_str(), coding.as_deref()), ("(gzip)", Some("gzip")));
    let (body, coding, plain) = copy("br;q=0, zstd");
    assert_eq!((body.as_str(), coding.as_deref()), ("body { color: black }", None));
    assert!(brotli != gzip && gzip != plain && plain != brotli);
    let part = stage.get("/static/app.css", "Accept-Encoding: gzip\r\nRange: bytes=1-4\r\n");
    assert_eq!((part.text().as_str(), part.head.get("content-range")), ("gzip", Some("bytes 1-4/6")));
    let picture = stage.get("/static/digits.bin", "Accept-Encoding: gzip\r\n");
    assert_eq!(picture.head.get("vary"), None);
}

#[test]
fn a_folder_is_its_index_or_nothing_and_its_name_ends_with_a_slash() {
    let stage = stage();
    assert_eq!(stage.gist("/static/", ""), (200, "<p>home".into()));
    assert_eq!(stage.gist("/static/deep/", ""), (200, "<p>deep".into()));
    assert_eq!(stage.get("/static/empty/", "").status(), 404);
    assert_eq!(stage.get("/bare/", "").status(), 404);
    assert_eq!(stage.get("/static/digits.bin/", "").status(), 404);
    for (target, location) in [
        ("/static/deep", "/static/deep/"),
        ("/static/deep?a=b", "/static/deep/?a=b"),
        ("/static/a%20b", "/static/a%20b/"),
        ("/bare", "/bare/"),
        ("//static//deep", "/static/deep/"),
        ("//evil.example/..//static/deep", "/static/deep/"),
    ] {
        let answer = stage.get(target, "");
        assert_eq!((answer.status(), answer.head.get("location")), (301, Some(location)), "{target}");
    }
}

#[test]
fn nothing_leads_out_of_the_folder_and_hidden_files_stay_hidden() {
    let stage = stage();
    for (target, body) in [
        ("/static/inside.html", "<p>deep"),
        ("/static/.well-known/acme/token", "token"),
        ("/static/a%20b/c%25d.txt", "spaces"),
        ("/static/deep/../digits.bin", "0123456789"),
        ("/bare/digits.bin", "0123456789"),
    ] {
        assert_eq!(stage.gist(target, ""), (200, body.into()), "{target}");
    }
    for target in
        ["/static/../secret", "/static/%2e%2e/secret", "/static/..;/secret", "/static/deep/../../../secret"]
    {
        assert_eq!(stage.gist(target, ""), (200, "the application".into()), "{target}");
    }
    for target in [
        "/static/..%2fsecret",
        "/static/..%5csecret",
        "/static/..\\secret",
        "/static/%252e%252e/secret",
        "/static/digits.bin%00",
        "/static/%c0%ae%c0%ae/secret",
        "/static/link.txt",
        "/static/absolute.txt",
        "/static/up/secret",
        "/static/.git/config",
        "/static/.env",
        "/static/%2eenv",
        "/static/.well-known/../.env",
        "/static/none",
        "/hidden/digits.bin",
    ] {
        let (status, text) = stage.gist(target, "");
        assert!(matches!(status, 400 | 404) && !text.contains("secret"), "{target}: {status} {text}");
    }
    let long = format!("/static/{}", "a".repeat(300));
    assert_eq!(stage.get(&long, "").status(), 404);
}

#[test]
fn a_file_can_only_be_read() {
    let stage = stage();
    let mut raw = stage.proxy.connect();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        raw.send(format!("{method} /static/digits.bin HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        let answer = raw.answer();
        assert_eq!((answer.status(), answer.head.get("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(raw.get("/static/digits.bin").status(), 200);
}

/// Larger than what is read at once.
const LARGE: usize = 3_000_001;

#[test]
fn a_large_file_arrives_whole_however_slowly_it_is_taken() {
    let stage = stage();
    let bytes: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    fs::write(stage.www().join("large.bin"), &bytes).unwrap();
    let mut slow = stage.proxy.connect();
    slow.send("GET /static/large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let head: Head = slow.head();
    assert_eq!(head.length(), Some(LARGE));
    // Nobody else waits while it isn't taken.
    assert!(stage.get("/static/large.bin", "").body == bytes);
    assert!(slow.exactly(LARGE) == bytes);
    assert_eq!(slow.get("/static/digits.bin").text(), "0123456789");
    let part = stage.get("/static/large.bin", "Range: bytes=1000-2999999\r\n");
    assert!(part.body == bytes[1000..=2_999_999]);
    let sent = || stage.proxy.metric("perihelion_response_bytes_total", &[("site", "*")]);
    wait_until("they are counted", || sent() >= 2.0 * LARGE as f64);
}

#[test]
fn a_file_that_shrinks_on_the_way_cuts_the_connection() {
    let stage = stage();
    let path = stage.www().join("large.bin");
    fs::write(&path, vec![b'x'; 64 << 20]).unwrap();
    let mut raw: Raw = stage.proxy.connect();
    raw.send("GET /static/large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(raw.head().length(), Some(64 << 20));
    raw.exactly(1000);
    fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert!(raw.until_close().len() < (64 << 20) - 1000);
}
