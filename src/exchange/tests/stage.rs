//! What stands around an exchange in its tests: a scripted application, a driven connection, a raw client.

use std::cell::RefCell;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;

use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Listener, TcpStream};

use super::super::*;
use crate::clock::Clock;
use crate::config::{
    AccessFormat, Buffer, BuffersConfig, KeepaliveConfig, Limits, PoolConfig, QueueConfig, ServerConfig,
    Target, Timeouts,
};
use crate::hold::{Crowd, Departure, Hold, Home, Passport, Permit};
use crate::listener::{Arrival, Connection, Ended, Leaving, Serve, Terms};
use crate::message::{ChannelName, Epoch, Position, Sequence, Start};
use crate::metrics::Metrics;
use crate::spool::Spools;
use crate::upstream::Pace;
use crate::wire::WireStream;

/// What the application heard, connection after connection.
pub(super) type Heard = mpsc::Receiver<String>;

/// An application that answers requests in turn; each connection goes on with the next answer. An answer that
/// ends with `!` closes its connection, an empty one closes it without a word.
pub(super) fn application(answers: &'static [&'static str]) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, heard) = mpsc::sync_channel(100);
    std::thread::spawn(move || {
        let mut answers = answers.iter();
        'connections: for mut socket in listener.incoming().map_while(Result::ok) {
            while let Some(request) = read_request(&mut socket) {
                tell.send(request).unwrap();
                // When all is said, the next request is left without an answer.
                let Some(answer) = answers.next() else {
                    let _ = socket.read_to_end(&mut Vec::new());
                    continue 'connections;
                };
                let (answer, close) = match answer.strip_suffix('!') {
                    Some(answer) => (answer, true),
                    None => (*answer, answer.is_empty()),
                };
                socket.write_all(answer.as_bytes()).unwrap();
                if close {
                    continue 'connections;
                }
            }
        }
    });
    (address, heard)
}

/// A head, and the body that it promises.
pub(super) fn read_request(socket: &mut std::net::TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut byte = [0];
    loop {
        let text = String::from_utf8_lossy(&seen);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = match length {
                Some(length) => body.len() >= length.parse().unwrap(),
                None => !head.contains("chunked") || body.ends_with("0\r\n\r\n"),
            };
            if whole {
                return Some(text.into_owned());
            }
        }
        if !matches!(socket.read(&mut byte), Ok(1)) {
            return None;
        }
        seen.push(byte[0]);
    }
}

pub(super) struct FakeKeeper {
    held: Arc<AtomicUsize>,
    limit: usize,
}

impl Keeper for FakeKeeper {
    fn head(&self) -> Position {
        Position { epoch: Epoch(10), sequence: Sequence(7) }
    }

    fn admit(&self, _: &[(ChannelName, Start)]) -> Result<Permit, Crowd> {
        Permit::take(&self.held, Some(self.limit)).ok_or(Crowd::Full)
    }

    fn held(&self) -> usize {
        self.held.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn keep_socket(&self, _: Box<Departure>) {}

    fn tickets(&self) -> Option<&crate::hold::Tickets> {
        None
    }
}

/// What stands around an exchange.
pub(super) struct Proxy {
    pub(super) client: Client,
    pub(super) rules: Rules,
    pub(super) route: RouteRules,
    pub(super) site: Arc<SiteMetrics>,
    pub(super) cors: Cors,
    pub(super) pool: Arc<Pool>,
    pub(super) keeper: FakeKeeper,
    pub(super) log: AccessLog,
    pub(super) metrics: Metrics,
}

impl Proxy {
    pub(super) fn new(application: SocketAddr) -> Proxy {
        let metrics = Metrics::new().unwrap();
        let name = format!("http://{application}");
        let target = Target::Tcp { host: application.ip().to_string(), port: application.port() };
        let queue = QueueConfig { length: 1, timeout: Duration::from_secs(5), ..QueueConfig::default() };
        let config = PoolConfig {
            max_connections: NonZeroUsize::new(2),
            queue,
            keepalive: KeepaliveConfig { connections: 4, idle: Duration::from_secs(30), requests: None },
            ..PoolConfig::of(vec![ServerConfig { name, target, tls: false }])
        };
        let passport = Passport::new("192.0.2.7:1".parse().unwrap(), 0);
        Proxy {
            client: Client::new(passport, false, Clock::default(), 0, None),
            rules: Rules {
                hold_body: 100,
                hold_channels: 10,
                socket_message: 64 << 10,
                response_timeout: Duration::from_millis(300),
                body_timeout: Duration::from_millis(300),
                pace: Pace::default(),
                trusted_proxies: Box::default(),
            },
            route: RouteRules {
                websockets: crate::config::Websockets::default(),
                debug: false,
                upstream_path: None,
                channels: None,
                grip: crate::exchange::GripRules::On(None),
                spools: Spools::new(&BuffersConfig::default(), &metrics),
                request_body: Some(100),
                buffer: Buffer { request: true, response: true },
                request_memory: 1000,
                response_memory: 1000,
                upload: BuffersConfig::default().upload,
            },
            site: Arc::new(SiteMetrics::new("site", &metrics)),
            cors: Cors::default(),
            pool: Pool::new("app", &config, Duration::from_secs(5), &metrics),
            keeper: FakeKeeper { held: Arc::default(), limit: 1 },
            log: AccessLog::to(AccessFormat::Combined, std::io::sink(), &metrics).unwrap(),
            metrics,
        }
    }

