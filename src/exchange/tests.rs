//! Exchanges between a raw client and an application that follows a script, with a real HTTP connection between.

use std::cell::RefCell;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;

use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Listener, TcpStream};

use super::*;
use crate::clock::Clock;
use crate::config::{AccessFormat, KeepaliveConfig, PoolConfig, QueueConfig, ServerConfig, Target};
use crate::hold::{Departure, Leave, Passport, Permit};
use crate::message::{Epoch, Position, Sequence};
use crate::metrics::Metrics;

/// What the application heard, connection after connection.
type Heard = mpsc::Receiver<String>;

/// An application that answers requests in turn; each connection goes on with the next answer. An answer that
/// ends with `!` closes its connection, an empty one closes it without a word.
fn application(answers: &'static [&'static str]) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, heard) = mpsc::sync_channel(100);
    std::thread::spawn(move || {
        let mut answers = answers.iter();
        'connections: for mut socket in listener.incoming().map_while(Result::ok) {
            while let Some(request) = read_request(&mut socket) {
                tell.send(request).unwrap();
                // When all is said, the next request is left without an answer.
                let Some(answer) = answers.next() else {
                    let _ = socket.read_to_end(&mut Vec::new());
                    continue 'connections;
                };
                let (answer, close) = match answer.strip_suffix('!') {
                    Some(answer) => (answer, true),
                    None => (*answer, answer.is_empty()),
                };
                socket.write_all(answer.as_bytes()).unwrap();
                if close {
                    continue 'connections;
                }
            }
        }
    });
    (address, heard)
}

/// A head, and the body that it promises.
fn read_request(socket: &mut std::net::TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut byte = [0];
    loop {
        let text = String::from_utf8_lossy(&seen);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = match length {
                Some(length) => body.len() >= length.parse().unwrap(),
                None => !head.contains("chunked") || body.ends_with("0\r\n\r\n"),
            };
            if whole {
                return Some(text.into_owned());
            }
        }
        if !matches!(socket.read(&mut byte), Ok(1)) {
            return None;
        }
        seen.push(byte[0]);
    }
}

struct FakeKeeper {
    held: Arc<AtomicUsize>,
    limit: usize,
}

impl Keeper for FakeKeeper {
    fn head(&self) -> Position {
        Position { epoch: Epoch(10), sequence: Sequence(7) }
    }

    fn admit(&self) -> Option<Permit> {
        Permit::take(&self.held, Some(self.limit))
    }

    fn held(&self) -> usize {
        self.held.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn keep_socket(&self, _: Departure) {}
}

/// What stands around an exchange.
struct Proxy {
    client: Client,
    rules: Rules,
    site: Arc<SiteMetrics>,
    pool: Arc<Pool>,
    keeper: FakeKeeper,
    log: AccessLog,
    metrics: Metrics,
}

impl Proxy {
    fn new(application: SocketAddr) -> Proxy {
        let metrics = Metrics::new().unwrap();
        let name = format!("http://{application}");
        let target = Target::Tcp { host: application.ip().to_string(), port: application.port() };
        let config = PoolConfig {
            servers: vec![ServerConfig { name, target }],
            max_connections: NonZeroUsize::new(2),
            queue: QueueConfig { length: 1, timeout: Duration::from_secs(5) },
            keepalive: KeepaliveConfig { connections: 4, idle: Duration::from_secs(30) },
        };
        let passport = Passport { peer: "192.0.2.7:1".parse().unwrap(), listener: 0 };
        Proxy {
            client: Client::new(passport, false, Clock::default(), 0),
            rules: Rules {
                request_body: Some(100),
                hold_body: 100,
                hold_channels: 10,
                response_timeout: Duration::from_millis(300),
                body_timeout: Duration::from_millis(300),
                trusted_proxies: Box::default(),
            },
            site: Arc::new(SiteMetrics::new("site", &metrics)),
            pool: Pool::new("app", &config, Duration::from_secs(5), &metrics),
            keeper: FakeKeeper { held: Arc::default(), limit: 1 },
            log: AccessLog::to(AccessFormat::Combined, std::io::sink(), &metrics).unwrap(),
            metrics,
        }
    }

    fn context(&self) -> Context<'_> {
        let Proxy { client, rules, site, pool, keeper, log, .. } = self;
        Context { client, rules, site, pool, keeper, log }
    }

    /// Drives the connection as the listener does; what it leaves for goes to `left`.
    async fn serve(self: Rc<Self>, socket: TcpStream, left: Rc<RefCell<Option<Leave>>>) {
        let proxy = self.clone();
        let service = service_fn(move |request| {
            let proxy = proxy.clone();
            Box::pin(async move { exchange(proxy.context(), request).await })
        });
        let mut connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        let ended = std::future::poll_fn(|cx| match connection.poll_without_shutdown(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => match self.client.clock.poll(cx) {
                Poll::Ready(()) => match connection.poll_without_shutdown(cx) {
                    Poll::Ready(ended) => Poll::Ready(Some(ended)),
                    Poll::Pending => Poll::Ready(None),
                },
                Poll::Pending => Poll::Pending,
            },
        })
        .await;
        let Some(Err(error)) = ended else { return };
        match TakeOver::out_of(&error) {
            Some(Leave::Tunnel(tunnel)) => {
                let parts = connection.into_parts();
                tunnel.carry(Box::new(parts.io.into_inner()), parts.read_buf).await;
            }
            leave => *left.borrow_mut() = leave,
        }
    }

    fn metric(&self, line: &str) -> bool {
        let text = String::from_utf8(self.metrics.text().unwrap()).unwrap();
        text.lines().any(|found| found == line)
    }
}

/// Everything that a client hears which sends this and waits for the end.
async fn say(proxy: &Rc<Proxy>, request: &str) -> (String, Option<Leave>) {
    talk(proxy, async |mut socket| {
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is cut may end with a reset.
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    })
    .await
}

async fn talk<F: Future<Output = String>>(
    proxy: &Rc<Proxy>,
    client: impl FnOnce(TcpStream) -> F,
) -> (String, Option<Leave>) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let left = Rc::default();
    let serve = proxy.clone().serve(far, Rc::clone(&left));
    let both = async { tokio::join!(serve, client(near)).1 };
    let answer = tokio::time::timeout(Duration::from_secs(10), both).await.expect("the exchange ends");
    let left = left.borrow_mut().take();
    (answer, left)
}

/// Status line and body.
fn gist(answer: &str) -> (&str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    (head.lines().next().unwrap_or_default(), body)
}

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
async fn request_bodies_reach_the_application_whatever_the_method() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (address, heard) = application(vec![ok; 4].leak());
    let proxy = Rc::new(Proxy::new(address));
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
    let Some(Leave::Hold(hold, permit)) = left else { panic!("the connection is held") };
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
    assert!(proxy.metric(r#"perihelion_comet_takeovers_total{result="held",site="site"} 1"#));
    assert!(proxy.metric(r#"perihelion_comet_takeovers_total{result="refused",site="site"} 3"#));
    assert!(
        proxy.metric(r#"perihelion_requests_total{code="201",method="GET",protocol="h1",site="site"} 1"#)
    );
}

#[tokio::test]
async fn a_websocket_becomes_a_tunnel_with_nothing_lost_at_its_beginning() {
    let (address, heard) = application(&[
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: k\r\n\r\nfirst!",
    ]);
    let proxy = Rc::new(Proxy::new(address));
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    let (answer, _) = say(&proxy, request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "first");
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: k\r\nconnection: upgrade\r\nupgrade: websocket"
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
