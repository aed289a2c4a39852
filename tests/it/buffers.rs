//! An answer that its client takes slowly waits in the proxy: the application is free at its last byte, nothing is
//! delayed, nothing lost, and memory and disk stay within their bounds.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::{
    DEADLINE, Folder, Origin, Perihelion, Raw, Received, Reply, Then, hash, look_for, noise, wait_until,
};

const KIBIBYTE: usize = 1 << 10;
const MEBIBYTE: usize = 1 << 20;
/// More than the sockets of one connection take by themselves where the client's side is small.
const PAGE: usize = 8 * MEBIBYTE;
/// Longest wait for pages: each takes some hundred turns of several threads.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client whose own side takes as little as the system allows, and that has asked for something.
fn asks_and_reads_nothing(proxy: &Perihelion, target: &str) -> Raw {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&proxy.http().into()).unwrap();
    let mut raw = Raw::from_tcp(socket.into());
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\nAccept-Encoding: gzip\r\n\r\n"));
    raw
}

/// One with one worker: it answers with its noise, or with a word where that is asked for.
fn one_worker(page: usize) -> Origin {
    let page = noise(page);
    Origin::replying(move |request| match request.target() {
        "/page" => Reply::ok(&page),
        "/chunked" => Reply::ok(&page).chunked(),
        "/until-close" => Reply::ok(&page).until_close(),
        "/stream" => Reply::ok(&page).with("Content-Type", "Text/Event-Stream; charset=utf-8"),
        "/no" => Reply::ok(&page).with("X-Accel-Buffering", "no"),
        "/html" => Reply::ok(&page).with("Content-Type", "text/html"),
        "/yes" => Reply::ok(&page).with("X-Accel-Buffering", "Yes"),
        _ => Reply::ok("next"),
    })
}

/// A proxy that gives the application one connection, so that who is behind waits for who is before.
fn before(origin: &Origin, route: &str, more: &str) -> Perihelion {
    before_with_queue("10m", origin, route, more)
}

fn before_with_queue(timeout: &str, origin: &Origin, route: &str, more: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: {:?}, max_connections: 1, queue: {{ timeout: {timeout} }} }} }}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app{route} }}] }} }}\n{more}\n",
        origin.url()
    ))
}

