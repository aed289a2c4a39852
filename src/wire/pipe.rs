//! A pipe in memory, which stands for the socket of a held HTTP/2 stream: whoever holds it has the [`HeldEnd`], whoever
//! drives the stream's connection the [`StreamEnd`].
//!
//! An HTTP/2 stream can't give its socket away, since others share it. So what holds it writes into the pipe as it would
//! write to a socket that is soon full, and is rung when there is room again; and the stream takes as much as its client
//! has said that it takes. A client that is slow is slow for its holder all the same.
//!
//! Each end is bounded, and costs no buffer while nothing is in it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes on their way to the client: a burst of small messages, and little beside what the stream itself may have under
/// way.
const OUT_MAX: usize = 16 * 1024;
/// Bytes on their way from the client, beside one frame of HTTP/2.
const IN_MAX: usize = 16 * 1024;

/// Who is told that a pipe can be read or written again.
pub trait Bell: Send + Sync {
    /// Tells it of the pipe that it knows by this key. Called by threads that must not wait.
    fn ring(&self, key: u32);
}

/// The end that is held.
pub struct HeldEnd(Arc<Mutex<State>>);

/// The end of the stream.
pub struct StreamEnd(Arc<Mutex<State>>);

/// What is on its way, and who waits.
#[derive(Default)]
struct State {
    out: Vec<u8>,
    out_end: OutEnd,
    input: BytesMut,
    input_ended: bool,
    /// Whether the stream's end is dropped.
    gone: bool,
    /// Whether the held end has found no room, or nothing to read.
    waits_for_room: bool,
    waits_for_input: bool,
    stream: Option<Waker>,
    holder: Holder,
}

/// How far what is said to the client goes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum OutEnd {
    #[default]
    Open,
    /// That was all.
    Closed,
    /// What is missing never comes.
    Cut,
}

/// How whoever holds a pipe is told.
#[derive(Default)]
enum Holder {
    #[default]
    Nobody,
    Bell(Arc<dyn Bell>, u32),
    Task(Waker),
}

/// What the stream finds in the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// So many bytes, one at least.
    Bytes(usize),
    /// Everything was taken.
    End,
    /// The holder has given up inside what it had to say.
    Cut,
}

/// Both ends of a new pipe.
pub fn pipe() -> (HeldEnd, StreamEnd) {
    let state = Arc::new(Mutex::new(State::default()));
    (HeldEnd(state.clone()), StreamEnd(state))
}

impl State {
    /// Whoever has to be told of a change, once the lock is given back.
    fn holder_waiting_for(&mut self, waits: fn(&mut State) -> &mut bool) -> Option<Holder> {
        std::mem::take(waits(self)).then(|| match &mut self.holder {
            Holder::Nobody => Holder::Nobody,
            Holder::Bell(bell, key) => Holder::Bell(bell.clone(), *key),
            Holder::Task(waker) => Holder::Task(waker.clone()),
        })
    }

    fn has_input(&self) -> bool {
        !self.input.is_empty() || self.input_ended || self.gone
    }
}

impl Holder {
    fn tell(self) {
        match self {
            Holder::Nobody => {}
            Holder::Bell(bell, key) => bell.ring(key),
            Holder::Task(waker) => waker.wake(),
        }
    }
}

fn wake(stream: Option<Waker>) {
    if let Some(waker) = stream {
        waker.wake();
    }
}

impl HeldEnd {
    /// Has this bell rung from now on.
    pub(super) fn ring(&self, bell: Arc<dyn Bell>, key: u32) {
        self.0.lock().holder = Holder::Bell(bell, key);
    }

    /// Writes what there is room for, as a socket does.
    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        for slice in slices {
            let room = OUT_MAX - state.out.len();
            let count = slice.len().min(room);
            state.out.extend_from_slice(&slice[..count]);
            written += count;
            if count < slice.len() {
                state.waits_for_room = true;
                break;
            }
        }
        if written == 0 && state.waits_for_room {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let stream = state.stream.take();
        drop(state);
        wake(stream);
        Ok(written)
    }

