//! Requests of scripts that stand for others: a query that says function, method, headers and body, as Pushpin has it;
//! pure.
//!
//! What such a request may say is what a page could say by itself to its own server: nothing of the connection, and
//! nothing that proxies say of clients.

use bytes::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Uri};

use crate::config::{JsonpArgument, JsonpConfig};
use crate::transport::call::{Argument, Call};
use crate::transport::{function_name, percent_decoded};

/// What scripts may ask for on one route.
pub struct Jsonp {
    config: JsonpConfig,
}

/// What a script means.
pub struct Meant {
    /// The request's head. The call is among its extensions, for whoever holds its client.
    pub parts: Parts,
    /// Its body.
    pub body: Bytes,
}

/// Parameters that every such request may have.
const METHOD: &str = "_method";
const HEADERS: &str = "_headers";
const BODY: &str = "_body";

impl Jsonp {
    /// As configured.
    pub(super) fn new(config: &JsonpConfig) -> Jsonp {
        Jsonp { config: config.clone() }
    }

    /// Reads a request, which has no body; `None` where it is an ordinary one.
    ///
    /// # Errors
    /// It names what can't be asked for, or called.
    pub fn read(&self, parts: &Parts) -> Result<Option<Meant>, &'static str> {
        let query = Query::of(parts.uri.query().unwrap_or_default());
        if parts.method != Method::GET || parts.headers.contains_key(UPGRADE) {
            return Ok(None);
        }
        let Some(function) = self.function(&query)? else { return Ok(None) };
        let argument = match self.config.argument {
            JsonpArgument::Answer => Argument::Answer,
            JsonpArgument::Body => Argument::Body,
        };
        let body = self.body(&query)?;
        let mut meant = parts.clone();
        meant.method = self.method(&query)?;
        meant.uri = query.without(&self.own(), &parts.uri);
        self.write_headers(&query, &body, &meant.method, &mut meant.headers)?;
        meant.extensions.insert(Call { function, argument });
        Ok(Some(Meant { parts: meant, body: body.unwrap_or_default().into() }))
    }

    fn body_name(&self) -> &str {
        self.config.body.as_deref().unwrap_or(BODY)
    }

    /// The parameters that the application doesn't see.
    fn own(&self) -> [&str; 4] {
        [&self.config.callback, METHOD, HEADERS, self.body_name()]
    }

    fn function(&self, query: &Query<'_>) -> Result<Option<Box<str>>, &'static str> {
        if let Some(named) = query.get(&self.config.callback) {
            let name = function_name(named).map_err(|_| "the callback is not the name of a function")?;
            return Ok(Some(name));
        }
        let has_body = self.config.body.as_ref().is_some_and(|name| query.get(name).is_some());
        Ok(self.config.default_callback.as_deref().filter(|_| has_body).map(Into::into))
    }

    fn method(&self, query: &Query<'_>) -> Result<Method, &'static str> {
        let Some(named) = query.get(METHOD) else {
            let fitting = match self.config.argument {
                JsonpArgument::Answer => Method::GET,
                JsonpArgument::Body => Method::POST,
            };
            return Ok(self.config.method.clone().unwrap_or(fitting));
        };
        let method = percent_decoded(named).and_then(|name| Method::from_bytes(&name).ok());
        method.ok_or("the parameter _method is not a method")
    }

    fn body(&self, query: &Query<'_>) -> Result<Option<Vec<u8>>, &'static str> {
        let Some(encoded) = query.get(self.body_name()) else { return Ok(None) };
        percent_decoded(encoded).map(Some).ok_or("the body is badly encoded")
    }

    fn write_headers(
        &self,
        query: &Query<'_>,
        body: &Option<Vec<u8>>,
        method: &Method,
        headers: &mut HeaderMap,
    ) -> Result<(), &'static str> {
        if let Some(text) = query.get(HEADERS) {
            let said = percent_decoded(text).and_then(|text| said(&text));
            for (name, value) in said.ok_or("the parameter _headers is not an object of headers")? {
                headers.insert(name, value);
            }
        }
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.remove(ACCEPT_ENCODING);
        if body.is_some() && self.config.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let length = body.as_ref().map_or(0, Vec::len);
        if length > 0 || !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        Ok(())
    }
}

/// The headers that a script names, but for those that it may not; `None` where it is no object of strings.
fn said(text: &[u8]) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    let mut headers = Vec::new();
    for (name, value) in &object {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_str(value.as_str()?).ok()?;
        if !is_forbidden(&name) {
            headers.push((name, value));
        }
    }
    Some(headers)
}

