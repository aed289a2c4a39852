//! The example application: an ordinary HTTP server that knows of Comet only X-Comet headers and the control port.
//!
//! It has one thread with a runtime of its own and holds no connection longer than an answer takes. Whoever
//! owns [`Running`] owns the thread and every task on it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use super::answers::{Addresses, Answers, Order};
use super::picture;
use super::publisher::{Parcel, publish};
use super::talk::Talk;

/// Connections at once; the proxy's pool needs a fraction of it.
const CONNECTIONS_MAX: usize = 256;
/// Silence before or inside a request's head; longer than a proxy's pool keeps a connection idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// A pause after a failed accept, which is mostly a lack of descriptors that time cures.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two live pictures.
const PICTURE_PAUSE: Duration = Duration::from_millis(500);
/// Pictures that nobody sees before the painter rests; the first viewer may take as long to arrive.
const UNSEEN_MAX: u32 = 4;
/// Wishes that wait for the control port; more people are told to try again.
const ORDERS_MAX: usize = 64;

/// The application, bound to an address and not yet serving: who connects waits in the listening queue.
#[derive(Debug)]
pub struct App {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl App {
    /// Binds a free port on loopback.
    ///
    /// # Errors
    /// Fails where the system has no port or descriptor left.
    pub fn bind() -> anyhow::Result<App> {
        let bind = || -> std::io::Result<App> {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(App { listener, address })
        };
        bind().context("the example application can't listen on loopback")
    }

    /// Where it listens: the upstream of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own, publishing on `control`, until [`Running`] is dropped.
    ///
    /// # Errors
    /// Fails where the system refuses a thread or a runtime.
    pub fn run(self, control: SocketAddr) -> anyhow::Result<Running> {
        let App { listener, address } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let addresses = Addresses { upstream: address, control };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("demo-app".to_owned())
            .spawn(move || serve(&runtime, listener, addresses, stopped))
            .context("the example application gets no thread")?;
        Ok(Running { address, stop: Some(stop), thread: Some(thread) })
    }
}

/// The application while it serves. Dropping it ends its connections, its tasks and its thread.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    /// Never sent on: that it is gone is the message.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there was already printed, and there is nothing left to save.
            let _ = thread.join();
        }
    }
}

fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    addresses: Addresses,
    stopped: oneshot::Receiver<Infallible>,
) {
    let talk = Rc::new(RefCell::new(Talk::new()));
    let (orders, waiting) = mpsc::channel(ORDERS_MAX);
    let looked_at = Rc::new(Notify::new());
    let answers = Rc::new(Answers::new(Rc::clone(&talk), orders, addresses, Rc::clone(&looked_at)));
    LocalSet::new().block_on(runtime, async {
        tokio::select! {
            () = accept(listener, answers) => {}
            () = carry_out(waiting, talk, addresses.control) => {}
            () = paint(&looked_at, addresses.control) => {}
            _ = stopped => {}
        }
    });
}

/// Serves every connection; each one's task is dropped together with this future.
async fn accept(listener: TcpListener, answers: Rc<Answers>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((socket, _)) => {
                    connections.spawn_local(converse(socket, Rc::clone(&answers)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, request after request.
async fn converse(socket: TcpStream, answers: Rc<Answers>) {
    let service = service_fn(move |request| {
        let answers = Rc::clone(&answers);
        async move { Ok::<_, Infallible>(answers.answer(request).await) }
    });
    // How a connection ended matters to nobody here: the proxy sees it from its side.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

/// Applies and publishes one wish after the other, so that the hub has them in the order of their numbers.
async fn carry_out(mut waiting: mpsc::Receiver<Order>, talk: Rc<RefCell<Talk>>, control: SocketAddr) {
    while let Some(Order { wish, reply }) = waiting.recv().await {
        let event = talk.borrow_mut().apply(wish, now_ms());
        let outcome = publish(control, &Parcel::event(&event)).await;
        if outcome.is_err() {
            talk.borrow_mut().withdraw(&event);
        }
        // Whoever asked may have left; the event stands.
        let _ = reply.send(outcome.map(|receipt| (event, receipt)));
    }
}

/// Publishes a live picture as long as somebody looks at it.
async fn paint(looked_at: &Notify, control: SocketAddr) {
    let mut number = 0;
    loop {
        looked_at.notified().await;
        let mut unseen = 0;
        while unseen < UNSEEN_MAX {
            number += 1;
            let seen = publish(control, &Parcel::picture(picture::comet(number))).await;
            unseen = if seen.is_ok_and(|receipt| receipt.subscribers > 0) { 0 } else { unseen + 1 };
            tokio::time::sleep(PICTURE_PAUSE).await;
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
