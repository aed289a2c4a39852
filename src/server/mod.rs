//! The process: builds the rooms in order, owns every thread, and ends them.
//!
//! In order: addresses are bound, so that a wrong one ends the start before anything has begun; then hub and shards,
//! then workers, then the server's own thread, which serves the control port, hears signals, reloads and drains. Each
//! thread and task belongs to a struct here whose drop ends it.

mod certificates;
mod checkups;
mod comet;
mod doors;
mod drain;
mod filters;
mod fixed;
mod herald;
mod keeping;
mod ledger;
mod post;
mod presence;
mod privileges;
mod process;
mod reload;
mod revocations;
mod sharing;
mod signals;
mod supervisor;
#[cfg(test)]
mod tests;
#[cfg(debug_assertions)]
mod trouble;
mod watchdog;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::access_log::AccessLog;
use crate::config::{Config, ControlConfig, Endpoint};
use crate::control::{Control, ControlListener, Entrances, Guard, Operations, SiteInUse};
use crate::edge::Maintenance;
use crate::listener::{BindError, Places, Terms, TlsError, explain};
use crate::metrics::Metrics;
use crate::pulse::{Pulse, pulse};
use crate::quota::Quota;
use crate::site::{Recoveries, Snapshot, Snapshots};
use crate::store::OpenError;
use crate::sys;

use certificates::{Seen, note_expiry};
use comet::Comet;
use doors::{Change, Doors};
use drain::Stage;
use fixed::Fixed;
use process::Process;
use signals::{Signal, Signals};
use supervisor::Supervisor;
use watchdog::{Ward, Watchdog};
use worker::{Surroundings, Worker};

pub use process::{raise_descriptor_limit, tell_of_descriptor_limit};

/// Why the process can't start. The reason is part of the text, so that one line says all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listening address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The control port's address.
    #[error("the control port can't listen on {address}: {}", explain(reason))]
    Control {
        /// As configured.
        address: String,
        /// The system's reason.
        reason: io::Error,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The user that the process was to become.
    #[error("the process can't become the user `{name}`: {reason}")]
    User {
        /// As configured.
        name: String,
        /// The system's reason.
        reason: io::Error,
    },
    /// Metrics that can't be registered, which is a mistake of ours.
    #[error("metrics: {0}")]
    Metrics(prometheus::Error),
    /// A thread, or what it needs of the system.
    #[error("the system refuses a thread or what it needs: {0}")]
    Thread(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Thread(error)
    }
}

/// A process that serves.
pub struct Running {
    /// Where clients reach it, in the order of the configuration, ports chosen.
    pub addresses: Vec<SocketAddr>,
    /// Where the control port is.
    pub control: Option<Endpoint>,
    wishes: mpsc::Sender<Wish>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Waits until it has ended, as it was asked to by a signal or [`Running::stop`].
    pub fn wait(self) {
        // While this handle lives, the control port can ask for a reload through it.
        let _wishes = self.wishes;
        if self.thread.join().is_err() {
            tracing::error!("the server's thread had panicked");
        }
    }

    /// Asks it to drain and end; asked a second time, it ends at once.
    pub fn stop(&self) {
        // Full or closed: it is ending already.
        let _ = self.wishes.try_send(Wish::Stop);
    }
}

/// What the server is asked for.
enum Wish {
    /// Read the configuration again.
    Reload(tokio::sync::oneshot::Sender<Result<String, String>>),
    Stop,
}

/// Wishes that may wait: a reload is a matter of milliseconds.
const WISHES: usize = 16;

/// Everything that serves, on the server's own thread.
pub struct Server {
    config: Config,
    /// The file to read again.
    source: Option<PathBuf>,
    metrics: Metrics,
    log: AccessLog,
    snapshots: Snapshots,
    places: Arc<Places>,
    quota: Arc<Quota>,
    stage: Stage,
    doors: Doors,
    /// Since the start.
    fixed: Fixed,
    /// What opens the control port now.
    entrance: Entrances,
    supervisor: Supervisor,
    watchdog: Watchdog,
    /// Dropped before what they use.
    workers: Vec<Worker>,
    comet: Comet,
}

