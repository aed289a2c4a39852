//! A route as it is used: what answers its requests, and what holds for them.

use std::sync::Arc;

use crate::config::{self, RouteConfig};
use crate::upstream::Pool;

/// One route of a site. What only some routes say stands behind a pointer, so that the others don't carry it.
pub(super) struct Route {
    /// What answers.
    pub(super) action: Action,
}

/// What answers the requests of a route.
pub(super) enum Action {
    /// A pool of servers.
    Pool(Arc<Pool>),
}

impl Route {
    /// As configured; `None` where there is no such pool, which a checked configuration never says.
    pub(super) fn new(
        config: &RouteConfig,
        pool: impl FnOnce(&String) -> Option<Arc<Pool>>,
    ) -> Option<Arc<Route>> {
        let action = match &config.action {
            config::Action::Pool(name) => Action::Pool(pool(name)?),
        };
        Some(Arc::new(Route { action }))
    }
}
