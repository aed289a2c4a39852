//! The forms that a message may have besides its data: one for each way in which GRIP holds a client.
//!
//! A publisher of GRIP says beforehand what each kind of client is to get: a whole answer, some bytes of a stream, a
//! message on a WebSocket; or what is to be done with it instead. Names follow the protocol.

use bytes::Bytes;

/// Names and values, in their order.
pub type Pairs = Vec<(Box<str>, Box<str>)>;

/// What a publisher of GRIP said of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forms {
    /// Its id.
    pub id: Option<Box<str>>,
    /// The id of the message before it on its channel.
    pub prev_id: Option<Box<str>>,
    /// Whether it is published without waiting for that one. Once it is, this means nothing.
    pub no_seq: bool,
    /// What filters look at.
    pub meta: Pairs,
    /// `http-response`.
    pub response: Option<Form<ToResponse>>,
    /// `http-stream`.
    pub stream: Option<Form<ToStream>>,
    /// `ws-message`.
    pub socket: Option<Form<ToSocket>>,
}

/// One form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form<T> {
    /// The filters of content that a subscription must have, where the publisher counts on them.
    pub filters: Option<Vec<Box<str>>>,
    /// What becomes of the client.
    pub act: T,
}

/// What becomes of a client that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToResponse {
    /// It gets this.
    Send(Reply),
    /// It asks again.
    Hint,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub code: u16,
    /// What stands behind the status, where that isn't the usual word.
    pub reason: Option<Box<str>>,
    /// Its headers, in place of the held answer's of the same names.
    pub headers: Pairs,
    /// Its body.
    pub body: ReplyBody,
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyBody {
    /// All of it.
    Whole(Bytes),
    /// Changes to the held answer's, a JSON Patch (RFC 6902) as text.
    Patch(Box<str>),
}

/// What becomes of a client of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToStream {
    /// It gets these bytes.
    Send(Bytes),
    /// The application is asked what it lacks.
    Hint,
    /// Its stream ends.
    Close,
}

/// What becomes of the client of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToSocket {
    /// It gets a message.
    Send(SocketType, Bytes),
    /// It is closed, with this code and reason.
    Close(u16, Box<str>),
    /// The application is asked.
    Refresh,
}

/// The kind of a message on a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

impl Forms {
    /// Whether clients of other kinds find something in the message, too: a hint or a close says nothing to them.
    pub fn has_content(&self) -> bool {
        let response = self.response.as_ref().is_some_and(|form| matches!(form.act, ToResponse::Send(_)));
        let stream = self.stream.as_ref().is_some_and(|form| matches!(form.act, ToStream::Send(_)));
        let socket = self
            .socket
            .as_ref()
            .is_some_and(|form| matches!(form.act, ToSocket::Send(SocketType::Text | SocketType::Binary, _)));
        response || stream || socket
    }

    /// Bytes that keeping them costs besides what the message's data shares with one of them.
    pub fn cost_bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let pairs = |pairs: &[(Box<str>, Box<str>)]| -> usize {
            pairs.iter().map(|(name, value)| name.len() + value.len() + PAIR_BYTES).sum()
        };
        let response = match self.response.as_ref().map(|form| &form.act) {
            Some(ToResponse::Send(reply)) => pairs(&reply.headers) + reply.body.len(),
            _ => 0,
        };
        let stream = match self.stream.as_ref().map(|form| &form.act) {
            Some(ToStream::Send(bytes)) => bytes.len(),
            _ => 0,
        };
        let socket = match self.socket.as_ref().map(|form| &form.act) {
            Some(ToSocket::Send(_, bytes)) => bytes.len(),
            Some(ToSocket::Close(_, reason)) => reason.len(),
            _ => 0,
        };
        let own = size_of::<Forms>() + text(&self.id) + text(&self.prev_id) + pairs(&self.meta);
        own + response + stream + socket
    }
}

/// What a pair costs besides its text.
const PAIR_BYTES: usize = size_of::<(Box<str>, Box<str>)>();

impl ReplyBody {
    fn len(&self) -> usize {
        match self {
            ReplyBody::Whole(bytes) => bytes.len(),
            ReplyBody::Patch(patch) => patch.len(),
        }
    }
}
