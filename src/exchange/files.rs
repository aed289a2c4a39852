//! An answer that is a file: conditions, the part that is wanted, and its bytes as fast as the client takes them.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::answer::answer;
use super::marks::Marks;
use super::record::{Record, SiteMetrics};
use super::refusal::Refusal;
use super::rules::{Client, Rules};
use super::sending::{FileSource, whole};
use super::{check, sending};
use crate::access_log::AccessLog;
use crate::body::{Body, ClientBody};
use crate::files::{
    Folder, Found, Name, Opened, Outcome, Ranged, Reading, file_headers, range, unmet, validators,
};

/// Bytes of a file that cost less to copy beside their head than to send by themselves.
const FEW_BYTES: usize = 16 * 1024;

/// Where a request for a file leads.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The folder of the route.
    pub folder: &'a Arc<Folder>,
    /// The whole path of the request, decoded and without dot segments.
    pub path: &'a [u8],
    /// What stands in it behind the path of the route.
    pub rest: &'a [u8],
}

/// Answers a request with a file, with its counters and its line in the log.
pub async fn serve_file(
    client: &Client,
    rules: &Rules,
    site: &Arc<SiteMetrics>,
    log: &AccessLog,
    place: Place<'_>,
    (parts, body): (&Parts, &ClientBody),
) -> Response<Body> {
    let marks = Marks::new(client, rules, &parts.headers);
    let mut record = Record::begin(client, rules, site, log, parts, &marks);
    client.clock.start(rules.body_timeout);
    // No body is read here, so that none is too large.
    let checked = check::check(parts, body, None).and_then(|_| read_only(&parts.method));
    let answered = match checked {
        Ok(()) => look(client, rules, place, parts, &mut record).await,
        Err(refusal) => Err(refusal),
    };
    client.clock.start(rules.body_timeout);
    answered.unwrap_or_else(|refusal| {
        record.refused(&refusal, parts);
        answer(&refusal, !body.is_end_stream(), &parts.headers)
    })
}

pub(super) fn read_only(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Refusal::ReadOnly) }
}

async fn look(
    client: &Client,
    rules: &Rules,
    place: Place<'_>,
    parts: &Parts,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let name = Name::of_request(place.rest).ok_or(Refusal::NoFile)?;
    if name.is_folder() && !place.path.ends_with(b"/") {
        return Ok(to_folder(place.path, parts.uri.query(), record));
    }
    match find(place.folder, name, &parts.headers).await? {
        Found::Folder => Ok(to_folder(place.path, parts.uri.query(), record)),
        Found::File(opened) => {
            let headers = file_headers(&opened, place.folder.cache_control.as_ref(), SystemTime::now());
            Ok(Wish { client, rules, parts }.grant(StatusCode::OK, headers, &opened, record))
        }
    }
}

pub(super) async fn find(folder: &Arc<Folder>, name: Name, headers: &HeaderMap) -> Result<Found, Refusal> {
    folder.find(name, headers).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Refusal::NoFile,
        _ => Refusal::File(error),
    })
}

/// A folder is named with a slash at its end, so that what its index names relatively lies in it. The target is
/// written anew, since a path that began with two slashes would lead to another host.
fn to_folder(path: &[u8], query: Option<&str>, record: &mut Record) -> Response<Body> {
    let mut target = Vec::with_capacity(path.len() + 1);
    for &byte in path {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => target.push(byte),
            _ => target.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    target.push(b'/');
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    let location = HeaderValue::from_bytes(&target).expect("a URI is visible ASCII");
    record.answers(StatusCode::MOVED_PERMANENTLY);
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    response(StatusCode::MOVED_PERMANENTLY, headers, whole(Bytes::new(), record))
}

/// To whom a file is sent, and what was asked of it.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) client: &'a Client,
    pub(super) rules: &'a Rules,
    pub(super) parts: &'a Parts,
}

impl Wish<'_> {
    /// Sends what is wished of a file that would be answered with this head. Only a 200 has conditions and parts
    /// (RFC 9110 §13.2.1, §14.2).
    pub(super) fn grant(
        self,
        status: StatusCode,
        mut headers: HeaderMap,
        opened: &Opened,
        record: &mut Record,
    ) -> Response<Body> {
        let Wish { client, rules, parts } = self;
        if status == StatusCode::OK
            && let Some(outcome) = unmet(&parts.headers, validators(&headers))
        {
            return without_body(outcome, headers, record);
        }
        let ranged = match status == StatusCode::OK && parts.method == Method::GET {
            true => range(&parts.headers, validators(&headers), opened.length(), SystemTime::now()),
            false => Ranged::Whole,
        };
        let (said, part) = ranged.describe(opened.length(), &mut headers);
        let status = if status == StatusCode::OK { said } else { status };
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            forget_content(&mut headers);
        }
        record.head_came(tokio::time::Instant::now());
        record.answers(status);
        let body = match parts.method {
            Method::HEAD => whole(Bytes::new(), record),
            _ => {
                let mut reading = Reading::new(opened.file().clone(), part);
                let stretches = client.stretches.clone();
                let few = if stretches.is_some() { FEW_BYTES } else { usize::MAX };
                match reading.at_once(few) {
                    Some(bytes) => whole(bytes, record),
                    None => {
                        let source = FileSource { reading, stretches };
                        match sending::send(client, rules, source, record) {
                            Body::Boxed(body) => Body::File(body),
                            body => body,
                        }
                    }
                }
            }
        };
        response(status, headers, body)
    }
}

/// The answer to a condition that isn't met.
pub(super) fn without_body(outcome: Outcome, mut headers: HeaderMap, record: &mut Record) -> Response<Body> {
    let status = match outcome {
        Outcome::NotModified => StatusCode::NOT_MODIFIED,
        Outcome::Failed => StatusCode::PRECONDITION_FAILED,
    };
    forget_content(&mut headers);
    if outcome == Outcome::Failed {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    record.head_came(tokio::time::Instant::now());
    record.answers(status);
    response(status, headers, whole(Bytes::new(), record))
}

/// What describes a content that isn't sent.
pub(super) fn forget_content(headers: &mut HeaderMap) {
    headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_ENCODING);
}

pub(super) fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
