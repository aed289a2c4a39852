//! Items of GRIP: what a publisher says in one of them becomes a message with a form for each kind of client.
//!
//! Answers and refusals are those of Pushpin, word for word, since clients show them. Fields that are not known are passed
//! over, as there.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap};
use serde_json::{Map, Value};

use super::publish::PublishDialect;
use super::reply::{Failure, Reply as Answer, typed};
use crate::message::{
    ChannelName, Data, Form, Forms, Message, Pairs, Reply, ReplyBody, SocketType, ToResponse, ToSocket,
    ToStream, Whole, base64, mended,
};

/// The formats, by which an item is known to be one of GRIP.
const FORMATS: [&str; 3] = ["http-response", "http-stream", "ws-message"];

/// The dialect. What has no data can't be one of our own.
pub(super) const GRIP: PublishDialect = PublishDialect {
    words: &["\"formats\"", "\"http-response\"", "\"http-stream\"", "\"ws-message\""],
    read: |text| match object(text) {
        Some(item) if is_item(&item) || !item.contains_key("data") => Some(read(&item)),
        Some(_) => None,
        None => Some(Err(format!("{ITEM} is not an object"))),
    },
};

/// What Pushpin calls it.
const ITEM: &str = "publish item object";

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&mended(text)?).ok())
}

/// What is wrong with a body that has no list of items.
pub(super) fn no_items(text: &[u8]) -> Failure {
    let error = match serde_json::from_slice(text) {
        Err(_) => "Body is not valid JSON.",
        Ok(Value::Object(object)) if object.contains_key("items") => {
            "Invalid format: object contains 'items' with wrong type"
        }
        Ok(Value::Object(_)) => "Invalid format: object does not contain 'items'",
        Ok(_) => "Invalid format.",
    };
    Failure::plain(StatusCode::BAD_REQUEST, error)
}

/// Whether an object is an item of GRIP.
fn is_item(item: &Map<String, Value>) -> bool {
    item.contains_key("formats") || FORMATS.iter().any(|format| item.contains_key(*format))
}

/// Reads an item; its data is what clients get that are not held by GRIP.
///
/// # Errors
/// What Pushpin says of it.
fn read(item: &Map<String, Value>) -> Result<Message, String> {
    let channel = required(item, "channel", ITEM)?;
    let channel = ChannelName::parse(channel).map_err(|error| error.to_string())?;
    let (id, prev_id) = (text(item, "id", ITEM)?, text(item, "prev-id", ITEM)?);
    let (formats, is_empty) = match item.get("formats") {
        None => (item, !FORMATS.iter().any(|name| item.contains_key(*name))),
        Some(Value::Object(formats)) => (formats, formats.is_empty()),
        Some(_) => return Err(wrong_type(ITEM, "formats")),
    };
    if is_empty {
        return Err("no formats specified".into());
    }
    let forms = Forms {
        id: id.map(Into::into),
        prev_id: prev_id.map(Into::into),
        no_seq: no_seq(item)?,
        meta: meta(item)?,
        response: form(formats, FORMATS[0], response)?,
        stream: form(formats, FORMATS[1], stream)?,
        socket: form(formats, FORMATS[2], socket)?,
    };
    let (data, content_type) = data(&forms);
    let forms = Some(Box::new(forms));
    Ok(Message { channel, event: None, id: None, key: None, content_type, data, forms })
}

fn no_seq(item: &Map<String, Value>) -> Result<bool, String> {
    match item.get("no-seq") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(no_seq)) => Ok(*no_seq),
        Some(_) => Err(wrong_type(ITEM, "no-seq")),
    }
}

fn meta(item: &Map<String, Value>) -> Result<Pairs, String> {
    let meta = match item.get("meta") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(meta)) => meta,
        Some(_) => return Err(wrong_type(ITEM, "meta")),
    };
    let pair = |(name, value): (&String, &Value)| match value {
        Value::String(value) => Ok((name.as_str().into(), value.as_str().into())),
        _ => Err(wrong_type("'meta'", name)),
    };
    meta.iter().map(pair).collect()
}

/// What is to be done. Where that means nothing to a kind of client, the item is none for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Send,
    Hint,
    Close,
    Refresh,
}

