//! The publishers: a few threads with many connections each; every connection waits for its answers before it goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How publishers speak.
#[derive(Clone, Copy)]
pub(crate) enum Speech {
    /// To the control port.
    Http,
    /// `XADD` with a bound on the stream's length.
    Redis,
}

/// Few, so that the clients' own switches cost the server little.
const THREADS: usize = 2;

/// Publishes for some time; how many messages were answered.
pub(crate) fn publish(
    address: SocketAddr,
    speech: Speech,
    at_once: usize,
    publishers: usize,
    bytes: usize,
    time: Duration,
) -> Result<u64> {
    let request = speech.request(address, at_once, &"x".repeat(bytes));
    let until = Instant::now() + time;
    thread::scope(|scope| {
        let run = || scope.spawn(|| run(address, speech, at_once, publishers / THREADS, &request, until));
        let threads: Vec<_> = (0..THREADS).map(|_| run()).collect();
        let counts = threads.into_iter().map(|thread| thread.join().expect("a thread that returns errors"));
        counts.sum()
    })
}

/// Publishes `count` messages on each channel over one connection.
pub(crate) fn publish_to(address: SocketAddr, channels: &[String], count: usize, data: &str) -> Result<()> {
    let (mut stream, mut buffer) = (TcpStream::connect(address)?, vec![0; 64 * 1024]);
    // Some channels at a time, so that an answer fits into the buffer.
    for some in channels.chunks(20) {
        let item = |channel: &String| format!("{{\"channel\":\"{channel}\",\"data\":\"{data}\"}}");
        let items: Vec<String> = some.iter().flat_map(|channel| vec![item(channel); count]).collect();
        stream.write_all(&http(address, "/publish", &format!("{{\"items\":[{}]}}", items.join(","))))?;
        Speech::Http.read_answers(&mut stream, items.len(), &mut buffer)?;
    }
    Ok(())
}

/// One round after the other: something on each connection, then the answers of each.
fn run(
    address: SocketAddr,
    speech: Speech,
    at_once: usize,
    publishers: usize,
    request: &[u8],
    until: Instant,
) -> Result<u64> {
    let connect = |_| -> Result<TcpStream> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut streams = (0..publishers).map(connect).collect::<Result<Vec<_>>>()?;
    let (mut answered, mut buffer) = (0, vec![0; 64 * 1024]);
    while Instant::now() < until {
        for stream in &mut streams {
            stream.write_all(request)?;
        }
        for stream in &mut streams {
            speech.read_answers(stream, at_once, &mut buffer)?;
            answered += at_once as u64;
        }
    }
    Ok(answered)
}

impl Speech {
    fn request(self, address: SocketAddr, at_once: usize, data: &str) -> Vec<u8> {
        match self {
            Speech::Http if at_once == 1 => http(address, "/channels/news", data),
            Speech::Http => {
                let item = format!("{{\"channel\":\"news\",\"data\":\"{data}\"}}");
                http(address, "/publish", &format!("{{\"items\":[{}]}}", vec![item; at_once].join(",")))
            }
            Speech::Redis => {
                let words = ["XADD", "news", "MAXLEN", "~", "100", "*", "data", data];
                let command: String = words.map(|word| format!("${}\r\n{word}\r\n", word.len())).concat();
                format!("*{}\r\n{command}", words.len()).repeat(at_once).into_bytes()
            }
        }
    }

    fn read_answers(self, stream: &mut TcpStream, at_once: usize, buffer: &mut [u8]) -> Result<()> {
        let mut length = 0;
        while !self.is_whole(&buffer[..length], at_once)? {
            let read = stream.read(&mut buffer[length..])?;
            ensure!(read > 0, "the server has closed the connection, or says more than was expected");
            length += read;
        }
        Ok(())
    }

    fn is_whole(self, answer: &[u8], at_once: usize) -> Result<bool> {
        match self {
            Speech::Http => {
                let text = std::str::from_utf8(answer)?;
                let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(false) };
                ensure!(head.starts_with("HTTP/1.1 200"), "{text}");
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                Ok(body.len() == length.context("no length")?.parse::<usize>()?)
            }
            // Each answer is a length and an id, in a line each.
            Speech::Redis => match answer.first() {
                Some(b'-') => bail!("{}", String::from_utf8_lossy(answer)),
                _ => Ok(answer.iter().filter(|byte| **byte == b'\n').count() == 2 * at_once),
            },
        }
    }
}

fn http(address: SocketAddr, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}
