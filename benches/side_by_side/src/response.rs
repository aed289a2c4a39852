//! Reads HTTP/1 responses piece by piece without keeping them (RFC 9112 §6.3, §7.1).
//!
//! Bodies may have a length, chunks, or end with the connection; HTTP/1.0 with keep-alive is understood. Between
//! pieces only an unfinished line is kept, so that a held connection costs the client little.

use anyhow::{Result, bail, ensure};

/// Longest response head, chunk line or trailer that is accepted, in bytes.
const LINE_MAX: usize = 16 * 1024;

/// One response that is being read.
#[derive(Default)]
pub(crate) struct Response {
    phase: Phase,
    /// Bytes of a head or a chunk line whose end has not come yet.
    unfinished: Vec<u8>,
    status: u16,
    keep_alive: bool,
}

#[derive(Default, PartialEq)]
enum Phase {
    #[default]
    Head,
    Sized(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Done,
}

impl Response {
    /// Takes the beginning of `input` that belongs to this response, hands body bytes on, returns how much was taken.
    pub(crate) fn feed(&mut self, input: &[u8], mut body: impl FnMut(&[u8])) -> Result<usize> {
        let mut at = 0;
        while at < input.len() && self.phase != Phase::Done {
            let rest = &input[at..];
            at += match self.phase {
                Phase::Sized(left) => {
                    let taken = pass(rest, left, &mut body);
                    self.phase = sized(left - taken as u64);
                    taken
                }
                Phase::Chunk(left) => {
                    let taken = pass(rest, left, &mut body);
                    self.phase = if left == taken as u64 {
                        Phase::ChunkEnd
                    } else {
                        Phase::Chunk(left - taken as u64)
                    };
                    taken
                }
                Phase::UntilClose => {
                    body(rest);
                    rest.len()
                }
                Phase::Head => self.take_head(rest)?,
                Phase::ChunkSize | Phase::ChunkEnd | Phase::Trailers => self.take_line(rest)?,
                Phase::Done => 0,
            };
        }
        Ok(at)
    }

    /// The status code, 0 until the head is complete.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The head is complete.
    pub(crate) fn has_head(&self) -> bool {
        self.status != 0
    }

    /// The response is complete.
    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// The connection can carry another request after this response.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    fn take_head(&mut self, input: &[u8]) -> Result<usize> {
        let before = self.unfinished.len();
        let room = LINE_MAX - before;
        self.unfinished.extend_from_slice(&input[..input.len().min(room)]);
        let Some(end) = memchr::memmem::find(&self.unfinished, b"\r\n\r\n") else {
            ensure!(self.unfinished.len() < LINE_MAX, "the response head is longer than {LINE_MAX} bytes");
            return Ok(input.len().min(room));
        };
        let head = std::mem::take(&mut self.unfinished);
        self.read_head(std::str::from_utf8(&head[..end])?)?;
        Ok(end + 4 - before)
    }

    fn read_head(&mut self, head: &str) -> Result<()> {
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let mut words = status_line.split(' ');
        let version = words.next().unwrap_or_default();
        ensure!(version.starts_with("HTTP/1."), "not an HTTP/1 response: {status_line:?}");
        let Some(status) = words.next().and_then(|word| word.parse().ok()) else {
            bail!("no status in {status_line:?}");
        };
        let (mut length, mut chunked, mut connection) = (None, false, String::new());
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse()?),
                "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
                "connection" => connection = value.trim().to_ascii_lowercase(),
                _ => {}
            }
        }
        self.phase = match (chunked, length) {
            _ if status == 204 || status == 304 => Phase::Done,
            (true, _) => Phase::ChunkSize,
            (false, Some(length)) => sized(length),
            (false, None) => Phase::UntilClose,
        };
        let persistent =
            if version == "HTTP/1.0" { connection == "keep-alive" } else { connection != "close" };
        self.keep_alive = persistent && self.phase != Phase::UntilClose;
        self.status = status;
        Ok(())
    }

    fn take_line(&mut self, input: &[u8]) -> Result<usize> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            self.unfinished.extend_from_slice(input);
            ensure!(self.unfinished.len() <= LINE_MAX, "a chunk line is longer than {LINE_MAX} bytes");
            return Ok(input.len());
        };
        if self.unfinished.is_empty() {
            self.read_line(&input[..end])?;
        } else {
            let mut line = std::mem::take(&mut self.unfinished);
            line.extend_from_slice(&input[..end]);
            self.read_line(&line)?;
        }
        Ok(end + 1)
    }

    fn read_line(&mut self, line: &[u8]) -> Result<()> {
        let Some(line) = line.strip_suffix(b"\r") else {
            bail!("a line of chunked framing does not end with CRLF")
        };
        self.phase = match self.phase {
            Phase::ChunkSize => match chunk_size(line)? {
                0 => Phase::Trailers,
                size => Phase::Chunk(size),
            },
            Phase::ChunkEnd => {
                ensure!(line.is_empty(), "a chunk is longer than its size says");
                Phase::ChunkSize
            }
            _ if line.is_empty() => Phase::Done,
            _ => Phase::Trailers,
        };
        Ok(())
    }
}

fn sized(left: u64) -> Phase {
    if left == 0 { Phase::Done } else { Phase::Sized(left) }
}

/// Hands on at most `left` bytes, returns how many.
fn pass(input: &[u8], left: u64, body: &mut impl FnMut(&[u8])) -> usize {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    body(&input[..taken]);
    taken
}

fn chunk_size(line: &[u8]) -> Result<u64> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let text = std::str::from_utf8(digits)?.trim();
    Ok(u64::from_str_radix(text, 16)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a response in pieces of every size and expects the same each time.
    fn read(wire: &str) -> (u16, bool, bool, String) {
        let mut outcomes = (1..=wire.len()).map(|size| {
            let (mut response, mut body) = (Response::default(), Vec::new());
            for piece in wire.as_bytes().chunks(size) {
                response.feed(piece, |bytes| body.extend_from_slice(bytes)).unwrap();
            }
            (response.status(), response.is_done(), response.keeps_alive(), String::from_utf8(body).unwrap())
        });
        let first = outcomes.next().unwrap();
        assert!(outcomes.all(|outcome| outcome == first));
        first
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", (200, true, true, "abc")),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
                (200, true, true, "abc"),
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", (200, true, false, "abc")),
            ("HTTP/1.1 200 OK\r\n\r\nabc", (200, false, false, "abc")),
            ("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", (204, true, false, "")),
            (
                "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
                (201, true, true, "abc0123456789"),
            ),
        ];
        for (wire, (status, done, alive, body)) in cases {
            assert_eq!(read(wire), (status, done, alive, body.to_owned()), "{wire:?}");
        }
    }

    #[test]
    fn what_follows_a_response_is_left() {
        let mut response = Response::default();
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1";
        assert_eq!(response.feed(wire, |_| ()).unwrap(), wire.len() - 8);
    }

    #[test]
    fn broken_framing_is_an_error() {
        for wire in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"] {
            assert!(Response::default().feed(wire.as_bytes(), |_| ()).is_err(), "{wire:?}");
        }
    }
}
