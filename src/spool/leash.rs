//! What one body has handed out and nobody is done with yet: where memory is tight, one piece at a time, since what
//! is in other hands can't go to a file.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

/// Of one body.
#[derive(Default)]
pub struct Leash(Mutex<Out>);

#[derive(Default)]
struct Out {
    pieces: usize,
    waiting: Option<Waker>,
}

/// A piece, and whose it is.
struct Piece {
    bytes: Bytes,
    leash: Arc<Leash>,
}

impl Leash {
    /// Ready when no piece is out; else the task is woken then.
    pub fn poll_home(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut out = self.0.lock();
        if out.pieces == 0 {
            return Poll::Ready(());
        }
        match &mut out.waiting {
            Some(waiting) => waiting.clone_from(cx.waker()),
            waiting => *waiting = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Hands out a piece.
    pub fn hand(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.0.lock().pieces += 1;
        Bytes::from_owner(Piece { bytes, leash: self.clone() })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut out = self.leash.0.lock();
        out.pieces -= 1;
        if out.pieces == 0
            && let Some(waiting) = out.waiting.take()
        {
            drop(out);
            waiting.wake();
        }
    }
}
