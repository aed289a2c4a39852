//! Who the process is: rights are given up once its addresses are bound, and without that it doesn't serve.

use std::net::SocketAddr;

use crate::support::{Certificate, EventSource, Folder, Origin, Perihelion, Place, Reply, run, wait_until};

/// Only root can give something up.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// A place whose folder somebody without rights may enter, which a folder of tests doesn't let.
fn open(place: &Place) {
    let path = place.folder.path();
    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
}

const NOBODY: u32 = 65534;

#[test]
fn every_thread_is_somebody_without_rights_once_the_addresses_are_bound() {
    if !is_root() {
        return;
    }
    let origin = Origin::replying(|request| match request.target() {
        "/sse" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        _ => Reply::ok("ordinary"),
    });
    let place = Place::new();
    open(&place);
    Certificate::for_names(&["example.com"]).write(&place.folder, "site");
    // Below 1024, which nobody could bind.
    let low = SocketAddr::new(place.http().ip(), 81);
    let configuration = format!(
        "listen: [$HTTP, \"{low}\", {{ address: $TLS, tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}] }}]\n\
         upstream: {}\ncontrol: $CONTROL\nuser: nobody\ngroup: {NOBODY}\nstore: {{ path: $FOLDER/store }}\n",
        origin.url()
    );
    std::fs::create_dir(place.folder.path().join("store")).expect("a folder of our own");
    std::os::unix::fs::chown(place.folder.path().join("store"), Some(NOBODY), Some(NOBODY))
        .expect("root may");
    let proxy = Perihelion::start_at(place, &configuration, None);
    let mut threads = 0;
    for status in proxy.thread_statuses() {
        threads += 1;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of proc(5)");
            line.split_whitespace().map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), ["65534"; 4]);
        assert_eq!(field("Gid:"), ["65534"; 4]);
        assert_eq!(field("Groups:"), ["65534"]);
        for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(capabilities), ["0000000000000000"], "{capabilities}");
        }
        assert_eq!(field("NoNewPrivs:"), ["1"]);
    }
    assert!(threads >= 6, "{threads} threads");
    // It serves all the same, and says what it can't read again: the key is root's.
    assert_eq!(crate::support::Raw::connect(low).get("/").text(), "ordinary");
    let mut events = EventSource::open(proxy.http(), "/sse");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "kept and told");
    assert_eq!(events.next().data, "kept and told");
    assert!(proxy.metric("process_open_fds", &[]) > 5.0);
    wait_until("the log says it", || proxy.stderr().contains("site.key"));
}

#[test]
fn nothing_is_served_where_rights_can_not_be_given_up() {
    let place = Place::new();
    let configuration =
        place.fill("listen: $HTTP\nupstream: http://127.0.0.1:9\nuser: nobody\ngroup: 65534\n");
    let file = place.folder.write("perihelion.yaml", &configuration).display().to_string();
    let binary = env!("CARGO_BIN_EXE_perihelion");
    if is_root() {
        // Somebody else than nobody, who may not become nobody.
        let open = Folder::new();
        let copy = open.path().join("perihelion");
        std::fs::copy(binary, &copy).expect("a folder of our own");
        for path in [open.path(), place.folder.path()] {
            std::os::unix::fs::chown(path, Some(NOBODY - 1), Some(NOBODY - 1)).expect("root may");
        }
        let finished = std::process::Command::new("setpriv")
            .args(["--reuid=65533", "--regid=65533", "--clear-groups"])
            .arg(&copy)
            .args(["run", "-c", &file])
            .output()
            .expect("util-linux is everywhere");
        assert_eq!(finished.status.code(), Some(1));
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        assert!(said.contains("can't become the user `nobody`"), "{said}");
    } else {
        let finished = run(&["run", "-c", &file], "");
        assert!(finished.stderr.contains("can't become the user `nobody`"), "{}", finished.stderr);
    }
    // A name that nobody has is found when the file is checked.
    let unknown = place.fill("listen: $HTTP\nupstream: http://127.0.0.1:9\nuser: who-is-that\n");
    let file = place.folder.write("unknown.yaml", &unknown).display().to_string();
    let finished = run(&["check", "-c", &file], "");
    assert!(
        finished.stderr.contains("unknown.yaml:3:7: there is no user `who-is-that`"),
        "{}",
        finished.stderr
    );
}

/// The unit is one that systemd understands, and confines what it starts.
#[test]
fn systemd_loads_the_unit_and_finds_it_confined() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/systemd/perihelion.service");
    let analyze = |arguments: &[&str]| std::process::Command::new("systemd-analyze").args(arguments).output();
    let Ok(version) = analyze(&["--version"]) else {
        return eprintln!("skipped: needs systemd-analyze");
    };
    assert!(version.status.success());
    let place = Folder::new();
    // The binary isn't installed where tests run.
    let text = std::fs::read_to_string(unit).expect("a file of the repository");
    let here = text.replace("/usr/bin/perihelion", env!("CARGO_BIN_EXE_perihelion"));
    let copy = place.write("perihelion.service", &here).display().to_string();
    let verified = analyze(&["verify", "--man=no", &copy]).expect("it ran before");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("perihelion.service:"), "{said}");
    let security = analyze(&["security", "--offline=true", "--no-pager", "--threshold=18", &copy]);
    let security = security.expect("it ran before");
    let said = String::from_utf8_lossy(&security.stdout).into_owned();
    assert!(security.status.success(), "{said}");
}
