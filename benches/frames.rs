//! What it costs to make the bytes of a message, once for each transport, and to join a burst of them.

use std::sync::Arc;
use std::time::Instant;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use perihelion::message::{
    ChannelName, Data, Entry, Epoch, Frame, FrameBuilder, Framing, Message, Position, Sequence, TransportId,
};
use perihelion::transport::{self, TRANSPORTS};

fn main() {
    divan::main();
}

fn entry(sequence: u64, bytes: usize) -> Arc<Entry> {
    let message = Message {
        event: Some("update".into()),
        ..Message::new(ChannelName::parse("news").expect("a good name"), Data::Text("x".repeat(bytes).into()))
    };
    let position = Position { epoch: Epoch(0xfeed_beef), sequence: Sequence(sequence) };
    Arc::new(Entry::new(position, sequence, Instant::now(), message))
}

fn names() -> impl Iterator<Item = &'static str> {
    TRANSPORTS.iter().map(|transport| transport.name())
}

/// One message of 100 bytes in each transport.
#[divan::bench(args = names())]
fn piece(bencher: Bencher, name: &str) {
    let transport = transport::transport(transport::by_name(name).expect("a transport"));
    let entry = entry(1_234_567, 100);
    bencher.counter(BytesCount::new(100usize)).bench(|| {
        let mut builder = FrameBuilder::new();
        transport.piece(black_box(&entry), builder.payload());
        builder.chunk()
    });
}

/// The frame of an entry that has been asked for before: what each further connection pays.
#[divan::bench]
fn frame_again(bencher: Bencher) {
    let (id, entry) = (TransportId::new(0), entry(1, 100));
    let get =
        |entry: &Entry| entry.frame(id, |entry, out| transport::transport(id).piece(entry, out)).clone();
    bencher.bench(|| get(black_box(&entry)));
}

/// Joining a burst of 200 messages of 100 bytes, done once for all connections of a channel.
#[divan::bench]
fn join_200(bencher: Bencher) {
    let id = TransportId::new(0);
    let entries: Vec<_> = (0..200).map(|sequence| entry(sequence, 100)).collect();
    let frames =
        entries.iter().map(|entry| entry.frame(id, |entry, out| transport::transport(id).piece(entry, out)));
    bencher.bench(|| Frame::join(black_box(frames.clone()), Framing::Chunked));
}
