//! Heads across the proxy, written anew in both directions (RFC 9110 §7.6.1); pure.
//!
//! To the application go the client's fields except those of the connection, those that only a proxy may set,
//! and everything that could be taken for an instruction. To the client go the application's except those of
//! the connection and its instructions.

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONNECTION,
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, ETAG, EXPECT, EXPIRES, FORWARDED, HOST,
    HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION, ORIGIN, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, REFERER, SERVER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    VARY,
};

use super::chain::{element, extend};
use super::check::{Asked, Framing, tokens};
use super::marks::{self, Marks, TRACE_STATE};
use super::returning;
use crate::config::Edit;
use crate::hold;
use crate::upstream::Fields;

pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the proxy calls itself to applications.
const PROXY: &str = concat!("perihelion/", env!("CARGO_PKG_VERSION"));

/// The client's certificate (RFC 9440 §2.2).
const CLIENT_CERT: &str = "client-cert";

/// Fields that the proxy adds: forwarded ×3, marks ×3, comet ×2, certificate, framing, connection, upgrade.
const ADDED: usize = 12;

/// What is known of the client's connection.
pub(super) struct Sender<'a> {
    /// Address of the peer.
    pub(super) address: &'a HeaderValue,
    pub(super) secure: bool,
    /// The certificate that it has shown (RFC 9440).
    pub(super) certificate: Option<&'a HeaderValue>,
    /// Whether it is a proxy of ours.
    pub(super) trusted: bool,
    /// Whether what it says in GRIP is for the application.
    pub(super) passes_grip: bool,
    /// Whether the application may hand on to files.
    pub(super) takes_files: bool,
    /// What its request is called.
    pub(super) marks: &'a Marks,
}

/// The fields of a request as the application gets them.
pub(super) fn to_upstream<'a>(
    client: &'a HeaderMap,
    asked: &Asked,
    sender: &Sender<'a>,
    position: &'a HeaderValue,
) -> Fields<'a> {
    let mut fields = Fields::with_capacity(client.len() + ADDED);
    let nominated = nominated(client);
    let (mut host, mut cookies, mut has_ticket) = (None, 0, false);
    for (name, value) in client {
        match *name {
            HOST => host = Some(value),
            COOKIE => {
                cookies += 1;
                has_ticket |= returning::has_ticket(value.as_bytes());
            }
            _ => {}
        }
        if passes(name, sender) && !nominated.contains(name) {
            fields.add(name.as_str(), value.as_bytes());
        }
    }
    if cookies > 1 {
        join_cookies(&mut fields);
    }
    if has_ticket {
        drop_ticket(&mut fields);
    }
    add_forwarded(&mut fields, host, sender);
    add_marks(&mut fields, client, sender.marks);
    if let Some(certificate) = sender.certificate {
        fields.add(CLIENT_CERT, certificate.as_bytes());
    }
    if sender.takes_files {
        fields.add("x-proxy-capabilities", &b"reproxy-file"[..]);
    }
    add_framing(&mut fields, asked);
    fields.add("x-comet-proxy", PROXY.as_bytes());
    fields.add("x-comet-position", position.as_bytes());
    fields
}

/// Whether a client's field may reach the application.
fn passes(name: &HeaderName, sender: &Sender<'_>) -> bool {
    match *name {
        // What browsers send, so that it isn't looked at any closer.
        HOST | USER_AGENT | ACCEPT | ACCEPT_ENCODING | ACCEPT_LANGUAGE | COOKIE | REFERER | ORIGIN => true,
        CONNECTION | TRANSFER_ENCODING | CONTENT_LENGTH | TE | TRAILER | UPGRADE | EXPECT
        | PROXY_AUTHORIZATION | PROXY_AUTHENTICATE => false,
        FORWARDED => sender.trusted,
        _ => passes_by_name(name.as_str(), sender),
    }
}

fn passes_by_name(name: &str, sender: &Sender<'_>) -> bool {
    let trusted = sender.trusted;
    match name.as_bytes()[0] {
        b'x' if name.starts_with("x-forwarded-") => trusted,
        b'x' if name == "x-real-ip" => trusted,
        // Ours are added, which may be what a trusted proxy said.
        b'x' if name == "x-request-id" || name == "x-request-start" => false,
        // Belongs to a trace, which may not be followed.
        b't' if name == "tracestate" => false,
        // A ticket is between the client and us.
        b'c' if name == returning::FIELD => false,
        // Only what was verified here may say who the client is (RFC 9440 §2.4).
        b'c' if name == CLIENT_CERT || name == "client-cert-chain" => false,
        b'k' if name == "keep-alive" => false,
        b'p' if name == "proxy-connection" => false,
        b'h' if name == "http2-settings" => false,
        // CGI can't tell an underscore from a hyphen, so that such a name could pose as any other.
        _ => {
            memchr::memchr(b'_', name.as_bytes()).is_none()
                && (!is_instruction(name) || sender.passes_grip && is_field_of_grip(name))
        }
    }
}

