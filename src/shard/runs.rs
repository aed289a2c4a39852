//! The frames of one channel in one turn, each built once and shared by every connection that needs it.

use std::sync::Arc;

use crate::message::{Entry, Frame, FrameBuilder, Framing, Gap, Position, TransportId};
use crate::transport::{self, Closing, Opening};

/// Frames that were built in this turn, by what tells them apart. A turn has few: most connections of a
/// channel stand at the same place and speak the same transport.
#[derive(Default)]
pub(super) struct Runs(Vec<(Kind, Frame)>);

#[derive(PartialEq, Eq)]
struct Kind {
    transport: TransportId,
    framing: Framing,
    /// How many entries of the turn are left out, since the connection has them.
    skipped: usize,
}

impl Runs {
    /// For the next channel.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The entries behind the first `skipped` ones, as a stream writes them.
    pub(super) fn stream(
        &mut self,
        entries: &[Arc<Entry>],
        skipped: usize,
        transport: TransportId,
        framing: Framing,
    ) -> &Frame {
        self.get(Kind { transport, framing, skipped }, || stream(&entries[skipped..], transport, framing))
    }

    /// The entries behind the first `skipped` ones, as the body of one answer.
    pub(super) fn answer(
        &mut self,
        entries: &[Arc<Entry>],
        skipped: usize,
        transport: TransportId,
    ) -> &Frame {
        let kind = Kind { transport, framing: Framing::UntilClose, skipped };
        let position = entries[entries.len() - 1].position;
        self.get(kind, || answer(&entries[skipped..], &shared(position, false), transport))
    }

    fn get(&mut self, kind: Kind, build: impl FnOnce() -> Frame) -> &Frame {
        let index = self.0.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            self.0.push((kind, build()));
            self.0.len() - 1
        });
        &self.0[index].1
    }
}

/// Messages as a stream writes them. One message is its own frame, and nothing is copied.
fn stream(entries: &[Arc<Entry>], transport: TransportId, framing: Framing) -> Frame {
    match entries {
        [entry] => frame(entry, transport).clone(),
        entries => Frame::join(entries.iter().map(|entry| frame(entry, transport)), framing),
    }
}

/// Gaps and then messages as a stream writes them.
pub(super) fn stream_with_gaps(
    gaps: &[Gap],
    entries: &[Arc<Entry>],
    transport: TransportId,
    framing: Framing,
) -> Frame {
    let mut bytes = Vec::new();
    lay_with_gaps(gaps, entries, transport, framing, &mut bytes);
    Frame::raw(bytes)
}

/// The same behind what one client gets besides.
pub(super) fn lay_with_gaps(
    gaps: &[Gap],
    entries: &[Arc<Entry>],
    transport: TransportId,
    framing: Framing,
    out: &mut Vec<u8>,
) {
    if !gaps.is_empty() {
        let mut told = Vec::new();
        gaps.iter().for_each(|gap| transport::transport(transport).gap(gap, &mut told));
        framing.lay(&told, out);
    }
    out.reserve(entries.iter().map(|entry| entry.room()).sum());
    let mut payload = Vec::new();
    for entry in entries {
        match frame_if_shared(entry, transport) {
            Some(frame) => out.extend_from_slice(frame.bytes(framing)),
            None => {
                payload.clear();
                encode(entry, transport, &mut payload);
                framing.lay(&payload, out);
            }
        }
    }
}

/// The beginning of an answer that ends at `position` and is the same for everybody who gets it.
pub(super) fn shared(position: Position, gap: bool) -> Opening<'static> {
    let parameters = &transport::NONE;
    Opening { body: b"", media_type: None, retry: None, position, gap, parameters }
}

/// The body of one answer.
pub(super) fn answer(entries: &[Arc<Entry>], opening: &Opening, id: TransportId) -> Frame {
    let transport = transport::transport(id);
    let mut body = Vec::new();
    transport.open(opening, &mut body);
    let entries = entries.iter().filter(|entry| entry.has_data());
    for (index, entry) in entries.enumerate() {
        body.extend_from_slice(if index > 0 { transport.separator() } else { b"" });
        match frame_if_shared(entry, id) {
            Some(frame) => body.extend_from_slice(frame.payload()),
            None => encode(entry, id, &mut body),
        }
    }
    transport.close(&Closing { retry: None }, &mut body);
    Frame::raw(body)
}

/// One chunk of what is written into it.
pub(super) fn chunk(write: impl FnOnce(&mut Vec<u8>)) -> Frame {
    let mut builder = FrameBuilder::new();
    write(builder.payload());
    builder.chunk()
}

fn frame(entry: &Entry, id: TransportId) -> &Frame {
    entry.frame(id, |entry, out| encode(entry, id, out))
}

fn frame_if_shared(entry: &Entry, id: TransportId) -> Option<&Frame> {
    entry.frame_if_shared(id, |entry, out| encode(entry, id, out))
}

fn encode(entry: &Entry, id: TransportId, out: &mut Vec<u8>) {
    if entry.has_data() {
        transport::transport(id).piece(entry, out);
    }
}

/// Cuts the entries of a turn so that no piece has more than `limit` bytes of data, unless it is one message.
pub(super) fn segments(entries: &[Arc<Entry>], limit: usize) -> impl Iterator<Item = &[Arc<Entry>]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|entry| {
            bytes += entry.message.data.bytes().len();
            bytes <= limit
        });
        let (segment, behind) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = behind;
        (!segment.is_empty()).then_some(segment)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::message::{ChannelName, Data, Epoch, Message, Sequence};

    #[test]
    fn identical_answers_cost_one_frame() {
        let entries = [1, 2].map(entry);
        let mut runs = Runs::default();
        let answers =
            [0, 0, 1, 0, 1].map(|skipped| runs.answer(&entries, skipped, transport::LONG_POLL).clone());
        let place = |answer: &Frame| answer.payload().as_ptr();
        let [whole, again, rest, third, rest_again] = answers.each_ref().map(place);
        assert_eq!((again, third, rest_again), (whole, whole, rest));
        assert_ne!(whole, rest);
        assert_eq!(runs.0.len(), 2, "who has the first message gets another answer, and that once as well");
    }

    #[test]
    fn everybody_who_catches_up_gets_the_same_bytes_whoever_has_read_them_before() {
        let entries = [1, 2].map(entry);
        let caught_up = |framing| {
            let mut bytes = Vec::new();
            lay_with_gaps(&[], &entries, transport::SSE, framing, &mut bytes);
            String::from_utf8(bytes).expect("text")
        };
        let chunks = "11\r\nid: 1-1\ndata: x\n\n\r\n11\r\nid: 1-2\ndata: x\n\n\r\n";
        let bare = "id: 1-1\ndata: x\n\nid: 1-2\ndata: x\n\n";
        let framings = [Framing::Chunked, Framing::UntilClose, Framing::Chunked, Framing::UntilClose];
        assert_eq!(framings.map(caught_up), [chunks, bare, chunks, bare]);
        let body = || answer(&entries, &shared(entries[1].position, false), transport::LONG_POLL);
        let bodies = [body(), body(), body()];
        let [first, second, third] = bodies.each_ref().map(Frame::payload);
        assert!(!first.is_empty() && first == second && second == third);
    }

    fn entry(sequence: u64) -> Arc<Entry> {
        let channel = ChannelName::parse("news").expect("a name");
        let data = Data::Text("x".into());
        let message = Message::new(channel, data);
        let position = Position { epoch: Epoch(1), sequence: Sequence(sequence) };
        Arc::new(Entry::new(position, sequence, Instant::now(), message))
    }
}
