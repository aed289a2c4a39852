//! What every transport promises, asked of each member of the table: order, split reads, signs of life, gaps, size,
//! and that nothing published leaves its frame. Each has a reader here that is as lenient as its clients are.

use std::time::Instant;

use bytes::Bytes;

use super::ndjson::tests::gap;
use super::{Around, Closing, Delivery, MediaType, NONE, Opening, TRANSPORTS, Transport, fields};
use crate::message::{ChannelName, Data, Entry, Epoch, Message, Position, Sequence, TransportId};

/// What a client makes of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Message(String),
    Gap,
}

/// Texts that try to leave: a line, a field, an event, a string, an element, a call, a part, a chunk.
const HOSTILE: &[&str] = &[
    "",
    " leading space",
    "\u{feff}marked",
    "nul \0 inside",
    "a\nb",
    "a\rb",
    "a\r\nb\r\n\r\nc",
    "\n\n\n",
    "data: forged\n\nevent: forged\ndata: x\n\n",
    "Event: forged\ndata: x\n\n",
    "id: e-999\nretry: 1\n\n",
    "</script><script>p({\"event\":\"forged\"})</script>",
    "<!-- <script> -->]]>",
    "');alert(1)//",
    "\"});alert(1);({\"a\":\"",
    "\u{2028}alert(1)\u{2029}",
    "</p><p id=\"forged\"><img src=x onerror=alert(1)>",
    "\r\n--perihelion-7b1d0c94e65f4a2f8d3b\r\nContent-Type: text/html\r\n\r\nforged",
    "\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ";\0!\u{fe}\u{2}hi\0;",
    "\u{1f680} é ÿ",
];

fn entry(number: u64, event: Option<&str>, channel: &str, data: Data) -> Entry {
    let channel = ChannelName::parse(channel).unwrap();
    let message = Message { event: event.map(Into::into), ..Message::new(channel, data) };
    Entry::new(at(number), number, Instant::now(), message)
}

fn at(number: u64) -> Position {
    Position { epoch: Epoch(14), sequence: Sequence(number) }
}

fn text(text: &str) -> Data {
    Data::Text(Bytes::copy_from_slice(text.as_bytes()))
}

/// The texts as messages, with names of events and channels that are no better.
fn entries(texts: &[&str]) -> Vec<Entry> {
    let entry = |(number, data): (usize, &&str)| {
        entry(number as u64 + 1, Some("\"><script>:data"), "</script>\"'\u{2028}--<!--", text(data))
    };
    texts.iter().enumerate().map(entry).collect()
}

fn opening(body: &[u8]) -> Opening<'_> {
    Opening { body, media_type: None, retry: None, position: at(0), gap: false, parameters: &NONE }
}

/// What a client is sent when these messages come.
fn written(transport: &dyn Transport, entries: &[Entry]) -> Vec<u8> {
    let around = transport.around(&NONE);
    let mut out = around.as_ref().map_or(Vec::new(), |Around { before, .. }| before.as_bytes().to_vec());
    transport.open(&opening(b""), &mut out);
    for (index, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if index > 0 { transport.separator() } else { b"" });
        transport.piece(entry, &mut out);
    }
    if transport.delivery().is_answer() {
        transport.close(&Closing { retry: None }, &mut out);
    }
    out.extend_from_slice(around.map_or("", |around| around.after).as_bytes());
    out
}

