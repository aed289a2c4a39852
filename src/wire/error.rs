//! What can go wrong on a client's socket once its TLS session is in our hands.

use std::io;

/// Why a connection can't go on. It is over: [`Wire::close`](super::Wire::close) tells the client.
///
/// Travels inside the [`io::Error`] that reading or writing returns (see [`io::Error::get_ref`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The length in a record's header is above what RFC 8446 §5.2 or RFC 5246 §6.2.3 allows.
    #[error("a tls record longer than the protocol allows")]
    Oversized,
    /// The first bytes of a record's header are none that TLS knows.
    #[error("bytes that are no tls record")]
    NotTls,
    /// A record that wasn't sealed with the client's key and number, or was changed on its way.
    #[error("a tls record that does not authenticate")]
    BadMac,
    /// A record of this content type where only application data and alerts may come.
    #[error("a tls record of content type {0} after the handshake")]
    Unexpected(u8),
    /// A handshake message of this type; 24 is KeyUpdate, which can't be followed without the session.
    #[error("a tls handshake message of type {0} after the session was dropped")]
    Handshake(u8),
    /// The client ended the connection with this alert, which is not `close_notify`.
    #[error("the client ended tls with alert {0}")]
    Alert(u8),
    /// More than 32 records of one turn carried nothing.
    #[error("too many empty tls records")]
    Empty,
    /// The stream of bytes ended inside a record.
    #[error("the connection ended inside a tls record")]
    Truncated,
    /// As many records were sealed with this key as the cipher allows (RFC 8446 §5.5).
    #[error("the tls key has sealed as many records as it may")]
    WornOut,
    /// The bytes behind a half-sent record were not the ones it was sealed from: the caller's mistake. Going on
    /// would seal two plaintexts under one number, which gives the key away, so nothing was sent.
    #[error("other bytes were offered than those of the half-sent tls record")]
    OtherBytes,
}

impl Fault {
    /// The alert that RFC 8446 §6 wants the client to get, if any.
    pub(super) fn alert(self) -> Option<u8> {
        match self {
            Fault::Oversized => Some(22),
            Fault::NotTls => Some(50),
            Fault::BadMac => Some(20),
            Fault::Unexpected(_) | Fault::Empty => Some(10),
            // Not the client's mistake: it comes back with its position.
            Fault::Handshake(_) | Fault::WornOut => Some(CLOSE_NOTIFY),
            Fault::OtherBytes => Some(80),
            Fault::Alert(_) | Fault::Truncated => None,
        }
    }

    fn kind(self) -> io::ErrorKind {
        match self {
            Fault::Oversized | Fault::NotTls | Fault::BadMac | Fault::Unexpected(_) | Fault::Empty => {
                io::ErrorKind::InvalidData
            }
            Fault::Handshake(_) | Fault::Alert(_) | Fault::WornOut => io::ErrorKind::ConnectionAborted,
            Fault::Truncated => io::ErrorKind::UnexpectedEof,
            Fault::OtherBytes => io::ErrorKind::InvalidInput,
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        io::Error::new(fault.kind(), fault)
    }
}

/// Why a socket can't change hands between a listener and a shard.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// rustls doesn't give its keys: extraction is not enabled, the handshake isn't over, or it has bytes to send.
    #[error("rustls keeps its keys")]
    KeysKept(#[source] rustls::Error),
    /// A cipher suite that this record layer doesn't know.
    #[error("tls cipher suite without a record layer of ours")]
    UnknownCipher,
    /// A record is half sent, and only the one who has its plaintext can finish it.
    #[error("a tls record is half sent")]
    HalfSent,
    /// It is a pipe, which stands for a stream of HTTP/2.
    #[error("a stream of http/2 has no socket of its own")]
    NoSocket,
    /// The socket itself failed.
    #[error("the socket can't change hands")]
    Socket(#[from] io::Error),
}

/// RFC 8446 §6.1.
pub(super) const CLOSE_NOTIFY: u8 = 0;
