//! Bayeux by long-polling: everybody's connect is held, a message ends all of them, and everybody connects again. What a
//! delivery costs is all that the server does for it, the next connect included.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::crowd::{Crowd, Script, Tally};
use crate::response::{Response, Responses, field};
use crate::server::Server;
use crate::{Size, spread};

/// How long everything gets to come to rest.
const REST: Duration = Duration::from_millis(1500);
/// Bytes of a message's data: about what a chat line or a price has.
const BYTES: usize = 100;

const CONFIGURATION: &str = "listen: $LISTEN\ncontrol: $CONTROL\npools: { app: http://127.0.0.1:1 }\nsites:\n  \"*\":\n    \
    routes: [{ path: /, pool: app }, { path: /cometd, bayeux: { timeout: 2m, expiry: 2m } }]\n\
    log: { access: off, level: error }\n";

/// Measures and prints.
pub(crate) fn run(perihelion: &Path, size: &Size, only: Option<&OsStr>) -> Result<()> {
    let start = |number| match number {
        0 => Server::perihelion(perihelion, CONFIGURATION),
        1 => Server::node("faye.mjs"),
        _ => Server::node("cometd.mjs"),
    };
    let names = ["perihelion", "faye", "cometd-nodejs-server"];
    let mut rounds: [Vec<Round>; 3] = Default::default();
    for _ in 0..size.rounds {
        for (number, rounds) in rounds.iter_mut().enumerate() {
            if only.is_some_and(|only| only != names[number]) {
                continue;
            }
            rounds.push(round(&start(number)?, size).context(names[number])?);
        }
    }
    let Size { clients, messages, rounds: count } = size;
    println!(
        "{clients} clients, {messages} messages of {BYTES} bytes, {count} rounds; medians, lowest and highest"
    );
    for (name, rounds) in names.iter().zip(&rounds).filter(|(_, rounds)| !rounds.is_empty()) {
        let (cpu, low, high) = spread(rounds.iter().map(|round| round.cpu_micros).collect());
        let (last, ..) = spread(rounds.iter().map(|round| round.last.as_secs_f64() * 1e3).collect());
        let (kib, ..) = spread(rounds.iter().map(|round| round.kib).collect());
        println!(
            "{name:22} {cpu:7.2} us of processor time a delivery ({low:.2} to {high:.2}), the last one after {last:.0} ms, \
             {kib:.1} KiB a client"
        );
    }
    Ok(())
}

struct Round {
    cpu_micros: f64,
    /// Until everybody had a message.
    last: Duration,
    kib: f64,
}

fn round(server: &Server, size: &Size) -> Result<Round> {
    // What a server sets up once is not counted.
    drop(Crowd::gather(server.address, 8, |_| Client::default())?);
    let mut publisher = Publisher::new(server.address)?;
    std::thread::sleep(REST);
    let idle = server.memory()?;
    let mut crowd = Crowd::gather(server.address, size.clients, |_| Client::default())?;
    crowd.settle(REST)?;
    let kib = (server.memory()? as f64 - idle as f64) / 1024.0 / size.clients as f64;
    let (before, mut longest) = (server.cpu()?, Vec::new());
    for number in 0..size.messages {
        let began = Instant::now();
        publisher.publish(number)?;
        crowd.until((number + 1) * size.clients)?;
        longest.push(began.elapsed());
        crowd.settle(REST / 3)?;
    }
    crowd.settle(REST)?;
    let spent = server.cpu()? - before;
    let deliveries = (size.messages * size.clients) as f64;
    ensure!(crowd.tally.delivered as f64 == deliveries, "{} deliveries", crowd.tally.delivered);
    longest.sort();
    Ok(Round { cpu_micros: spent.as_secs_f64() * 1e6 / deliveries, last: longest[longest.len() / 2], kib })
}

/// One client, which connects again as soon as it is answered.
#[derive(Default)]
struct Client {
    responses: Responses,
    stage: Stage,
    id: String,
    cookie: String,
    next: usize,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Stage {
    #[default]
    Greeted,
    /// The first connect is answered at once.
    First,
    Subscribed,
    Waits,
}

impl Client {
    fn post(&self, body: &str) -> Vec<u8> {
        post(&self.cookie, body)
    }