/// Reads what is whole of the bytes, as a client does each time that some have come.
fn read(transport: &dyn Transport, bytes: &[u8]) -> Vec<Said> {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match transport.name() {
        "sse" => read_events(&text(), "event"),
        "dom-event-stream" => read_events(&text(), "Event"),
        "ndjson" => whole(&text(), "\n").iter().filter(|line| !line.is_empty()).map(read_object).collect(),
        "iframe" | "htmlfile" => read_calls(&text()),
        "multipart" => read_parts(&text()),
        "gif" => read_frames(bytes),
        "websocket" => read_socket(bytes, |object| read_object(object)),
        "client-pull" => read_page(&text()),
        "long-poll" | "poll" => read_answer(&text()),
        "bayeux" => {
            let list: Vec<serde_json::Value> = serde_json::from_str(&text()).unwrap_or_default();
            list.iter().map(|message| read_object(message.to_string())).collect()
        }
        "jsonp" => {
            let script = text();
            assert!(script.is_ascii() || !script.contains(['\u{2028}', '\u{2029}', '<', '\n', '\r']));
            let answer = script.strip_prefix("/**/jsonpcallback(").and_then(|rest| rest.strip_suffix(");"));
            read_answer(answer.unwrap_or_default())
        }
        // Nothing tells its messages apart, which is its promise.
        "stream" | "grip-stream" | "grip-response" => Vec::new(),
        "grip-websocket" => read_socket(bytes, |text| Said::Message(text.to_owned())),
        name => panic!("{name} has no reader here"),
    }
}

/// Pieces that have their end.
fn whole(text: &str, end: &str) -> Vec<String> {
    let mut pieces: Vec<String> = text.split(end).map(str::to_string).collect();
    pieces.pop();
    pieces
}

/// As the standard reads events; comments of both ages are passed over.
fn read_events(text: &str, event_field: &str) -> Vec<Said> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut said = Vec::new();
    let (mut event, mut data) = (String::new(), Vec::new());
    for line in whole(&text, "\n") {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.is_empty() => {
                if !data.is_empty() {
                    let gap = event == "comet.gap";
                    said.push(if gap { Said::Gap } else { Said::Message(data.join("\n")) });
                }
                (event, data) = (String::new(), Vec::new());
            }
            "data" => data.push(value.to_string()),
            _ if name == event_field => event = value.to_string(),
            "id" => assert!(value.starts_with("e-") && value.len() < 6, "forged: {value}"),
            "" | ";" => {}
            other => panic!("a line of its own: {other:?}"),
        }
    }
    said
}

fn read_object(json: impl AsRef<str>) -> Said {
    let value: serde_json::Value = serde_json::from_str(json.as_ref()).unwrap();
    match value["event"].as_str() {
        Some("comet.gap") => Said::Gap,
        Some("forged") => panic!("forged: {value}"),
        _ => Said::Message(value["data"].as_str().unwrap().to_string()),
    }
}

/// Elements as a parser of pages finds them: nothing but whole calls between comments.
fn read_calls(text: &str) -> Vec<Said> {
    let Some((head, calls)) = text.split_once("</head><body>") else { return Vec::new() };
    assert_eq!(head.matches("<script").count(), 1);
    let calls = whole(calls, "</script>");
    let call = |call: &String| {
        let (before, json) = call.split_once("<script>p(").unwrap();
        assert!(before.replace("<!---->", "").trim().is_empty(), "{before:?}");
        let json = json.strip_suffix(')').unwrap();
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\n']), "{json}");
        read_object(json)
    };
    calls.iter().map(call).collect()
}

/// A part is there when the head of the next one is.
fn read_parts(text: &str) -> Vec<Said> {
    let MediaType::Own(media_type) = super::multipart::Multipart.media_type() else { panic!("it is fixed") };
    let (_, boundary) = media_type.split_once("boundary=").unwrap();
    let delimiter = format!("--{boundary}");
    let mut parts = text.split(&delimiter);
    assert!(parts.next().is_some_and(|before| delimiter.starts_with(before)));
    let mut said = Vec::new();
    let mut parts: Vec<&str> = parts.collect();
    if parts.pop().is_none_or(|head| !head.contains("\r\n\r\n")) {
        parts.pop();
    }
    for part in parts {
        let (head, data) = part.split_once("\r\n\r\n").unwrap();
        assert!(
            ["text/plain; charset=utf-8", "application/octet-stream"]
                .contains(&head.strip_prefix("\r\nContent-Type: ").unwrap())
        );
        said.push(Said::Message(data.strip_suffix("\r\n").unwrap().to_string()));
    }
    said
}

