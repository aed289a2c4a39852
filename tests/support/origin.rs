//! A scripted application behind the proxy: it records what it receives and answers as it is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::{Domain, SockAddr, Socket, Type};

use super::http::field;
use super::{DEADLINE, Head, wait_for};

/// What an application does with one request.
pub(crate) trait Application: Send + Sync + 'static {
    fn answer(&self, request: &Received, socket: &mut Socket) -> Then;
}

impl<F: Fn(&Received, &mut Socket) -> Then + Send + Sync + 'static> Application for F {
    fn answer(&self, request: &Received, socket: &mut Socket) -> Then {
        self(request, socket)
    }
}

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    Close,
    /// Closes so that the other side sees a reset.
    Reset,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Number of its connection, from 0.
    pub(crate) connection: usize,
    /// How many requests came before it on that connection.
    pub(crate) place: usize,
    pub(crate) head: Head,
    /// The head as it stood on the wire, the empty line at its end included.
    bytes: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Received {
    pub(crate) fn method(&self) -> &str {
        self.head.line.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn target(&self) -> &str {
        self.head.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The lines of its head, byte for byte, without CR LF and without the empty one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let end = rest.windows(2).position(|bytes| bytes == b"\r\n")?;
            let line = &rest[..end];
            rest = &rest[end + 2..];
            Some(line).filter(|line| !line.is_empty())
        })
    }
}

pub(crate) struct Origin {
    at: At,
    shared: Arc<Shared>,
}

enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

struct Shared {
    listener: Socket,
    stopped: AtomicBool,
    connections: AtomicUsize,
    open: AtomicUsize,
    bytes: AtomicUsize,
    received: Mutex<Vec<Received>>,
    application: Box<dyn Application>,
}

impl Origin {
    /// On a port of its own.
    pub(crate) fn new(application: impl Application) -> Origin {
        Origin::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), application)
    }

    /// At an address that nobody else has.
    pub(crate) fn at(address: SocketAddr, application: impl Application) -> Origin {
        let listener = listen(Domain::IPV4, &address.into());
        let address = listener.local_addr().expect("a bound socket").as_socket().expect("an IP address");
        Origin { at: At::Tcp(address), shared: serve(listener, Box::new(application)) }
    }

    /// On a Unix socket.
    pub(crate) fn unix(path: &Path, application: impl Application) -> Origin {
        let listener = listen(Domain::UNIX, &SockAddr::unix(path).expect("a short path"));
        Origin { at: At::Unix(path.to_path_buf()), shared: serve(listener, Box::new(application)) }
    }

    /// One that answers each request and keeps its connections.
    pub(crate) fn replying(reply: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::new(move |request: &Received, socket: &mut Socket| reply(request).send_to(request, socket))
    }

    /// As `servers:` and `upstream:` want it.
    pub(crate) fn url(&self) -> String {
        match &self.at {
            At::Tcp(address) => format!("http://{address}"),
            At::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Every request so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().expect("no test panics in it").clone()
    }

    /// The only request so far.
    #[track_caller]
    pub(crate) fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.into_iter().next().expect("one")
    }

    /// The last request.
    #[track_caller]
    pub(crate) fn last(&self) -> Received {
        self.received().pop().expect("at least one request")
    }

    /// Waits for the request with this number, from 0.
    #[track_caller]
    pub(crate) fn wait_for_request(&self, number: usize) -> Received {
        wait_for("a request at the application", || self.received().into_iter().nth(number))
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes that have arrived, whatever they are.
    pub(crate) fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; it fails where that has ended already.
        let _ = self.shared.listener.shutdown(std::net::Shutdown::Both);
    }
}

fn listen(domain: Domain, address: &SockAddr) -> Socket {
    let socket = Socket::new(domain, Type::STREAM, None).expect("descriptors are left");
    // One that comes back has connections of its former life there.
    socket.set_reuse_address(true).expect("an open socket");
    socket.bind(address).expect("an address of our own");
    socket.listen(1024).expect("a bound socket");
    socket
}

fn serve(listener: Socket, application: Box<dyn Application>) -> Arc<Shared> {
    let shared = Arc::new(Shared {
        listener,
        stopped: AtomicBool::new(false),
        connections: AtomicUsize::new(0),
        open: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        received: Mutex::new(Vec::new()),
        application,
    });
    let accepting = shared.clone();
    thread::spawn(move || {
        while let Ok((socket, _)) = accepting.listener.accept() {
            if accepting.stopped.load(Ordering::SeqCst) {
                return;
            }
            let number = accepting.connections.fetch_add(1, Ordering::SeqCst);
            let shared = accepting.clone();
            thread::spawn(move || shared.connection(number, socket));
        }
    });
    shared
}

