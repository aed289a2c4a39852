//! `X-Cometd` beside `X-Reproxy-Service`: for which Bayeux client an application hands a request over; pure.
//!
//! The words are those of cometd-perl (2006): `id=…; channels=/a;/b; action=connect`. What it says besides (`domain`,
//! `tunnelType`, `eid`) has no meaning here.

use hyper::header::{HeaderMap, HeaderValue};

use super::instruction::{bad, field};
use crate::hold::BadInstruction;

/// A client of Bayeux, as its application names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cometd {
    /// Its session.
    pub id: Box<str>,
    /// What it hears from now on.
    pub channels: Vec<Box<str>>,
    /// What it wants, unless its messages say that.
    pub action: CometdAction,
    /// Its messages, as escaped JSON: the application has had the request's body.
    pub messages: Option<Box<str>>,
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CometdAction {
    /// To begin: it is told its name.
    Handshake,
    /// To be told what comes, and to wait for it.
    Connect,
    /// To hear of these channels, and to know that it does.
    Subscribe,
    /// To leave.
    Disconnect,
}

/// Bytes of a session's name.
const ID_MAX: usize = 128;

/// Reads the head of an answer; nothing where it doesn't speak of such a client.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<Box<Cometd>>, BadInstruction> {
    let Some(value) = field(headers, "x-cometd") else { return Ok(None) };
    let mut cometd = client(value).map_err(|reason| bad("X-Cometd", value, reason))?;
    if let Some(data) = field(headers, "x-cometd-data") {
        let text = data.to_str().map_err(|_| bad("X-Cometd-Data", data, "expected is escaped JSON"))?;
        cometd.messages = Some(text.into());
    }
    Ok(Some(Box::new(cometd)))
}

fn client(value: &HeaderValue) -> Result<Cometd, &'static str> {
    let text = value.to_str().map_err(|_| "expected is ASCII")?;
    let (mut id, mut channels, mut action) = (None, Vec::new(), CometdAction::Connect);
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        // A channel of the list, whose own separator is that of the fields.
        if part.starts_with('/') {
            channels.push(part.into());
            continue;
        }
        match part.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("id", name)) => id = Some(name),
            Some(("channels" | "channel", first)) => {
                channels
                    .extend(first.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Into::into));
            }
            Some(("action", word)) => action = action_of(word).ok_or("there is no such action")?,
            Some(_) => {}
            None => return Err("expected are id=…; channels=/a;/b; action=connect"),
        }
    }
    let id = id
        .filter(|id| is_id(id))
        .ok_or("expected is an id of up to 128 letters, digits, `-`, `_` and `.`")?;
    Ok(Cometd { id: id.into(), channels, action, messages: None })
}

fn action_of(word: &str) -> Option<CometdAction> {
    match word {
        "handshake" => Some(CometdAction::Handshake),
        // The older word of the same author.
        "connect" | "bind" | "" => Some(CometdAction::Connect),
        "subscribe" => Some(CometdAction::Subscribe),
        "disconnect" => Some(CometdAction::Disconnect),
        _ => None,
    }
}

fn is_id(id: &str) -> bool {
    (1..=ID_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn said(fields: &[(&'static str, &'static str)]) -> Result<Option<Cometd>, &'static str> {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let read = read(&fields.iter().map(field).collect()).map_err(|bad| bad.header)?;
        Ok(read.map(|cometd| *cometd))
    }

    #[test]
    fn a_client_has_a_name_channels_and_something_that_it_wants() {
        use CometdAction::*;
        for (value, id, channels, action) in [
            ("id=a1", "a1", &[][..], Connect),
            (
                "id=AB-12; domain=x.org; channels=/a;/b/*; action=connect; tunnelType=long-polling",
                "AB-12",
                &["/a", "/b/*"],
                Connect,
            ),
            ("channels=/a, /b;id=x;action=bind", "x", &["/a", "/b"], Connect),
            ("id=x; channels=; action=handshake", "x", &[], Handshake),
            ("id=x;channels=/a;action=subscribe;", "x", &["/a"], Subscribe),
            ("id=x; action=disconnect", "x", &[], Disconnect),
        ] {
            let channels = channels.iter().map(|name| (*name).into()).collect();
            let expected = Cometd { id: id.into(), channels, action, messages: None };
            assert_eq!(said(&[("x-cometd", value)]), Ok(Some(expected)), "{value}");
        }
        assert_eq!(said(&[("x-cometd-data", "[]")]), Ok(None));
        for bad in ["channels=/a", "id=", "id=a b", "id=x; action=dance", "id=x; nonsense", "x"] {
            assert_eq!(said(&[("x-cometd", bad)]), Err("X-Cometd"), "{bad}");
        }
    }

    #[test]
    fn messages_stay_as_they_were_escaped() {
        let messages =
            |data| said(&[("x-cometd", "id=x"), ("x-cometd-data", data)]).map(|read| read.unwrap().messages);
        assert_eq!(messages("%5B%5D"), Ok(Some("%5B%5D".into())));
        assert_eq!(messages(""), Ok(None));
    }
}
