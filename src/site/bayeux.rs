//! A route that speaks Bayeux: the request is read by the rules of every exchange, and answered by the other room.

use std::sync::Arc;

use hyper::Response;
use hyper::http::request::Parts;

use super::talks::{Listener, Talks};
use crate::bayeux::{BadRequest, Bayeux, Question, Reply, Terms};
use crate::body::{Body, ClientBody};
use crate::exchange::{Host, Refusal, parley};
use crate::hold::TakeOver;

/// Answers a request, or has it held.
pub(super) async fn answer(
    bayeux: &Bayeux,
    terms: &Arc<Terms>,
    talks: &Talks,
    host: Host<'_>,
    parts: &Parts,
    body: ClientBody,
) -> Result<Response<Body>, TakeOver> {
    let parley = match parley(host, parts, body, terms.route.body).await {
        Ok(parley) => parley,
        Err(response) => return Ok(response),
    };
    if parley.wants_socket() {
        return parley.hold_socket(|| talks.begin(Listener::Bayeux(terms.clone()), terms.route.body));
    }
    let question = Question {
        method: &parts.method,
        headers: &parts.headers,
        query: parts.uri.query(),
        body: &parley.body,
        client: parley.client_side(),
    };
    match bayeux.ask(terms, question).await {
        Ok(Reply::Answer(headers, body)) => Ok(parley.answer(headers, body)),
        Ok(Reply::Hold(hold)) => parley.hold(hold),
        Err(bad) => Ok(parley.refuse(&Refusal::BadRequest(reason(bad)))),
    }
}

fn reason(bad: BadRequest) -> &'static str {
    match bad {
        BadRequest::Empty => "messages come by POST, or by GET in `message`",
        BadRequest::NoMessages => "the body is no list of Bayeux messages",
        BadRequest::Callback => "the callback is not the name of a function",
    }
}
