//! What one client sees on its connection, byte for byte, over a real socket.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::body::{Body, ClientBody};
use crate::clock::Clock;
use crate::config::{Http2Limits, Limits, PerAddress, Timeouts};
use crate::hold::{Answer, ClientSide, Departure, Hold, Home, Passport, Permit, Source, TakeOver, Tunnel};
use crate::wire::WireStream;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

fn limits() -> Limits {
    Limits {
        bayeux_sessions: 0,
        connections: None,
        per_address: PerAddress::default(),
        http2: Http2Limits::default(),
        held_connections: None,
        held_is_typed: false,
        new_holds: None,
        request_header: 4096,
        request_headers: 100,
        request_target: 1000,
        request_body: None,
        hold_body: 1000,
        hold_channels: 10,
        recoveries: 1,
        socket_message: 64 << 10,
        message: 1000,
        batch: 10,
        channels: 10,
        subscribers: None,
        history_bytes: 1000,
        turn_bytes: 1000,
        publish_body: 1000,
    }
}

fn timeouts() -> Timeouts {
    let long = Duration::from_secs(20);
    Timeouts {
        request_head: long,
        idle: long,
        body: long,
        connect: long,
        response: long,
        tunnel: long,
        ping: long,
        ..Timeouts::default()
    }
}

struct Server {
    listener: TcpListener,
    home: Home,
    terms: Terms,
    leaving: Leaving,
    _desk: tokio::sync::mpsc::Receiver<crate::hold::Return>,
}

impl Server {
    async fn new(timeouts: Timeouts) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let passport = Passport::new(listener.local_addr().unwrap(), 0);
        let (desk, _desk) = tokio::sync::mpsc::channel(1);
        let terms = Terms::new(&limits(), &timeouts);
        Server { listener, home: Home { desk, passport }, terms, leaving: Leaving::default(), _desk }
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap()
    }

    async fn serve(&self, service: impl Serve) -> Ended {
        let (socket, _) = self.listener.accept().await.unwrap();
        let arrival = self.arrival(WireStream::plain(socket.into_std().unwrap()), b"");
        self.connection(arrival, service).run().await
    }

    fn arrival(&self, wire: WireStream, read_ahead: &[u8]) -> Arrival {
        Arrival { wire, read_ahead: read_ahead.to_vec(), kept: false, home: self.home.clone() }
    }

    fn connection<S: Serve>(&self, arrival: Arrival, service: S) -> Box<Connection<S>> {
        Connection::new(arrival, service, Clock::default(), &self.terms, &self.leaving)
    }

    /// What a client gets for these bytes until its end; it keeps its own side open.
    async fn answer_to(&self, bytes: &[u8], service: impl Serve) -> (String, Ended) {
        let client = async {
            let mut client = self.client().await;
            client.write_all(bytes).await.unwrap();
            read_to_end(&mut client).await
        };
        let (text, ended) = tokio::join!(client, self.serve(service));
        (text, ended)
    }
}

async fn read_to_end(client: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let whole = client.read_to_end(&mut all);
    tokio::time::timeout(Duration::from_secs(10), whole).await.expect("an end").unwrap();
    String::from_utf8(all).unwrap()
}

async fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let byte = tokio::time::timeout(Duration::from_secs(10), client.read_u8()).await.expect("an answer");
        all.push(byte.unwrap());
    }
    String::from_utf8(all).unwrap()
}

/// A service that is a function.
struct Function<F>(F);

impl<F: Fn(Request<ClientBody>) -> Answered> Serve for Function<F> {
    async fn serve(&self, request: Request<ClientBody>) -> Result<Response<Body>, TakeOver> {
        self.0(request).await
    }
}

fn service_fn<F: Fn(Request<ClientBody>) -> Answered>(function: F) -> Function<F> {
    Function(function)
}

type Answered = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, TakeOver>>>>;

/// Answers each request with its path, after it was asked a second time, so that no answer is there at once.
fn echo(calls: Rc<Cell<usize>>) -> impl Serve {
    service_fn(move |request: Request<ClientBody>| {
        calls.set(calls.get() + 1);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let (head, body) = request.into_parts();
            let body = body.collect().await;
            let body = body.map(|whole| whole.to_bytes()).unwrap_or_else(|_| "broken".into());
            let text = format!("{} {}|", head.uri, body.escape_ascii());
            Ok(Response::new(Body::from(text)))
        }) as Answered
    })
}

