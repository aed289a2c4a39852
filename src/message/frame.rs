//! The bytes of messages as they go onto a connection, with and without the framing of chunks.

use std::sync::Arc;

use super::hexadecimal;

/// How bytes are laid on an HTTP/1 connection whose length isn't known beforehand (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// HTTP/1.1: chunks.
    Chunked,
    /// HTTP/1.0: everything until the connection closes.
    UntilClose,
}

impl Framing {
    /// Appends what goes onto the connection for this payload: nothing for nothing, since an empty chunk would end the
    /// stream.
    pub fn lay(self, payload: &[u8], out: &mut Vec<u8>) {
        if self == Framing::UntilClose || payload.is_empty() {
            return out.extend_from_slice(payload);
        }
        hexadecimal(payload.len() as u64, out);
        for piece in [b"\r\n", payload, b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
}

/// Bytes of one message, or of several in a row, in one transport; shared by all who get them.
#[derive(Debug, Clone)]
pub struct Frame(Arc<FrameBytes>);

#[derive(Debug)]
struct FrameBytes {
    bytes: Box<[u8]>,
    /// Bytes of chunk framing before and after the payload.
    before: usize,
    after: usize,
}

impl Frame {
    /// Bytes that are sent as they are, whatever the framing.
    pub fn raw(bytes: Vec<u8>) -> Frame {
        Frame(Arc::new(FrameBytes { bytes: bytes.into(), before: 0, after: 0 }))
    }

    /// One frame of several, in their order.
    pub fn join<'a>(frames: impl Iterator<Item = &'a Frame> + Clone, framing: Framing) -> Frame {
        let mut bytes = Vec::with_capacity(frames.clone().map(|frame| frame.bytes(framing).len()).sum());
        frames.for_each(|frame| bytes.extend_from_slice(frame.bytes(framing)));
        Frame::raw(bytes)
    }

    /// Whether both are one, and not only alike.
    pub fn is_same(&self, other: &Frame) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What goes onto the connection.
    pub fn bytes(&self, framing: Framing) -> &[u8] {
        match framing {
            Framing::Chunked => &self.0.bytes,
            Framing::UntilClose => self.payload(),
        }
    }

    /// The bytes without chunk framing.
    pub fn payload(&self) -> &[u8] {
        &self.0.bytes[self.0.before..self.0.bytes.len() - self.0.after]
    }
}

/// Builds one chunk (RFC 9112 §7.1) around a payload whose length is known only at the end.
pub struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// Room for the size line: 16 hexadecimal digits and CR LF.
    const SIZE_LINE_MAX: usize = 18;

    /// An empty payload.
    #[allow(clippy::new_without_default)] // A default builder says nothing.
    pub fn new() -> FrameBuilder {
        FrameBuilder::with_room(0)
    }

    /// The same, which expects so many bytes.
    pub fn with_room(bytes: usize) -> FrameBuilder {
        let mut line = Vec::with_capacity(Self::SIZE_LINE_MAX + bytes + b"\r\n".len());
        line.resize(Self::SIZE_LINE_MAX, 0);
        FrameBuilder { bytes: line }
    }

    /// Where the payload is appended.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The chunk. An empty payload gives no bytes, since an empty chunk would end the stream.
    pub fn chunk(mut self) -> Frame {
        let length = self.bytes.len() - Self::SIZE_LINE_MAX;
        if length == 0 {
            return Frame::raw(Vec::new());
        }
        let mut line = Vec::with_capacity(Self::SIZE_LINE_MAX);
        hexadecimal(length as u64, &mut line);
        line.extend_from_slice(b"\r\n");
        let start = Self::SIZE_LINE_MAX - line.len();
        self.bytes[start..Self::SIZE_LINE_MAX].copy_from_slice(&line);
        self.bytes.extend_from_slice(b"\r\n");
        let bytes = self.bytes[start..].into();
        Frame(Arc::new(FrameBytes { bytes, before: line.len(), after: 2 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_chunk_around_its_payload() {
        let mut builder = FrameBuilder::new();
        builder.payload().extend_from_slice(b"data: 0123456789\n\n");
        let frame = builder.chunk();
        assert_eq!(frame.bytes(Framing::Chunked), b"12\r\ndata: 0123456789\n\n\r\n");
        assert_eq!(frame.bytes(Framing::UntilClose), b"data: 0123456789\n\n");
        for framing in [Framing::Chunked, Framing::UntilClose] {
            let mut laid = b"head\r\n".to_vec();
            framing.lay(b"", &mut laid);
            framing.lay(frame.payload(), &mut laid);
            assert_eq!(laid, [b"head\r\n", frame.bytes(framing)].concat());
        }
        let twice = Frame::join([&frame, &frame].into_iter(), Framing::UntilClose);
        assert_eq!(twice.bytes(Framing::UntilClose), b"data: 0123456789\n\ndata: 0123456789\n\n");
        assert_eq!(FrameBuilder::new().chunk().bytes(Framing::Chunked), b"");
    }
}
