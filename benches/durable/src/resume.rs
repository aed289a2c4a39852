//! Clients that come back all at once: each brings its ticket and the position that it has processed, and gets what it
//! missed, while there is no application.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client;
use crate::server::Server;

/// Clients that come back.
pub(crate) const CLIENTS: usize = 10_000;
/// What each has missed.
pub(crate) const MISSED: usize = 20;
/// Those of which a thread waits for everything before it connects the next.
const AT_ONCE: usize = 100;
const THREADS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// On which channels they are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Channels {
    /// All on one.
    Shared,
    /// Each on one of its own.
    Own,
}

/// How long it took, and what it cost the server.
pub(crate) struct Return {
    pub(crate) took: Duration,
    pub(crate) cpu_micros: f64,
}

/// A client that has been held once.
struct Client {
    target: String,
    ticket: String,
    position: String,
}

/// One round with a server of its own.
pub(crate) fn round(binary: &Path, folder: &Path, channels: Channels, bytes: usize) -> Result<Return> {
    std::fs::create_dir_all(folder)?;
    let application = TcpListener::bind("127.0.0.1:0")?;
    let address = application.local_addr()?;
    // A thread for each of the few connections that the proxy opens.
    thread::spawn(move || {
        application.incoming().flatten().for_each(|client| drop(thread::spawn(move || answer(client))));
    });
    let server = Server::perihelion_before(binary, folder, address)?;
    let clients = hold_once(&server, channels)?;
    let names: Vec<String> = clients.iter().map(|client| client.target[2..].to_owned()).collect();
    client::publish_to(server.address, &names, MISSED, &"x".repeat(bytes))?;
    let all: Vec<&Client> = (0..CLIENTS).map(|number| &clients[number % clients.len()]).collect();
    let before = server.cpu()?;
    let began = Instant::now();
    // They stay until everybody is there.
    let held: Vec<Result<Vec<TcpStream>>> = thread::scope(|scope| {
        let http = server.http;
        let come_back = |clients| scope.spawn(move || come_back(http, clients));
        let threads: Vec<_> = all.chunks(CLIENTS / THREADS).map(come_back).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that returns errors")).collect()
    });
    let held = held.into_iter().collect::<Result<Vec<_>>>()?;
    ensure!(held.iter().map(Vec::len).sum::<usize>() == CLIENTS, "some are missing");
    let cpu = server.cpu()? - before;
    Ok(Return { took: began.elapsed(), cpu_micros: cpu.as_secs_f64() * 1e6 / CLIENTS as f64 })
}

/// An application that has a client held on the channel that its query names.
fn answer(mut client: TcpStream) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = client.read(&mut buffer)?;
        ensure!(length > 0, "the proxy has gone");
        let text = std::str::from_utf8(&buffer[..length])?;
        let channel = text.split(['?', ' ']).nth(2).context("no query")?;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Comet-Transport: sse\r\nX-Comet-Ticket: 1h\r\n";
        client.write_all(format!("{head}X-Comet-Subscribe: {channel}\r\n\r\n").as_bytes())?;
    }
}

fn hold_once(server: &Server, channels: Channels) -> Result<Vec<Client>> {
    let count = if channels == Channels::Shared { 1 } else { CLIENTS };
    (0..count).map(|number| first_time(server.http, &format!("c{number}"))).collect()
}

fn first_time(address: SocketAddr, channel: &str) -> Result<Client> {
    let target = format!("/?{channel}");
    let mut stream = connect(address)?;
    stream.write_all(request(&target, "").as_bytes())?;
    let text = read_until(&mut stream, |text| text.contains("comet.ticket") && text.ends_with("\n\r\n"))?;
    let field = |name: &str, end: char| {
        let start = text.find(name).with_context(|| format!("no {name} in {text}"))? + name.len();
        Ok::<_, anyhow::Error>(text[start..].split(end).next().unwrap_or_default().trim().to_owned())
    };
    Ok(Client { target, ticket: field("set-cookie: ", ';')?, position: field("id: ", '\n')? })
}

fn come_back(address: SocketAddr, clients: &[&Client]) -> Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(clients.len());
    for some in clients.chunks(AT_ONCE) {
        let begin = held.len();
        for Client { target, ticket, position } in some {
            let mut stream = connect(address)?;
            let fields = format!("Cookie: {ticket}\r\nLast-Event-ID: {position}\r\n");
            stream.write_all(request(target, &fields).as_bytes())?;
            held.push(stream);
        }
        for stream in &mut held[begin..] {
            let text = read_until(stream, |text| text.matches("data: x").count() >= MISSED)?;
            ensure!(!text.contains("comet.gap"), "a gap: {text}");
        }
    }
    Ok(held)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn request(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n{fields}\r\n")
}

fn read_until(stream: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> Result<String> {
    let (mut text, mut buffer) = (String::new(), [0; 16 * 1024]);
    while !is_enough(&text) {
        let length = stream.read(&mut buffer)?;
        ensure!(length > 0, "the server has closed the connection: {text}");
        text.push_str(std::str::from_utf8(&buffer[..length])?);
    }
    Ok(text)
}
