//! What a held client of GRIP is given: for each message whether it is for it, whether one is missing before it, and
//! its bytes; pure.

use std::borrow::Cow;
use std::sync::Arc;

use super::asking::Pending;
use super::filter::{Client, Filter, Filters, Step, Unfiltered};
use crate::hold::RouteChannels;
use crate::message::{
    ChannelName, Form, Message, Pairs, Reply, Sequence, SocketType, ToResponse, ToSocket, ToStream,
};

/// Names and values, as filters look them up.
pub type Meta = Pairs;

/// A channel of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Which.
    pub name: ChannelName,
    /// The id of the last message that the client has, where the application counts them.
    pub prev_id: Option<Box<str>>,
    /// What passes.
    pub filters: Filters,
}

/// The client's side of its channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    places: Vec<Place>,
    meta: Meta,
    /// By which names its application knows them.
    route: Option<Arc<RouteChannels>>,
}

/// How far the client is on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: ChannelName,
    filters: Filters,
    /// Whether each message has to follow the one before it.
    is_counted: bool,
    last_id: Option<Box<str>>,
    /// Messages that come again though the application's answer has them.
    known: usize,
    /// What stands up to here is not for the client, or it has it.
    after: Sequence,
    /// Whether something has come on it since this was asked last.
    is_heard: bool,
}

