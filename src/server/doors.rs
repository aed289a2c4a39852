//! The listening addresses of the process, and how a configuration changes them while it runs.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ipnet::IpNet;
use rustls::ServerConfig;

use super::StartError;
use super::worker::{Order, Worker};
use crate::config::{ControlConfig, ListenerConfig};
use crate::control::Entrance;
use crate::listener::{Door, Tickets, bind, server_config};
use crate::metrics::Metrics;

/// The doors that are open.
pub(super) struct Doors {
    /// By the address in the configuration, which may leave the port to the system.
    open: BTreeMap<SocketAddr, OpenDoor>,
    /// How many doors were opened so far.
    numbers: u16,
    tickets: Tickets,
    /// Sockets for each address: one for each worker.
    sockets: usize,
    metrics: Metrics,
}

struct OpenDoor {
    number: u16,
    door: Arc<Door>,
}

/// What a configuration changes: everything that can fail has happened.
pub(super) struct Change {
    /// In the order of the configuration.
    listeners: Vec<(SocketAddr, Listener)>,
    closed: Vec<SocketAddr>,
}

enum Listener {
    Fresh(Arc<Door>, Vec<TcpListener>),
    Kept(Arc<Door>, Option<Arc<ServerConfig>>, Vec<IpNet>, bool),
}

impl Change {
    /// Where clients will be accepted, ports chosen.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let address = |(_, listener): &(_, Listener)| match listener {
            Listener::Fresh(door, _) | Listener::Kept(door, ..) => door.address,
        };
        self.listeners.iter().map(address).collect()
    }

    /// What will happen, for the log; empty where nothing does.
    pub(super) fn describe(&self) -> Vec<String> {
        let fresh = |(_, listener): &(_, Listener)| match listener {
            Listener::Fresh(door, _) => Some(format!("listens on {}", door.address)),
            Listener::Kept(..) => None,
        };
        let closed = self.closed.iter().map(|address| format!("no longer listens on {address}"));
        self.listeners.iter().filter_map(fresh).chain(closed).collect()
    }
}

impl Doors {
    /// None yet.
    pub(super) fn new(workers: usize, metrics: &Metrics) -> Result<Doors, StartError> {
        Ok(Doors {
            open: BTreeMap::new(),
            numbers: 0,
            tickets: Tickets::new()?,
            sockets: workers,
            metrics: metrics.clone(),
        })
    }

    /// Binds what is new and reads certificates; changes nothing yet, and nothing at all if it fails.
    pub(super) fn plan(&self, listen: &[ListenerConfig]) -> Result<Change, StartError> {
        let mut listeners = Vec::new();
        for listener in listen {
            let tls = self.tls(listener)?;
            let balancers = listener.proxy_protocol.clone();
            let planned = match self.open.get(&listener.address) {
                Some(open) => Listener::Kept(open.door.clone(), tls, balancers, listener.http2),
                None => self.fresh(listener, tls, balancers)?,
            };
            listeners.push((listener.address, planned));
        }
        let stays = |address: &SocketAddr| listen.iter().any(|listener| listener.address == *address);
        let closed = self.open.keys().filter(|address| !stays(address)).copied().collect();
        Ok(Change { listeners, closed })
    }

    fn fresh(
        &self,
        listener: &ListenerConfig,
        tls: Option<Arc<ServerConfig>>,
        balancers: Vec<IpNet>,
    ) -> Result<Listener, StartError> {
        let sockets = bind(listener.address, self.sockets)?;
        let bound = sockets.first().map_or(Ok(listener.address), TcpListener::local_addr)?;
        let door = Door::new(bound, tls, balancers, listener.http2, &self.metrics);
        Ok(Listener::Fresh(Arc::new(door), sockets))
    }

    fn tls(&self, listener: &ListenerConfig) -> Result<Option<Arc<ServerConfig>>, StartError> {
        if listener.tls.is_empty() {
            return Ok(None);
        }
        let offer = (listener.clients.as_ref(), listener.http2);
        Ok(Some(server_config(&listener.tls, &self.tickets, offer)?))
    }

    /// What opens the control port. Whom certificates are of is said by `subjects` where they are asked for.
    pub(super) fn entrance(&self, control: &ControlConfig) -> Result<Entrance, StartError> {
        let ControlConfig { address: _, tokens, tls, clients, subjects } = control;
        let tls = match tls.is_empty() {
            true => None,
            false => Some(server_config(tls, &self.tickets, (clients.as_ref(), false))?),
        };
        let subjects = clients.as_ref().map(|_| subjects.clone());
        Ok(Entrance { tokens: tokens.clone(), subjects, tls })
    }

    /// Makes the change, without touching connections.
    pub(super) async fn apply(&mut self, change: Change, workers: &[Worker]) {
        for address in change.closed {
            if let Some(OpenDoor { number, .. }) = self.open.remove(&address) {
                for worker in workers {
                    worker.tell(Order::Close(number)).await;
                }
            }
        }
        for (address, listener) in change.listeners {
            match listener {
                Listener::Kept(door, tls, balancers, http2) => door.change(tls, balancers, http2),
                Listener::Fresh(door, sockets) => {
                    self.open_door(address, door, sockets, workers).await;
                }
            }
        }
    }

    async fn open_door(
        &mut self,
        address: SocketAddr,
        door: Arc<Door>,
        sockets: Vec<TcpListener>,
        workers: &[Worker],
    ) {
        let number = self.numbers;
        // After 65,535 changes of addresses the oldest number names another door in the gauge of open connections.
        self.numbers = self.numbers.wrapping_add(1);
        for (worker, socket) in workers.iter().zip(sockets) {
            worker.tell(Order::Open(number, door.clone(), socket)).await;
        }
        self.open.insert(address, OpenDoor { number, door });
    }
}