fn action(said: &Map<String, Value>, name: &str) -> Result<Action, String> {
    match text(said, "action", name)?.unwrap_or("send") {
        "send" => Ok(Action::Send),
        "hint" => Ok(Action::Hint),
        "close" => Ok(Action::Close),
        "refresh" => Ok(Action::Refresh),
        // Pushpin has no words for it.
        _ => Err(String::new()),
    }
}

fn form<T>(
    formats: &Map<String, Value>,
    name: &str,
    read: impl Fn(Action, &Map<String, Value>, &str) -> Result<Option<Form<T>>, String>,
) -> Result<Option<Form<T>>, String> {
    let quoted = format!("'{name}'");
    match formats.get(name) {
        None => Ok(None),
        Some(Value::Object(said)) => read(action(said, &quoted)?, said, &quoted),
        Some(_) => Err(format!("{quoted} is not an object")),
    }
}

/// One that no filter is counted on for.
fn bare<T>(act: T) -> Option<Form<T>> {
    Some(Form { filters: None, act })
}

fn filters(said: &Map<String, Value>, name: &str) -> Result<Option<Vec<Box<str>>>, String> {
    let Some(filters) = said.get("content-filters") else { return Ok(None) };
    let filters = filters.as_array().ok_or_else(|| wrong_type(name, "content-filters"))?;
    let names = filters.iter().map(|filter| filter.as_str().map(Into::into));
    let names: Option<Vec<_>> = names.collect();
    names.map(Some).ok_or_else(|| "content-filters contains element with wrong type".into())
}

fn response(
    action: Action,
    said: &Map<String, Value>,
    name: &str,
) -> Result<Option<Form<ToResponse>>, String> {
    match action {
        Action::Hint => return Ok(bare(ToResponse::Hint)),
        Action::Close | Action::Refresh => return Ok(None),
        Action::Send => {}
    }
    // What is no status can't be the end of an exchange (RFC 9110 §15.2).
    let code = code(said, name)?.unwrap_or(200);
    let code = Some(code).filter(|code| (200..=999).contains(code)).ok_or_else(|| invalid(name, "code"))?;
    let reason = text(said, "reason", name)?.filter(|reason| !reason.is_empty()).map(Into::into);
    let headers = headers(said, name)?;
    let filters = filters(said, name)?;
    let body = match (said.get("body-bin"), said.get("body"), said.get("body-patch")) {
        (Some(_), ..) => ReplyBody::Whole(binary(said, "body-bin", name)?),
        (None, Some(_), _) => {
            ReplyBody::Whole(Bytes::from(text(said, "body", name)?.unwrap_or_default().to_owned()))
        }
        (None, None, Some(patch @ Value::Array(_))) => ReplyBody::Patch(patch.to_string().into()),
        (None, None, Some(_)) => return Err(wrong_type(name, "body-patch")),
        (None, None, None) => {
            return Err(format!("{name} does not contain 'body', 'body-bin', or 'body-patch'"));
        }
    };
    Ok(Some(Form { filters, act: ToResponse::Send(Reply { code, reason, headers, body }) }))
}

/// A code, where one is named.
fn code(said: &Map<String, Value>, name: &str) -> Result<Option<u16>, String> {
    let Some(code) = said.get("code") else { return Ok(None) };
    if !(code.is_number() || code.is_string()) {
        return Err(wrong_type(name, "code"));
    }
    let code = Whole::of(code).and_then(|code| u16::try_from(code.0).ok());
    code.map(Some).ok_or_else(|| invalid(name, "code"))
}

/// An object, or a list of pairs.
fn headers(said: &Map<String, Value>, name: &str) -> Result<Pairs, String> {
    match said.get("headers") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(headers)) => {
            let pair = |(name, value): (&String, &Value)| match value {
                Value::String(value) => header(name, value),
                _ => Err(wrong_type("headers", name)),
            };
            headers.iter().map(pair).collect()
        }
        Some(Value::Array(headers)) => headers.iter().map(header_pair).collect(),
        Some(_) => Err(wrong_type(name, "headers")),
    }
}

