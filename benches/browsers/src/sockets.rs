//! WebSockets beside event streams: what one held keeps of memory, and what a delivery costs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::crowd::{Crowd, Script, Tally};
use crate::response::Responses;
use crate::server::{Server, free_address};
use crate::{Size, spread};

const REST: Duration = Duration::from_millis(1000);
/// Before memory is read: by then what is kept for the next requests to the application is closed.
const UNTIL_QUIET: Duration = Duration::from_secs(6);
const BYTES: usize = 100;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Events,
    Socket,
}

/// Measures and prints.
pub(crate) fn run(perihelion: &Path, size: &Size) -> Result<()> {
    let application = application()?;
    let mut rounds: [Vec<(f64, f64)>; 2] = Default::default();
    for _ in 0..size.rounds {
        for (kind, rounds) in [Kind::Events, Kind::Socket].into_iter().zip(&mut rounds) {
            let control = free_address()?;
            let configuration = format!(
                "listen: $LISTEN\ncontrol: {control}\nupstream: http://{application}\nlog: {{ access: off, level: error }}\n"
            );
            let server = Server::perihelion(perihelion, &configuration)?;
            rounds.push(round(&server, control, kind, size)?);
        }
    }
    let Size { clients, messages, rounds: count } = size;
    println!(
        "{clients} clients, {messages} messages of {BYTES} bytes, {count} rounds; medians, lowest and highest"
    );
    for (name, rounds) in ["event streams", "WebSockets"].iter().zip(&rounds) {
        let (cpu, low, high) = spread(rounds.iter().map(|round| round.0).collect());
        let (kib, least, most) = spread(rounds.iter().map(|round| round.1).collect());
        println!(
            "{name:14} {cpu:6.3} us of processor time a delivery ({low:.3} to {high:.3}), {kib:.2} KiB a connection \
             ({least:.2} to {most:.2})"
        );
    }
    Ok(())
}

/// Microseconds of a delivery, and KiB of a connection.
fn round(server: &Server, control: SocketAddr, kind: Kind, size: &Size) -> Result<(f64, f64)> {
    let script = |_| Client { kind, responses: Responses::default(), is_open: false, next: 0 };
    drop(Crowd::gather(server.address, 8, script)?);
    std::thread::sleep(REST);
    let idle = server.memory()?;
    let mut crowd = Crowd::gather(server.address, size.clients, script)?;
    crowd.settle(UNTIL_QUIET)?;
    let kib = (server.memory()? as f64 - idle as f64) / 1024.0 / size.clients as f64;
    let before = server.cpu()?;
    for number in 0..size.messages {
        publish(control, number)?;
        crowd.until((number + 1) * size.clients)?;
        crowd.settle(REST / 5)?;
    }
    let spent = server.cpu()? - before;
    Ok((spent.as_secs_f64() * 1e6 / (size.messages * size.clients) as f64, kib))
}

struct Client {
    kind: Kind,
    responses: Responses,
    is_open: bool,
    next: usize,
}

impl Script for Client {
    fn begin(&mut self) -> Vec<u8> {
        let fields = match self.kind {
            Kind::Events => "Accept: text/event-stream\r\n",
            Kind::Socket => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
        };
        format!("GET /events HTTP/1.1\r\nHost: bench.test\r\n{fields}\r\n").into_bytes()
    }

    fn hear(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<Vec<u8>> {
        self.responses.feed(bytes);
        if !self.is_open {
            let Some(head) = self.responses.head() else { return Ok(Vec::new()) };
            let expected = if self.kind == Kind::Socket { "HTTP/1.1 101" } else { "HTTP/1.1 200" };
            ensure!(head.starts_with(expected), "{head}");
            self.is_open = true;
            tally.settled += 1;
        }
        // Both carry the number of the message in their text, and nothing else that looks like it.
        let (begin, end): (&[u8], &[u8]) = match self.kind {
            Kind::Events => (b"data: ", b"\n\n"),
            Kind::Socket => (b"\"data\":\"", b"\"}"),
        };
        let rest = self.responses.rest();
        let mut done = 0;
        while let Some(at) = memchr::memmem::find(&rest[done..], begin) {
            let from = done + at + begin.len();
            let Some(length) = memchr::memmem::find(&rest[from..], end) else { break };
            ensure!(rest[from..from + length] == *message(self.next).as_bytes(), "not message {}", self.next);
            done = from + length + end.len();
            self.next += 1;
            tally.delivered += 1;
        }
        rest.drain(..done);
        Ok(Vec::new())
    }
}

fn message(number: usize) -> String {
    let filler = (b'a'..=b'z').cycle().map(char::from);
    format!("{number} ").chars().chain(filler).take(BYTES).collect()
}

fn publish(control: SocketAddr, number: usize) -> Result<()> {
    let mut stream = TcpStream::connect(control)?;
    write!(
        stream,
        "POST /channels/news HTTP/1.1\r\nHost: {control}\r\nConnection: close\r\nContent-Length: {BYTES}\r\n\r\n{}",
        message(number)
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

/// One that has everything held, in threads of its own.
fn application() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.3:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the proxy has left");
        request.extend_from_slice(&buffer[..count]);
        while let Some(end) = memchr::memmem::find(&request, b"\r\n\r\n") {
            request.drain(..end + 4);
            let hold = b"HTTP/1.1 200 OK\r\nX-Comet-Subscribe: news\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(hold).context("the proxy has left")?;
        }
    }
}