#[test]
fn trap_1_the_application_is_free_at_its_last_byte_though_the_client_reads_nothing() {
    for target in ["/page", "/chunked"] {
        let origin = one_worker(PAGE);
        let proxy = before(&origin, "", "");
        let mut sleeper = asks_and_reads_nothing(&proxy, target);
        origin.wait_for_request(0);
        assert_eq!(proxy.get("/next").text(), "next");
        // Both went over the same connection, one after the other.
        assert_eq!((origin.connections(), origin.last().place), (1, 1));
        assert!(proxy.metric("perihelion_buffer_disk_bytes", &[]) > 0.0);
        assert_eq!(hash(&sleeper.answer().body), hash(&noise(PAGE)), "{target}");
        assert_eq!(sleeper.get("/next").text(), "next");
        proxy.wait_metric("perihelion_buffer_spills_total", &[("kind", "response")], 1.0);
        proxy.wait_metric("perihelion_buffer_disk_bytes", &[], 0.0);
        proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_waits_as_any_other() {
    let origin = one_worker(PAGE);
    let proxy = before(&origin, "", "");
    let mut sleeper = asks_and_reads_nothing(&proxy, "/until-close");
    wait_until("it has answered", || origin.received().len() == 1 && origin.open_connections() == 0);
    assert_eq!(hash(&sleeper.answer().body), hash(&noise(PAGE)));
}

#[test]
fn an_answer_that_has_room_in_memory_needs_no_disk() {
    let origin = one_worker(PAGE);
    let proxy = before(&origin, "", "buffers: { response: 16MiB, disk: off }");
    let mut sleeper = asks_and_reads_nothing(&proxy, "/page");
    origin.wait_for_request(0);
    assert_eq!(proxy.get("/next").text(), "next");
    assert!(proxy.metric("perihelion_buffer_bytes", &[("kind", "response")]) > (PAGE / 2) as f64);
    assert_eq!(hash(&sleeper.answer().body), hash(&noise(PAGE)));
    assert_eq!(proxy.metric("perihelion_buffer_spills_total", &[]), 0.0);
}

#[test]
fn an_answer_that_is_compressed_on_its_way_waits_as_any_other() {
    let origin = one_worker(PAGE);
    let proxy = before(&origin, ", compress: { encodings: gzip, types: text/html }", "");
    let mut sleeper = asks_and_reads_nothing(&proxy, "/html");
    let mut next = proxy.connect();
    origin.wait_for_request(0);
    next.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let free = look_for(PATIENCE, || (origin.received().len() == 2).then_some(()));
    assert!(free.is_some(), "it is not free after {PATIENCE:?}");
    assert_eq!(next.answer().text(), "next");
    let answer = sleeper.answer();
    assert_eq!(answer.head.get("content-encoding"), Some("gzip"));
    let mut page = Vec::new();
    flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut page).unwrap();
    assert_eq!(hash(&page), hash(&noise(PAGE)));
}

#[test]
fn what_may_not_wait_is_read_as_fast_as_the_client_takes_it() {
    let cases = [
        ("/stream", "", false),
        ("/no", "", false),
        ("/page", ", buffer: off", false),
        ("/page", ", buffer: request", false),
        ("/stream", ", buffer: response", false),
        ("/yes", ", buffer: off", true),
        ("/page", ", buffer: [response, request]", true),
    ];
    let check = |(target, route, waits): (&str, &str, bool)| {
        let origin = one_worker(PAGE);
        // Who waits in vain does so for as long as this.
        let proxy = before_with_queue(if waits { "30s" } else { "2s" }, &origin, route, "");
        let mut sleeper = asks_and_reads_nothing(&proxy, target);
        origin.wait_for_request(0);
        // Whoever comes next is served, or waits in vain for the only connection.
        let next = proxy.get("/next").status();
        assert_eq!(next, if waits { 200 } else { 503 }, "{target} {route}");
        let answer = sleeper.answer();
        assert!(!answer.head.has("x-accel-buffering"));
        assert_eq!(hash(&answer.body), hash(&noise(PAGE)), "{target} {route}");
    };
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || check(case));
        }
    });
}