fn header_pair(pair: &Value) -> Result<(Box<str>, Box<str>), String> {
    let pair = pair.as_array().ok_or("headers contains element with wrong type")?;
    let [name, value] = &pair[..] else {
        return Err("headers contains list with wrong number of elements".into());
    };
    let name = name.as_str().ok_or("header contains name element with wrong type")?;
    header(name, value.as_str().ok_or("header contains value element with wrong type")?)
}

/// One that can be written as a field, and is one line.
fn header(name: &str, value: &str) -> Result<(Box<str>, Box<str>), String> {
    let is_field = hyper::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && hyper::header::HeaderValue::from_bytes(value.as_bytes()).is_ok();
    if is_field { Ok((name.into(), value.into())) } else { Err(invalid("headers", name)) }
}

fn stream(action: Action, said: &Map<String, Value>, name: &str) -> Result<Option<Form<ToStream>>, String> {
    match action {
        Action::Hint => return Ok(bare(ToStream::Hint)),
        Action::Close => return Ok(bare(ToStream::Close)),
        Action::Refresh => return Ok(None),
        Action::Send => {}
    }
    let filters = filters(said, name)?;
    let (bytes, _) = content(said, name)?.ok_or_else(|| no_content(name))?;
    Ok(Some(Form { filters, act: ToStream::Send(bytes) }))
}

fn socket(action: Action, said: &Map<String, Value>, name: &str) -> Result<Option<Form<ToSocket>>, String> {
    match action {
        Action::Refresh => return Ok(bare(ToSocket::Refresh)),
        Action::Hint => return Ok(None),
        Action::Close => {
            let code = code(said, name)?.unwrap_or(1000);
            return Ok(bare(ToSocket::Close(code, text(said, "reason", name)?.unwrap_or_default().into())));
        }
        Action::Send => {}
    }
    let named = match text(said, "type", name)? {
        None => None,
        Some("text") => Some(SocketType::Text),
        Some("binary") => Some(SocketType::Binary),
        Some("ping") => Some(SocketType::Ping),
        Some("pong") => Some(SocketType::Pong),
        Some(_) => return Err(format!("{name} contains 'type' with unknown value")),
    };
    let filters = filters(said, name)?;
    let act = match (content(said, name)?, named) {
        (Some((bytes, kind)), named) => ToSocket::Send(named.unwrap_or(kind), bytes),
        (None, Some(kind @ (SocketType::Ping | SocketType::Pong))) => ToSocket::Send(kind, Bytes::new()),
        (None, _) => return Err(no_content(name)),
    };
    Ok(Some(Form { filters, act }))
}

/// Bytes count more than text.
fn content(said: &Map<String, Value>, name: &str) -> Result<Option<(Bytes, SocketType)>, String> {
    if said.contains_key("content-bin") {
        return binary(said, "content-bin", name).map(|bytes| Some((bytes, SocketType::Binary)));
    }
    let content = text(said, "content", name)?;
    Ok(content.map(|content| (Bytes::from(content.to_owned()), SocketType::Text)))
}

fn no_content(name: &str) -> String {
    format!("{name} does not contain 'content' or 'content-bin'")
}

fn binary(said: &Map<String, Value>, key: &str, name: &str) -> Result<Bytes, String> {
    let encoded = text(said, key, name)?.unwrap_or_default();
    base64(encoded).map(Bytes::from).ok_or_else(|| invalid(name, key))
}

fn wrong_type(name: &str, key: &str) -> String {
    format!("{name} contains '{key}' with wrong type")
}

fn invalid(name: &str, key: &str) -> String {
    format!("{name} contains '{key}' with invalid value")
}

fn text<'a>(said: &'a Map<String, Value>, key: &str, name: &str) -> Result<Option<&'a str>, String> {
    match said.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(name, key)),
    }
}

fn required<'a>(said: &'a Map<String, Value>, key: &str, name: &str) -> Result<&'a str, String> {
    text(said, key, name)?.ok_or_else(|| format!("{name} does not contain '{key}'"))
}

