//! The floor: a server that does nothing but one `write` for each message and connection.
//!
//! It answers every client with the head of an event stream, and every POST on its other port with the message's frame
//! to all of them; a body of several lines is several messages. No history, no positions, no slow readers: a full
//! socket stops everybody, and one that stays full loses its connection.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(0);
const PUBLISH: Token = Token(1);
/// As the peers' configurations have it: the usual 128 overflows when hundreds connect at once.
const BACKLOG: i32 = 4096;
const FIRST_CLIENT: usize = 2;
/// How long a full socket may stop everybody.
const WRITE_MAX: Duration = Duration::from_secs(5);
const REQUEST_MAX: usize = 1024 * 1024;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
    Transfer-Encoding: chunked\r\n\r\n6\r\n: hi\n\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

/// Serves until the process is ended.
pub(crate) fn serve(listen: SocketAddr, publish: SocketAddr) -> Result<()> {
    let poll = Poll::new()?;
    let (mut listener, mut publishers) = (bind(listen)?, bind(publish)?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    poll.registry().register(&mut publishers, PUBLISH, Interest::READABLE)?;
    let mut server = Bare { poll, asking: Vec::new(), held: Vec::new(), published: 0 };
    let mut events = Events::with_capacity(1024);
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept(&listener, Role::Subscriber)?,
                PUBLISH => server.accept(&publishers, Role::Publisher)?,
                Token(client) => server.read(client - FIRST_CLIENT)?,
            }
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let open = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from_std(socket.into()))
    };
    open().with_context(|| format!("can't listen on {address}"))
}

struct Bare {
    poll: Poll,
    /// Clients whose request is being read, by token; a subscriber's place is empty once it is held.
    asking: Vec<Option<Asking>>,
    held: Vec<std::net::TcpStream>,
    published: usize,
}

struct Asking {
    stream: TcpStream,
    role: Role,
    request: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Subscriber,
    Publisher,
}

impl Bare {
    fn accept(&mut self, listener: &TcpListener, role: Role) -> Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("can't accept"),
            };
            stream.set_nodelay(true)?;
            let place = self.asking.iter().position(Option::is_none).unwrap_or(self.asking.len());
            self.poll.registry().register(&mut stream, Token(FIRST_CLIENT + place), Interest::READABLE)?;
            let asking = Some(Asking { stream, role, request: Vec::new() });
            if place == self.asking.len() { self.asking.push(asking) } else { self.asking[place] = asking }
        }
    }

    fn read(&mut self, place: usize) -> Result<()> {
        let Some(Some(asking)) = self.asking.get_mut(place) else { return Ok(()) };
        let mut buffer = [0; 64 * 1024];
        loop {
            match asking.stream.read(&mut buffer) {
                Ok(count) if count > 0 && asking.request.len() < REQUEST_MAX => {
                    asking.request.extend_from_slice(&buffer[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // It left, or asks for more than anybody here does.
                _ => {
                    self.asking[place] = None;
                    return Ok(());
                }
            }
        }
        match request_end(&asking.request)? {
            None => Ok(()),
            Some((head, _)) if asking.role == Role::Publisher => {
                let body = asking.request.split_off(head);
                asking.request.clear();
                self.publish(&body);
                self.answer_publisher(place)
            }
            Some(_) => self.hold(place),
        }
    }

    fn hold(&mut self, place: usize) -> Result<()> {
        let Some(Asking { mut stream, .. }) = self.asking[place].take() else { return Ok(()) };
        self.poll.registry().deregister(&mut stream)?;
        let mut stream = std::net::TcpStream::from(stream);
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITE_MAX))?;
        if stream.write_all(HEAD).is_ok() {
            self.held.push(stream);
        }
        Ok(())
    }

    fn publish(&mut self, body: &[u8]) {
        for message in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            self.published += 1;
            let frame = frame(self.published, message);
            self.held.retain_mut(|stream| stream.write_all(&frame).is_ok());
        }
    }

    fn answer_publisher(&mut self, place: usize) -> Result<()> {
        let Some(Some(asking)) = self.asking.get_mut(place) else { return Ok(()) };
        asking.stream.write_all(PUBLISHED).context("can't answer the publisher")
    }
}

/// One event in one chunk, as a Comet server frames it.
fn frame(number: usize, message: &[u8]) -> Vec<u8> {
    let event = [format!("id:{number:016x}\ndata:").as_bytes(), message, b"\n\n"].concat();
    [format!("{:x}\r\n", event.len()).as_bytes(), &event, b"\r\n"].concat()
}

/// Where head and body of the first request end, once it is complete.
fn request_end(request: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = memchr::memmem::find(request, b"\r\n\r\n") else { return Ok(None) };
    let head = end + 4;
    let lines = std::str::from_utf8(&request[..end])?.split("\r\n");
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())?;
    let Some(whole) = head.checked_add(length) else { bail!("a body of {length} bytes") };
    Ok((request.len() >= whole).then_some((head, whole)))
}
