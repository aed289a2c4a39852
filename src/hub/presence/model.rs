//! Random programs of members who come, go and come back, against a list of connections and a few lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::roster::{Change, ChangeKind, Entered, Roster, Way};
use super::rule::PresenceRule;
use crate::message::ChannelName;

const GRACE: u64 = 10;

#[derive(Debug, Clone)]
enum Step {
    Enter {
        channel: usize,
        tag: usize,
    },
    /// One of the connections that are there, or were.
    Leave {
        connection: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3usize, 0..4usize).prop_map(|(channel, tag)| Step::Enter { channel, tag }),
        3 => (0..40usize).prop_map(|connection| Step::Leave { connection }),
        2 => (0..15u64).prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..80)
}

fn rule(members: usize, queue: usize) -> PresenceRule {
    PresenceRule {
        channels: vec!["room-*".into()],
        grace: Duration::from_secs(GRACE),
        publish: Some("{channel}.presence".into()),
        post: true,
        members,
        all_members: 1000,
        queue,
    }
}

fn room(number: usize) -> ChannelName {
    ChannelName::parse(&format!("room-{number}")).unwrap()
}

/// What the oracle knows: when each member was last there without a break longer than its grace.
#[derive(Default)]
struct Oracle {
    /// Connections of each member, and since when there are none.
    members: BTreeMap<(usize, usize), (usize, u64)>,
    told: Vec<(ChangeKind, usize, usize, usize)>,
}

impl Oracle {
    fn on(&self, channel: usize) -> usize {
        self.members.keys().filter(|(where_, _)| *where_ == channel).count()
    }

    fn enter(&mut self, channel: usize, tag: usize) {
        if let Some((connections, _)) = self.members.get_mut(&(channel, tag)) {
            *connections += 1;
            return;
        }
        self.members.insert((channel, tag), (1, 0));
        self.told.push((ChangeKind::Join, channel, tag, self.on(channel)));
    }

    fn leave(&mut self, channel: usize, tag: usize, now: u64) {
        let (connections, since) = self.members.get_mut(&(channel, tag)).unwrap();
        *connections -= 1;
        *since = now;
    }

    fn pass(&mut self, now: u64) {
        let mut gone: Vec<_> =
            self.members.iter().filter(|(_, (n, since))| *n == 0 && since + GRACE <= now).collect();
        gone.sort_by_key(|(_, (_, since))| *since);
        let gone: Vec<_> = gone.into_iter().map(|(key, _)| *key).collect();
        for (channel, tag) in gone {
            self.members.remove(&(channel, tag));
            self.told.push((ChangeKind::Leave, channel, tag, self.on(channel)));
        }
    }
}

fn said(change: &Change) -> (ChangeKind, usize, usize, usize) {
    let number = |text: &str| text.rsplit('-').next().unwrap().parse().unwrap();
    (change.kind, number(change.channel.as_str()), number(&change.member), change.members)
}

/// Within one moment members leave in any order, so the counts of such leaves are compared by their set.
fn sorted(mut told: Vec<(ChangeKind, usize, usize, usize)>) -> Vec<(ChangeKind, usize, usize)> {
    told.sort_by_key(|(kind, channel, tag, _)| (*channel, *tag, *kind == ChangeKind::Leave));
    told.into_iter().map(|(kind, channel, tag, _)| (kind, channel, tag)).collect()
}

