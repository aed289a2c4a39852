//! Shards: threads that hold connections, thousands each, outside of hyper and tokio.
//!
//! A shard is a thread with a poll, berths for small structs, a wheel of coarse timers and a tap of the hub. One
//! wake delivers everything that is new: the frames of a turn are built once, and each connection that can be
//! written gets its missing ones in one write. Nothing on that way locks, allocates or wakes a task for each
//! connection; what is rare (catching up after a full socket, arriving, ending) may. There is no HTTP parser
//! here: what a held client says is kept, bounded, for whoever serves the connection afterwards. Between two polls a
//! connection stays, and only its requests go home.

mod admission;
mod arrive;
mod asking;
mod attendance;
mod berths;
mod between;
mod cold;
#[cfg(test)]
mod conversations;
mod deliver;
mod event_loop;
mod finish;
mod grip;
mod grip_socket;
mod held;
mod inbox;
mod measures;
mod memberships;
mod recover;
mod revoke;
mod runs;
mod socket;
mod tags;
mod talk;
#[cfg(test)]
mod tests;
mod volley;
mod wheel;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::access_log::AccessLog;
use crate::config::Rate;
use crate::hold::grip::Asks;
use crate::hold::{Crowd, Departure, Keeper, Permit, Tickets, Whose};
use crate::hub::{Hub, Presence};
use crate::message::{ChannelName, Position, Start};
use crate::metrics::Metrics;
use crate::pulse::{Watched, pulse};

use admission::Admission;
use event_loop::EventLoop;
use inbox::{Command, Inbox};
use revoke::{Deed, Revocation};

pub use revoke::LastMessage;

/// What a configuration says about holding.
#[derive(Debug, Clone)]
pub struct ShardSettings {
    /// Connections held at once by all shards; `None` for no limit.
    pub held_connections: Option<usize>,
    /// Connections taken over in a time; `None` for no limit.
    pub new_holds: Option<Rate>,
    /// How many clients may come back in a time when all are cut off at once; `None` leaves that to them.
    pub returns: Option<Rate>,
    /// Silence before a keep-alive where the application names none.
    pub keepalive: Option<Duration>,
    /// How long a poll is held where the application names no timeout.
    pub poll_timeout: Duration,
    /// How long a socket may be full before its client counts as gone.
    pub stall: Duration,
    /// Bytes that are handed to one connection at once.
    pub turn_bytes: usize,
    /// Bytes that a client may send while it is held.
    pub read_ahead: usize,
    /// Who asks for filters; without one they let nothing through.
    pub asker: Option<Asker>,
}

/// Whoever asks the URLs of filters.
#[derive(Clone)]
pub struct Asker(pub Arc<dyn Asks>);

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

/// The running shards.
pub struct Shards {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    watched: Vec<Watched>,
}

/// The pulse of a shard, and what wakes it, since it doesn't turn while it has nothing to do.
pub type Sleeper = (Watched, Box<dyn Fn() + Send>);

/// What the threads of ordinary work see of the shards.
struct Shared {
    hub: Arc<Hub>,
    inboxes: Vec<Arc<Inbox>>,
    next: AtomicUsize,
    held: Arc<AtomicUsize>,
    settings: Arc<ArcSwap<ShardSettings>>,
    admission: Admission,
    tickets: Arc<Tickets>,
}

impl Shards {
    /// Starts so many threads.
    pub fn start(
        threads: usize,
        hub: &Arc<Hub>,
        settings: ShardSettings,
        (tickets, presence): (Arc<Tickets>, Option<Arc<Presence>>),
        metrics: &Metrics,
        log: &AccessLog,
    ) -> io::Result<Shards> {
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let known = || (tickets.clone(), presence.clone());
        let loops: Vec<_> = (0..threads)
            .map(|_| EventLoop::new(hub, settings.clone(), known(), metrics, log.clone()))
            .collect::<io::Result<_>>()?;
        let inboxes = loops.iter().map(EventLoop::inbox).collect();
        let (next, held) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let (hub, admission) = (hub.clone(), Admission::new());
        let shared = Arc::new(Shared { hub, inboxes, next, held, settings, admission, tickets });
        let mut shards = Shards { shared, threads: Vec::new(), watched: Vec::new() };
        for (index, event_loop) in loops.into_iter().enumerate() {
            let name = format!("shard-{index}");
            let (pulse, watched) = pulse(name.as_str());
            let thread = std::thread::Builder::new().name(name);
            shards.threads.push(thread.spawn(move || event_loop.run(&pulse))?);
            shards.watched.push(watched);
        }
        Ok(shards)
    }

