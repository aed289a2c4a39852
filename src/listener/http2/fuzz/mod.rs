//! Connections of HTTP/2 as anybody may begin them: what reaches a service is a request that HTTP/1 would take as well, and
//! what comes back is HTTP/2, whatever the frames are.
//!
//! An input is a [`script`] of frames, or the bytes behind the preface themselves. It goes to the real connection over a
//! pair of sockets, all at once or in small pieces, and its end is the end of the client: the connection has to end with it.

mod application;
mod script;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::meter::{Meter, PREFACE};
use super::{Arrival, HeadLimits, Http2Limits, Leaving, Patience, Terms, serve_http2};
use crate::config::Rate;
use crate::fuzz::kind;
use crate::hold::{Home, Passport};
use crate::listener::taking::LeastRate;
use crate::wire::WireStream;

use application::{Application, Seen};
use script::Frame;

/// Less than what [`crate::listener::head_cases`] takes, whose reader is asked about each head.
const HEADS: HeadLimits = HeadLimits { header_bytes: 2048, headers: 15, target_bytes: 500 };
/// Requests at once.
const STREAMS: usize = 4;
/// What a client may send before it is told, and what it may be sent (RFC 9113 §6.5.2, §6.9.2).
const FRAME_MAX: usize = 16384;
const WINDOW: u64 = 65535;
/// Far more than any input takes.
const HANG: Duration = Duration::from_secs(10);

/// The first byte says whether a script follows, and how its frames are cut.
pub(crate) fn connection(input: &[u8]) -> u64 {
    let Some((&mode, input)) = input.split_first() else { return 0 };
    let bytes = if mode & 1 == 0 { script::bytes(input) } else { input.to_vec() };
    let piece = if mode & 2 == 0 { usize::MAX } else { 7 };
    let sent = Frame::all(&bytes);
    meters_agree(&bytes, &sent);
    let (seen, answer) = exchanged(&bytes, piece);
    seen.check_after_the_end();
    kind((seen.kind(), check(&sent, &Frame::all(&answer))))
}

/// However the bytes come, a meter counts the same frames, which are those that are there.
fn meters_agree(bytes: &[u8], sent: &[Frame]) {
    let read = |size: usize| {
        let meter = Meter::new(&limits(5));
        for piece in [&PREFACE[..], bytes].concat().chunks(size) {
            meter.see(piece);
        }
        (meter.seen(), meter.is_settled(), meter.is_in_head(), meter.flood())
    };
    let whole = read(usize::MAX);
    assert_eq!(read(1), whole);
    assert_eq!(read(11), whole);
    assert_eq!(whole.0, sent.len() as u64);
}

fn limits(budget: u32) -> Http2Limits {
    let rate = budget.try_into().ok().map(|count| Rate { count, per: Duration::from_secs(3600) });
    Http2Limits { streams: STREAMS, window: WINDOW as usize, resets: rate, control_frames: rate }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
}

/// What a connection with these bytes has asked for, and what was sent back.
fn exchanged(bytes: &[u8], piece: usize) -> (Rc<Seen>, Vec<u8>) {
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (near, far) = pair().expect("two sockets");
            let seen = Rc::new(Seen::default());
            let (server, answer) = tokio::join!(
                tokio::time::timeout(HANG, serve(near, Application(seen.clone()))),
                tokio::time::timeout(HANG, converse(far, bytes, piece)),
            );
            server.expect("the connection ends with its client");
            (seen, answer.expect("an end"))
        })
    })
}

/// Two ends of one connection, without the ports that TCP would need for each.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let (near, far) = UnixStream::pair()?;
    let socket = |end: UnixStream| {
        end.set_nonblocking(true)?;
        TcpStream::from_std(StdStream::from(OwnedFd::from(end)))
    };
    Ok((socket(near)?, socket(far)?))
}

