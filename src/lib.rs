//! Perihelion: a reverse proxy that takes Comet off an existing web application.

pub mod access_log;
pub mod bayeux;
pub mod body;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod date;
pub mod demo;
pub mod edge;
pub mod exchange;
pub mod files;
#[cfg(test)]
mod fuzz;
pub mod hold;
pub mod hub;
pub mod jwt;
pub mod listener;
pub mod message;
pub mod metrics;
pub mod pulse;
pub mod quota;
pub mod server;
pub mod shard;
pub mod site;
pub mod spool;
pub mod store;
pub mod stretch;
pub mod sys;
pub mod transport;
pub mod upstream;
pub mod wire;
