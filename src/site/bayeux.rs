//! A route that speaks Bayeux: the request is read by the rules of every exchange, and answered by the other room.

use std::sync::Arc;

use hyper::Response;
use hyper::http::request::Parts;

use super::authority::target;
use super::talks::Listener;
use super::{Site, Snapshot};
use crate::bayeux::{BadRequest, Question, Reply, Terms};
use crate::body::{Body, ClientBody};
use crate::exchange::{Caller, Host, Refusal, parley};
use crate::hold::TakeOver;

impl Site {
    /// Answers a request, or has it held.
    pub(super) async fn bayeux(
        &self,
        snapshot: &Snapshot,
        terms: &Arc<Terms>,
        host: Host<'_>,
        parts: &Parts,
        body: ClientBody,
    ) -> Result<Response<Body>, TakeOver> {
        let parley = match parley(host, parts, body, terms.route.body).await {
            Ok(parley) => parley,
            Err(response) => return Ok(response),
        };
        let caller = || target(terms).and_then(|target| Caller::new(host.client, parts, target));
        if parley.wants_socket() {
            let listener = || Listener::Bayeux(terms.clone(), caller().map(Box::new));
            return parley.hold_socket(|| self.talks.begin(listener(), terms.route.body));
        }
        let question = Question {
            method: &parts.method,
            headers: &parts.headers,
            query: parts.uri.query(),
            body: &parley.body,
            client: parley.client_side(),
        };
        let authority = async |questions| self.consult(snapshot, terms, &mut caller()?, questions).await;
        match self.bayeux.ask(terms, question, authority).await {
            Ok(Reply::Answer(headers, body)) => Ok(parley.answer(headers, body)),
            Ok(Reply::Hold(hold)) => parley.hold(hold),
            Err(bad) => Ok(parley.refuse(&Refusal::BadRequest(reason(bad)))),
        }
    }
}

fn reason(bad: BadRequest) -> &'static str {
    match bad {
        BadRequest::Empty => "messages come by POST, or by GET in `message`",
        BadRequest::NoMessages => "the body is no list of Bayeux messages",
        BadRequest::Callback => "the callback is not the name of a function",
    }
}
