//! `GET /v1/events`: news of lines as they come, and again for who has missed some.
//!
//! Spec: WHATWG HTML §9.2 (server-sent events).
//!
//! The last [`KEPT`] events are kept. A reader who does not read is dropped when [`BEHIND_MAX`]
//! events wait for him, and his stream ends behind them: he comes again, and says which was the last
//! that he has had.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::response::sse;
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::api::documents::Event;
use crate::shard::provider::LineEvent;

/// How many events are kept for who comes again.
const KEPT: usize = 1024;
/// How many events may wait for one reader, those that he has missed not counted.
const BEHIND_MAX: usize = 256;
/// How many may read at once.
const READERS_MAX: usize = 32;

/// Somebody wants to read.
#[derive(Debug)]
pub(super) struct Reader {
    /// The only line that he may hear of, by the name that its reports have.
    pub(super) line: Option<String>,
    /// The last event that he has had.
    pub(super) last: Option<String>,
    /// Where he gets his stream; nothing, if there are too many.
    pub(super) place: oneshot::Sender<Readable>,
}

/// The events of one reader.
#[derive(Debug)]
pub(super) struct Readable {
    missed: VecDeque<Sent>,
    live: mpsc::Receiver<Sent>,
}

/// An event with its id.
#[derive(Clone, Debug)]
struct Sent {
    id: String,
    event: Event,
}

impl Stream for Readable {
    type Item = Result<sse::Event, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let readable = self.get_mut();
        if let Some(sent) = readable.missed.pop_front() {
            return Poll::Ready(Some(Ok(sent.to_event())));
        }
        let live = readable.live.poll_recv(context);
        live.map(|sent| sent.map(|sent| Ok(sent.to_event())))
    }
}

impl Sent {
    fn to_event(&self) -> sse::Event {
        let data = serde_json::to_string(&self.event);
        sse::Event::default()
            .id(&self.id)
            .event(&self.event.kind)
            .data(data.expect("a struct of numbers and text is JSON"))
    }
}

/// Keeps the last events, and hands each to all who read.
#[derive(Debug)]
pub(super) struct Hub {
    /// Tells this process's events from an earlier one's.
    run: u64,
    next: u64,
    kept: VecDeque<Sent>,
    readers: Vec<(Option<String>, mpsc::Sender<Sent>)>,
    /// How many have been dropped.
    dropped: Arc<AtomicU64>,
}

impl Hub {
    pub(super) fn new(run: u64, dropped: Arc<AtomicU64>) -> Self {
        Self {
            run,
            next: 1,
            kept: VecDeque::new(),
            readers: Vec::new(),
            dropped,
        }
    }

    /// Runs until nobody is left who has news, or who could read any.
    pub(super) async fn run(
        mut self,
        mut news: mpsc::Receiver<LineEvent>,
        mut readers: mpsc::Receiver<Reader>,
    ) {
        loop {
            tokio::select! {
                event = news.recv() => match event {
                    Some(event) => self.publish(&event),
                    None => return,
                },
                reader = readers.recv() => match reader {
                    Some(reader) => self.join(reader),
                    None => return,
                },
            }
        }
    }

    fn publish(&mut self, event: &LineEvent) {
        let sent = Sent {
            id: format!("{:x}-{}", self.run, self.next),
            event: Event::from(event),
        };
        self.next += 1;
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(sent.clone());
        // Who stalls is not waited for.
        self.readers.retain(|(line, reader)| {
            let is_his = line.as_ref().is_none_or(|line| *line == sent.event.line);
            if reader.is_closed() {
                return false;
            }
            let stays = !is_his || reader.try_send(sent.clone()).is_ok();
            if !stays {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(behind = BEHIND_MAX, "a reader of events is dropped");
            }
            stays
        });
    }