fn bodies(answers: &str) -> String {
    let lines = answers.split("\r\n\r\n").skip(1).filter_map(|part| part.split_once('|'));
    lines.map(|(body, _)| body.trim()).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order_and_the_connection_is_kept() {
    let server = Server::new(timeouts()).await;
    let calls = Rc::new(Cell::new(0));
    let client = async {
        let mut client = server.client().await;
        let many = [
            &b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\nGET /4 HT",
        ];
        client.write_all(&many.concat()).await.unwrap();
        let first = read_until(&mut client, "/3 ho|").await;
        client.write_all(b"TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        first + &read_until(&mut client, "/4 |").await
    };
    let (text, ended) = tokio::join!(client, server.serve(echo(calls.clone())));
    assert_eq!(bodies(&text), "/1,/2 hi,/3 ho,/4");
    assert!(matches!(ended, Ended::Closed));
    assert_eq!(calls.get(), 4);
}

#[tokio::test]
async fn a_refused_head_is_answered_after_the_answers_before_it_and_reaches_no_service() {
    let server = Server::new(timeouts()).await;
    let calls = Rc::new(Cell::new(0));
    let bad = [GET, b"GET /b HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", GET].concat();
    let (text, ended) = server.answer_to(&bad, echo(calls.clone())).await;
    let second = text.find("HTTP/1.1 400 Bad Request\r\n").unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && second > 0);
    assert!(text[second..].contains("connection: close\r\n"));
    assert!(matches!(ended, Ended::Refused(head) if head.status == 400));
    assert_eq!(calls.get(), 1);
}

#[tokio::test]
async fn an_unfinished_head_is_answered_408_and_a_silent_connection_is_closed_without_a_word() {
    let short = Duration::from_millis(60);
    let server = Server::new(Timeouts { request_head: short, idle: short, ..timeouts() }).await;
    let calls = Rc::new(Cell::new(0));
    let (text, _) = server.answer_to(b"GET /a HTTP/1.1\r\nHo", echo(calls.clone())).await;
    assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{text}");
    let (text, _) = server.answer_to(b"", echo(calls.clone())).await;
    assert_eq!(text, "");
    let (text, _) = server.answer_to(GET, echo(calls.clone())).await;
    assert_eq!((bodies(&text).as_str(), calls.get()), ("/a", 1));
}

/// Never answers; notes that it was dropped.
fn stuck(dropped: Rc<Cell<bool>>) -> impl Serve {
    struct Noted(Rc<Cell<bool>>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    service_fn(move |_| {
        let noted = Noted(dropped.clone());
        Box::pin(async move {
            let _noted = noted;
            std::future::pending::<()>().await;
            Ok(Response::new(Body::Empty))
        }) as Answered
    })
}

#[tokio::test]
async fn a_client_that_leaves_drops_its_request_even_behind_a_pipelined_one() {
    let server = Server::new(timeouts()).await;
    for bytes in [GET.to_vec(), [GET, GET].concat()] {
        let dropped = Rc::new(Cell::new(false));
        let client = async {
            let mut client = server.client().await;
            client.write_all(&bytes).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let served = tokio::time::timeout(Duration::from_secs(5), server.serve(stuck(dropped.clone())));
        let ((), served) = tokio::join!(client, served);
        assert!(served.is_ok() && dropped.get());
    }
}

#[tokio::test]
async fn a_client_whose_request_had_come_before_it_was_looked_at_is_listened_to_soon() {
    let server = Server::new(timeouts()).await;
    let mut client = server.client().await;
    client.write_all(GET).await.unwrap();
    let dropped = Rc::new(Cell::new(false));
    let leaves = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(client);
    };
    let served = tokio::time::timeout(Duration::from_secs(5), server.serve(stuck(dropped.clone())));
    let ((), served) = tokio::join!(leaves, served);
    assert!(served.is_ok() && dropped.get());
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let short = Duration::from_millis(100);
    let server = Server::new(Timeouts { body: short, ..timeouts() }).await;
    let endless = service_fn(|_| {
        Box::pin(async { Ok(Response::new(Body::Bytes(Bytes::from(vec![b'x'; 64 << 20])))) }) as Answered
    });
    let client = async {
        let mut client = server.client().await;
        client.write_all(GET).await.unwrap();
        client
    };
    let served = tokio::time::timeout(Duration::from_secs(5), server.serve(endless));
    let (mut client, served) = tokio::join!(client, served);
    assert!(matches!(served, Ok(Ended::Closed)));
    assert!(
        client.read_to_end(&mut Vec::new()).await.is_err(),
        "an end without a reset looks whole to HTTP/1.0"
    );
}

#[tokio::test]
async fn a_drain_closes_what_is_idle_and_lets_a_request_finish() {
    let server = Server::new(timeouts()).await;
    let client = async {
        let mut client = server.client().await;
        client.write_all(GET).await.unwrap();
        read_until(&mut client, "/a |").await;
        server.leaving.begin();
        read_to_end(&mut client).await
    };
    let (rest, _) = tokio::join!(client, server.serve(echo(Rc::default())));
    assert_eq!(rest, "");

    let server = Server::new(timeouts()).await;
    let leaving = server.leaving.clone();
    let draining = service_fn(move |_| {
        leaving.begin();
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(Response::new(Body::from("done")))
        }) as Answered
    });
    let (text, _) = server.answer_to(GET, draining).await;
    assert!(text.ends_with("done") && text.contains("connection: close\r\n"), "{text}");
}