/// Frames that decode; the first is the empty picture. A message has a frame, one of nine another.
fn read_frames(bytes: &[u8]) -> Vec<Said> {
    let options = ::gif::DecodeOptions::new();
    let Ok(mut decoder) = options.read_info(bytes) else { return Vec::new() };
    let mut count = 0;
    while decoder.read_next_frame().is_ok_and(|frame| frame.is_some()) {
        count += 1;
    }
    vec![Said::Message(String::new()); count]
}

/// Frames of a server, each a message by itself; pings are answered and passed over.
fn read_socket(mut bytes: &[u8], read: impl Fn(&str) -> Said) -> Vec<Said> {
    let mut said = Vec::new();
    while let [code, length, rest @ ..] = bytes {
        let (digits, length) = match length {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, usize::from(*length)),
        };
        let Some((long, rest)) = rest.split_at_checked(digits) else { break };
        let length = long.iter().fold(length, |length, digit| length << 8 | usize::from(*digit));
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        match code {
            0x81 => said.push(read(std::str::from_utf8(payload).unwrap())),
            0x82 => said.push(Said::Message(String::from_utf8_lossy(payload).into_owned())),
            0x89 => {}
            code => panic!("a frame of its own: {code:x}"),
        }
        bytes = rest;
    }
    said
}

fn read_page(text: &str) -> Vec<Said> {
    assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
    let paragraphs = whole(text, "</p>\n");
    let data = |paragraph: &String| {
        let (_, text) = paragraph.rsplit_once("<p id=\"e-").unwrap();
        let (_, text) = text.split_once("\">").unwrap();
        let text = text.replace("<br>", "\n").replace("&lt;", "<").replace("&gt;", ">");
        Said::Message(text.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&"))
    };
    paragraphs.iter().map(data).collect()
}

/// Nothing before all of it is there, as with every answer that has a length.
fn read_answer(text: &str) -> Vec<Said> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return Vec::new() };
    value["messages"].as_array().unwrap().iter().map(|message| read_object(message.to_string())).collect()
}

/// What a client has of these texts, where its transport changes them on the way.
fn received(transport: &dyn Transport, texts: &[&str]) -> Vec<Said> {
    let lines = |text: &&str| text.replace("\r\n", "\n").replace('\r', "\n");
    let change: Box<dyn Fn(&&str) -> String> = match transport.name() {
        "sse" | "dom-event-stream" => Box::new(lines),
        "multipart" => Box::new(|text: &&str| text.replace("8d3b\r\nContent", "8d3_\r\nContent")),
        // Lines, without the end of the last.
        "client-pull" => Box::new(|text: &&str| text.lines().collect::<Vec<_>>().join("\n")),
        _ => Box::new(|text: &&str| (*text).to_string()),
    };
    texts.iter().map(|text| Said::Message(change(text))).collect()
}

/// Those whose clients can tell one message from the next.
fn with_messages() -> impl Iterator<Item = &'static dyn Transport> {
    TRANSPORTS
        .iter()
        .copied()
        .filter(|transport| !matches!(transport.name(), "stream" | "grip-stream" | "grip-response"))
}

#[test]
fn messages_come_whole_and_in_order() {
    for transport in with_messages().filter(|transport| transport.name() != "gif") {
        let entries = entries(HOSTILE);
        let said = read(transport, &written(transport, &entries));
        assert_eq!(said, received(transport, HOSTILE), "{}", transport.name());
    }
}

#[test]
fn wherever_a_read_ends_what_was_read_is_the_beginning() {
    for transport in with_messages() {
        let bytes = written(transport, &entries(&["one", "two\nlines", "three"]));
        let all = read(transport, &bytes);
        assert!(all.len() >= 3, "{}: {all:?}", transport.name());
        let mut most = 0;
        for end in 0..bytes.len() {
            let said = read(transport, &bytes[..end]);
            assert!(all.starts_with(&said), "{} at {end}: {said:?}", transport.name());
            assert!(said.len() >= most, "{} at {end}", transport.name());
            most = said.len();
        }
    }
}

