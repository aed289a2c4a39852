//! The access log: one line for each exchange, and one more when a held connection ends.
//!
//! Lines are formatted where they arise and written by a thread of their own, so that a slow reader of standard
//! output holds up nobody: what the bounded channel can't take is dropped and counted.

mod format;

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use prometheus::IntCounter;

use crate::config::AccessFormat;
use crate::metrics::Metrics;

/// Lines that may wait for the writer: a second of a busy machine, some megabytes.
const WAITING_MAX: usize = 16 * 1024;
/// Bytes that are gathered before a write.
const BATCH: usize = 64 * 1024;

/// Who asked for what: what both lines of a hold have in common.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The client, behind trusted proxies if there are any.
    pub client: IpAddr,
    /// Configured name of the site, `_other` where there was none.
    pub site: Arc<str>,
    /// Request method.
    pub method: hyper::Method,
    /// Request target as it was sent.
    pub target: Box<str>,
    /// HTTP version.
    pub version: hyper::Version,
    /// `Referer`, which need not be UTF-8.
    pub referer: Option<Box<[u8]>>,
    /// `User-Agent`, the same.
    pub user_agent: Option<Box<[u8]>>,
    /// `X-Request-Id`, where the form of the log has room for it.
    pub request_id: Option<Box<str>>,
    /// When the head of the request was there.
    pub began: SystemTime,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Status that the client was sent; 499 where it left before there was one.
    pub status: u16,
    /// Bytes of the answer's body.
    pub body_bytes_sent: u64,
    /// From the head of the request to the end of the answer, or to the take-over.
    pub duration: Duration,
    /// From the head of the request to the head of the answer.
    pub ttfb: Option<Duration>,
    /// The server that was asked.
    pub server: Option<Arc<str>>,
    /// How often the request was sent again.
    pub retries: u8,
    /// How it ended.
    pub end: End,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a whole answer.
    Ok,
    /// The client left.
    ClientAbort,
    /// The server couldn't be reached.
    UpstreamConnect,
    /// The server broke off.
    UpstreamReset,
    /// The server's answer can't be passed on.
    UpstreamBad,
    /// The server didn't answer in time.
    UpstreamTimeout,
    /// The file that is the answer couldn't be read to its end.
    FileBroken,
    /// Nothing moved in a body for too long.
    Stalled,
    /// No connection became free in time.
    QueueTimeout,
    /// The queue was full.
    QueueFull,
    /// The connection is held from here on.
    TakenOver,
    /// The connection became a tunnel, and was closed.
    Tunnelled,
    /// The proxy refused the request.
    Refused,
    /// The proxy panicked over it.
    Panicked,
}

/// How a hold ended.
#[derive(Debug, Clone)]
pub struct HoldEnd {
    /// Name of the transport.
    pub transport: &'static str,
    /// Status that the client was sent.
    pub status: u16,
    /// Channels that were held.
    pub channels: usize,
    /// Why it ended, as in the metric `perihelion_comet_streams_closed_total`.
    pub reason: &'static str,
    /// Messages delivered.
    pub events: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// How long it was held.
    pub held: Duration,
}

/// A handle to the access log.
#[derive(Clone)]
pub struct AccessLog(Arc<Shared>);

struct Shared {
    format: AtomicU8,
    lines: SyncSender<Job>,
    dropped: IntCounter,
}

enum Job {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// On standard output. The writer's thread ends with the last handle.
    pub fn open(format: AccessFormat, metrics: &Metrics) -> std::io::Result<AccessLog> {
        AccessLog::to(format, std::io::stdout(), metrics)
    }

    /// To anything that can be written to.
    pub fn to(
        format: AccessFormat,
        out: impl Write + Send + 'static,
        metrics: &Metrics,
    ) -> std::io::Result<AccessLog> {
        let (lines, inbox) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("access-log".into());
        thread.spawn(move || write_lines(&inbox, out))?;
        let dropped = metrics.log_lines_dropped.with_label_values(&["access"]);
        Ok(AccessLog(Arc::new(Shared { format: AtomicU8::new(number(format)), lines, dropped })))
    }

