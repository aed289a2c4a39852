//! The answer to a request of a script, as a script that calls a function.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::{Extensions, response};
use hyper::{Response, StatusCode};

use crate::body::{Body, BodyError, ReadAhead};
use crate::transport::call::{Call, MEDIA_TYPE, Script, Told};

/// The answer to a request with these extensions as a script, if one has asked.
pub fn scripted(asked: &Extensions, response: Response<Body>) -> Response<Body> {
    let Some(call) = asked.get::<Call>() else { return response };
    script(call, response)
}

fn script(call: &Call, response: Response<Body>) -> Response<Body> {
    let (head, body) = response.into_parts();
    let is_coded = head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    // What only stands for a file can't be read here.
    if is_coded || matches!(body, Body::File(_)) {
        let mut response = Response::new(Body::from("502 Bad Gateway: the answer can not be a script\n"));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return script(call, response);
    }
    let body = match body {
        Body::Empty => Body::from(call.whole(&told(&head), b"")),
        Body::Bytes(bytes) => Body::from(call.whole(&told(&head), &bytes)),
        body => {
            let (script, begun) = call.begin(&told(&head));
            Body::Ahead(Box::pin(Scripted { body, script: Some(script), begun }))
        }
    };
    let mut response = Response::new(body);
    *response.headers_mut() = script_headers(&head.headers);
    response
}

/// Those of a script: of the answer's own only what says whether it may be kept.
fn script_headers(answer: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for value in answer.get_all(CACHE_CONTROL) {
        headers.append(CACHE_CONTROL, value.clone());
    }
    headers
}

fn told(head: &response::Parts) -> Told<'_> {
    let own = head.extensions.get::<ReasonPhrase>();
    let own = own.and_then(|reason| std::str::from_utf8(reason.as_bytes()).ok());
    let reason = own.or(head.status.canonical_reason()).unwrap_or_default();
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    Told { code: head.status.as_u16(), reason, fields }
}

/// A body that becomes a script as it comes.
struct Scripted {
    body: Body,
    /// `None` once its end is written.
    script: Option<Script>,
    begun: Vec<u8>,
}

impl HttpBody for Scripted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            let Some(script) = &mut this.script else { return Poll::Ready(None) };
            let mut out = std::mem::take(&mut this.begun);
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        script.piece(&data, &mut out);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => this.script.take().into_iter().for_each(|script| script.end(&mut out)),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.script.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl ReadAhead for Scripted {
    fn read_ahead(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        self.body.read_ahead(cx);
    }
}
