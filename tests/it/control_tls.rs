//! The control port over TLS: who may do what by a certificate, with certificates of openssl, asked by curl and by the
//! program's own commands.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Finished, Perihelion, Place, run, wait_until};

/// Runs openssl in the folder of a place.
#[track_caller]
fn openssl(place: &Place, words: &str) -> String {
    let done = Command::new("openssl").args(words.split(' ')).current_dir(place.folder.path()).output();
    let done = done.expect("openssl is installed");
    assert!(done.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// `NAME.pem` and `NAME.key` of somebody who signs others.
fn authority(place: &Place, name: &str) {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(place, &format!("{request} -subj /CN={name} -keyout {name}.key -out {name}.pem"));
}

/// `NAME.pem` and `NAME.key`, signed by an authority.
fn certificate(place: &Place, authority: &str, name: &str, subject: &str, extension: &str) {
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -utf8";
    openssl(place, &format!("{new} -subj {subject} -keyout {name}.key -out {name}.csr"));
    place.folder.write("extensions", extension);
    let sign = format!("x509 -req -days 2 -CA {authority}.pem -CAkey {authority}.key -CAcreateserial");
    openssl(place, &format!("{sign} -in {name}.csr -extfile extensions -out {name}.pem"));
    let key = place.folder.path().join(format!("{name}.key"));
    std::fs::set_permissions(key, Permissions::from_mode(0o600)).expect("a file of our own");
}

const CLIENT: &str = "extendedKeyUsage=clientAuth";

/// A place with an authority, a certificate of the control port, and several of clients.
fn place() -> Place {
    let place = Place::new();
    authority(&place, "ca");
    authority(&place, "other");
    serving(&place);
    certificate(&place, "ca", "shop", "/C=DE/O=Käse,Wurst/CN=shop", CLIENT);
    certificate(&place, "ca", "graphs", "/CN=graphs", CLIENT);
    certificate(&place, "ca", "operator", "/CN=operator", CLIENT);
    certificate(&place, "ca", "unknown", "/CN=unknown", CLIENT);
    certificate(&place, "other", "forged", "/CN=operator", CLIENT);
    place
}

fn serving(place: &Place) {
    let names = format!("subjectAltName=IP:{}", place.control().ip());
    certificate(place, "ca", "control", "/CN=control", &names);
}

/// What `openssl x509` says that a certificate's subject is.
fn subject(place: &Place, name: &str) -> String {
    let words = format!("x509 -noout -subject -nameopt RFC2253,-esc_msb -in {name}.pem");
    openssl(place, &words).trim().trim_start_matches("subject=").to_owned()
}

fn configuration(place: &Place, more: &str) -> String {
    let quoted = |name| subject(place, name).replace('\'', "''");
    format!(
        "listen: $HTTP\nupstream: http://127.0.0.1:9\ncontrol:\n  address: $CONTROL\n  \
         tls: {{ certificate: $FOLDER/control.pem, key: $FOLDER/control.key }}\n  \
         client_certificates:\n    ca: $FOLDER/ca.pem\n    subjects:\n      \
         - {{ subject: '{}', roles: publish }}\n      - {{ subject: '{}', roles: read }}\n      \
         - {{ subject: '{}', roles: admin }}\n{more}",
        quoted("shop"),
        quoted("graphs"),
        quoted("operator"),
    )
}

/// One request by curl: the status, 0 where there was no answer, and the body.
fn curl(place: &Place, identity: Option<&str>, path: &str, more: &[&str]) -> (u16, String) {
    let url = format!("https://{}{path}", place.control());
    let mut command = Command::new("curl");
    command.args(["-s", "--noproxy", "*", "--max-time", "20", "--cacert", "ca.pem", "-w", "\n%{http_code}"]);
    if let Some(name) = identity {
        command.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key")]);
    }
    let done = command.args(more).arg(&url).current_dir(place.folder.path()).output();
    let text = String::from_utf8(done.expect("curl is installed").stdout).expect("text");
    let (body, status) = text.rsplit_once('\n').expect("a status in the last line");
    (status.parse().expect("a number"), body.to_owned())
}

/// One of the program's own commands.
fn command(place: &Place, words: &[&str], more: &[&str]) -> Finished {
    let url = format!("https://{}", place.control());
    run(&[words, &["--control", &url], more].concat(), "")
}

#[test]
fn a_certificate_opens_what_its_subject_has_roles_for() {
    let place = place();
    let text = configuration(&place, "");
    let proxy = Perihelion::start_with_tls_control(place, &text);
    let status = |identity: &str, path: &str, more: &[&str]| curl(&proxy.place, Some(identity), path, more).0;
    let publish = ["-d", "hello"];
    for (identity, may_publish, may_read, may_delete) in
        [("shop", 200, 403, 403), ("graphs", 403, 200, 403), ("operator", 200, 200, 200)]
    {
        assert_eq!(status(identity, "/channels/news", &publish), may_publish, "{identity}");
        assert_eq!(status(identity, "/channels/news", &[]), may_read, "{identity}");
        assert_eq!(status(identity, "/channels/news", &["-X", "DELETE"]), may_delete, "{identity}");
    }
    let (refused, why) = curl(&proxy.place, Some("unknown"), "/channels", &[]);
    assert_eq!((refused, why.contains("CN=unknown")), (403, true), "{why}");
    // A browser would show the certificate for every page that asks.
    assert_eq!(status("operator", "/channels/news", &["-d", "x", "-H", "Origin: https://evil.example"]), 403);
    wait_until("the log says who", || proxy.stderr().contains("by=\"CN=operator\""));
    let metric = |start: &str| {
        let metrics = curl(&proxy.place, Some("graphs"), "/metrics", &[]).1;
        let line = metrics.lines().find(|line| line.starts_with(start)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<i64>().ok()).unwrap_or(0)
    };
    let refused = || metric("perihelion_control_refused_total{reason=\"tls\"}");
    let before = refused();
    for stranger in [None, Some("forged")] {
        assert_eq!(curl(&proxy.place, stranger, "/healthz", &[]).0, 0, "{stranger:?}");
    }
    wait_until("both are counted", || refused() == before + 2);
    assert!(metric("perihelion_tls_certificate_not_after") > 1_700_000_000);
}

#[test]
fn a_token_does_as_well_where_certificates_are_optional() {
    let place = place();
    let token = "  token: s3cret-s3cret\n";
    let text = configuration(&place, token).replace("    subjects:", "    mode: optional\n    subjects:");
    let proxy = Perihelion::start_with_tls_control(place, &text);
    let with = |identity, more: &[&str]| curl(&proxy.place, identity, "/channels", more).0;
    let good = ["-H", "Authorization: Bearer s3cret-s3cret"];
    let bad = ["-H", "Authorization: Bearer s3cret"];
    assert_eq!(with(None, &[]), 401);
    assert_eq!(with(None, &good), 200);
    assert_eq!(with(Some("shop"), &good), 200);
    assert_eq!(with(Some("graphs"), &[]), 200);
    // Who says a token has to know it.
    assert_eq!(with(Some("operator"), &bad), 401);
    assert_eq!(curl(&proxy.place, None, "/healthz", &[]).0, 200);
    assert_eq!(with(Some("forged"), &good), 0);
}

#[test]
fn publish_and_channels_speak_tls_and_show_a_certificate() {
    let place = place();
    let text = configuration(&place, "");
    let proxy = Perihelion::start_with_tls_control(place, &text);
    let file = |name: &str| proxy.place.folder.path().join(name).display().to_string();
    let (ca, shop, key) = (file("ca.pem"), file("shop.pem"), file("shop.key"));
    let identity = ["--ca", &ca, "--certificate", &shop, "--key", &key];
    let published = command(&proxy.place, &["publish", "news", "hello"], &identity);
    assert_eq!(published.code, Some(0), "{published:?}");
    let refused = command(&proxy.place, &["channels"], &identity);
    assert!(refused.stderr.contains("lacks the role"), "{refused:?}");
    // One file may hold both.
    let both = std::fs::read_to_string(file("graphs.pem")).unwrap()
        + &std::fs::read_to_string(file("graphs.key")).unwrap();
    let both = proxy.place.folder.write("both.pem", &both);
    std::fs::set_permissions(&both, Permissions::from_mode(0o600)).unwrap();
    let both = both.display().to_string();
    let listed = command(&proxy.place, &["channels"], &["--ca", &ca, "--certificate", &both]);
    assert!(listed.code == Some(0) && listed.stdout.contains("news"), "{listed:?}");
    for (more, reason) in [
        (&["--ca", &ca][..], "certificate"),
        (&["--ca", &file("other.pem"), "--certificate", &shop, "--key", &key], "certificate"),
        (&["--ca", &file("none.pem")], "none.pem"),
    ] {
        let failed = command(&proxy.place, &["channels"], more);
        assert_eq!(failed.code, Some(1), "{failed:?}");
        assert!(failed.stderr.to_lowercase().contains(reason), "{failed:?}");
    }
    let plain = run(&["channels", "--control", "http://127.0.0.1:9", "--ca", &ca], "");
    assert!(plain.code == Some(1) && plain.stderr.contains("https"), "{plain:?}");
}

#[test]
fn a_renewed_certificate_and_other_roles_are_taken_while_it_runs() {
    let place = place();
    let text = configuration(&place, "");
    let proxy = Perihelion::start_with_tls_control(place, &text);
    // The certificate that is shown, as PEM. Two that are made in one second have the same dates.
    let shown = || {
        curl(&proxy.place, Some("graphs"), "/channels", &["-o", "/dev/null", "-w", "%{certs}\n%{http_code}"])
            .1
    };
    let before = shown();
    assert!(before.contains("BEGIN CERTIFICATE"), "{before}");
    serving(&proxy.place);
    wait_until("the certificate in use is the new one", || {
        let now = shown();
        now.contains("BEGIN CERTIFICATE") && now != before
    });
    let graphs = subject(&proxy.place, "graphs");
    let other = configuration(&proxy.place, "")
        .replace(&format!("'{graphs}', roles: read"), &format!("'{graphs}', roles: [read, publish]"));
    proxy.write_configuration(&other);
    assert_eq!(curl(&proxy.place, Some("graphs"), "/channels/news", &["-d", "x"]).0, 403);
    assert_eq!(curl(&proxy.place, Some("operator"), "/reload", &["-X", "POST"]).0, 200);
    assert_eq!(curl(&proxy.place, Some("graphs"), "/channels/news", &["-d", "x"]).0, 200);
}

#[test]
fn what_does_not_speak_tls_gets_no_answer_and_is_in_nobodys_way() {
    let place = place();
    let text = configuration(&place, "");
    let proxy = Perihelion::start_with_tls_control(place, &text);
    let _silent = std::net::TcpStream::connect(proxy.place.control()).unwrap();
    let mut plain = crate::support::Raw::connect(proxy.place.control());
    plain.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let answered = String::from_utf8_lossy(&plain.until_close()).contains("HTTP/1.1");
    assert!(!answered);
    assert_eq!(curl(&proxy.place, Some("graphs"), "/channels", &[]).0, 200);
}