proptest! {
    #[test]
    fn it_says_what_a_list_of_connections_says(steps in steps()) {
        let (began, at) = (Instant::now(), SystemTime::now());
        let mut roster = Roster::new(vec![rule(1000, 1000)]);
        let mut oracle = Oracle::default();
        let mut connections = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Enter { channel, tag } => {
                    let entered = roster.enter(&room(channel), &format!("tag-{tag}"), at);
                    oracle.enter(channel, tag);
                    let (Entered::First(place) | Entered::Again(place)) = entered else { panic!("{entered:?}") };
                    connections.push((place, channel, tag));
                }
                Step::Leave { connection } if connection < connections.len() => {
                    let (place, channel, tag) = connections.swap_remove(connection);
                    roster.leave(place, began + Duration::from_secs(now));
                    oracle.leave(channel, tag, now);
                }
                Step::Leave { .. } => {}
                Step::Wait { seconds } => {
                    now += seconds;
                    roster.advance(began + Duration::from_secs(now), at);
                    oracle.pass(now);
                }
            }
            let told = roster.take(0, Way::Publish, usize::MAX);
            prop_assert_eq!(told.lost, 0);
            prop_assert_eq!(&roster.take(0, Way::Post, usize::MAX), &told);
            let mut by_count: Vec<_> = told.list.iter().map(said).collect();
            prop_assert_eq!(sorted(by_count.clone()), sorted(oracle.told.clone()));
            by_count.dedup_by_key(|told| (told.0, told.1, told.3));
            prop_assert_eq!(by_count.len(), told.list.len(), "each change has a count of its own");
            oracle.told.clear();
            for channel in 0..3 {
                let page = roster.members(&room(channel), None, 100).unwrap();
                let known: Vec<_> = oracle.members.range((channel, 0)..(channel + 1, 0)).collect();
                prop_assert_eq!(page.count, known.len());
                let listed = page.members.iter().map(|member| (member.tag.to_string(), member.connections));
                let expected = known.iter().map(|((_, tag), (count, _))| (format!("tag-{tag}"), *count));
                prop_assert_eq!(listed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            }
        }
        // Everybody leaves, and nothing is left behind.
        for (place, ..) in connections {
            roster.leave(place, began + Duration::from_secs(now));
        }
        roster.advance(began + Duration::from_secs(now + GRACE), at);
        prop_assert!(roster.is_empty());
    }
}

fn enter(roster: &mut Roster, channel: usize, tag: &str) -> Entered {
    roster.enter(&room(channel), tag, SystemTime::now())
}

#[test]
fn those_who_are_one_too_many_are_no_members_and_those_who_are_there_stay() {
    let mut roster = Roster::new(vec![PresenceRule { all_members: 3, ..rule(2, 10) }]);
    assert_eq!(roster.enter(&ChannelName::parse("x").unwrap(), "a", SystemTime::now()), Entered::Unwatched);
    let first = enter(&mut roster, 0, "a");
    let Entered::First(place) = first else { panic!("{first:?}") };
    assert!(matches!(enter(&mut roster, 0, "b"), Entered::First(_)));
    assert_eq!(enter(&mut roster, 0, "c"), Entered::Full);
    assert_eq!(enter(&mut roster, 0, "a"), Entered::Again(place));
    assert!(matches!(enter(&mut roster, 1, "c"), Entered::First(_)));
    assert_eq!(enter(&mut roster, 1, "d"), Entered::Full);
}

#[test]
fn when_too_much_waits_the_oldest_makes_room_and_is_counted() {
    let mut roster = Roster::new(vec![rule(100, 3)]);
    for tag in ["a", "b", "c", "d", "e"] {
        enter(&mut roster, 0, tag);
    }
    let tags = |list: &[Change]| list.iter().map(|change| change.member.to_string()).collect::<Vec<_>>();
    let taken = roster.take(0, Way::Post, 2);
    assert_eq!((tags(&taken.list), taken.lost), (vec!["c".to_owned(), "d".into()], 2));
    let taken = roster.take(0, Way::Post, 2);
    assert_eq!((tags(&taken.list), taken.lost), (vec!["e".to_owned()], 0));
}

#[test]
fn pages_follow_one_another_and_a_tag_is_found_on_its_channels() {
    let mut roster = Roster::new(vec![rule(100, 10)]);
    for tag in ["b", "a", "d", "c"] {
        enter(&mut roster, 0, tag);
    }
    enter(&mut roster, 1, "c");
    let page = |after, limit| {
        let page = roster.members(&room(0), after, limit).unwrap();
        let tags: Vec<String> = page.members.iter().map(|member| member.tag.to_string()).collect();
        (tags.concat(), page.next.map(|next| next.to_string()))
    };
    assert_eq!(page(None, 2), ("ab".into(), Some("b".into())));
    assert_eq!(page(Some("b"), 2), ("cd".into(), None));
    assert_eq!(page(Some("x"), 2), ("".into(), None));
    let channels: Vec<_> = roster.channels_of("c").into_iter().map(|(channel, _)| channel).collect();
    assert_eq!(channels, [room(0), room(1)]);
    assert!(roster.channels_of("x").is_empty());
    assert!(roster.members(&ChannelName::parse("x").unwrap(), None, 1).is_none());
}
