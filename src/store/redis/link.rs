//! One connection to Redis with its scripts: opened when it is needed, given up at the first fault, opened again later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, Value};

use super::LogError;
use super::whereabouts::{Master, Whereabouts};

/// How long a connect, a write and an answer may take. Longer than a busy server needs, and short enough that
/// publishers hear soon of one that is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Pauses between attempts to connect: twice as long after each, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Between two looks whether the server is still the one that takes writes, where there are several.
const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// The scripts, in the order of their hashes in [`Open`].
pub(super) static SCRIPTS: [&str; 5] = [
    include_str!("attach.lua"),
    include_str!("append.lua"),
    include_str!("delete.lua"),
    include_str!("trim.lua"),
    include_str!("tell.lua"),
];

/// A script's place in [`SCRIPTS`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Script {
    Attach,
    Append,
    Delete,
    Trim,
    Tell,
}

/// The connection, or when the next one is tried.
pub(super) struct Link {
    whereabouts: Arc<Whereabouts>,
    open: Option<Open>,
    pause: Duration,
    next_try: Instant,
}

struct Open {
    master: Master,
    hashes: Vec<String>,
    next_look: Instant,
}

impl Link {
    pub(super) fn new(whereabouts: Arc<Whereabouts>) -> Link {
        Link { whereabouts, open: None, pause: PAUSES.0, next_try: Instant::now() }
    }

    /// Whether there is a connection.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How long it is of no use to try again.
    pub(super) fn pause_left(&self, now: Instant) -> Duration {
        self.next_try.saturating_duration_since(now)
    }

    /// Opens the connection where there is none. Fails at once while the pause after the last attempt lasts.
    pub(super) fn open(&mut self) -> Result<(), LogError> {
        if self.open.is_some() {
            return Ok(());
        }
        if Instant::now() < self.next_try {
            return Err(LogError::Unreachable("the connection is lost".into()));
        }
        match self.connect() {
            Ok(open) => {
                self.open = Some(open);
                self.pause = PAUSES.0;
                Ok(())
            }
            Err(error) => {
                self.next_try = Instant::now() + self.pause;
                self.pause = (2 * self.pause).min(PAUSES.1);
                Err(LogError::Unreachable(error.to_string()))
            }
        }
    }

    /// Gives the connection up.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    fn connect(&self) -> Result<Open, RedisError> {
        let mut master = self.whereabouts.connect()?;
        let mut load = redis::pipe();
        for script in SCRIPTS {
            load.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let hashes = load.query(&mut master.connection)?;
        Ok(Open { master, hashes, next_look: Instant::now() + LOOK_PAUSE })
    }

    /// Now and then, closes a connection to a server that another one has followed: it would tell nothing new for ever.
    pub(super) fn look(&mut self) {
        if let Some(open) = &mut self.open
            && Instant::now() >= open.next_look
        {
            open.next_look = Instant::now() + LOOK_PAUSE;
            if self.whereabouts.has_left(&mut open.master) {
                self.open = None;
            }
        }
    }

    /// Sends commands and waits for their answers, which may be errors each on its own.
    pub(super) fn ask(&mut self, commands: &Pipeline) -> Result<Vec<Result<Value, LogError>>, LogError> {
        let Some(open) = &mut self.open else {
            return Err(LogError::Unreachable("there is no connection".into()));
        };
        let bytes = commands.get_packed_pipeline();
        let asked = redis::ConnectionLike::req_packed_commands(
            &mut open.master.connection,
            &bytes,
            0,
            commands.len(),
        );
        match asked {
            Ok(values) => {
                Ok(values.into_iter().map(|value| value.extract_error().map_err(LogError::from)).collect())
            }
            Err(error) => {
                self.open = None;
                self.next_try = Instant::now() + self.pause;
                Err(LogError::Lost(error.to_string()))
            }
        }
    }

    /// As many commands as answers, none of which may be an error.
    pub(super) fn ask_all<const N: usize>(&mut self, commands: &Pipeline) -> Result<[Value; N], LogError> {
        let values: Vec<Value> = self.ask(commands)?.into_iter().collect::<Result<_, _>>()?;
        values.try_into().map_err(|_| LogError::strange())
    }

    /// One command and its answer.
    pub(super) fn ask_one<T: FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, LogError> {
        let [value] = self.ask_all(commands)?;
        super::read(value)
    }

    /// The name of a script on this connection.
    pub(super) fn hash(&self, script: Script) -> &str {
        self.open.as_ref().map_or("", |open| &open.hashes[script as usize])
    }
}

impl From<RedisError> for LogError {
    /// What the server answered; a connection that broke never comes here.
    fn from(error: RedisError) -> LogError {
        match error.code() {
            Some("OOM") => LogError::Full(error.to_string()),
            _ if error.kind() == ErrorKind::Io => LogError::Lost(error.to_string()),
            _ => LogError::Failed(error.to_string()),
        }
    }
}
