//! The edge of a route, on the way in and out.

use hyper::body::Body as _;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::body::{Body, ClientBody};
use crate::edge::{Edge, Jsonp, Meant, scripted};
use crate::exchange::{Refusal, is_own};
use crate::hold::TakeOver;

use super::route::{Action, Route};
use super::{Errand, Site, Wish, authority};

impl Site {
    /// Through the edge of a route, in and out.
    pub(super) async fn pass(
        &self,
        errand: Errand<'_>,
        edge: &Edge,
        wish: Wish<'_>,
        parts: &Parts,
        body: ClientBody,
    ) -> Result<Response<Body>, TakeOver> {
        let is_of_folder = matches!(&wish, Wish::Route(_, Route { action: Action::Files(_), .. }));
        let result = match self.stop(errand, edge, parts) {
            None => match (&edge.jsonp, &wish) {
                (Some(jsonp), Wish::Route(_, Route { action: Action::Pool(..), .. }))
                    if body.is_end_stream() =>
                {
                    Box::pin(self.act_for_script(errand, wish, (edge, jsonp), parts, body)).await
                }
                _ => self.act(errand, wish, &edge.request, parts, body).await,
            },
            Some(Stop::Denied) => Ok(self.refuse(errand, (parts, &body), &Refusal::Denied)),
            Some(Stop::Elsewhere(location)) => {
                Ok(self.redirect(errand, (parts, &body), StatusCode::PERMANENT_REDIRECT, &location))
            }
        };
        match result {
            Ok(mut response) => {
                if is_own(&response) {
                    edge.dress(&mut response);
                }
                edge.edit_answer(response.headers_mut());
                edge.open_up(&parts.headers, response.headers_mut());
                // A folder has the copies that are to be sent.
                if !is_of_folder {
                    edge.compress(&parts.headers, &mut response);
                }
                Ok(response)
            }
            Err(mut take_over) => {
                take_over.edit_hold(|hold| {
                    edge.edit_answer(&mut hold.answer.headers);
                    // Pages don't read heads of WebSockets.
                    if !hold.is_socket() {
                        edge.open_up(&parts.headers, &mut hold.answer.headers);
                    }
                });
                Err(take_over)
            }
        }
    }

    /// What a script has asked for in the place of its page, answered as a script.
    async fn act_for_script(
        &self,
        errand: Errand<'_>,
        wish: Wish<'_>,
        (edge, jsonp): (&Edge, &Jsonp),
        parts: &Parts,
        body: ClientBody,
    ) -> Result<Response<Body>, TakeOver> {
        let Meant { parts: meant, body: said } = match jsonp.read(parts) {
            Ok(Some(meant)) => meant,
            Ok(None) => return self.act(errand, wish, &edge.request, parts, body).await,
            Err(reason) => return Ok(self.refuse(errand, (parts, &body), &Refusal::BadRequest(reason))),
        };
        let response = self.act(errand, wish, &edge.request, &meant, ClientBody::of(said)).await?;
        Ok(scripted(&meant.extensions, response))
    }

    /// Why a request gets no further than the edge.
    fn stop(&self, errand: Errand<'_>, edge: &Edge, parts: &Parts) -> Option<Stop> {
        let Errand { client, rules, .. } = errand;
        let headers = &parts.headers;
        if !edge.access.is_empty() {
            let address = client.address_behind(rules, headers);
            if !edge.access.iter().all(|access| access.admits(address)) {
                return Some(Stop::Denied);
            }
        }
        let secure = client.is_secure(rules, headers);
        let location = edge.canon.as_ref()?.location(secure, authority(parts), &parts.uri);
        location.map(Stop::Elsewhere)
    }
}

/// Why a request gets no further than the edge.
enum Stop {
    Denied,
    /// It belongs there.
    Elsewhere(String),
}
