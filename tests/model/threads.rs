//! Publishers and readers on threads of their own: the step of the one is not torn by that of the other.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use perihelion::hub::{Hub, HubSettings, Outcome, Policy, Tap, Turn};
use perihelion::message::{Batch, ChannelName, Data, Epoch, Message, Start};
use perihelion::metrics::Metrics;

const BATCHES: usize = 1_000;
const PUBLISHERS: usize = 2;
const TAPS: usize = 2;
/// Longest wait for a wake before it counts as lost.
const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn readers_that_come_while_others_publish_miss_nothing_and_are_woken_for_it() {
    let settings = HubSettings {
        policies: Policy::keeping(10, None).into(),
        history_bytes: usize::MAX,
        channels: 10,
        window_messages: 10,
        publisher_ids: 10,
    };
    let hub = Hub::new(Epoch(1), settings, Metrics::new().expect("metrics register"));
    thread::scope(|scope| {
        for _ in 0..TAPS {
            let (wake, woken) = sync_channel(1);
            let tap = hub.attach(Box::new(move || {
                // A full channel has a wake in it already.
                let _ = wake.try_send(());
            }));
            let hub = &hub;
            scope.spawn(move || read(hub, tap, &woken));
        }
        for _ in 0..PUBLISHERS {
            scope.spawn(|| publish(&hub));
        }
    });
}

fn publish(hub: &Arc<Hub>) {
    for _ in 0..BATCHES {
        let messages = ["a", "b", "a"].map(message).into();
        let published = hub.publish(Batch { messages, expected: Vec::new() }, Instant::now());
        assert!(matches!(published, Outcome::Settled(Ok(_))), "there is room for two channels");
    }
}

/// One more reader of both channels for each turn until everything was published. Each follows the messages of
/// a channel by their ordinals, from the backlog through the turns.
fn read(hub: &Arc<Hub>, mut tap: Tap, woken: &Receiver<()>) {
    let wishes = ["a", "b"].map(|channel| (name(channel), Start::After(hub.head())));
    let mut readers: Vec<Reader> = Vec::new();
    let mut turn = Turn::default();
    while hub.head().sequence.0 < (PUBLISHERS * BATCHES * 3) as u64 || readers.is_empty() {
        let (mut backlog, mut gaps) = (Vec::new(), Vec::new());
        let joined =
            tap.join(&wishes, usize::MAX, Instant::now(), &mut backlog, &mut gaps).expect("there is room");
        let mut reader = Reader { position: joined.position.0, last: [None; 2] };
        backlog.iter().for_each(|entry| reader.follow(entry.message.channel == name("b"), entry.ordinal));
        readers.push(reader);
        let _ = woken.recv_timeout(Duration::from_millis(1));
        take(&mut tap, &mut turn, &mut readers);
    }
    let deadline = Instant::now() + DEADLINE;
    while turn.head < hub.head().sequence {
        assert!(
            woken.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok(),
            "a wake was lost"
        );
        take(&mut tap, &mut turn, &mut readers);
    }
    let total = (PUBLISHERS * BATCHES) as u64;
    for reader in readers {
        assert!(
            [2 * total, total]
                .iter()
                .zip(reader.last)
                .all(|(all, last)| last.is_none_or(|last| last == *all))
        );
    }
}

struct Reader {
    position: u64,
    last: [Option<u64>; 2],
}

impl Reader {
    fn follow(&mut self, second: bool, ordinal: u64) {
        let last = &mut self.last[usize::from(second)];
        assert!(last.is_none_or(|last| ordinal == last + 1), "{ordinal} after {last:?}");
        *last = Some(ordinal);
    }
}

fn take(tap: &mut Tap, turn: &mut Turn, readers: &mut [Reader]) {
    tap.take(turn, Instant::now());
    for news in &turn.news {
        assert_eq!(news.lost_upto, None);
        let second = tap.name(news.channel) == name("b");
        for reader in readers.iter_mut() {
            let position = reader.position;
            let new = turn.entries(news).iter().filter(|entry| entry.sequence().0 > position);
            new.for_each(|entry| reader.follow(second, entry.ordinal));
        }
    }
    readers.iter_mut().for_each(|reader| reader.position = turn.head.0);
}

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).expect("a name")
}

fn message(channel: &str) -> Message {
    Message::new(name(channel), Data::Text("text".into()))
}
