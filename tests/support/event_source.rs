//! A client of server-sent events that reads them as browsers do (WHATWG HTML §9.2) and comes back with its position.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Raw;

/// An event as a page would see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    /// `message` where the stream names none.
    pub(crate) event: String,
    pub(crate) data: String,
}

pub(crate) struct EventSource {
    raw: Raw,
    text: String,
    events: VecDeque<Event>,
    ended: bool,
    pub(crate) comments: usize,
    /// The last reconnection time that the stream named, in milliseconds.
    pub(crate) retry: Option<u64>,
    pub(crate) last_event_id: Option<String>,
}

impl EventSource {
    pub(crate) fn open(address: SocketAddr, target: &str) -> EventSource {
        EventSource::over(Raw::connect(address), target, None)
    }

    /// As a browser does after a loss.
    pub(crate) fn resume(address: SocketAddr, target: &str, last_event_id: &str) -> EventSource {
        EventSource::over(Raw::connect(address), target, Some(last_event_id))
    }

    /// Asks on a connection that is there already.
    #[track_caller]
    pub(crate) fn over(mut raw: Raw, target: &str, last_event_id: Option<&str>) -> EventSource {
        let position = last_event_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        raw.send(format!(
            "GET {target} HTTP/1.1\r\nHost: example.com\r\nAccept: text/event-stream\r\n{position}\r\n"
        ));
        let head = raw.head();
        assert_eq!(head.status(), 200, "{head:?}");
        assert_eq!(head.get("content-type"), Some("text/event-stream"), "{head:?}");
        EventSource {
            raw,
            text: String::new(),
            events: VecDeque::new(),
            ended: false,
            comments: 0,
            retry: None,
            last_event_id: last_event_id.map(str::to_string),
        }
    }

    /// The next event; fails where the stream ends before.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Event {
        self.next_or_end().expect("the stream ended")
    }

    /// The data of so many events.
    #[track_caller]
    pub(crate) fn data(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next().data).collect()
    }

    /// Reads until so many comments have come.
    #[track_caller]
    pub(crate) fn wait_for_comments(&mut self, count: usize) {
        while self.comments < count {
            assert!(self.read(), "the stream ended");
        }
    }

    /// The next event, or `None` once the stream has ended with its last chunk.
    #[track_caller]
    pub(crate) fn next_or_end(&mut self) -> Option<Event> {
        while self.events.is_empty() && self.read() {}
        self.events.pop_front()
    }

    /// See [`Raw::cut_cable`].
    pub(crate) fn cut_cable(&self) {
        self.raw.cut_cable();
    }

    /// The connection, after the stream has ended.
    pub(crate) fn into_raw(self) -> Raw {
        assert!(self.ended && self.events.is_empty());
        self.raw
    }

    #[track_caller]
    fn read(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let Some(chunk) = self.raw.chunk() else {
            self.ended = true;
            return false;
        };
        self.text.push_str(std::str::from_utf8(&chunk).expect("events are UTF-8, whole in each chunk"));
        while let Some(end) = self.text.find("\n\n") {
            let block: String = self.text.drain(..end + 2).collect();
            self.read_block(&block);
        }
        true
    }

    fn read_block(&mut self, block: &str) {
        let mut event = Event::default();
        let mut lines = Vec::new();
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" => self.comments += 1,
                "data" => lines.push(value),
                "event" => event.event = value.to_string(),
                "id" => event.id = Some(value.to_string()),
                "retry" => self.retry = Some(value.parse().expect("milliseconds")),
                // Browsers pass over what they don't know.
                _ => {}
            }
        }
        if event.id.is_some() {
            self.last_event_id = event.id.clone();
        }
        if lines.is_empty() {
            return;
        }
        if event.event.is_empty() {
            event.event = "message".to_string();
        }
        event.data = lines.join("\n");
        self.events.push_back(event);
    }
}
