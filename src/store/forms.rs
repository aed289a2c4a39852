//! The bytes of a message's forms in a record: a byte for each choice, then its fields as in every record.

use bytes::Bytes;

use super::record::{NoRecord, Reader, write_bytes, write_number, write_text};
use crate::message::{Form, Forms, Pairs, Reply, ReplyBody, SocketType, ToResponse, ToSocket, ToStream};

/// Appends them.
pub(super) fn write(forms: &Forms, out: &mut Vec<u8>) {
    let Forms { id, prev_id, no_seq: _, meta, response, stream, socket } = forms;
    [id, prev_id].into_iter().for_each(|text| write_text(text.as_deref(), out));
    write_pairs(meta, out);
    write_form(response, out, write_response);
    write_form(stream, out, write_stream);
    write_form(socket, out, write_socket);
}

fn write_form<T>(form: &Option<Form<T>>, out: &mut Vec<u8>, act: impl Fn(&T, &mut Vec<u8>)) {
    out.push(u8::from(form.is_some()));
    let Some(form) = form else { return };
    out.push(u8::from(form.filters.is_some()));
    if let Some(filters) = &form.filters {
        write_number(filters.len() as u64, out);
        filters.iter().for_each(|filter| write_bytes(filter.as_bytes(), out));
    }
    act(&form.act, out);
}

fn write_response(act: &ToResponse, out: &mut Vec<u8>) {
    let ToResponse::Send(Reply { code, reason, headers, body }) = act else { return out.push(0) };
    out.push(1);
    write_number((*code).into(), out);
    write_text(reason.as_deref(), out);
    write_pairs(headers, out);
    let (kind, bytes) = match body {
        ReplyBody::Whole(bytes) => (0, &bytes[..]),
        ReplyBody::Patch(patch) => (1, patch.as_bytes()),
    };
    out.push(kind);
    write_bytes(bytes, out);
}

fn write_stream(act: &ToStream, out: &mut Vec<u8>) {
    match act {
        ToStream::Hint => out.push(0),
        ToStream::Send(bytes) => {
            out.push(1);
            write_bytes(bytes, out);
        }
        ToStream::Close => out.push(2),
    }
}

fn write_socket(act: &ToSocket, out: &mut Vec<u8>) {
    match act {
        ToSocket::Refresh => out.push(0),
        ToSocket::Send(kind, bytes) => {
            let kind = match kind {
                SocketType::Text => 0,
                SocketType::Binary => 1,
                SocketType::Ping => 2,
                SocketType::Pong => 3,
            };
            out.extend_from_slice(&[1, kind]);
            write_bytes(bytes, out);
        }
        ToSocket::Close(code, reason) => {
            out.push(2);
            write_number((*code).into(), out);
            write_bytes(reason.as_bytes(), out);
        }
    }
}

fn write_pairs(pairs: &[(Box<str>, Box<str>)], out: &mut Vec<u8>) {
    write_number(pairs.len() as u64, out);
    for (name, value) in pairs {
        write_bytes(name.as_bytes(), out);
        write_bytes(value.as_bytes(), out);
    }
}

/// Takes them off the front.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Forms, NoRecord> {
    Ok(Forms {
        id: reader.text()?,
        prev_id: reader.text()?,
        no_seq: false,
        meta: read_pairs(reader)?,
        response: read_form(reader, read_response)?,
        stream: read_form(reader, read_stream)?,
        socket: read_form(reader, read_socket)?,
    })
}