/// Whether a field could be taken for an instruction, by us or by any other proxy.
fn is_instruction(name: &str) -> bool {
    const PREFIXES: [&str; 6] =
        ["x-reproxy-", "x-accel-", "x-sendfile", "x-proxy-capabilities", "x-cometd", "grip-"];
    hold::is_instruction(name)
        || matches!(name.as_bytes()[0], b'x' | b'g') && PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_field_of_grip(name: &str) -> bool {
    name.starts_with("grip-")
}

/// Fields that `Connection` names besides its own words, except those that nobody may take away.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut nominated = Vec::new();
    for (name, value) in headers {
        if *name == CONNECTION && !is_own_word(value.as_bytes()) {
            let names = tokens(value.as_bytes()).filter(|token| !is_own_word(token));
            let names = names.filter_map(|token| HeaderName::from_bytes(token).ok());
            nominated.extend(names.filter(|name| !is_protected(name)));
        }
    }
    nominated
}

fn is_own_word(token: &[u8]) -> bool {
    let words: [&[u8]; 4] = [b"keep-alive", b"close", b"upgrade", b"te"];
    words.iter().any(|word| token.eq_ignore_ascii_case(word))
}

fn is_protected(name: &HeaderName) -> bool {
    let fixed = [
        HOST,
        COOKIE,
        SET_COOKIE,
        AUTHORIZATION,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CACHE_CONTROL,
        DATE,
        FORWARDED,
    ];
    fixed.contains(name) || name.as_str().starts_with("x-forwarded-") || is_instruction(name.as_str())
}

/// Makes the configured edits, in their order.
pub(super) fn edit<'a>(fields: &mut Fields<'a>, edits: &'a [Edit]) {
    for edit in edits {
        match edit {
            Edit::Remove(name) => fields.remove(name.as_str()),
            Edit::Set(name, value) => fields.set(name.as_str(), value.as_bytes()),
            Edit::Add(name, value) => fields.add(name.as_str(), value.as_bytes()),
        }
    }
}

/// HTTP/2 splits cookies; HTTP/1 has one field for them (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut Fields<'_>) {
    let joined = fields.all("cookie").collect::<Vec<_>>().join(&b"; "[..]);
    fields.set("cookie", joined);
}

/// A ticket is between the client and us.
fn drop_ticket(fields: &mut Fields<'_>) {
    let rest = fields.all("cookie").next().map(returning::without_ticket).unwrap_or_default();
    match rest.is_empty() {
        true => fields.remove("cookie"),
        false => fields.set("cookie", rest),
    }
}

fn add_forwarded<'a>(fields: &mut Fields<'a>, host: Option<&'a HeaderValue>, sender: &Sender<'a>) {
    if sender.trusted {
        extend(fields, "x-forwarded-for", sender.address.as_bytes());
        if fields.has("forwarded") {
            extend(fields, "forwarded", element(sender.address, sender.secure).as_bytes());
        }
    } else {
        fields.add("x-forwarded-for", sender.address.as_bytes());
    }
    // Nobody else's have passed.
    let is_said = |fields: &Fields<'_>, name| sender.trusted && fields.has(name);
    if !is_said(fields, "x-forwarded-proto") {
        fields.add("x-forwarded-proto", if sender.secure { &b"https"[..] } else { b"http" });
    }
    match host {
        Some(host) if !is_said(fields, "x-forwarded-host") => {
            fields.add("x-forwarded-host", host.as_bytes());
        }
        Some(_) => {}
        // Only HTTP/1.0 may leave it out, and the application is spoken to in HTTP/1.1 (RFC 9112 §3.2).
        None => fields.add("host", &b""[..]),
    }
}