/// An application that says one piece each time it is told to.
fn piecewise(head: &'static str) -> (Origin, SyncSender<Vec<u8>>) {
    let (tell, told): (SyncSender<Vec<u8>>, Receiver<Vec<u8>>) = sync_channel(100);
    let told = Mutex::new(told);
    let origin = Origin::new(move |_: &Received, socket: &mut Socket| {
        socket.write_all(head.as_bytes()).unwrap();
        loop {
            let piece = told.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            socket.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
            socket.write_all(&piece).unwrap();
            socket.write_all(b"\r\n").unwrap();
            if piece.is_empty() {
                return Then::KeepAlive;
            }
        }
    });
    (origin, tell)
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_client_that_has_caught_up_gets_each_piece_at_once_again() {
    let (origin, tell) = piecewise(CHUNKED);
    let proxy = before(&origin, "", "");
    let mut client = asks_and_reads_nothing(&proxy, "/");
    let much = noise(PAGE);
    tell.send(much.clone()).unwrap();
    proxy.wait_metric("perihelion_buffer_spills_total", &[], 1.0);
    assert_eq!(client.head().status(), 200);
    let mut body = Vec::new();
    while body.len() < PAGE {
        body.extend_from_slice(&client.chunk().unwrap());
    }
    assert_eq!(hash(&body), hash(&much));
    for piece in ["a", "few", "words"] {
        tell.send(piece.into()).unwrap();
        assert_eq!(client.chunk().unwrap(), piece.as_bytes());
    }
    tell.send(Vec::new()).unwrap();
    assert_eq!(client.chunk(), None);
}

#[test]
fn trailers_come_behind_what_waited() {
    let body = noise(PAGE);
    let sent = body.clone();
    let origin = Origin::new(move |_: &Received, socket: &mut Socket| {
        let head = CHUNKED.replace("OK\r\n", "OK\r\nTrailer: X-Checksum\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(format!("{PAGE:x}\r\n").as_bytes()).unwrap();
        socket.write_all(&sent).unwrap();
        socket.write_all(b"\r\n0\r\nX-Checksum: 1234\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    let proxy = before(&origin, "", "");
    let mut client = Raw::connect(proxy.http());
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    proxy.wait_metric("perihelion_upstream_connections", &[("state", "idle")], 1.0);
    let answer = client.answer();
    assert_eq!(hash(&answer.body), hash(&body));
    assert_eq!(answer.trailers.len(), 1);
}

#[test]
fn an_answer_that_breaks_off_while_it_waits_is_never_taken_for_whole() {
    let origin = Origin::new(move |_: &Received, socket: &mut Socket| {
        socket
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * PAGE).as_bytes())
            .unwrap();
        socket.write_all(&noise(PAGE)).unwrap();
        Then::Close
    });
    let proxy = before(&origin, "", "");
    let mut client = asks_and_reads_nothing(&proxy, "/");
    proxy.wait_metric("perihelion_upstream_errors_total", &[("reason", "truncated")], 1.0);
    assert_eq!(client.head().length(), Some(2 * PAGE));
    assert!(noise(PAGE).starts_with(&client.until_close()));
}

#[test]
fn a_client_that_leaves_takes_what_waited_for_it_along() {
    let origin = one_worker(PAGE);
    let proxy = before(&origin, "", "");
    let sleeper = asks_and_reads_nothing(&proxy, "/page");
    origin.wait_for_request(0);
    assert_eq!(proxy.get("/next").text(), "next");
    assert!(proxy.metric("perihelion_buffer_disk_bytes", &[]) > 0.0);
    drop(sleeper);
    proxy.wait_metric("perihelion_buffer_disk_bytes", &[], 0.0);
    proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
}

#[test]
fn the_bounds_of_memory_and_disk_slow_applications_down_and_everything_arrives() {
    const CLIENTS: usize = 12;
    let origin = one_worker(PAGE);
    let more = "buffers: { memory: 2MiB, response: 1MiB, disk: 4MiB }";
    let proxy = Perihelion::before_with(&origin, more);
    let mut sleepers: Vec<Raw> = (0..CLIENTS).map(|_| asks_and_reads_nothing(&proxy, "/page")).collect();
    wait_until("all of them wait", || {
        proxy.metric("perihelion_buffer_full_total", &[("kind", "response")]) >= CLIENTS as f64
    });
    assert_eq!(proxy.metric("perihelion_buffer_limit_bytes", &[]), (2 * MEBIBYTE) as f64);
    // The bound, and what each connection had read when it was reached.
    let memory = proxy.metric("perihelion_buffer_bytes", &[]);
    assert!(memory < (2 * MEBIBYTE + CLIENTS * 640 * KIBIBYTE) as f64, "{memory}");
    let disk = proxy.metric("perihelion_buffer_disk_bytes", &[]);
    assert!(disk <= (4 * MEBIBYTE) as f64, "{disk}");
    assert_eq!(proxy.get("/next").text(), "next");
    let page = hash(&noise(PAGE));
    std::thread::scope(|scope| {
        for sleeper in &mut sleepers {
            scope.spawn(|| assert_eq!(hash(&sleeper.answer().body), page));
        }
    });
    proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
}

#[test]
fn a_crowd_that_reads_nothing_keeps_no_worker_while_the_disk_has_room() {
    const CLIENTS: usize = 10;
    let origin = one_worker(PAGE);
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: {:?}, max_connections: 1, queue: {{ timeout: 10m }} }} }}\n\
         sites: {{ \"*\": app }}\nbuffers: {{ memory: 1MiB }}\n",
        origin.url()
    ));
    let mut sleepers: Vec<Raw> = (0..CLIENTS).map(|_| asks_and_reads_nothing(&proxy, "/page")).collect();
    let all = look_for(PATIENCE, || (origin.received().len() == CLIENTS).then_some(()));
    assert!(all.is_some(), "{} of {CLIENTS} were served", origin.received().len());
    assert_eq!(proxy.get("/next").text(), "next");
    // Each has a piece in hand, for which the last quarter and more is there.
    let memory = proxy.metric("perihelion_buffer_bytes", &[]);
    assert!(memory <= (MEBIBYTE + MEBIBYTE / 4) as f64, "{memory}");
    let page = hash(&noise(PAGE));
    std::thread::scope(|scope| {
        for sleeper in &mut sleepers {
            scope.spawn(|| assert_eq!(hash(&sleeper.answer().body), page));
        }
    });
    proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
    proxy.wait_metric("perihelion_buffer_disk_bytes", &[], 0.0);
}

