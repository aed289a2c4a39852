//! Requests that an answer has sent to another route (`X-Accel-Redirect` and its like).

use hyper::Response;

use crate::body::Body;
use crate::edge::plain_path;
use crate::exchange::{Context, Elsewhere, Host, Place};
use crate::hold::TakeOver;

use super::route::{Action, Route};
use super::router::Found;
use super::{Errand, Site};

impl Site {
    /// A request that an answer has sent to another route, which may be an internal one. Who may come in was decided
    /// where it came from; what is edited here counts too.
    pub(super) async fn elsewhere(
        &self,
        errand: Errand<'_>,
        from: usize,
        elsewhere: Box<Elsewhere>,
    ) -> Result<Response<Body>, TakeOver> {
        let Errand { client, snapshot, rules, .. } = errand;
        let named = |name: &str| snapshot.sites.iter().position(|site| **site.name() == *name);
        let index = elsewhere.site().map_or(Some(from), named);
        let path = elsewhere.path().to_owned();
        let Some(Found::Route(_, route)) = index.map(|index| snapshot.router.find_in(index, &path)) else {
            return Ok(elsewhere.nowhere(client, rules));
        };
        let mut result = self.act_elsewhere(errand, route, &path, elsewhere).await;
        if let Some(edge) = &route.edge {
            match &mut result {
                Ok(response) => edge.edit_answer(response.headers_mut()),
                Err(take_over) => take_over.edit_head(|headers| edge.edit_answer(headers)),
            }
        }
        result
    }

    async fn act_elsewhere(
        &self,
        errand: Errand<'_>,
        route: &Route,
        path: &str,
        elsewhere: Box<Elsewhere>,
    ) -> Result<Response<Body>, TakeOver> {
        let Errand { client, rules, site, keeper, .. } = errand;
        match (&route.action, plain_path(path)) {
            (Action::Pool(pool, _), _) => {
                let edits = route.edge.as_ref().map_or(&[][..], |edge| &edge.request);
                let (cors, route, handoffs) = (&route.cors, &route.rules, None);
                let log = &self.log;
                let ctx = Context { client, rules, route, site, cors, pool, handoffs, keeper, log, edits };
                elsewhere.ask(ctx).await
            }
            (Action::Files(folder), Some(path)) => {
                let rest = path.strip_prefix(route.path.as_bytes()).unwrap_or_default();
                Ok(elsewhere.file(client, rules, Place { folder, path: &path, rest }).await)
            }
            (Action::Bayeux(terms), _) => {
                let host = Host { client, rules, site, cors: &route.cors, keeper, log: &self.log };
                self.bayeux_of_guest(errand.snapshot, terms, host, elsewhere).await
            }
            (Action::Files(_), None) | (Action::Redirect(_) | Action::Script(_), _) => {
                Ok(elsewhere.nowhere(client, rules))
            }
        }
    }
}
