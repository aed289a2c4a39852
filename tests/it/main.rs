//! The promises of the contract, kept by the real binary over real sockets; one file each.

// A test that can't go on says where.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod authorize;
mod bayeux;
mod bayeux_browsers;
mod bayeux_sockets;
mod buffers;
mod channel_prefix;
mod cli;
mod client_certificates;
mod clients;
mod cluster;
mod cometd;
mod compress;
mod connections;
mod control;
mod control_tls;
mod cors;
mod drain;
mod edge;
mod exhaustion;
mod files;
mod grip;
mod grip_filters;
mod grip_keys;
mod grip_links;
mod grip_loose;
mod grip_routes;
mod grip_streams;
mod headers;
mod health;
mod hold;
mod hostile;
mod http2;
mod import;
mod log;
mod metrics;
mod misbehaving;
mod pool;
mod presence;
mod privileges;
mod queue;
mod quota;
mod redis;
mod refusals;
mod relay;
mod reload;
mod reproxy;
mod resume;
mod retries;
mod revoke;
mod script;
mod scripts;
mod slow;
mod slow_answers;
mod store;
mod storm;
mod tickets;
mod tls;
mod transports;
mod traps;
mod upgrade;
mod uploads;
mod upstream_path;
mod upstream_tls;
mod wall_clock;
mod watchdog;
mod websocket;
mod websocket_grip;
mod websocket_over_http;
mod words;
