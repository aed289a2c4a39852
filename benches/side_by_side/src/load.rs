//! A closed-loop load of plain requests: each connection sends its next request when the answer has come.
//!
//! One thread, one epoll, keep-alive, every answer checked for status and length. It exists because the usual load
//! tools don't keep the connections of a server that answers in HTTP/1.0.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::response::Response;

/// A load without an answer for so long is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 256 * 1024;

/// What to ask for, and what every answer must be.
pub(crate) struct Wish {
    /// Where the proxy listens.
    pub(crate) address: SocketAddr,
    /// Path of the request.
    pub(crate) path: &'static str,
    /// Length of the right answer's body, in bytes.
    pub(crate) body_bytes: usize,
}

/// What a run of requests came to.
#[derive(Default)]
pub(crate) struct Outcome {
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Answers with another status or length than wished.
    pub(crate) wrong: u64,
    /// Connections that the server closed and that had to be opened again.
    pub(crate) reopened: u64,
    /// From each request to the end of its answer.
    pub(crate) waits: Vec<Duration>,
}

/// Connections that are open and wait for requests to send.
pub(crate) struct Load {
    poll: Poll,
    wish: Wish,
    request: Vec<u8>,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    /// Requests of this run that were not sent yet, and answers that have not come yet.
    unsent: u64,
    unanswered: u64,
    outcome: Outcome,
}

struct Client {
    stream: TcpStream,
    response: Response,
    body_bytes: usize,
    /// A request was sent and its answer is not complete.
    busy: bool,
    /// When the last request was sent.
    asked: Instant,
}

impl Load {
    /// Opens so many connections.
    pub(crate) fn open(wish: Wish, connections: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: side_by_side\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
            wish.path
        );
        let clients = (0..connections)
            .map(|index| Client::connect(&poll, wish.address, index))
            .collect::<Result<Vec<_>>>()?;
        let outcome = Outcome::default();
        let request = request.into_bytes();
        Ok(Self {
            poll,
            wish,
            request,
            clients,
            buffer: vec![0; READ_BYTES],
            unsent: 0,
            unanswered: 0,
            outcome,
        })
    }

    /// Sends so many requests over all connections and waits for their answers.
    pub(crate) fn run(&mut self, requests: u64) -> Result<Outcome> {
        self.outcome = Outcome::default();
        (self.unsent, self.unanswered) = (requests, requests);
        let start = Instant::now();
        for index in 0..self.clients.len() {
            self.send_next(index)?;
        }
        let mut events = Events::with_capacity(self.clients.len());
        let (mut last_left, mut last_progress) = (self.unanswered, start);
        while self.unanswered > 0 {
            self.poll.poll(&mut events, Some(Duration::from_secs(1)))?;
            for event in &events {
                self.turn(event.token().0)?;
            }
            if self.unanswered < last_left {
                (last_left, last_progress) = (self.unanswered, Instant::now());
            }
            ensure!(last_progress.elapsed() < SILENCE_MAX, "{} answers did not come", self.unanswered);
        }
        Ok(Outcome { elapsed: start.elapsed(), ..std::mem::take(&mut self.outcome) })
    }

    fn send_next(&mut self, index: usize) -> Result<()> {
        if self.unsent == 0 {
            return Ok(());
        }
        let client = &mut self.clients[index];
        match client.stream.write(&self.request) {
            Ok(count) if count == self.request.len() => {}
            Ok(_) => bail!("a request did not fit an empty socket buffer"),
            Err(error) => {
                return self.reopen(index).with_context(|| format!("after a request failed: {error}"));
            }
        }
        self.unsent -= 1;
        client.response = Response::default();
        (client.busy, client.body_bytes, client.asked) = (true, 0, Instant::now());
        Ok(())
    }

    /// Reads what a connection has; at the end of an answer the next request follows.
    fn turn(&mut self, index: usize) -> Result<()> {
        loop {
            let client = &mut self.clients[index];
            let count = match client.stream.read(&mut self.buffer) {
                Ok(0) => return self.reopen(index),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.reopen(index),
            };
            let body_bytes = &mut client.body_bytes;
            let taken = client.response.feed(&self.buffer[..count], |body| *body_bytes += body.len())?;
            ensure!(client.busy && taken == count, "{} bytes came that nobody asked for", count - taken);
            if client.response.is_done() {
                self.finish(index)?;
            }
            // A read that did not fill the buffer has emptied the socket; the next bytes bring the next event.
            if count < READ_BYTES {
                return Ok(());
            }
        }
    }

    fn finish(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        client.busy = false;
        self.unanswered -= 1;
        self.outcome.waits.push(client.asked.elapsed());
        let right = client.response.status() == 200 && client.body_bytes == self.wish.body_bytes;
        self.outcome.wrong += u64::from(!right);
        if client.response.keeps_alive() { self.send_next(index) } else { self.reopen(index) }
    }

    /// Replaces a connection that the server closed; the request that was under way counts as answered wrongly.
    fn reopen(&mut self, index: usize) -> Result<()> {
        let client = &self.clients[index];
        if client.busy {
            self.outcome.wrong += 1;
            self.unanswered -= 1;
        }
        self.outcome.reopened += 1;
        ensure!(self.outcome.reopened < 100_000, "the server closes its connections again and again");
        self.clients[index] = Client::connect(&self.poll, self.wish.address, index)?;
        self.send_next(index)
    }
}

impl Client {
    fn connect(poll: &Poll, address: SocketAddr, index: usize) -> Result<Self> {
        let stream =
            std::net::TcpStream::connect(address).with_context(|| format!("can't connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        Ok(Self { stream, response: Response::default(), body_bytes: 0, busy: false, asked: Instant::now() })
    }
}