/// What becomes of the client, or of its stream, by a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed<'a> {
    /// It isn't for this client.
    Nothing,
    /// These bytes of a stream.
    Send(Cow<'a, [u8]>),
    /// This answer. Its body may be another than the message's.
    Answer(&'a Reply, Option<Vec<u8>>),
    /// An answer with these bytes, and this media type where one is named.
    AnswerData(Cow<'a, [u8]>, Option<&'a str>),
    /// This message on a WebSocket.
    SendSocket(SocketType, Cow<'a, [u8]>),
    /// The end, on a WebSocket with code and reason.
    Close(Option<(u16, &'a str)>),
    /// Messages are missing, or the publisher says that the application knows better: the client is to ask again.
    Recover,
    /// The application behind a WebSocket is asked.
    Refresh,
    /// A URL is asked about it.
    Ask(Box<Pending>),
}

/// How a message stands to the ones before it.
enum Order {
    /// It is the next.
    Next(usize),
    /// The client has it, or isn't on its channel.
    Known,
    /// There is one between.
    Gap,
}

impl Session {
    /// Of a client that is just being held.
    pub fn new(subscriptions: Vec<Subscription>, meta: Meta, route: Option<Arc<RouteChannels>>) -> Session {
        let place = |Subscription { name, prev_id, filters }| Place {
            name,
            filters,
            is_counted: prev_id.is_some(),
            last_id: prev_id,
            known: 0,
            after: Sequence(0),
            is_heard: false,
        };
        Session { places: subscriptions.into_iter().map(place).collect(), meta, route }
    }

    /// Whether every message goes to the client as it is, so that it needs no session: bytes that are shared by all will
    /// do.
    pub fn is_plain(&self) -> bool {
        self.places.iter().all(|place| place.filters.is_empty() && !place.is_counted)
    }

    /// Whether one of its filters asks.
    pub fn may_ask(&self) -> bool {
        self.places.iter().any(|place| place.filters.ask())
    }

    /// The names of its channels.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.places.iter().map(|place| &place.name)
    }

    /// Channels with the last ids that are known, for `Grip-Last`.
    pub fn last_ids(&self) -> impl Iterator<Item = (&ChannelName, &str)> {
        self.places.iter().filter_map(|place| Some((&place.name, place.last_id.as_deref()?)))
    }

    /// Whether something has come on every channel since this was asked last.
    pub fn take_heard(&mut self) -> bool {
        let all = self.places.iter().all(|place| place.is_heard);
        self.places.iter_mut().for_each(|place| place.is_heard = false);
        all
    }

    /// Channels whose messages are counted, with the last id of each.
    pub fn counted(&self) -> impl Iterator<Item = (&ChannelName, &str)> {
        let counted = self.places.iter().filter(|place| place.is_counted);
        counted.filter_map(|place| Some((&place.name, place.last_id.as_deref()?)))
    }

    /// Takes note of what was published since the request was forwarded: what stands before the message that the
    /// application has counted last is known to the client.
    pub fn begin<'a>(&mut self, messages: impl Iterator<Item = &'a Message> + Clone) {
        for place in self.places.iter_mut().filter(|place| place.is_counted && place.last_id.is_some()) {
            let mut own = messages.clone().filter(|message| message.channel == place.name);
            let is_last =
                |message: &Message| message.forms.as_ref().is_some_and(|forms| forms.id == place.last_id);
            place.known = own.position(is_last).map_or(0, |at| at + 1);
        }
    }

    /// Adds a channel, from a place on, to a client that stands at another; or changes the filters of one.
    pub fn subscribe(&mut self, name: ChannelName, filters: Filters, after: Sequence, stands_at: Sequence) {
        if let Some(place) = self.places.iter_mut().find(|place| place.name == name) {
            place.filters = filters;
            return;
        }
        // It goes back to where the channel begins, and has what comes again of the others.
        self.places.iter_mut().for_each(|place| place.after = place.after.max(stands_at));
        let (is_counted, last_id, known, is_heard) = (false, None, 0, false);
        self.places.push(Place { name, filters, is_counted, last_id, known, after, is_heard });
    }

    /// Whether the client is on a channel.
    pub fn is_on(&self, name: &ChannelName) -> bool {
        self.places.iter().any(|place| place.name == *name)
    }

    /// The same as [`is_plain`](Session::is_plain) of messages from this place on: none of them comes again.
    pub fn is_plain_from(&self, first: Sequence) -> bool {
        self.is_plain() && self.places.iter().all(|place| place.after < first)
    }

    /// Whether a message at this place is none for the client, as it stands before the place at which it began.
    pub fn is_before(&self, message: &Message, at: Sequence) -> bool {
        self.places.iter().any(|place| place.name == message.channel && at <= place.after)
    }

    /// Takes a channel away.
    pub fn unsubscribe(&mut self, name: &ChannelName) {
        self.places.retain(|place| place.name != *name);
    }

    /// Sets what filters look at, or takes it away.
    pub fn set_meta(&mut self, name: &str, value: Option<&str>) {
        self.meta.retain(|(own, _)| **own != *name);
        self.meta.extend(value.map(|value| (name.into(), value.into())));
    }

    /// What a message means to a client of a stream.
    pub fn on_stream<'a>(&mut self, message: &'a Message) -> Deed<'a> {
        let Some(forms) = &message.forms else { return self.send(message, message.data.bytes(), None) };
        let Some(Form { filters, act }) = &forms.stream else { return self.pass(message) };
        match act {
            ToStream::Send(bytes) => self.send(message, bytes, filters.as_deref()),
            ToStream::Hint => Deed::Recover,
            ToStream::Close => self.act(message, Deed::Close(None)),
        }
    }

    /// What a message means to a client that waits for its answer.
    pub fn on_response<'a>(&mut self, message: &'a Message) -> Deed<'a> {
        let Some(forms) = &message.forms else {
            return match self.send(message, message.data.bytes(), None) {
                Deed::Send(bytes) => Deed::AnswerData(bytes, message.content_type.as_deref()),
                deed => deed,
            };
        };
        let Some(Form { filters, act }) = &forms.response else { return self.pass(message) };
        let ToResponse::Send(reply) = act else { return Deed::Recover };
        let crate::message::ReplyBody::Whole(bytes) = &reply.body else {
            return self.act(message, Deed::Answer(reply, None));
        };
        match self.send(message, bytes, filters.as_deref()) {
            Deed::Send(Cow::Borrowed(_)) => Deed::Answer(reply, None),
            Deed::Send(Cow::Owned(body)) => Deed::Answer(reply, Some(body)),
            deed => deed,
        }
    }

    /// What a message means to the client of a WebSocket.
    pub fn on_socket<'a>(&mut self, message: &'a Message) -> Deed<'a> {
        let Some(forms) = &message.forms else {
            let kind = match &message.data {
                crate::message::Data::Binary(_) => SocketType::Binary,
                _ => SocketType::Text,
            };
            return of_socket(self.send(message, message.data.bytes(), None), kind);
        };
        let Some(Form { filters, act }) = &forms.socket else { return self.pass(message) };
        match act {
            ToSocket::Send(kind, bytes) => of_socket(self.send(message, bytes, filters.as_deref()), *kind),
            ToSocket::Close(code, reason) => self.act(message, Deed::Close(Some((*code, reason)))),
            ToSocket::Refresh => self.act(message, Deed::Refresh),
        }
    }

    /// The bytes of an answer that the application itself sent, where a filter changes them. Ids of channels are not
    /// known there.
    pub fn change_beginning<'b>(&self, body: &'b [u8]) -> Result<Cow<'b, [u8]>, Unfiltered> {
        let client = Client { meta: &self.meta, is_on: &|_| false, last_id: &|_| None };
        let place = self.places.iter().find(|place| place.filters.has(Filter::BuildId));
        let only = Filters::read(["build-id"].into_iter());
        match place {
            Some(_) => {
                only.run(0, Cow::Borrowed(body), &client).map(|(Step::Done(body) | Step::Ask(_, body))| body)
            }
            None => Ok(Cow::Borrowed(body)),
        }
    }

    fn order(&mut self, message: &Message) -> Order {
        let Some(at) = self.places.iter().position(|place| place.name == message.channel) else {
            return Order::Known;
        };
        let place = &mut self.places[at];
        if place.known > 0 {
            place.known -= 1;
            return Order::Known;
        }
        // What was published in our own form has no ids, and is never missing: the hub sees to that.
        let Some(forms) = message.forms.as_ref().filter(|_| place.is_counted) else { return Order::Next(at) };
        if place.last_id.is_none() || place.last_id == forms.prev_id {
            return Order::Next(at);
        }
        if forms.id.is_some() && forms.id == place.last_id { Order::Known } else { Order::Gap }
    }

    /// A message that is nothing to this kind of client still is the one that the next follows.
    fn pass<'a>(&mut self, message: &'a Message) -> Deed<'a> {
        match self.act(message, Deed::Nothing) {
            Deed::Recover => Deed::Recover,
            _ => Deed::Nothing,
        }
    }

    /// Does it if it is its turn.
    fn act<'a>(&mut self, message: &'a Message, deed: Deed<'a>) -> Deed<'a> {
        match self.order(message) {
            Order::Known => Deed::Nothing,
            Order::Gap => Deed::Recover,
            Order::Next(at) => {
                self.reach(at, message);
                // What a URL would have to see first isn't there yet.
                let is_unseen = self.places[at].filters.ask() && matches!(deed, Deed::Answer(..));
                if self.admits(at, message) && !is_unseen { deed } else { Deed::Nothing }
            }
        }
    }

    fn send<'a>(
        &mut self,
        message: &'a Message,
        bytes: &'a [u8],
        counted_on: Option<&[Box<str>]>,
    ) -> Deed<'a> {
        let at = match self.order(message) {
            Order::Known => return Deed::Nothing,
            Order::Gap => return Deed::Recover,
            Order::Next(at) => at,
        };
        let last_ids = if self.places[at].filters.ask() { self.had() } else { Vec::new() };
        self.reach(at, message);
        let filters = &self.places[at].filters;
        if !self.admits(at, message) || counted_on.is_some_and(|names| !filters.content_is(names)) {
            return Deed::Nothing;
        }
        match self.filtered(filters, 0, bytes) {
            Ok(Step::Done(bytes)) => Deed::Send(bytes),
            Ok(Step::Ask(at, bytes)) => {
                let (filters, content) = (filters.clone(), bytes.into_owned().into());
                Deed::Ask(Box::new(Pending { filters, at, content, last_ids }))
            }
            Err(error) => {
                tracing::debug!(channel = %message.channel, %error, "a message is left out");
                Deed::Nothing
            }
        }
    }

    /// What comes of bytes from this filter on.
    pub(super) fn filtered<'b>(
        &self,
        filters: &Filters,
        from: usize,
        bytes: &'b [u8],
    ) -> Result<Step<'b>, Unfiltered> {
        self.client(|client| filters.run(from, Cow::Borrowed(bytes), client))
    }

    /// What filters look at.
    pub(super) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The value of one name in it.
    pub(super) fn meta_of(&self, name: &str) -> Option<&str> {
        self.meta.iter().rev().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }

    fn own_name<'n>(&self, name: &'n ChannelName) -> &'n str {
        self.route.as_deref().map_or(name.as_str(), |route| route.own_name(name))
    }

    fn had(&self) -> Vec<(Box<str>, Box<str>)> {
        self.counted().map(|(name, id)| (self.own_name(name).into(), id.into())).collect()
    }

    fn reach(&mut self, at: usize, message: &Message) {
        let place = &mut self.places[at];
        place.is_heard = true;
        if let Some(forms) = &message.forms {
            place.last_id = forms.id.clone();
        }
    }

    fn admits(&self, at: usize, message: &Message) -> bool {
        let meta = message.forms.as_ref().map_or(&[][..], |forms| &forms.meta);
        self.client(|client| self.places[at].filters.admit(meta, client))
    }

    /// Filters name channels as the application does, without the prefix of its route.
    fn client<T>(&self, look: impl FnOnce(&Client<'_>) -> T) -> T {
        let place = |name: &str| self.places.iter().find(|place| self.own_name(&place.name) == name);
        look(&Client {
            meta: &self.meta,
            is_on: &|name| place(name).is_some(),
            last_id: &|name| place(name)?.last_id.as_deref(),
        })
    }
}

