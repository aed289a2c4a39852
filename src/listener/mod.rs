//! Where clients arrive: addresses to listen on, connections, and what may pass from them before anything else in
//! the process sees it.
//!
//! A [`Door`] is one address as all threads share it; each thread accepts on a socket of its own. A [`Connection`] is
//! one client's over HTTP/1, from its first byte until it closes, leaves to be held ([`Ended::Departed`]) or has become a
//! tunnel; over HTTP/2 it is served by [`serve_http2`]. This room knows no route: the service is handed in.

mod answer_writer;
mod authority;
mod bind;
mod chunks;
mod connection;
#[cfg(test)]
mod connection_cases;
mod door;
mod farewell;
#[cfg(test)]
pub(crate) mod fuzz;
#[cfg(test)]
mod head_cases;
#[cfg(test)]
mod head_properties;
mod head_scan;
mod http2;
mod leaving;
mod line;
mod places;
mod plain_http;
mod proxy_header;
mod request_head;
mod request_line;
pub mod request_reader;
mod taking;
mod tls;

pub use bind::{BindError, bind, explain};
pub use connection::{Arrival, Connection, Ended, RefusedHead, Serve, Terms};
pub use door::{Door, Entered, Guest, accept};
pub use http2::{Flood, Host, Protocol, serve_http2};
pub use leaving::Leaving;
pub use places::{Place, Places};
pub use tls::{Tickets, TlsError, server_config};
