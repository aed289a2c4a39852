//! Answers of HTTP/1.1 as they come in, whole: their status, their cookie and their body.

use anyhow::{Context, Result, ensure};

#[derive(Default)]
pub(crate) struct Responses(Vec<u8>);

pub(crate) struct Response {
    /// With its status line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Responses {
    /// Takes bytes in.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The head of an answer whose body has no end, and what has come of that.
    pub(crate) fn head(&mut self) -> Option<String> {
        let end = memchr::memmem::find(&self.0, b"\r\n\r\n")? + 4;
        Some(String::from_utf8_lossy(&self.0.drain(..end).collect::<Vec<_>>()).into_owned())
    }

    /// All that has come and was not taken.
    pub(crate) fn rest(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The next answer, once all of it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Response>> {
        let Some(end) = memchr::memmem::find(&self.0, b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.0[..end]).into_owned();
        let (mut at, mut body) = (end + 4, Vec::new());
        match field(&head, "content-length") {
            Some(length) => {
                let length: usize = length.parse().context("a length")?;
                if self.0.len() < at + length {
                    return Ok(None);
                }
                body.extend_from_slice(&self.0[at..at + length]);
                at += length;
            }
            None => loop {
                let Some(line) = memchr::memmem::find(&self.0[at..], b"\r\n") else { return Ok(None) };
                let size = std::str::from_utf8(&self.0[at..at + line])?;
                let size = usize::from_str_radix(size, 16).with_context(|| format!("a chunk in {head}"))?;
                let begin = at + line + 2;
                if self.0.len() < begin + size + 2 {
                    return Ok(None);
                }
                body.extend_from_slice(&self.0[begin..begin + size]);
                at = begin + size + 2;
                if size == 0 {
                    break;
                }
            },
        }
        self.0.drain(..at);
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
        Ok(Some(Response { head, body }))
    }
}

/// The value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
