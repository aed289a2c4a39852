//! What tests do to a thread, in builds with debug assertions only: a panic, or a turn that never ends.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::WeakSender;

use super::worker::Order;
use crate::shard::Revoker;

/// Whether the next request's service panics.
static STRIKES: AtomicBool = AtomicBool::new(false);

/// A service, which panics in the middle of its work when that is wanted.
pub(super) async fn strike<T>(service: impl Future<Output = T>) -> T {
    let strikes = STRIKES.swap(false, Ordering::Relaxed);
    let mut service = pin!(service);
    poll_fn(|cx| {
        let turn = service.as_mut().poll(cx);
        assert!(!strikes || turn.is_ready(), "a test wants the service of one request to panic");
        turn
    })
    .await
}

/// `request`, `worker` or `shard`, and what is to become of it; false where that is none of these.
pub(super) fn cause(what: &str, workers: &[WeakSender<Order>], shards: &Revoker) -> bool {
    let tell_worker = |trouble| {
        let worker = workers.first().and_then(WeakSender::upgrade);
        worker.is_some_and(|worker| worker.try_send(Order::Trouble(trouble)).is_ok())
    };
    match what {
        "request-panics" => STRIKES.store(true, Ordering::Relaxed),
        "worker-panics" => return tell_worker(panic),
        "worker-stops" => return tell_worker(stop),
        "shard-panics" => shards.trouble(panic),
        "shard-stops" => shards.trouble(stop),
        _ => return false,
    }
    true
}

fn panic() {
    panic!("a test wants this thread to panic");
}

fn stop() {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}