    fn context(&self) -> Context<'_> {
        let Proxy { client, rules, route, site, cors, pool, keeper, log, .. } = self;
        Context { client, rules, route, site, cors, pool, handoffs: None, keeper, log, edits: &[] }
    }

    /// Drives the connection as the server does; what it leaves for goes to `left`.
    async fn serve(self: Rc<Self>, socket: TcpStream, left: Rc<RefCell<Option<Held>>>) {
        let (desk, _) = tokio::sync::mpsc::channel(1);
        let home = Home { desk, passport: self.client.passport.clone() };
        let wire = WireStream::plain(socket.into_std().unwrap());
        let arrival = Arrival { wire, read_ahead: Vec::new(), kept: false, home };
        let timeouts = Timeouts { body: self.rules.body_timeout, ..Timeouts::default() };
        let terms = Terms::new(&Limits::default(), &timeouts);
        let clock = self.client.clock.clone();
        let connection = Connection::new(arrival, Service(self), clock, &terms, &Leaving::default());
        if let Ended::Departed(departure) = connection.run().await {
            let Departure { hold, permit, .. } = *departure;
            *left.borrow_mut() = Some((hold, permit));
        }
    }

    pub(super) fn metric(&self, line: &str) -> bool {
        let text = String::from_utf8(self.metrics.text().unwrap()).unwrap();
        text.lines().any(|found| found == line)
    }
}

/// What becomes of a connection that is to be held, but for its socket.
pub(super) type Held = (Box<Hold>, Permit);

struct Service(Rc<Proxy>);

impl Serve for Service {
    async fn serve(&self, request: Request<ClientBody>) -> Result<Response<Body>, TakeOver> {
        let (parts, body) = request.into_parts();
        match exchange(self.0.context(), &parts, body).await {
            Outcome::Answered(response) => Ok(response),
            Outcome::Left(take_over) | Outcome::Joined(take_over, _) => Err(take_over),
            Outcome::Elsewhere(_) => panic!("nothing is handed on without handoffs"),
        }
    }
}

/// Everything that a client hears which sends this and waits for the end.
pub(super) async fn say(proxy: &Rc<Proxy>, request: &str) -> (String, Option<Held>) {
    talk(proxy, async |mut socket| {
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is cut may end with a reset.
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    })
    .await
}

pub(super) async fn talk<F: Future<Output = String>>(
    proxy: &Rc<Proxy>,
    client: impl FnOnce(TcpStream) -> F,
) -> (String, Option<Held>) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let left = Rc::default();
    let serve = proxy.clone().serve(far, Rc::clone(&left));
    let both = async { tokio::join!(serve, client(near)).1 };
    let answer = tokio::time::timeout(Duration::from_secs(10), both).await.expect("the exchange ends");
    let left = left.borrow_mut().take();
    (answer, left)
}

/// Status line and body.
pub(super) fn gist(answer: &str) -> (&str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    (head.lines().next().unwrap_or_default(), body)
}
