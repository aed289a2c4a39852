//! The reader of requests against random ones, spoilt ones, and hyper's opinion of what was read.

use std::cell::RefCell;

use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::head_cases::{CASES, Connection, Expected, outcome};

/// The body of the only request that hyper finds in these bytes; an error where it finds a fault.
fn body_in_hyper(bytes: &[u8]) -> Result<Vec<Vec<u8>>, hyper::Error> {
    let bodies = RefCell::new(Vec::new());
    let answer = hyper::service::service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
        let body = request.into_body().collect().await?.to_bytes();
        bodies.borrow_mut().push(body.to_vec());
        Ok::<_, hyper::Error>(hyper::Response::new(String::new()))
    });
    let served = async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.expect("the pipe is open and large enough");
        client.shutdown().await.expect("the pipe is open");
        let mut http = hyper::server::conn::http1::Builder::new();
        http.half_close(true).serve_connection(hyper_util::rt::TokioIo::new(server), answer).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("no drivers, nothing to fail");
    runtime.block_on(served)?;
    Ok(bodies.into_inner())
}

/// Each message alone, since one of HTTP/1.0 ends a connection of hyper's.
fn check_against_hyper(bytes: &[u8], connection: &Connection) {
    let mut start = 0;
    for (end, body) in connection.ends.iter().zip(&connection.bodies) {
        let message = &bytes[start..*end];
        let found = body_in_hyper(message);
        assert!(
            matches!(&found, Ok(bodies) if bodies == std::slice::from_ref(body)),
            "{}: {found:?}",
            message.escape_ascii()
        );
        start = *end;
    }
}

#[test]
fn what_is_read_is_one_whole_request_for_hyper() {
    for (input, _) in CASES.iter().filter(|(_, expected)| *expected == Expected::Pass) {
        let bytes = input.bytes();
        check_against_hyper(&bytes, &outcome(&bytes, &[usize::MAX], usize::MAX));
    }
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "OPTIONS", "x-y"]);
    let target = "/[a-z%/.?&=]{0,40}";
    let field = ("[A-Z][a-z]{0,6}-X", "[ -~]{0,30}").prop_map(|(name, value)| format!("{name}: {value}\r\n"));
    let fields = prop::collection::vec(field, 0..8).prop_map(|fields| fields.concat());
    (method, target, fields, body(), any::<bool>()).prop_map(
        |(method, target, fields, (framing, body), early_crlf)| {
            let start = if early_crlf { "\r\n" } else { "" };
            let head =
                format!("{start}{method} {target} HTTP/1.1\r\n{fields}Host: a.example:80\r\n{framing}\r\n");
            [head.as_bytes(), &body].concat()
        },
    )
}

/// Framing fields and the bytes of a body.
fn body() -> impl Strategy<Value = (String, Vec<u8>)> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let chunk = (prop::collection::vec(any::<u8>(), 1..60), "(;[a-z]{1,5}(=\"[a-z ]{0,5}\")?)?").prop_map(
        |(data, extension)| [format!("{:x}{extension}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat(),
    );
    let trailers =
        prop::collection::vec("[A-Z][a-z]{0,9}: [!-~]{0,9}\r\n", 0..3).prop_map(|lines| lines.concat());
    let chunks = (prop::collection::vec(chunk, 0..6), trailers).prop_map(|(chunks, trailers)| {
        [&chunks.concat()[..], b"0\r\n", trailers.as_bytes(), b"\r\n"].concat()
    });
    prop_oneof![
        Just((String::new(), Vec::new())),
        bytes().prop_map(|bytes| (format!("Content-Length: {}\r\n", bytes.len()), bytes)),
        chunks.prop_map(|bytes| ("Transfer-Encoding: chunked\r\n".to_owned(), bytes)),
    ]
}

proptest! {
    #[test]
    fn good_requests_are_read_one_by_one(
        requests in prop::collection::vec(request(), 1..6),
        lengths in prop::collection::vec(1..400_usize, 1..20),
        room in 1..600_usize,
    ) {
        let connection = outcome(&requests.concat(), &lengths, room);
        let ends: Vec<usize> = requests.iter().scan(0, |end, request| { *end += request.len(); Some(*end) }).collect();
        prop_assert!(connection.reader.is_idle());
        prop_assert_eq!(&connection.ends, &ends);
        check_against_hyper(&requests.concat(), &connection);
    }

    #[test]
    fn spoilt_requests_fare_the_same_however_they_are_cut(
        requests in prop::collection::vec(request(), 1..4),
        spoils in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\r\n\0 :;,0x\t\xff".to_vec())), 0..4),
        lengths in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let mut bytes = requests.concat();
        for (at, byte) in spoils {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = outcome(&bytes, &[usize::MAX], usize::MAX);
        let pieces = outcome(&bytes, &lengths, usize::MAX);
        // Of several faults, the one that is named may differ.
        prop_assert_eq!(whole.status(), pieces.status());
        prop_assert_eq!(&whole.ends, &pieces.ends);
        prop_assert_eq!(&whole.bodies, &pieces.bodies);
        check_against_hyper(&bytes, &whole);
    }

    #[test]
    fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), lengths in prop::collection::vec(1..30_usize, 1..9)) {
        let connection = outcome(&bytes, &lengths, usize::MAX);
        prop_assert!(connection.ends.iter().all(|end| *end <= bytes.len()));
    }
}
