//! `application/websocket-events`: what is said on a WebSocket, as the body of a request or of an answer; pure.
//!
//! `TEXT 5\r\nhello\r\n`: a type, the length of the content in hexadecimal, the content. Without content there is only the
//! type. <https://pushpin.org/docs/protocols/websocket-over-http/>

use bytes::Bytes;

/// The media type of such a body.
pub const EVENTS: &str = "application/websocket-events";

/// Whether a media type is that one, whatever parameters stand behind it.
pub fn is_events(media_type: &[u8]) -> bool {
    let name = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(EVENTS.as_bytes())
}

/// What happens on a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It begins.
    Open,
    /// A message of text.
    Text,
    /// A message of bytes.
    Binary,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// It is closed, with a code and a reason where there are some.
    Close,
    /// It is lost.
    Disconnect,
}

impl EventKind {
    const WORDS: [(&'static str, EventKind); 7] = [
        ("OPEN", EventKind::Open),
        ("TEXT", EventKind::Text),
        ("BINARY", EventKind::Binary),
        ("PING", EventKind::Ping),
        ("PONG", EventKind::Pong),
        ("CLOSE", EventKind::Close),
        ("DISCONNECT", EventKind::Disconnect),
    ];

    fn word(self) -> &'static str {
        EventKind::WORDS[self as usize].0
    }

    fn is_message(self) -> bool {
        matches!(self, EventKind::Text | EventKind::Binary)
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happens.
    pub kind: EventKind,
    /// What stands in it.
    pub content: Bytes,
}

/// A body that isn't one of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's WebSocket events break off or have a wrong length")]
pub struct BadEvents;

impl Event {
    /// One without content.
    pub fn bare(kind: EventKind) -> Event {
        Event { kind, content: Bytes::new() }
    }

    /// A close with code and reason, or without.
    pub fn close(said: Option<(u16, &str)>) -> Event {
        let content =
            said.map_or(Vec::new(), |(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat());
        Event { kind: EventKind::Close, content: content.into() }
    }

    /// Code and reason of a close, where it has some.
    pub fn closing(&self) -> Option<(u16, String)> {
        let (code, reason) = self.content.split_first_chunk::<2>()?;
        Some((u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()))
    }

    /// Writes it. A message has a length even where it is empty.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.kind.word().as_bytes());
        if self.kind.is_message() || !self.content.is_empty() {
            out.extend_from_slice(format!(" {:x}\r\n", self.content.len()).as_bytes());
            out.extend_from_slice(&self.content);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads a body. Types that are unknown are passed over.
///
/// # Errors
/// A line or a content doesn't end where it should.
pub fn read_events(mut body: Bytes) -> Result<Vec<Event>, BadEvents> {
    let mut events = Vec::new();
    while !body.is_empty() {
        let line = take_line(&mut body)?;
        let line = std::str::from_utf8(&line).map_err(|_| BadEvents)?;
        let (word, length) = line.split_once(' ').map_or((line, None), |(word, length)| (word, Some(length)));
        let content = length.map(|length| take_content(&mut body, length)).transpose()?;
        let known = EventKind::WORDS.iter().find(|(own, _)| *own == word);
        events.extend(known.map(|(_, kind)| Event { kind: *kind, content: content.unwrap_or_default() }));
    }
    Ok(events)
}

fn take_line(body: &mut Bytes) -> Result<Bytes, BadEvents> {
    let end = memchr::memmem::find(body, END).ok_or(BadEvents)?;
    let line = body.split_to(end);
    let _ = body.split_to(END.len());
    Ok(line)
}

fn take_content(body: &mut Bytes, length: &str) -> Result<Bytes, BadEvents> {
    let is_plain = !length.is_empty() && length.bytes().all(|digit| digit.is_ascii_hexdigit());
    let length = usize::from_str_radix(length, 16).ok().filter(|_| is_plain).ok_or(BadEvents)?;
    if body.len() < END.len() || body.len() - END.len() < length || !body[length..].starts_with(END) {
        return Err(BadEvents);
    }
    let content = body.split_to(length);
    let _ = body.split_to(END.len());
    Ok(content)
}

const END: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, content: &'static [u8]) -> Event {
        Event { kind, content: Bytes::from_static(content) }
    }

    #[test]
    fn what_is_written_is_read() {
        for (event, bytes) in [
            (Event::bare(EventKind::Open), &b"OPEN\r\n"[..]),
            (event(EventKind::Text, b"hello"), b"TEXT 5\r\nhello\r\n"),
            (event(EventKind::Text, b""), b"TEXT 0\r\n\r\n"),
            (event(EventKind::Binary, b"0123456789\r\n\0\x01"), b"BINARY e\r\n0123456789\r\n\0\x01\r\n"),
            (Event::bare(EventKind::Ping), b"PING\r\n"),
            (event(EventKind::Pong, b"x"), b"PONG 1\r\nx\r\n"),
            (Event::close(Some((1000, "bye"))), b"CLOSE 5\r\n\x03\xe8bye\r\n"),
            (Event::close(None), b"CLOSE\r\n"),
            (Event::bare(EventKind::Disconnect), b"DISCONNECT\r\n"),
        ] {
            let mut written = Vec::new();
            event.write(&mut written);
            assert_eq!(written, bytes);
            assert_eq!(read_events(Bytes::from_static(bytes)), Ok(vec![event]));
        }
        assert_eq!(Event::close(Some((1000, "bye"))).closing(), Some((1000, "bye".into())));
        assert_eq!(event(EventKind::Close, b"\x03").closing(), None);
    }

    #[test]
    fn events_stand_behind_one_another_and_unknown_ones_are_passed_over() {
        let read = read_events(Bytes::from_static(
            b"OPEN\r\nNOISE 2\r\n\r\n\r\nTEXT F\r\n0123456789abcde\r\nNIL\r\n",
        ));
        assert_eq!(read, Ok(vec![Event::bare(EventKind::Open), event(EventKind::Text, b"0123456789abcde")]));
        assert_eq!(read_events(Bytes::new()), Ok(Vec::new()));
    }

    #[test]
    fn what_has_no_end_is_no_event() {
        for bad in [
            "OPEN",
            "TEXT 5\r\nhell",
            "TEXT 5\r\nhello",
            "TEXT 4\r\nhello\r\n",
            "TEXT 6\r\nhello\r\n",
            "TEXT x\r\nhello\r\n",
            "TEXT +5\r\nhello\r\n",
            "TEXT \r\n\r\n",
            "TEXT ffffffffffffffff\r\n\r\n",
            "TEXT 10000000000000000\r\n\r\n",
        ] {
            assert_eq!(read_events(Bytes::copy_from_slice(bad.as_bytes())), Err(BadEvents), "{bad}");
        }
    }
}
