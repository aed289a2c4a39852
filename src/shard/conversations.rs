//! Held WebSockets whose clients somebody listens to, over real sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::tests::{House, wait};
use crate::hold::grip::Control;
use crate::hold::{Ear, End, Hears, Hold, Kind, Line, Receipt, RouteChannels, Said, Speech, WORDS_AHEAD};
use crate::message::{ChannelName, Epoch, Position, Sequence};
use crate::transport;

/// Keeps what it hears.
struct Owner(SyncSender<(u64, Said)>);

impl Hears for Owner {
    fn hear(&self, hold: u64, said: Said) {
        // Whoever listens may have left.
        let _ = self.0.send((hold, said));
    }
}

struct Conversation {
    house: House,
    client: TcpStream,
    line: Line,
    said: Receiver<(u64, Said)>,
}

const LIMIT: usize = 1000;

impl Conversation {
    fn new() -> Conversation {
        Conversation::with(|hold, owner| {
            hold.transport = transport::WEBSOCKET;
            hold.ear = Some(Box::new(Ear::listening(owner, 7, LIMIT)));
        })
    }

    /// One of GRIP, whose owner answers pings itself.
    fn of_grip() -> Conversation {
        Conversation::with(|hold, owner| {
            let news = ChannelName::parse("news").unwrap();
            let route = RouteChannels::new(None, vec![news]).map(Arc::new);
            hold.speaks_grip(None, route, Position { epoch: Epoch(14), sequence: Sequence(0) });
            hold.ear = Some(Box::new(Ear::listening_to_all(owner, 7, LIMIT)));
        })
    }

    fn with(ear: impl FnOnce(&mut Hold, Arc<Owner>)) -> Conversation {
        let house = House::new();
        let (tell, said) = sync_channel(1000);
        let mut client = house.hold("news", |hold| ear(hold, Arc::new(Owner(tell))));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(exactly(&mut client, 1));
        }
        let Ok((7, Said::Here(line))) = said.recv_timeout(Duration::from_secs(5)) else { panic!("not here") };
        Conversation { house, client, line, said }
    }

    fn next(&self) -> Said {
        let (hold, said) = self.said.recv_timeout(Duration::from_secs(5)).expect("something was said");
        assert_eq!(hold, 7);
        said
    }

    fn words(&self) -> (Kind, Vec<u8>, Receipt) {
        match self.next() {
            Said::Words(words) => (words.kind, words.data, words.receipt),
            said => panic!("{said:?}"),
        }
    }

    fn send(&mut self, first: u8, payload: &[u8]) {
        self.client.write_all(&masked(first, payload)).unwrap();
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = exactly(&mut self.client, 2);
        let length = match head[1] {
            127 => u64::from_be_bytes(exactly(&mut self.client, 8).try_into().unwrap()) as usize,
            126 => usize::from(u16::from_be_bytes(exactly(&mut self.client, 2).try_into().unwrap())),
            length => usize::from(length),
        };
        (head[0], exactly(&mut self.client, length))
    }
}

/// With a mask of zeros, which changes nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = match payload.len() {
        length @ 0..126 => vec![first, 0x80 | length as u8],
        length => [&[first, 0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
    };
    [&head, &[0; 4][..], payload].concat()
}

fn exactly(client: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    client.read_exact(&mut read).unwrap();
    read
}

