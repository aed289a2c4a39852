//! The answer to a client that waited for one: the held answer's head under the published one's; pure.

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};

use super::body::fields;
use super::session::Deed;
use crate::hold::{ClientSide, Length, Writer, write_head, write_reason};
use crate::message::{Reply, ReplyBody};
use crate::transport::call::{Call, MEDIA_TYPE, Told};

/// Writes the answer that a message brings. `held` is the answer of the application, head and all, as it would be sent
/// if nothing happened.
pub fn answer(deed: &Deed<'_>, held: &[u8], client: ClientSide) -> Option<Vec<u8>> {
    let (mut headers, held_body) = parts(held);
    let mut out = Vec::new();
    match deed {
        Deed::Answer(Reply { code, reason, headers: own, body }, changed) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::OK);
            let own = fields(own).unwrap_or_default();
            own.keys().for_each(|name| drop(headers.remove(name)));
            for (name, value) in &own {
                headers.append(name, value.clone());
            }
            let patched;
            let body = match (changed, body) {
                (Some(changed), _) => changed,
                (None, ReplyBody::Whole(bytes)) => &bytes[..],
                (None, ReplyBody::Patch(patch)) => {
                    patched = self::patched(held_body, patch);
                    &patched
                }
            };
            write(status, reason.as_deref(), &headers, body, client, &mut out);
        }
        Deed::AnswerData(data, media_type) => {
            let media_type = media_type.and_then(|media_type| HeaderValue::try_from(media_type).ok());
            media_type.into_iter().for_each(|value| drop(headers.insert(CONTENT_TYPE, value)));
            write(StatusCode::OK, None, &headers, data, client, &mut out);
        }
        _ => return None,
    }
    Some(out)
}

/// The same answer, which was written here, as a script that calls a function.
pub fn scripted(answer: &[u8], call: &Call, client: ClientSide) -> Vec<u8> {
    let (headers, body) = parts(answer);
    // `HTTP/1.1 200 OK`.
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(3, ' ').skip(1);
    let code = words.next().and_then(|code| code.parse().ok()).unwrap_or(200);
    let reason = words.next().unwrap_or_default();
    let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let script = call.whole(&Told { code, reason, fields }, body);
    let mut own = HeaderMap::new();
    own.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    own.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for name in [CACHE_CONTROL, DATE] {
        for value in headers.get_all(&name) {
            own.append(&name, value.clone());
        }
    }
    let mut out = Vec::new();
    write(StatusCode::OK, None, &own, &script, client, &mut out);
    out
}

fn write(
    status: StatusCode,
    reason: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
    client: ClientSide,
    out: &mut Vec<u8>,
) {
    let length = Length::of(status, body.len());
    write_head(status, headers, Writer::Application, &[], length, client, out);
    if let Some(reason) = reason {
        write_reason(reason, out);
    }
    if length != Length::Bodiless {
        out.extend_from_slice(body);
    }
}

/// The fields of an answer that was written here, without those of the connection, and its body.
fn parts(answer: &[u8]) -> (HeaderMap, &[u8]) {
    let end = memchr::memmem::find(answer, b"\r\n\r\n").unwrap_or(answer.len());
    let (head, body) = (&answer[..end], answer.get(end + 4..).unwrap_or_default());
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        // What was written here can be read.
        if let (Ok(name), Ok(value)) = (name, value)
            && !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding")
        {
            headers.append(name, value);
        }
    }
    (headers, body)
}

/// The held body with changes; nothing where it is no JSON, or the changes don't fit it. A line's end stays.
fn patched(body: &[u8], patch: &str) -> Vec<u8> {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let document = document.filter(|document| document.is_object() || document.is_array());
    let (Some(mut document), Ok(patch)) = (document, serde_json::from_str::<json_patch::Patch>(patch)) else {
        return Vec::new();
    };
    if json_patch::patch(&mut document, &patch).is_err() {
        return Vec::new();
    }
    let mut out = serde_json::to_vec(&document).unwrap_or_default();
    let end = [&b"\r\n"[..], b"\n"].into_iter().find(|end| body.ends_with(end)).unwrap_or_default();
    out.extend_from_slice(end);
    out
}

#[cfg(test)]
mod tests {
    use hyper::Version;

    use super::*;

    const HELD: &[u8] =
        b"HTTP/1.1 200 OK\r\ndate: D\r\ncontent-type: text/plain\r\nx-app: 1\r\ncontent-length: 8\r\n\r\n{\"a\":1}\n";
    const CLIENT: ClientSide = ClientSide { version: Version::HTTP_11, keep_alive: true };

    fn written(reply: Reply) -> String {
        String::from_utf8(answer(&Deed::Answer(&reply, None), HELD, CLIENT).unwrap()).unwrap()
    }

    fn reply(code: u16, body: ReplyBody) -> Reply {
        Reply { code, reason: None, headers: vec![("X-App".into(), "2".into())], body }
    }

    #[test]
    fn published_headers_stand_in_place_of_the_held_ones() {
        assert_eq!(
            written(reply(201, ReplyBody::Whole("yes\n".into()))),
            "HTTP/1.1 201 Created\r\ndate: D\r\ncontent-type: text/plain\r\nx-app: 2\r\ncontent-length: 4\r\n\r\nyes\n"
        );
        let teapot =
            Reply { reason: Some("Short and Stout".into()), ..reply(418, ReplyBody::Whole("".into())) };
        assert!(written(teapot).starts_with("HTTP/1.1 418 Short and Stout\r\n"));
        let unchanged = written(reply(304, ReplyBody::Whole("x".into())));
        assert!(unchanged.ends_with("x-app: 2\r\n\r\n"), "{unchanged}");
    }

    #[test]
    fn a_script_is_called_with_what_the_client_would_have_got() {
        let call = Call { function: "f".into(), argument: crate::transport::call::Argument::Answer };
        let teapot = Reply { reason: Some("A Teapot".into()), ..reply(418, ReplyBody::Whole("tea".into())) };
        let written = scripted(written(teapot).as_bytes(), &call, CLIENT);
        let body = "/**/f({\"code\": 418, \"reason\": \"A Teapot\", \"headers\": {\"Date\": \"D\", \
                    \"Content-Type\": \"text/plain\", \"X-App\": \"2\"}, \"body\": \"tea\"});\n";
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/javascript\r\nx-content-type-options: nosniff\r\n\
             date: D\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        assert_eq!(String::from_utf8(written).unwrap(), head + body);
    }

    #[test]
    fn a_patch_changes_the_held_body_or_leaves_nothing_of_it() {
        let body = |patch: &str| {
            let answer = written(reply(200, ReplyBody::Patch(patch.into())));
            answer.split_once("\r\n\r\n").unwrap().1.to_owned()
        };
        let patch = r#"[{"op":"replace","path":"/a","value":2},{"op":"add","path":"/b","value":[1]}]"#;
        assert_eq!(body(patch), "{\"a\":2,\"b\":[1]}\n");
        assert_eq!(body(r#"[{"op":"remove","path":"/c"}]"#), "");
        assert_eq!(body("{}"), "");
    }

    #[test]
    fn what_was_published_in_our_own_form_is_a_body_of_its_own_type() {
        let deed = Deed::AnswerData(b"{}"[..].into(), Some("application/json"));
        let text = String::from_utf8(answer(&deed, HELD, CLIENT).unwrap()).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-type: application/json\r\nx-app: 1\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
