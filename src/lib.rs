//! Perihelion: a reverse proxy that takes Comet off an existing web application.

pub mod access_log;
pub mod body;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod hold;
pub mod hub;
pub mod listener;
pub mod message;
pub mod metrics;
pub mod shard;
pub mod transport;
pub mod wire;