#[test]
fn both_sides_hear_what_the_other_says_in_order() {
    let mut talk = Conversation::new();
    talk.send(0x01, b"he");
    talk.send(0x89, b"?");
    talk.send(0x80, b"llo");
    talk.send(0x82, b"\xff");
    assert_eq!(talk.frame(), (0x8a, b"?".to_vec()));
    assert_eq!((talk.words().0, talk.words().1), (Kind::Text, b"\xff".to_vec()));
    talk.line.speak(Speech::Message(Kind::Text, b"one".to_vec(), 0));
    talk.line.speak(Speech::Message(Kind::Binary, b"\xfe".to_vec(), 0));
    assert_eq!((talk.frame(), talk.frame()), ((0x81, b"one".to_vec()), (0x82, b"\xfe".to_vec())));
    assert!(matches!((talk.next(), talk.next()), (Said::Sent(1), Said::Sent(1))));
    talk.house.publish("news", &["a"]);
    assert_eq!(talk.frame().0, 0x81);
    talk.line.speak(Speech::Message(Kind::Text, b"bye".to_vec(), 0));
    talk.line.speak(Speech::Close(4001, "x".repeat(200).into()));
    assert_eq!(talk.frame(), (0x81, b"bye".to_vec()));
    assert_eq!(talk.frame(), (0x88, [&4001_u16.to_be_bytes()[..], &[b'x'; 123]].concat()));
    assert!(matches!((talk.next(), talk.next()), (Said::Sent(1), Said::Over(End::Spoken))));
    talk.line.speak(Speech::Message(Kind::Text, b"too late".to_vec(), 0));
    assert_eq!(talk.client.read(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn a_client_says_how_it_leaves() {
    for (said, heard, answer) in
        [(&b"\x0f\xa0bye"[..], Some((4000, "bye".into())), &b"\x0f\xa0"[..]), (b"", None, b"\x03\xe8")]
    {
        let mut talk = Conversation::new();
        talk.send(0x88, said);
        assert_eq!(talk.frame(), (0x88, answer.to_vec()));
        assert!(matches!(talk.next(), Said::Over(End::Left(code)) if code == heard));
    }
    let talk = Conversation::new();
    drop(talk.client);
    assert!(matches!(talk.said.recv(), Ok((7, Said::Over(End::Lost)))));
}

#[test]
fn too_long_a_message_ends_it_before_its_bytes_are_kept() {
    let mut talk = Conversation::new();
    talk.send(0x82, &[0; LIMIT]);
    assert_eq!(talk.words().1.len(), LIMIT);
    talk.send(0x82, &[0; LIMIT + 1]);
    assert_eq!(talk.frame(), (0x88, b"\x03\xf1".to_vec()));
    assert!(matches!(talk.next(), Said::Over(End::Spoken)));
}

/// Says so many messages with their numbers from a thread of its own, which may have to wait.
fn say(talk: &Conversation, messages: u32, payload: usize) -> std::thread::JoinHandle<()> {
    let mut client = talk.client.try_clone().unwrap();
    std::thread::spawn(move || {
        for number in 0..messages {
            let mut words = number.to_be_bytes().to_vec();
            words.resize(payload, 0);
            client.write_all(&masked(0x82, &words)).unwrap();
        }
    })
}

fn number(words: &[u8]) -> u32 {
    u32::from_be_bytes(words[..4].try_into().unwrap())
}

#[test]
fn a_client_is_not_read_on_while_its_listener_is_behind() {
    let talk = Conversation::new();
    let saying = say(&talk, 20_000, 200);
    let behind: Vec<_> = (0..LIMIT / 200).map(|_| talk.words()).collect();
    wait(|| talk.house.metrics.comet_words_waited.get() > 0);
    assert!(talk.said.try_recv().is_err());
    assert_eq!(talk.house.metrics.comet_words.get() as usize, LIMIT / 200);
    drop(behind);
    for expected in LIMIT as u32 / 200..20_000 {
        assert_eq!(number(&talk.words().1), expected);
    }
    saying.join().unwrap();
}

#[test]
fn small_messages_are_counted_and_a_burst_is_heard_whole() {
    let talk = Conversation::new();
    let saying = say(&talk, 5000, 4);
    let behind: Vec<_> = (0..WORDS_AHEAD).map(|_| talk.words()).collect();
    wait(|| talk.house.metrics.comet_words_waited.get() > 0);
    assert!(talk.said.try_recv().is_err());
    drop(behind);
    (WORDS_AHEAD as u32..5000).for_each(|expected| assert_eq!(number(&talk.words().1), expected));
    saying.join().unwrap();
}

#[test]
fn a_client_that_leaves_while_it_is_not_read_is_noticed() {
    let mut talk = Conversation::new();
    (0..WORDS_AHEAD).for_each(|_| talk.send(0x82, b"x"));
    let behind: Vec<_> = (0..WORDS_AHEAD).map(|_| talk.words()).collect();
    // What it says now stays unread, so that its system answers what comes with a reset.
    talk.send(0x82, b"unread");
    talk.line.speak(Speech::Message(Kind::Text, b"unread, too".to_vec(), 0));
    assert!(matches!(talk.next(), Said::Sent(1)));
    drop(talk.client);
    assert!(matches!(talk.said.recv(), Ok((7, Said::Over(End::Lost)))));
    drop(behind);
}

#[test]
fn a_client_that_takes_nothing_is_not_heard_and_at_last_too_slow() {
    let mut talk = Conversation::new();
    let large = vec![b'x'; 1 << 20];
    // More than two systems keep between them.
    let messages = 40;
    (0..messages).for_each(|_| talk.line.speak(Speech::Message(Kind::Binary, large.clone(), 0)));
    wait(|| talk.house.metrics.comet_slow_streams.get() == 1);
    talk.send(0x81, b"hear me");
    // It is heard once it has taken what there was.
    (0..messages).for_each(|_| assert_eq!(talk.frame(), (0x82, large.clone())));
    let (mut told, mut heard) = (0, None);
    while told < messages || heard.is_none() {
        match talk.next() {
            Said::Sent(messages) => told += messages,
            Said::Words(words) => {
                assert!(told > 0, "heard though it takes nothing");
                heard = Some((words.data, words.receipt));
            }
            said => panic!("{said:?}"),
        }
    }
    assert_eq!((heard.map(|(words, _receipt)| words), told), (Some(b"hear me".to_vec()), messages));
    (0..400).for_each(|_| talk.line.speak(Speech::Message(Kind::Binary, large.clone(), 0)));
    wait(|| talk.house.metrics.comet_streams_closed.with_label_values(&["websocket", "slow"]).get() == 1);
}

#[test]
fn an_owner_that_detaches_leaves_nothing_unsaid_and_no_ping_unanswered() {
    let mut talk = Conversation::of_grip();
    talk.send(0x89, b"?");
    // It has heard it, and leaves before it answers.
    assert_eq!(talk.words().0, Kind::Ping);
    let large = vec![b'x'; 1 << 20];
    // More than two systems keep between them.
    let messages = 40;
    (0..messages).for_each(|_| talk.line.speak(Speech::Message(Kind::Binary, large.clone(), 0)));
    talk.line.speak(Speech::Grip(Box::new(Control::Detach), Sequence(0)));
    (0..messages).for_each(|_| assert!(talk.frame() == (0x82, large.clone())));
    assert_eq!(talk.frame(), (0x8a, b"?".to_vec()));
    while !matches!(talk.next(), Said::Over(End::Lost)) {}
    talk.send(0x89, b"!");
    assert_eq!(talk.frame(), (0x8a, b"!".to_vec()));
}
