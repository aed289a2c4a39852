//! A shard over real sockets, with the hub behind it and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::header::{DATE, HeaderValue};
use hyper::{HeaderMap, StatusCode, Version};
use tokio::sync::mpsc;

use super::{ShardSettings, Shards};
use crate::access_log::AccessLog;
use crate::hold::{
    Answer, ClientSide, Departure, Hold, Home, Passport, Permit, Return, Source, TicketSettings, Tickets,
};
use crate::hub::{Hub, HubSettings, Outcome, Policy, Slow};
use crate::message::{Batch, ChannelName, Data, Epoch, Message, Position, Sequence, Start};
use crate::metrics::Metrics;
use crate::transport;
use crate::wire::{Mooring, Scratch, Wire};

pub(super) struct House {
    hub: Arc<Hub>,
    pub(super) metrics: Metrics,
    shards: Option<Shards>,
    desk: mpsc::Sender<Return>,
    pub(super) returns: mpsc::Receiver<Return>,
    pub(super) held: Arc<AtomicUsize>,
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(shards) = self.shards.take() {
            shards.stop();
        }
    }
}

impl House {
    pub(super) fn new() -> House {
        House::with(Slow::Close, 1000)
    }

    fn with(slow: Slow, window_messages: usize) -> House {
        House::with_patience(slow, window_messages, Duration::from_secs(60))
    }

    fn with_patience(slow: Slow, window_messages: usize, stall: Duration) -> House {
        let metrics = Metrics::new().unwrap();
        let settings = HubSettings {
            policies: Policy { slow, ..Policy::keeping(10, None) }.into(),
            history_bytes: 64 << 20,
            channels: 100,
            window_messages,
            publisher_ids: 100,
        };
        let hub = Hub::new(Epoch(14), settings, metrics.clone());
        let settings = ShardSettings {
            held_connections: None,
            new_holds: None,
            returns: None,
            keepalive: None,
            poll_timeout: Duration::from_secs(60),
            stall,
            turn_bytes: 64 << 10,
            read_ahead: 4096,
            asker: None,
        };
        let log = AccessLog::to(crate::config::AccessFormat::Off, std::io::sink(), &metrics).unwrap();
        let settings_of_tickets = TicketSettings { keys: Vec::new(), renewal: None, revocations: 10 };
        let tickets = Arc::new(Tickets::new(&[7; 32], &settings_of_tickets));
        let shards = Shards::start(1, &hub, settings, (tickets, None), &metrics, &log).unwrap();
        let (desk, returns) = mpsc::channel(16);
        House { hub, metrics, shards: Some(shards), desk, returns, held: Arc::default() }
    }

    pub(super) fn publish(&self, channel: &str, texts: &[&str]) {
        let message = |text: &&str| {
            Message::new(
                ChannelName::parse(channel).unwrap(),
                Data::Text(bytes::Bytes::copy_from_slice(text.as_bytes())),
            )
        };
        let batch = Batch { messages: texts.iter().map(message).collect(), expected: Vec::new() };
        let Outcome::Settled(Ok(_)) = self.hub.publish(batch, Instant::now()) else { panic!() };
    }

    /// A held client, once its head is there; what came behind the head is returned with it.
    pub(super) fn hold(&self, channels: &str, change: impl FnOnce(&mut Hold)) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut hold = self.wish(channels);
        change(&mut hold);
        self.keep(Wire::plain(socket), None, Passport::new(peer, 3), hold);
        client
    }

    /// A stream of events from now on.
    pub(super) fn wish(&self, channels: &str) -> Hold {
        let head = Start::After(self.hub.head());
        let wishes = channels.split(',').map(|name| (ChannelName::parse(name).unwrap(), head)).collect();
        let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static("D"))]);
        Hold {
            wishes,
            transport: transport::SSE,
            parameters: transport::Parameters::default(),
            timeout: None,
            keepalive: None,
            retry: None,
            answer: Answer { status: StatusCode::OK, headers, body: bytes::Bytes::new() },
            at: std::time::SystemTime::now(),
            source: Source::Application,
            tag: None,
            messages: None,
            client: ClientSide { version: Version::HTTP_11, keep_alive: true },
            subject: None,
            ear: None,
            grip: None,
        }
    }

    pub(super) fn keep(&self, wire: Wire, mooring: Option<Mooring>, passport: Passport, hold: Hold) {
        let permit = Permit::take(&self.held, None).unwrap();
        let home = Home { desk: self.desk.clone(), passport };
        let (read_ahead, hold) = (Vec::new(), Box::new(hold));
        let keeper = self.shards.as_ref().unwrap().keeper();
        keeper.keep_socket(Box::new(Departure { wire, mooring, read_ahead, hold, permit, home }));
    }

    pub(super) fn drain(&self, spread: Duration) {
        self.shards.as_ref().unwrap().drain(spread);
    }

    fn hub_readers(&self, channels: &str) -> usize {
        let name = ChannelName::parse(channels.split(',').next().unwrap()).unwrap();
        self.hub.channel(&name, Instant::now()).map_or(0, |facts| facts.subscribers)
    }

    pub(super) fn wait_for_readers(&self, channel: &str, readers: usize) {
        wait(|| self.hub_readers(channel) == readers);
    }
}

