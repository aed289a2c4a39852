//! What systemd is told: that the process serves, that it leaves, that it lives (sd_notify(3)).

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Whoever has started the process and wants to hear of it; there may be nobody.
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    interval: Option<Duration>,
}

impl Supervisor {
    /// As the environment names it.
    pub(super) fn find() -> Supervisor {
        let socket = env::var("NOTIFY_SOCKET").ok().and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "systemd can't be told that the process serves");
                None
            }
        });
        let of_another = env::var("WATCHDOG_PID").is_ok_and(|pid| pid != std::process::id().to_string());
        let limit = env::var("WATCHDOG_USEC").ok().and_then(|limit| limit.parse().ok());
        // Half of what is allowed, as sd_watchdog_enabled(3) advises, and once more for a busy machine.
        let interval = limit.filter(|_| !of_another).map(|limit| Duration::from_micros(limit) / 4);
        Supervisor { socket, interval: interval.filter(|interval| !interval.is_zero()) }
    }

    /// How often it wants to hear that the process lives.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.interval.filter(|_| self.socket.is_some())
    }

    /// Clients are served from now on.
    pub(super) fn serves(&self) {
        self.tell("READY=1");
    }

    /// The process is on its way out.
    pub(super) fn leaves(&self) {
        self.tell("STOPPING=1");
    }

    /// Its threads turn.
    pub(super) fn lives(&self) {
        if self.interval.is_some() {
            self.tell("WATCHDOG=1");
        }
    }

    pub(super) fn try_clone(&self) -> Supervisor {
        let socket = self.socket.as_ref().and_then(|socket| socket.try_clone().ok());
        Supervisor { socket, interval: self.interval }
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::debug!(%error, state, "systemd was not told");
        }
    }
}

/// A path, or behind `@` a name without one.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // Whoever doesn't read must not stop us.
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}