    fn join(&mut self, reader: Reader) {
        self.readers.retain(|(_, reader)| !reader.is_closed());
        if self.readers.len() >= READERS_MAX {
            return;
        }
        let (sender, live) = mpsc::channel(BEHIND_MAX);
        let missed = reader
            .last
            .map(|last| self.missed(&last))
            .unwrap_or_default();
        let is_his = |sent: &&Sent| {
            let line = reader.line.as_ref();
            line.is_none_or(|line| *line == sent.event.line)
        };
        let missed = missed.iter().filter(is_his).cloned().collect();
        if reader.place.send(Readable { missed, live }).is_ok() {
            self.readers.push((reader.line, sender));
        }
    }

    /// What came behind that event: all that is kept, if it is not known any more.
    fn missed(&self, last: &str) -> Vec<Sent> {
        let known = self.kept.iter().position(|sent| sent.id == last);
        let from = known.map_or(0, |at| at + 1);
        self.kept.iter().skip(from).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::shard::provider::LineNews;

    fn event(line: &str, count: usize) -> LineEvent {
        LineEvent {
            line: line.to_owned(),
            what: LineNews::NumCompletions { count },
        }
    }

    fn join(hub: &mut Hub, line: Option<&str>, last: Option<&str>) -> Option<Readable> {
        let (place, mut given) = oneshot::channel();
        hub.join(Reader {
            line: line.map(str::to_owned),
            last: last.map(str::to_owned),
            place,
        });
        given.try_recv().ok()
    }

    fn counts(readable: &mut Readable) -> Vec<Option<usize>> {
        let missed = readable.missed.drain(..);
        let mut counts: Vec<_> = missed.map(|sent| sent.event.count).collect();
        while let Ok(sent) = readable.live.try_recv() {
            counts.push(sent.event.count);
        }
        counts
    }

    #[test]
    fn a_reader_who_comes_again_gets_what_he_has_missed_once() {
        let mut hub = Hub::new(0xab, Arc::default());
        for count in 1..=5 {
            hub.publish(&event("alice", count));
        }
        let mut again = join(&mut hub, None, Some("ab-3")).expect("a place");
        hub.publish(&event("alice", 6));
        assert_eq!(counts(&mut again), [Some(4), Some(5), Some(6)]);
        let mut new = join(&mut hub, None, None).expect("a place");
        assert!(counts(&mut new).is_empty());
        // An earlier process's, or too old: whatever there is.
        let mut old = join(&mut hub, None, Some("aa-3")).expect("a place");
        assert_eq!(counts(&mut old).len(), 6);
    }

    #[test]
    fn a_reader_hears_of_his_line_alone() {
        let mut hub = Hub::new(1, Arc::default());
        hub.publish(&event("bob", 1));
        let mut alice = join(&mut hub, Some("alice"), Some("0-0")).expect("a place");
        hub.publish(&event("alice", 2));
        hub.publish(&event("bob", 3));
        assert_eq!(counts(&mut alice), [Some(2)]);
    }

    #[test]
    fn a_reader_who_stalls_is_dropped_and_the_ring_is_bounded() {
        let mut hub = Hub::new(1, Arc::default());
        let mut stalled = join(&mut hub, None, None).expect("a place");
        for count in 0..KEPT + 10 {
            hub.publish(&event("alice", count));
        }
        assert_eq!(counts(&mut stalled).len(), BEHIND_MAX);
        // Nothing more is to come: his stream has ended.
        let next = Pin::new(&mut stalled).poll_next(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(next, Poll::Ready(None)));
        assert_eq!((hub.readers.len(), hub.kept.len()), (0, KEPT));
        assert_eq!(hub.dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn there_are_so_many_readers_and_no_more() {
        let mut hub = Hub::new(1, Arc::default());
        let readers: Vec<_> = (0..READERS_MAX)
            .map(|_| join(&mut hub, None, None))
            .collect();
        assert!(readers.iter().all(Option::is_some));
        assert!(join(&mut hub, None, None).is_none());
        drop(readers);
        assert!(join(&mut hub, None, None).is_some());
    }
}
