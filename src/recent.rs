//! A map of bounded size.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map that forgets what was put in first when it is full.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    capacity: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// Puts a value in, or in the place of the one with the same key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.values.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > self.capacity {
            self.forget_first();
        }
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.values.get_mut(key)
    }

    /// Forgets from the first value on, until one is to stay.
    pub(crate) fn forget_while(&mut self, is_over: impl Fn(&V) -> bool) {
        while self.order.front().and_then(|key| self.values.get(key)).is_some_and(&is_over) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(key) = self.order.pop_front() {
            self.values.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_first_when_full() {
        let mut recent = Recent::new(2);
        for key in [1, 2, 1, 3] {
            recent.insert(key, ());
        }
        assert_eq!([1, 2, 3].map(|key| recent.get_mut(&key).is_some()), [false, true, true]);
    }

    #[test]
    fn forgets_up_to_what_is_to_stay() {
        let mut recent = Recent::new(9);
        for at in [1, 2, 5, 3] {
            recent.insert(at, at);
        }
        recent.forget_while(|at| *at < 4);
        assert_eq!(recent.order, [5, 3]);
        assert_eq!(recent.values.len(), 2);
    }
}
