//! `routes` of a site: paths, and what answers them.

use std::path::PathBuf;

use super::bayeux::{BAYEUX, BayeuxConfig};
use super::draft::{ActionDraft, BodyLimit, FilesDraft, RouteDraft};
use super::edge::{COMPRESS, EdgeConfig, HEADERS};
use super::form;
use super::jsonp::{JSONP, jsonp};
use super::redirect::{REDIRECT, RedirectConfig, redirect};
use super::route_grip::{ROUTE_GRIP, RouteGrip, route_grip};
use super::script::{SCRIPT, ScriptConfig};
use super::section::{Key, Section, Value};
use super::tree::Content;

/// What a site without `routes` serves from its pool.
pub(super) const ROUTE_PATH: &str = "/";
/// What every server calls the page of a folder.
const INDEX: &str = "index.html";

/// One route of a site.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// Path prefix; begins with a slash.
    pub path: String,
    /// What answers it.
    pub action: Action,
    /// Whether only an application's answer leads here, and no request of a client.
    pub internal: bool,
    /// What holds for its requests whatever answers them, that of the site included.
    pub edge: EdgeConfig,
    /// Which bodies may wait in the proxy.
    pub buffer: Buffer,
    /// Bytes of a request's body; `None` is `off`.
    pub request_body: Option<u64>,
    /// How WebSockets reach the application.
    pub websockets: Websockets,
    /// The pool that WebSockets reach where it isn't that of `action`, which is a pool then.
    pub websocket_pool: Option<String>,
    /// Whether clients are told what is wrong with the application.
    pub debug: bool,
    /// What takes the place of `path` in requests to the application.
    pub upstream_path: Option<String>,
    /// What stands before the names of the channels that the application puts its clients on.
    pub channel_prefix: Option<String>,
    /// How GRIP is understood there; `None` is `off`.
    pub grip: Option<RouteGrip>,
}

/// How WebSockets reach the application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Websockets {
    /// As they are.
    #[default]
    Through,
    /// As they are, and publishers reach their clients where the application agrees to GRIP's extension.
    Grip,
    /// As requests of GRIP's WebSocket-over-HTTP.
    OverHttp,
}

/// What answers the requests of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The pool of this name, which exists in [`super::Config::pools`].
    Pool(String),
    /// Files.
    Files(FilesConfig),
    /// Another address.
    Redirect(RedirectConfig),
    /// Bayeux, answered by the proxy itself.
    Bayeux(BayeuxConfig),
    /// The client for browsers.
    Script(ScriptConfig),
}

/// A folder of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// The folder, which existed when the file was checked.
    pub root: PathBuf,
    /// Names of the files that stand for a folder; none is `off` in the file.
    pub index: Vec<String>,
    /// What every file says in `Cache-Control`.
    pub cache_control: Option<String>,
}

/// Which bodies the proxy takes in, so that the application needn't wait for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// A request's, before it is sent to the application.
    pub request: bool,
    /// An answer's, while the client is slower than the application.
    pub response: bool,
}

impl Default for Buffer {
    /// A worker of the application is the scarce thing: it waits for no client, in neither direction.
    fn default() -> Self {
        Buffer { request: true, response: true }
    }
}

