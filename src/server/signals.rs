//! What the process is told by signals.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// A signal by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// TERM, INT or QUIT.
    Stop,
    /// HUP.
    Reload,
}

/// The signals that are heard instead of ending the process.
pub(super) struct Signals {
    terminate: Stream,
    interrupt: Stream,
    quit: Stream,
    hangup: Stream,
    first: Stream,
    second: Stream,
}

impl Signals {
    /// From now on, on this runtime.
    pub(super) fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            first: signal(SignalKind::user_defined1())?,
            second: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Signal::Stop,
                _ = self.interrupt.recv() => return Signal::Stop,
                _ = self.quit.recv() => return Signal::Stop,
                _ = self.hangup.recv() => return Signal::Reload,
                // Scripts that rotate logs or replace other servers send these, and unheard they would end the process.
                _ = self.first.recv() => tracing::warn!("USR1 does nothing: the access log goes to standard output"),
                _ = self.second.recv() => {
                    tracing::warn!("USR2 does nothing: to replace the program, start it again; clients go on from their positions");
                }
            }
        }
    }
}