/// What no page may say of its requests (WHATWG Fetch §2.2.2), or what a proxy before us would say of a client.
fn is_forbidden(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 8] = [
        "access-control-",
        "client-cert",
        "grip-",
        "proxy-",
        "sec-",
        "x-comet-",
        "x-forwarded-",
        "x-request-",
    ];
    const NAMES: [&str; 22] = [
        "accept",
        "accept-charset",
        "accept-encoding",
        "connection",
        "content-length",
        "cookie",
        "date",
        "dnt",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "origin",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-http-method-override",
        "x-real-ip",
    ];
    NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// A query in its pairs, which stay encoded.
struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    fn of(text: &'a str) -> Query<'a> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Query(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    /// The URI with a query without these.
    fn without(&self, names: &[&str], uri: &Uri) -> Uri {
        let kept = self.0.iter().filter(|(name, _)| !names.contains(name));
        let kept: Vec<String> = kept
            .map(
                |(name, value)| if value.is_empty() { (*name).to_owned() } else { format!("{name}={value}") },
            )
            .collect();
        let path = uri.path();
        let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
        let mut parts = uri.clone().into_parts();
        // A path and a part of a query that were a target make one again.
        parts.path_and_query = target.parse().ok();
        Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn read(config: JsonpConfig, target: &str) -> Result<Option<String>, &'static str> {
        let request = Request::get(target).header("host", "a").header("cookie", "c=1").header(ACCEPT, "x/y");
        let parts = request.header(ACCEPT_ENCODING, "gzip").body(()).unwrap().into_parts().0;
        let Some(Meant { parts, body }) = Jsonp::new(&config).read(&parts)? else { return Ok(None) };
        let mut headers: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        let function = &parts.extensions.get::<Call>().unwrap().function;
        let body = String::from_utf8_lossy(&body).into_owned();
        let head = format!("{function} {} {}", parts.method, parts.uri);
        Ok(Some(format!("{head} [{}] {body}", headers.join("|"))))
    }

    #[test]
    fn a_query_says_what_a_script_can_not() {
        let said = |target| read(JsonpConfig::default(), target).map(Option::unwrap);
        assert_eq!(
            said("/x?a=1&callback=app.f&b").unwrap(),
            "app.f GET /x?a=1&b [accept: */*|cookie: c=1|host: a] "
        );
        assert_eq!(
            said(
                "/?_method=PUT&callback=f&_body=%7B%22a%22%3A1%7D&_headers=%7B%22X-A%22%3A%221%22%2C%22Host%22%3A%22evil\
                 %22%2C%22Cookie%22%3A%22no%22%2C%22X-Forwarded-For%22%3A%221%22%2C%22Content-Type%22%3A%22text/a%22%7D"
            )
            .unwrap(),
            "f PUT / [accept: */*|content-length: 7|content-type: text/a|cookie: c=1|host: a|x-a: 1] {\"a\":1}"
        );
        assert_eq!(
            said("/?_method=DELETE&callback=f").unwrap(),
            "f DELETE / [accept: */*|content-length: 0|cookie: c=1|host: a] "
        );
        for bad in [
            "/?callback=",
            "/?callback=a(1)",
            "/?callback=f&_method=a%20b",
            "/?callback=f&_method=",
            "/?callback=f&_headers=%5B%5D",
            "/?callback=f&_headers=%7B%22a%22%3A1%7D",
            "/?callback=f&_headers=%7B%22a%20b%22%3A%221%22%7D",
            "/?callback=f&_body=%zz",
        ] {
            assert!(said(bad).is_err(), "{bad}");
        }
        for ordinary in ["/", "/?_body=x", "/?callbacks=f"] {
            assert_eq!(read(JsonpConfig::default(), ordinary), Ok(None), "{ordinary}");
        }
    }

    #[test]
    fn a_route_may_name_its_parameters_and_its_function() {
        let config = JsonpConfig {
            callback: "cb".into(),
            argument: JsonpArgument::Body,
            body: Some("message".into()),
            default_callback: Some("jsonpcallback".into()),
            method: None,
        };
        let said = |target| read(config.clone(), target);
        assert_eq!(
            said("/?message=%5B%5D").unwrap().unwrap(),
            "jsonpcallback POST / [accept: */*|content-length: 2|content-type: application/json|cookie: c=1|host: a] []"
        );
        assert_eq!(
            said("/?cb=f&_body=x&callback=g").unwrap().unwrap(),
            "f POST /?_body=x&callback=g [accept: */*|content-length: 0|cookie: c=1|host: a] "
        );
        assert_eq!(said("/?callback=f"), Ok(None));
        let get = JsonpConfig { method: Some(Method::GET), ..config.clone() };
        assert!(read(get, "/?cb=f").unwrap().unwrap().starts_with("f GET / "));
    }
}