    /// Reads what there is, as of a socket.
    pub(super) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if !state.has_input() {
            state.waits_for_input = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = into.len().min(state.input.len());
        state.input.copy_to_slice(&mut into[..count]);
        if state.input.is_empty() {
            state.input = BytesMut::new();
        }
        let stream = state.stream.take();
        drop(state);
        wake(stream);
        Ok(count)
    }

    /// Whether a read gives something. Where not, it is told once there is.
    pub(super) fn holds_input(&self) -> bool {
        let mut state = self.0.lock();
        let has_input = state.has_input();
        state.waits_for_input |= !has_input;
        has_input
    }

    /// Ends what is said to the client.
    pub(super) fn close(&self) {
        self.end(OutEnd::Closed);
    }

    fn end(&self, end: OutEnd) {
        let mut state = self.0.lock();
        if state.out_end == OutEnd::Open {
            state.out_end = end;
        }
        let stream = state.stream.take();
        drop(state);
        wake(stream);
    }

    /// Answers a poll whose task is to be told when it makes sense to try again.
    fn poll_io<T>(&self, cx: &Context<'_>, attempt: io::Result<T>) -> Poll<io::Result<T>> {
        match attempt {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.lock().holder = Holder::Task(cx.waker().clone());
                Poll::Pending
            }
            attempt => Poll::Ready(attempt),
        }
    }
}

impl Drop for HeldEnd {
    fn drop(&mut self) {
        self.end(OutEnd::Cut);
    }
}

/// For whoever carries bytes in a task: reading and writing are done by the same one.
impl AsyncRead for HeldEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.lock().holder = Holder::Task(cx.waker().clone());
        let read = self.read(into.initialize_unfilled());
        self.poll_io(cx, read).map_ok(|count| into.advance(count))
    }
}

