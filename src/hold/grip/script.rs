//! What an application says to the client of a WebSocket and about it, as the words that its shard is given; pure.

use std::sync::Arc;

use hyper::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};

use super::control::{BadControl, Control, fitting};
use super::events::{Event, EventKind};
use super::params::elements;
use crate::hold::{RouteChannels, Speech};
use crate::message::Sequence;
use crate::transport::websocket::{self, Kind};

/// How the application tells what is for the client from what is about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tongue {
    /// What stands before messages; `None` where everything is for the client.
    prefix: Option<Box<str>>,
    /// What the route says of its channels.
    channels: Option<Arc<RouteChannels>>,
}

/// What is to be said, and whether that is the end.
#[derive(Debug, Default)]
pub struct Script {
    /// In this order.
    pub speeches: Vec<Speech>,
    /// Whether the application has closed or cut it.
    pub ends: bool,
    /// Whether the application wants to hear no more of it.
    pub detaches: bool,
}

/// What stands before messages where nothing else is agreed on.
const PREFIX: &str = "m:";
const CONTROL: &[u8] = b"c:";
/// Codes of a close (RFC 6455 §7.4.1).
const INTERNAL_ERROR: u16 = 1011;

impl Tongue {
    /// As the application has agreed to in `Sec-WebSocket-Extensions`, on a route that says this of its channels.
    pub fn agreed(answer: &HeaderMap, channels: Option<Arc<RouteChannels>>) -> Tongue {
        let lines = answer.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
        let grip = lines.flat_map(elements).find(|element| element.value == "grip");
        let prefix = grip.map(|grip| grip.get("message-prefix").unwrap_or(PREFIX).into());
        Tongue { prefix, channels }
    }

    /// Whether the application gives orders at all.
    pub fn is_grip(&self) -> bool {
        self.prefix.is_some()
    }

    /// An order by the names that publishers say.
    fn meant(&self, control: Control) -> Result<Control, BadControl> {
        let Some(channels) = &self.channels else { return Ok(control) };
        let control = match channels.prefix() {
            Some(prefix) => control.under(prefix)?,
            None => control,
        };
        match &control {
            Control::Unsubscribe(name) if channels.always().contains(name) => {
                Err(BadControl::Unclear(format!("clients of the route are always on {name}")))
            }
            _ => Ok(control),
        }
    }
}

impl Script {
    /// Of events, in their order. What is subscribed begins after this place.
    pub fn of_events(tongue: &Tongue, events: Vec<Event>, after: Sequence) -> Script {
        let mut script = Script::default();
        for event in events {
            if script.ends {
                break;
            }
            match event.kind {
                EventKind::Open => {}
                EventKind::Text => script.hear(tongue, Kind::Text, &event.content, after),
                EventKind::Binary => script.hear(tongue, Kind::Binary, &event.content, after),
                EventKind::Ping => script.say(Kind::Ping, &event.content),
                EventKind::Pong => script.say(Kind::Pong, &event.content),
                EventKind::Close => script.close(event.closing()),
                EventKind::Disconnect => script.end(Speech::Cut),
            }
        }
        // Last, wherever it stands: what is said besides is for the client all the same.
        if script.detaches && !script.ends {
            script.speeches.push(Speech::Grip(Box::new(Control::Detach), after));
        }
        script
    }

    /// A whole message of the application.
    fn hear(&mut self, tongue: &Tongue, kind: Kind, content: &[u8], after: Sequence) {
        let Some(prefix) = &tongue.prefix else { return self.say(kind, content) };
        match content.strip_prefix(CONTROL).filter(|_| kind == Kind::Text) {
            Some(order) => self.order(tongue, order, after),
            None => match content.strip_prefix(prefix.as_bytes()) {
                Some(content) => self.say(kind, content),
                None => tracing::debug!(prefix = &**prefix, "a message without its prefix is left out"),
            },
        }
    }

    fn order(&mut self, tongue: &Tongue, order: &[u8], after: Sequence) {
        match Control::read(order).and_then(|control| tongue.meant(control)) {
            Ok(Control::Detach) => self.detaches = true,
            Ok(control) => self.speeches.push(Speech::Grip(Box::new(control), after)),
            Err(error @ BadControl::Filters) => {
                tracing::warn!(%error, "a WebSocket is closed for an order of its application");
                self.end(Speech::Close(INTERNAL_ERROR, "".into()));
            }
            Err(error) => tracing::debug!(%error, "an order of an application is passed over"),
        }
    }

