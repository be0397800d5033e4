//! The applications that wait for the worker: each gets its answer, and all get the news.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use crate::shard::Shard;
use crate::shard::provider::{Answer, Asking, LineEvent};

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Applications {
    last: u64,
    waiting: BTreeMap<Asking, oneshot::Sender<Answer>>,
    news: Option<mpsc::Sender<LineEvent>>,
}

impl Applications {
    /// News go there from here on.
    pub(super) fn tell(&mut self, news: mpsc::Sender<LineEvent>) {
        self.news = Some(news);
    }

    /// A name for a question.
    pub(super) fn wait(&mut self, asker: oneshot::Sender<Answer>) -> Asking {
        self.last += 1;
        let asking = Asking(self.last);
        self.waiting.insert(asking, asker);
        asking
    }

    /// Hands out what the shard has for them; who has gone, or does not read, misses it.
    pub(super) fn deliver(&mut self, shard: &mut Shard) {
        while let Some((asking, answer)) = shard.poll_answer() {
            if let Some(asker) = self.waiting.remove(&asking) {
                drop(asker.send(answer));
            }
        }
        while let Some(event) = shard.poll_news() {
            if let Some(news) = &self.news {
                drop(news.try_send(event));
            }
        }
    }
}
