//! `log`: the access log, and the level of the error log.

use super::form;
use super::section::{Key, Section};

/// Logs.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Form of the access log, on standard output.
    pub access: AccessFormat,
    /// Level of the error log, on standard error.
    pub level: LogLevel,
}

/// Form of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// NCSA combined, byte-exact.
    Combined,
    /// One JSON object a line.
    Json,
    /// None.
    Off,
}

/// Level of the error log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What someone must act on.
    Error,
    /// Degraded.
    Warn,
    /// What an operator did or must know.
    Info,
    /// Mistakes of peers.
    Debug,
    /// Everything.
    Trace,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            // What every log reader understands.
            access: AccessFormat::Combined,
            // What an operator did or must know; mistakes of clients are counted, not logged.
            level: LogLevel::Info,
        }
    }
}

pub(super) static LOG: Section<LogConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("access", |log, value| value.put(&mut log.access, &form::ACCESS)),
        Key::new("level", |log, value| value.put(&mut log.level, &form::LEVEL)),
    ],
};