/// What a client gets that GRIP doesn't hold: the bytes of a stream, else a message, else a body.
fn data(forms: &Forms) -> (Data, Option<Box<str>>) {
    if let Some(Form { act: ToStream::Send(bytes), .. }) = &forms.stream {
        return (text_or_binary(bytes), None);
    }
    if let Some(Form { act: ToSocket::Send(SocketType::Text | SocketType::Binary, bytes), .. }) =
        &forms.socket
    {
        return (text_or_binary(bytes), None);
    }
    if let Some(Form { act: ToResponse::Send(reply), .. }) = &forms.response
        && let ReplyBody::Whole(bytes) = &reply.body
    {
        let media_type = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        return (text_or_binary(bytes), media_type.map(|(_, value)| value.clone()));
    }
    (Data::Text(Bytes::new()), None)
}

fn text_or_binary(bytes: &Bytes) -> Data {
    let is_text = std::str::from_utf8(bytes).is_ok();
    if is_text { Data::Text(bytes.clone()) } else { Data::Binary(bytes.clone()) }
}

/// The form of an answer: the last one of `Accept` that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Json,
}

impl Kind {
    /// `None` where nothing will do.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Kind> {
        let mut values = headers.get_all(ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Some(Kind::Text);
        }
        let words = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let kind = |word: &str| match word.split(';').next().unwrap_or_default().trim() {
            "text/plain" | "text/*" | "*/*" | "*" => Some(Kind::Text),
            "application/json" | "application/*" => Some(Kind::Json),
            _ => None,
        };
        words.filter_map(kind).last()
    }
}

/// The answer to whoever has published, or had something else done that is called `word`.
pub(super) fn answer(word: &str, headers: &HeaderMap) -> Answer {
    match Kind::accepted(headers) {
        Some(Kind::Text) | None => plain(StatusCode::OK, &format!("{word}\n")),
        Some(Kind::Json) => {
            typed(StatusCode::OK, "application/json", format!("{{\"message\":\"{word}\"}}\n").into())
        }
    }
}

/// The answer to whoever takes neither form.
pub(super) fn unacceptable() -> Failure {
    let error = "Not Acceptable. Supported formats are text/plain and application/json.";
    Failure::plain(StatusCode::NOT_ACCEPTABLE, error)
}

