//! Bodies: the one type of an answer's (empty, bytes at hand, or whatever produces them), and that of a request.

mod request;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

pub use request::{ClientBody, Pipe};

/// A response body on its way to a client. Lives on one thread, like the connection it goes to.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Everything is here.
    Bytes(Bytes),
    /// It comes in pieces.
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>),
    /// It comes in pieces that can be read before the client takes them.
    Ahead(Pin<Box<dyn ReadAhead>>),
    /// A file in pieces that may only stand for its bytes: the client's socket alone may look at them.
    File(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>),
}

/// A body whose source can be read while nobody takes what comes of it, so that the source is free early.
pub trait ReadAhead: HttpBody<Data = Bytes, Error = BodyError> {
    /// Takes what the source has, as far as there is room for it. Whatever brings more wakes the task.
    fn read_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>);
}

impl Body {
    /// Goes on reading the source of a body that nobody takes at the moment.
    pub fn read_ahead(&mut self, cx: &mut Context<'_>) {
        if let Body::Ahead(body) = self {
            body.as_mut().read_ahead(cx);
        }
    }
}

/// Why a body ended before its end. The connection is cut then, so that nobody takes it for whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The server closed, reset, or broke the framing.
    #[error("the server broke off its answer")]
    Upstream(#[source] std::io::Error),
    /// The file became shorter, or can't be read.
    #[error("the file can't be read to its end")]
    File(#[source] std::io::Error),
    /// It can't be compressed, for lack of memory.
    #[error("the answer can't be compressed")]
    Coder(#[source] std::io::Error),
    /// Neither side moved a byte for `timeouts.body`.
    #[error("nothing moved for {0:?}")]
    Stalled(std::time::Duration),
    /// What waited for the client on disk can't be read.
    #[error("what waited on disk can't be read")]
    Spool(#[source] std::io::Error),
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::Bytes(text.into())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Bytes(bytes.into())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Body::Boxed(body) | Body::File(body) => body.as_mut().poll_frame(cx),
            Body::Ahead(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Bytes(bytes) => bytes.is_empty(),
            Body::Boxed(body) | Body::File(body) => body.is_end_stream(),
            Body::Ahead(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Boxed(body) | Body::File(body) => body.size_hint(),
            Body::Ahead(body) => body.size_hint(),
        }
    }
}
