//! The loop of a shard: what the sockets say, what other threads ask, what is new, what is due; in this order.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use super::attendance::Attendance;
use super::berths::Berths;
use super::deliver::Afterwards;
use super::finish::Drain;
use super::held::{Heard, Held, Progress, Reason, Stage};
use super::inbox::{Command, Inbox};
use super::measures::Measures;
use super::revoke::LastMessage;
use super::runs::Runs;
use super::tags::Tags;
use super::volley::Volley;
use super::wheel::Wheel;
use super::{ShardSettings, runs};
use crate::access_log::AccessLog;
use crate::hold::Tickets;
use crate::hub::{ChannelId, Hub, Presence, Tap, Turn};
use crate::message::{Entry, Epoch, Gap, Sequence};
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::sys;
use crate::wire::Scratch;

/// Resolution of timers: fine enough for seconds, coarse enough for a million connections.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Between two looks at memory that was freed.
const REST: Duration = Duration::from_secs(1);
/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Bytes read from a held client at once; it has little to say.
const READ_BUFFER: usize = 4096;
const WAKE: Token = Token(usize::MAX);

/// Everything a shard owns.
pub(super) struct EventLoop {
    poll: Poll,
    inbox: Arc<Inbox>,
    commands: Vec<Command>,
    pub(super) released: Vec<u32>,
    pub(super) settings: Arc<ArcSwap<ShardSettings>>,
    pub(super) tap: Tap,
    pub(super) turn: Turn,
    pub(super) epoch: Epoch,
    /// Head of the last turn that was taken.
    pub(super) seen: Sequence,
    pub(super) held: Berths<Held>,
    /// Keys of the connections on each channel.
    pub(super) members: HashMap<ChannelId, Vec<u32>>,
    pub(super) wheel: Wheel,
    pub(super) tags: Tags,
    pub(super) attendance: Attendance,
    /// What connections are told last, from the order to end them until it is written.
    pub(super) partings: HashMap<usize, Arc<LastMessage>>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) drain: Option<Drain>,
    began: Instant,
    pub(super) now: Instant,
    /// Ticks since the shard began, as of `now`.
    pub(super) tick: u32,
    pub(super) afterwards: Vec<(u32, Afterwards)>,
    pub(super) measures: Measures,
    pub(super) log: AccessLog,
    pub(super) scratch: Scratch,
    pub(super) runs: Runs,
    pub(super) volley: Volley,
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) gaps: Vec<Gap>,
    pub(super) read_buffer: Box<[u8]>,
    due: Vec<usize>,
    /// Tick of the next look at memory that isn't used any more.
    rest_at: u32,
    stopped: bool,
}

