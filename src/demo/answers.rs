//! What the example application answers to each request.
//!
//! Two of its answers are not for the client alone: `/events` and `/poll` carry X-Comet headers, by which the
//! proxy takes the client's connection over. That is all the Comet there is in the application.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::response::Builder;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot};

use super::gallery;
use super::input::{self, BODY_BYTES_MAX, BadInput};
use super::pages;
use super::publisher::{Parcel, PublishError, Receipt, publish};
use super::talk::{Event, SLIDES, Snapshot, Talk, Wish};

/// A body is a line of chat; who takes longer is not typing.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Nothing from elsewhere, no script in the page itself.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// The gallery's windows are open by other names of this host, too.
const GALLERY_POLICY: &str = "default-src 'self'; connect-src 'self' http://*.localhost:*; \
    script-src 'self' http://*.localhost:*; img-src 'self' http://*.localhost:*; \
    frame-src 'self' http://*.localhost:*; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const GALLERY: &str = include_str!("page/gallery.html");
const PAGE: &str = include_str!("page/index.html");
/// Where the page's state goes in [`PAGE`].
const STATE_MARK: &str = "{{state}}";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// The answer to any request.
pub(super) type Answer = Response<Full<Bytes>>;

/// A wish on its way to the control port, and where its outcome goes.
#[derive(Debug)]
pub(super) struct Order {
    /// What is to happen.
    pub(super) wish: Wish,
    /// Hears what became of it.
    pub(super) reply: oneshot::Sender<Result<(Event, Receipt), PublishError>>,
}

/// Answers requests from the state of the talk.
#[derive(Debug)]
pub(super) struct Answers {
    talk: Rc<RefCell<Talk>>,
    orders: mpsc::Sender<Order>,
    /// Shown on the page.
    addresses: Addresses,
    /// Wakes the painter of the live picture.
    looked_at: Rc<Notify>,
}

/// Who is where: on the page, for those who want to try it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Addresses {
    /// The application itself.
    pub(super) upstream: SocketAddr,
    /// The control port.
    pub(super) control: SocketAddr,
}

/// What the page begins with.
#[derive(Serialize)]
struct State<'a> {
    #[serde(flatten)]
    talk: Snapshot<'a>,
    /// The moment of the request; the stream goes on from there.
    position: Option<&'a str>,
    #[serde(flatten)]
    addresses: Addresses,
    /// Whether a proxy stands in front that can hold connections.
    proxied: bool,
}

