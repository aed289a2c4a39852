//! Whom a route with Bayeux asks about its clients: a server by itself, or whatever the site's routes lead a path to.

use std::sync::Arc;

use hyper::header::HeaderValue;

use super::route::Action;
use super::router::Found;
use super::{Site, Snapshot};
use crate::bayeux::{Answered, Terms};
use crate::config::{Authority, Edit};
use crate::exchange::{Caller, Context, Cors, Inquired, RouteRules, SiteMetrics, inquire};
use crate::upstream::Pool;

/// What the answer of an authority depends on.
struct Seat<'a> {
    pool: &'a Arc<Pool>,
    route: &'a RouteRules,
    cors: &'a Cors,
    edits: &'a [Edit],
    site: &'a Arc<SiteMetrics>,
}

impl Site {
    /// Asks the authority of these terms about a client; nothing where it can't be asked.
    pub(super) async fn consult(
        &self,
        snapshot: &Snapshot,
        terms: &Terms,
        caller: &mut Caller,
        questions: Vec<u8>,
    ) -> Option<Answered> {
        let authorize = terms.route.authorize.as_ref()?;
        let Seat { pool, route, cors, edits, site } = snapshot.seat(&authorize.at).or_else(|| {
            tracing::warn!("`authorize` of a route with Bayeux leads to no pool");
            None
        })?;
        caller.describe(HeaderValue::from_static("application/json"));
        let (client, parts) = (caller.client(), caller.parts());
        let (rules, keeper, log) = (&snapshot.rules, self.keeper.as_ref(), &self.log);
        let ctx =
            Context { client: &client, rules, route, site, cors, pool, handoffs: None, keeper, log, edits };
        let inquired = inquire(ctx, parts, questions.into(), authorize.timeout).await?;
        let Inquired { status, max_age, body } = inquired;
        Some(Answered { status, max_age, body })
    }
}

impl Snapshot {
    fn seat(&self, at: &Authority) -> Option<Seat<'_>> {
        match at {
            Authority::Server { pool, .. } => {
                let pool = &self.pools.get(pool)?.pool;
                let (route, cors) = &self.by_itself;
                Some(Seat { pool, route, cors, edits: &[], site: &self.other })
            }
            Authority::Path { site, target } => {
                let index = self.sites.iter().position(|known| **known.name() == **site)?;
                let Found::Route(_, route) = self.router.find_in(index, target.path()) else { return None };
                let Action::Pool(pool, _) = &route.action else { return None };
                let edits = route.edge.as_ref().map_or(&[][..], |edge| &edge.request);
                Some(Seat { pool, route: &route.rules, cors: &route.cors, edits, site: &self.sites[index] })
            }
        }
    }
}

/// What the authority of these terms is asked for.
pub(super) fn target(terms: &Terms) -> Option<&str> {
    let (Authority::Path { target, .. } | Authority::Server { target, .. }) =
        &terms.route.authorize.as_ref()?.at;
    Some(target.as_str())
}
