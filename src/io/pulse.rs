//! Whether the other end of a connection that we opened is still there.
//!
//! Spec: RFC 5626 §4.4.1 (S-83, S-85).
//!
//! ```text
//!   Quiet --silence--> Asked --anything comes--> Quiet
//!                        +--- nothing in time --> Quiet, or dead if it has ever answered
//! ```
//!
//! Nobody has agreed to answer us, so that only who once did is missed when he does not.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Opener, PONG, Patience};

/// What a connection knows of the life of its other end.
#[derive(Debug)]
pub(super) struct Pulse {
    /// How long it is left in peace.
    silence: Duration,
    /// How long it has for an answer.
    patience: Duration,
    /// Whether it has ever answered: many do not know the question.
    answers: bool,
    beat: Beat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Beat {
    /// By when it has to answer, or be asked again.
    Asked { due: Instant },
    /// When it is asked.
    Quiet { due: Instant },
    /// It came by itself: what it needs is its own to send.
    Unasked,
}

/// What silence says of the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Vitality {
    /// It used to answer and did not.
    Dead,
    /// It is to be asked.
    Doubtful,
    /// It is left in peace.
    Fine,
}

impl Pulse {
    /// Whom we connected to is ours to keep awake, and the NAT on the way as well.
    pub(super) fn new(patience: &Patience, opener: Opener) -> Self {
        let due = Instant::now() + patience.silence;
        Self {
            silence: patience.silence,
            patience: patience.pong,
            answers: false,
            beat: match opener {
                Opener::Peer => Beat::Unasked,
                Opener::Us => Beat::Quiet { due },
            },
        }
    }

    /// When there is something to do even if nothing comes.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.beat {
            Beat::Asked { due } | Beat::Quiet { due } => Some(due),
            Beat::Unasked => None,
        }
    }

    /// These bytes came in one piece.
    pub(super) fn on_read(&mut self, bytes: &[u8]) {
        match self.beat {
            Beat::Unasked => return,
            Beat::Asked { .. } => self.answers |= bytes == PONG,
            Beat::Quiet { .. } => {}
        }
        let due = Instant::now() + self.silence;
        self.beat = Beat::Quiet { due };
    }

    /// Nothing came until [`Self::due`], or until something else was due.
    pub(super) fn on_silence(&mut self, now: Instant) -> Vitality {
        match self.beat {
            Beat::Asked { due } | Beat::Quiet { due } if now < due => Vitality::Fine,
            // S-83
            Beat::Asked { .. } if self.answers => Vitality::Dead,
            Beat::Asked { .. } => {
                let due = now + self.silence;
                self.beat = Beat::Quiet { due };
                Vitality::Fine
            }
            Beat::Quiet { .. } => {
                let due = now + self.patience;
                self.beat = Beat::Asked { due };
                Vitality::Doubtful
            }
            Beat::Unasked => Vitality::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(opener: Opener) -> Pulse {
        Pulse::new(&Patience::default(), opener)
    }

    /// Lets all time pass until something is due.
    fn wait(pulse: &mut Pulse) -> Vitality {
        let due = pulse.due().expect("something is due");
        pulse.on_silence(due)
    }

    #[test]
    fn who_once_answered_and_then_does_not_is_gone() {
        let mut pulse = pulse(Opener::Us);
        assert_eq!(wait(&mut pulse), Vitality::Doubtful); // S-85
        pulse.on_read(PONG);
        assert_eq!(wait(&mut pulse), Vitality::Doubtful);
        assert_eq!(wait(&mut pulse), Vitality::Dead); // S-83
    }

    #[test]
    fn who_never_answers_is_asked_again_and_left_alone() {
        let mut pulse = pulse(Opener::Us);
        for _ in 0..3 {
            assert_eq!(wait(&mut pulse), Vitality::Doubtful);
            assert_eq!(wait(&mut pulse), Vitality::Fine);
        }
        assert_eq!(wait(&mut pulse), Vitality::Doubtful);
        // A message is no answer, and shows that somebody is there.
        pulse.on_read(b"SIP/2.0 200 OK\r\n");
        assert_eq!(wait(&mut pulse), Vitality::Doubtful);
        assert_eq!(wait(&mut pulse), Vitality::Fine);
    }

    #[test]
    fn nobody_is_asked_before_it_is_due_and_who_came_by_himself_never() {
        let mut ours = pulse(Opener::Us);
        assert_eq!(ours.on_silence(Instant::now()), Vitality::Fine);
        assert_eq!(pulse(Opener::Peer).due(), None);
    }
}