/// An answer of one line.
pub(super) fn plain(status: StatusCode, text: &str) -> Answer {
    typed(status, "text/plain", text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Result<Forms, String> {
        let Value::Object(item) = serde_json::from_str(text).unwrap() else { panic!() };
        read(&item).map(|message| *message.forms.unwrap())
    }

    #[test]
    fn formats_stand_in_an_object_or_on_the_item_itself() {
        let wrapped =
            item(r#"{"channel":"a","id":"2","prev-id":"1","formats":{"http-stream":{"content":"x"}}}"#);
        let flat = item(r#"{"channel":"a","id":"2","prev-id":"1","http-stream":{"content":"x"}}"#);
        assert_eq!(wrapped, flat);
        let forms = flat.unwrap();
        assert_eq!((forms.id.as_deref(), forms.prev_id.as_deref()), (Some("2"), Some("1")));
        assert_eq!(forms.stream.unwrap().act, ToStream::Send("x".into()));
        // As many as there are keys on the item, as @fanoutio/grip sends them.
        let both =
            item(r#"{"channel":"a","formats":{"http-response":{"body":"x"},"http-stream":{"content":"x"}}}"#)
                .unwrap();
        assert!(both.response.is_some() && both.stream.is_some());
        let all = item(
            r#"{"channel":"a","http-response":{"code":201,"headers":{"A":"1"},"body-bin":"AAEC"},
                "http-stream":{"action":"close"},"ws-message":{"content-bin":"AA==","type":"text"},
                "meta":{"sender":"alice"},"unknown":1}"#,
        )
        .unwrap();
        assert_eq!(all.socket.unwrap().act, ToSocket::Send(SocketType::Text, Bytes::from_static(b"\0")));
        assert_eq!(all.meta, [("sender".into(), "alice".into())]);
        let ToResponse::Send(reply) = all.response.unwrap().act else { panic!() };
        assert_eq!(reply.body, ReplyBody::Whole(Bytes::from_static(b"\0\x01\x02")));
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_pushpin() {
        for (text, error) in [
            (r#"{"http-stream":{"content":"x"}}"#, "publish item object does not contain 'channel'"),
            (r#"{"channel":1,"http-stream":{}}"#, "publish item object contains 'channel' with wrong type"),
            (r#"{"channel":"a"}"#, "no formats specified"),
            (r#"{"channel":"a","formats":{}}"#, "no formats specified"),
            (
                r#"{"channel":"a","http-stream":{}}"#,
                "'http-stream' does not contain 'content' or 'content-bin'",
            ),
            (
                r#"{"channel":"a","http-response":{}}"#,
                "'http-response' does not contain 'body', 'body-bin', or 'body-patch'",
            ),
            (
                r#"{"channel":"a","http-response":{"body":"","code":1000}}"#,
                "'http-response' contains 'code' with invalid value",
            ),
            (r#"{"channel":"a","http-stream":{"action":"dance"}}"#, ""),
            (
                r#"{"channel":"a","ws-message":{}}"#,
                "'ws-message' does not contain 'content' or 'content-bin'",
            ),
            (
                r#"{"channel":"a","http-response":{"code":[]}}"#,
                "'http-response' contains 'code' with wrong type",
            ),
            (
                r#"{"channel":"a","http-response":{"headers":{"A":1}}}"#,
                "headers contains 'A' with wrong type",
            ),
            (
                r#"{"channel":"a","http-response":{"headers":[["A"]]}}"#,
                "headers contains list with wrong number of elements",
            ),
            (
                r#"{"channel":"a","http-response":{"headers":[[1,"b"]]}}"#,
                "header contains name element with wrong type",
            ),
            (
                r#"{"channel":"a","http-response":{"headers":{"A":"b\nc"}}}"#,
                "headers contains 'A' with invalid value",
            ),
            (
                r#"{"channel":"a","http-stream":{"content-filters":[1]}}"#,
                "content-filters contains element with wrong type",
            ),
            (
                r#"{"channel":"a","ws-message":{"content-bin":"?"}}"#,
                "'ws-message' contains 'content-bin' with invalid value",
            ),
        ] {
            assert_eq!(item(text), Err(error.into()), "{text}");
        }
        for fine in [
            r#"{"channel":"a","http-stream":{"action":"hint"}}"#,
            r#"{"channel":"a","http-response":{"body":""}}"#,
            r#"{"channel":"a","ws-message":{"type":"ping"}}"#,
            r#"{"channel":"a","ws-message":{"action":"close","code":4001,"reason":"go"}}"#,
            r#"{"channel":"a","formats":{"carrier-pigeon":{}}}"#,
            r#"{"channel":"a","http-response":{"body":"","code":"201","body-bin":"YQ"}}"#,
            // What doesn't belong to the action isn't looked at.
            r#"{"channel":"a","http-stream":{"action":"close","content":1,"content-filters":1}}"#,
        ] {
            assert!(item(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn an_action_that_a_kind_of_client_does_not_know_is_none_for_it() {
        let forms = item(
            r#"{"channel":"a","http-response":{"action":"close"},"http-stream":{"action":"refresh"},
                "ws-message":{"action":"hint"}}"#,
        )
        .unwrap();
        assert!(forms.response.is_none() && forms.stream.is_none() && forms.socket.is_none());
    }

    #[test]
    fn a_half_of_a_character_is_no_reason_to_lose_the_item() {
        let read = |text: &str| (GRIP.read)(text).unwrap().map(|message| *message.forms.unwrap());
        let forms = read(r#"{"channel":"a","http-stream":{"content":"a\ud83d"}}"#).unwrap();
        assert_eq!(forms.stream.unwrap().act, ToStream::Send("a\u{fffd}".into()));
        assert_eq!(read("[]"), Err("publish item object is not an object".into()));
    }

    #[test]
    fn the_last_form_that_is_accepted_is_that_of_the_answer() {
        let kind = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Kind::accepted(&headers)
        };
        assert_eq!(Kind::accepted(&HeaderMap::new()), Some(Kind::Text));
        assert_eq!(kind("*/*"), Some(Kind::Text));
        assert_eq!(kind("text/plain, application/json;q=0.1"), Some(Kind::Json));
        assert_eq!(kind("application/*, text/*"), Some(Kind::Text));
        assert_eq!(kind("text/html"), None);
    }
}