/// A file system that is full after a megabyte, in a folder of its own, which outlasts it.
struct SmallDisk(Folder);

impl SmallDisk {
    /// `None`, with a word about it, where this process may not mount one.
    fn mount(test: &str) -> Option<SmallDisk> {
        let folder = Folder::new();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).output();
        if mount.is_ok_and(|done| done.status.success()) {
            return Some(SmallDisk(folder));
        }
        eprintln!("{test} is skipped: only root may mount a small file system");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The files of a proxy that was killed a moment ago may still be open.
        let done = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(std::thread::panicking() || done.is_ok_and(|done| done.success()));
    }
}

#[test]
fn a_file_system_that_is_full_slows_readers_down_and_streams_uploads() {
    let test = "a_file_system_that_is_full_slows_readers_down_and_streams_uploads";
    let Some(small) = SmallDisk::mount(test) else { return };
    let page = noise(PAGE);
    let sent = page.clone();
    let origin = Origin::replying(move |request| match request.target() {
        "/page" => Reply::ok(&sent),
        "/upload" => Reply::ok(hash(&request.body)),
        _ => Reply::ok("next"),
    });
    let configuration = format!(
        "listen: $HTTP\ncontrol: $CONTROL\nupstream: {}\n\
         buffers: {{ folder: {}, request: 64KiB, response: 64KiB }}\n",
        origin.url(),
        small.0.path().display()
    );
    let proxy = Perihelion::start(&configuration);
    let mut sleepers: Vec<Raw> = (0..3).map(|_| asks_and_reads_nothing(&proxy, "/page")).collect();
    wait_until("the disk is full", || proxy.metric("perihelion_buffer_disk_errors_total", &[]) >= 1.0);
    let mut uploader = proxy.connect();
    uploader.send(format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {PAGE}\r\n\r\n"));
    uploader.send(&page);
    let answer = uploader.answer();
    assert_eq!((answer.status(), answer.text()), (200, hash(&page)));
    assert_eq!(proxy.get("/next").text(), "next");
    std::thread::scope(|scope| {
        for sleeper in &mut sleepers {
            scope.spawn(|| assert_eq!(hash(&sleeper.answer().body), hash(&page)));
        }
    });
    proxy.wait_metric("perihelion_buffer_bytes", &[], 0.0);
    proxy.wait_metric("perihelion_buffer_disk_bytes", &[], 0.0);
}

#[test]
fn a_folder_that_can_not_be_written_to_is_as_no_disk() {
    let origin = one_worker(PAGE);
    let proxy = before(&origin, "", "buffers: { folder: $FOLDER }");
    // Away under its feet.
    let folder = proxy.place.folder.path().to_path_buf();
    let aside = folder.with_extension("aside");
    std::fs::rename(&folder, &aside).unwrap();
    let mut sleeper = asks_and_reads_nothing(&proxy, "/page");
    proxy.wait_metric("perihelion_buffer_disk_errors_total", &[], 1.0);
    assert_eq!(hash(&sleeper.answer().body), hash(&noise(PAGE)));
    std::fs::rename(&aside, &folder).unwrap();
}

#[test]
fn nothing_stays_on_disk_after_kill_9() {
    let origin = one_worker(PAGE);
    let mut proxy = before(&origin, "", "buffers: { folder: $FOLDER }");
    let _sleeper = asks_and_reads_nothing(&proxy, "/page");
    origin.wait_for_request(0);
    assert_eq!(proxy.get("/next").text(), "next");
    assert!(proxy.metric("perihelion_buffer_disk_bytes", &[]) > 0.0);
    let files = || -> Vec<String> {
        let entries = std::fs::read_dir(proxy.place.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(files(), ["perihelion.yaml"]);
    proxy.signal("KILL");
    let left = std::fs::read_dir(proxy.place.folder.path()).unwrap().count();
    proxy.wait_exit();
    assert_eq!(left, 1);
}
