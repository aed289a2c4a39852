//! The control port: where the application publishes and operators look, in HTTP/1.1 and JSON.
//!
//! It names the engines, hub and pools, and never a shard or an exchange: what the rest of the process does for it
//! (reloading, saying whether it is ready, which pools are in use) comes in through [`Operations`]. A web page must not reach it, so without a token a
//! request that a browser may have been tricked into is refused ([`guard`]).

mod channels;
#[cfg(test)]
pub(crate) mod fuzz;
mod grip_ids;
mod guard;
mod order;
mod pools;
mod presence;
mod publish;
mod publish_grip;
mod reply;
mod revoke;
mod sequencer;
mod serve;
mod sites;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use prometheus::IntCounter;
use tokio::sync::Notify;
use tracing::Instrument as _;

use crate::config::{Role, ServerConfig, Subject};
use crate::hub::{Hub, Outcome, Presence};
use crate::message::ChannelName;
use crate::metrics::Metrics;
use crate::upstream::Pool;

pub use guard::{Entrance, Entrances, Guard};
pub use revoke::Parting;
pub use serve::ControlListener;
pub use sites::SiteInUse;

use guard::{Asked, role_for};
use reply::{Failure, Reply};
use sequencer::Sequencer;

/// A reload on its way: what there is to say about it, or every problem.
pub type Reloading = Pin<Box<dyn Future<Output = Result<String, String>>>>;

/// Connections whose number is on its way.
pub type Counting = Pin<Box<dyn Future<Output = usize>>>;
/// The same, or why it may not last.
pub type Revoking = Pin<Box<dyn Future<Output = Result<usize, String>>>>;
/// Ends connections and their tickets.
pub type Revoke = Box<dyn Fn(Whom, Option<Parting>) -> Revoking>;
/// Counts the connections with a tag.
pub type Count = Box<dyn Fn(String) -> Counting>;

/// Whose connections are meant.
#[derive(Debug, Clone)]
pub enum Whom {
    /// Those with this tag.
    Tag(String),
    /// Those on this channel.
    Channel(ChannelName),
}

/// What the control port may ask of the process.
pub struct Operations {
    /// Reads the configuration again; the text of every problem where it is refused.
    pub reload: Box<dyn Fn() -> Reloading>,
    /// Whether the process takes traffic.
    pub ready: Box<dyn Fn() -> bool>,
    /// Whether a store that several nodes share can't be reached, so that publishes are refused.
    pub degraded: Box<dyn Fn() -> bool>,
    /// The sites in use.
    pub sites: Box<dyn Fn() -> Vec<SiteInUse>>,
    /// Brings gauges that are read from the system up to date.
    pub refresh: Box<dyn Fn()>,
    /// The pools in use now, in the order of their names.
    pub pools: Box<dyn Fn() -> Vec<Arc<Pool>>>,
    /// Ends connections and their tickets; gives the number of connections.
    pub revoke: Revoke,
    /// Counts the connections with a tag.
    pub count: Count,
    /// Has the applications of all clients held by GRIP asked for what these may lack.
    pub recover: Box<dyn Fn()>,
    /// Who is where, if that is watched at all.
    pub presence: Option<Arc<Presence>>,
    /// Does to a thread what a test asks for; false where there is no such thing.
    #[cfg(debug_assertions)]
    pub trouble: Box<dyn Fn(&str) -> bool>,
}

/// Bounds on what publishers may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishLimits {
    /// Bytes of one message.
    pub message: usize,
    /// Messages of one request.
    pub batch: usize,
    /// Bytes of the body of `POST /publish`.
    pub body: usize,
}

/// The control port of a process.
pub struct Control {
    hub: Arc<Hub>,
    metrics: Metrics,
    guard: Guard,
    limits: PublishLimits,
    operations: Operations,
    answered: [IntCounter; 3],
    /// Of publishes, since nothing else is asked for as often.
    accepted: IntCounter,
    recent_ids: RefCell<grip_ids::RecentIds>,
    sequencer: RefCell<Sequencer>,
    /// Rung when something begins to wait there.
    out_of_order: Notify,
}

/// The other end of a connection.
struct Peer {
    /// As the log calls it.
    name: String,
    /// Whose certificate it has shown, where it was asked for one and that has a subject.
    subject: Option<Subject>,
}

