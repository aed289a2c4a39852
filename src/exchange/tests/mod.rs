//! Exchanges between a raw client and an application that follows a script, with a real HTTP connection between.

mod stage;

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use stage::{Proxy, application, gist, say, talk};

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_small_answer_comes_whole_and_frees_the_application_at_once() {
    let (address, heard) = application(&[
        "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Comet-Retry: 5\r\nKeep-Alive: timeout=9\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n",
    ]);
    let proxy = Rc::new(Proxy::new(address));
    let (answer, _) = say(&proxy, GET).await;
    assert_eq!(gist(&answer), ("HTTP/1.1 200 Fine", "hi"));
    let lower = answer.to_ascii_lowercase();
    assert!(!lower.contains("comet") && !lower.contains("keep-alive") && lower.contains("content-length: 2"));
    let request = heard.recv().unwrap();
    assert!(request.starts_with("GET /a?b HTTP/1.1\r\nhost: example\r\nx-forwarded-for: 192.0.2.7\r\n"));
    assert!(request.contains("x-comet-position: a-7\r\n"), "{request}");
    let (answer, _) = say(&proxy, GET).await;
    assert!(answer.contains("content-length: 2\r\n") && answer.ends_with("\r\n\r\nho"), "{answer}");
    assert_eq!(proxy.pool.connections(0), (0, 1));
    assert!(
        proxy.metric(r#"perihelion_requests_total{code="200",method="GET",protocol="h1",site="site"} 2"#)
    );
    assert!(proxy.metric(r#"perihelion_response_bytes_total{site="site"} 4"#));
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (address, _heard) = application(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    ]);
    let proxy = Rc::new(Proxy::new(address));
    let (answer, _) = say(&proxy, &GET.replace("GET", "HEAD")).await;
    assert!(answer.contains("content-length: 9\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    for status in ["HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified"] {
        let (answer, _) = say(&proxy, GET).await;
        assert_eq!(gist(&answer), (status, ""));
        assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");
    }
    assert_eq!(proxy.pool.connections(0), (0, 1));
}

#[tokio::test]
async fn request_bodies_that_are_streamed_reach_the_application_whatever_the_method() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (address, heard) = application(vec![ok; 4].leak());
    let mut proxy = Proxy::new(address);
    proxy.route.buffer.request = false;
    let proxy = Rc::new(proxy);
    for method in ["POST", "GET"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        let (answer, _) = say(&proxy, &format!("{head}Content-Length: 5\r\n\r\nhello")).await;
        assert_eq!(gist(&answer).0, "HTTP/1.1 200 OK");
        assert!(heard.recv().unwrap().ends_with("\r\n\r\nhello"));
        let (answer, _) =
            say(&proxy, &format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"))
                .await;
        assert_eq!(gist(&answer).0, "HTTP/1.1 200 OK");
        assert!(heard.recv().unwrap().ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    }
    assert!(proxy.metric(r#"perihelion_request_bytes_total{site="site"} 20"#));
}

#[tokio::test]
async fn a_body_that_grows_over_the_limit_is_refused_midway() {
    let (address, _heard) = application(&[]);
    let proxy = Rc::new(Proxy::new(address));
    let chunk = format!("40\r\n{}\r\n", "x".repeat(64));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (answer, _) = say(&proxy, &format!("{head}{chunk}{chunk}{chunk}")).await;
    assert_eq!(gist(&answer).0, "HTTP/1.1 413 Payload Too Large");
    assert!(answer.contains("connection: close\r\n"));
    assert_eq!(proxy.pool.connections(0), (0, 0));
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_once_the_application_is_there() {
    let (address, heard) = application(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let proxy = Rc::new(Proxy::new(address));
    let (answer, _) = talk(&proxy, async |mut socket| {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        socket.write_all(head).await.unwrap();
        let mut go_on = [0; 25];
        socket.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        socket.write_all(b"hi").await.unwrap();
        let mut rest = String::new();
        socket.read_to_string(&mut rest).await.unwrap();
        rest
    })
    .await;
    assert_eq!(gist(&answer).0, "HTTP/1.1 200 OK");
    let request = heard.recv().unwrap();
    assert!(request.ends_with("\r\n\r\nhi") && !request.contains("expect"), "{request}");
}

#[tokio::test]
async fn a_stale_connection_is_replaced_where_the_request_can_be_repeated() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (address, _heard) = application(vec![ok, "", ok, ""].leak());
    let proxy = Rc::new(Proxy::new(address));
    assert_eq!(gist(&say(&proxy, GET).await.0).0, "HTTP/1.1 200 OK");
    assert_eq!(gist(&say(&proxy, GET).await.0).0, "HTTP/1.1 200 OK");
    assert!(proxy.metric(r#"perihelion_upstream_retries_total{pool="app",reason="stale"} 1"#));
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let (answer, _) = say(&proxy, post).await;
    assert_eq!(gist(&answer).0, "HTTP/1.1 502 Bad Gateway");
}

#[tokio::test]
async fn a_server_that_breaks_its_promise_is_never_taken_for_whole() {
    let (address, _heard) = application(&[
        "!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n!",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n!",
    ]);
    let proxy = Rc::new(Proxy::new(address));
    for _ in 0..4 {
        let (answer, _) = say(&proxy, GET).await;
        assert_eq!(gist(&answer).0, "HTTP/1.1 502 Bad Gateway");
    }
    let (answer, _) = say(&proxy, GET).await;
    assert!(!answer.contains("\r\n0\r\n"), "{answer}");
    assert_eq!(proxy.pool.connections(0), (0, 0));
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up() {
    let (address, _heard) = application(&["HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun"]);
    let proxy = Rc::new(Proxy::new(address));
    let (answer, _) = say(&proxy, GET).await;
    assert_eq!(
        gist(&answer),
        ("HTTP/1.1 504 Gateway Timeout", "504 Gateway Timeout: the server did not answer in time\n")
    );
    let (answer, _) = say(&proxy, GET).await;
    assert_eq!(gist(&answer), ("HTTP/1.1 200 OK", "begun"));
}

#[tokio::test]
async fn an_instruction_takes_the_connection_over_and_frees_the_application() {
    let (address, _heard) = application(&[
        "HTTP/1.1 201 Created\r\nX-Comet-Subscribe: news\r\nContent-Type: a/b\r\nConnection: x\r\nContent-Length: 5\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nX-Comet-Subscribe: news\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Comet-Subscribe: news;since=yesterday\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Comet-Subscribe: news\r\nContent-Length: 101\r\n\r\n!",
    ]);
    let proxy = Rc::new(Proxy::new(address));
    let (answer, left) = say(&proxy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer, "");
    let Some((hold, permit)) = left else { panic!("the connection is held") };
    assert_eq!((hold.answer.status.as_u16(), &hold.answer.body[..]), (201, &b"first"[..]));
    assert_eq!(hold.answer.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["content-type"]);
    assert!(hold.client.keep_alive && hold.subject.is_some());
    assert_eq!(proxy.pool.connections(0), (0, 1));
    let (answer, _) = say(&proxy, GET).await;
    assert_eq!(gist(&answer).0, "HTTP/1.1 503 Service Unavailable");
    assert!(answer.contains("retry-after: "));
    drop(permit);
    for _ in 0..2 {
        let (answer, _) = say(&proxy, GET).await;
        assert_eq!(gist(&answer).0, "HTTP/1.1 502 Bad Gateway");
        assert!(!answer.contains("yesterday"));
    }
    for result in ["ok", "limit", "bad_header", "body_too_large"] {
        let line = format!("perihelion_comet_takeovers_total{{result=\"{result}\",site=\"site\"}} 1");
        assert!(proxy.metric(&line), "{line}");
    }
    assert!(
        proxy.metric(r#"perihelion_requests_total{code="201",method="GET",protocol="h1",site="site"} 1"#)
    );
}

#[tokio::test]
async fn a_websocket_becomes_a_tunnel_with_nothing_lost_at_its_beginning() {
    let (address, heard) = application(&[
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: k\r\nDate: D\r\n\r\nfirst!",
    ]);
    let proxy = Rc::new(Proxy::new(address));
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    let (answer, _) = say(&proxy, request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "first");
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: k\r\ndate: D\r\nconnection: upgrade\r\nupgrade: websocket"
    );
    assert!(heard.recv().unwrap().contains("connection: upgrade\r\nupgrade: websocket\r\n"));
    assert_eq!(proxy.pool.connections(0), (0, 0));
}

#[tokio::test]
async fn a_long_answer_streams_as_far_as_the_client_reads() {
    let body = "x".repeat(300_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{body}").leak();
    let (address, _heard) = application(vec![&*answer].leak());
    let proxy = Rc::new(Proxy::new(address));
    let (answer, _) = say(&proxy, GET).await;
    assert_eq!(gist(&answer).1.len(), 300_000);
    assert_eq!(proxy.pool.connections(0), (0, 1));
    assert!(proxy.metric(r#"perihelion_response_bytes_total{site="site"} 300000"#));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_lease_along() {
    let (address, heard) = application(&[]);
    let proxy = Rc::new(Proxy::new(address));
    talk(&proxy, async |mut socket| {
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // The request is with the application before the client leaves.
        while heard.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        String::new()
    })
    .await;
    assert_eq!(proxy.pool.connections(0), (0, 0));
    assert!(proxy.metric(r#"perihelion_requests_in_flight{site="site"} 0"#));
    assert!(
        proxy.metric(r#"perihelion_requests_total{code="499",method="GET",protocol="h1",site="site"} 1"#)
    );
}
