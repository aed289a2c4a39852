//! Publishing: one message by path, or a list of items that is published whole or not at all.

use std::cell::RefCell;
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::grip_ids::RecentIds;
use super::publish_grip;
use super::reply::{Failure, Reply, json};
use super::{Control, PublishLimits};
use crate::hub::{Hub, Receipt};
use crate::message::{Batch, ChannelName, Data, Expected, Message, NESTING_MAX, nesting};

/// Longest event name, publisher's id and key in bytes: they travel with each message.
const NAME_BYTES_MAX: usize = 256;

#[derive(Serialize)]
struct Published {
    id: String,
    subscribers: usize,
}

#[derive(Serialize)]
struct PublishedItems {
    items: Vec<Published>,
}

/// `POST /channels/NAME`.
pub(super) async fn one(
    hub: &Hub,
    channel: ChannelName,
    headers: &HeaderMap,
    data: &[u8],
) -> Result<Reply, Failure> {
    let content_type = header(headers, "content-type")?;
    // A copy: the body is a part of the buffer that it was read into, which would live as long as the message.
    let data = Bytes::copy_from_slice(data);
    let data = match content_type.as_deref() {
        Some(media_type) if is_json(media_type) => json_data(data)?,
        _ => text_or_binary(data),
    };
    let event = header(headers, "x-comet-event")?.map(checked_event).transpose()?;
    let id = header(headers, "x-comet-id")?.map(checked_id).transpose()?;
    let key = header(headers, "x-comet-key")?.map(checked_key).transpose()?;
    let expected = header(headers, "x-comet-expected-last")?;
    let expected = expected.map(|last| expected_last(&last, 0)).transpose()?;
    let message = Message { event, id, key, content_type, ..Message::new(channel, data) };
    let batch = Batch { messages: vec![message], expected: expected.into_iter().collect() };
    let receipts = publish(hub, batch).await.map_err(Failure::of_one)?;
    Ok(json(StatusCode::OK, &published(&receipts[0])))
}

/// A way in which publishers write items; an item is known by its keys.
pub(super) struct PublishDialect {
    /// Words without which no item is one of this dialect, so that others needn't be looked at any closer.
    pub(super) words: &'static [&'static str],
    /// Reads an item, `None` where it is none of this dialect; an error is in the dialect's words.
    pub(super) read: fn(&str) -> Option<Result<Message, String>>,
}

/// Every dialect besides our own.
static DIALECTS: &[PublishDialect] = &[publish_grip::GRIP];

/// `POST /publish`. Publishers of GRIP are answered in their own words: whoever publishes nothing else, and whoever
/// calls the path by the name that it has there.
pub(super) async fn batch(
    control: &Control,
    (headers, is_grip): (&HeaderMap, bool),
    text: &[u8],
) -> Result<Reply, Failure> {
    let hub = &control.hub;
    if !is_grip {
        accepts_json(headers)?;
    }
    let (mut batch, is_grip) = read_batch(&control.limits, is_grip, text)?;
    if !is_grip {
        let receipts = publish(hub, batch).await?;
        let items = receipts.iter().map(published).collect();
        return Ok(json(StatusCode::OK, &PublishedItems { items }));
    }
    if publish_grip::Kind::accepted(headers).is_none() {
        return Err(publish_grip::unacceptable());
    }
    let noted = leave_out_known(&mut batch, &control.recent_ids);
    batch.messages = control.in_order(batch.messages);
    if !batch.messages.is_empty()
        && let Err(failure) = publish(hub, batch).await
    {
        let mut recent = control.recent_ids.borrow_mut();
        noted.iter().for_each(|(channel, id)| recent.forget(channel, id));
        return Err(failure.in_plain_words());
    }
    control.publish_due().await;
    Ok(publish_grip::answer("Published", headers))
}