/// Bytes of what may be said of a maintenance: some thousand networks.
const MAINTENANCE_BYTES: usize = 64 * 1024;
/// How long the store may take: a disk that takes longer is stuck.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request's body may take: publishers are close by.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

impl Control {
    /// For an address as it is guarded.
    pub fn new(
        hub: Arc<Hub>,
        metrics: Metrics,
        guard: Guard,
        limits: PublishLimits,
        operations: Operations,
    ) -> Control {
        let answered =
            ["2xx", "4xx", "5xx"].map(|class| metrics.control_requests.with_label_values(&[class]));
        let accepted = metrics.comet_publishes.with_label_values(&["accepted"]);
        let (recent_ids, sequencer, out_of_order) = (RefCell::default(), RefCell::default(), Notify::new());
        #[rustfmt::skip]
        let control = Control {
            hub, metrics, guard, limits, operations, answered, accepted, recent_ids, sequencer, out_of_order,
        };
        control
    }

    /// Answers one request.
    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Reply {
        let reply = match self.admit(request, peer).await {
            Ok(reply) => reply,
            Err(failure) => failure.reply(),
        };
        let class = match reply.status().as_u16() {
            ..400 => 0,
            400..500 => 1,
            _ => 2,
        };
        self.answered[class].inc();
        reply
    }

    async fn admit(&self, request: Request<Incoming>, peer: &Peer) -> Result<Reply, Failure> {
        let path = request.uri().path().trim_end_matches('/').to_owned();
        let method = request.method();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        if let ["healthz" | "readyz"] = segments[..] {
            return self.health(segments[0], method);
        }
        let role = role_for(method, &segments);
        let asked = Asked { headers: request.headers(), subject: peer.subject.as_ref() };
        let caller = match segments[..] {
            ["publish"] | ["recover"] => self.guard.check_publisher(asked, SystemTime::now()),
            _ => self.guard.check(asked, role),
        };
        let caller = caller.inspect_err(|failure| self.refused(failure.refusal(), &peer.name))?;
        let changes = role == Role::Admin || segments[..] == ["revoke"];
        if !changes {
            return self.route(&segments, request).await;
        }
        // What is changed is said where it happens, and here by whom.
        let span = tracing::info_span!("control", by = caller.name(), peer = &*peer.name);
        self.route(&segments, request).instrument(span).await
    }

    fn refused(&self, reason: &'static str, peer: &str) {
        self.metrics.control_refused.with_label_values(&[reason]).inc();
        tracing::debug!(peer, reason, "refused at the control port");
    }

    async fn route(&self, segments: &[&str], request: Request<Incoming>) -> Result<Reply, Failure> {
        let whole = request.uri().path();
        // By this name it is called in GRIP.
        let is_grip = whole == "/publish/";
        let method = request.method().clone();
        let read = method == Method::GET || method == Method::HEAD;
        match segments[..] {
            ["metrics"] if read => self.metrics_text(),
            ["metrics"] => Err(Failure::method("GET")),
            ["reload"] if method == Method::POST => self.reload().await,
            ["reload"] => Err(Failure::method("POST")),
            [] | [""] if whole == "/" => Ok(publish_grip::plain(StatusCode::OK, "Perihelion\n")),
            ["publish"] if method == Method::POST => self.publish_batch(request, is_grip).await,
            ["publish"] if is_grip => Err(Failure::plain_method(&method, "POST")),
            ["publish"] => Err(Failure::method("POST")),
            ["recover"] if method == Method::POST => self.recover(request.headers()).await,
            ["recover"] => Err(Failure::plain_method(&method, "POST")),
            #[cfg(debug_assertions)]
            ["debug", "trouble", what] if method == Method::POST => match (self.operations.trouble)(what) {
                true => Ok(reply::json(StatusCode::OK, &serde_json::json!({}))),
                false => Err(Failure::bad("there is no such trouble")),
            },
            ["revoke"] if method == Method::POST => {
                let (head, body) = request.into_parts();
                let body = read_body(body, &head.headers, self.limits.body).await?;
                self.revoke(body).await
            }
            ["revoke"] => Err(Failure::method("POST")),
            ["tags", name] if read => self.tag(name).await,
            ["tags", name, "presence"] if read => self.tag_presence(name),
            ["tags", _] | ["tags", _, "presence"] => Err(Failure::method("GET")),
            ["sites", ..] => self.sites(&method, &segments[1..], request).await,
            ["channels"] if read => channels::list(&self.hub, request.uri().query()),
            ["channels"] => Err(Failure::method("GET")),
            ["channels", name] => self.channel(&method, name, request).await,
            ["channels", name, "messages"] if read => {
                channels::messages(&self.hub, &channel_name(name)?, request.uri().query())
            }
            ["channels", name, "presence"] if read => {
                self.channel_presence(&channel_name(name)?, request.uri().query())
            }
            ["channels", _, "messages" | "presence"] => Err(Failure::method("GET")),
            ["pools"] if read => Ok(pools::list((self.operations.pools)().iter())),
            ["pools"] => Err(Failure::method("GET")),
            ["pools", name] if read => self.pool(name).map(|pool| pools::inspect(&pool)),
            ["pools", _] => Err(Failure::method("GET")),
            ["pools", name, "servers", server] => {
                let (pool, server) = (self.pool(name)?, pools::server(server)?);
                self.pool_server(&pool, &server, &method, request).await
            }
            _ => Err(Failure::new(StatusCode::NOT_FOUND, format!("there is nothing at {whole:?}"))),
        }
    }

