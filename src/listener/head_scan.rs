//! Finds where a head ends while its bytes arrive, and refuses it as soon as no continuation could mend it.
//!
//! Each byte is searched once, however small the pieces; fields are parsed once, when the head is whole.

use super::request_head::{self, Head};
use super::request_line::RequestLine;
use super::request_reader::{HeadLimits, Refusal};

/// How far an unfinished head has been searched. Positions count from its first byte.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    searched: usize,
    line_start: usize,
    /// Field lines so far.
    fields: usize,
    request_line: Option<ScannedLine>,
}

#[derive(Debug)]
struct ScannedLine {
    start: usize,
    line: RequestLine,
}

impl HeadScan {
    /// Goes on with all bytes of the head that are there, those of earlier calls included; they may go beyond
    /// its end. Gives the head and its length; `None` if the end hasn't come.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<(usize, Head)>, Refusal> {
        let searched = self.searched;
        for lf in memchr::memchr_iter(b'\n', &bytes[searched..]).map(|at| at + searched) {
            if lf >= limits.header_bytes {
                return Err(self.too_large());
            }
            // A line feed right behind another one fails this too: what precedes it is no carriage return.
            let line =
                bytes[self.line_start..lf].strip_suffix(b"\r").ok_or(Refusal::bad("bare line feed"))?;
            let start = std::mem::replace(&mut self.line_start, lf + 1);
            if !line.is_empty() {
                self.line(start, line, limits)?;
            } else if let Some(ScannedLine { start, line }) = &self.request_line {
                let head = request_head::read(&bytes[*start..=lf], line)?;
                return Ok(Some((lf + 1, head)));
            } else if start > 0 {
                // One is what RFC 9112 §2.2 asks a server to ignore.
                return Err(Refusal::bad("empty lines before the request"));
            }
        }
        self.searched = bytes.len();
        self.check_unfinished(bytes, limits).map(|()| None)
    }

    fn line(&mut self, start: usize, line: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
        if self.request_line.is_none() {
            self.request_line = Some(ScannedLine { start, line: RequestLine::parse(line, limits)? });
            return Ok(());
        }
        self.fields += 1;
        if self.fields > limits.headers { Err(request_head::TOO_MANY_FIELDS) } else { Ok(()) }
    }

    fn check_unfinished(&self, bytes: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
        let begun = &bytes[self.line_start..];
        let perhaps_empty_line = self.line_start == 0 && begun == b"\r";
        if self.request_line.is_none() && !perhaps_empty_line {
            RequestLine::check_beginning(begun, limits)?;
        }
        if bytes.len() >= limits.header_bytes { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> Refusal {
        match self.request_line {
            None => RequestLine::too_long(),
            Some(_) => Refusal { status: 431, reason: "request header too large" },
        }
    }
}
