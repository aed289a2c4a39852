//! Thousands of connections in one thread, each with a script of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections from one source address: well under the number of its ports.
const PER_SOURCE: usize = 4000;
/// Nothing happens for so long: it is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Connections that are being opened at once.
const AT_A_TIME: usize = 100;

/// What a client says and hears.
pub(crate) trait Script {
    /// What it says first.
    fn begin(&mut self) -> Vec<u8>;
    /// What it says to what it hears, if anything.
    fn hear(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<Vec<u8>>;
}

/// What all clients have seen together.
#[derive(Default)]
pub(crate) struct Tally {
    /// Clients that have come to where they wait.
    pub(crate) settled: usize,
    /// Messages that came as they should.
    pub(crate) delivered: usize,
}

pub(crate) struct Crowd<S> {
    poll: Poll,
    events: Events,
    members: Vec<(TcpStream, S, bool)>,
    buffer: Vec<u8>,
    pub(crate) tally: Tally,
}

impl<S: Script> Crowd<S> {
    /// Everybody, each where it waits.
    pub(crate) fn gather(address: SocketAddr, count: usize, script: impl Fn(usize) -> S) -> Result<Crowd<S>> {
        let mut crowd = Crowd {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            members: Vec::new(),
            buffer: vec![0; 64 << 10],
            tally: Tally::default(),
        };
        let mut progress = (0, Instant::now());
        while crowd.tally.settled < count {
            while crowd.members.len() < count && crowd.members.len() - crowd.tally.settled < AT_A_TIME {
                crowd.connect(address, script(crowd.members.len()))?;
            }
            crowd.turn(Duration::from_millis(100))?;
            if crowd.tally.settled > progress.0 {
                progress = (crowd.tally.settled, Instant::now());
            }
            ensure!(progress.1.elapsed() < SILENCE_MAX, "only {} of {count} came in", progress.0);
        }
        Ok(crowd)
    }

    fn connect(&mut self, address: SocketAddr, script: S) -> Result<()> {
        let index = self.members.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        let source = Ipv4Addr::new(127, 1, 0, 1 + (index / PER_SOURCE) as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        // Closing resets: a run leaves no ports waiting behind.
        socket.set_linger(Some(Duration::ZERO))?;
        match socket.connect(&address.into()) {
            Err(error)
                if error.kind() != ErrorKind::WouldBlock && error.raw_os_error() != Some(EINPROGRESS) =>
            {
                return Err(error).context("can't connect");
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        self.members.push((stream, script, false));
        Ok(())
    }

    /// Listens for at most `timeout`, until something has come.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let (stream, script, has_begun) = &mut self.members[event.token().0];
            if !*has_begun {
                if stream.peer_addr().is_err() {
                    continue;
                }
                *has_begun = true;
                stream.write_all(&script.begin())?;
            }
            loop {
                match stream.read(&mut self.buffer) {
                    Ok(0) => bail!("the server has closed a connection"),
                    Ok(count) => {
                        let said = script.hear(&self.buffer[..count], &mut self.tally)?;
                        stream.write_all(&said)?;
                        if count < self.buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Listens for this long, whatever comes.
    pub(crate) fn settle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left)?;
        }
        Ok(())
    }

    /// Listens until so many messages have come altogether.
    pub(crate) fn until(&mut self, delivered: usize) -> Result<()> {
        let mut progress = (self.tally.delivered, Instant::now());
        while self.tally.delivered < delivered {
            self.turn(Duration::from_millis(100))?;
            if self.tally.delivered > progress.0 {
                progress = (self.tally.delivered, Instant::now());
            }
            ensure!(progress.1.elapsed() < SILENCE_MAX, "only {} of {delivered} messages came", progress.0);
        }
        Ok(())
    }
}

const EINPROGRESS: i32 = 115;