/// Every item, and whether all of them are of GRIP.
pub(super) fn read_batch(
    limits: &PublishLimits,
    is_grip: bool,
    text: &[u8],
) -> Result<(Batch, bool), Failure> {
    let Items { items } = serde_json::from_slice(text).map_err(|error| match is_grip {
        true => publish_grip::no_items(text),
        false if !text.trim_ascii_start().starts_with(b"{") => {
            Failure::bad("the body is an object with a list `items`, and nothing else")
        }
        false => Failure::bad(format!("no list of items: {error}")),
    })?;
    if items.len() > limits.batch {
        let error = format!("a request has at most {} items", limits.batch);
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    let mut batch = Batch { messages: Vec::with_capacity(items.len()), expected: Vec::new() };
    let (mut wrong, mut foreign) = (None, 0);
    for (index, item) in items.iter().enumerate() {
        match read_foreign(item.get(), is_grip) {
            Some(read) => {
                foreign += 1;
                let read = read.and_then(|message| fits(message, limits.message));
                match read {
                    Ok(message) => batch.messages.push(message),
                    Err(error) => drop(wrong.get_or_insert((index, error))),
                }
            }
            None => {
                let read = read_item(item, index, limits.message);
                let (message, expected) = read.map_err(|failure| failure.in_item(index))?;
                batch.messages.push(message);
                batch.expected.extend(expected);
            }
        }
    }
    let is_grip = foreign == items.len() && (is_grip || foreign > 0);
    if let Some((index, error)) = wrong {
        return Err(match is_grip {
            true => Failure::plain(StatusCode::BAD_REQUEST, format!("Invalid format: {error}")),
            false => Failure::bad(error).in_item(index),
        });
    }
    Ok((batch, is_grip))
}

/// An item of another dialect.
fn read_foreign(item: &str, is_grip: bool) -> Option<Result<Message, String>> {
    let may_be = |dialect: &&PublishDialect| is_grip || dialect.words.iter().any(|word| item.contains(word));
    DIALECTS.iter().filter(may_be).find_map(|dialect| (dialect.read)(item))
}

fn fits(message: Message, limit: usize) -> Result<Message, String> {
    let forms = message.forms.as_ref().map_or(0, |forms| forms.cost_bytes());
    // What surrounds the content is small, and is not what the limit means.
    let fits = message.data.bytes().len() <= limit && forms <= limit.saturating_mul(2).saturating_add(4096);
    if fits { Ok(message) } else { Err(format!("a message has at most {limit} bytes")) }
}

/// Takes away what was published in the last minute under the same id; gives the others that have one.
pub(super) fn leave_out_known(
    batch: &mut Batch,
    recent: &RefCell<RecentIds>,
) -> Vec<(ChannelName, Box<str>)> {
    let (mut recent, mut noted, now) = (recent.borrow_mut(), Vec::new(), Instant::now());
    batch.messages.retain(|message| {
        let id = message.forms.as_ref().and_then(|forms| forms.id.clone());
        let Some(id) = id else { return true };
        let is_new = recent.note(&message.channel, &id, now);
        if is_new {
            noted.push((message.channel.clone(), id));
        }
        is_new
    });
    noted
}

#[derive(Deserialize)]
struct Items<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// One item in the native form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    channel: String,
    #[serde(borrow)]
    data: &'a RawValue,
    event: Option<String>,
    id: Option<String>,
    /// `null` is what the answer to a conflict says of a channel without a message.
    #[serde(default, deserialize_with = "even_null")]
    expected_last: Option<Option<String>>,
    key: Option<String>,
}

/// Else serde takes `null` for a key that isn't there.
fn even_null<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn read_item(item: &RawValue, index: usize, limit: usize) -> Result<(Message, Option<Expected>), Failure> {
    let item: Item = serde_json::from_str(item.get()).map_err(|error| Failure::bad(error.to_string()))?;
    let channel = ChannelName::parse(&item.channel).map_err(|error| Failure::bad(error.to_string()))?;
    let data = item_data(item.data)?;
    if data.bytes().len() > limit {
        return Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a message has at most {limit} bytes"),
        ));
    }
    let content_type = matches!(data, Data::Json(_)).then(|| "application/json".into());
    let event = item.event.map(|event| checked_event(event.into())).transpose()?;
    let id = item.id.map(|id| checked_id(id.into())).transpose()?;
    let key = item.key.map(|key| checked_key(key.into())).transpose()?;
    let expected = item.expected_last.map(|last| last.unwrap_or_else(|| NO_MESSAGE.into()));
    let expected = expected.map(|last| expected_last(&last, index)).transpose()?;
    Ok((Message { event, id, key, content_type, ..Message::new(channel, data) }, expected))
}

