//! The store as a world's campon has it, and what may become of it.

use std::collections::VecDeque;

use campon::store::memory::Memory;
use campon::store::{Key, Opening, Order, Reply, Store as _, Stored};

/// How the store does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mood {
    /// It answers at once.
    #[default]
    Well,
    /// It does nothing, and does it later.
    Slow,
    /// It has failed.
    Down,
}

/// A store that outlives its campon.
#[derive(Default)]
pub(crate) struct Vault {
    memory: Memory,
    opening: Opening,
    mood: Mood,
    orders: VecDeque<Order>,
    /// What is said before anything else.
    news: Option<Reply>,
}

impl Vault {
    pub(crate) fn put_in(&mut self, opening: Opening, order: &Order) {
        if opening == self.opening && self.mood != Mood::Down {
            self.orders.push_back(order.clone());
        }
    }

    pub(crate) fn set_mood(&mut self, mood: Mood) {
        let before = std::mem::replace(&mut self.mood, mood);
        if mood == Mood::Down && before != Mood::Down {
            self.orders.clear();
            self.news = Some(Reply::Failed);
        }
        if mood != Mood::Down && before == Mood::Down {
            self.news = Some(self.open());
        }
    }

    pub(crate) fn next_reply(&mut self) -> Option<Reply> {
        if let Some(news) = self.news.take() {
            return Some(news);
        }
        if self.mood != Mood::Well {
            return None;
        }
        Some(match self.orders.pop_front()? {
            Order::Load => self.open(),
            Order::Put(put) => Reply::Put {
                key: put.key,
                answer: self.memory.put(put),
            },
            Order::Read(key) => Reply::Read {
                key,
                stored: self.memory.read(key),
            },
        })
    }

    /// What a new process finds: what was not done is not done any more.
    pub(crate) fn restart(&mut self) -> Vec<(Key, Stored)> {
        *self = Self {
            memory: std::mem::take(&mut self.memory),
            ..Self::default()
        };
        self.records()
    }

    pub(crate) fn len(&self) -> usize {
        self.memory.len()
    }

    fn open(&mut self) -> Reply {
        self.orders.clear();
        self.opening.0 += 1;
        Reply::Opened {
            opening: self.opening,
            records: self.records(),
        }
    }

    pub(crate) fn records(&self) -> Vec<(Key, Stored)> {
        let all = (0..=u8::MAX).flat_map(|partition| self.memory.load(partition));
        all.collect()
    }
}
