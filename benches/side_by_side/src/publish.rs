//! Publishing to each kind of server over one kept connection, one message or a whole burst.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::events::Published;
use crate::response::Response;

/// A publish that is not answered for so long has failed.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How a server is told to publish on channel `x`.
#[derive(Clone, Copy)]
pub(crate) enum Dialect {
    /// Perihelion's control port: `POST /channels/x`, and `POST /publish` for a burst.
    Perihelion,
    /// nchan's publisher location; a burst is that many requests in a row, pipelined.
    Nchan,
    /// `POST /publish/` with items of GRIP, which say the bytes of the stream; a connection for each, as Pushpin wants it.
    Grip,
    /// The bare loop: a line for each message.
    Bare,
}

/// A connection to publish over.
pub(crate) struct Publisher {
    stream: TcpStream,
    dialect: Dialect,
    host: SocketAddr,
    /// Bytes read behind an answer.
    ahead: Vec<u8>,
}

impl Publisher {
    /// Connects to where the server takes messages.
    pub(crate) fn connect(dialect: Dialect, address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("can't connect to publish at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream, dialect, host: address, ahead: Vec::new() })
    }

    /// Publishes one message and waits for the answer.
    pub(crate) fn one(&mut self, message: &Published) -> Result<()> {
        let path = match self.dialect {
            Dialect::Perihelion => "/channels/x",
            Dialect::Nchan | Dialect::Bare => "/pub",
            Dialect::Grip => return self.grip(std::iter::once(message)),
        };
        self.exchange(&post(self.host, path, "text/plain", &message.data), 1)
    }

    /// Publishes many in the way in which the server takes them fastest, and waits for all answers.
    pub(crate) fn burst(&mut self, messages: &[Arc<Published>]) -> Result<()> {
        match self.dialect {
            Dialect::Perihelion => {
                let items: Vec<_> = messages
                    .iter()
                    .map(|message| serde_json::json!({ "channel": "x", "data": String::from_utf8_lossy(&message.data) }))
                    .collect();
                let body = serde_json::json!({ "items": items }).to_string();
                self.exchange(&post(self.host, "/publish", "application/json", body.as_bytes()), 1)
            }
            Dialect::Grip => self.grip(messages.iter().map(AsRef::as_ref)),
            Dialect::Nchan => {
                let posts: Vec<u8> = messages
                    .iter()
                    .flat_map(|message| post(self.host, "/pub", "text/plain", &message.data))
                    .collect();
                self.exchange(&posts, messages.len())
            }
            Dialect::Bare => {
                let lines: Vec<&[u8]> = messages.iter().map(|message| message.data.as_slice()).collect();
                self.exchange(&post(self.host, "/pub", "text/plain", &lines.join(&b'\n')), 1)
            }
        }
    }

    fn grip<'a>(&mut self, messages: impl Iterator<Item = &'a Published>) -> Result<()> {
        let item = |message: &Published| {
            let content = format!("data: {}\n\n", String::from_utf8_lossy(&message.data));
            serde_json::json!({ "channel": "x", "formats": { "http-stream": { "content": content } } })
        };
        let body = serde_json::json!({ "items": messages.map(item).collect::<Vec<_>>() }).to_string();
        *self = Publisher::connect(self.dialect, self.host)?;
        self.exchange(&post(self.host, "/publish/", "application/json", body.as_bytes()), 1)
    }

    fn exchange(&mut self, requests: &[u8], answers: usize) -> Result<()> {
        self.stream.write_all(requests).context("can't publish")?;
        for _ in 0..answers {
            self.read_answer()?;
        }
        Ok(())
    }

    fn read_answer(&mut self) -> Result<()> {
        let (mut response, mut text) = (Response::default(), Vec::new());
        let mut buffer = [0; 16 * 1024];
        loop {
            let taken = response.feed(&self.ahead, |body| text.extend_from_slice(body))?;
            self.ahead.drain(..taken);
            if response.is_done() {
                break;
            }
            let count = self.stream.read(&mut buffer).context("no answer to a publish")?;
            ensure!(count > 0, "the server closed the publisher's connection");
            self.ahead.extend_from_slice(&buffer[..count]);
        }
        let text = String::from_utf8_lossy(&text);
        ensure!(
            matches!(response.status(), 200..=202),
            "a publish was answered {}: {text}",
            response.status()
        );
        Ok(())
    }
}

fn post(host: SocketAddr, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
