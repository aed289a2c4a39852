//! Coarse timers for very many connections: a wheel of slots, each a linked list through one small record a key.
//!
//! Time is counted in ticks that the caller makes of its clock. A key has at most one timer. Scheduling and
//! cancelling touch two records; a turn touches only the keys of its slot. Nothing here reads a clock.

/// One slot for each tick of a turn of the wheel; later timers wait for more than one turn.
const SLOTS: usize = 512;
const NONE: u32 = u32::MAX;

/// Timers by key; keys are small numbers, such as berths.
pub(super) struct Wheel {
    slots: Vec<u32>,
    links: Vec<Link>,
    now: u32,
}

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    before: u32,
    /// Tick at which the timer is due; `NONE` where the key has no timer.
    due: u32,
}

impl Wheel {
    /// No timers, at tick 0.
    pub(super) fn new() -> Wheel {
        Wheel { slots: vec![NONE; SLOTS], links: Vec::new(), now: 0 }
    }

    /// Sets the timer of a key, in place of the one that it had. A tick that has passed is due in the next turn.
    pub(super) fn schedule(&mut self, key: usize, due: u32) {
        self.cancel(key);
        if self.links.len() <= key {
            self.links.resize(key + 1, Link { next: NONE, before: NONE, due: NONE });
        }
        let due = due.clamp(self.now + 1, NONE - 1);
        let first = std::mem::replace(&mut self.slots[due as usize % SLOTS], key as u32);
        self.links[key] = Link { next: first, before: NONE, due };
        if first != NONE {
            self.links[first as usize].before = key as u32;
        }
    }

    /// Takes the timer of a key away, if it has one.
    pub(super) fn cancel(&mut self, key: usize) {
        let Some(link) = self.links.get(key).copied().filter(|link| link.due != NONE) else { return };
        match link.before {
            NONE => self.slots[link.due as usize % SLOTS] = link.next,
            before => self.links[before as usize].next = link.next,
        }
        if link.next != NONE {
            self.links[link.next as usize].before = link.before;
        }
        self.links[key].due = NONE;
    }

    /// Moves on to a tick; the keys that are due by then lose their timers and are appended to `due`.
    pub(super) fn advance(&mut self, now: u32, due: &mut Vec<usize>) {
        let turns = now.saturating_sub(self.now).min(SLOTS as u32);
        let from = self.now + 1;
        self.now = self.now.max(now);
        for slot in (from..from + turns).map(|tick| tick as usize % SLOTS) {
            let mut key = self.slots[slot];
            while key != NONE {
                let link = self.links[key as usize];
                if link.due <= now {
                    self.cancel(key as usize);
                    due.push(key as usize);
                }
                key = link.next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn due(wheel: &mut Wheel, now: u32) -> Vec<usize> {
        let mut keys = Vec::new();
        wheel.advance(now, &mut keys);
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_timer_fires_once_when_it_is_due_even_after_several_turns_of_the_wheel() {
        let mut wheel = Wheel::new();
        wheel.schedule(3, 5);
        wheel.schedule(4, 5 + 3 * SLOTS as u32);
        wheel.schedule(5, 0);
        assert_eq!(due(&mut wheel, 1), [5]);
        assert_eq!(due(&mut wheel, 5), [3]);
        assert!(due(&mut wheel, 5 + 2 * SLOTS as u32).is_empty());
        assert_eq!(due(&mut wheel, 6 + 3 * SLOTS as u32), [4]);
        assert!(due(&mut wheel, 9 + 9 * SLOTS as u32).is_empty());
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list(steps in proptest::collection::vec((0..3u8, 0..40usize, 0..1500u32), 1..200)) {
            let mut wheel = Wheel::new();
            let mut list = std::collections::BTreeMap::new();
            let mut now = 0;
            for (kind, key, ticks) in steps {
                match kind {
                    0 => { wheel.schedule(key, now + ticks); list.insert(key, (now + ticks).max(now + 1)); }
                    1 => { wheel.cancel(key); list.remove(&key); }
                    _ => {
                        now += ticks;
                        let expected: Vec<_> = list.iter().filter(|(_, due)| **due <= now).map(|(key, _)| *key).collect();
                        expected.iter().for_each(|key| { list.remove(key); });
                        prop_assert_eq!(due(&mut wheel, now), expected);
                    }
                }
            }
        }
    }
}
