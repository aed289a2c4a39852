//! A pool against servers on loopback that follow a script.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Body as _;
use hyper::http::response::Parts;

use super::*;
use crate::clock::Clock;
use crate::config::{KeepaliveConfig, PoolConfig, QueueConfig, ServerConfig, Target};
use crate::metrics::Metrics;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// A server that runs the script once for each connection, with its number, each in a thread of its own.
fn server(script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().map_while(Result::ok).enumerate() {
            let script = script.clone();
            std::thread::spawn(move || script(number, socket));
        }
    });
    address
}

/// Reads a head; false at the end of the connection.
fn head(socket: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        if !matches!(socket.read(&mut byte), Ok(1)) {
            return false;
        }
        seen.push(byte[0]);
    }
    true
}

/// Sends a request and waits for the head of its answer.
async fn ask(lease: &mut Lease, clock: &Clock) -> Result<Parts, SendError> {
    let mut fields = Fields::default();
    fields.add("host", &b"a"[..]);
    lease.send(&RequestHead { method: &Method::GET, target: "/", fields }, Outgoing::default(), clock).await
}

/// Answers every request.
fn polite(_: usize, mut socket: TcpStream) {
    while head(&mut socket) && socket.write_all(OK).is_ok() {}
}

struct Bench {
    pool: Arc<Pool>,
    metrics: Metrics,
    clock: Clock,
}

fn bench(servers: &[SocketAddr], limit: Option<usize>, queue: usize, queue_timeout: Duration) -> Bench {
    let server = |address: &SocketAddr| ServerConfig {
        name: format!("http://{address}"),
        target: Target::Tcp { host: address.ip().to_string(), port: address.port() },
        tls: false,
    };
    let config = PoolConfig {
        max_connections: limit.and_then(NonZeroUsize::new),
        queue: QueueConfig { length: queue, timeout: queue_timeout, ..QueueConfig::default() },
        keepalive: KeepaliveConfig { connections: 4, idle: Duration::from_secs(30), requests: None },
        ..PoolConfig::of(servers.iter().map(server).collect())
    };
    let metrics = Metrics::new().unwrap();
    let pool = Pool::new("app", &config, Duration::from_secs(5), &metrics);
    Bench { pool, metrics, clock: Clock::default() }
}

fn simple(server: SocketAddr) -> Bench {
    bench(&[server], None, 0, Duration::from_secs(5))
}

impl Bench {
    /// Polls the clock as the driver of a connection does.
    async fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            if self.clock.poll(cx).is_ready() { future.as_mut().poll(cx) } else { Poll::Pending }
        })
        .await
    }

    async fn lease(&self) -> Result<Lease, NoLease> {
        self.drive(self.pool.lease(0, &self.clock, |_| Class::Normal)).await
    }

    async fn get(&self, mut lease: Lease) -> Result<Vec<u8>, SendError> {
        ask(&mut lease, &self.clock).await?;
        let mut body = lease.into_body();
        let mut all = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            all.extend_from_slice(&frame.expect("the body is whole").into_data().unwrap());
        }
        Ok(all)
    }

    /// Whether a metric of this name, labels left out, has this value.
    fn metric(&self, expected: &str) -> bool {
        self.pool.measure();
        let text = String::from_utf8(self.metrics.text().unwrap()).unwrap();
        let without_labels = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            format!("{} {value}", name.split('{').next().unwrap())
        };
        text.lines().any(|line| without_labels(line) == expected)
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_by_every_thread() {
    let bench = simple(server(polite));
    for worker in [0, 0, 1, 1] {
        let lease = bench.pool.lease(worker, &bench.clock, |_| Class::Normal).await.unwrap();
        assert_eq!(bench.get(lease).await.unwrap(), b"hi");
        assert_eq!(bench.pool.connections(0), (0, 1));
    }
    assert!(bench.metric("perihelion_upstream_connections_opened_total 1"));
    assert!(bench.metric("perihelion_upstream_connections_reused_total 3"));
}

