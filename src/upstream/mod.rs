//! Pools of servers: lease a connection, give it back, or wait in line for one.
//!
//! A [`Pool`] is shared by all threads: what it allows and who waits is decided under one short lock, in which
//! nothing is polled, woken or closed. A request is matched with a connection only when that is up: one that has to
//! be opened is opened by a task of its own, for whoever is first in line then. A [`Lease`] owns a connection and
//! its place among the connections of its server; whoever has the lease also moves the connection's bytes, so that
//! no task stands behind it, and an idle connection is polled by nobody. Dropping a lease closes its connection and
//! gives the place to whoever waits; handing it back keeps the connection. A place is never lost: a waiter that left
//! meanwhile drops what it was handed, which hands it on.
//!
//! Here is nothing about heads: what is sent and what an answer means belongs to the exchange.

mod addresses;
mod again;
mod budget;
mod checkup;
mod choice;
mod chunked;
mod errand;
#[cfg(test)]
pub(crate) mod fuzz;
mod health;
mod lease;
mod link;
mod opening;
mod outgoing;
mod pool;
mod poster;
mod queue;
mod request_head;
mod request_writer;
mod response_head;
mod roster;
mod row;
mod seats;
mod server;
mod socket;
mod tls;
mod verify;
mod waiting;

#[cfg(test)]
mod tests;

pub use again::Retry;
pub use checkup::Checkup;
pub use errand::{Errand, Errands, Whose};
pub use lease::{Lease, SendError, Tunnelled, UpstreamBody, Why};
pub use link::LinkError;
pub use outgoing::{Outgoing, OutgoingError, Pace, Stage, Upload};
pub use pool::{NoLease, Pool};
pub use poster::{Poster, Unposted};
pub use queue::Class;
pub use request_head::{Fields, RequestHead};
pub use roster::ServerState;
pub use row::Standing;
pub use server::Fault;
pub use socket::Socket;
