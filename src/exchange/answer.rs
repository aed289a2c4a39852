//! What the proxy answers by itself: redirects, and each refusal in the form that its client reads.

use hyper::header::{
    ACCEPT, ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE, VARY,
};
use hyper::{Response, StatusCode};

use super::grip;
use super::refusal::Refusal;
use crate::body::Body;
use crate::edge::weights;

impl Refusal {
    /// The text of the answer.
    fn text(&self) -> String {
        if let Refusal::BadInstruction(bad) = self
            && grip::is_grip(bad)
        {
            return grip::REFUSED.into();
        }
        if let Refusal::ForgedEvents = self {
            return grip::FORGED.into();
        }
        format!("{}: {self}\n", self.title())
    }

    /// The same for a person in front of a browser. No word of it comes from outside.
    fn page(&self) -> String {
        let title = self.title();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
             <h1>{title}</h1>\n<p>{self}</p>\n</html>\n"
        )
    }

    /// The same for a program.
    fn object(&self) -> String {
        let status = self.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let message = self.to_string();
        let object = serde_json::json!({ "status": status.as_u16(), "error": reason, "message": message });
        format!("{object}\n")
    }

    fn title(&self) -> String {
        let status = self.status();
        format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default())
    }
}

/// A mark of answers that no application gave.
#[derive(Clone, Copy)]
struct Own;

/// Whether the proxy answered by itself.
pub fn is_own(response: &Response<Body>) -> bool {
    response.extensions().get::<Own>().is_some()
}

/// The form of an answer that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Page,
    Object,
}

impl Form {
    /// By `Accept`, and only by what it names: whoever takes anything gets a line of text. The first of equals.
    fn accepted(headers: &HeaderMap) -> Form {
        let known = |(name, weight)| Form::named(name).map(|form| (weight, form));
        let named = weights(headers, ACCEPT).filter_map(known).filter(|(weight, _)| *weight > 0);
        let best = named.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map_or(Form::Text, |(_, form)| form)
    }

    fn named(media_type: &[u8]) -> Option<Form> {
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let forms =
            [("text/html", Form::Page), ("application/json", Form::Object), ("text/plain", Form::Text)];
        forms.into_iter().find(|(name, _)| is(name)).map(|(_, form)| form)
    }
}

/// The answer to a request that belongs elsewhere.
pub(super) fn redirect(status: StatusCode, location: &str, unread: bool) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.extensions_mut().insert(Own);
    // Both the configuration and the request's target are visible; a target of other bytes leads to its host.
    if let Ok(location) = HeaderValue::from_bytes(location.as_bytes()) {
        response.headers_mut().insert(LOCATION, location);
    }
    if unread {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to a request that was refused. `unread` says that its body was not read: the connection ends
/// with the answer then, since the rest of the body stands where the next request should.
/// What the client can read is in the head of its request.
pub(super) fn answer(refusal: &Refusal, unread: bool, request: &HeaderMap) -> Response<Body> {
    let form = Form::accepted(request);
    let (body, media_type) = match form {
        Form::Text => (refusal.text(), "text/plain; charset=utf-8"),
        Form::Page => (refusal.page(), "text/html; charset=utf-8"),
        Form::Object => (refusal.object(), "application/json"),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refusal.status();
    response.extensions_mut().insert(Own);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if form != Form::Text {
        headers.insert(VARY, HeaderValue::from_static("accept"));
    }
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.status() == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static(refusal.allowed()));
    }
    if refusal.status() == StatusCode::UPGRADE_REQUIRED {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if unread || refusal.ends_connection() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Puts in place of an answer's text what clients aren't told otherwise, where there is anything, for those who develop
/// the application. No page stands before it.
pub(super) fn explain(refusal: &Refusal, response: &mut Response<Body>) {
    let Some(reasons) = refusal.reasons() else { return };
    let text = match refusal {
        Refusal::BadInstruction(bad) if grip::is_grip(bad) => format!("{}{reasons}\n", grip::MISREAD),
        _ => format!("{}: {reasons}\n", refusal.title()),
    };
    *response.body_mut() = Body::from(text);
    response.extensions_mut().remove::<Own>();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.remove(VARY);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::BadInstruction;
    use crate::upstream::NoLease;

    #[test]
    fn a_refusal_names_its_reason_and_closes_where_it_must() {
        let response = answer(&Refusal::BodyTooLarge, false, &HeaderMap::new());
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CONNECTION]),
            (413, &"close".parse().unwrap())
        );
        let Body::Bytes(text) = response.into_body() else { panic!("the text is at hand") };
        assert_eq!(text, "413 Payload Too Large: the request body is too large\n");
        let response = answer(&Refusal::NoLease(NoLease::QueueFull), false, &HeaderMap::new());
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (503, &"5".parse().unwrap())
        );
        assert!(!response.headers().contains_key(CONNECTION));
        assert!(answer(&Refusal::NoRoute, true, &HeaderMap::new()).headers().contains_key(CONNECTION));
    }

    #[test]
    fn a_refusal_has_the_form_that_its_client_asks_for() {
        let table = [
            ("", Form::Text),
            ("*/*", Form::Text),
            ("text/event-stream", Form::Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form::Page),
            ("application/json, text/plain, */*", Form::Object),
            ("text/html;q=0.5, application/json", Form::Object),
            ("TEXT/HTML ; charset=utf-8 ; Q=0.9, application/json;q=0.8", Form::Page),
            ("text/html;q=0", Form::Text),
            ("text/html;q=x", Form::Page),
            ("text/*", Form::Text),
        ];
        for (accept, form) in table {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::accepted(&headers), form, "{accept}");
        }
        let refused = Refusal::NoRoute;
        assert!(refused.page().contains("<h1>404 Not Found</h1>\n<p>no site is configured"));
        let object: serde_json::Value = serde_json::from_str(&refused.object()).unwrap();
        assert_eq!((&object["status"], &object["error"]), (&404.into(), &"Not Found".into()));
    }

    #[test]
    fn what_the_application_said_is_not_told_to_the_client() {
        let bad = BadInstruction { header: "X-Comet-Subscribe", value: "secret".into(), reason: "no".into() };
        let refusal = Refusal::BadInstruction(bad);
        let mut response = answer(&refusal, false, &HeaderMap::new());
        let text = |response: &mut Response<Body>| match std::mem::take(response.body_mut()) {
            Body::Bytes(text) => String::from_utf8(text.into()).unwrap(),
            _ => panic!("the text is at hand"),
        };
        assert!(!text(&mut response).contains("secret"));
        // But where its route is one to develop with.
        explain(&refusal, &mut response);
        assert_eq!(
            text(&mut response),
            "502 Bad Gateway: the application sent X-Comet-Subscribe: \"secret\", but no\n"
        );
        let source = std::io::Error::other("10.0.0.5");
        let connect =
            Refusal::NoLease(NoLease::Connect { server: "http://10.0.0.5".into(), source: source.into() });
        assert_eq!(connect.text(), "502 Bad Gateway: the server can not be reached\n");
    }
}