pub(super) static ROUTE: Section<RouteDraft> = Section {
    short: None,
    required: &[("path", form::PATH.expected)],
    keys: &[
        Key::new("path", |route, value| route.path = value.placed(&form::PATH)),
        Key::new("pool", |route, value| {
            let place = value.node.place;
            let action = value.read(&form::POOL).map(Action::Pool);
            route.actions.push(ActionDraft { key: "pool", place, action });
        }),
        Key::section("files", ".", &FILES, |route, value| route.actions.push(files(value))),
        Key::new("internal", |route, value| value.put(&mut route.internal, &form::YES_OR_NO)),
        Key::new("buffer", |route, value| buffer(&mut route.buffer, value)),
        Key::new("request_body", |route, value| {
            route.request_body = value.read(&form::SIZE_OR_OFF).map(BodyLimit);
        }),
        Key::<RouteDraft>::new("websockets", |route, value| {
            value.put(&mut route.websockets, &form::WEBSOCKETS)
        })
        .or("websocket"),
        Key::new("websocket_pool", |route, value| route.websocket_pool = value.placed(&form::POOL)),
        Key::new("upstream_path", |route, value| route.upstream_path = value.read(&form::PATH)),
        Key::new("channel_prefix", |route, value| route.channel_prefix = value.read(&form::NAME)),
        Key::section("grip", ".", &ROUTE_GRIP, |route, value| route_grip(&mut route.grip, value)),
        Key::new("debug", |route, value| value.put(&mut route.debug, &form::YES_OR_NO)),
        Key::new("cross_origin", |route, value| value.put(&mut route.edge.cross_origin, &form::YES_OR_NO)),
        Key::section("jsonp", ".", &JSONP, |route, value| route.edge.jsonp = jsonp(value)),
        Key::section("redirect", ".", &REDIRECT, |route, value| {
            let place = value.node.place;
            let action = redirect(value).map(Action::Redirect);
            route.actions.push(ActionDraft { key: "redirect", place, action });
        }),
        Key::section("bayeux", ".", &BAYEUX, |route, value| {
            let place = value.node.place;
            let mut bayeux = BayeuxConfig::default();
            BAYEUX.fill(&mut bayeux, value);
            route.actions.push(ActionDraft { key: "bayeux", place, action: Some(Action::Bayeux(bayeux)) });
        }),
        Key::section("script", ".", &SCRIPT, |route, value| {
            let place = value.node.place;
            let mut script = ScriptConfig::default();
            SCRIPT.fill(&mut script, value);
            route.actions.push(ActionDraft { key: "script", place, action: Some(Action::Script(script)) });
        }),
        Key::new("allow", |route, value| route.edge.allow(value)),
        Key::new("deny", |route, value| route.edge.deny(value)),
        Key::section("headers", ".", &HEADERS, |route, value| route.edge.headers(value)),
        Key::new("errors", |route, value| route.edge.errors(value)),
        Key::section("compress", ".", &COMPRESS, |route, value| route.edge.compress(value)),
    ],
};

static FILES: Section<FilesDraft> = Section {
    short: Some("the path of a folder"),
    required: &[("root", form::FOLDER.expected)],
    keys: &[
        Key::new("root", |files, value| files.root = value.placed(&form::FOLDER)),
        Key::new("index", |files, value| index(&mut files.index, value)),
        Key::new("cache_control", |files, value| files.cache_control = value.read(&form::FIELD)),
    ],
};

pub(super) fn routes(value: Value<'_>) -> Vec<RouteDraft> {
    let mut routes = Vec::new();
    value.each_of_some(|item| {
        let place = item.is_map().then_some(item.node.place);
        let mut route = RouteDraft { place, ..RouteDraft::default() };
        ROUTE.fill(&mut route, item);
        routes.push(route);
    });
    routes
}

/// A folder of files, or nothing but its path. The place is that of the path.
fn files(value: Value<'_>) -> ActionDraft {
    let mut place = value.node.place;
    let index = vec![INDEX.to_owned()];
    let mut files = FilesDraft { root: None, index, cache_control: None };
    match value.is_text() {
        true => files.root = value.placed(&form::FOLDER),
        false => FILES.fill(&mut files, value),
    }
    let FilesDraft { root, index, cache_control } = files;
    let action = root.map(|root| {
        place = root.place;
        Action::Files(FilesConfig { root: root.value, index, cache_control })
    });
    ActionDraft { key: "files", place, action }
}

/// One name or several, or `off`.
fn index(names: &mut Vec<String>, value: Value<'_>) {
    names.clear();
    if !matches!(&value.node.content, Content::Text(text) if text == form::OFF) {
        value.each_of_some(|item| names.extend(item.read(&form::INDEX)));
    }
}

/// All that are named.
fn buffer(buffer: &mut Buffer, value: Value<'_>) {
    *buffer = Buffer { request: false, response: false };
    value.each_of_some(|item| {
        if let Some(Buffer { request, response }) = item.read(&form::BUFFER) {
            buffer.request |= request;
            buffer.response |= response;
        }
    });
}
