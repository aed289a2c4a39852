//! A body of `application/grip-instruct`: the same in JSON, together with the answer that the client gets.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::headers::{add, channel};
use super::keepalive::{KeepAlive, Pace};
use super::{Mode, Status, Terms, bad};
use crate::hold::{Answer, BadInstruction, is_instruction};
use crate::message::{Whole, base64, mended};

/// What the body says.
#[derive(Debug, Default, Deserialize)]
pub struct Instruct<'a> {
    #[serde(borrow)]
    hold: Option<Hold<'a>>,
    #[serde(borrow)]
    response: Option<Response<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Hold<'a> {
    mode: Option<Cow<'a, str>>,
    channels: Vec<Channel>,
    timeout: Option<Whole>,
    keep_alive: Option<KeepAliveSaid>,
    meta: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Channel {
    name: String,
    prev_id: Option<String>,
    #[serde(default)]
    filters: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct KeepAliveSaid {
    content: Option<String>,
    content_bin: Option<String>,
    timeout: Option<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Response<'a> {
    code: Option<Whole>,
    reason: Option<String>,
    headers: Option<Fields>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    body_bin: Option<String>,
}

/// An object, or a list of pairs.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Fields {
    List(Vec<(String, String)>),
    Object(std::collections::BTreeMap<String, String>),
}

const BODY: &str = "application/grip-instruct";

/// Whether a media type is that of an instruct.
pub(super) fn is_instruct(media_type: &[u8]) -> bool {
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(BODY.as_bytes())
}

impl Terms {
    /// Adds what the body says, which counts more than the headers, and gives the answer that stands in it.
    ///
    /// # Errors
    /// It isn't what is expected, or stands behind another status than 200.
    pub fn read_body(&mut self, status: StatusCode, body: &[u8]) -> Result<Answer, BadInstruction> {
        let wrong = |reason: String| bad("Content-Type", BODY, reason);
        if status != StatusCode::OK {
            return Err(wrong(format!("the status is {status}, and has to be 200")));
        }
        let mended;
        let read = match serde_json::from_slice(body) {
            Ok(read) => Ok(read),
            Err(error) => {
                mended = value(body);
                mended.as_ref().ok_or(error).and_then(Instruct::deserialize)
            }
        };
        let Instruct { hold, response } =
            read.map_err(|error| wrong(format!("its body is not right: {error}")))?;
        if let Some(hold) = hold {
            self.take(hold).map_err(wrong)?;
        }
        self.answer(response.unwrap_or_default()).map_err(wrong)
    }

    fn take(&mut self, hold: Hold<'_>) -> Result<(), String> {
        self.mode = Some(match hold.mode.as_deref() {
            None | Some("response") => Mode::Response,
            Some("stream") => Mode::Stream,
            Some(mode) => return Err(format!("hold.mode is response or stream, not {mode:?}")),
        });
        for said in hold.channels {
            let filters: Vec<&str> = said.filters.iter().map(String::as_str).collect();
            if let Some(channel) = channel(&said.name, said.prev_id.as_deref(), &filters)? {
                add(&mut self.channels, channel);
            }
        }
        let seconds = |seconds: Whole| Duration::from_secs(seconds.0.into());
        if let Some(timeout) = hold.timeout {
            self.timeout = Some(seconds(timeout));
        }
        if let Some(said) = hold.keep_alive {
            let data = bytes(said.content.as_deref(), said.content_bin.as_deref(), "hold.keep-alive")?;
            // A stream that is busy needs no signs of life.
            let sign = |data| KeepAlive::new(data, said.timeout.map(seconds), Pace::Idle);
            self.keepalive = Some(data).filter(|data| !data.is_empty()).map(sign);
        }
        let meta = hold.meta.into_iter().flatten();
        self.meta.extend(meta.map(|(name, value)| (name.into(), value.into())));
        Ok(())
    }

