//! Messages with a number and a time in them, and what each subscriber must have received of them, byte by byte.
//!
//! The ledger holds what was published. A reader takes a connection's event stream apart; the tally compares each
//! event with the ledger and counts what is lost, repeated, out of order or not what was sent.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::measure::Histogram;

/// Length of a message's data in bytes: about what a chat line or a price has.
const MESSAGE_BYTES: usize = 100;

/// One published message.
pub(crate) struct Published {
    /// `NUMBER NANOSECONDS ` and filler up to [`MESSAGE_BYTES`].
    pub(crate) data: Vec<u8>,
    at_nanos: u64,
}

/// Everything published in a session, in order, shared by publisher and subscribers.
#[derive(Clone)]
pub(crate) struct Ledger {
    messages: Arc<Mutex<Vec<Arc<Published>>>>,
    start: Instant,
}

impl Ledger {
    /// An empty one; times count from now.
    pub(crate) fn new() -> Self {
        Self { messages: Arc::default(), start: Instant::now() }
    }

    /// Writes the next message with the time of now.
    pub(crate) fn next(&self) -> Arc<Published> {
        let mut messages = self.lock();
        let (number, at_nanos) = (messages.len(), self.now());
        let mut data = format!("{number} {at_nanos} ").into_bytes();
        let filler = (b'a'..=b'z').cycle().skip(number % 26);
        data.extend(filler.take(MESSAGE_BYTES.saturating_sub(data.len())));
        let message = Arc::new(Published { data, at_nanos });
        messages.push(Arc::clone(&message));
        message
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Published>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes one connection's event stream apart, keeping no more than an unfinished line.
#[derive(Default)]
pub(crate) struct EventReader {
    unfinished: Vec<u8>,
    /// The message whose `data:` line was read; the blank line after it delivers it.
    waiting: Option<usize>,
    /// The event has a name: no publisher here gives one, so it is the server's notice of a gap.
    named: bool,
    /// Which messages this connection has had.
    order: Order,
}

impl EventReader {
    /// A reader for a connection that must get every message from `first` on.
    pub(crate) fn starting_at(first: usize) -> Self {
        Self { order: Order { next: first, skipped: Vec::new() }, ..Self::default() }
    }

    /// Reads a piece of the stream.
    pub(crate) fn feed(&mut self, mut piece: &[u8], tally: &mut Tally) {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let line = &piece[..end];
            if self.unfinished.is_empty() {
                self.read_line(line, tally);
            } else {
                let mut whole = std::mem::take(&mut self.unfinished);
                whole.extend_from_slice(line);
                self.read_line(&whole, tally);
            }
            piece = &piece[end + 1..];
        }
        self.unfinished.extend_from_slice(piece);
    }

    fn read_line(&mut self, line: &[u8], tally: &mut Tally) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.named = false;
            if let Some(number) = self.waiting.take() {
                tally.deliver(number, self.order.note(number));
            }
        } else if line.starts_with(b"event:") {
            self.named = true;
            tally.gaps += 1;
        } else if let (false, Some(data)) = (self.named, line.strip_prefix(b"data:")) {
            let data = data.strip_prefix(b" ").unwrap_or(data);
            match tally.recognise(data) {
                Some(number) if self.waiting.is_none() => self.waiting = Some(number),
                _ => tally.mangled += 1,
            }
        }
    }
}