    fn pool(&self, name: &str) -> Result<Arc<Pool>, Failure> {
        let pool = (self.operations.pools)().into_iter().find(|pool| pool.name() == name);
        pool.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, format!("there is no pool {name:?}")))
    }

    async fn pool_server(
        &self,
        pool: &Arc<Pool>,
        server: &ServerConfig,
        method: &Method,
        request: Request<Incoming>,
    ) -> Result<Reply, Failure> {
        match *method {
            Method::POST => {
                let (head, body) = request.into_parts();
                let body = read_body(body, &head.headers, pools::CHANGE_MAX).await?;
                pools::change(pool, server, &body)
            }
            Method::PUT => Ok(pools::add(pool, server)),
            Method::DELETE => pools::remove(pool, server),
            _ => Err(Failure::method("POST, PUT, DELETE")),
        }
    }

    async fn channel(
        &self,
        method: &Method,
        name: &str,
        request: Request<Incoming>,
    ) -> Result<Reply, Failure> {
        let name = channel_name(name)?;
        match *method {
            Method::POST => self.publish_one(name, request).await,
            Method::GET | Method::HEAD => channels::inspect(&self.hub, &name),
            Method::DELETE => channels::delete(&self.hub, &name).await,
            _ => Err(Failure::method("GET, POST, DELETE")),
        }
    }

    async fn sites(
        &self,
        method: &Method,
        path: &[&str],
        request: Request<Incoming>,
    ) -> Result<Reply, Failure> {
        let sites = (self.operations.sites)();
        let name = |segment: &str| {
            let bytes = channels::percent_decode(segment).and_then(|bytes| String::from_utf8(bytes).ok());
            bytes.ok_or_else(|| Failure::bad("the site's name is badly encoded"))
        };
        match (method, path) {
            (&Method::GET | &Method::HEAD, []) => Ok(sites::list(&sites)),
            (&Method::GET | &Method::HEAD, [site] | [site, "maintenance"]) => {
                sites::inspect(&sites, &name(site)?)
            }
            (&Method::POST, [site, "maintenance"]) => {
                let (head, body) = request.into_parts();
                let body = read_body(body, &head.headers, MAINTENANCE_BYTES).await?;
                sites::maintain(&sites, &name(site)?, &body)
            }
            (&Method::DELETE, [site, "maintenance"]) => sites::open(&sites, &name(site)?),
            (_, [] | [_]) => Err(Failure::method("GET")),
            (_, [_, "maintenance"]) => Err(Failure::method("GET, POST, DELETE")),
            _ => Err(Failure::new(StatusCode::NOT_FOUND, "a site has nothing there but `maintenance`")),
        }
    }

    async fn publish_one(&self, name: ChannelName, request: Request<Incoming>) -> Result<Reply, Failure> {
        let (head, body) = request.into_parts();
        let result = match read_body(body, &head.headers, self.limits.message).await {
            Ok(data) => publish::one(&self.hub, name, &head.headers, &data).await,
            Err(failure) => Err(failure),
        };
        self.counted(result)
    }

    async fn publish_batch(&self, request: Request<Incoming>, is_grip: bool) -> Result<Reply, Failure> {
        let (head, body) = request.into_parts();
        let result = match read_body(body, &head.headers, self.limits.body).await {
            Ok(text) => publish::batch(self, (&head.headers, is_grip), &text).await,
            Err(failure) => Err(failure),
        };
        self.counted(result)
    }

    /// For publishers whose messages may have been lost on the way here.
    async fn recover(&self, headers: &hyper::HeaderMap) -> Result<Reply, Failure> {
        if publish_grip::Kind::accepted(headers).is_none() {
            return Err(publish_grip::unacceptable());
        }
        tracing::info!("all clients of GRIP are asked for");
        self.publish_waiting().await;
        (self.operations.recover)();
        Ok(publish_grip::answer("Updated", headers))
    }

    fn counted(&self, result: Result<Reply, Failure>) -> Result<Reply, Failure> {
        match &result {
            Ok(_) => self.accepted.inc(),
            Err(failure) => self.metrics.comet_publishes.with_label_values(&[failure.word()]).inc(),
        }
        result
    }

    async fn reload(&self) -> Result<Reply, Failure> {
        tracing::info!("a reload was asked for");
        match (self.operations.reload)().await {
            Ok(said) => {
                Ok(reply::json(StatusCode::OK, &serde_json::json!({ "reloaded": true, "note": said })))
            }
            Err(problems) => Err(Failure::new(StatusCode::BAD_REQUEST, problems)),
        }
    }

    fn metrics_text(&self) -> Result<Reply, Failure> {
        (self.operations.refresh)();
        let text = self.metrics.text();
        let text =
            text.map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(reply::typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into()))
    }

    /// Answered to everyone: probes carry no token, and the answer says nothing else.
    fn health(&self, question: &str, method: &Method) -> Result<Reply, Failure> {
        if method != Method::GET && method != Method::HEAD {
            return Err(Failure::method("GET"));
        }
        if question == "readyz" && !(self.operations.ready)() {
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "draining"));
        }
        // Still 200: everything else is served, and every node of a cluster would be taken out at once.
        let status = match question == "readyz" && (self.operations.degraded)() {
            true => serde_json::json!({ "status": "degraded", "store": "unreachable" }),
            false => serde_json::json!({ "status": "ok" }),
        };
        Ok(reply::json(StatusCode::OK, &status))
    }
}