impl Server {
    /// Starts everything; what is served comes from `config`, a reload from the file `source`.
    pub fn start(config: Config, source: Option<PathBuf>) -> Result<Running, StartError> {
        sys::use_small_pages();
        let metrics = Metrics::new().map_err(StartError::Metrics)?;
        let doors = Doors::new(usize::from(config.threads), &metrics)?;
        let change = doors.plan(&config.listen)?;
        let control = ControlPort::bind(&config)?;
        // Everything that needs rights is done, and no thread has begun.
        privileges::give_up(&config)?;
        let log = AccessLog::open(config.log.access, &metrics)?;
        let comet = Comet::start(&config, &metrics, &log)?;
        let places = Places::new(config.limits.connections);
        let quota = Quota::new(&config, &metrics);
        let snapshots = Arc::new(ArcSwap::from_pointee(Snapshot::new(&config, None, &metrics)));
        let surroundings = Surroundings {
            terms: Arc::new(Terms::new(&config.limits, &config.timeouts)),
            places: places.clone(),
            quota: quota.clone(),
            snapshots: snapshots.clone(),
            keeper: comet.keeper(),
            bayeux: comet.bayeux(),
            recoveries: Recoveries::new(&metrics),
            log: log.clone(),
            refused: metrics.request_errors.clone(),
            floods: metrics.http2_floods.clone(),
            slow_readers: metrics.slow_readers.clone(),
        };
        let start = |number| Worker::start(number, surroundings.clone());
        let workers = (0..usize::from(config.threads)).map(start).collect::<io::Result<Vec<_>>>()?;
        let addresses = change.addresses();
        let control_address = control.as_ref().map(|port| port.address.clone());
        announce(&addresses, control_address.as_ref());
        let stage = Stage::new(metrics.clone());
        let supervisor = Supervisor::find();
        let (pulse, watched) = pulse("server");
        let own = Ward { watched, wake: None };
        let wards = comet.wards().chain(workers.iter().map(Worker::ward)).chain([own]).collect();
        let watchdog = Watchdog::start(wards, config.watchdog, supervisor.try_clone())?;
        let entrance = config.control.as_ref().map(|control| doors.entrance(control)).transpose()?;
        let server = Server {
            fixed: Fixed::of(&config),
            entrance: Arc::new(ArcSwap::from_pointee(entrance.unwrap_or_default())),
            config,
            source,
            metrics,
            log,
            snapshots,
            places,
            quota,
            stage,
            doors,
            supervisor,
            watchdog,
            workers,
            comet,
        };
        let (wishes, thread) = server.run_in_thread(change, control, pulse)?;
        Ok(Running { addresses, control: control_address, wishes, thread })
    }

    fn run_in_thread(
        self,
        change: Change,
        control: Option<ControlPort>,
        pulse: Pulse,
    ) -> Result<(mpsc::Sender<Wish>, JoinHandle<()>), StartError> {
        let (wishes, inbox) = mpsc::channel(WISHES);
        let (started, outcome) = sync_channel(1);
        let own_wishes = wishes.downgrade();
        let thread = std::thread::Builder::new().name("server".into()).spawn(move || {
            let runtime =
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(Err(error))),
                };
            runtime.block_on(async move {
                match Signals::new() {
                    Err(error) => drop(started.send(Err(error))),
                    Ok(signals) => {
                        // Whoever started us waits for this.
                        let _ = started.send(Ok(()));
                        self.run(change, control, (own_wishes, inbox), signals, &Rc::new(pulse)).await;
                    }
                }
            });
        })?;
        match outcome.recv() {
            Ok(Ok(())) => Ok((wishes, thread)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(io::Error::other("the server's thread has panicked").into()),
        }
    }

    /// From the first connection to the last.
    async fn run(
        mut self,
        change: Change,
        control: Option<ControlPort>,
        (own_wishes, mut wishes): (mpsc::WeakSender<Wish>, mpsc::Receiver<Wish>),
        mut signals: Signals,
        pulse: &Rc<Pulse>,
    ) {
        let mut tasks = JoinSet::new();
        tasks.spawn_local(tick(self.comet.clone_hub(), self.snapshots.clone(), pulse.clone()));
        tasks.spawn_local(checkups::run_checkups(self.snapshots.clone()));
        tasks.spawn_local(self.comet.filters().run(self.snapshots.clone()));
        if let Some(watch) = self.comet.watch() {
            tasks.spawn_local(watch.run(self.comet.clone_hub()));
        }
        let process = Rc::new(Process::new(&self.metrics));
        tasks.spawn_local(measure(process.clone()));
        if let Some(port) = control {
            let control = Rc::new(self.control(&port, process, own_wishes));
            tasks.spawn_local(async move {
                if let Err(error) = control.serve(port.listener).await {
                    tracing::error!(%error, "the control port has failed");
                }
            });
        }
        self.doors.apply(change, &self.workers).await;
        self.stage.serving();
        reload::note_taken(&self.metrics);
        note_expiry(&self.config, &self.metrics);
        self.supervisor.serves();
        self.obey(&mut wishes, &mut signals).await;
        self.supervisor.leaves();
        tokio::select! {
            () = self.drain() => {}
            () = asked_again(&mut wishes, &mut signals) => tracing::warn!("asked twice to stop: ends at once"),
        }
        self.end();
    }

    /// Until it is asked to stop.
    async fn obey(&mut self, wishes: &mut mpsc::Receiver<Wish>, signals: &mut Signals) {
        let mut open = true;
        let mut seen = Seen::now(&self.config);
        let mut look = tokio::time::interval(certificates::LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => self.renew_certificates(&mut seen).await,
                signal = signals.next() => match signal {
                    // The outcome is in the log.
                    Signal::Reload => drop(self.reload().await),
                    Signal::Stop => return,
                },
                wish = wishes.recv(), if open => match wish {
                    // Whoever asked may have left.
                    Some(Wish::Reload(answer)) => drop(answer.send(self.reload().await)),
                    Some(Wish::Stop) => return,
                    None => open = false,
                },
            }
        }
    }

    fn control(&self, port: &ControlPort, process: Rc<Process>, wishes: mpsc::WeakSender<Wish>) -> Control {
        let (ready, snapshots) = (self.stage.clone(), self.snapshots.clone());
        let (sites, pools) = (snapshots.clone(), snapshots.clone());
        let degraded = self.comet.watch_store();
        let operations = Operations {
            sites: Box::new(move || sites_in_use(&sites.load())),
            reload: Box::new(move || Box::pin(ask_for_reload(wishes.clone()))),
            ready: Box::new(move || ready.is_serving()),
            degraded: Box::new(move || degraded()),
            refresh: Box::new(move || {
                process.measure();
                snapshots.load().pools().for_each(|pool| pool.measure());
            }),
            pools: Box::new(move || pools.load().pools().cloned().collect()),
            revoke: revocations::revoke(self.comet.revoker(), self.comet.beyond(), &self.metrics),
            count: revocations::count_tagged(self.comet.revoker()),
            recover: {
                let shards = self.comet.revoker();
                Box::new(move || shards.ask_for_all())
            },
            presence: self.comet.watch().map(|watch| watch.presence.clone()),
            #[cfg(debug_assertions)]
            trouble: {
                let workers: Vec<_> = self.workers.iter().filter_map(Worker::orders).collect();
                let shards = self.comet.revoker();
                Box::new(move |what| trouble::cause(what, &workers, &shards))
            },
        };
        let key = self.config.grip.as_ref().and_then(|grip| grip.publish_key.clone());
        let guard = Guard::new(&port.address, self.entrance.clone()).with_publish_key(key);
        let limits = comet::publish_limits(&self.config);
        Control::new(self.comet.clone_hub(), self.metrics.clone(), guard, limits, operations)
    }

    fn end(self) {
        let Server { workers, comet, log, watchdog, .. } = self;
        // What ends now doesn't turn.
        drop(watchdog);
        drop(workers);
        comet.stop();
        log.flush(LAST_LINES);
        tracing::info!("ended");
    }
}