impl Shared {
    fn connection(&self, connection: usize, mut socket: Socket) {
        self.open.fetch_add(1, Ordering::SeqCst);
        socket.set_write_timeout(Some(DEADLINE)).expect("an open socket");
        let mut input = Input { ahead: Vec::new(), count: &self.bytes };
        let mut place = 0;
        while let Some(request) = input.request(&mut socket, connection, place) {
            place += 1;
            self.received.lock().expect("no test panics in it").push(request.clone());
            match self.application.answer(&request, &mut socket) {
                Then::KeepAlive => {}
                Then::Close => break,
                Then::Reset => {
                    socket.set_linger(Some(std::time::Duration::ZERO)).expect("an open socket");
                    break;
                }
            }
        }
        drop(socket);
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads requests; the proxy is trusted to frame them, so that what it gets wrong ends the connection.
struct Input<'a> {
    ahead: Vec<u8>,
    /// Bytes that have come over all connections.
    count: &'a AtomicUsize,
}

impl Input<'_> {
    fn request(&mut self, socket: &mut Socket, connection: usize, place: usize) -> Option<Received> {
        let bytes = self.until(socket, b"\r\n\r\n")?;
        let head = Head::parse(&bytes);
        let mut trailers = Vec::new();
        let body = if head.chunked() {
            self.chunks(socket, &mut trailers)?
        } else {
            self.exactly(socket, head.length().unwrap_or(0))?
        };
        Some(Received { connection, place, head, bytes, body, trailers })
    }

    fn chunks(&mut self, socket: &mut Socket, trailers: &mut Vec<(String, String)>) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(socket, b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim_end(), 16).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&self.exactly(socket, size)?);
            self.exactly(socket, 2)?;
        }
        loop {
            let line = self.until(socket, b"\r\n")?;
            match std::str::from_utf8(&line).ok()?.trim_end() {
                "" => return Some(body),
                line => trailers.push(field(line)),
            }
        }
    }

    fn until(&mut self, socket: &mut Socket, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(place) = self.ahead.windows(end.len()).position(|window| window == end) {
                return Some(self.ahead.drain(..place + end.len()).collect());
            }
            self.read(socket)?;
        }
    }

    fn exactly(&mut self, socket: &mut Socket, length: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < length {
            self.read(socket)?;
        }
        Some(self.ahead.drain(..length).collect())
    }

    fn read(&mut self, socket: &mut Socket) -> Option<()> {
        let mut bytes = [0; 64 * 1024];
        loop {
            match socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(length) => {
                    self.count.fetch_add(length, Ordering::SeqCst);
                    self.ahead.extend_from_slice(&bytes[..length]);
                    return Some(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

/// An ordinary answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: &'static str,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    UntilClose,
    Nothing,
}

impl Reply {
    /// 200 with a body and its length.
    pub(crate) fn ok(body: impl AsRef<[u8]>) -> Reply {
        Reply::status("200 OK", body)
    }

    pub(crate) fn status(status: &'static str, body: impl AsRef<[u8]>) -> Reply {
        Reply { status, fields: Vec::new(), body: body.as_ref().to_vec(), framing: Framing::Length }
    }

    /// An answer that has no body and says nothing about one.
    pub(crate) fn bodiless(status: &'static str) -> Reply {
        Reply { status, fields: Vec::new(), body: Vec::new(), framing: Framing::Nothing }
    }

    /// 200 with an instruction to hold.
    pub(crate) fn hold(channels: &str) -> Reply {
        Reply::ok("").with("X-Comet-Subscribe", channels)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Reply {
        self.fields.push((name.to_string(), value.to_string()));
        self
    }

    /// With another body.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Reply {
        self.body = body.as_ref().to_vec();
        self
    }

    /// In chunks of a few kilobytes.
    pub(crate) fn chunked(mut self) -> Reply {
        self.framing = Framing::Chunked;
        self
    }

    /// Ended by the end of the connection.
    pub(crate) fn until_close(mut self) -> Reply {
        self.framing = Framing::UntilClose;
        self
    }

    pub(crate) fn send_to(&self, request: &Received, socket: &mut Socket) -> Then {
        let mut bytes = format!("HTTP/1.1 {}\r\n", self.status).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        match self.framing {
            Framing::Length => {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes())
            }
            Framing::Chunked => bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::UntilClose => bytes.extend_from_slice(b"Connection: close\r\n"),
            Framing::Nothing => {}
        }
        bytes.extend_from_slice(b"\r\n");
        if request.method() != "HEAD" {
            self.write_body(&mut bytes);
        }
        match socket.write_all(&bytes) {
            Ok(()) if self.framing != Framing::UntilClose => Then::KeepAlive,
            _ => Then::Close,
        }
    }

    fn write_body(&self, bytes: &mut Vec<u8>) {
        if self.framing != Framing::Chunked {
            return bytes.extend_from_slice(&self.body);
        }
        for chunk in self.body.chunks(7000) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
}
