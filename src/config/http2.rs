//! `limits.http2`: what one HTTP/2 connection may have under way, and how often it may make us work for nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use super::form;
use super::limits::Rate;
use super::section::{Key, Section};
use super::units::KIB;

/// Bounds of one HTTP/2 connection. `None` is `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// Requests at once, held ones included.
    pub streams: usize,
    /// Bytes of one request's body that may be under way; of all bodies of a connection four times as many.
    pub window: usize,
    /// Requests that the client takes back, in a time.
    pub resets: Option<Rate>,
    /// Frames that neither ask for anything nor bring anything, in a time.
    pub control_frames: Option<Rate>,
}

impl Default for Http2Limits {
    fn default() -> Self {
        let a_minute =
            |count| NonZeroU32::new(count).map(|count| Rate { count, per: Duration::from_secs(60) });
        Http2Limits {
            // What RFC 9113 §6.5.2 recommends at least, nginx and others allow, and browsers count on.
            streams: 128,
            // An upload over a tenth of a second's distance comes at 20 Mbit/s, and a connection keeps a megabyte at most.
            window: 256 * KIB,
            // A page with hundreds of pictures that is left again; an attack has as many in a tenth of a second.
            resets: a_minute(600),
            // Pings, settings and priorities come a few in a minute.
            control_frames: a_minute(6000),
        }
    }
}

pub(super) static HTTP2: Section<Http2Limits> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("streams", |limits, value| value.put(&mut limits.streams, &form::STREAMS)),
        Key::new("window", |limits, value| value.put(&mut limits.window, &form::WINDOW)),
        Key::new("resets", |limits, value| value.put(&mut limits.resets, &form::RATE_OR_OFF)),
        Key::new("control_frames", |limits, value| {
            value.put(&mut limits.control_frames, &form::RATE_OR_OFF);
        }),
    ],
};
