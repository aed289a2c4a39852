//! What other threads ask of a shard.
//!
//! Its length needs no bound of its own: each departure carries a permit of `limits.held_connections`, each poll is
//! answered once, what a WebSocket is told answers what it has said or waits for what it was told before, and a pipe
//! rings twice at most until it is looked at. A key is released once for each connection that went home.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use parking_lot::Mutex;

use super::revoke::Revocation;
use crate::hold::{Departure, Speaks, Speech};
use crate::wire::{Bell, Harbour};

/// A request to a shard.
pub(super) enum Command {
    /// Hold this connection.
    Keep(Box<Departure>),
    /// End, or count, what is revoked.
    Revoke(Revocation),
    /// Say this on the connection with this key, if it has the hold with this number.
    Speak(u32, u64, Speech),
    /// The pipe of the connection with this key can be read or written again, if that is still there.
    Ready(u32),
    /// Have the applications of all that GRIP holds asked.
    AskForAll,
    /// End everything within this time.
    Drain(Duration),
    /// End the thread.
    Stop,
    /// What a test does to the thread.
    #[cfg(debug_assertions)]
    Trouble(fn()),
}

/// A list with a bell.
pub(super) struct Inbox {
    commands: Mutex<Vec<Command>>,
    /// Keys of connections that went home and don't come back by them.
    released: Mutex<Vec<u32>>,
    waker: mio::Waker,
    registry: mio::Registry,
}

impl Inbox {
    pub(super) fn new(waker: mio::Waker, registry: mio::Registry) -> Inbox {
        Inbox { commands: Mutex::default(), released: Mutex::default(), waker, registry }
    }

    /// Adds a command; wakes the shard if it may be asleep.
    pub(super) fn push(&self, command: Command) {
        let mut commands = self.commands.lock();
        commands.push(command);
        if commands.len() == 1 {
            drop(commands);
            self.wake();
        }
    }

    /// Takes everything, in order.
    pub(super) fn take(&self, into: &mut Vec<Command>) {
        std::mem::swap(&mut *self.commands.lock(), into);
    }

    /// Takes the keys that can be given to others.
    pub(super) fn take_released(&self, into: &mut Vec<u32>) {
        std::mem::swap(&mut *self.released.lock(), into);
    }

    /// Ends the shard's sleep.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a shard can't be woken");
        }
    }
}

impl Speaks for Inbox {
    fn speak(&self, key: u32, hold: u64, speech: Speech) {
        self.push(Command::Speak(key, hold, speech));
    }
}

impl Bell for Inbox {
    fn ring(&self, key: u32) {
        self.push(Command::Ready(key));
    }
}

impl Harbour for Inbox {
    fn deregister(&self, socket: BorrowedFd<'_>) {
        if let Err(error) = self.registry.deregister(&mut SourceFd(&socket.as_raw_fd())) {
            tracing::debug!(%error, "a socket could not be deregistered");
        }
    }

    /// Nobody waits for it, so nobody is woken.
    fn release(&self, key: u32) {
        self.released.lock().push(key);
    }
}