#[tokio::test]
async fn a_connection_that_dies_under_a_request_is_stale_only_when_it_was_kept() {
    let bench = simple(server(|number, mut socket| {
        // The first connection answers once and hangs up on reading the second request.
        head(&mut socket);
        if number == 1 {
            return;
        }
        socket.write_all(OK).unwrap();
        head(&mut socket);
    }));
    let lease = bench.lease().await.unwrap();
    assert_eq!(bench.get(lease).await.unwrap(), b"hi");
    let mut lease = bench.lease().await.unwrap();
    let error = ask(&mut lease, &bench.clock).await.unwrap_err();
    assert!(error.stale && matches!(error.why, Why::Closed | Why::Reset), "{error:?}");
    let mut lease = lease.renew(&bench.clock).await.unwrap();
    let error = ask(&mut lease, &bench.clock).await.unwrap_err();
    assert!(!error.stale, "{error:?}");
    drop(lease);
    assert_eq!(bench.pool.connections(0), (0, 0));
}

#[tokio::test]
async fn what_a_server_says_unasked_is_never_an_answer() {
    let bench = simple(server(|_, mut socket| {
        head(&mut socket);
        socket.write_all(&[OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"].concat()).unwrap();
        head(&mut socket);
    }));
    for _ in 0..3 {
        let lease = bench.lease().await.unwrap();
        assert_eq!(bench.get(lease).await.unwrap(), b"hi");
    }
    assert!(bench.metric("perihelion_upstream_connections_opened_total 3"));
}

#[tokio::test]
async fn a_connection_that_ended_in_the_turn_in_which_it_became_idle_is_not_used_again() {
    let ((tell, told), (ended, ends)) = (sync_channel(1), sync_channel(1));
    let told = Mutex::new(told);
    let bench = simple(server(move |_, mut socket| {
        head(&mut socket);
        socket.write_all(OK).unwrap();
        told.lock().unwrap().recv().unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        ended.send(()).unwrap();
        head(&mut socket);
    }));
    for _ in 0..3 {
        // One turn of the clock from here on, and none of the reactor behind the answer.
        let lease = bench.pool.lease(0, &bench.clock, |_| Class::Normal).await.unwrap();
        assert_eq!(bench.get(lease).await.unwrap(), b"hi");
        tell.send(()).unwrap();
        ends.recv().unwrap();
    }
    assert!(bench.metric("perihelion_upstream_connections_opened_total 3"));
}

#[tokio::test]
async fn half_a_head_is_no_stale_connection() {
    let bench = simple(server(|_, mut socket| {
        head(&mut socket);
        socket.write_all(OK).unwrap();
        head(&mut socket);
        socket.write_all(b"HTTP/1.1 200 O").unwrap();
    }));
    let lease = bench.lease().await.unwrap();
    bench.get(lease).await.unwrap();
    let lease = bench.lease().await.unwrap();
    let error = bench.get(lease).await.unwrap_err();
    assert!(!error.stale && error.why == Why::Closed, "{error:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_its_place_is_free() {
    let bench = simple(server(|_, mut socket| {
        head(&mut socket);
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi").unwrap();
    }));
    let mut lease = bench.lease().await.unwrap();
    ask(&mut lease, &bench.clock).await.unwrap();
    let mut body = lease.into_body();
    let mut frames = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        frames.push(frame.is_ok());
    }
    assert_eq!(frames, [true, false]);
    assert_eq!(bench.pool.connections(0), (0, 0));
}

#[tokio::test]
async fn those_who_wait_are_served_in_order_and_whoever_leaves_is_skipped() {
    let bench = bench(&[server(polite)], Some(1), 3, Duration::from_secs(5));
    let busy = bench.lease().await.unwrap();
    let mut waiting: Vec<_> =
        (0..3).map(|_| Box::pin(bench.pool.lease(0, &bench.clock, |_| Class::Normal))).collect();
    for wait in &mut waiting {
        assert!(futures_poll(wait.as_mut()).await.is_none());
    }
    assert!(bench.metric("perihelion_queue_length 3"));
    assert!(matches!(bench.lease().await, Err(NoLease::QueueFull)));
    drop(waiting.remove(1));
    assert!(bench.metric("perihelion_queue_length 2"));
    assert_eq!(bench.get(busy).await.unwrap(), b"hi");
    let mut last = waiting.pop().unwrap();
    let first = waiting.pop().unwrap().await.unwrap();
    assert!(futures_poll(last.as_mut()).await.is_none());
    // Its connection is closed, and the place goes on.
    drop(first);
    let last = last.await.unwrap();
    assert_eq!(bench.get(last).await.unwrap(), b"hi");
    assert!(bench.metric("perihelion_upstream_connections_opened_total 2"));
    assert_eq!(bench.pool.connections(0), (0, 1));
}

#[tokio::test]
async fn a_place_handed_to_somebody_who_left_is_not_lost() {
    let bench = bench(&[server(polite)], Some(1), 3, Duration::from_secs(5));
    let busy = bench.lease().await.unwrap();
    let mut waiting: Vec<_> =
        (0..2).map(|_| Box::pin(bench.pool.lease(0, &bench.clock, |_| Class::Normal))).collect();
    for wait in &mut waiting {
        assert!(futures_poll(wait.as_mut()).await.is_none());
    }
    // The first in line is handed the connection, and leaves before it looks.
    assert_eq!(bench.get(busy).await.unwrap(), b"hi");
    drop(waiting.remove(0));
    let lease = waiting.remove(0).await.unwrap();
    assert_eq!(bench.get(lease).await.unwrap(), b"hi");
}

#[tokio::test]
async fn waiting_ends_with_the_queue_s_timeout() {
    let bench = bench(&[server(polite)], Some(1), 3, Duration::from_millis(20));
    let busy = bench.lease().await.unwrap();
    assert!(matches!(bench.lease().await, Err(NoLease::QueueTimeout(_))));
    assert!(bench.metric("perihelion_queue_length 0"));
    drop(busy);
    assert!(bench.lease().await.is_ok());
}

#[tokio::test]
async fn a_server_that_is_down_is_passed_over() {
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = bench(&[down, server(polite)], None, 0, Duration::from_secs(5));
    let leases = [bench.lease().await.unwrap(), bench.lease().await.unwrap(), bench.lease().await.unwrap()];
    assert!(leases.iter().all(|lease| !lease.server().ends_with(&down.to_string())));
    assert_eq!((bench.pool.connections(0), bench.pool.connections(1)), ((0, 0), (3, 0)));
    let alone = simple(down);
    assert!(matches!(alone.lease().await, Err(NoLease::Connect { .. })));
    assert_eq!(alone.pool.connections(0), (0, 0));
}

#[tokio::test]
async fn idle_connections_are_closed_when_they_are_too_old() {
    let bench = simple(server(polite));
    let lease = bench.lease().await.unwrap();
    bench.get(lease).await.unwrap();
    bench.pool.sweep(Instant::now());
    assert_eq!(bench.pool.connections(0), (0, 1));
    bench.pool.sweep(Instant::now() + Duration::from_secs(31));
    assert_eq!(bench.pool.connections(0), (0, 0));
}

#[tokio::test]
async fn a_pool_that_was_replaced_ends_with_its_last_lease() {
    let Bench { pool, metrics, clock } = simple(server(polite));
    let lease = || pool.lease(0, &clock, |_| Class::Normal);
    let (busy, idle) = (lease().await.unwrap(), lease().await.unwrap());
    let weak = Arc::downgrade(&pool);
    let bench = Bench { pool, metrics, clock };
    bench.get(idle).await.unwrap();
    let answer = bench.get(busy);
    assert_eq!(answer.await.unwrap(), b"hi");
    assert!(bench.metric("perihelion_upstream_connections 2"));
    let Bench { pool, metrics, .. } = bench;
    drop(pool);
    assert!(weak.upgrade().is_none());
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    assert!(
        !text
            .lines()
            .any(|line| line.starts_with("perihelion_upstream_connections{") && !line.ends_with(" 0"))
    );
}

/// One poll.
async fn futures_poll<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