/// What a message means to a client of a stream that looks at nothing.
pub fn plain(message: &Message) -> Deed<'_> {
    let Some(forms) = &message.forms else { return Deed::Send(Cow::Borrowed(message.data.bytes())) };
    let for_all = |form: &&Form<ToStream>| form.filters.as_ref().is_none_or(Vec::is_empty);
    match forms.stream.as_ref().filter(for_all).map(|form| &form.act) {
        Some(ToStream::Send(bytes)) => Deed::Send(Cow::Borrowed(bytes)),
        Some(ToStream::Close) => Deed::Close(None),
        Some(ToStream::Hint) | None => Deed::Nothing,
    }
}

fn of_socket(deed: Deed<'_>, kind: SocketType) -> Deed<'_> {
    match deed {
        Deed::Send(bytes) => Deed::SendSocket(kind, bytes),
        deed => deed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Data, Forms};

    fn message(channel: &str, id: &str, prev_id: &str) -> Message {
        let some = |text: &str| (!text.is_empty()).then(|| text.into());
        let stream = Form { filters: None, act: ToStream::Send("x".into()) };
        let forms = Forms { id: some(id), prev_id: some(prev_id), stream: Some(stream), ..Forms::default() };
        Message {
            forms: Some(Box::new(forms)),
            ..Message::new(ChannelName::parse(channel).unwrap(), Data::Text("x".into()))
        }
    }

    fn session(prev_id: Option<&str>) -> Session {
        let name = ChannelName::parse("a").unwrap();
        let filters = Filters::default();
        Session::new(vec![Subscription { name, prev_id: prev_id.map(Into::into), filters }], Vec::new(), None)
    }

    /// `+` delivered, `-` passed over, `!` a gap.
    fn heard(session: &mut Session, messages: &[(&str, &str)]) -> String {
        let messages = messages.iter().map(|(id, prev_id)| message("a", id, prev_id));
        messages
            .map(|message| match session.on_stream(&message) {
                Deed::Send(_) => '+',
                Deed::Nothing => '-',
                _ => '!',
            })
            .collect()
    }

    #[test]
    fn each_message_follows_the_one_before_it_where_they_are_counted() {
        assert_eq!(heard(&mut session(Some("1")), &[("2", "1"), ("3", "2")]), "++");
        assert_eq!(heard(&mut session(Some("1")), &[("4", "3")]), "!");
        assert_eq!(heard(&mut session(Some("1")), &[("2", "")]), "!");
        let mut late = session(Some("3"));
        let read = [("2", "1"), ("3", "2"), ("4", "3")];
        let messages: Vec<_> = read.iter().map(|(id, prev_id)| message("a", id, prev_id)).collect();
        late.begin(messages.iter());
        assert_eq!(heard(&mut late, &read), "--+");
        // It has come with the beginning.
        assert_eq!(heard(&mut session(Some("2")), &[("2", "1"), ("3", "2")]), "-+");
        // Without an id nothing is known of what follows.
        assert_eq!(heard(&mut session(Some("1")), &[("", "1"), ("9", "8")]), "++");
        assert_eq!(heard(&mut session(None), &[("4", "3"), ("9", "7")]), "++");
    }

    #[test]
    fn what_is_no_stream_counts_and_is_not_sent() {
        let mut session = session(Some("1"));
        let mut other = message("a", "2", "1");
        other.forms.as_mut().unwrap().stream = None;
        assert_eq!(session.on_stream(&other), Deed::Nothing);
        assert_eq!(heard(&mut session, &[("3", "2")]), "+");
        assert_eq!(session.last_ids().map(|(_, id)| id).collect::<Vec<_>>(), ["3"]);
        assert_eq!(session.on_stream(&message("b", "1", "")), Deed::Nothing);
    }

    #[test]
    fn the_id_of_a_message_stands_in_its_own_content() {
        let filters = Filters::read(["build-id"].into_iter());
        let name = ChannelName::parse("a").unwrap();
        let meta = vec![("id_format".into(), "a:%(a)s".into())];
        let subscriptions = vec![Subscription { name, prev_id: None, filters }];
        let mut session = Session::new(subscriptions, meta, None);
        let mut own = message("a", "6", "5");
        let act = ToStream::Send("id: %I\n".into());
        own.forms.as_mut().unwrap().stream = Some(Form { filters: Some(vec!["build-id".into()]), act });
        assert_eq!(session.on_stream(&own), Deed::Send(b"id: a:6\n"[..].into()));
        own.forms.as_mut().unwrap().stream.as_mut().unwrap().filters = Some(Vec::new());
        assert_eq!(session.on_stream(&own), Deed::Nothing);
        assert_eq!(session.change_beginning(b"id: %(x)I 5%%").unwrap(), &b"id: x 5%"[..]);
    }

    #[test]
    fn filters_know_channels_by_the_names_that_the_application_says() {
        let name = |name: &str| ChannelName::parse(name).unwrap();
        let route = RouteChannels::new(Some("p-"), vec![name("p-all")]).map(Arc::new);
        let subscription = |channel: &str| Subscription {
            name: name(channel),
            prev_id: None,
            filters: Filters::read(["require-sub", "build-id"].into_iter()),
        };
        let meta = vec![("id_format".into(), "%(a)s".into())];
        let mut session = Session::new(vec![subscription("p-a"), subscription("p-all")], meta, route);
        for (required, heard) in [("a", true), ("p-a", false), ("p-all", true), ("all", false)] {
            let mut item = message("p-a", "6", "5");
            let forms = item.forms.as_mut().unwrap();
            forms.meta = vec![("require_sub".into(), required.into())];
            forms.stream = Some(Form { filters: None, act: ToStream::Send("%I".into()) });
            let expected = if heard { Deed::Send(b"6"[..].into()) } else { Deed::Nothing };
            assert_eq!(session.on_stream(&item), expected, "{required}");
        }
    }
}