impl EventLoop {
    pub(super) fn new(
        hub: &Arc<Hub>,
        settings: Arc<ArcSwap<ShardSettings>>,
        (tickets, presence): (Arc<Tickets>, Option<Arc<Presence>>),
        metrics: &Metrics,
        log: AccessLog,
    ) -> io::Result<EventLoop> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let inbox = Arc::new(Inbox::new(waker, poll.registry().try_clone()?));
        let bell = inbox.clone();
        let tap = hub.attach(Box::new(move || bell.wake()));
        let now = Instant::now();
        Ok(EventLoop {
            poll,
            inbox,
            commands: Vec::new(),
            released: Vec::new(),
            settings,
            tap,
            turn: Turn::default(),
            epoch: hub.head().epoch,
            seen: hub.head().sequence,
            held: Berths::new(),
            members: HashMap::new(),
            wheel: Wheel::new(),
            tags: Tags::default(),
            attendance: Attendance::new(presence),
            partings: HashMap::new(),
            tickets,
            drain: None,
            began: now,
            now,
            tick: 0,
            afterwards: Vec::new(),
            measures: Measures::new(metrics),
            log,
            scratch: Scratch::default(),
            runs: Runs::default(),
            volley: Volley::default(),
            entries: Vec::new(),
            gaps: Vec::new(),
            read_buffer: vec![0; READ_BUFFER].into(),
            due: Vec::new(),
            rest_at: 0,
            stopped: false,
        })
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Turns until it is told to stop.
    pub(super) fn run(mut self, pulse: &Pulse) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopped {
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a shard can't wait for its sockets");
                pulse.give_up();
            }
            pulse.beat();
            self.now = Instant::now();
            self.tick = ((self.now - self.began).as_millis() / TICK.as_millis()) as u32;
            let woken = self.take_events(&events);
            if woken {
                self.take_commands();
                self.take_news();
            }
            self.take_timers();
            self.go_on_draining();
            self.rest();
        }
    }

    /// How long the next wait may last: until the next tick while there is something that may be due.
    fn patience(&self) -> Option<Duration> {
        let idle = self.held.is_empty() && self.drain.is_none();
        (!idle).then(|| {
            let into_tick = (self.began.elapsed().as_millis() % TICK.as_millis()) as u64;
            TICK - Duration::from_millis(into_tick)
        })
    }

    fn take_events(&mut self, events: &Events) -> bool {
        let mut woken = false;
        for event in events {
            match event.token() {
                WAKE => woken = true,
                Token(key) if self.held.contains(key) => self.socket_is_ready(key, event),
                // It ended earlier in this turn, or is away.
                Token(key) => self.held.stir(key),
            }
        }
        woken
    }

    fn socket_is_ready(&mut self, key: usize, event: &Event) {
        if event.is_writable() {
            self.go_on_writing(key);
        }
        if (event.is_readable() || event.is_read_closed() || event.is_error()) && self.held.contains(key) {
            if self.is_lost_unheard(key, event.is_error()) {
                return self.cut(key, Reason::Client);
            }
            if self.held[key].stage == Stage::Between {
                return self.hear_next(key, event.is_read_closed());
            }
            self.hear(key);
        }
    }

    /// The same of a pipe. It may have been that of another connection, whose key this one has now: nothing comes of that.
    fn pipe_is_ready(&mut self, key: usize) {
        if self.held.get(key).is_none_or(|held| held.wire.socket().is_some()) {
            return;
        }
        self.go_on_writing(key);
        if self.held.contains(key) {
            self.hear(key);
        }
    }

    /// The socket takes bytes again.
    fn go_on_writing(&mut self, key: usize) {
        let held = &mut self.held[key];
        if !held.blocked() {
            return;
        }
        match held.flush(&mut self.scratch) {
            Ok(Progress::Done) => {
                self.measures.slow.dec();
                self.after_pending(key);
            }
            Ok(Progress::Blocked) => held.wrote_at = self.tick,
            Err(error) => self.cut(key, Reason::of_lost(&error, Reason::WriteError)),
        }
    }

    /// What was pending is written: the next step is the end, or what was missed meanwhile.
    fn after_pending(&mut self, key: usize) {
        let held = &mut self.held[key];
        held.wrote_at = self.tick;
        self.tell_sent(key);
        let held = &self.held[key];
        match held.stage {
            Stage::Ending(reason) => self.go_on_ending(key, reason),
            Stage::Live => {
                let behind = held.behind;
                self.schedule(key);
                self.answer_ping(key);
                self.say_waiting(key);
                self.resume_waiting(key);
                if behind {
                    self.catch_up(key);
                }
                self.hear_again(key);
            }
            Stage::Between | Stage::Lingering => {}
        }
    }

    pub(super) fn hear(&mut self, key: usize) {
        if self.held[key].stage == Stage::Between {
            return self.hear_next(key, true);
        }
        if self.held[key].cold.conversation().is_some() {
            return self.hear_socket(key);
        }
        let limit = self.settings.load().read_ahead;
        let held = &mut self.held[key];
        match held.hear(limit, &mut self.read_buffer, &mut self.scratch) {
            Heard::Kept => {}
            Heard::Left => self.cut(key, Reason::Client),
            Heard::Lost(error) => self.cut(key, Reason::of_lost(&error, Reason::Client)),
            Heard::TooMuch => self.cut(key, Reason::Limit),
        }
    }

    fn take_commands(&mut self) {
        self.take_released();
        let mut commands = std::mem::take(&mut self.commands);
        self.inbox.take(&mut commands);
        for command in commands.drain(..) {
            match command {
                Command::Keep(departure) => self.arrive(*departure),
                Command::Revoke(revocation) => self.revoke(revocation),
                Command::Speak(key, hold, speech) => self.speak(key as usize, hold, speech),
                Command::Ready(key) => self.pipe_is_ready(key as usize),
                Command::AskForAll => self.ask_for_all(),
                Command::Drain(spread) => self.begin_draining(spread),
                Command::Stop => self.stopped = true,
                #[cfg(debug_assertions)]
                Command::Trouble(trouble) => trouble(),
            }
        }
        self.commands = commands;
    }

    /// Arrivals leave heads and histories behind; what they took is given back once they are over.
    fn rest(&mut self) {
        if self.tick >= self.rest_at {
            self.rest_at = self.tick + ticks(REST);
            sys::return_unused_memory();
        }
    }

    fn take_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.tick, &mut due);
        due.drain(..).for_each(|key| self.timer(key));
        self.due = due;
    }

    /// A keep-alive, the end of a hold or of patience with a full socket is due, or was before a write put it off; and
    /// a look at what has become too large.
    fn timer(&mut self, key: usize) {
        self.limit_silence(key);
        let Some(held) = self.held.get_mut(key) else { return };
        match held.stage {
            Stage::Live if held.cold.until <= self.tick => self.end(key, Reason::Timeout),
            Stage::Live if held.blocked() => {
                let stalled = held.wrote_at.saturating_add(ticks(self.settings.load().stall)) <= self.tick;
                if stalled { self.cut(key, Reason::Slow) } else { self.schedule(key) }
            }
            Stage::Live if held.is_worn_out() => self.end(key, Reason::Limit),
            Stage::Live if held.has_delayed(self.tick) => {
                self.say_delayed(key);
                self.schedule(key);
            }
            Stage::Live if held.is_silent_for_long(self.tick) => {
                self.ask_after_silence(key);
                self.schedule(key);
            }
            Stage::Live => {
                if held.cold.keepalive > 0 && held.silent_since() + held.cold.keepalive <= self.tick {
                    self.keep_alive(key);
                }
                self.schedule(key);
            }
            Stage::Ending(reason) => self.cut(key, reason),
            Stage::Between => self.has_stayed(key),
            Stage::Lingering => self.forget(key),
        }
    }

    /// Sets the timer of a connection that gets events.
    pub(super) fn schedule(&mut self, key: usize) {
        let Some(held) = self.held.get(key) else { return };
        let stall = || ticks(self.settings.load().stall);
        let silence = match held.cold.keepalive {
            _ if held.blocked() => stall(),
            0 => u32::MAX,
            ticks => ticks,
        };
        let since = if held.blocked() { held.wrote_at } else { held.silent_since() };
        let grip = held.cold.grip_of_stream().filter(|_| !held.blocked());
        let other = grip.map_or(u32::MAX, |grip| grip.due());
        let unlimited = if held.limited { u32::MAX } else { held.cold.since.saturating_add(stall()) };
        let due = since.saturating_add(silence).min(held.cold.until).min(other).min(unlimited);
        if due < u32::MAX {
            self.wheel.schedule(key, due);
        }
    }

    fn keep_alive(&mut self, key: usize) {
        let held = &mut self.held[key];
        held.wrote_at = self.tick;
        let default = crate::transport::transport(held.transport).keep_alive();
        let sign = match held.cold.grip() {
            Some(grip) => {
                grip.beat_at = self.tick;
                grip.sign().unwrap_or(default)
            }
            None => default,
        };
        if sign.is_empty() {
            return;
        }
        let frame = runs::chunk(|out| out.extend_from_slice(sign));
        let sent = held.send(&frame, 0, &mut self.scratch);
        self.measures.keepalives.inc();
        if let Outcome::Broken(reason) = self.settle(key, sent) {
            self.cut(key, reason);
        }
    }

    /// A client that acknowledges nothing for as long as a socket may be full is gone, though it never fills the socket:
    /// the system says so by an error (`TCP_USER_TIMEOUT`, RFC 5482). It is told at the first timer of a connection, which
    /// is early enough, so that a crowd is taken in, and polls are answered, without it.
    fn limit_silence(&mut self, key: usize) {
        let Some(held) = self.held.get_mut(key).filter(|held| !held.limited) else { return };
        held.limited = true;
        let Some(socket) = held.wire.socket() else { return };
        if let Err(error) = SockRef::from(socket).set_tcp_user_timeout(Some(self.settings.load().stall)) {
            tracing::debug!(%error, "a socket takes no limit on silence");
        }
    }

    /// Registers a socket; reading is always wanted.
    pub(super) fn register(&self, key: usize) -> io::Result<()> {
        let wire = &self.held[key].wire;
        let Some(socket) = wire.socket() else {
            wire.ring(self.inbox(), key as u32);
            return Ok(());
        };
        let fd = socket.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), Token(key), Interest::READABLE)
    }

    pub(super) fn deregister(&self, held: &Held) {
        let Some(fd) = held.wire.socket().map(AsRawFd::as_raw_fd) else { return };
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&fd)) {
            tracing::debug!(%error, "a socket could not be deregistered");
        }
    }

    /// After a write: a full socket is watched until it takes bytes again.
    pub(super) fn settle(&mut self, key: usize, sent: io::Result<Progress>) -> Outcome {
        match sent {
            Ok(Progress::Done) => Outcome::Done,
            Ok(Progress::Blocked) => {
                self.measures.slow.inc();
                if self.held[key].stage == Stage::Live {
                    self.schedule(key);
                }
                self.arm(key)
            }
            Err(error) => Outcome::Broken(Reason::of_lost(&error, Reason::WriteError)),
        }
    }

    /// Asks to be told when the socket takes bytes. It stays so: a socket that was full once will be again.
    fn arm(&mut self, key: usize) -> Outcome {
        let held = &mut self.held[key];
        if held.armed {
            return Outcome::Waiting;
        }
        held.armed = true;
        let Some(fd) = held.wire.socket().map(AsRawFd::as_raw_fd) else { return Outcome::Waiting };
        let both = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().reregister(&mut SourceFd(&fd), Token(key), both) {
            Ok(()) => Outcome::Waiting,
            Err(error) => {
                tracing::error!(%error, "a socket can't be watched");
                Outcome::Broken(Reason::WriteError)
            }
        }
    }
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything is with the kernel.
    Done,
    /// The socket is full, and watched.
    Waiting,
    /// The socket is broken, and has to be cut for this reason.
    Broken(Reason),
}

/// Whole ticks, at least one.
pub(super) fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX - 1).max(1)
}
