//! What the tests stand on: the real binary, an application that can misbehave, clients that see every byte.

mod certificate;
mod event_source;
mod folder;
pub(crate) mod frames;
mod gate;
mod hostile;
mod http;
mod http2;
mod name_server;
mod origin;
mod perihelion;
mod raw;
mod redis;
mod wait;

pub(crate) use certificate::{Authority, Certificate, Identity};
pub(crate) use event_source::{Event, EventSource};
pub(crate) use folder::Folder;
pub(crate) use gate::Gate;
pub(crate) use hostile::{
    AnswersTwice, ClosesEarly, ClosesOnSecondRequest, ContinuesForever, LengthTooLong, OneByteAtATime,
    ResetsInTheBody, StallsAfterHead, SwitchesUnasked, Unreachable,
};
pub(crate) use http::{Answer, Head};
pub(crate) use http2::{Http2, Http2Stream};
pub(crate) use name_server::NameServer;
pub(crate) use origin::{Application, Origin, Received, Reply, Then};
pub(crate) use perihelion::{Finished, Perihelion, Place, run};
pub(crate) use raw::Raw;
pub(crate) use redis::{Redis, Sentinel};
pub(crate) use wait::{DEADLINE, look_for, wait_for, wait_until};

/// SHA-256 in hexadecimal, so that bodies of megabytes are compared in one line.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that look like nothing, the same in each run: a body in which a lost or swapped piece shows.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