/// Which messages one connection has had: all before `next` but the `skipped`.
#[derive(Default)]
struct Order {
    next: usize,
    skipped: Vec<usize>,
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Arrival {
    InOrder,
    Late,
    Again,
}

impl Order {
    fn note(&mut self, number: usize) -> Arrival {
        if number >= self.next {
            self.skipped.extend(self.next..number);
            self.next = number + 1;
            return Arrival::InOrder;
        }
        match self.skipped.iter().position(|&skipped| skipped == number) {
            Some(place) => {
                self.skipped.swap_remove(place);
                Arrival::Late
            }
            None => Arrival::Again,
        }
    }
}

/// What all connections of a session have received.
pub(crate) struct Tally {
    ledger: Ledger,
    /// The session's copy of the ledger, so that a delivery takes no lock.
    known: Vec<Arc<Published>>,
    /// For each message: deliveries, and nanoseconds until the last of them.
    messages: Vec<(u64, u64)>,
    latencies: Histogram,
    now: u64,
    /// First deliveries of a message to a connection.
    pub(crate) delivered: u64,
    /// Deliveries of what a connection had had before.
    pub(crate) repeated: u64,
    /// Deliveries after a later message.
    pub(crate) out_of_order: u64,
    /// Events whose data nobody published.
    pub(crate) mangled: u64,
    /// Events by which the server admits a gap.
    pub(crate) gaps: u64,
}

impl Tally {
    /// An empty one that compares with `ledger`.
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            known: Vec::new(),
            messages: Vec::new(),
            latencies: Histogram::new(),
            now: 0,
            delivered: 0,
            repeated: 0,
            out_of_order: 0,
            mangled: 0,
            gaps: 0,
        }
    }

    /// Looks at the clock: what is read next arrived now.
    pub(crate) fn tick(&mut self) {
        self.now = self.ledger.now();
    }

    /// Number of messages published so far.
    pub(crate) fn published(&self) -> usize {
        self.ledger.len()
    }

    /// Forgets the latencies of single deliveries, so that a phase has its own.
    pub(crate) fn restart_latencies(&mut self) {
        self.latencies = Histogram::new();
    }

    /// Percentile over all deliveries since the restart, in milliseconds.
    pub(crate) fn latency_ms(&self, share: f64) -> Option<f64> {
        self.latencies.percentile_ms(share)
    }

    /// Milliseconds from publishing to the last subscriber, for each message of the range that anyone received.
    pub(crate) fn last_ms(&self, range: Range<usize>) -> Vec<f64> {
        let received = self.messages.get(range.start..range.end.min(self.messages.len())).unwrap_or_default();
        received.iter().filter(|(count, _)| *count > 0).map(|(_, last)| *last as f64 / 1e6).collect()
    }

    /// The message with exactly this data, if it was published.
    fn recognise(&mut self, data: &[u8]) -> Option<usize> {
        let digits = data.split(|&byte| byte == b' ').next()?;
        let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        if number >= self.known.len() {
            let ledger = self.ledger.lock();
            self.known.extend_from_slice(&ledger[self.known.len()..]);
            self.messages.resize(self.known.len(), (0, 0));
        }
        (self.known.get(number)?.data == data).then_some(number)
    }

    fn deliver(&mut self, number: usize, arrival: Arrival) {
        if arrival == Arrival::Again {
            self.repeated += 1;
            return;
        }
        self.out_of_order += u64::from(arrival == Arrival::Late);
        let latency = self.now.saturating_sub(self.known[number].at_nanos);
        let (count, last) = &mut self.messages[number];
        *count += 1;
        *last = (*last).max(latency);
        self.latencies.add(latency);
        self.delivered += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_notes_gaps_late_ones_and_repetitions() {
        use Arrival::{Again, InOrder, Late};
        let mut order = Order { next: 2, skipped: Vec::new() };
        let arrivals: Vec<_> = [2, 5, 3, 3, 5, 1, 6].map(|number| order.note(number)).into();
        assert_eq!(arrivals, [InOrder, InOrder, Late, Again, Again, Again, InOrder]);
        assert_eq!(order.skipped, [4]);
    }

    #[test]
    fn events_are_counted_however_they_are_split() {
        for size in 1..300 {
            let ledger = Ledger::new();
            let (mut tally, mut reader) = (Tally::new(ledger.clone()), EventReader::starting_at(0));
            let (first, second) = (ledger.next(), ledger.next());
            let mut wire = b": hi\n\nid: 1\ndata: ".to_vec();
            wire.extend_from_slice(&first.data);
            wire.extend_from_slice(b"\n\nid:2\r\ndata:");
            wire.extend_from_slice(&second.data);
            wire.extend_from_slice(
                b"\r\n\r\ndata: 1 something else\n\nevent: comet.gap\ndata: {}\n\ndata: 7 x\n\n",
            );
            for piece in wire.chunks(size) {
                reader.feed(piece, &mut tally);
            }
            let counts = [tally.delivered, tally.repeated, tally.out_of_order, tally.mangled, tally.gaps];
            assert_eq!(counts, [2, 0, 0, 2, 1], "pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_delivered() {
        let ledger = Ledger::new();
        let (mut tally, mut reader) = (Tally::new(ledger.clone()), EventReader::starting_at(0));
        reader.feed(&[b"data: ".as_slice(), &ledger.next().data, b"\n"].concat(), &mut tally);
        assert_eq!(tally.delivered, 0);
    }
}