impl Answers {
    /// Answers from `talk`, hands wishes to `orders`.
    pub(super) fn new(
        talk: Rc<RefCell<Talk>>,
        orders: mpsc::Sender<Order>,
        addresses: Addresses,
        looked_at: Rc<Notify>,
    ) -> Answers {
        Answers { talk, orders, addresses, looked_at }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.route(request).await.unwrap_or_else(|refused| refused.answer())
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Answer, Refused> {
        let (head, body) = request.into_parts();
        let expected = match head.uri.path() {
            "/chat" | "/slide" | "/gallery/say" => Method::POST,
            _ => Method::GET,
        };
        // hyper leaves the body of an answer to HEAD away by itself.
        if head.method != expected && !(head.method == Method::HEAD && expected == Method::GET) {
            return Err(Refused::Method(expected));
        }
        match head.uri.path() {
            "/" => Ok(self.page(&head.headers)),
            "/state" => Ok(json(StatusCode::OK, self.state(&head.headers))),
            "/events" => self.events(&head.headers),
            "/poll" => self.poll(&head.headers),
            "/chat" => self.carry_out(&head.headers, body, input::chat).await,
            "/slide" => self.carry_out(&head.headers, body, input::slide).await,
            "/gallery" => {
                let head = self::head(StatusCode::OK, HTML).header(CONTENT_SECURITY_POLICY, GALLERY_POLICY);
                Ok(finish(head, GALLERY.replace("{{control}}", &self.addresses.control.to_string())))
            }
            "/slideshow" => {
                let position = value(&head.headers, "x-comet-position").unwrap_or_default();
                Ok(pages::slideshow(self.talk.borrow().slide(), position))
            }
            "/slides" => self.turns(&head.headers),
            "/bayeux" => Ok(pages::bayeux(self.addresses)),
            "/gallery/say" => self.say(&head.headers, body).await,
            path => match path.strip_prefix("/gallery/") {
                Some(name) => self.window(name, &head.headers, head.uri.query()),
                None => pages::asset(path).ok_or(Refused::NotFound),
            },
        }
    }

    fn page(&self, headers: &HeaderMap) -> Answer {
        // The only way out of a script element is a tag, which can't begin without this character.
        let state = self.state(headers).replace('<', "\\u003c");
        let head = head(StatusCode::OK, HTML).header(CONTENT_SECURITY_POLICY, POLICY);
        finish(head, PAGE.replacen(STATE_MARK, &state, 1))
    }

    fn state(&self, headers: &HeaderMap) -> String {
        let talk = self.talk.borrow();
        text_of(&State {
            talk: talk.snapshot(),
            position: value(headers, "x-comet-position"),
            addresses: self.addresses,
            proxied: is_proxied(headers),
        })
    }

    /// The stream. Its beginning has no `id:`: the client's place is that of the last event it got, and what it
    /// missed comes after this.
    fn events(&self, headers: &HeaderMap) -> Result<Answer, Refused> {
        if !is_proxied(headers) {
            return Err(Refused::NoProxy);
        }
        let talk = self.talk.borrow();
        let hello = serde_json::json!({ "newest": talk.newest(), "slide": talk.slide(), "slides": SLIDES });
        let head = head(StatusCode::OK, "text/event-stream")
            .header("X-Comet-Subscribe", "chat, slides")
            .header("X-Comet-Transport", "sse")
            .header("X-Comet-Keepalive", "15")
            .header("X-Comet-Retry", "1000");
        Ok(finish(head, format!("event: hello\ndata: {hello}\n\n")))
    }

    /// The slides alone, over whatever transport the client can do.
    fn turns(&self, headers: &HeaderMap) -> Result<Answer, Refused> {
        if !is_proxied(headers) {
            return Err(Refused::NoProxy);
        }
        let position = value(headers, "x-comet-position");
        let quiet = serde_json::json!({ "position": position, "gap": false, "messages": [] });
        // Only a poll can end with it: what asks for a stream gets nothing but messages.
        let polls = value(headers, "accept").is_some_and(|accept| accept.starts_with(JSON));
        let head =
            head(StatusCode::OK, JSON).header("X-Comet-Subscribe", "slides").header("X-Comet-Retry", "1000");
        Ok(finish(head, if polls { quiet.to_string() } else { String::new() }))
    }

    /// One answer with what is said next, or this one after 25 seconds in which nobody said anything.
    fn poll(&self, headers: &HeaderMap) -> Result<Answer, Refused> {
        if !is_proxied(headers) {
            return Err(Refused::NoProxy);
        }
        let position = value(headers, "x-comet-position");
        let quiet = serde_json::json!({ "position": position, "gap": false, "messages": [] });
        let head = head(StatusCode::OK, JSON)
            .header("X-Comet-Subscribe", "chat")
            .header("X-Comet-Transport", "long-poll")
            .header("X-Comet-Timeout", "25");
        Ok(finish(head, format!("{quiet}\n")))
    }

    /// One transport of the gallery.
    fn window(&self, name: &str, headers: &HeaderMap, query: Option<&str>) -> Result<Answer, Refused> {
        if !is_proxied(headers) {
            return Err(Refused::NoProxy);
        }
        let (head, body) = gallery::window(name, headers, query).ok_or(Refused::NotFound)?;
        if name == "multipart" {
            self.looked_at.notify_one();
        }
        let quiet = || {
            let position = value(headers, "x-comet-position");
            serde_json::json!({ "position": position, "gap": false, "messages": [] }).to_string()
        };
        Ok(finish(head, if name == "long-poll" { quiet() } else { body.to_owned() }))
    }

    /// A line of the gallery's chat, for everybody in every transport.
    async fn say(&self, headers: &HeaderMap, body: Incoming) -> Result<Answer, Refused> {
        if !is_own_page(headers) {
            return Err(Refused::Stranger);
        }
        let content_type = value(headers, "content-type").unwrap_or_default();
        let (name, text) = input::line(content_type, &whole(body).await?)?;
        let receipt = publish(self.addresses.control, &Parcel::line(&name, &text)).await?;
        Ok(json(StatusCode::OK, serde_json::json!({ "subscribers": receipt.subscribers }).to_string()))
    }

    async fn carry_out(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        read: fn(&str, &[u8]) -> Result<Wish, BadInput>,
    ) -> Result<Answer, Refused> {
        if !is_own_page(headers) {
            return Err(Refused::Stranger);
        }
        let wish = read(value(headers, "content-type").unwrap_or_default(), &whole(body).await?)?;
        let (reply, outcome) = oneshot::channel();
        self.orders.try_send(Order { wish, reply }).map_err(|_| Refused::Busy)?;
        let (event, receipt) = outcome.await.map_err(|_| Refused::Busy)??;
        let done = serde_json::json!({ "number": event.number, "subscribers": receipt.subscribers });
        Ok(json(StatusCode::OK, done.to_string()))
    }
}

/// Why a request gets no answer of its own.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is nothing here")]
    NotFound,
    #[error("this takes {0} only")]
    Method(Method),
    #[error(
        "nobody holds connections here: open the proxy's address instead, the one that was printed first"
    )]
    NoProxy,
    #[error("another site's page may not speak here")]
    Stranger,
    #[error("the body did not come in time")]
    TooSlow,
    #[error("the body was cut off")]
    CutOff,
    #[error("the body has more than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Input(#[from] BadInput),
    #[error("too many people at once: try again")]
    Busy,
    #[error("not published: {0}")]
    Publish(#[from] PublishError),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Refused::NotFound => StatusCode::NOT_FOUND,
            Refused::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refused::Stranger => StatusCode::FORBIDDEN,
            Refused::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::Input(BadInput::UnknownType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::Input(_) | Refused::CutOff => StatusCode::BAD_REQUEST,
            Refused::NoProxy | Refused::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Publish(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn answer(&self) -> Answer {
        let head = head(self.status(), JSON);
        let head = match self {
            Refused::Method(allowed) => head.header(ALLOW, allowed.as_str()),
            Refused::Busy => head.header(RETRY_AFTER, "1"),
            _ => head,
        };
        finish(head, format!("{}\n", serde_json::json!({ "error": self.to_string() })))
    }
}

fn json(status: StatusCode, text: String) -> Answer {
    finish(head(status, JSON), format!("{text}\n"))
}

pub(super) fn head(status: StatusCode, content_type: &str) -> Builder {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-store")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
}

pub(super) fn finish(head: Builder, body: impl Into<Bytes>) -> Answer {
    head.body(Full::new(body.into())).expect("every header of this application is a constant")
}

fn text_of(state: &State<'_>) -> String {
    serde_json::to_string(state).expect("the state has strings, numbers and lists only")
}

async fn whole(body: Incoming) -> Result<Bytes, Refused> {
    let collected = Limited::new(body, BODY_BYTES_MAX).collect();
    let collected = tokio::time::timeout(BODY_TIMEOUT, collected).await.map_err(|_| Refused::TooSlow)?;
    match collected {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refused::TooLarge),
        Err(_) => Err(Refused::CutOff),
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_proxied(headers: &HeaderMap) -> bool {
    headers.contains_key("x-comet-proxy")
}

/// A browser names the site whose page speaks; other programs name none.
fn is_own_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let host = value(headers, HOST.as_str()).unwrap_or_default();
    let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    site.is_some_and(|(_, site)| site.eq_ignore_ascii_case(host))
}