/// Id and time are ours or a trusted proxy's; a trace is the client's where it can be followed.
fn add_marks<'a>(fields: &mut Fields<'a>, client: &'a HeaderMap, marks: &'a Marks) {
    fields.add("x-request-id", marks.id());
    fields.add("x-request-start", marks.start());
    match trace_of(fields) {
        Trace::None => fields.add("traceparent", marks.trace()),
        Trace::Broken => fields.set("traceparent", marks.trace()),
        Trace::Said => {
            for state in client.get_all(TRACE_STATE) {
                fields.add("tracestate", state.as_bytes());
            }
        }
    }
}

/// What a client says of a trace.
enum Trace {
    None,
    Said,
    Broken,
}

fn trace_of(fields: &Fields<'_>) -> Trace {
    let mut traces = fields.all("traceparent");
    match (traces.next(), traces.next()) {
        (None, _) => Trace::None,
        (Some(said), None) if marks::is_trace_parent(said) => Trace::Said,
        _ => Trace::Broken,
    }
}

fn add_framing(fields: &mut Fields<'_>, asked: &Asked) {
    match asked.framing {
        Framing::Absent => {}
        Framing::Length(length) => fields.set("content-length", length.to_string().into_bytes()),
        Framing::Chunked => fields.set("transfer-encoding", &b"chunked"[..]),
    }
    if asked.websocket {
        fields.set("connection", &b"upgrade"[..]);
        fields.set("upgrade", &b"websocket"[..]);
    } else if asked.trailers {
        fields.set("connection", &b"te"[..]);
        fields.set("te", &b"trailers"[..]);
    }
}

/// Whether an answer has none but the fields that most have: nothing to obey, and nothing that stays behind but
/// `Connection`.
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    headers.keys_len() == headers.len()
        && headers.iter().all(|(name, value)| match *name {
            ACCEPT_RANGES | CACHE_CONTROL | CONTENT_ENCODING | CONTENT_LENGTH | DATE | ETAG | EXPIRES
            | LAST_MODIFIED | LOCATION | SERVER | SET_COOKIE | VARY => true,
            // May be of GRIP.
            CONTENT_TYPE => !is_of_grip(value.as_bytes()),
            CONNECTION => is_own_word(value.as_bytes()),
            _ => false,
        })
}

/// Whether a type could be `application/grip-instruct`.
fn is_of_grip(kind: &[u8]) -> bool {
    const START: &[u8] = b"application/grip";
    kind.get(..START.len()).is_some_and(|start| start.eq_ignore_ascii_case(START))
}

/// Turns the head of an answer into the client's: in place and in one pass, since most answers lose a field or two.
pub(super) fn to_client(headers: &mut HeaderMap, trailers: bool) {
    rid(headers, trailers, is_instruction);
}

/// The same where what an application says in GRIP isn't for us.
pub(super) fn to_client_with_grip(headers: &mut HeaderMap, trailers: bool) {
    rid(headers, trailers, |name| is_instruction(name) && !is_field_of_grip(name));
}

/// Takes away what is of the connection, and what stays here.
fn rid(headers: &mut HeaderMap, trailers: bool, stays: impl Fn(&str) -> bool) {
    let mut dropped = nominated(headers);
    let (mut connections, mut lengths, mut dates) = (0, 0, 0);
    for (name, _) in &*headers {
        match *name {
            CONNECTION => connections += 1,
            CONTENT_LENGTH => lengths += 1,
            DATE => dates += 1,
            CONTENT_TYPE | SERVER => {}
            _ if is_of_connection(name, trailers) || stays(name.as_str()) => {
                dropped.push(name.clone());
            }
            _ => {}
        }
    }
    if connections > 0 {
        headers.remove(CONNECTION);
    }
    for name in dropped {
        headers.remove(name);
    }
    for (name, count) in [(CONTENT_LENGTH, lengths), (DATE, dates)] {
        if count > 1 {
            keep_first(headers, name);
        }
    }
}

fn is_of_connection(name: &HeaderName, trailers: bool) -> bool {
    match *name {
        TRANSFER_ENCODING | UPGRADE | TE | PROXY_AUTHENTICATE | PROXY_AUTHORIZATION => true,
        TRAILER => !trailers,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    }
}

