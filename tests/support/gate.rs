//! An application whose answers the test lets go one by one.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use super::{DEADLINE, Origin, Reply};

/// An application whose answers wait until the test lets one of them go.
pub(crate) struct Gate {
    pub(crate) origin: Origin,
    open: SyncSender<()>,
}

impl Gate {
    pub(crate) fn new() -> Gate {
        let (open, opened): (SyncSender<()>, Receiver<()>) = sync_channel(100);
        let opened = Arc::new(Mutex::new(opened));
        let origin = Origin::replying(move |_| {
            let opened = opened.lock().expect("no test panics in it");
            opened.recv_timeout(DEADLINE).expect("the test lets as many through as ask");
            Reply::ok("let through")
        });
        Gate { origin, open }
    }

    pub(crate) fn let_one_through(&self) {
        self.open.send(()).expect("the application lives");
    }
}
