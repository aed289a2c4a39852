//! The command line: what it says, and with which code it ends.

use crate::support::{Certificate, Finished, Folder, Origin, Perihelion, Place, Reply, run};

fn check(text: &str) -> Finished {
    let folder = Folder::new();
    let file = folder.write("perihelion.yaml", text);
    run(&["check", "-c", file.to_str().unwrap()], "")
}

#[test]
fn version_and_help_end_with_0() {
    let version = run(&["--version"], "");
    assert_eq!(
        (version.code, version.stdout.trim()),
        (Some(0), concat!("perihelion ", env!("CARGO_PKG_VERSION")))
    );
    let help = run(&["--help"], "");
    assert_eq!(help.code, Some(0));
    for command in ["run", "check", "demo", "publish", "channels"] {
        assert!(help.stdout.contains(command), "{command}: {}", help.stdout);
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&["nonsense"][..], &["run"], &["run", "--nonsense"], &["publish"], &[]] {
        let finished = run(arguments, "");
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains("Usage"), "{finished:?}");
    }
    let nameless = run(&["publish", "", "x"], "");
    assert_eq!(nameless.code, Some(2), "{nameless:?}");
    assert!(nameless.stderr.contains("<CHANNEL>"), "{nameless:?}");
}

#[test]
fn a_good_file_passes_the_check() {
    let finished =
        check("listen: 127.0.0.1:8080\nupstream: http://127.0.0.1:8000\ncontrol: 127.0.0.1:7070\n");
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn every_error_of_a_file_is_said_in_one_run_with_its_place_and_the_nearest_key() {
    let finished = check(
        "listen: 127.0.0.1:8080\nupstraem: http://127.0.0.1:8000\ncontrol: 0.0.0.0:7070\n\
         limits:\n  request_heade: 4KiB\n  request_body: lots\ntimeouts: { idle: -1 }\nlog: { level: loud }\nlog: {}\n",
    );
    assert_eq!(finished.code, Some(1));
    for (place, words) in [
        ("perihelion.yaml:2:1", "`upstream`"),
        ("perihelion.yaml:3:10", "token"),
        ("perihelion.yaml:5:3", "`request_header`"),
        ("perihelion.yaml:6:17", "lots"),
        ("perihelion.yaml:7:19", "-1"),
        ("perihelion.yaml:8:15", "loud"),
        ("perihelion.yaml:9:1", "log"),
    ] {
        let said = finished.stderr.lines().any(|line| line.contains(place) && line.contains(words));
        assert!(said, "{place} {words}:\n{}", finished.stderr);
    }
}

#[test]
fn files_that_the_configuration_names_are_read_by_the_check() {
    let folder = Folder::new();
    let (chain, _) = Certificate::for_names(&["a.example"]).write(&folder, "a");
    let (_, other_key) = Certificate::for_names(&["a.example"]).write(&folder, "b");
    let with = |certificate: &str, key: &str| {
        check(&format!(
            "listen: [{{ address: 127.0.0.1:8443, tls: [{{ certificate: {certificate}, key: {key} }}] }}]\n\
             upstream: http://127.0.0.1:8000\n"
        ))
    };
    let missing = with("/nonexistent/a.pem", "/nonexistent/a.key");
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("/nonexistent/a.pem"), "{}", missing.stderr);
    assert_eq!(with(chain.to_str().unwrap(), other_key.to_str().unwrap()).code, Some(1));
    let key = folder.path().join("a.key");
    assert_eq!(with(chain.to_str().unwrap(), key.to_str().unwrap()).code, Some(0));
}

#[test]
fn a_file_that_is_not_there_ends_with_1() {
    for command in ["run", "check"] {
        let finished = run(&[command, "-c", "/nonexistent/perihelion.yaml"], "");
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains("/nonexistent/perihelion.yaml"), "{finished:?}");
    }
}

#[test]
fn run_ends_with_1_where_the_configuration_is_wrong_or_the_port_is_taken() {
    let folder = Folder::new();
    let bad = folder.write("bad.yaml", "listen: 127.0.0.1:8080\n");
    assert_eq!(run(&["run", "-c", bad.to_str().unwrap()], "").code, Some(1));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!("listen: {address}\nupstream: http://127.0.0.1:9\n");
    let file = folder.write("taken.yaml", &text);
    let finished = run(&["run", "-c", file.to_str().unwrap()], "");
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&address.to_string()), "{finished:?}");
}

#[test]
fn publish_and_channels_talk_to_a_running_proxy() {
    let proxy = Perihelion::before(&Origin::replying(|_| Reply::ok("")));
    let control = format!("http://{}", proxy.place.control());
    let published =
        run(&["publish", "--control", &control, "--event", "chat", "--id", "one", "news", "hello"], "");
    assert_eq!(published.code, Some(0), "{published:?}");
    assert_eq!(run(&["publish", "--control", &control, "news"], "from a pipe").code, Some(0));
    let history = proxy.control("GET", "/channels/news/messages", "").json();
    let message = |n: usize, key: &str| history["messages"][n][key].as_str().map(str::to_string);
    assert_eq!((message(0, "data"), message(0, "event")), (Some("hello".into()), Some("chat".into())));
    assert_eq!(message(1, "data").as_deref(), Some("from a pipe"));
    assert!(published.stdout.contains(&message(0, "id").unwrap()), "{published:?}");
    let channels = run(&["channels", "--control", &control], "");
    assert_eq!(channels.code, Some(0), "{channels:?}");
    assert!(channels.stdout.lines().any(|line| line.contains("news") && line.contains('2')), "{channels:?}");
}

#[test]
fn publish_carries_the_token_and_fails_without_it() {
    let configuration = "listen: $HTTP\nupstream: http://127.0.0.1:9\n\
                         control: { address: \"$CONTROL\", token: \"s3cret-s3cret-s3cret\" }\n";
    let proxy = Perihelion::start_at(Place::new(), configuration, Some("s3cret-s3cret-s3cret"));
    let control = format!("http://{}", proxy.place.control());
    let with = run(&["publish", "--control", &control, "--token", "s3cret-s3cret-s3cret", "news", "x"], "");
    assert_eq!(with.code, Some(0), "{with:?}");
    let without = run(&["publish", "--control", &control, "news", "x"], "");
    assert_eq!(without.code, Some(1), "{without:?}");
    assert_eq!(proxy.control("GET", "/channels/news", "").json()["messages"], 1);
}

#[test]
fn a_control_port_that_can_not_be_reached_ends_with_1() {
    for arguments in [
        &["publish", "--control", "http://127.0.0.1:9", "news", "x"][..],
        &["channels", "--control", "http://127.0.0.1:9"],
    ] {
        let finished = run(arguments, "");
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains("127.0.0.1:9"), "{finished:?}");
    }
}
