//! Deliveries that leave together: one system call for many sockets, where each would be one.
//!
//! It is for what a whole channel gets, on plain sockets. Under TLS and inside HTTP/2 each connection has bytes of its own,
//! and what is rare goes straight out.

use std::io;
use std::os::fd::AsFd;

use super::deliver::Afterwards;
use super::event_loop::{EventLoop, Outcome};
use crate::message::Frame;
use crate::sys::{Parcel, SendRing};

/// Who gets which frame next, and the means to send them.
#[derive(Default)]
pub(super) struct Volley {
    ring: SendRing,
    load: Load,
}

#[derive(Default)]
struct Load {
    /// One after the other as they were added: nearly all get the same one, which stands here once.
    frames: Vec<Frame>,
    /// Keys of connections, each once, with the place of its frame.
    shots: Vec<(u32, u32)>,
    outcomes: Vec<io::Result<usize>>,
}

impl Volley {
    /// For a connection with a bare socket and nothing pending.
    pub(super) fn add(&mut self, key: u32, frame: &Frame) {
        let Load { frames, shots, .. } = &mut self.load;
        if !frames.last().is_some_and(|last| last.is_same(frame)) {
            frames.push(frame.clone());
        }
        shots.push((key, frames.len() as u32 - 1));
    }

    pub(super) fn is_full(&self) -> bool {
        self.load.shots.len() >= SendRing::ROOM
    }
}

impl EventLoop {
    /// Sends all that was added. What breaks is put off, so that the lists that a connection stands in stay whole.
    pub(super) fn fire(&mut self) {
        let mut load = std::mem::take(&mut self.volley.load);
        let Load { frames, shots, outcomes } = &mut load;
        let parcels = shots.iter().filter_map(|&(key, frame)| {
            let held = &self.held[key as usize];
            let bytes = frames[frame as usize].bytes(held.framing);
            held.wire.bare().map(|socket| Parcel { socket: socket.as_fd(), bytes })
        });
        let parcels: Vec<_> = parcels.collect();
        debug_assert_eq!(parcels.len(), shots.len(), "only bare sockets are added");
        self.volley.ring.send(&parcels, outcomes);
        for ((key, frame), written) in shots.drain(..).zip(outcomes.drain(..)) {
            let sent = self.held[key as usize].sent(&frames[frame as usize], written);
            if let Outcome::Broken(reason) = self.settle(key as usize, sent) {
                self.afterwards.push((key, Afterwards::Cut(reason)));
            }
        }
        frames.clear();
        self.volley.load = load;
    }
}