#[test]
fn a_piece_says_the_same_to_everybody() {
    for transport in TRANSPORTS {
        for entry in entries(HOSTILE) {
            let pieces = [0, 1].map(|_| {
                let mut out = Vec::new();
                transport.piece(&entry, &mut out);
                out
            });
            assert_eq!(pieces[0], pieces[1], "{}", transport.name());
        }
    }
}

#[test]
fn a_sign_of_life_is_passed_over() {
    for transport in with_messages().filter(|transport| !transport.delivery().is_answer()) {
        let mut bytes = written(transport, &entries(&["one"]));
        let before = read(transport, &bytes);
        bytes.extend_from_slice(transport.keep_alive());
        bytes.extend_from_slice(transport.keep_alive());
        assert_eq!(read(transport, &bytes), before, "{}", transport.name());
        transport.piece(&entries(&["one", "two"])[1], &mut bytes);
        assert_eq!(read(transport, &bytes).len(), before.len() + 1, "{}", transport.name());
    }
}

#[test]
fn a_gap_is_said_between_messages_or_not_at_all() {
    for transport in with_messages().filter(|transport| !transport.delivery().is_answer()) {
        let mut said = Vec::new();
        transport.gap(&gap(), &mut said);
        let mut bytes = written(transport, &entries(&["one"]));
        bytes.extend_from_slice(&said);
        let expected = match transport.name() {
            "multipart" => Said::Message("one".into()),
            "gif" => Said::Message(String::new()),
            "grip-websocket" => Said::Message("one".into()),
            _ => Said::Gap,
        };
        assert_eq!(read(transport, &bytes).last(), Some(&expected), "{}", transport.name());
    }
}

#[test]
fn an_answer_says_that_there_is_a_gap() {
    let has_a_word = |name: &str| !matches!(name, "bayeux" | "grip-response");
    for transport in
        TRANSPORTS.iter().filter(|transport| transport.delivery().is_answer() && has_a_word(transport.name()))
    {
        let answer = |gap| {
            let mut out = Vec::new();
            transport.open(&Opening { gap, ..opening(b"") }, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_ne!(answer(true), answer(false), "{}", transport.name());
        assert!(answer(true).contains("gap"), "{}", transport.name());
    }
}

#[test]
fn a_piece_is_not_much_larger_than_its_message() {
    let data = "\"<>&'\u{0}\n\u{2028}".repeat(10_000);
    for transport in TRANSPORTS {
        let mut out = Vec::new();
        transport.piece(&entry(1, None, "news", text(&data)), &mut out);
        // A line end becomes a field of its own, a character its escape in a page or a script.
        assert!(out.len() <= 9 * data.len() + 1024, "{}: {}", transport.name(), out.len());
        let mut out = Vec::new();
        transport.piece(&entry(1, None, "news", text("x")), &mut out);
        assert!(out.len() <= 512, "{}: {}", transport.name(), out.len());
    }
}

#[test]
fn bytes_that_are_no_text_leave_no_frame_either() {
    let binary: Vec<u8> = (0..=255).cycle().take(2000).collect();
    for transport in with_messages() {
        let entries =
            [1, 2].map(|number| entry(number, None, "news", Data::Binary(Bytes::copy_from_slice(&binary))));
        assert!(read(transport, &written(transport, &entries)).len() >= 2, "{}", transport.name());
    }
}

#[test]
fn nothing_on_the_way_may_keep_or_change_what_is_sent() {
    for (index, transport) in TRANSPORTS.iter().enumerate() {
        let fields = fields(TransportId::new(index), &opening(b""));
        if transport.delivery() == Delivery::Socket || !transport.has_own_head() {
            continue;
        }
        assert!(fields.contains(&("cache-control", "no-cache, no-transform".into())), "{}", transport.name());
        let stream = transport.delivery() == Delivery::Stream;
        assert_eq!(fields.contains(&("x-accel-buffering", "no".into())), stream, "{}", transport.name());
    }
}