    /// Where connections are handed over.
    pub fn keeper(&self) -> Arc<dyn Keeper> {
        self.shared.clone()
    }

    /// Takes new settings for connections that come from now on.
    pub fn reconfigure(&self, settings: ShardSettings) {
        self.shared.settings.store(Arc::new(settings));
    }

    /// Connections held now.
    pub fn open(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Ends what is held, each connection at a time of its own within `spread`, and whatever comes later at once.
    pub fn drain(&self, spread: Duration) {
        self.tell(|| Command::Drain(spread));
    }

    /// Who may count and revoke.
    pub fn revoker(&self) -> Revoker {
        Revoker(self.shared.clone())
    }

    /// For whoever watches that they turn.
    pub fn watched(&self) -> impl Iterator<Item = Sleeper> {
        self.watched.iter().zip(&self.shared.inboxes).map(|(watched, inbox)| {
            let inbox = inbox.clone();
            let wake: Box<dyn Fn() + Send> = Box::new(move || inbox.wake());
            (watched.clone(), wake)
        })
    }

    /// Cuts what is left and ends the threads.
    pub fn stop(mut self) {
        self.tell(|| Command::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard had panicked");
            }
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        self.shared.inboxes.iter().for_each(|inbox| inbox.push(command()));
    }
}

/// The way to all shards for whoever counts and ends connections by tag or channel.
#[derive(Clone)]
pub struct Revoker(Arc<Shared>);

impl Revoker {
    /// Makes tickets void and has what is held ended, with a last message where there is one; the shards have been told
    /// when this returns. False where so much is revoked that tickets of others became void, too.
    pub fn revoke(&self, whose: Whose, last: Option<LastMessage>, at: SystemTime) -> (Counting, bool) {
        let fits = self.0.tickets.revoke(whose.clone(), at);
        let last = last.map(Arc::new);
        (self.ask(&whose, || Deed::End(last.clone())), fits)
    }

    /// Has the first shard do what a test wants to see the end of.
    #[cfg(debug_assertions)]
    pub fn trouble(&self, trouble: fn()) {
        self.0.inboxes.iter().take(1).for_each(|inbox| inbox.push(Command::Trouble(trouble)));
    }

    /// Has the applications of all clients of GRIP asked for what these may lack.
    pub fn ask_for_all(&self) {
        self.0.inboxes.iter().for_each(|inbox| inbox.push(Command::AskForAll));
    }

    /// Connections with a tag.
    pub fn count(&self, tag: &str) -> Counting {
        self.ask(&Whose::Tag(tag.into()), || Deed::Count)
    }

    fn ask(&self, whose: &Whose, deed: impl Fn() -> Deed) -> Counting {
        let ask = |inbox: &Arc<Inbox>| {
            let (answer, counted) = oneshot::channel();
            inbox.push(Command::Revoke(Revocation { whose: whose.clone(), deed: deed(), answer }));
            counted
        };
        Counting(self.0.inboxes.iter().map(ask).collect())
    }
}

/// Connections that the shards are counting.
#[derive(Default)]
pub struct Counting(Vec<oneshot::Receiver<usize>>);

impl Counting {
    /// How many they are, once every shard has done what it was asked for.
    pub async fn sum(self) -> usize {
        let mut sum = 0;
        for counted in self.0 {
            // A shard that has ended holds nothing.
            sum += counted.await.unwrap_or_default();
        }
        sum
    }
}

impl Keeper for Shared {
    fn head(&self) -> Position {
        self.hub.head()
    }

    fn admit(&self, wishes: &[(ChannelName, Start)]) -> Result<Permit, Crowd> {
        let now = Instant::now();
        if let Err(refused) = self.hub.has_place(wishes.iter().map(|(name, _)| name), now) {
            tracing::debug!(%refused, "a connection is not held");
            return Err(Crowd::Channel);
        }
        let settings = self.settings.load();
        // A place is looked for first: what time gives is not to be spent on those who find none.
        let permit = Permit::take(&self.held, settings.held_connections).ok_or(Crowd::Full)?;
        if let Some(rate) = settings.new_holds {
            self.admission.take(rate, now).map_err(Crowd::Rush)?;
        }
        Ok(permit)
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn keep_socket(&self, departure: Box<Departure>) {
        let known = departure.mooring.as_ref();
        let inbox = known.and_then(|mooring| self.inboxes.iter().find(|inbox| mooring.is_at(inbox)));
        let inbox = inbox.unwrap_or_else(|| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            &self.inboxes[turn % self.inboxes.len()]
        });
        inbox.push(Command::Keep(departure));
    }

    fn tickets(&self) -> Option<&Tickets> {
        Some(&self.tickets)
    }
}
