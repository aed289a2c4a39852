//! A route as it is used: what answers its requests, and what holds for them.

use std::sync::Arc;

use hyper::header::HeaderValue;

use crate::bayeux::Terms;
use crate::config::{self, FilesConfig, RouteConfig, SiteConfig};
use crate::edge::{Edge, Redirect};
use crate::exchange::{Cors, Handoffs, RouteRules};
use crate::files::Folder;
use crate::upstream::Pool;

/// One route of a site. What only some routes say stands behind a pointer, so that the others don't carry it.
pub(super) struct Route {
    /// Its path, as configured.
    pub(super) path: String,
    /// What answers.
    pub(super) action: Action,
    /// The pool that WebSockets reach where it isn't that of `action`, and where its answers may point.
    pub(super) sockets: Option<Box<(Arc<Pool>, Option<Handoffs>)>>,
    /// Whether only applications lead here, and clients find nothing.
    pub(super) is_internal: bool,
    /// What holds whatever answers.
    pub(super) edge: Option<Box<Edge>>,
    /// Which other origins may read what is held here.
    pub(super) cors: Cors,
    /// What holds for what a pool answers.
    pub(super) rules: RouteRules,
}

/// What answers the requests of a route.
pub(super) enum Action {
    /// A pool of servers, and where its answers may point, if anywhere.
    Pool(Arc<Pool>, Option<Handoffs>),
    /// A folder of files.
    Files(Arc<Folder>),
    /// Another address.
    Redirect(Box<Redirect>),
    /// Bayeux on these terms.
    Bayeux(Arc<Terms>),
    /// The client for browsers, with this `Cache-Control`.
    Script(HeaderValue),
}

impl Route {
    /// As configured, with the bound of `limits.message`; `None` where there is no such pool, which a checked
    /// configuration never says.
    pub(super) fn new(
        site: &SiteConfig,
        config: &RouteConfig,
        message: usize,
        rules: RouteRules,
        pool: impl Fn(&String) -> Option<(Arc<Pool>, Option<Handoffs>)>,
    ) -> Option<Arc<Route>> {
        let action = match &config.action {
            config::Action::Pool(name) => {
                let (pool, handoffs) = pool(name)?;
                Action::Pool(pool, handoffs)
            }
            config::Action::Files(files) => Action::Files(Arc::new(folder(files))),
            config::Action::Bayeux(bayeux) => {
                Action::Bayeux(Arc::new(Terms { route: bayeux.clone(), message }))
            }
            config::Action::Script(script) => Action::Script(field(&script.cache_control)),
            config::Action::Redirect(to) => Action::Redirect(Box::new(Redirect::new(&config.path, to))),
        };
        let (path, is_internal) = (config.path.clone(), config.internal);
        let sockets = config.websocket_pool.as_ref().and_then(&pool).map(Box::new);
        let (edge, cors) = (Edge::new(site, &config.edge), Cors::new(&site.cors));
        Some(Arc::new(Route { path, action, sockets, is_internal, edge, cors, rules }))
    }
}

fn field(text: &String) -> HeaderValue {
    HeaderValue::try_from(text).expect("a checked configuration has visible ASCII here")
}

fn folder(config: &FilesConfig) -> Folder {
    Folder {
        path: config.root.clone(),
        index: config.index.clone(),
        cache_control: config.cache_control.as_ref().map(field),
    }
}
