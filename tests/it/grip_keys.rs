//! Tokens of GRIP by pairs of keys, made by openssl: it checks what the proxy signs, and signs what the proxy checks.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::support::{Origin, Perihelion, Place, Reply, run};

/// Runs openssl in the folder of a place.
fn try_openssl(place: &Place, words: &str) -> Output {
    let done = Command::new("openssl").args(words.split(' ')).current_dir(place.folder.path()).output();
    done.expect("openssl is installed")
}

#[track_caller]
fn openssl(place: &Place, words: &str) {
    let done = try_openssl(place, words);
    assert!(done.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// `NAME.pem`, which nobody else can read, and `NAME.pub`.
fn pair(place: &Place, name: &str, words: &str) {
    openssl(place, &format!("{words} -out {name}.pem"));
    let path = place.folder.path().join(format!("{name}.pem"));
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("a file of our own");
    openssl(place, &format!("pkey -in {name}.pem -pubout -out {name}.pub"));
}

/// A place with pairs of ECDSA in both forms in which openssl writes them, and of RSA.
fn place() -> Place {
    let place = Place::new();
    pair(&place, "ec", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    pair(&place, "sec1", "ecparam -name prime256v1 -genkey");
    pair(&place, "rsa", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    place
}

fn signed_and_signature(token: &str) -> (&str, Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed, BASE64.decode(signature).unwrap())
}

/// Two numbers of 32 bytes as openssl has them.
fn in_der(numbers: &[u8]) -> Vec<u8> {
    // More zeros than are needed before a number are refused, and fewer make it negative.
    let number = |digits: &[u8]| {
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        let digits = &digits[zeros.min(31)..];
        let sign: &[u8] = if digits[0] < 0x80 { &[] } else { &[0] };
        [&[2, (sign.len() + digits.len()) as u8], sign, digits].concat()
    };
    let both = [number(&numbers[..32]), number(&numbers[32..])].concat();
    [&[0x30, both.len() as u8], &both[..]].concat()
}

/// The other way.
fn of_der(der: &[u8]) -> Vec<u8> {
    let first_end = 4 + usize::from(der[3]);
    let number = |digits: &[u8]| {
        let zeros = 32usize.saturating_sub(digits.len());
        [&vec![0; zeros][..], &digits[digits.len().saturating_sub(32)..]].concat()
    };
    [number(&der[4..first_end]), number(&der[first_end + 2..])].concat()
}

/// What a token says, once openssl has found that the pair has signed it.
#[track_caller]
fn claims(place: &Place, token: &str, name: &str, algorithm: &str) -> serde_json::Value {
    let (signed, signature) = signed_and_signature(token);
    let (header, claims) = signed.split_once('.').unwrap();
    let read = |part: &str| serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap();
    let header: serde_json::Value = read(header);
    assert_eq!(header, serde_json::json!({ "typ": "JWT", "alg": algorithm }));
    let signature = if algorithm == "ES256" { in_der(&signature) } else { signature };
    place.folder.write("signed", signed);
    std::fs::write(place.folder.path().join("signature"), signature).unwrap();
    openssl(place, &format!("dgst -sha256 -verify {name}.pub -signature signature signed"));
    read(claims)
}

/// A token that openssl signs.
fn token(place: &Place, name: &str, algorithm: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let header = BASE64.encode(format!(r#"{{"alg":"{algorithm}"}}"#));
    let signed = format!("{header}.{}", BASE64.encode(format!(r#"{{"exp":{}}}"#, now + 600)));
    place.folder.write("to-sign", &signed);
    openssl(place, &format!("dgst -sha256 -sign {name}.pem -out its-signature to-sign"));
    let signature = std::fs::read(place.folder.path().join("its-signature")).unwrap();
    let signature = if algorithm == "ES256" { of_der(&signature) } else { signature };
    format!("{signed}.{}", BASE64.encode(signature))
}

fn sent_token(origin: &Origin) -> String {
    origin.last().head.get("grip-sig").expect("a token").to_owned()
}

#[test]
fn requests_are_signed_by_the_private_key_of_a_pair() {
    let origin = Origin::replying(|_| Reply::ok("x"));
    let place = place();
    let text = format!(
        "listen: $HTTP\ncontrol: $CONTROL\ngrip: {{ key: 'file:$FOLDER/ec.pem', issuer: me }}\n\
         pools: {{ app: {{ servers: ['{}'] }} }}\nsites:\n  '*':\n    routes:\n      - {{ path: /, pool: app }}\n\
         \x20     - {{ path: /sec1, pool: app, grip: {{ key: 'file:$FOLDER/sec1.pem' }} }}\n\
         \x20     - {{ path: /rsa, pool: app, grip: {{ key: 'file:$FOLDER/rsa.pem' }} }}\n",
        origin.url()
    );
    let proxy = Perihelion::start_at(place, &text, None);
    for (target, name, algorithm) in
        [("/", "ec", "ES256"), ("/sec1", "sec1", "ES256"), ("/rsa", "rsa", "RS256")]
    {
        assert_eq!(proxy.get(target).status(), 200);
        let claims = claims(&proxy.place, &sent_token(&origin), name, algorithm);
        assert_eq!(claims["iss"], "me");
        assert!(claims["exp"].is_u64(), "{claims}");
    }
    // Another pair has not signed it.
    let other = try_openssl(&proxy.place, "dgst -sha256 -verify ec.pub -signature signature signed");
    assert!(!other.status.success());
}

#[test]
fn publishers_are_known_by_their_private_key() {
    let origin = Origin::replying(|_| Reply::ok("x"));
    for (name, algorithm) in [("ec", "ES256"), ("rsa", "RS256")] {
        let place = place();
        let text = format!(
            "listen: $HTTP\nupstream: {}\ncontrol: $CONTROL\ngrip: {{ publish_key: 'file:$FOLDER/{name}.pub' }}\n",
            origin.url()
        );
        let proxy = Perihelion::start_at(place, &text, None);
        let publish = |token: &str| {
            let field = format!("Authorization: Bearer {token}\r\n");
            let body = r#"{"items":[{"channel":"a","http-stream":{"content":"x"}}]}"#;
            proxy.control_with("POST", "/publish/", &field, body).status()
        };
        let good = token(&proxy.place, name, algorithm);
        assert_eq!(publish(&good), 200, "{algorithm}");
        assert_eq!(publish(&token(&proxy.place, "sec1", "ES256")), 401, "{algorithm}");
        assert_eq!(proxy.control("POST", "/publish/", "{}").status(), 401);
        // A public key is no secret, whatever a token says (RFC 8725 §2.1).
        let public = std::fs::read(proxy.place.folder.path().join(format!("{name}.pub"))).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
        for said in ["HS256", algorithm, "none"] {
            let claims = good.split('.').nth(1).unwrap();
            let signed = format!("{}.{claims}", BASE64.encode(format!(r#"{{"alg":"{said}"}}"#)));
            let tag = BASE64.encode(ring::hmac::sign(&key, signed.as_bytes()));
            assert_eq!(publish(&format!("{signed}.{tag}")), 401, "{said}");
            assert_eq!(publish(&format!("{signed}.")), 401, "{said}");
        }
    }
}

#[test]
fn a_key_that_pushpin_has_in_a_file_is_taken_over_as_it_is() {
    let origin = Origin::replying(|_| Reply::ok("x"));
    let place = place();
    let routes = format!("* {}\n", origin.url().replace("http://", ""));
    let routes = place.folder.write("routes", &routes).display().to_string();
    let conf = place.fill("[runner]\nhttp_port=$HTTP\n[proxy]\nsig_key=file:rsa.pem\n");
    let conf = place.folder.write("pushpin.conf", &conf).display().to_string();
    let imported = run(&["import", "pushpin", "routes", &routes, &conf], "");
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(!imported.stdout.contains("# not taken over"), "{}", imported.stdout);
    let control = format!("control: {}\n", place.control());
    let text = imported.stdout.replace("control: 127.0.0.1:5561\n", &control);
    let proxy = Perihelion::start_at(place, &text, None);
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(claims(&proxy.place, &sent_token(&origin), "rsa", "RS256")["iss"], "pushpin");
}

#[test]
fn a_pair_that_could_be_found_out_is_an_error_of_the_configuration() {
    let place = Place::new();
    pair(&place, "small", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024");
    for (key, ending) in [("key", "pem"), ("publish_key", "pub")] {
        let text = "listen: $HTTP\nupstream: http://127.0.0.1:1\ncontrol: $CONTROL\ngrip:\n";
        let text = place.fill(&format!("{text}  {key}: 'file:$FOLDER/small.{ending}'\n"));
        let file = place.folder.write("check.yaml", &text).display().to_string();
        let checked = run(&["check", "-c", &file], "");
        assert_eq!(checked.code, Some(1), "{checked:?}");
        let said = format!("check.yaml:5:{}: ", key.len() + 5);
        for said in [&said, "is neither ECDSA (P-256) nor RSA (2048 bits or more)"] {
            assert!(checked.stderr.contains(said), "{said}: {checked:?}");
        }
    }
}