async fn serve(socket: TcpStream, application: Application) {
    let (desk, _desk) = tokio::sync::mpsc::channel(1);
    let passport = Passport::new(SocketAddr::from(([127, 0, 0, 1], 1)), 0);
    let (wire, home) = (WireStream::plain(socket.into_std().unwrap()), Home { desk, passport });
    let arrival = Arrival { wire, read_ahead: PREFACE.to_vec(), kept: false, home };
    let long = Duration::from_secs(60);
    let taking = LeastRate { least: 240, grace: long };
    let patience = Patience { first: long, is_new: true, idle: long, head: long, body: long, taking };
    let terms = Terms { heads: HEADS, patience, http2: limits(50), ping: long };
    serve_http2(arrival, application, &terms, &Leaving::default()).await;
}

/// Sends everything and the end; gives what comes until the other one's end.
async fn converse(socket: TcpStream, bytes: &[u8], piece: usize) -> Vec<u8> {
    let (mut read, mut write) = socket.into_split();
    let mut answer = Vec::new();
    let speak = async {
        for piece in bytes.chunks(piece) {
            // Whoever ends a connection may do so early.
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = write.shutdown().await;
    };
    // An end with a reset is one, too.
    let _ = tokio::join!(speak, read.read_to_end(&mut answer));
    answer
}

/// What the other side knows of a stream.
#[derive(Default)]
struct Stream {
    has_head: bool,
    has_end: bool,
    is_reset: bool,
}

/// Whether an answer is HTTP/2; says what of it there was.
fn check(sent: &[Frame], got: &[Frame]) -> u64 {
    let mut streams: BTreeMap<u32, Stream> = BTreeMap::new();
    let mut seen = Vec::new();
    let (mut data, mut in_head, mut is_over) = (0, false, false);
    for (index, frame) in got.iter().enumerate() {
        assert_eq!(
            index == 0,
            frame.kind == script::SETTINGS && !frame.is(script::ACK),
            "{frame:?} at {index}"
        );
        assert!(frame.length <= most_bytes(sent), "{frame:?}");
        assert_eq!(in_head, frame.kind == script::CONTINUATION, "{frame:?}");
        if frame.is_of_stream() {
            assert!(!is_over, "{frame:?} behind the last word");
            let stream = streams.entry(frame.stream).or_default();
            // A head that is no request is reset before anybody looks at the number of its stream.
            assert!(frame.stream % 2 == 1 || frame.kind == script::RST_STREAM, "{frame:?}");
            assert!(!stream.is_reset, "{frame:?} behind a reset");
            match frame.kind {
                // Behind the end it says that the rest of the request isn't wanted (RFC 9113 §8.1).
                script::RST_STREAM => stream.is_reset = true,
                kind => assert!(!stream.has_end && (stream.has_head || kind == script::HEADERS), "{frame:?}"),
            }
            stream.has_head |= frame.kind == script::HEADERS;
            stream.has_end |= frame.kind != script::RST_STREAM && frame.is(script::END_STREAM);
        }
        match frame.kind {
            script::DATA => data += frame.length as u64,
            script::HEADERS | script::CONTINUATION => in_head = !frame.is(script::END_HEADERS),
            script::GOAWAY => is_over = frame.reason() != Some(0),
            script::RST_STREAM | script::SETTINGS | script::PING | script::WINDOW_UPDATE => {}
            kind => panic!("a frame of the kind {kind}"),
        }
        seen.push((frame.kind, frame.reason()));
    }
    let granted: u64 = sent.iter().filter(|frame| frame.stream == 0).filter_map(Frame::granted).sum();
    assert!(data <= WINDOW + granted, "{data} bytes, though {granted} were granted");
    seen.sort_unstable();
    seen.dedup();
    kind(seen)
}

/// How large frames may be that the client is sent.
fn most_bytes(sent: &[Frame]) -> usize {
    sent.iter().filter_map(Frame::largest).max().unwrap_or(0).max(FRAME_MAX)
}
