//! A route that speaks Bayeux: the request is read by the rules of every exchange, and answered by the other room.

use std::mem;
use std::sync::Arc;

use hyper::Response;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;

use super::authority::target;
use super::talks::Listener;
use super::{Site, Snapshot};
use crate::bayeux::{BadRequest, Guest, Question, Reply, Says, Terms};
use crate::body::{Body, ClientBody};
use crate::exchange::{Caller, CometdAction, Elsewhere, Host, Refusal, parley};
use crate::hold::{BadInstruction, TakeOver};

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
            let (browser, headers) = self.bayeux.socket_browser(terms, &parts.headers);
            let listener = || Listener::Bayeux(terms.clone(), caller().map(Box::new), browser);
            return parley.hold_socket(headers, || self.talks.begin(listener(), terms.route.body));
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
            Err(BadRequest::Method) => Ok(parley.refuse(&Refusal::MessagesOnly)),
            Err(bad) => Ok(parley.refuse(&Refusal::BadRequest(reason(bad)))),
        }
    }
}

impl Site {
    /// The same for a request that an application has handed over, for a client that it names.
    pub(super) async fn bayeux_of_guest(
        &self,
        snapshot: &Snapshot,
        terms: &Arc<Terms>,
        host: Host<'_>,
        mut elsewhere: Box<Elsewhere>,
    ) -> Result<Response<Body>, TakeOver> {
        let Some((cometd, said)) = elsewhere.take_cometd() else {
            return Ok(elsewhere.nowhere(host.client, host.rules));
        };
        let parley = match elsewhere.parley(host) {
            Ok(parley) => parley,
            Err(response) => return Ok(*response),
        };
        let says = cometd.messages.as_deref().map_or(Says::Meta(word(cometd.action)), Says::Messages);
        let (query, client) = (parley.parts().uri.query(), parley.client_side());
        let guest = Guest { id: &cometd.id, channels: &cometd.channels, says, query, client };
        let authority = async |questions| {
            let mut caller = Caller::new(host.client, parley.parts(), target(terms)?)?;
            self.consult(snapshot, terms, &mut caller, questions).await
        };
        match self.bayeux.receive(terms, guest, authority).await {
            Ok(Reply::Answer(headers, body)) => Ok(parley.answer(besides(said, headers), body)),
            Ok(Reply::Hold(mut hold)) => {
                hold.answer.headers = besides(said, mem::take(&mut hold.answer.headers));
                parley.hold(hold)
            }
            Err(BadRequest::Callback) => {
                Ok(parley.refuse(&Refusal::BadRequest(reason(BadRequest::Callback))))
            }
            Err(bad) => {
                let value = cometd.messages.unwrap_or_default();
                let header = "X-Cometd-Data";
                let bad = BadInstruction { header, value: value.into(), reason: reason(bad).to_owned() };
                Ok(parley.refuse(&Refusal::BadHandoff(bad)))
            }
        }
    }
}

/// What the application says of its own answer, cookies above all, and what the answer is.
fn besides(mut said: HeaderMap, own: HeaderMap) -> HeaderMap {
    for (name, value) in &own {
        said.insert(name, value.clone());
    }
    said
}

fn word(action: CometdAction) -> &'static str {
    match action {
        CometdAction::Handshake => "handshake",
        CometdAction::Connect => "connect",
        CometdAction::Subscribe => "subscribe",
        CometdAction::Disconnect => "disconnect",
    }
}

fn reason(bad: BadRequest) -> &'static str {
    match bad {
        BadRequest::Method | BadRequest::Empty => "messages come by POST, or by GET in `message`",
        BadRequest::NoMessages => "the body is no list of Bayeux messages",
        BadRequest::Callback => "the callback is not the name of a function",
    }
}