fn read_form<T>(
    reader: &mut Reader<'_>,
    act: impl Fn(&mut Reader<'_>) -> Result<T, NoRecord>,
) -> Result<Option<Form<T>>, NoRecord> {
    if !flag(reader)? {
        return Ok(None);
    }
    let mut filters = None;
    if flag(reader)? {
        let count = reader.number()?;
        let names = (0..count).map(|_| reader.utf8().map(Into::into));
        filters = Some(names.collect::<Result<_, _>>()?);
    }
    Ok(Some(Form { filters, act: act(reader)? }))
}

fn read_response(reader: &mut Reader<'_>) -> Result<ToResponse, NoRecord> {
    if !flag(reader)? {
        return Ok(ToResponse::Hint);
    }
    let (code, reason, headers) = (small(reader)?, reader.text()?, read_pairs(reader)?);
    let body = match reader.byte()? {
        0 => ReplyBody::Whole(copied(reader)?),
        1 => ReplyBody::Patch(reader.utf8()?.into()),
        _ => return Err(NoRecord),
    };
    Ok(ToResponse::Send(Reply { code, reason, headers, body }))
}

fn read_stream(reader: &mut Reader<'_>) -> Result<ToStream, NoRecord> {
    match reader.byte()? {
        0 => Ok(ToStream::Hint),
        1 => Ok(ToStream::Send(copied(reader)?)),
        2 => Ok(ToStream::Close),
        _ => Err(NoRecord),
    }
}

fn read_socket(reader: &mut Reader<'_>) -> Result<ToSocket, NoRecord> {
    match reader.byte()? {
        0 => Ok(ToSocket::Refresh),
        1 => {
            let kind = match reader.byte()? {
                0 => SocketType::Text,
                1 => SocketType::Binary,
                2 => SocketType::Ping,
                3 => SocketType::Pong,
                _ => return Err(NoRecord),
            };
            Ok(ToSocket::Send(kind, copied(reader)?))
        }
        2 => Ok(ToSocket::Close(small(reader)?, reader.utf8()?.into())),
        _ => Err(NoRecord),
    }
}

fn read_pairs(reader: &mut Reader<'_>) -> Result<Pairs, NoRecord> {
    let count = reader.number()?;
    (0..count).map(|_| Ok((reader.utf8()?.into(), reader.utf8()?.into()))).collect()
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, NoRecord> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(NoRecord),
    }
}

fn small(reader: &mut Reader<'_>) -> Result<u16, NoRecord> {
    reader.number()?.try_into().map_err(|_| NoRecord)
}

/// Copied, so that a message doesn't keep the file that it was read from.
fn copied(reader: &mut Reader<'_>) -> Result<Bytes, NoRecord> {
    reader.bytes().map(Bytes::copy_from_slice)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn form<T>(act: T) -> Option<Form<T>> {
        Some(Form { filters: None, act })
    }

    /// Every kind of each form.
    pub(in crate::store) fn every_kind() -> Vec<Forms> {
        let reply = |body| Reply {
            code: 201,
            reason: Some("Made".into()),
            headers: vec![("x-a".into(), "1".into())],
            body,
        };
        let kinds = [
            ToSocket::Refresh,
            ToSocket::Send(SocketType::Text, "t".into()),
            ToSocket::Send(SocketType::Binary, "b".into()),
            ToSocket::Send(SocketType::Ping, "".into()),
            ToSocket::Send(SocketType::Pong, "".into()),
            ToSocket::Close(4001, "go".into()),
        ];
        let responses = [
            ToResponse::Hint,
            ToResponse::Send(reply(ReplyBody::Whole("body".into()))),
            ToResponse::Send(reply(ReplyBody::Patch("[]".into()))),
        ];
        let streams = [ToStream::Hint, ToStream::Close, ToStream::Send(Bytes::from_static(b"\xff"))];
        let filtered = Form { filters: Some(vec!["build-id".into()]), act: ToStream::Close };
        let mut forms = vec![Forms {
            id: Some("2".into()),
            prev_id: Some("1".into()),
            meta: vec![("sender".into(), "alice".into())],
            stream: Some(filtered),
            ..Forms::default()
        }];
        forms.extend(kinds.map(|act| Forms { socket: form(act), ..Forms::default() }));
        forms.extend(responses.map(|act| Forms { response: form(act), ..Forms::default() }));
        forms.extend(streams.map(|act| Forms { stream: form(act), ..Forms::default() }));
        forms
    }

    #[test]
    fn forms_read_what_they_write_and_nothing_that_is_cut() {
        for forms in every_kind() {
            let mut bytes = Vec::new();
            write(&forms, &mut bytes);
            assert_eq!(read(&mut Reader(&bytes)), Ok(forms.clone()));
            for length in 0..bytes.len() {
                assert_eq!(read(&mut Reader(&bytes[..length])), Err(NoRecord), "{forms:?} cut to {length}");
            }
        }
    }
}