fn keep_first(headers: &mut HeaderMap, name: HeaderName) {
    if let Some(first) = headers.get(&name).cloned() {
        headers.insert(name, first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Asked = Asked {
        keep_alive: true,
        websocket: false,
        trailers: false,
        replayable: true,
        holdable: true,
        framing: Framing::Absent,
    };

    fn map(text: &str) -> HeaderMap {
        let fields = text.lines().filter_map(|line| line.trim().split_once(": "));
        let pair = |(name, value): (&str, &str)| {
            (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn text(headers: &HeaderMap) -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    fn forwarded(client: &str, asked: Asked, trusted: bool) -> Vec<String> {
        let (mut all, marks) = marked(client, asked, trusted);
        all.retain(|field| !marks.contains(field));
        let ours =
            [concat!("x-comet-proxy: perihelion/", env!("CARGO_PKG_VERSION")), "x-comet-position: e-5"];
        assert_eq!(all.split_off(all.len() - 2), ours);
        all
    }

    /// Every field, and those that the request would be marked with if its client said nothing.
    fn marked(client: &str, asked: Asked, trusted: bool) -> (Vec<String>, [String; 3]) {
        let address = HeaderValue::from_static("192.0.2.7");
        let client = map(client);
        let marks = Marks::at(std::time::SystemTime::now(), &client, trusted);
        let sender = Sender {
            address: &address,
            secure: true,
            certificate: None,
            trusted,
            passes_grip: false,
            takes_files: false,
            marks: &marks,
        };
        let position = HeaderValue::from_static("e-5");
        let all = to_upstream(&client, &asked, &sender, &position);
        let all =
            all.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect();
        let pair = |name: &str, value: &[u8]| format!("{name}: {}", String::from_utf8_lossy(value));
        let pairs = [
            pair("x-request-id", marks.id()),
            pair("x-request-start", marks.start()),
            pair("traceparent", marks.trace()),
        ];
        (all, pairs)
    }

    #[test]
    fn a_request_is_marked_by_us_or_by_a_trusted_proxy_and_a_trace_goes_on() {
        const TRACE: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let said = format!(
            "host: a\nx-request-id: mine\nx-request-start: t=1\n{TRACE}\ntracestate: a=1\ntracestate: b=2"
        );
        for trusted in [false, true] {
            let (all, [id, start, trace]) = marked(&said, PLAIN, trusted);
            assert_eq!(id == "x-request-id: mine" && start == "x-request-start: t=1", trusted);
            for field in [&*id, &start, TRACE, "tracestate: a=1", "tracestate: b=2"] {
                assert_eq!(all.iter().filter(|said| *said == field).count(), 1, "{field} in {all:?}");
            }
            assert!(!all.contains(&trace));
        }
        for broken in [
            "traceparent: x\ntracestate: a=1",
            &format!("{TRACE}\n{TRACE}\ntracestate: a=1"),
            "tracestate: a=1",
        ] {
            let (all, [.., trace]) = marked(broken, PLAIN, false);
            assert_eq!(
                all.iter().filter(|field| field.starts_with("trace")).collect::<Vec<_>>(),
                [&trace],
                "{broken}"
            );
        }
    }

    #[test]
    fn what_belongs_to_the_connection_stays_behind() {
        let client = "host: a\nconnection: keep-alive, X-Secret, Host, cookie, x-forwarded-for
            keep-alive: 5\nproxy-connection: x\nte: gzip\ntrailer: x\nupgrade: h2c\nhttp2-settings: x
            proxy-authorization: x\nexpect: 100-continue\nx-secret: 1\ncookie: c\naccept: */*";
        let expected = ["host: a", "cookie: c", "accept: */*", "x-forwarded-for: 192.0.2.7"];
        let all = forwarded(client, PLAIN, false);
        assert_eq!(all[..4], expected);
        assert_eq!(all[4..], ["x-forwarded-proto: https", "x-forwarded-host: a"]);
    }

    #[test]
    fn nobody_outside_speaks_for_a_proxy_or_gives_instructions() {
        let client = "host: a\nx-forwarded-for: 1.1.1.1\nx-forwarded-proto: gopher\nx-forwarded-host: evil
            x-forwarded-port: 1\nforwarded: for=x\nx-real-ip: 1.1.1.1\nx-comet-subscribe: news\nx-comet-proxy: x
            x-comet-position: e-1\nx-reproxy-url: x\nx-accel-redirect: x\nx-sendfile: x\nx-sendfile-type: x
            grip-hold: stream\nx_forwarded_for: 1\nx_comet_subscribe: 1\nx-other: 1";
        let expected = [
            "host: a",
            "x-other: 1",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-proto: https",
            "x-forwarded-host: a",
        ];
        assert_eq!(forwarded(client, PLAIN, false), expected);
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_extended() {
        let client =
            "host: a\nx-forwarded-for: 1.1.1.1\nx-forwarded-for: 2.2.2.2, 3.3.3.3\nx-forwarded-proto: http
            x-forwarded-host: outside\nx-real-ip: 1.1.1.1\nforwarded: for=x\nx-comet-subscribe: news";
        let all = forwarded(client, PLAIN, true);
        assert!(all.contains(&"x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7".to_owned()));
        for kept in [
            "x-forwarded-proto: http",
            "x-forwarded-host: outside",
            "x-real-ip: 1.1.1.1",
            "forwarded: for=x, for=192.0.2.7;proto=https",
        ] {
            assert!(all.contains(&kept.to_owned()), "{kept}");
        }
        assert!(!all.iter().any(|field| field.contains("news")));
    }

    #[test]
    fn one_framing_is_written_and_it_is_ours() {
        let with = |framing, client| forwarded(client, Asked { framing, ..PLAIN }, false);
        let lengths = "host: a\ncontent-length: 002\ntransfer-encoding: chunked";
        assert_eq!(with(Framing::Length(2), lengths).last().unwrap(), "content-length: 2");
        assert_eq!(with(Framing::Chunked, lengths).last().unwrap(), "transfer-encoding: chunked");
        assert!(!with(Framing::Absent, lengths).iter().any(|field| field.starts_with("content-length")));
    }

    #[test]
    fn upgrades_and_trailers_are_asked_for_in_our_words() {
        let upgrade = "host: a\nconnection: keep-alive, Upgrade\nupgrade: WebSocket\nsec-websocket-key: k";
        let all = forwarded(upgrade, Asked { websocket: true, ..PLAIN }, false);
        assert_eq!(all[all.len() - 2..], ["connection: upgrade", "upgrade: websocket"]);
        let all = forwarded("host: a\nte: trailers", Asked { trailers: true, ..PLAIN }, false);
        assert_eq!(all[all.len() - 2..], ["connection: te", "te: trailers"]);
    }

    #[test]
    fn cookies_are_joined_and_a_missing_host_is_empty() {
        let all = forwarded("cookie: a=1\naccept: x\ncookie: b=2", PLAIN, false);
        let expected = [
            "cookie: a=1; b=2",
            "accept: x",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-proto: https",
            "host: ",
        ];
        assert_eq!(all, expected);
    }

    /// What is taken for plain is neither read for instructions nor cleaned.
    #[test]
    fn an_answer_is_plain_only_if_nothing_in_it_is_for_the_proxy() {
        let plain =
            "content-type: application/json\ncontent-length: 5\nconnection: keep-alive\nset-cookie: a=1";
        assert!(is_plain(&map(plain)));
        for more in [
            "x-comet-subscribe: news",
            "grip-hold: stream",
            "x-reproxy-url: x",
            "keep-alive: timeout=5",
            "transfer-encoding: chunked",
            "upgrade: h2c",
            "content-length: 5",
            "connection: x-secret",
            "x-other: 1",
        ] {
            assert!(!is_plain(&map(&format!("{plain}\n{more}"))), "{more}");
        }
        assert!(!is_plain(&map("content-type: Application/GRIP-instruct; charset=utf-8")));
        assert!(!is_plain(&map("connection: close, x-secret")));
    }

    #[test]
    fn answers_lose_the_connection_and_every_instruction() {
        let application = "content-type: text/html\nconnection: close, X-Secret, Content-Type\nx-secret: 1
            keep-alive: timeout=5\ntransfer-encoding: chunked\nupgrade: h2c\nproxy-authenticate: x\ntrailer: x
            x-comet-subscribe: news\nx-reproxy-url: x\nx-accel-buffering: no\ngrip-hold: stream\nset-cookie: a=1
            set-cookie: b=2\ndate: 1\ndate: 2\ncontent-length: 5\ncontent-length: 5\nserver: app";
        let mut headers = map(application);
        to_client(&mut headers, false);
        let mut left = text(&headers);
        left.sort();
        let expected = [
            "content-length: 5",
            "content-type: text/html",
            "date: 1",
            "server: app",
            "set-cookie: a=1",
            "set-cookie: b=2",
        ];
        assert_eq!(left, expected);
        let mut headers = map(application);
        to_client_with_grip(&mut headers, false);
        assert_eq!((headers.len(), headers.get("grip-hold").unwrap().as_bytes()), (7, &b"stream"[..]));
        let mut headers = map("trailer: x");
        to_client(&mut headers, true);
        assert_eq!(text(&headers), ["trailer: x"]);
    }
}
