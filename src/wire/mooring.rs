//! What keeps a socket known to the event loop that held it, while another thread serves its client's next request.
//!
//! Most clients who wait for messages ask for nothing else, so that their sockets would leave one event loop for another
//! and come back with every message. A moored one stays registered where it was, until somebody else has to wait for it.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// An event loop that sockets are registered with. Called by threads that must not wait.
pub trait Harbour: Send + Sync {
    /// Forgets a socket, which is waited for elsewhere from now on.
    fn deregister(&self, socket: BorrowedFd<'_>);

    /// The key that it knew a connection by isn't that of one any more.
    fn release(&self, key: u32);
}

/// That a connection has a key at a harbour, where its socket is registered. The socket has to be closed, or
/// [cast off](Mooring::cast_off), before this is dropped, since the key is given to another one then.
pub struct Mooring {
    key: u32,
    /// Until the key is the harbour's again.
    harbour: Option<Arc<dyn Harbour>>,
}

impl Mooring {
    /// Of the connection with this key.
    pub fn new(harbour: Arc<dyn Harbour>, key: u32) -> Mooring {
        Mooring { key, harbour: Some(harbour) }
    }

    /// Whether it is there.
    pub fn is_at(&self, harbour: &Arc<impl Harbour>) -> bool {
        self.harbour.as_ref().is_some_and(|own| std::ptr::addr_eq(Arc::as_ptr(own), Arc::as_ptr(harbour)))
    }

    /// The key, for the harbour, which has its connection back.
    pub fn into_key(mut self) -> u32 {
        self.harbour = None;
        self.key
    }

    /// Has the socket forgotten.
    pub fn cast_off(self, socket: BorrowedFd<'_>) {
        if let Some(harbour) = &self.harbour {
            harbour.deregister(socket);
        }
    }
}

impl Drop for Mooring {
    fn drop(&mut self) {
        if let Some(harbour) = &self.harbour {
            harbour.release(self.key);
        }
    }
}

/// Shows the key; whose it is can't be told.
impl fmt::Debug for Mooring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mooring({})", self.key)
    }
}
