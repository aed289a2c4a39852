//! A client for whom the proxy asks an application by itself: a POST with the head of the request that it has made.
//!
//! Cookies, credentials and addresses are those that the application knows, so that it knows who is meant.

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    EXPECT, HeaderName, HeaderValue, PRAGMA, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};

use super::rules::Client;
use crate::clock::Clock;
use crate::hold::Passport;

/// Who is asked for.
pub struct Caller {
    /// The head of its requests.
    parts: Parts,
    passport: Passport,
    secure: bool,
    worker: usize,
}

/// Fields that belong to the request itself: its body, its connection, a WebSocket that it asks for.
const OF_REQUEST: [HeaderName; 15] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    EXPECT,
    PRAGMA,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
const LAST_EVENT_ID: &str = "last-event-id";

impl Caller {
    /// The client that has made this request. `None` where the path is none, which nobody ever configures or says.
    pub fn new(client: &Client, request: &Parts, path: &str) -> Option<Caller> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::POST;
        parts.uri = match request.uri.authority() {
            Some(authority) => {
                let scheme = request.uri.scheme_str().unwrap_or("http");
                Uri::builder()
                    .scheme(scheme)
                    .authority(authority.as_str())
                    .path_and_query(path)
                    .build()
                    .ok()?
            }
            None => path.parse().ok()?,
        };
        parts.headers = request.headers.clone();
        OF_REQUEST.iter().for_each(|name| drop(parts.headers.remove(name)));
        parts.headers.remove(LAST_EVENT_ID);
        let (passport, secure, worker) = (client.passport.clone(), client.secure, client.worker);
        Some(Caller { parts, passport, secure, worker })
    }

    /// The head of its requests.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The client, with a clock for one request.
    pub fn client(&self) -> Client {
        Client::new(self.passport.clone(), self.secure, Clock::default(), self.worker, None)
    }

    /// What the body of its next request is.
    pub fn describe(&mut self, media_type: HeaderValue) {
        self.parts.headers.insert(CONTENT_TYPE, media_type);
    }
}
