//! Whether a site is closed for a while, as an operator has said on the control port. It stays so over reloads, and
//! ends with the process.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use prometheus::IntGauge;

/// The state of one site, shared by those who look at it for each request and whoever changes it.
pub struct Maintenance {
    /// Whether there is something behind the lock, so that nobody takes it while the site is open.
    is_closed: AtomicBool,
    closed: Mutex<Option<Arc<Closed>>>,
    /// 1 while it is closed.
    gauge: IntGauge,
}

/// How a site is closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closed {
    /// When clients should try again.
    pub retry_after: Option<Duration>,
    /// Who may come in all the same.
    pub allow: Vec<IpNet>,
}

impl Maintenance {
    /// An open site.
    pub fn new(gauge: IntGauge) -> Maintenance {
        gauge.set(0);
        Maintenance { is_closed: AtomicBool::new(false), closed: Mutex::new(None), gauge }
    }

    /// Closes the site, or opens it again.
    pub fn set(&self, closed: Option<Closed>) {
        let mut place = self.closed.lock();
        self.is_closed.store(closed.is_some(), Ordering::Relaxed);
        self.gauge.set(i64::from(closed.is_some()));
        *place = closed.map(Arc::new);
    }

    /// How it is closed; `None` while it is open.
    pub fn closed(&self) -> Option<Arc<Closed>> {
        if !self.is_closed.load(Ordering::Relaxed) {
            return None;
        }
        self.closed.lock().clone()
    }
}

impl Closed {
    /// Whether this client may come in all the same.
    pub fn admits(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&client))
    }
}