impl AsyncWrite for HeldEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().holder = Holder::Task(cx.waker().clone());
        let written = self.write(&[IoSlice::new(bytes)]);
        self.poll_io(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl StreamEnd {
    /// What is there for the client; pending while nothing is.
    pub fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<Waiting> {
        let mut state = self.0.lock();
        match (state.out.len(), state.out_end) {
            (1.., _) => Poll::Ready(Waiting::Bytes(state.out.len())),
            (0, OutEnd::Closed) => Poll::Ready(Waiting::End),
            (0, OutEnd::Cut) => Poll::Ready(Waiting::Cut),
            (0, OutEnd::Open) => {
                state.stream = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes up to so many bytes for the client, and says whether they are the last.
    pub fn take(&self, most: usize) -> (Bytes, bool) {
        let mut state = self.0.lock();
        let bytes = if most >= state.out.len() {
            Bytes::from(std::mem::take(&mut state.out))
        } else {
            let bytes = Bytes::copy_from_slice(&state.out[..most]);
            state.out.drain(..most);
            bytes
        };
        let is_last = state.out.is_empty() && state.out_end == OutEnd::Closed;
        let holder = state.holder_waiting_for(|state| &mut state.waits_for_room);
        drop(state);
        holder.map(Holder::tell).unwrap_or_default();
        (bytes, is_last)
    }

    /// Ready when something that the client says may be put in.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.input.len() < IN_MAX {
            return Poll::Ready(());
        }
        state.stream = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts in what the client has said, one frame at most when there was room.
    pub fn put(&self, said: &[u8]) {
        self.change_input(|state| state.input.extend_from_slice(said));
    }

    /// The client says no more.
    pub fn end_input(&self) {
        self.change_input(|state| state.input_ended = true);
    }

    fn change_input(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock();
        change(&mut state);
        let holder = state.holder_waiting_for(|state| &mut state.waits_for_input);
        drop(state);
        holder.map(Holder::tell).unwrap_or_default();
    }
}

impl Drop for StreamEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.gone = true;
        state.waits_for_input |= state.waits_for_room;
        let holder = state.holder_waiting_for(|state| &mut state.waits_for_input);
        drop(state);
        holder.map(Holder::tell).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Rings(AtomicUsize);

    impl Bell for Rings {
        fn ring(&self, key: u32) {
            assert_eq!(key, 7);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Both {
        held: HeldEnd,
        stream: StreamEnd,
        rings: Arc<Rings>,
    }

    fn both() -> Both {
        let (held, stream) = pipe();
        let rings = Arc::new(Rings::default());
        held.ring(rings.clone(), 7);
        Both { held, stream, rings }
    }

    impl Both {
        fn waiting(&self) -> Poll<Waiting> {
            self.stream.poll_waiting(&mut Context::from_waker(Waker::noop()))
        }

        fn write(&self, bytes: &[u8]) -> Result<usize, io::ErrorKind> {
            self.held.write(&[IoSlice::new(bytes)]).map_err(|error| error.kind())
        }

        fn read(&self) -> Result<Vec<u8>, io::ErrorKind> {
            let mut buffer = [0; 4];
            let count = self.held.read(&mut buffer).map_err(|error| error.kind())?;
            Ok(buffer[..count].to_vec())
        }

        fn rings(&self) -> usize {
            self.rings.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_full_pipe_takes_nothing_and_rings_once_when_it_does_again() {
        let both = both();
        assert_eq!(both.waiting(), Poll::Pending);
        assert_eq!(both.write(&[b'x'; OUT_MAX + 1]), Ok(OUT_MAX));
        assert_eq!(both.write(b"y"), Err(io::ErrorKind::WouldBlock));
        assert_eq!((both.waiting(), both.rings()), (Poll::Ready(Waiting::Bytes(OUT_MAX)), 0));
        let taken = [both.stream.take(1).0.len(), both.stream.take(usize::MAX).0.len()];
        assert_eq!((taken, both.rings()), ([1, OUT_MAX - 1], 1));
        assert_eq!((both.write(b"yz"), both.write(b"")), (Ok(2), Ok(0)));
        both.held.close();
        assert_eq!(both.stream.take(1), (Bytes::from("y"), false));
        assert_eq!(both.stream.take(1), (Bytes::from("z"), true));
        assert_eq!(both.waiting(), Poll::Ready(Waiting::End));
    }

    #[test]
    fn an_end_that_is_dropped_is_known_at_the_other_one() {
        let Both { held, stream, .. } = both();
        held.write(&[IoSlice::new(b"half")]).unwrap();
        drop(held);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(stream.poll_waiting(&mut cx), Poll::Ready(Waiting::Bytes(4)));
        assert_eq!(stream.take(4), (Bytes::from("half"), false));
        assert_eq!(stream.poll_waiting(&mut cx), Poll::Ready(Waiting::Cut));

        for full in [true, false] {
            let Both { held, stream, rings } = both();
            match full {
                true => drop(held.write(&[IoSlice::new(&[0; OUT_MAX + 1])])),
                false => assert!(!held.holds_input()),
            }
            drop(stream);
            assert_eq!(rings.0.load(Ordering::Relaxed), 1);
            assert!(held.holds_input());
            assert_eq!(held.read(&mut [0]).unwrap(), 0);
            assert_eq!(held.write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn what_a_client_says_is_read_to_its_end() {
        let both = both();
        let room = || both.stream.poll_room(&mut Context::from_waker(Waker::noop()));
        both.stream.put(b"before");
        assert_eq!((both.rings(), both.held.holds_input()), (0, true));
        assert_eq!((both.read(), both.read()), (Ok(b"befo".to_vec()), Ok(b"re".to_vec())));
        assert_eq!(both.read(), Err(io::ErrorKind::WouldBlock));
        both.stream.put(&vec![0; IN_MAX]);
        both.stream.end_input();
        assert_eq!((both.rings(), room()), (1, Poll::Pending));
        assert_eq!(both.read(), Ok(vec![0; 4]));
        assert_eq!(room(), Poll::Ready(()));
        let rest = (0..).map_while(|_| both.read().ok().filter(|read| !read.is_empty()));
        assert_eq!(rest.map(|read| read.len()).sum::<usize>(), IN_MAX - 4);
        assert_eq!(both.read(), Ok(Vec::new()));
    }
}