    fn answer(&mut self, response: Response<'_>) -> Result<Answer, String> {
        let Response { code, reason, headers, body, body_bin } = response;
        // `Grip-Status` counts where no code stands here.
        let said = self.status.take().filter(|_| code.is_none());
        let status = match (code, &said) {
            (Some(code), _) => u16::try_from(code.0).ok().and_then(|code| StatusCode::from_u16(code).ok()),
            (None, said) => Some(said.as_ref().map_or(StatusCode::OK, |said| said.code)),
        };
        let status = status.filter(|status| status.as_u16() >= 200).ok_or("response.code is no status")?;
        let reason = reason.filter(|reason| !reason.is_empty()).map(Into::into);
        let reason = reason.or(said.and_then(|said| said.reason));
        self.status = reason.map(|reason| Status { code: status, reason: Some(reason) });
        let pairs = match headers {
            None => Vec::new(),
            Some(Fields::List(pairs)) => pairs,
            Some(Fields::Object(object)) => object.into_iter().collect(),
        };
        let body = bytes(body.as_deref(), body_bin.as_deref(), "response")?;
        Ok(Answer { status, headers: fields(&pairs)?, body })
    }
}

/// Fields as they are written, without those of the connection and without instructions.
pub(super) fn fields<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_ref().as_bytes()).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_bytes(value.as_ref().as_bytes()).map_err(|error| error.to_string())?;
        if !is_of_connection(name.as_str()) && !is_instruction(name.as_str()) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

fn is_of_connection(name: &str) -> bool {
    let names = ["connection", "keep-alive", "content-length", "transfer-encoding", "content-encoding"];
    names.contains(&name) || matches!(name, "upgrade" | "trailer" | "te")
}

/// What is JSON, but has a key twice, of which the last counts, or half a character.
fn value(body: &[u8]) -> Option<serde_json::Value> {
    let text = std::str::from_utf8(body).ok()?;
    serde_json::from_str(mended(text).as_deref().unwrap_or(text)).ok()
}

/// Text, or bytes in base64, which count more.
fn bytes(text: Option<&str>, binary: Option<&str>, of: &str) -> Result<Bytes, String> {
    match (binary, text) {
        (Some(binary), _) => {
            base64(binary).map(Bytes::from).ok_or_else(|| format!("what stands in {of} is no base64"))
        }
        (None, text) => Ok(Bytes::copy_from_slice(text.unwrap_or_default().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<(Terms, Answer), BadInstruction> {
        let mut terms = Terms::default();
        let answer = terms.read_body(StatusCode::OK, body.as_bytes())?;
        Ok((terms, answer))
    }

    #[test]
    fn a_body_says_what_headers_say_and_brings_the_answer_along() {
        let (terms, answer) = read(
            r#"{"hold": {"mode": "stream", "channels": [{"name": "a", "prev-id": "1", "filters": ["skip-self"]}],
                "keep-alive": {"content-bin": "Cgo=", "timeout": 20}, "meta": {"user": "alice"}},
                "response": {"code": 404, "reason": "Gone Fishing", "headers": {"X-A": "1", "Grip-Hold": "no"}, "body": "b"}}"#,
        )
        .unwrap();
        assert_eq!((terms.mode, terms.channels.len()), (Some(Mode::Stream), 1));
        assert_eq!(terms.channels[0].prev_id.as_deref(), Some("1"));
        let keepalive = terms.keepalive.unwrap();
        assert_eq!((&keepalive.data[..], keepalive.timeout.as_secs()), (&b"\n\n"[..], 20));
        assert_eq!(terms.status.unwrap().reason.as_deref(), Some("Gone Fishing"));
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (404, &b"b"[..]));
        assert_eq!((answer.headers.len(), answer.headers["x-a"].as_bytes()), (1, &b"1"[..]));
    }

    #[test]
    fn headers_may_be_pairs_and_everything_may_be_left_out() {
        let (terms, answer) =
            read(r#"{"response": {"headers": [["A", "1"], ["a", "2"]], "body-bin": "AAE="}}"#).unwrap();
        assert_eq!((terms.mode, answer.headers.get_all("a").iter().count()), (None, 2));
        assert_eq!(&answer.body[..], b"\0\x01");
        let (terms, answer) = read(r#"{"hold": {"channels": []}}"#).unwrap();
        assert_eq!((terms.mode, answer.status, answer.body.len()), (Some(Mode::Response), StatusCode::OK, 0));
        assert!(read("{}").is_ok());
        for bad in [
            "[]",
            "x",
            r#"{"hold": {}}"#,
            r#"{"hold": {"mode": "x", "channels": []}}"#,
            r#"{"response": {"code": 1000}}"#,
            r#"{"response": {"headers": {"a b": "1"}}}"#,
            r#"{"response": {"body-bin": "?"}}"#,
            r#"{"hold": {"channels": [{"name": "a", "filters": ["1","2","3","4","5","6"]}]}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Terms::default().read_body(StatusCode::CREATED, b"{}").is_err());
    }
}
