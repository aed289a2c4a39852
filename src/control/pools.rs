//! Looking at pools, and changing their servers while they run.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::channels::percent_decode;
use super::reply::{Failure, Reply, json};
use crate::config::ServerConfig;
use crate::upstream::{Pool, ServerState, Standing};

/// Bytes of a request that changes a server.
pub(super) const CHANGE_MAX: usize = 1024;

#[derive(Serialize)]
struct Listing {
    pools: Vec<PoolView>,
}

#[derive(Serialize)]
struct PoolView {
    pool: String,
    /// Requests that wait, by class.
    queue: QueueView,
    servers: Vec<ServerView>,
}

#[derive(Serialize)]
struct QueueView {
    high: usize,
    normal: usize,
    low: usize,
}

#[derive(Serialize)]
struct ServerView {
    server: String,
    state: &'static str,
    up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected_ms: Option<u128>,
    busy: usize,
    idle: usize,
}

/// What an operator wants of a server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    state: Wanted,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Enable,
    Disable,
    Drain,
}

/// `GET /pools`.
pub(super) fn list<'a>(pools: impl Iterator<Item = &'a Arc<Pool>>) -> Reply {
    json(StatusCode::OK, &Listing { pools: pools.map(|pool| view(pool)).collect() })
}

/// `GET /pools/NAME`.
pub(super) fn inspect(pool: &Pool) -> Reply {
    json(StatusCode::OK, &view(pool))
}

/// `POST /pools/NAME/servers/ADDRESS`.
pub(super) fn change(pool: &Arc<Pool>, server: &ServerConfig, body: &[u8]) -> Result<Reply, Failure> {
    let Change { state } = serde_json::from_slice(body).map_err(|error| {
        Failure::bad(format!("{error}: expected {{\"state\": \"enable\"}}, \"disable\" or \"drain\""))
    })?;
    let standing = match state {
        Wanted::Enable => Standing::Enabled,
        Wanted::Disable => Standing::Disabled,
        Wanted::Drain => Standing::Draining,
    };
    if !pool.set_standing(server, standing) {
        return Err(missing(pool, server));
    }
    tracing::info!(pool = pool.name(), server = server.name, state = word(standing), "a server was changed");
    Ok(inspect(pool))
}

/// `PUT /pools/NAME/servers/ADDRESS`.
pub(super) fn add(pool: &Arc<Pool>, server: &ServerConfig) -> Reply {
    if !pool.add(server) {
        return inspect(pool);
    }
    tracing::info!(pool = pool.name(), server = server.name, "a server was added");
    json(StatusCode::CREATED, &view(pool))
}

/// `DELETE /pools/NAME/servers/ADDRESS`.
pub(super) fn remove(pool: &Arc<Pool>, server: &ServerConfig) -> Result<Reply, Failure> {
    if !pool.set_standing(server, Standing::Removed) {
        return Err(missing(pool, server));
    }
    tracing::info!(pool = pool.name(), server = server.name, "a server was removed");
    Ok(inspect(pool))
}

/// The server that a path means: as in the configuration, percent-encoded.
pub(super) fn server(segment: &str) -> Result<ServerConfig, Failure> {
    let text = percent_decode(segment).and_then(|bytes| String::from_utf8(bytes).ok());
    let server = text.as_deref().and_then(ServerConfig::read);
    server.ok_or_else(|| {
        Failure::bad("a server is http://host:port or unix:/path as in the configuration, percent-encoded")
    })
}

fn missing(pool: &Pool, server: &ServerConfig) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("pool {} has no server {:?}", pool.name(), server.name))
}

fn view(pool: &Pool) -> PoolView {
    let [high, normal, low] = pool.waiting();
    let server = |state: ServerState| ServerView {
        server: state.name.to_string(),
        state: word(state.standing),
        up: state.up,
        ejected_ms: state.ejected_for.map(|left| left.as_millis()),
        busy: state.busy,
        idle: state.idle,
    };
    let servers = pool.servers().into_iter().map(server).collect();
    PoolView { pool: pool.name().to_owned(), queue: QueueView { high, normal, low }, servers }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Enabled => "enabled",
        Standing::Draining => "draining",
        Standing::Disabled => "disabled",
        Standing::Removed => "removed",
    }
}
