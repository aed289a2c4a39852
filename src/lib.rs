//! Perihelion: a reverse proxy that takes Comet off an existing web application.

pub mod access_log;
pub mod body;
pub mod clock;
pub mod config;
pub mod exchange;
pub mod hold;
pub mod message;
pub mod metrics;
pub mod transport;
pub mod upstream;
pub mod wire;
