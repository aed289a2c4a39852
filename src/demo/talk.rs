//! The talk that the example application serves: which slide is up and what was said last.
//!
//! Every event has a number and the number of the one before it, over both channels, so that a page can prove
//! by itself that nothing was lost and nothing came twice. An event is applied before it is published: a page
//! that is rendered in between shows it, and knows by its number not to show it again when the stream brings it.

use std::collections::VecDeque;

use serde::Serialize;

/// Slides of the page; a test compares it with the page.
pub(super) const SLIDES: usize = 9;
/// What a newcomer sees of the conversation; a screenful and a bit.
const MESSAGES_KEPT: usize = 50;

/// What somebody wants to happen, checked by `input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// Who wants it.
    pub(super) name: String,
    /// What it is.
    pub(super) deed: Deed,
}

/// The two things that one can do here. Written as `"text": "…"` or `"slide": 3`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Deed {
    /// Say something.
    Text(String),
    /// Put up a slide, from 1 to [`SLIDES`].
    Slide(usize),
}

impl Deed {
    /// The channel that it is published on, which is also the event's type there.
    pub(super) fn channel(&self) -> &'static str {
        match self {
            Deed::Text(_) => "chat",
            Deed::Slide(_) => "slides",
        }
    }
}

/// What happened, as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    /// Its number, from 1, over both channels.
    pub(super) number: u64,
    /// The number of the event before it; 0 where there was none.
    pub(super) previous: u64,
    /// When, in milliseconds since 1970.
    pub(super) at: u64,
    /// Who did it.
    pub(super) name: String,
    /// What it was.
    #[serde(flatten)]
    pub(super) deed: Deed,
}

/// The whole state, for a page that begins or has lost its place.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot<'a> {
    slide: usize,
    slides: usize,
    newest: u64,
    messages: &'a VecDeque<Event>,
}

/// The talk. Events are applied one at a time: the one before has been published or withdrawn.
#[derive(Debug)]
pub(super) struct Talk {
    slide: usize,
    /// The slide before the newest event, to go back to when that one can't be published.
    slide_before: usize,
    newest: u64,
    next: u64,
    messages: VecDeque<Event>,
}

impl Talk {
    /// A talk at its first slide.
    pub(super) fn new() -> Talk {
        Talk { slide: 1, slide_before: 1, newest: 0, next: 1, messages: VecDeque::new() }
    }

    /// Makes it happen; the event has to be published or withdrawn before the next is applied.
    pub(super) fn apply(&mut self, wish: Wish, at: u64) -> Event {
        let event = Event { number: self.next, previous: self.newest, at, name: wish.name, deed: wish.deed };
        self.next += 1;
        self.newest = event.number;
        self.slide_before = self.slide;
        match event.deed {
            Deed::Slide(slide) => self.slide = slide,
            Deed::Text(_) => self.keep(event.clone()),
        }
        event
    }

    /// Takes the newest event back. Its number isn't used again, since a publish without an answer may have
    /// reached somebody.
    pub(super) fn withdraw(&mut self, event: &Event) {
        self.newest = event.previous;
        self.slide = self.slide_before;
        self.messages.retain(|kept| kept.number != event.number);
    }

    /// What a page needs to begin.
    pub(super) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { slide: self.slide, slides: SLIDES, newest: self.newest, messages: &self.messages }
    }

    /// What the stream begins with: enough to know how far behind one is.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// The slide that is up.
    pub(super) fn slide(&self) -> usize {
        self.slide
    }

    fn keep(&mut self, event: Event) {
        if self.messages.len() == MESSAGES_KEPT {
            self.messages.pop_front();
        }
        self.messages.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str) -> Wish {
        Wish { name: "Anna".to_owned(), deed: Deed::Text(text.to_owned()) }
    }

    fn turn(slide: usize) -> Wish {
        Wish { name: "Anna".to_owned(), deed: Deed::Slide(slide) }
    }

    #[test]
    fn an_event_names_the_one_before_it_across_both_channels() {
        let mut talk = Talk::new();
        let said = talk.apply(say("hello"), 5);
        let turned = talk.apply(turn(3), 6);
        assert_eq!((said.number, said.previous, turned.number, turned.previous), (1, 0, 2, 1));
        assert_eq!(
            serde_json::to_string(&said).unwrap(),
            r#"{"number":1,"previous":0,"at":5,"name":"Anna","text":"hello"}"#
        );
        assert_eq!(
            serde_json::to_string(&turned).unwrap(),
            r#"{"number":2,"previous":1,"at":6,"name":"Anna","slide":3}"#
        );
    }

    #[test]
    fn what_could_not_be_published_leaves_no_trace_and_no_hole() {
        let mut talk = Talk::new();
        talk.apply(turn(2), 0);
        for wish in [say("lost"), turn(7)] {
            let failed = talk.apply(wish, 0);
            talk.withdraw(&failed);
        }
        assert_eq!(talk.slide(), 2);
        assert!(talk.messages.is_empty());
        let next = talk.apply(say("kept"), 0);
        assert_eq!((next.number, next.previous), (4, 1));
    }

    #[test]
    fn a_newcomer_sees_the_last_fifty_messages() {
        let mut talk = Talk::new();
        for number in 1..=60 {
            talk.apply(say(&number.to_string()), 0);
        }
        let snapshot = serde_json::to_value(talk.snapshot()).unwrap();
        let messages = snapshot["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 50);
        assert_eq!((&messages[0]["text"], &snapshot["newest"]), (&"11".into(), &60.into()));
    }
}