    /// Frames that follow one another go together. What can be no text goes as bytes.
    fn say(&mut self, kind: Kind, content: &[u8]) {
        let is_text = kind != Kind::Text || std::str::from_utf8(content).is_ok();
        let kind = if is_text { kind } else { Kind::Binary };
        if !matches!(self.speeches.last(), Some(Speech::Frames(_))) {
            self.speeches.push(Speech::Frames(Vec::new()));
        }
        if let Some(Speech::Frames(frames)) = self.speeches.last_mut() {
            websocket::message(kind, fitting(kind, content), frames);
        }
    }

    /// A code that may not be sent stands for none: libraries send 0.
    fn close(&mut self, said: Option<(u16, String)>) {
        let speech = match said {
            Some((code @ (1000..=1003 | 1007..=1014 | 3000..=4999), reason)) => {
                Speech::Close(code, reason.into())
            }
            _ => Speech::Close(websocket::NORMAL, "".into()),
        };
        self.end(speech);
    }

    fn end(&mut self, speech: Speech) {
        self.speeches.push(speech);
        self.ends = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ChannelName;

    fn tongue(extensions: &'static str) -> Tongue {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions.parse().unwrap());
        Tongue::agreed(&headers, None)
    }

    fn said(tongue: &Tongue, events: &[(EventKind, &'static [u8])]) -> String {
        let events = events.iter().map(|(kind, content)| Event { kind: *kind, content: (*content).into() });
        let script = Script::of_events(tongue, events.collect(), Sequence(7));
        let word = |speech: &Speech| match speech {
            Speech::Frames(frames) => String::from_utf8_lossy(frames).replace(char::is_control, "."),
            Speech::Grip(control, Sequence(7)) => format!("{control:?}"),
            Speech::Close(code, reason) => format!("close {code} {reason}"),
            Speech::Cut => "cut".into(),
            speech => panic!("{speech:?}"),
        };
        script.speeches.iter().map(word).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn orders_are_by_the_names_that_publishers_say_and_nobody_leaves_a_channel_of_the_route() {
        let always = ["x-a", "b"].map(|name| ChannelName::parse(name).unwrap());
        let channels = RouteChannels::new(Some("x-"), always.to_vec()).map(Arc::new);
        let tongue = Tongue { channels, ..tongue("grip") };
        let said = |channel: &str| {
            let order = format!("c:{{\"type\":\"unsubscribe\",\"channel\":\"{channel}\"}}");
            let event = Event { kind: EventKind::Text, content: order.into() };
            let script = Script::of_events(&tongue, vec![event], Sequence(7));
            script.speeches.iter().map(|speech| format!("{speech:?}")).collect::<String>()
        };
        assert_eq!(said("a"), "");
        assert!(said("b").contains("Unsubscribe(\"x-b\")"), "{}", said("b"));
    }

    #[test]
    fn what_is_for_the_client_has_a_prefix_and_orders_are_told_from_it() {
        use EventKind::{Binary, Close, Disconnect, Open, Ping, Text};
        let grip = tongue("grip");
        assert_eq!(
            said(&grip, &[(Open, b""), (Text, b"m:a"), (Binary, b"m:b"), (Ping, b"c")]),
            "\u{fffd}.a\u{fffd}.b\u{fffd}.c"
        );
        assert_eq!(said(&grip, &[(Text, b"a"), (Text, b"c:{}"), (Binary, b"c:{\"type\":\"detach\"}")]), "");
        assert_eq!(
            said(&grip, &[(Text, b"m:a"), (Text, b"c:{\"type\":\"detach\"}"), (Text, b"m:b")]),
            "\u{fffd}.a\u{fffd}.b | Detach"
        );
        let own = tongue("x, grip; message-prefix=\"\"");
        assert_eq!(
            said(&own, &[(Text, b"m:a"), (Text, b"c:{\"type\":\"detach\"}")]),
            "\u{fffd}.m:a | Detach"
        );
        let none = tongue("permessage-deflate");
        assert!(!none.is_grip());
        assert_eq!(said(&none, &[(Text, b"c:{\"type\":\"detach\"}")]).len(), "\u{fffd}.".len() + 19);
        assert_eq!(said(&grip, &[(Close, b"\x0f\xa1go"), (Text, b"m:a")]), "close 4001 go");
        assert_eq!(said(&grip, &[(Close, b"\0\0")]), "close 1000 ");
        assert_eq!(said(&grip, &[(Close, b"")]), "close 1000 ");
        assert_eq!(said(&grip, &[(Disconnect, b"")]), "cut");
        let many =
            b"c:{\"type\":\"subscribe\",\"channel\":\"a\",\"filters\":[\"\",\"\",\"\",\"\",\"\",\"\"]}";
        assert_eq!(said(&grip, &[(Text, many)]), "close 1011 ");
    }
}
