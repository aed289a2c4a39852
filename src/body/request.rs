//! The body of a request as it comes from its client: pieces out of a [`Pipe`], which the client's connection fills
//! whenever somebody waits for one.
//!
//! Whoever drives the connection drives the reader, too, in one task. So nobody is woken: the driver looks at
//! [`Pipe::is_wanted`] after each turn of the reader, and gives it another turn behind each piece. There is a lock all
//! the same, which nobody ever waits for: a connection to the application, which has the body, may move between
//! threads when it has none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;

/// A request body on its way from a client.
#[derive(Debug, Default)]
pub enum ClientBody {
    /// There is none.
    #[default]
    Empty,
    /// It comes in pieces.
    Piped(Pipe),
}

/// Where the pieces of a request body come through. A clone is the same.
#[derive(Debug, Clone)]
pub struct Pipe(Arc<Mutex<Flow>>);

#[derive(Debug)]
struct Flow {
    piece: Option<Bytes>,
    /// Bytes that nobody has taken, where the head said how many there are.
    left: Option<u64>,
    end: End,
    /// Whether somebody waits for a piece.
    wanted: bool,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// There is more to come.
    Open,
    /// Nothing follows the piece.
    Whole,
    /// What is missing will never come.
    Broken(io::ErrorKind, &'static str),
}

impl ClientBody {
    /// One that is all here.
    pub fn of(bytes: Bytes) -> ClientBody {
        if bytes.is_empty() {
            return ClientBody::Empty;
        }
        let pipe = Pipe::new(Some(bytes.len() as u64));
        pipe.push(bytes, true);
        ClientBody::Piped(pipe)
    }
}

impl Pipe {
    /// For a body of so many bytes; `None` where nobody knows.
    pub fn new(length: Option<u64>) -> Pipe {
        Pipe(Arc::new(Mutex::new(Flow { piece: None, left: length, end: End::Open, wanted: false })))
    }

    /// Whether somebody waits for the next piece.
    pub fn is_wanted(&self) -> bool {
        self.0.lock().wanted
    }

    /// Gives a piece that is wanted, and says whether it is the last.
    pub fn push(&self, piece: Bytes, is_last: bool) {
        let mut flow = self.0.lock();
        flow.wanted = false;
        flow.piece = Some(piece).filter(|piece| !piece.is_empty());
        if is_last {
            flow.end = End::Whole;
        }
    }

    /// The client has left, or broken its framing.
    pub fn break_off(&self, kind: io::ErrorKind, reason: &'static str) {
        let mut flow = self.0.lock();
        flow.wanted = false;
        flow.end = End::Broken(kind, reason);
    }
}

impl Flow {
    fn poll(&mut self) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(piece) = self.piece.take() {
            self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Broken(kind, reason) => Poll::Ready(Some(Err(io::Error::new(kind, reason)))),
            End::Open => {
                self.wanted = true;
                Poll::Pending
            }
        }
    }

    fn is_over(&self) -> bool {
        self.piece.is_none() && matches!(self.end, End::Whole)
    }
}

impl HttpBody for ClientBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &*self {
            ClientBody::Empty => Poll::Ready(None),
            ClientBody::Piped(pipe) => pipe.0.lock().poll(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ClientBody::Empty => true,
            ClientBody::Piped(pipe) => pipe.0.lock().is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let left = match self {
            ClientBody::Empty => Some(0),
            ClientBody::Piped(pipe) => pipe.0.lock().left,
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn next(body: &mut ClientBody) -> Poll<Option<Result<Bytes, String>>> {
        let next = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        next.map(|next| {
            next.map(|frame| frame.map(|frame| frame.into_data().unwrap()).map_err(|error| error.to_string()))
        })
    }

    #[test]
    fn pieces_come_when_they_are_wanted_and_a_broken_body_stays_so() {
        let pipe = Pipe::new(Some(5));
        let mut body = ClientBody::Piped(pipe.clone());
        assert!(!pipe.is_wanted() && !body.is_end_stream());
        assert_eq!(next(&mut body), Poll::Pending);
        assert!(pipe.is_wanted());
        pipe.push("he".into(), false);
        assert!(!pipe.is_wanted());
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(next(&mut body), Poll::Ready(Some(Ok("he".into()))));
        assert_eq!(body.size_hint().exact(), Some(3));
        pipe.push("llo".into(), true);
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body), Poll::Ready(Some(Ok("llo".into()))));
        assert!(body.is_end_stream());
        assert_eq!(next(&mut body), Poll::Ready(None));

        let pipe = Pipe::new(None);
        let mut body = ClientBody::Piped(pipe.clone());
        assert_eq!(next(&mut body), Poll::Pending);
        pipe.break_off(io::ErrorKind::UnexpectedEof, "gone");
        for _ in 0..2 {
            assert_eq!(next(&mut body), Poll::Ready(Some(Err("gone".into()))));
            assert!(!body.is_end_stream());
        }
    }
}
