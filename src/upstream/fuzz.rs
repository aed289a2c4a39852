//! Answers as an application may send them by mistake.

use bytes::BytesMut;

use super::chunked::{Chunked, Piece};
use super::response_head::take;
use crate::fuzz::kind;

/// However the bytes arrive, they are the same head.
pub(crate) fn head(input: &[u8]) -> u64 {
    let Some((&flag, input)) = input.split_first() else { return 0 };
    let is_answer_to_head = flag == b'H';
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut arrived, mut searched) = (BytesMut::new(), 0);
        for piece in pieces {
            arrived.extend_from_slice(piece);
            match take(&mut arrived, &mut searched, is_answer_to_head) {
                Ok(None) => {}
                Ok(Some(head)) => {
                    return Ok(Some((
                        head.parts.status,
                        format!("{:?}", head.parts.headers),
                        head.body,
                        head.keep_alive,
                    )));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    };
    let whole = read(&mut [input].into_iter());
    assert_eq!(read(&mut input.chunks(1)), whole);
    match whole {
        Ok(None) => 1,
        Ok(Some((status, _, body, keep_alive))) => {
            kind((status.as_u16() / 100, format!("{body:?}"), keep_alive))
        }
        Err(error) => kind(error),
    }
}

/// However the bytes arrive, they are the same body.
pub(crate) fn chunks(input: &[u8]) -> u64 {
    let read = |size: usize| {
        let (mut chunked, mut arrived, mut data) = (Chunked::default(), BytesMut::new(), Vec::new());
        for piece in input.chunks(size) {
            arrived.extend_from_slice(piece);
            loop {
                match chunked.next(&mut arrived) {
                    Ok(Some(Piece::Data(more))) => data.extend_from_slice(&more),
                    Ok(Some(Piece::Trailers(fields))) => return (data, Ok(Some(fields.len()))),
                    Ok(Some(Piece::End)) => return (data, Ok(Some(0))),
                    Ok(None) => break,
                    Err(error) => return (data, Err(error)),
                }
            }
        }
        (data, Ok(None))
    };
    let whole = read(input.len().max(1));
    let dripped = read(1);
    assert_eq!(dripped.0, whole.0);
    assert_eq!(dripped.1.is_ok(), whole.1.is_ok());
    kind((whole.0.len(), whole.1))
}
