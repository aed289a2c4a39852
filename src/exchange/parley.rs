//! A request that a room behind the site answers by itself: read whole, then answered, held or refused.
//!
//! The steps that every request takes are here, so that such a room needs to know none of them: the checks of its head,
//! preflights of other origins, the bound and the clock of its body, its counters and its line in the log.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::body::Body as _;
use hyper::header::{HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::Cors;
use super::answer::answer;
use super::check::{self, Asked};
use super::files::response;
use super::holding::unfit;
use super::marks::Marks;
use super::record::{Record, SiteMetrics};
use super::refusal::Refusal;
use super::rules::{Client, Rules};
use super::sending::whole;
use super::upload::refusal;
use crate::access_log::{AccessLog, End};
use crate::body::{Body, ClientBody};
use crate::hold::{
    Answer, Asked as AskedToHold, ClientSide, Ear, Hold, Instruction, Keeper, TakeOver, moment,
};
use crate::upstream::Upload;

/// Who a request of this kind meets.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Limits and clocks.
    pub rules: &'a Rules,
    /// Counters and name of the site.
    pub site: &'a Arc<SiteMetrics>,
    /// Which other origins may read the answers.
    pub cors: &'a Cors,
    /// Who holds.
    pub keeper: &'a dyn Keeper,
    /// Where the lines go.
    pub log: &'a AccessLog,
}

/// A request that was read to its end.
pub struct Parley<'a> {
    host: Host<'a>,
    parts: &'a Parts,
    record: Record,
    keep_alive: bool,
    wants_socket: bool,
    /// Its body.
    pub body: Bytes,
}

/// Reads a request, whose body has at most so many bytes.
///
/// # Errors
/// It is answered already: it was a preflight, or was refused.
pub async fn parley<'a>(
    host: Host<'a>,
    parts: &'a Parts,
    mut body: ClientBody,
    limit: usize,
) -> Result<Parley<'a>, Response<Body>> {
    let Host { client, rules, site, cors, log, .. } = host;
    let marks = Marks::new(client, rules, &parts.headers);
    let mut record = Record::begin(client, rules, site, log, parts, &marks);
    if let Some(response) = cors.preflight(parts) {
        record.answers(response.status());
        record.ends(End::Ok);
        client.clock.start(rules.body_timeout);
        return Err(response);
    }
    let read = match check::check(parts, &body, Some(limit as u64)) {
        Ok(asked) => collect(client, rules, &mut body, limit).await.map(|body| (asked, body)),
        Err(refusal) => Err(refusal),
    };
    match read {
        Ok((Asked { keep_alive, websocket: wants_socket, .. }, body)) => {
            record.received(body.len() as u64);
            Ok(Parley { host, parts, record, keep_alive, wants_socket, body })
        }
        Err(refusal) => {
            record.refused(&refusal, parts);
            client.clock.start(rules.body_timeout);
            Err(answer(&refusal, !body.is_end_stream(), &parts.headers))
        }
    }
}

/// A request that was read before, and has come from another route.
///
/// # Errors
/// It is answered already: it was refused.
pub(super) fn resumed<'a>(
    host: Host<'a>,
    parts: &'a Parts,
    mut record: Record,
) -> Result<Parley<'a>, Box<Response<Body>>> {
    match check::without_body(parts) {
        Ok(Asked { keep_alive, .. }) => {
            Ok(Parley { host, parts, record, keep_alive, wants_socket: false, body: Bytes::new() })
        }
        Err(refusal) => {
            record.refused(&refusal, parts);
            host.client.clock.start(host.rules.body_timeout);
            Err(Box::new(answer(&refusal, false, &parts.headers)))
        }
    }
}

async fn collect(
    client: &Client,
    rules: &Rules,
    body: &mut ClientBody,
    limit: usize,
) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::BodyTooLarge);
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let upload = Upload::new(Some(limit as u64), rules.pace);
    let mut whole = BytesMut::new();
    while !upload.is_whole() {
        let next = std::future::poll_fn(|cx| upload.poll_client(Pin::new(&mut *body), cx));
        let next = client.clock.limit(rules.body_timeout, next).await.map_err(|_| Refusal::BodyTimeout)?;
        let piece = next.map_err(refusal)?.unwrap_or_default();
        // Most come in one piece, which is all that there is.
        if whole.is_empty() && upload.is_whole() {
            return Ok(piece);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

impl Parley<'_> {
    /// The client's side of the connection, for a hold.
    pub fn client_side(&self) -> ClientSide {
        ClientSide { version: self.parts.version, keep_alive: self.keep_alive }
    }

    /// Its head.
    pub fn parts(&self) -> &Parts {
        self.parts
    }

    /// Answers it.
    pub fn answer(mut self, mut headers: HeaderMap, body: Vec<u8>) -> Response<Body> {
        self.host.cors.mark(self.parts.headers.get(ORIGIN), &mut headers);
        self.record.head_came(tokio::time::Instant::now());
        self.record.answers(StatusCode::OK);
        self.host.client.clock.start(self.host.rules.body_timeout);
        response(StatusCode::OK, headers, whole(body.into(), &mut self.record))
    }

    /// Whether it asks for a WebSocket.
    pub fn wants_socket(&self) -> bool {
        self.wants_socket
    }

    /// Has it held as a WebSocket without channels, answered with these fields besides, which an ear listens to. The ear is
    /// made once it may be one.
    ///
    /// # Errors
    /// The connection leaves.
    pub fn hold_socket(
        self,
        fields: HeaderMap,
        ear: impl FnOnce() -> Box<Ear>,
    ) -> Result<Response<Body>, TakeOver> {
        let headers = &self.parts.headers;
        if !self.host.cors.admits_socket(headers) {
            return Ok(self.refuse(&Refusal::ForeignOrigin));
        }
        let now = self.host.keeper.head();
        let (query, at) = (self.parts.uri.query(), moment());
        let asked = AskedToHold { headers, upgrade: true, query, forwarded_at: now, now, at };
        let answer = Answer { status: StatusCode::OK, headers: fields, body: Bytes::new() };
        match Instruction::socket().hold(asked, answer, self.client_side()) {
            Ok(mut hold) => {
                hold.ear = Some(ear());
                self.hold(Box::new(hold))
            }
            Err(reason) => Ok(self.refuse(&unfit(reason))),
        }
    }

    /// Has it held; where no place is left its client is told.
    ///
    /// # Errors
    /// The connection leaves.
    pub fn hold(mut self, mut hold: Box<Hold>) -> Result<Response<Body>, TakeOver> {
        let permit = match self.host.keeper.admit(&hold.wishes) {
            Ok(permit) => permit,
            Err(crowd) => return Ok(self.refuse(&crowd.into())),
        };
        self.host.cors.mark(self.parts.headers.get(ORIGIN), &mut hold.answer.headers);
        hold.subject = self.record.held(hold.answer.status);
        Err(TakeOver::Hold(hold, permit))
    }

    /// Refuses it.
    pub fn refuse(mut self, refusal: &Refusal) -> Response<Body> {
        self.record.refused(refusal, self.parts);
        self.host.client.clock.start(self.host.rules.body_timeout);
        answer(refusal, false, &self.parts.headers)
    }
}