    /// Whether anybody wants lines; a [`Subject`] is made only then.
    pub fn is_on(&self) -> bool {
        self.format() != AccessFormat::Off
    }

    /// Whether lines hold the ids of requests.
    pub fn names_requests(&self) -> bool {
        self.format() == AccessFormat::Json
    }

    /// Changes the form of the lines that follow.
    pub fn set_format(&self, format: AccessFormat) {
        self.0.format.store(number(format), Ordering::Relaxed);
    }

    /// Writes the line of an exchange.
    pub fn exchange(&self, subject: &Subject, exchange: &Exchange) {
        match self.format() {
            AccessFormat::Combined => {
                self.line(format::combined(subject, exchange.status, exchange.body_bytes_sent));
            }
            AccessFormat::Json => self.line(format::exchange_json(subject, exchange)),
            AccessFormat::Off => {}
        }
    }

    /// Writes the line of a request that was refused before it could be read; `line` is what came as its first.
    pub fn refused(&self, client: IpAddr, line: &[u8], status: u16, bytes: u64) {
        let now = SystemTime::now();
        match self.format() {
            AccessFormat::Combined => self.line(format::refused_combined(now, client, line, status, bytes)),
            AccessFormat::Json => self.line(format::refused_json(now, client, line, status, bytes)),
            AccessFormat::Off => {}
        }
    }

    /// Writes the second line of a hold.
    pub fn hold_ended(&self, subject: &Subject, end: &HoldEnd) {
        match self.format() {
            AccessFormat::Combined => self.line(format::combined(subject, end.status, end.bytes)),
            AccessFormat::Json => self.line(format::hold_json(subject, end)),
            AccessFormat::Off => {}
        }
    }

    /// Waits until everything so far is written, `limit` at the most; blocks. For the end of the process.
    pub fn flush(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.0.lines.try_send(Job::Flush(done)).is_ok() {
            // Late lines are lost then, like those of a full channel.
            let _ = wait.recv_timeout(limit);
        }
    }

    fn format(&self) -> AccessFormat {
        match self.0.format.load(Ordering::Relaxed) {
            0 => AccessFormat::Off,
            1 => AccessFormat::Combined,
            _ => AccessFormat::Json,
        }
    }

    fn line(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.0.lines.try_send(Job::Line(line))
        {
            self.0.dropped.inc();
        }
    }
}

fn number(format: AccessFormat) -> u8 {
    match format {
        AccessFormat::Off => 0,
        AccessFormat::Combined => 1,
        AccessFormat::Json => 2,
    }
}

/// Ends when the last handle is gone, or nobody reads the output any more.
fn write_lines(inbox: &Receiver<Job>, mut out: impl Write) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(first) = inbox.recv() {
        let mut flushed = None;
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Line(line) => batch.extend_from_slice(&line),
                Job::Flush(done) => flushed = Some(done),
            }
            let more = batch.len() < BATCH && flushed.is_none();
            next = if more { inbox.try_recv().ok() } else { None };
        }
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            return;
        }
        batch.clear();
        // Whoever asked may have given up waiting.
        let _ = flushed.map(|done| done.send(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Shelf(Arc<Mutex<Vec<u8>>>);

    impl Write for Shelf {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_in_the_form_of_their_moment() {
        let (shelf, metrics) = (Shelf::default(), Metrics::new().unwrap());
        let log = AccessLog::to(AccessFormat::Off, shelf.clone(), &metrics).unwrap();
        let (subject, exchange) = format::samples();
        log.exchange(&subject, &exchange);
        assert!(!log.is_on());
        log.set_format(AccessFormat::Combined);
        log.exchange(&subject, &exchange);
        log.set_format(AccessFormat::Json);
        log.exchange(&subject, &exchange);
        log.flush(Duration::from_secs(10));
        let text = String::from_utf8(shelf.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("192.0.2.7 - - [") && lines[1].starts_with("{\"ts\":"));
    }
}
