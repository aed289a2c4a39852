//! What stands behind a connection that is tried out: it reads what it is asked as HTTP/1 would, and answers in every way that
//! there is.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::AsyncWriteExt;

use super::super::{Flood, Host};
use super::STREAMS;
use crate::body::{Body, ClientBody};
use crate::clock::Clock;
use crate::fuzz::kind;
use crate::hold::{Departure, Permit, TakeOver, Tunnel};
use crate::listener::connection::{RefusedHead, Serve};
use crate::listener::connection_cases::hold;
use crate::listener::head_cases::outcome;
use crate::wire::{Scratch, Wire};

/// More than the window that a client begins with.
const LARGE: usize = 100_000;

/// What has come of a connection.
#[derive(Default)]
pub(super) struct Seen {
    asked: Cell<usize>,
    /// Requests in work.
    working: Cell<usize>,
    refused: RefCell<Vec<u16>>,
    flood: Cell<Option<Flood>>,
    held: RefCell<Vec<Wire>>,
    places: Arc<AtomicUsize>,
}

impl Seen {
    /// Nobody works for a client that is gone, and whoever holds its streams hears of it.
    pub(super) fn check_after_the_end(&self) {
        assert_eq!(self.working.get(), 0, "requests in work");
        for wire in self.held.borrow_mut().iter_mut() {
            let written = wire.write(b"x", &mut Scratch::new()).map_err(|error| error.kind());
            assert_eq!(written, Err(ErrorKind::BrokenPipe));
        }
    }

    pub(super) fn kind(&self) -> u64 {
        let few = |count: usize| count.min(3);
        let flood = self.flood.get().map(Flood::word);
        kind((few(self.asked.get()), &*self.refused.borrow(), flood, few(self.held.borrow().len())))
    }
}

/// Serves the streams of one connection.
pub(super) struct Application(pub(super) Rc<Seen>);

impl Host for Application {
    type Service = Service;

    fn service(&self, _: Clock) -> Service {
        Service(self.0.clone())
    }

    fn keep(&self, departure: Departure) {
        let Departure { mut wire, .. } = departure;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
        // Its client may be gone.
        let _ = wire.write(answer, &mut Scratch::new());
        match self.0.asked.get() % 3 {
            0 => wire.close(),
            1 => drop(wire),
            _ => self.0.held.borrow_mut().push(wire),
        }
    }

    fn refused(&self, head: &RefusedHead) {
        assert!(matches!(head.status, 400 | 405 | 414 | 417 | 431 | 501), "{}", head.status);
        self.0.refused.borrow_mut().push(head.status);
    }

    fn calmed(&self, flood: Flood) {
        assert_eq!(self.0.flood.replace(Some(flood)), None, "calmed once");
    }

    /// Whoever asks for something need not take it.
    fn too_slow(&self) {}
}

/// Serves one of them.
pub(super) struct Service(Rc<Seen>);

struct Work(Rc<Seen>);

impl Work {
    fn begin(seen: &Rc<Seen>) -> Work {
        seen.asked.set(seen.asked.get() + 1);
        seen.working.set(seen.working.get() + 1);
        assert!(seen.working.get() <= STREAMS, "more requests at once than allowed");
        Work(seen.clone())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.working.set(self.0.working.get() - 1);
    }
}

impl Serve for Service {
    /// The path says what becomes of it.
    async fn serve(&self, request: Request<ClientBody>) -> Result<Response<Body>, TakeOver> {
        let _work = Work::begin(&self.0);
        let (head, body) = request.into_parts();
        let length = check(&head);
        if head.headers.contains_key(UPGRADE) && head.uri.path() != "/refuse" {
            return Err(TakeOver::Tunnel(echo()));
        }
        match head.uri.path() {
            "/hold" => {
                let permit = Permit::take(&self.0.places, None).expect("there is no limit");
                Err(TakeOver::Hold(Box::new(hold()), permit))
            }
            "/large" => Ok(Response::new(vec![b'x'; LARGE].into())),
            "/never" => pending().await,
            "/nothing" => {
                let mut answer = Response::new(Body::Empty);
                *answer.status_mut() = StatusCode::NO_CONTENT;
                Ok(answer)
            }
            "/unread" => Ok(Response::new("early".into())),
            _ => Ok(Response::new(read(body, length).await.into())),
        }
    }
}

/// A body is as long as its head has said, or isn't whole.
async fn read(body: ClientBody, length: Option<u64>) -> Vec<u8> {
    match body.collect().await {
        Ok(whole) => {
            let whole = whole.to_bytes();
            assert!(length.is_none_or(|length| length == whole.len() as u64), "{length:?}");
            whole.to_vec()
        }
        Err(_) => b"broken".to_vec(),
    }
}

/// Says of a head what HTTP/1 says of the same head, which has to be one whole request; gives the length of its body.
fn check(head: &Parts) -> Option<u64> {
    let mut text = format!("{} {} HTTP/1.1\r\n", head.method, head.uri).into_bytes();
    for (name, value) in &head.headers {
        assert_eq!(value.as_bytes().trim_ascii(), value.as_bytes(), "{name}");
        if *name != CONTENT_LENGTH {
            text.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    text.extend_from_slice(b"\r\n");
    let read = outcome(&text, &[usize::MAX], usize::MAX);
    assert_eq!((read.status(), &read.ends[..]), (None, &[text.len()][..]), "{}", text.escape_ascii());
    assert_eq!(head.headers.keys().next().map(|name| name.as_str()), Some("host"));
    let is_socket = head.headers.contains_key(UPGRADE);
    let times = |name| head.headers.get_all(name).iter().count();
    let of_socket = usize::from(is_socket);
    assert_eq!((times("connection"), times("upgrade")), (of_socket, of_socket));
    assert!(!is_socket || times("sec-websocket-key") == 1);
    for name in ["transfer-encoding", "keep-alive", "proxy-connection"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
    assert!(!is_socket || head.method == Method::GET);
    head.headers.get(CONTENT_LENGTH).map(|length| length.to_str().expect("digits").parse().expect("digits"))
}

/// A WebSocket's server that says again what it hears.
fn echo() -> Tunnel {
    Tunnel::new(|client, _: Bytes| async move {
        let (mut read, mut write) = tokio::io::split(client);
        let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        // Its client may be gone.
        if write.write_all(head).await.is_ok() {
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        }
    })
}