fn channel_name(segment: &str) -> Result<ChannelName, Failure> {
    let bytes = channels::percent_decode(segment)
        .ok_or_else(|| Failure::bad("the channel's name is badly encoded"))?;
    ChannelName::from_bytes(&bytes).map_err(|error| Failure::bad(error.to_string()))
}

/// What came of something that may have to wait for the store.
async fn settled<T>(outcome: Outcome<T>) -> Result<T, Failure> {
    let Outcome::Waiting(_) = outcome else { return outcome.wait().await.map_err(Failure::refused) };
    match tokio::time::timeout(STORE_TIMEOUT, outcome.wait()).await {
        Ok(result) => result.map_err(Failure::refused),
        Err(_) => {
            let error = "the store takes too long; what was asked for may still happen, once";
            Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, error))
        }
    }
}

/// What of a body that is too large is read away, and for how long.
const PASSED_OVER: u64 = 64 << 20;
const PASSED_OVER_IN: Duration = Duration::from_secs(5);

/// Reads a body away, so that the connection isn't reset under whoever sends it.
async fn pass_over(mut body: Incoming) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if bytes > PASSED_OVER {
                break;
            }
        }
    };
    // What is left then ends with the connection.
    let _ = tokio::time::timeout(PASSED_OVER_IN, reading).await;
}

/// The whole body, within bounds of size and time.
async fn read_body(body: Incoming, headers: &hyper::HeaderMap, limit: usize) -> Result<Bytes, Failure> {
    let coding = headers.get(hyper::header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a body with Content-Encoding is not accepted",
        ));
    }
    let too_large =
        || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body here has at most {limit} bytes"));
    if hyper::body::Body::size_hint(&body).lower() > limit as u64 {
        // Who waits for `100 Continue` sends nothing of it; all others read the answer only when they have sent it.
        if !headers.contains_key(hyper::header::EXPECT) {
            pass_over(body).await;
        }
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::bad("the body broke off")),
        Err(_) => Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}