fn sites_in_use(snapshot: &Snapshot) -> Vec<SiteInUse> {
    let site = |(name, hosts, maintenance): (&str, &[String], &Arc<Maintenance>)| SiteInUse {
        name: name.to_owned(),
        hosts: hosts.to_vec(),
        maintenance: maintenance.clone(),
    };
    snapshot.sites_in_use().map(site).collect()
}

/// How long the access log may take for its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Between two sweeps of channels and idle connections.
const TICK: Duration = Duration::from_secs(1);
/// Between two looks at the process, when nobody asks for metrics.
const MEASURE: Duration = Duration::from_secs(5);

async fn tick(hub: Arc<crate::hub::Hub>, snapshots: Snapshots, pulse: Rc<Pulse>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pulse.beat();
        let now = Instant::now();
        hub.tick(now);
        snapshots.load_full().sweep(now);
    }
}

async fn measure(process: Rc<Process>) {
    let mut ticks = tokio::time::interval(MEASURE);
    loop {
        ticks.tick().await;
        process.measure();
    }
}

async fn ask_for_reload(wishes: mpsc::WeakSender<Wish>) -> Result<String, String> {
    let ended = || "the process is ending".to_owned();
    let wishes = wishes.upgrade().ok_or_else(ended)?;
    let (answer, outcome) = tokio::sync::oneshot::channel();
    wishes.send(Wish::Reload(answer)).await.map_err(|_| ended())?;
    outcome.await.map_err(|_| ended())?
}

async fn asked_again(wishes: &mut mpsc::Receiver<Wish>, signals: &mut Signals) {
    loop {
        tokio::select! {
            signal = signals.next() => if signal == Signal::Stop { return },
            Some(wish) = wishes.recv() => match wish {
                Wish::Stop => return,
                // Its sender hears that the process is ending.
                Wish::Reload(answer) => drop(answer),
            },
        }
    }
}

/// The control port before it is served.
struct ControlPort {
    listener: ControlListener,
    /// As bound, which differs from the configuration where that leaves the port to the system.
    address: Endpoint,
}

impl ControlPort {
    fn bind(config: &Config) -> Result<Option<ControlPort>, StartError> {
        let Some(ControlConfig { address, .. }) = &config.control else { return Ok(None) };
        let listener = ControlListener::bind(address)
            .map_err(|reason| StartError::Control { address: shown(address), reason })?;
        let address = listener.local_address().map_or_else(|| address.clone(), Endpoint::Tcp);
        Ok(Some(ControlPort { listener, address }))
    }
}

fn announce(addresses: &[SocketAddr], control: Option<&Endpoint>) {
    for address in addresses {
        tracing::info!(%address, "listening");
    }
    if let Some(control) = control {
        tracing::info!(address = shown(control), "control port");
    }
}

fn shown(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(address) => address.to_string(),
        Endpoint::Unix(path) => format!("unix:{}", path.display()),
    }
}
