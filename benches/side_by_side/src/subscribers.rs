//! Thousands of event-stream connections held by one thread, every delivery checked.
//!
//! Connections are opened so many at a time, plain or under TLS 1.3, from source addresses spread over 127.0.0.0/8 so
//! that ports never run out. What a connection keeps between events is an unfinished line and its TLS session.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};

use crate::events::{EventReader, Ledger, Tally};
use crate::response::Response;
use crate::tls::TlsClient;

/// Connections from one source address: well under the number of its ports.
const CONNECTIONS_PER_SOURCE: usize = 4000;
const READ_BYTES: usize = 256 * 1024;
/// No connection opened for so long: opening is stuck.
const OPENING_SILENCE_MAX: Duration = Duration::from_secs(15);

/// Where and how to subscribe.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// What is asked for.
    pub(crate) path: &'static str,
    /// Sessions under TLS; `None` for plain connections.
    pub(crate) tls: Option<TlsClient>,
}

/// The subscribers of one session and what they have received.
pub(crate) struct Subscribers {
    poll: Poll,
    events: Events,
    target: Target,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    plaintext: Vec<u8>,
    /// What was received.
    pub(crate) tally: Tally,
    /// Connections whose response head has come.
    pub(crate) open: usize,
    /// Connections that ended or broke after they were open.
    pub(crate) ended: usize,
}

struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    path: &'static str,
    stage: Stage,
    response: Response,
    events: EventReader,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Connecting,
    Asked,
    Open,
    Ended,
}

impl Subscribers {
    /// Nobody yet; deliveries will be compared with `ledger`.
    pub(crate) fn new(target: Target, ledger: Ledger) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            target,
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES],
            plaintext: vec![0; READ_BYTES],
            tally: Tally::new(ledger),
            open: 0,
            ended: 0,
        })
    }

    /// Opens so many more connections, `at_a_time` of them under way at once.
    pub(crate) fn open(&mut self, count: usize, at_a_time: usize) -> Result<()> {
        let wanted = self.open + count;
        let (mut last_open, mut last_progress) = (self.open, Instant::now());
        while self.open < wanted {
            while self.connections.len() < wanted && self.connections.len() - self.open < at_a_time {
                self.connect()?;
            }
            self.turn(Duration::from_millis(100))?;
            if self.open > last_open {
                (last_open, last_progress) = (self.open, Instant::now());
            }
            ensure!(
                last_progress.elapsed() < OPENING_SILENCE_MAX,
                "only {} of {wanted} connections were opened",
                self.open
            );
        }
        Ok(())
    }

    /// Reads for at most `timeout`, until the first bytes have come.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for index in ready {
            self.attend(index)?;
        }
        Ok(())
    }

    /// Reads for this long, whatever comes.
    pub(crate) fn settle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left)?;
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let index = self.connections.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        let source = Ipv4Addr::new(127, 1, 0, 1 + (index / CONNECTIONS_PER_SOURCE) as u8);
        socket
            .bind(&SocketAddr::from((source, 0)).into())
            .with_context(|| format!("no port left on {source}"))?;
        // Closing resets: a run leaves no ports waiting behind.
        socket.set_linger(Some(Duration::ZERO))?;
        match socket.connect(&self.target.address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error).context("can't connect a subscriber");
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        let tls = self.target.tls.as_ref().map(|tls| tls.session().map(Box::new)).transpose()?;
        let events = EventReader::starting_at(self.tally.published());
        self.connections.push(Connection {
            stream,
            tls,
            path: self.target.path,
            stage: Stage::Connecting,
            response: Response::default(),
            events,
        });
        Ok(())
    }

    /// Does what a connection is ready for.
    fn attend(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let was = connection.stage;
        match connection.advance(&mut self.buffer, &mut self.plaintext, &mut self.tally) {
            Ok(()) => {}
            // Before it is open a failure is the server's refusal; later it is an end to be counted.
            Err(error) if was != Stage::Open => return Err(error.context("a subscriber was refused")),
            Err(_) => connection.stage = Stage::Ended,
        }
        match (was, connection.stage) {
            (Stage::Connecting | Stage::Asked, Stage::Open) => self.open += 1,
            (Stage::Open, Stage::Ended) => self.ended += 1,
            _ => {}
        }
        Ok(())
    }
}

impl Connection {
    fn advance(&mut self, buffer: &mut [u8], plaintext: &mut [u8], tally: &mut Tally) -> Result<()> {
        if self.stage == Stage::Ended {
            return Ok(());
        }
        if self.stage == Stage::Connecting {
            self.ask()?;
        }
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            tally.tick();
            match self.tls.take() {
                Some(mut session) => {
                    let outcome = self.decrypt(&mut session, &buffer[..count], plaintext, tally);
                    self.tls = Some(session);
                    outcome?;
                }
                None => self.hear(&buffer[..count], tally)?,
            }
            // A read that did not fill the buffer has emptied the socket; the next bytes bring the next event.
            if count < buffer.len() {
                break;
            }
        }
        self.flush()
    }

    /// Sends the request as soon as the connection stands; a TLS session keeps it until its handshake is done.
    fn ask(&mut self) -> Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        if self.stream.peer_addr().is_err() {
            return Ok(());
        }
        let path = self.path;
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\nAccept: text/event-stream\r\n\r\n");
        match &mut self.tls {
            Some(session) => session.writer().write_all(request.as_bytes())?,
            None => self.stream.write_all(request.as_bytes())?,
        }
        self.stage = Stage::Asked;
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let Some(session) = &mut self.tls else { return Ok(()) };
        while session.wants_write() {
            match session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn decrypt(
        &mut self,
        session: &mut ClientConnection,
        mut records: &[u8],
        plaintext: &mut [u8],
        tally: &mut Tally,
    ) -> Result<()> {
        while !records.is_empty() {
            session.read_tls(&mut records)?;
            session.process_new_packets()?;
            loop {
                match session.reader().read(plaintext) {
                    Ok(0) => bail!("the server closed the TLS session"),
                    Ok(count) => self.hear(&plaintext[..count], tally)?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<()> {
        let events = &mut self.events;
        self.response.feed(bytes, |body| events.feed(body, tally))?;
        if self.stage == Stage::Asked && self.response.has_head() {
            ensure!(
                self.response.status() == 200,
                "the answer is {} instead of a stream",
                self.response.status()
            );
            self.stage = Stage::Open;
        }
        ensure!(!self.response.is_done(), "the server ended the stream");
        Ok(())
    }
}