    fn connect(&self) -> Vec<u8> {
        let id = &self.id;
        self.post(&format!(
            "[{{\"channel\":\"/meta/connect\",\"clientId\":\"{id}\",\"connectionType\":\"long-polling\",\"id\":\"7\"}}]"
        ))
    }

    fn step(&mut self, response: &Response, tally: &mut Tally) -> Result<Vec<u8>> {
        let text = std::str::from_utf8(&response.body)?;
        ensure!(text.contains("\"successful\":true"), "{text}");
        match self.stage {
            Stage::Greeted => {
                self.id = value(text, "\"clientId\":\"").context("no clientId")?.to_owned();
                let cookie = field(&response.head, "set-cookie").and_then(|cookie| cookie.split(';').next());
                self.cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
                self.stage = Stage::First;
                Ok(self.post(&format!(
                    "[{{\"channel\":\"/meta/connect\",\"clientId\":\"{}\",\"connectionType\":\"long-polling\",\
                     \"advice\":{{\"timeout\":0}},\"id\":\"2\"}}]",
                    self.id
                )))
            }
            Stage::First => {
                self.stage = Stage::Subscribed;
                let id = &self.id;
                Ok(self.post(&format!(
                    "[{{\"channel\":\"/meta/subscribe\",\"clientId\":\"{id}\",\"subscription\":\"/news\",\"id\":\"3\"}}]"
                )))
            }
            Stage::Subscribed => {
                self.stage = Stage::Waits;
                tally.settled += 1;
                Ok(self.connect())
            }
            Stage::Waits => {
                let mut rest = text;
                while let Some(data) = value(rest, "\"data\":\"") {
                    ensure!(data == message(self.next), "{data} instead of message {}", self.next);
                    self.next += 1;
                    tally.delivered += 1;
                    rest = &rest[rest.find(data).unwrap_or_default() + data.len()..];
                }
                Ok(self.connect())
            }
        }
    }
}

impl Script for Client {
    fn begin(&mut self) -> Vec<u8> {
        post("", HANDSHAKE)
    }

    fn hear(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<Vec<u8>> {
        self.responses.feed(bytes);
        let mut said = Vec::new();
        while let Some(response) = self.responses.next()? {
            said.extend(self.step(&response, tally)?);
        }
        Ok(said)
    }
}

const HANDSHAKE: &str = "[{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"minimumVersion\":\"1.0\",\
    \"supportedConnectionTypes\":[\"long-polling\"],\"id\":\"1\"}]";

/// What stands behind a key, up to the next quotation mark.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let begin = text.find(key)? + key.len();
    text[begin..].split('"').next()
}

fn message(number: usize) -> String {
    let filler = (b'a'..=b'z').cycle().map(char::from);
    format!("{number} ").chars().chain(filler).take(BYTES).collect()
}

fn post(cookie: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /cometd HTTP/1.1\r\nHost: bench.test\r\nContent-Type: application/json\r\n{cookie}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A client that only publishes, on a connection for each request: Node closes those that are idle for five seconds.
struct Publisher {
    address: SocketAddr,
    client: Client,
}

impl Publisher {
    fn new(address: SocketAddr) -> Result<Publisher> {
        let mut publisher = Publisher { address, client: Client::default() };
        let answer = publisher.ask(&post("", HANDSHAKE))?;
        publisher.client.step(&answer, &mut Tally::default())?;
        Ok(publisher)
    }

    fn publish(&mut self, number: usize) -> Result<()> {
        let (id, data) = (&self.client.id, message(number));
        let body =
            format!("[{{\"channel\":\"/news\",\"clientId\":\"{id}\",\"data\":\"{data}\",\"id\":\"9\"}}]");
        let asked = self.client.post(&body);
        self.ask(&asked).map(|_| ())
    }

    fn ask(&mut self, request: &[u8]) -> Result<Response> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(request)?;
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer)?;
            ensure!(count > 0, "the publisher was cut off");
            self.client.responses.feed(&buffer[..count]);
            if let Some(response) = self.client.responses.next()? {
                return Ok(response);
            }
        }
    }
}
