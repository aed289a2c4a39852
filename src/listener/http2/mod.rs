//! One client connection over HTTP/2, from its preface until it closes: frames are the library's, each request is a
//! [`stream`] of its own, and all of them are driven by the one task of the connection.
//!
//! What differs from HTTP/1 ends here. A service gets a head as HTTP/1 has it, pulls the request's body through the same
//! pipe and gives the same answers; what it has taken over goes to whoever holds it by a pipe in memory instead of a socket
//! ([`passage`]), and shards hold it as any other connection.
//!
//! RFC 9113; WebSockets by RFC 8441.

#[cfg(test)]
pub(crate) mod fuzz;
mod meter;
mod passage;
mod preface;
mod request;
mod sending;
mod stream;
mod takers;
mod watch;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use h2::server::{Builder, Connection};
use socket2::SockRef;

use super::connection::{Arrival, RefusedHead, Serve, Terms};
use super::leaving::{Ear, Leaving};
use super::line::Patience;
use super::request_reader::HeadLimits;
use crate::clock::Clock;
use crate::config::Http2Limits;
use crate::hold::{Departure, Home};

pub use meter::Flood;
pub use preface::Protocol;

use meter::{Meter, Metered};
use takers::Takers;
use watch::{Due, Watch};

use meter::PREFACE;
pub(super) use preface::tell_apart;

/// Bytes of an answer that wait in the library for their turn on the connection.
const SEND_BUFFER: usize = 64 * 1024;
/// A connection's window beside that of one stream.
const WINDOWS: usize = 4;
/// Streams that may be reset by us for a client's mistakes before its connection is over.
const MISTAKES_MAX: usize = 128;
/// How long the last word on a connection may take.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Bytes of a piece that is worth a frame though its client's window has cut it.
const WORTH: usize = 1024;
/// As much as there is.
const FULL: usize = usize::MAX;

/// Whoever serves the streams of a connection.
pub trait Host {
    /// What serves one of them.
    type Service: Serve;

    /// For one stream, which runs on this clock.
    fn service(&self, clock: Clock) -> Self::Service;

    /// Has something held.
    fn keep(&self, departure: Departure);

    /// A request was answered before any service saw it.
    fn refused(&self, head: &RefusedHead);

    /// The connection is ended since its client did something too often.
    fn calmed(&self, flood: Flood);

    /// The connection is ended since its client took its answers too slowly.
    fn too_slow(&self);
}

/// What the streams of a connection have in common.
struct Common<H: Host> {
    host: H,
    heads: HeadLimits,
    patience: Patience,
    home: Home,
    meter: Rc<Meter>,
    takers: Rc<Takers>,
}

/// Whether a client has taken so much of a piece that it may send some frames for it: one whose window cuts small pieces
/// asks for work that brings nothing.
fn earns(taken: usize, of: usize) -> bool {
    taken >= of || taken >= WORTH
}

type Streams = FuturesUnordered<Pin<Box<dyn Future<Output = ()>>>>;

/// A connection behind its preface.
struct Http2<H: Host> {
    common: Rc<Common<H>>,
    connection: Connection<Metered, Bytes>,
    streams: Streams,
    watch: Watch,
    leaving: Ear,
}

/// Serves a connection to its end; what was read of it begins with the preface. Dropping the future closes it.
pub async fn serve_http2<H: Host + 'static>(arrival: Arrival, host: H, terms: &Terms, leaving: &Leaving) {
    let Arrival { wire, read_ahead, home, .. } = arrival;
    let Terms { heads, patience, http2, ping } = *terms;
    // A client that acknowledges nothing is as gone as one whose stream is full for so long (RFC 5482).
    if let Some(socket) = wire.socket()
        && let Err(error) = SockRef::from(&socket).set_tcp_user_timeout(Some(patience.body))
    {
        tracing::debug!(%error, "a socket takes no limit on silence");
    }
    let meter = Meter::new(&http2);
    let metered = Metered::new(wire, read_ahead, meter.clone());
    let handshake = builder(&heads, &http2).handshake(metered);
    let mut connection = match tokio::time::timeout(patience.first, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(peer = %home.passport.peer(), %error, "no HTTP/2"),
        Err(_) => return,
    };
    let watch = Watch::new(meter.clone(), patience, ping, connection.ping_pong());
    let takers = Takers::new(patience.taking, meter.clone());
    let common = Rc::new(Common { host, heads, patience, home, meter, takers });
    let streams = Streams::new();
    let mut http2 = Box::new(Http2 { common, connection, streams, watch, leaving: leaving.ear() });
    poll_fn(|cx| http2.poll(cx)).await;
}

fn builder(heads: &HeadLimits, http2: &Http2Limits) -> Builder {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX >> 1);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(number(http2.streams))
        .initial_window_size(number(http2.window))
        .initial_connection_window_size(number(http2.window * WINDOWS))
        .max_header_list_size(number(heads.header_bytes))
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MISTAKES_MAX))
        .enable_connect_protocol();
    builder
}

impl<H: Host + 'static> Http2<H> {
    /// A turn of everything; ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while let Poll::Ready(Some(())) = self.streams.poll_next_unpin(cx) {}
            // Behind the streams, so that what they have said goes out in one write.
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.streams.push(Box::pin(stream::serve(self.common.clone(), request, respond)));
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.note_end(&error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if self.leaving.poll(cx).is_ready() && self.watch.leaves() {
                self.connection.graceful_shutdown();
                continue;
            }
            if self.common.takers.are_too_slow() && self.watch.parts() {
                self.common.host.too_slow();
                self.shut(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            match self.watch.poll(cx, self.streams.is_empty()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Due::Look) => {}
                Poll::Ready(Due::Goodbye) => self.connection.graceful_shutdown(),
                Poll::Ready(Due::Shut(reason)) => self.shut(reason),
                Poll::Ready(Due::Cut) => return Poll::Ready(()),
            }
        }
    }

    fn shut(&mut self, reason: Reason) {
        if let Some(flood) = self.common.meter.flood() {
            self.common.host.calmed(flood);
        }
        // Whatever is in work for it is given up with it.
        self.streams.clear();
        self.connection.abrupt_shutdown(reason);
    }

    fn note_end(&self, error: &h2::Error) {
        if error.is_go_away() && error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
            self.common.host.calmed(Flood::Library);
        }
        tracing::debug!(peer = %self.common.home.passport.peer(), %error, "an HTTP/2 connection broke");
    }
}