/// What says least of how to hold.
pub(super) fn hold() -> Hold {
    let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
    let client = ClientSide { version: Version::HTTP_11, keep_alive: true };
    Hold {
        parameters: crate::transport::Parameters::default(),
        wishes: Vec::new(),
        transport: crate::transport::LONG_POLL,
        timeout: None,
        keepalive: None,
        retry: None,
        answer,
        at: std::time::SystemTime::now(),
        source: Source::Application,
        tag: None,
        messages: None,
        client,
        subject: None,
        ear: None,
        grip: None,
    }
}

fn take_over() -> TakeOver {
    let permit = Permit::take(&Arc::new(AtomicUsize::new(0)), None).unwrap();
    TakeOver::Hold(Box::new(hold()), permit)
}

/// Takes every connection over, after it has read the body if it shall.
fn taking(read_body: bool) -> impl Serve {
    service_fn(move |request: Request<ClientBody>| {
        Box::pin(async move {
            if read_body {
                request.into_body().collect().await.unwrap();
            }
            Err(take_over())
        }) as Answered
    })
}

async fn departure(server: &Server, bytes: &[u8], read_body: bool) -> (TcpStream, Box<Departure>) {
    let client = async {
        let mut client = server.client().await;
        client.write_all(bytes).await.unwrap();
        client
    };
    match tokio::join!(client, server.serve(taking(read_body))) {
        (client, Ended::Departed(departure)) => (client, departure),
        (_, ended) => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn a_taken_connection_leaves_with_what_was_read_ahead_and_serves_again_when_it_returns() {
    let server = Server::new(timeouts()).await;
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /next HTTP/1.1\r\nHo";
    let (mut client, departure) = departure(&server, post, true).await;
    assert_eq!(departure.read_ahead.escape_ascii().to_string(), "GET /next HTTP/1.1\\r\\nHo");
    assert!(departure.hold.client.keep_alive);

    let wire = WireStream::from_wire(departure.wire, departure.mooring).unwrap();
    let back = server.connection(server.arrival(wire, &departure.read_ahead), echo(Rc::default()));
    let rest = async {
        client.write_all(b"st: a\r\n\r\n").await.unwrap();
        let text = read_until(&mut client, "|").await;
        drop(client);
        text
    };
    let (text, _) = tokio::join!(rest, back.run());
    assert_eq!(bodies(&text), "/next");
}

#[tokio::test]
async fn a_connection_that_is_taken_in_the_middle_of_a_body_serves_nothing_afterwards() {
    let server = Server::new(timeouts()).await;
    let (_, departure) =
        departure(&server, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nGET / HT", false).await;
    assert!(!departure.hold.client.keep_alive);
}

#[tokio::test]
async fn a_tunnel_gets_the_socket_and_every_byte_behind_the_request() {
    let server = Server::new(timeouts()).await;
    let heard = Arc::new(Mutex::new(String::new()));
    let said = heard.clone();
    let service = service_fn(move |_| {
        let said = said.clone();
        let tunnel = Tunnel::new(|mut socket, read_ahead| async move {
            socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.unwrap();
            let mut all = read_ahead.to_vec();
            socket.read_to_end(&mut all).await.unwrap();
            *said.lock() = String::from_utf8(all).unwrap();
            socket.write_all(b"bye").await.unwrap();
        });
        Box::pin(async move { Err(TakeOver::Tunnel(tunnel)) }) as Answered
    });
    let client = async {
        let mut client = server.client().await;
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly ";
        client.write_all(request).await.unwrap();
        read_until(&mut client, "\r\n\r\n").await;
        client.write_all(b"late").await.unwrap();
        client.shutdown().await.unwrap();
        read_to_end(&mut client).await
    };
    let (rest, _) = tokio::join!(client, server.serve(service));
    assert_eq!((rest.as_str(), heard.lock().as_str()), ("bye", "early late"));
}