pub(super) fn wait(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not come true");
        std::thread::yield_now();
    }
}

/// Reads until what was read ends with this, and returns all of it. Nothing more may be on its way.
pub(super) fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while !bytes.ends_with(end.as_bytes()) {
        let read = client.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(bytes).unwrap()
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn a_message_reaches_everyone_on_its_channel_and_nobody_else() {
    let house = House::new();
    let mut first = house.hold("news", |_| ());
    let mut other = house.hold("weather,sport", |_| ());
    house.wait_for_readers("news", 1);
    house.wait_for_readers("sport", 1);
    house.publish("news", &["a"]);
    house.publish("sport", &["b"]);
    assert_eq!(read_until(&mut first, "\n\n\r\n"), format!("{HEAD}11\r\nid: e-1\ndata: a\n\n\r\n"));
    assert_eq!(read_until(&mut other, "\n\n\r\n"), format!("{HEAD}11\r\nid: e-2\ndata: b\n\n\r\n"));
}

#[test]
fn a_client_whose_last_place_was_taken_on_its_way_is_told_to_come_again() {
    let mut house = House::new();
    // More than there may be, as where others have taken the last ones since it was admitted.
    let names: Vec<String> = (0..101).map(|number| format!("c{number}")).collect();
    let refused = |change: fn(&mut Hold)| {
        let mut client = house.hold(&names.join(","), change);
        let text = read_until(&mut client, "held on a channel\n");
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
        assert!(text.contains("\r\nretry-after: 5\r\n") && !text.contains("chunked"), "{text}");
        client
    };
    let poll = refused(|hold| hold.transport = transport::LONG_POLL);
    let stream = refused(|_| ());
    let mut last = refused(|hold| hold.client.keep_alive = false);
    assert_eq!(last.read(&mut [0]).unwrap(), 0, "what doesn't serve another request is closed");
    // Both others do.
    let mut back = [(); 2].map(|()| house.returns.blocking_recv().unwrap().passport.peer());
    let mut clients = [poll, stream].map(|client| client.local_addr().unwrap());
    back.sort();
    clients.sort();
    assert_eq!(back, clients);
    wait(|| house.held.load(Ordering::Relaxed) == 0);
}

#[test]
fn messages_of_several_channels_come_in_the_order_of_the_store() {
    let house = House::new();
    let mut client = house.hold("a,b,c", |_| ());
    house.wait_for_readers("c", 1);
    read_until(&mut client, "\r\n\r\n");
    for number in 0..300 {
        house.publish(["a", "b", "c"][number % 3], &[&format!("<{number}>")]);
    }
    let text = read_until(&mut client, "<299>\n\n\r\n");
    let numbers: Vec<usize> =
        text.split('<').skip(1).map(|part| part.split('>').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
}

#[test]
fn what_was_published_before_the_socket_arrived_is_there_first() {
    let house = House::new();
    house.publish("news", &["a", "b"]);
    let start = Start::After(Position { epoch: Epoch(14), sequence: Sequence(1) });
    let mut client = house.hold("news", |hold| {
        hold.wishes[0].1 = start;
        hold.answer.body = "data: hello\n\n".into();
        hold.retry = Some(Duration::from_secs(3));
    });
    let expected = format!("{HEAD}1a\r\ndata: hello\n\nretry: 3000\n\n\r\n11\r\nid: e-2\ndata: b\n\n\r\n");
    assert_eq!(read_until(&mut client, "b\n\n\r\n"), expected);
}

#[test]
fn a_long_history_comes_whole_to_the_first_reader() {
    let house = House::with(Slow::Close, 1000);
    let filler = "x".repeat(20_000);
    (0..10).for_each(|number| house.publish("news", &[&format!("{filler}<{number}>")]));
    let start = Start::After(Position { epoch: Epoch(14), sequence: Sequence(0) });
    let mut client = house.hold("news", |hold| hold.wishes[0].1 = start);
    let text = read_until(&mut client, "<9>\n\n\r\n");
    assert_eq!(text.matches('<').count(), 10);
}

#[test]
fn a_poll_is_answered_once_and_its_socket_goes_home_with_what_was_read_ahead() {
    let mut house = House::new();
    let mut client = house.hold("news", |hold| hold.transport = transport::LONG_POLL);
    house.wait_for_readers("news", 1);
    client.write_all(b"GET /next").unwrap();
    house.publish("news", &["a", "b"]);
    let body = "{\"position\":\"e-2\",\"gap\":false,\"messages\":[\
        {\"id\":\"e-1\",\"channel\":\"news\",\"data\":\"a\"},{\"id\":\"e-2\",\"channel\":\"news\",\"data\":\"b\"}]}";
    let head = format!(
        "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-type: application/json\r\ncache-control: no-cache, no-transform\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    assert_eq!(read_until(&mut client, "]}"), format!("{head}{body}"));
    let back = house.returns.blocking_recv().unwrap();
    assert_eq!(back.passport.listener, 3);
    // A wake may come between the two; then the bytes wait in the socket.
    assert_eq!(house.held.load(Ordering::Relaxed), 1);
    drop(back.permit);
    let (mut wire, mut next) = (back.wire, back.read_ahead);
    if next.is_empty() {
        let mut buffer = [0; 64];
        let read = wire.read(&mut buffer, &mut Scratch::default()).unwrap();
        next.extend_from_slice(&buffer[..read]);
    }
    assert_eq!(next, b"GET /next");
    wait(|| house.held.load(Ordering::Relaxed) == 0);
}

#[test]
fn a_poll_without_messages_gets_the_applications_answer() {
    let mut house = House::new();
    let mut client = house.hold("news", |hold| {
        hold.transport = transport::LONG_POLL;
        hold.timeout = Some(Duration::from_millis(300));
        hold.answer.body = "nothing".into();
    });
    let expected = "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-length: 7\r\n\r\nnothing";
    assert_eq!(read_until(&mut client, "nothing"), expected);
    assert!(house.returns.blocking_recv().is_some());
}

#[test]
fn a_silent_stream_gets_keep_alives_and_ends_cleanly_after_its_longest_life() {
    let house = House::new();
    let mut client = house.hold("news", |hold| {
        hold.keepalive = Some(Duration::from_millis(250));
        hold.timeout = Some(Duration::from_millis(2000));
    });
    let text = read_until(&mut client, "0\r\n\r\n");
    assert!(text.starts_with(&format!("{HEAD}3\r\n:\n\n\r\n")), "{text}");
    assert!((3..=8).contains(&text.matches(":\n\n").count()), "{text}");
}

#[test]
fn a_frame_that_has_become_too_large_ends_and_says_so() {
    let house = House::new();
    let mut client = house.hold("news", |hold| {
        hold.transport = transport::by_name("iframe").unwrap();
        hold.keepalive = Some(Duration::from_millis(250));
    });
    house.wait_for_readers("news", 1);
    let filler = "x".repeat(100_000);
    (0..11).for_each(|_| house.publish("news", &[&filler]));
    let text = read_until(&mut client, "0\r\n\r\n");
    assert_eq!(text.matches(&filler).count(), 11);
    assert!(text.contains("{\"event\":\"comet.end\",\"retry\":null}"), "{}", &text[text.len() - 200..]);
    wait(|| house.metrics.comet_streams_closed.with_label_values(&["iframe", "limit"]).get() == 1);
}

#[test]
fn a_client_that_leaves_is_noticed_at_once() {
    let house = House::new();
    let client = house.hold("news", |_| ());
    house.wait_for_readers("news", 1);
    drop(client);
    house.wait_for_readers("news", 0);
    wait(|| house.held.load(Ordering::Relaxed) == 0);
    let closed = house.metrics.comet_streams_closed.with_label_values(&["sse", "client"]).get();
    assert_eq!(closed, 1);
}

#[test]
fn a_client_that_talks_too_much_is_closed() {
    let house = House::new();
    let mut client = house.hold("news", |_| ());
    house.wait_for_readers("news", 1);
    client.write_all(&[b'x'; 5000]).unwrap();
    house.wait_for_readers("news", 0);
}

#[test]
fn deleting_a_channel_ends_its_streams_cleanly() {
    let house = House::new();
    let mut client = house.hold("news", |_| ());
    house.wait_for_readers("news", 1);
    let deleted = house.hub.delete(&ChannelName::parse("news").unwrap(), Instant::now());
    assert!(matches!(deleted, Outcome::Settled(Ok(true))));
    assert_eq!(read_until(&mut client, "0\r\n\r\n"), format!("{HEAD}0\r\n\r\n"));
}

#[test]
fn a_reader_that_stops_for_a_while_gets_everything_in_order_afterwards() {
    let house = House::with(Slow::Close, 100_000);
    let mut client = house.hold("news", |_| ());
    house.wait_for_readers("news", 1);
    let filler = "x".repeat(1000);
    for number in 0..20_000 {
        house.publish("news", &[&format!("{filler}<{number}>")]);
    }
    let text = read_until(&mut client, "<19999>\n\n\r\n");
    let numbers: Vec<usize> =
        text.split('<').skip(1).map(|part| part.split('>').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());
}

/// A house whose one reader stands still, its socket full and what it needs out of the window.
fn house_with_a_lost_reader(slow: Slow) -> (House, TcpStream) {
    let house = House::with(slow, 50);
    let client = house.hold("news", |_| ());
    house.wait_for_readers("news", 1);
    let filler = "x".repeat(100_000);
    wait(|| {
        house.publish("news", &[&filler]);
        house.metrics.comet_slow_streams.get() == 1
    });
    (0..200).for_each(|_| house.publish("news", &["more"]));
    // The shard has taken everything, so that only the window is kept.
    wait(|| {
        house.hub.tick(Instant::now());
        house.metrics.comet_history_events.get() <= 50
    });
    house.publish("news", &["the last"]);
    (house, client)
}

#[test]
fn a_reader_that_has_fallen_out_of_the_window_is_told_where_that_is_the_policy() {
    let (_house, mut client) = house_with_a_lost_reader(Slow::Skip);
    let text = read_until(&mut client, "the last\n\n\r\n");
    let (_, after) = text.split_once("event: comet.gap\n").expect("a gap");
    assert!(after.starts_with("data: {\"channel\":\"news\",\"missing\":"), "{after}");
    assert!(after.contains("data: more\n\n"), "messages go on after the gap");
}

#[test]
fn a_reader_that_has_fallen_out_of_the_window_is_closed_by_default() {
    let (house, mut client) = house_with_a_lost_reader(Slow::Close);
    let mut buffer = vec![0; 64 << 10];
    while client.read(&mut buffer).is_ok_and(|read| read > 0) {}
    house.wait_for_readers("news", 0);
    wait(|| house.metrics.comet_streams_closed.with_label_values(&["sse", "slow"]).get() == 1);
    assert_eq!(house.metrics.comet_slow_streams.get(), 0);
}

#[test]
fn a_reader_that_takes_nothing_for_too_long_is_let_go() {
    let house = House::with_patience(Slow::Skip, 1000, Duration::from_millis(500));
    let client = house.hold("news", |_| ());
    house.wait_for_readers("news", 1);
    let filler = "x".repeat(100_000);
    wait(|| {
        house.publish("news", &[&filler]);
        house.metrics.comet_slow_streams.get() == 1
    });
    house.wait_for_readers("news", 0);
    wait(|| house.metrics.comet_streams_closed.with_label_values(&["sse", "slow"]).get() == 1);
    assert_eq!(house.metrics.comet_slow_streams.get(), 0);
    drop(client);
}

#[test]
fn draining_ends_streams_with_a_time_to_come_back_and_polls_with_their_answer() {
    let house = House::new();
    let mut stream = house.hold("news", |_| ());
    let mut poll = house.hold("news", |hold| {
        hold.transport = transport::LONG_POLL;
        hold.answer.body = "later".into();
    });
    house.wait_for_readers("news", 2);
    house.drain(Duration::from_millis(100));
    let text = read_until(&mut stream, "0\r\n\r\n");
    assert!(text.contains("retry: 1"), "{text}");
    assert_eq!(
        read_until(&mut poll, "later"),
        "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlater"
    );
    drop((stream, poll));
    wait(|| house.held.load(Ordering::Relaxed) == 0);
}
