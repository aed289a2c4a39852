//! The only `unsafe` of the program: what the libraries lack of the system and of the allocator.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};
use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The allocator of the program: mimalloc, by its quick way wherever the alignment is the usual one.
///
/// The ready-made wrapper asks for an alignment each time, which costs one request some hundred instructions in
/// each of a few dozen allocations.
pub struct Allocator;

/// Every block of at least this size is aligned to it (`MI_MAX_ALIGN_SIZE`); a smaller one to its own size.
const USUAL_ALIGNMENT: usize = 16;

fn is_usual(layout: Layout) -> bool {
    layout.align() <= USUAL_ALIGNMENT && layout.align() <= layout.size()
}

// SAFETY: each function hands on what it was given; mimalloc keeps the contract of malloc, and `is_usual` sends
// only those layouts to the functions without an alignment for which it is met by the size.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size may be asked for.
        unsafe {
            if is_usual(layout) {
                mi_malloc(layout.size())
            } else {
                mi_malloc_aligned(layout.size(), layout.align())
            }
            .cast()
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size may be asked for.
        unsafe {
            if is_usual(layout) {
                mi_zalloc(layout.size())
            } else {
                mi_zalloc_aligned(layout.size(), layout.align())
            }
            .cast()
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller got the block from this allocator.
        unsafe { mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let usual = is_usual(layout) && layout.align() <= size;
        // SAFETY: the caller got the block from this allocator.
        unsafe {
            if usual {
                mi_realloc(block.cast(), size)
            } else {
                mi_realloc_aligned(block.cast(), size, layout.align())
            }
            .cast()
        }
    }
}

/// Gives memory that the calling thread has freed back to the system. Cheap where there is little; meant for
/// threads that have been busy and are quiet now.
///
/// The allocator does this by itself only while it is being used, so that the buffers of a crowd that has arrived
/// would stay for as long as it is held.
pub fn return_unused_memory() {
    // SAFETY: the function may be called on any thread at any time; it touches only what is free.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

/// Takes memory in pages of the usual size only, so that a few kilobytes in use don't hold two megabytes each.
/// To be called before there are threads; a system that can't is left as it is.
pub fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages can't be switched off");
    }
}

/// Bytes that were written to a TCP socket and that its other end has not acknowledged (tcp(7), `SIOCOUTQ`).
pub fn untaken_bytes(socket: impl AsFd) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the request writes one int, which is there.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { u64::try_from(bytes).ok() } else { None }
}

/// A listening socket that tokio waits for, to accept from without making what is accepted known to tokio, which its own
/// listener does. To be called inside a runtime.
///
/// # Errors
/// The system's, if it can't be waited for.
pub fn watch(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: a listener owns its descriptor, which is always the same, and closes it when it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?)
}

/// Sends on many sockets by one system call: io_uring (io_uring(7)), where the system lets the program have it, else one
/// call after the other.
pub struct SendRing(Option<IoUring>);

/// Bytes for a socket.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// A connected stream socket.
    pub socket: BorrowedFd<'a>,
    /// At most 2 GiB, which is what one send takes.
    pub bytes: &'a [u8],
}

impl SendRing {
    /// Sends of one system call: more of them don't make one cheaper.
    pub const ROOM: usize = 128;

    /// A ring of its own; about 16 KiB, and one descriptor.
    pub fn new() -> SendRing {
        let ring = IoUring::new(Self::ROOM as u32).inspect_err(|error| {
            tracing::debug!(%error, "no io_uring here: each delivery is a system call");
        });
        // Linux 5.17 has it. Older ones have what is needed, too, and years of its mistakes.
        SendRing(ring.ok().filter(|ring| ring.params().is_feature_skip_cqe_on_success()))
    }

    /// Does for each parcel what `send` does with `MSG_DONTWAIT` and `MSG_NOSIGNAL` (send(2)), and puts what it gave
    /// into `outcomes`, in their order. One socket gets one parcel at most.
    pub fn send(&mut self, parcels: &[Parcel<'_>], outcomes: &mut Vec<io::Result<usize>>) {
        outcomes.clear();
        for parcels in parcels.chunks(Self::ROOM) {
            let done = if parcels.len() > 1 { self.send_together(parcels, outcomes) } else { 0 };
            outcomes.extend(parcels[done..].iter().map(send_alone));
        }
    }

    /// How many of the parcels the ring has taken, which are the first of them; their outcomes are there.
    fn send_together(&mut self, parcels: &[Parcel<'_>], outcomes: &mut Vec<io::Result<usize>>) -> usize {
        let Some(ring) = &mut self.0 else { return 0 };
        let mut queue = ring.submission();
        let pushed = (0..).zip(parcels).take_while(|(number, parcel)| {
            let (fd, length) = (types::Fd(parcel.socket.as_raw_fd()), parcel.bytes.len() as u32);
            let entry =
                opcode::Send::new(fd, parcel.bytes.as_ptr(), length).flags(ALONE.bits() as i32).build();
            // SAFETY: socket and bytes are borrowed until this function returns, and it does so only when the system
            // has answered all that it took; what it has not taken goes with the ring.
            unsafe { queue.push(&entry.user_data(*number)) }.is_ok()
        });
        let pushed = pushed.count();
        drop(queue);
        let first = outcomes.len();
        outcomes.resize_with(first + pushed, || Ok(0));
        let (mut taken, mut answered) = (0, 0);
        while answered < pushed {
            match ring.submit_and_wait(pushed - answered) {
                Ok(0) => break,
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "io_uring fails: from now on each delivery is a system call");
                    break;
                }
            }
            for completion in ring.completion() {
                outcomes[first + completion.user_data() as usize] = outcome(completion.result());
                answered += 1;
            }
        }
        if answered != taken {
            // The system may still read bytes that the caller is about to free.
            std::process::abort();
        }
        if answered < pushed {
            self.0 = None;
            outcomes.truncate(first + answered);
        }
        answered
    }
}

