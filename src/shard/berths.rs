//! Places for held connections: a slab in blocks, which grows without moving what is in it.
//!
//! A slab in one piece doubles: at the worst half of it is unused, and while it grows it is there twice. With a
//! small struct for each of very many connections that would be most of what a connection costs.

use std::ops::{Index, IndexMut};

/// Places in a block: small beside what a busy shard has, large beside an allocation.
const BLOCK: usize = 512;
const NONE: u32 = u32::MAX;

/// Values by key. A key is used again once its value is gone, unless it is kept for one that is away.
pub(super) struct Berths<T> {
    blocks: Vec<Box<[Berth<T>]>>,
    /// The free place that is used next.
    free: u32,
    taken: usize,
}

enum Berth<T> {
    Taken(T),
    /// The next free place.
    Free(u32),
    /// Kept for a value that may come back, and whether something has happened to it meanwhile.
    Kept(bool),
}

impl<T> Berths<T> {
    /// No places yet.
    pub(super) fn new() -> Berths<T> {
        Berths { blocks: Vec::new(), free: NONE, taken: 0 }
    }

    /// The key that the next value will have.
    pub(super) fn next_key(&mut self) -> usize {
        if self.free == NONE {
            let first = (self.blocks.len() * BLOCK) as u32;
            let last = first + BLOCK as u32 - 1;
            self.blocks.push(
                (first..=last).map(|key| Berth::Free(if key == last { NONE } else { key + 1 })).collect(),
            );
            self.free = first;
        }
        self.free as usize
    }

    /// Takes a place; gives its key.
    pub(super) fn insert(&mut self, value: T) -> usize {
        let key = self.next_key();
        if let Berth::Free(next) = std::mem::replace(self.berth(key), Berth::Taken(value)) {
            self.free = next;
        }
        self.taken += 1;
        key
    }

    /// Takes the place that was kept with this key, and says whether something has happened meanwhile.
    pub(super) fn fill(&mut self, key: usize, value: T) -> bool {
        let before = std::mem::replace(self.berth(key), Berth::Taken(value));
        debug_assert!(matches!(before, Berth::Kept(_)), "only a kept place is filled");
        self.taken += 1;
        matches!(before, Berth::Kept(true))
    }

    /// Takes a value out of its place, which is kept for it.
    pub(super) fn vacate(&mut self, key: usize) -> Option<T> {
        self.get(key)?;
        match std::mem::replace(self.berth(key), Berth::Kept(false)) {
            Berth::Taken(value) => {
                self.taken -= 1;
                Some(value)
            }
            Berth::Free(_) | Berth::Kept(_) => None,
        }
    }

    /// Something happens to the value with this key, which is noted where it is away.
    pub(super) fn stir(&mut self, key: usize) {
        if let Some(Berth::Kept(stirred)) =
            self.blocks.get_mut(key / BLOCK).and_then(|block| block.get_mut(key % BLOCK))
        {
            *stirred = true;
        }
    }

    /// Keeps a place no more.
    pub(super) fn release(&mut self, key: usize) {
        let free = self.free;
        debug_assert!(matches!(self.berth(key), Berth::Kept(_)), "only a kept place is released");
        *self.berth(key) = Berth::Free(free);
        self.free = key as u32;
    }

    /// Gives a place back, with what was in it.
    pub(super) fn remove(&mut self, key: usize) -> Option<T> {
        let free = self.free;
        self.get(key)?;
        match std::mem::replace(self.berth(key), Berth::Free(free)) {
            Berth::Taken(value) => {
                self.free = key as u32;
                self.taken -= 1;
                Some(value)
            }
            Berth::Free(_) | Berth::Kept(_) => None,
        }
    }

    pub(super) fn get(&self, key: usize) -> Option<&T> {
        match self.blocks.get(key / BLOCK)?.get(key % BLOCK)? {
            Berth::Taken(value) => Some(value),
            Berth::Free(_) | Berth::Kept(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        match self.blocks.get_mut(key / BLOCK)?.get_mut(key % BLOCK)? {
            Berth::Taken(value) => Some(value),
            Berth::Free(_) | Berth::Kept(_) => None,
        }
    }

    pub(super) fn contains(&self, key: usize) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// The keys of all values.
    pub(super) fn keys(&self) -> impl Iterator<Item = usize> {
        let taken = |(key, berth): (usize, &Berth<T>)| matches!(berth, Berth::Taken(_)).then_some(key);
        self.blocks.iter().flatten().enumerate().filter_map(taken)
    }

    fn berth(&mut self, key: usize) -> &mut Berth<T> {
        &mut self.blocks[key / BLOCK][key % BLOCK]
    }
}

/// Panics where there is no value, which is a mistake of the caller: keys come from this room only.
impl<T> Index<usize> for Berths<T> {
    type Output = T;

    fn index(&self, key: usize) -> &T {
        self.get(key).expect("the key is of a value that is still there")
    }
}

impl<T> IndexMut<usize> for Berths<T> {
    fn index_mut(&mut self, key: usize) -> &mut T {
        self.get_mut(key).expect("the key is of a value that is still there")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in proptest::collection::vec((0..7u8, 0..2000usize), 1..3000)) {
            let mut berths = Berths::new();
            let (mut map, mut away) = (BTreeMap::new(), BTreeMap::new());
            for (number, (step, key)) in steps.into_iter().enumerate() {
                match step {
                    0..3 => {
                        let expected = berths.next_key();
                        let key = berths.insert(number);
                        prop_assert_eq!(key, expected);
                        prop_assert!(!away.contains_key(&key));
                        prop_assert_eq!(map.insert(key, number), None);
                    }
                    3 => prop_assert_eq!(berths.remove(key), map.remove(&key)),
                    4 => {
                        let value = map.remove(&key);
                        prop_assert_eq!(berths.vacate(key), value);
                        away.extend(value.map(|_| (key, false)));
                    }
                    5 => {
                        berths.stir(key);
                        away.entry(key).and_modify(|stirred| *stirred = true);
                    }
                    _ => match away.pop_first() {
                        Some((key, _)) if number % 2 == 0 => berths.release(key),
                        Some((key, stirred)) => {
                            prop_assert_eq!(berths.fill(key, number), stirred);
                            map.insert(key, number);
                        }
                        None => {}
                    },
                }
                prop_assert_eq!(berths.is_empty(), map.is_empty());
            }
            prop_assert_eq!(berths.keys().collect::<Vec<_>>(), map.keys().copied().collect::<Vec<_>>());
            prop_assert!(map.iter().all(|(key, number)| berths.get(*key) == Some(number)));
        }
    }
}
