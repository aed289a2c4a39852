//! Perihelion: a reverse proxy that takes Comet off an existing web application.

pub mod config;
pub mod hub;
pub mod message;
pub mod metrics;
pub mod transport;
