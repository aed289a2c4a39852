//! What a request carries: messages as JSON, in a form, or in a query with a function to call; pure.

use std::borrow::Cow;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap};

use crate::transport;

/// The texts with messages, and the function that the answer calls.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Carried<'a> {
    pub(super) texts: Vec<Cow<'a, str>>,
    pub(super) callback: Option<Box<str>>,
}

/// A request that carries nothing which could be answered in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Neither POST nor GET.
    #[error("messages come by POST, or by GET in `message`")]
    Method,
    /// A GET without messages.
    #[error("messages come by POST, or by GET in `message`")]
    Empty,
    /// No UTF-8, no JSON, no objects in it, or nothing at all.
    #[error("the body is no list of Bayeux messages")]
    NoMessages,
    /// The function's name is none.
    #[error("the callback is not the name of a function")]
    Callback,
}

/// The function that is called where the client names none (Bayeux 1.0, "callback-polling").
const CALLBACK: &str = "jsonpcallback";

/// Reads what a request carries.
pub(super) fn read<'a>(
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
    body: &'a [u8],
) -> Result<Carried<'a>, BadRequest> {
    match *method {
        Method::POST => Ok(Carried { texts: posted(headers, body)?, callback: None }),
        Method::GET => {
            let texts = form(query.unwrap_or_default())?;
            let named = transport::callback(query).map_err(|_| BadRequest::Callback)?;
            Ok(Carried { texts, callback: Some(named.unwrap_or_else(|| CALLBACK.into())) })
        }
        _ => Err(BadRequest::Method),
    }
}

/// JSON, or a form where it begins like one: pages of other origins send forms as `text/plain`.
fn posted<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Vec<Cow<'a, str>>, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|_| BadRequest::NoMessages)?;
    let is = |name: &str| {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(name)
    };
    let is_form = is("application/x-www-form-urlencoded") || is("text/plain");
    if is_form && text.starts_with("message=") { form(text) } else { Ok(vec![text.into()]) }
}

/// Every `message` of a form, in order.
fn form<'a>(text: &str) -> Result<Vec<Cow<'a, str>>, BadRequest> {
    let messages = text.split('&').filter_map(|pair| pair.strip_prefix("message="));
    let texts = messages.map(|text| decoded(text).map(Cow::Owned));
    let texts = texts.collect::<Option<Vec<_>>>().ok_or(BadRequest::NoMessages)?;
    if texts.is_empty() { Err(BadRequest::Empty) } else { Ok(texts) }
}

/// Without the encoding of forms (WHATWG URL §5.1); `None` for what isn't UTF-8 then, or no encoding.
fn decoded(text: &str) -> Option<String> {
    unescaped(&text.replace('+', " "))
}

/// The same where a plus is one (RFC 3986 §2.1).
pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted_as<'a>(media_type: &str, body: &'a str) -> Result<Vec<Cow<'a, str>>, BadRequest> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
        read(&Method::POST, &headers, None, body.as_bytes()).map(|carried| carried.texts)
    }

    #[test]
    fn messages_come_as_json_or_in_a_form() {
        assert_eq!(posted_as("application/json;charset=UTF-8", "[]"), Ok(vec!["[]".into()]));
        let form = "message=%5B%7B%7D%5D&x=1&message={+}";
        for media_type in ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8"] {
            assert_eq!(posted_as(media_type, form), Ok(vec!["[{}]".into(), "{ }".into()]));
        }
        assert_eq!(posted_as("text/plain", "[{}]"), Ok(vec!["[{}]".into()]));
        assert_eq!(posted_as("text/plain", "message=%5"), Err(BadRequest::NoMessages));
        assert_eq!(posted_as("text/plain", "message=%ff"), Err(BadRequest::NoMessages));
    }

    #[test]
    fn a_query_names_a_function_or_the_usual_one_is_called() {
        let get = |query| read(&Method::GET, &HeaderMap::new(), query, b"");
        let called = |query| get(Some(query)).map(|carried| carried.callback.unwrap().into_string());
        assert_eq!(called("message=%5B%5D&jsonp=my.cb"), Ok("my.cb".into()));
        assert_eq!(called("message=[]"), Ok("jsonpcallback".into()));
        assert_eq!(called("message=[]&jsonp=alert(1)//"), Err(BadRequest::Callback));
        assert_eq!(called("jsonp=f"), Err(BadRequest::Empty));
        assert_eq!(get(None), Err(BadRequest::Empty));
        let put = read(&Method::PUT, &HeaderMap::new(), None, b"[]");
        assert_eq!(put, Err(BadRequest::Method));
    }
}
