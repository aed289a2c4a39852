//! A thread of ordinary work: accepts on its own sockets and serves its connections to their end.
//!
//! Nothing of a connection is shared with another thread but counters, pools and the keeper. Orders come from the
//! server through a bounded channel, connections whose poll is finished through the desk.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use prometheus::{IntCounter, IntCounterVec};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::watchdog::Ward;
use crate::access_log::AccessLog;
use crate::bayeux::Bayeux;
use crate::body::{Body, ClientBody};
use crate::clock::Clock;
use crate::exchange::Client;
use crate::hold::{Departure, Home, Keeper, Passport, Return, TakeOver};
use crate::listener::{
    self, Arrival, Connection, Door, Ended, Entered, Flood, Host, Leaving, Place, Places, Protocol,
    RefusedHead, Serve, Terms,
};
use crate::pulse::{Pulse, Watched, pulse};
use crate::quota::{Guest, Quota};
use crate::site::{NO_SITE, Recoveries, Site, Snapshots, Visit};
use crate::wire::WireStream;
use crate::{spool, sys};

/// What a worker is told.
pub(super) enum Order {
    /// Accept at this door, by this socket. Its number is the same on all threads and is never used again.
    Open(u16, Arc<Door>, TcpListener),
    /// Accept no more at this door.
    Close(u16),
    /// Serve connections that come from now on like this.
    Terms(Arc<Terms>),
    /// Close all doors and what is idle, finish what is in work.
    Drain,
    /// What a test does to the thread.
    #[cfg(debug_assertions)]
    Trouble(fn()),
}

/// What a worker shares with the rest of the process.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) terms: Arc<Terms>,
    pub(super) places: Arc<Places>,
    pub(super) quota: Arc<Quota>,
    pub(super) snapshots: Snapshots,
    pub(super) keeper: Arc<dyn Keeper>,
    pub(super) log: AccessLog,
    pub(super) bayeux: Arc<Bayeux>,
    pub(super) recoveries: Arc<Recoveries>,
    /// `perihelion_request_errors_total`.
    pub(super) refused: IntCounterVec,
    /// `perihelion_http2_floods_total`.
    pub(super) floods: IntCounterVec,
    /// `perihelion_slow_readers_total`.
    pub(super) slow_readers: IntCounter,
}

/// A worker as the server sees it. Dropping it cuts its connections and ends the thread.
pub(super) struct Worker {
    orders: Option<mpsc::Sender<Order>>,
    watched: Watched,
    thread: Option<JoinHandle<()>>,
}

/// Orders that may wait; more come only if hundreds of listeners change at once, and are waited for.
const ORDERS: usize = 64;
/// Connections that may wait to be served again: as many polls as one publish can end at once on a busy thread.
const DESK: usize = 65_536;

/// Between two looks at memory that a crowd has left behind.
const REST: Duration = Duration::from_secs(1);

/// Threads beside a worker for what blocks: names of servers that are resolved, files that aren't in the page cache.
/// As many requests as a disk makes use of at once; what comes on top waits under `timeouts.connect` and `.body`.
/// Bodies that wait on disk have threads besides: a disk that is behind with them must keep nobody else waiting.
const BLOCKING_THREADS: usize = 16 + spool::TURNS;

impl Worker {
    /// Starts the thread with this number.
    pub(super) fn start(number: usize, surroundings: Surroundings) -> io::Result<Worker> {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let runtime = Builder::new_current_thread();
        let name = format!("worker-{number}");
        let (pulse, watched) = pulse(name.as_str());
        let thread = std::thread::Builder::new().name(name);
        let thread = thread.spawn(move || run(runtime, number, surroundings, inbox, pulse))?;
        Ok(Worker { orders: Some(orders), watched, thread: Some(thread) })
    }

    /// For whoever must not keep it from ending.
    #[cfg(debug_assertions)]
    pub(super) fn orders(&self) -> Option<mpsc::WeakSender<Order>> {
        self.orders.as_ref().map(mpsc::Sender::downgrade)
    }

    /// For the watchdog; it beats by itself.
    pub(super) fn ward(&self) -> Ward {
        Ward { watched: self.watched.clone(), wake: None }
    }

    /// Waits while the worker has too many orders; fails only if it is gone.
    pub(super) async fn tell(&self, order: Order) {
        if let Some(orders) = &self.orders
            && orders.send(order).await.is_err()
        {
            tracing::error!("a worker thread is gone");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a worker thread had panicked");
        }
    }
}

fn run(
    mut runtime: Builder,
    number: usize,
    surroundings: Surroundings,
    orders: mpsc::Receiver<Order>,
    pulse: Pulse,
) {
    match runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).build_local(LocalOptions::default()) {
        Ok(runtime) => runtime.block_on(work(number, surroundings, orders, &pulse)),
        Err(error) => {
            tracing::error!(%error, "a worker thread can't start");
            pulse.give_up();
        }
    }
}