/// What is expected of a channel without a message.
const NO_MESSAGE: &str = "none";

/// `none`, or the position of what has to be the channel's last message.
fn expected_last(last: &str, item: usize) -> Result<Expected, Failure> {
    let position = match last {
        NO_MESSAGE => None,
        _ => Some(last.parse().map_err(|_| {
            Failure::bad(format!("expected_last is a position or \"none\", and {last:?} is neither"))
        })?),
    };
    Ok(Expected { item, last: position })
}

/// A string is text, any other value is JSON.
pub(super) fn item_data(value: &RawValue) -> Result<Data, Failure> {
    let Some(text) = value.get().strip_prefix('"') else {
        not_too_deep(value.get().as_bytes())?;
        return Ok(Data::Json(Bytes::copy_from_slice(value.get().as_bytes())));
    };
    // Nothing has to be decoded in most of them.
    if let Some(text) = text.strip_suffix('"').filter(|text| !text.contains('\\')) {
        return Ok(Data::Text(Bytes::copy_from_slice(text.as_bytes())));
    }
    let text: String = serde_json::from_str(value.get()).map_err(|error| Failure::bad(error.to_string()))?;
    Ok(Data::Text(text.into()))
}

async fn publish(hub: &Hub, batch: Batch) -> Result<Vec<Receipt>, Failure> {
    super::settled(hub.publish(batch, Instant::now())).await
}

fn published(receipt: &Receipt) -> Published {
    Published { id: receipt.position.to_string(), subscribers: receipt.subscribers }
}

/// `curl -d` says that it sends a form, and means what it sends.
fn accepts_json(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(media_type) = header(headers, CONTENT_TYPE.as_str())? else { return Ok(()) };
    if is_json(&media_type) || essence(&media_type).eq_ignore_ascii_case("application/x-www-form-urlencoded")
    {
        return Ok(());
    }
    let error = format!("application/json was expected, not {media_type:?}");
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error))
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type).to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn json_data(data: Bytes) -> Result<Data, Failure> {
    let parsed: Result<&RawValue, _> = serde_json::from_slice(&data);
    parsed.map_err(|error| {
        Failure::bad(format!("the body is not the JSON that Content-Type promises: {error}"))
    })?;
    not_too_deep(&data)?;
    Ok(Data::Json(data))
}

/// What is passed on unread is read by clients.
fn not_too_deep(json: &[u8]) -> Result<(), Failure> {
    match nesting(json) <= NESTING_MAX {
        true => Ok(()),
        false => Err(Failure::bad(format!("JSON here is nested at most {NESTING_MAX} deep"))),
    }
}

fn text_or_binary(data: Bytes) -> Data {
    if std::str::from_utf8(&data).is_ok() { Data::Text(data) } else { Data::Binary(data) }
}

/// The value of a header that may stand once, as UTF-8.
fn header(headers: &HeaderMap, name: &str) -> Result<Option<Box<str>>, Failure> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text =
        std::str::from_utf8(value.as_bytes()).map_err(|_| Failure::bad(format!("{name} is not UTF-8")))?;
    match values.next() {
        None => Ok(Some(text.into())),
        Some(_) => Err(Failure::bad(format!("{name} stands twice"))),
    }
}

/// An event name stands in a line of its own; `comet.` is what the proxy itself says.
pub(super) fn checked_event(event: Box<str>) -> Result<Box<str>, Failure> {
    if event.starts_with("comet.") {
        return Err(Failure::bad("event names that begin with \"comet.\" belong to the proxy"));
    }
    checked_name(event, "an event name")
}

fn checked_id(id: Box<str>) -> Result<Box<str>, Failure> {
    checked_name(id, "an id")
}

fn checked_key(key: Box<str>) -> Result<Box<str>, Failure> {
    checked_name(key, "a key")
}

fn checked_name(name: Box<str>, what: &str) -> Result<Box<str>, Failure> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Failure::bad(format!(
            "{what} has 1 to {NAME_BYTES_MAX} bytes and no control characters"
        )));
    }
    Ok(name)
}
