//! What an application says of a WebSocket instead of on it: the JSON behind `c:`; pure.

use std::time::Duration;

use serde::Deserialize;

use super::filter::{FILTERS_MAX, Filters};
use super::headers::SECONDS_MAX;
use super::keepalive::{KeepAlive, Pace};
use crate::message::{ChannelName, Whole, base64};
use crate::transport::websocket::{self, Kind};

/// An order.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// The client is on this channel from now on, or has other filters there.
    Subscribe(ChannelName, Filters),
    /// It is not.
    Unsubscribe(ChannelName),
    /// The application hears nothing more of it, and it gets nothing but what is published.
    Detach,
    /// What filters look at, or look at no more.
    SetMeta(Box<str>, Option<Box<str>>),
    /// Its signs of life, as whole frames; `None` for the proxy's own.
    KeepAlive(Option<KeepAlive>),
    /// It gets this frame after a time, or when the next comes.
    Delay(Box<[u8]>, Duration),
    /// It gets that now.
    Flush,
}

/// An order that can't be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadControl {
    /// Which ends the connection, as in Pushpin: messages that should have been kept from the client would reach it.
    #[error("a channel has at most {FILTERS_MAX} filters")]
    Filters,
    /// It is passed over.
    #[error("{0}")]
    Unclear(String),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Order {
    Subscribe {
        channel: String,
        #[serde(default)]
        filters: Vec<String>,
    },
    Unsubscribe {
        channel: String,
    },
    Detach,
    SetMeta {
        name: String,
        value: Option<String>,
    },
    KeepAlive {
        #[serde(flatten)]
        sign: Sign,
        mode: Option<String>,
    },
    SendDelayed(Sign),
    FlushDelayed,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sign {
    content: Option<String>,
    content_bin: Option<String>,
    message_type: Option<String>,
    timeout: Option<Whole>,
}

/// How long something is delayed, where the application doesn't say.
const DELAY: Duration = Duration::from_secs(1);

impl Control {
    /// Reads an order.
    ///
    /// # Errors
    /// It can't be followed.
    pub fn read(json: &[u8]) -> Result<Control, BadControl> {
        let order = serde_json::from_slice(json).map_err(unclear)?;
        Ok(match order {
            Order::Subscribe { filters, .. } if filters.len() > FILTERS_MAX => {
                return Err(BadControl::Filters);
            }
            Order::Subscribe { channel, filters } => {
                Control::Subscribe(name(&channel)?, Filters::read(filters.iter().map(String::as_str)))
            }
            Order::Unsubscribe { channel } => Control::Unsubscribe(name(&channel)?),
            Order::Detach => Control::Detach,
            Order::SetMeta { name, value } => Control::SetMeta(name.into(), value.map(Into::into)),
            Order::KeepAlive { sign, mode } => {
                let pace = match mode.as_deref() {
                    None | Some("idle") => Pace::Idle,
                    Some("interval") => Pace::Interval,
                    Some(mode) => return Err(unclear(format!("the mode is idle or interval, not {mode:?}"))),
                };
                let timeout = sign.timeout();
                Control::KeepAlive(sign.frame()?.map(|frame| KeepAlive::new(frame.into(), timeout, pace)))
            }
            Order::SendDelayed(sign) => {
                let timeout = sign.timeout().unwrap_or(DELAY);
                let frame = sign.frame()?.ok_or_else(|| unclear("there is nothing to be sent"))?;
                Control::Delay(frame.into(), timeout)
            }
            Order::FlushDelayed => Control::Flush,
        })
    }

    /// The same with a prefix before the name of its channel.
    ///
    /// # Errors
    /// That becomes too long.
    pub(super) fn under(self, prefix: &str) -> Result<Control, BadControl> {
        Ok(match self {
            Control::Subscribe(name, filters) => {
                Control::Subscribe(name.under(prefix).map_err(unclear)?, filters)
            }
            Control::Unsubscribe(name) => Control::Unsubscribe(name.under(prefix).map_err(unclear)?),
            other => other,
        })
    }
}

impl Sign {
    fn timeout(&self) -> Option<Duration> {
        self.timeout.map(|seconds| Duration::from_secs(u64::from(seconds.0).min(SECONDS_MAX)))
    }

    fn frame(self) -> Result<Option<Vec<u8>>, BadControl> {
        let content = match (self.content_bin, self.content) {
            (Some(encoded), _) => {
                base64(&encoded).ok_or_else(|| unclear("what stands in content-bin is no base64"))?
            }
            (None, Some(text)) => text.into_bytes(),
            (None, None) => return Ok(None),
        };
        let kind = match self.message_type.as_deref() {
            // Whichever of the two it stands in, as in Pushpin.
            None | Some("text") if std::str::from_utf8(&content).is_ok() => Kind::Text,
            None | Some("text" | "binary") => Kind::Binary,
            Some("ping") => Kind::Ping,
            Some("pong") => Kind::Pong,
            Some(other) => {
                return Err(unclear(format!("a message is text, binary, ping or pong, not {other:?}")));
            }
        };
        let mut frame = Vec::with_capacity(content.len() + websocket::HEAD_MAX);
        websocket::message(kind, fitting(kind, &content), &mut frame);
        Ok(Some(frame))
    }
}

/// A ping or a pong has at most 125 bytes (RFC 6455 §5.5).
pub(super) fn fitting(kind: Kind, content: &[u8]) -> &[u8] {
    match kind {
        Kind::Text | Kind::Binary => content,
        Kind::Ping | Kind::Pong => &content[..content.len().min(125)],
    }
}

fn name(channel: &str) -> Result<ChannelName, BadControl> {
    ChannelName::parse(channel).map_err(unclear)
}

fn unclear(reason: impl ToString) -> BadControl {
    BadControl::Unclear(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Control, BadControl> {
        Control::read(json.as_bytes())
    }

    #[test]
    fn orders_are_understood() {
        let a = || ChannelName::parse("a").unwrap();
        let filters = Filters::read(["skip-self"].into_iter());
        let sign = |frame: &'static [u8], seconds, pace| {
            let timeout = Duration::from_secs(seconds);
            Control::KeepAlive(Some(KeepAlive { data: frame.into(), timeout, pace }))
        };
        for (json, control) in [
            (r#"{"type":"subscribe","channel":"a","x":1}"#, Control::Subscribe(a(), Filters::default())),
            (
                r#"{"type":"subscribe","channel":"a","filters":["skip-self","?"]}"#,
                Control::Subscribe(a(), filters),
            ),
            (r#"{"type":"unsubscribe","channel":"a"}"#, Control::Unsubscribe(a())),
            (r#"{"type":"detach"}"#, Control::Detach),
            (
                r#"{"type":"set-meta","name":"user","value":"x"}"#,
                Control::SetMeta("user".into(), Some("x".into())),
            ),
            (r#"{"type":"set-meta","name":"user"}"#, Control::SetMeta("user".into(), None)),
            (r#"{"type":"keep-alive","content":"{}"}"#, sign(b"\x81\x02{}", 55, Pace::Idle)),
            (
                r#"{"type":"keep-alive","content":"","message-type":"ping","timeout":20,"mode":"interval"}"#,
                sign(b"\x89\0", 20, Pace::Interval),
            ),
            (
                r#"{"type":"keep-alive","content-bin":"AAH/","timeout":0}"#,
                sign(b"\x82\x03\0\x01\xff", 1, Pace::Idle),
            ),
            (
                r#"{"type":"keep-alive","content-bin":"e30","timeout":2.0}"#,
                sign(b"\x81\x02{}", 2, Pace::Idle),
            ),
            (r#"{"type":"keep-alive"}"#, Control::KeepAlive(None)),
            (r#"{"type":"send-delayed","content":"x"}"#, Control::Delay(b"\x81\x01x"[..].into(), DELAY)),
            (r#"{"type":"flush-delayed"}"#, Control::Flush),
        ] {
            assert_eq!(read(json), Ok(control), "{json}");
        }
    }

    #[test]
    fn what_is_no_order_is_passed_over() {
        for json in [
            "",
            "[]",
            r#"{"channel":"a"}"#,
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","channel":""}"#,
            r#"{"type":"explode"}"#,
            r#"{"type":"keep-alive","content":"x","mode":"now"}"#,
            r#"{"type":"keep-alive","content-bin":"?"}"#,
            r#"{"type":"send-delayed"}"#,
        ] {
            assert!(matches!(read(json), Err(BadControl::Unclear(_))), "{json}");
        }
        let many = r#"{"type":"subscribe","channel":"a","filters":["1","2","3","4","5","6"]}"#;
        assert_eq!(read(many), Err(BadControl::Filters));
    }
}