/// Until the server drops its end of the orders. The connections are dropped with the runtime.
async fn work(number: usize, surroundings: Surroundings, mut orders: mpsc::Receiver<Order>, pulse: &Pulse) {
    let (desk, mut returns) = mpsc::channel(DESK);
    let floor = Rc::new(Floor::new(number, surroundings, desk));
    floor.tasks.spawn_local(floor.site.clone().converse());
    floor.tasks.spawn_local(floor.site.clone().recover(number));
    let mut rests = tokio::time::interval(REST);
    rests.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => floor.obey(order),
                None => return,
            },
            Some(back) = returns.recv() => floor.clone().welcome_back(back),
            _ = rests.tick() => {
                pulse.beat();
                sys::return_unused_memory();
            }
        }
    }
}

/// Everything that the connections of a thread have in common.
struct Floor {
    number: usize,
    places: Arc<Places>,
    quota: Arc<Quota>,
    keeper: Arc<dyn Keeper>,
    site: Rc<Site>,
    desk: mpsc::Sender<Return>,
    terms: RefCell<Rc<Terms>>,
    /// By number; a closed door stays for the connections that came through it.
    doors: RefCell<Vec<Option<Entrance>>>,
    leaving: Leaving,
    tasks: TaskTracker,
    log: AccessLog,
    refused: IntCounterVec,
    floods: IntCounterVec,
    slow_readers: IntCounter,
}

/// A door, and how it is closed.
struct Entrance {
    door: Arc<Door>,
    closed: CancellationToken,
}

impl Floor {
    fn new(number: usize, surroundings: Surroundings, desk: mpsc::Sender<Return>) -> Floor {
        #[rustfmt::skip]
        let Surroundings {
            terms, places, quota, snapshots, keeper, log, bayeux, recoveries, refused, floods,
            slow_readers,
        } = surroundings;
        Floor {
            number,
            places,
            site: Site::new(snapshots, keeper.clone(), log.clone(), quota.clone(), (bayeux, recoveries)),
            quota,
            log,
            keeper,
            desk,
            terms: RefCell::new(Rc::new(Terms::clone(&terms))),
            doors: RefCell::default(),
            leaving: Leaving::default(),
            tasks: TaskTracker::new(),
            refused,
            floods,
            slow_readers,
        }
    }

    fn obey(self: &Rc<Self>, order: Order) {
        match order {
            Order::Open(number, door, socket) => self.open(number, door, socket),
            Order::Close(number) => {
                if let Some(Some(Entrance { closed, .. })) = self.doors.borrow().get(usize::from(number)) {
                    closed.cancel();
                }
            }
            Order::Terms(terms) => {
                self.terms.replace(Rc::new(Terms::clone(&terms)));
                self.site.renew();
            }
            Order::Drain => self.leaving.begin(),
            #[cfg(debug_assertions)]
            Order::Trouble(trouble) => trouble(),
        }
    }

    fn open(self: &Rc<Self>, number: u16, door: Arc<Door>, socket: TcpListener) {
        let socket = match sys::watch(socket) {
            Ok(socket) => socket,
            Err(error) => return tracing::error!(listener = %door.address, %error, "can't accept"),
        };
        let closed = self.leaving.child_token();
        let mut doors = self.doors.borrow_mut();
        let place = usize::from(number);
        if doors.len() <= place {
            doors.resize_with(place + 1, || None);
        }
        doors[place] = Some(Entrance { door: door.clone(), closed: closed.clone() });
        let floor = self.clone();
        self.tasks.spawn_local(async move {
            let welcome =
                |guest| drop(floor.tasks.spawn_local(floor.clone().greet(guest, number, door.clone())));
            listener::accept(socket, &door, &floor.places, floor.keeper.as_ref(), closed, welcome).await;
        });
    }

    async fn greet(self: Rc<Self>, guest: listener::Guest, listener: u16, door: Arc<Door>) {
        let listener::Guest { mut wire, peer, place } = guest;
        let (terms, accepted) = (self.terms.borrow().clone(), Instant::now());
        let _entered = door.enter();
        let Some(peer) = door.meet(&mut wire, peer, &terms).await else { return };
        let Ok(guest) = self.quota.connect(peer.ip()) else { return door.turn_away() };
        let left = terms.after(accepted.elapsed());
        let Some(mut wire) = door.shake_hands(wire, &left).await else { return };
        let left = terms.after(accepted.elapsed());
        let Some((protocol, read_ahead)) = door.protocol(&mut wire, &left).await else { return };
        let terms = Rc::new(terms.after(accepted.elapsed()));
        let passport = Passport::new(peer, listener).with_certificate(certificate(&wire));
        let home = Home { desk: self.desk.clone(), passport };
        let arrival = Arrival { wire, read_ahead, kept: false, home };
        match protocol {
            // In boxes, since a task is moved several times before it runs, and once more at its end.
            Protocol::Http1 => Box::pin(self.serve(arrival, terms, (place, guest))).await,
            Protocol::Http2 => Box::pin(self.serve_http2(arrival, &terms, (place, guest))).await,
        }
    }