impl Default for SendRing {
    fn default() -> SendRing {
        SendRing::new()
    }
}

/// A send that neither waits nor raises a signal. With the first, io_uring never keeps it for later either.
const ALONE: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

fn send_alone(parcel: &Parcel<'_>) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| send(parcel.socket, parcel.bytes, ALONE))?)
}

/// What a completion says: a count, or a negated number of an error.
fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// By one call for many, and by one for each, as it is where io_uring isn't to be had.
    #[test]
    fn many_sockets_get_their_own_bytes_and_each_says_what_it_took() {
        for mut ring in [SendRing::new(), SendRing(None)] {
            let pairs: Vec<_> = (0..2 * SendRing::ROOM + 1).map(|_| UnixStream::pair().unwrap()).collect();
            let texts: Vec<_> = (0..pairs.len()).map(|number| format!("for {number}").into_bytes()).collect();
            let parcels = pairs.iter().zip(&texts);
            let parcels: Vec<_> =
                parcels.map(|((near, _), bytes)| Parcel { socket: near.as_fd(), bytes }).collect();
            let mut outcomes = vec![Ok(7)];
            ring.send(&parcels, &mut outcomes);
            let counts: Vec<_> = outcomes.iter().map(|outcome| *outcome.as_ref().unwrap()).collect();
            assert_eq!(counts, texts.iter().map(Vec::len).collect::<Vec<_>>());
            for ((_, far), text) in pairs.iter().zip(&texts) {
                let (mut far, mut received) = (far, vec![0; text.len()]);
                far.read_exact(&mut received).unwrap();
                assert_eq!(received, *text);
            }
        }
    }

    /// A client that reads nothing must not keep a thread, and one that has left must not end the process by a signal.
    #[test]
    fn a_full_socket_takes_a_part_or_nothing_and_a_broken_one_says_so() {
        for mut ring in [SendRing::new(), SendRing(None)] {
            let (full, _reader) = UnixStream::pair().unwrap();
            let (broken, gone) = UnixStream::pair().unwrap();
            let (good, _good) = UnixStream::pair().unwrap();
            drop(gone);
            let much = vec![0; 8 << 20];
            let parcels = [(&full, &much[..]), (&broken, b"lost"), (&good, b"kept")]
                .map(|(socket, bytes)| Parcel { socket: socket.as_fd(), bytes });
            let mut outcomes = Vec::new();
            ring.send(&parcels, &mut outcomes);
            assert!(matches!(outcomes[0], Ok(part) if 0 < part && part < much.len()), "{outcomes:?}");
            assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            assert!(matches!(outcomes[2], Ok(4)), "{outcomes:?}");
            ring.send(&parcels, &mut outcomes);
            assert_eq!(outcomes[0].as_ref().unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(matches!(outcomes[2], Ok(4)), "{outcomes:?}");
        }
    }

    #[tokio::test]
    async fn a_watched_listener_says_when_somebody_has_come() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = watch(listener).unwrap();
        let accepted = listener.async_io(Interest::READABLE, TcpListener::accept);
        let (accepted, client) = tokio::join!(accepted, tokio::net::TcpStream::connect(address));
        assert_eq!(accepted.unwrap().1, client.unwrap().local_addr().unwrap());
    }

    #[test]
    fn what_the_other_end_has_not_taken_is_known() {
        use std::io::Write;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(some) = near.write(&[0; 65_536]) {
            written += some as u64;
        }
        let untaken = untaken_bytes(&near).unwrap();
        assert!(0 < untaken && untaken < written, "{untaken} of {written}");
        let mut left = vec![0; written as usize];
        far.read_exact(&mut left).unwrap();
        // The acknowledgement of the last bytes may be on its way.
        while untaken_bytes(&near) != Some(0) {
            std::thread::yield_now();
        }
        assert_eq!(untaken_bytes(std::fs::File::open("/dev/null").unwrap()), None);
    }

    #[test]
    fn every_block_is_aligned_as_it_was_asked_for() {
        for (size, align) in
            [(1, 1), (8, 8), (3, 2), (8, 16), (16, 16), (24, 16), (24, 8), (100, 64), (4096, 4096)]
        {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the sizes are not zero, and each block is freed by the allocator that gave it.
            unsafe {
                let blocks: Vec<*mut u8> = (0..100).map(|_| Allocator.alloc(layout)).collect();
                assert!(
                    blocks.iter().all(|block| !block.is_null() && block.addr().is_multiple_of(align)),
                    "{layout:?}"
                );
                for block in blocks {
                    let grown = Allocator.realloc(block, layout, size * 3);
                    assert!(grown.addr().is_multiple_of(align), "{layout:?}");
                    Allocator.dealloc(grown, Layout::from_size_align(size * 3, align).unwrap());
                }
            }
        }
    }

    #[test]
    fn memory_in_use_survives_the_return_of_what_is_not() {
        let kept: Vec<Vec<u8>> = (0..1000u32).map(|number| vec![number as u8; 1000]).collect();
        drop((0..1000).map(|_| vec![1u8; 10_000]).collect::<Vec<_>>());
        super::return_unused_memory();
        assert!(
            kept.iter().enumerate().all(|(number, bytes)| bytes.iter().all(|byte| *byte == number as u8))
        );
    }
}
