//! A request on its way to another route of this proxy, which the application's answer named.
//!
//! It goes on as a GET (or HEAD) without a body, whatever it was before, as nginx does: the application has had the
//! body, and what it names now is something to be read. It goes on once: what answers it may name nothing further.

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue, SET_COOKIE, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Response, Uri};

use super::super::answer::answer;
use super::super::files::{Place, Wish, find};
use super::super::marks::Marks;
use super::super::parley::{Host, Parley, resumed};
use super::super::record::Record;
use super::super::refusal::Refusal;
use super::super::rules::{Client, Rules};
use super::super::{Context, Outcome, check, finish, steps};
use super::cometd::Cometd;
use super::instruction::bad;
use super::said::Said;
use crate::body::Body;
use crate::files::{Found, Name, file_headers};
use crate::hold::TakeOver;

/// A request that another route is to answer.
pub struct Elsewhere {
    /// Name of the site; `None` for the same.
    site: Option<Box<str>>,
    /// The client of Bayeux that it is for.
    cometd: Option<Box<Cometd>>,
    parts: Parts,
    marks: Marks,
    said: Said,
    record: Record,
}

impl Elsewhere {
    pub(super) fn at_path(
        path: PathAndQuery,
        parts: &Parts,
        marks: &Marks,
        said: Said,
        record: Record,
    ) -> Elsewhere {
        let parts = to_read(parts, Uri::from(path));
        Elsewhere { site: None, cometd: None, parts, marks: marks.clone(), said, record }
    }

    pub(super) fn at_site(
        (site, cometd): (Box<str>, Option<Box<Cometd>>),
        parts: &Parts,
        marks: &Marks,
        said: Said,
        record: Record,
    ) -> Elsewhere {
        Elsewhere {
            site: Some(site),
            cometd,
            parts: to_read(parts, parts.uri.clone()),
            marks: marks.clone(),
            said,
            record,
        }
    }

    /// The site that was named.
    pub fn site(&self) -> Option<&str> {
        self.site.as_deref()
    }

    /// The path to be routed.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// No route is meant. The application is wrong, and its operator reads it.
    pub fn nowhere(self, client: &Client, rules: &Rules) -> Response<Body> {
        let header = if self.site.is_some() { "X-Reproxy-Service" } else { "X-Accel-Redirect" };
        let value = HeaderValue::try_from(self.parts.uri.to_string()).unwrap_or(HeaderValue::from_static(""));
        self.refuse(client, rules, &Refusal::BadHandoff(bad(header, &value, "no route leads there")))
    }

    /// The client of Bayeux that it is for, where the application says so, and the head of its answer.
    pub fn take_cometd(&mut self) -> Option<(Box<Cometd>, HeaderMap)> {
        Some((self.cometd.take()?, std::mem::take(&mut self.said.headers)))
    }

    /// By a room behind the site.
    ///
    /// # Errors
    /// It is answered already: it was refused.
    pub fn parley<'a>(&'a mut self, host: Host<'a>) -> Result<Parley<'a>, Box<Response<Body>>> {
        resumed(host, &self.parts, self.record.take())
    }

    /// By a file, with the application's head.
    pub async fn file(mut self, client: &Client, rules: &Rules, place: Place<'_>) -> Response<Body> {
        match self.look(client, rules, place).await {
            Ok(response) => response,
            Err(refusal) => self.refuse(client, rules, &refusal),
        }
    }

    async fn look(
        &mut self,
        client: &Client,
        rules: &Rules,
        place: Place<'_>,
    ) -> Result<Response<Body>, Refusal> {
        let name = Name::of_request(place.rest).ok_or(Refusal::NoFile)?;
        let Elsewhere { parts, said, record, .. } = self;
        // An answer that says how it is coded means this very file.
        let codings = match said.headers.contains_key(hyper::header::CONTENT_ENCODING) {
            true => &HeaderMap::new(),
            false => &parts.headers,
        };
        let Found::File(opened) = find(place.folder, name, codings).await? else {
            return Err(Refusal::NoFile);
        };
        said.fill(&file_headers(&opened, place.folder.cache_control.as_ref(), std::time::SystemTime::now()));
        let headers = std::mem::take(&mut said.headers);
        client.clock.start(rules.body_timeout);
        Ok(Wish { client, rules, parts }.grant(said.status, headers, &opened, record))
    }

    /// By the application of another pool: its whole answer, and the cookies that the first one has set.
    pub async fn ask(mut self, ctx: Context<'_>) -> Result<Response<Body>, TakeOver> {
        let Elsewhere { parts, marks, record, .. } = &mut self;
        let ended = match check::without_body(parts) {
            Ok(asked) => Box::pin(steps(&ctx, parts, &asked, None, marks, record)).await,
            Err(refusal) => Err(refusal),
        };
        match finish(&ctx, parts, ended, false, record) {
            Outcome::Answered(mut response) => {
                for cookie in self.said.headers.get_all(SET_COOKIE) {
                    response.headers_mut().append(SET_COOKIE, cookie.clone());
                }
                Ok(response)
            }
            // Only what a client asks for at first hand is joined.
            Outcome::Left(take_over) | Outcome::Joined(take_over, _) => Err(take_over),
            Outcome::Elsewhere(further) => Ok(further.nowhere(ctx.client, ctx.rules)),
        }
    }

    fn refuse(mut self, client: &Client, rules: &Rules, refusal: &Refusal) -> Response<Body> {
        self.record.refused(refusal, &self.parts);
        client.clock.start(rules.body_timeout);
        answer(refusal, false, &self.parts.headers)
    }
}

/// The same request as one that only reads.
fn to_read(parts: &Parts, uri: Uri) -> Parts {
    let (mut to_read, ()) = Request::new(()).into_parts();
    to_read.method = if parts.method == Method::HEAD { Method::HEAD } else { Method::GET };
    (to_read.uri, to_read.version) = (uri, parts.version);
    to_read.headers = parts.headers.clone();
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_TYPE, EXPECT] {
        to_read.headers.remove(name);
    }
    to_read
}