    fn welcome_back(self: Rc<Self>, back: Return) {
        let place = self.places.keep();
        let tasks = self.tasks.clone();
        tasks.spawn_local(async move {
            let Return { mooring, wire, read_ahead, silence, permit, passport } = back;
            let peer = passport.peer();
            let _entered = self.enter(passport.listener);
            let terms = self.terms.borrow().clone();
            let home = Home { desk: self.desk.clone(), passport };
            let guest = self.quota.keep(peer.ip());
            // It is counted as a connection now.
            drop(permit);
            match WireStream::from_wire(wire, mooring) {
                Ok(wire) => {
                    let mut arrival = Arrival { wire, read_ahead, kept: true, home };
                    // Thousands come back at once when a message ends their polls. What serves a request is large, and
                    // is made when there is one.
                    if arrival.stirs(silence, &terms, &self.leaving).await {
                        Box::pin(self.serve(arrival, terms, (place, guest))).await;
                    }
                }
                Err(error) => tracing::debug!(%peer, %error, "connection lost on its way back"),
            }
        });
    }

    /// Through the door by which it came first.
    fn enter(&self, listener: u16) -> Option<Entered> {
        let doors = self.doors.borrow();
        doors.get(usize::from(listener))?.as_ref().map(|entrance| entrance.door.enter())
    }

    /// The place is given back once the connection is closed, or counts as held; a held one goes on counting for its
    /// address.
    async fn serve(&self, arrival: Arrival, terms: Rc<Terms>, (_place, guest): (Place, Option<Box<Guest>>)) {
        let clock = Clock::default();
        let client = arrival.home.passport.peer().ip().to_canonical();
        let wire = &arrival.wire;
        let (passport, stretches) = (arrival.home.passport.clone(), wire.stretches());
        let visitor = Client::new(passport, wire.is_tls(), clock.clone(), self.number, stretches);
        let visit = self.site.serve(visitor);
        let connection = Connection::new(arrival, Service(visit), clock, &terms, &self.leaving);
        match connection.run().await {
            Ended::Departed(mut departure) => {
                departure.permit.keep(guest);
                self.keeper.keep_socket(departure);
            }
            Ended::Refused(head) => self.note_refused(client, &head),
            Ended::TooSlow => self.slow_readers.inc(),
            Ended::Closed => {}
        }
    }
}

/// What the client has shown, as a byte sequence (RFC 9440 §2.1, RFC 8941 §3.3.5).
fn certificate(wire: &WireStream) -> Option<Arc<HeaderValue>> {
    let certificate = wire.session()?.peer_certificates()?.first()?;
    let value = format!(":{}:", STANDARD.encode(certificate));
    HeaderValue::try_from(value).ok().map(Arc::new)
}

impl Floor {
    /// Place and guest are the connection's, however many of its streams are held.
    async fn serve_http2(
        self: &Rc<Self>,
        arrival: Arrival,
        terms: &Terms,
        _counted: (Place, Option<Box<Guest>>),
    ) {
        let reception = Reception {
            floor: self.clone(),
            passport: arrival.home.passport.clone(),
            is_tls: arrival.wire.is_tls(),
        };
        listener::serve_http2(arrival, reception, terms, &self.leaving).await;
    }

    fn note_refused(&self, client: IpAddr, head: &RefusedHead) {
        self.refused.with_label_values(&[NO_SITE, reason(head.status)]).inc();
        self.log.refused(client, &head.line, head.status, head.bytes);
    }
}

/// Who receives the streams of one HTTP/2 connection.
struct Reception {
    floor: Rc<Floor>,
    passport: Passport,
    is_tls: bool,
}

impl Host for Reception {
    type Service = Service;

    fn service(&self, clock: Clock) -> Service {
        // Only a socket of one's own may send stretches of files.
        let visitor = Client::new(self.passport.clone(), self.is_tls, clock, self.floor.number, None);
        Service(self.floor.site.serve(visitor))
    }

    fn keep(&self, departure: Departure) {
        self.floor.keeper.keep_socket(Box::new(departure));
    }

    fn refused(&self, head: &RefusedHead) {
        self.floor.note_refused(self.passport.peer().ip().to_canonical(), head);
    }

    fn calmed(&self, flood: Flood) {
        self.floor.floods.with_label_values(&[flood.word()]).inc();
    }

    fn too_slow(&self) {
        self.floor.slow_readers.inc();
    }
}

/// A site as the listener sees it, which knows none.
struct Service(Visit);

impl Serve for Service {
    async fn serve(&self, request: Request<ClientBody>) -> Result<Response<Body>, TakeOver> {
        let answering = self.0.answer(request);
        #[cfg(debug_assertions)]
        let answering = super::trouble::strike(answering);
        answering.await
    }
}

/// The word of a refusal by the listener, which knows no site, in `perihelion_request_errors_total`.
fn reason(status: u16) -> &'static str {
    match status {
        405 => "method",
        408 => "header_timeout",
        414 => "target_too_long",
        417 => "expectation",
        431 => "header_too_large",
        _ => "bad_request",
    }
}
