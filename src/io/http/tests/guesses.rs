//! Names that are guessed: nobody finds what is there, or learns whether it is.

use std::collections::BTreeSet;

use super::{Api, Office, run};
use crate::completion::{CallIdentity, CompletionId, Mode};
use crate::random::Rng;
use crate::shard::Input;
use crate::shard::provider::{Answer, Ask, Asking, Question, Refusal};

/// Threats T09.
const GUESSES: u32 = 1_000_000;
/// Of them, so many by HTTP.
const BY_HTTP: u32 = 2_000;

impl Office {
    fn asks(&mut self, ask: Ask) -> Answer {
        let question = Question {
            asking: Asking(1),
            line: None,
            ask,
        };
        let input = Input::Asked(&question);
        self.shard.handle_input(self.clock.now(), input);
        while self.shard.poll_output().is_some() {}
        let (_, answer) = self.shard.poll_answer().expect("an answer at once");
        answer
    }
}

/// The next name that a stranger tries, of a request or of a call.
fn guess(rng: &mut Rng) -> (CompletionId, CallIdentity) {
    let high = u128::from(rng.bits());
    let completion = CompletionId::from_bits(high << 64 | u128::from(rng.bits()));
    (completion, CallIdentity(rng.bits()))
}

/// Even he who may see all lines.
#[test]
fn a_million_guessed_names_find_nothing() {
    let mut office = Office::where_bob_was_busy(&[]);
    let Answer::Calls(calls) = office.asks(Ask::Calls(None)) else {
        panic!("no calls");
    };
    let [call] = calls.as_slice() else {
        panic!("one call: {calls:?}");
    };
    let complete = Ask::Complete {
        call: call.call,
        mode: Some(Mode::Callback),
        message: None,
    };
    let Answer::Completed { id, .. } = office.asks(complete) else {
        panic!("not accepted");
    };
    let mut rng = Rng::from_number(0xbad);
    let mut refusals = Vec::new();
    for _ in 0..GUESSES / 2 {
        let (completion, call) = guess(&mut rng);
        for ask in [Ask::Uncomplete(completion), Ask::Disconnect(call)] {
            let Answer::Refused(refusal) = office.asks(ask) else {
                panic!("something was found");
            };
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        }
    }
    let unknown = crate::completion::Reject::UnknownCompletion;
    assert_eq!(refusals, [Refusal::Completion(unknown), Refusal::Call]);
    assert!(matches!(
        office.asks(Ask::Completion(id)),
        Answer::Completion(_)
    ));
}

#[test]
fn guessed_names_are_all_answered_alike() {
    run(async {
        let api = Api::with_tokens();
        api.completion().await;
        let mut rng = Rng::from_number(0xbad);
        let mut answers = BTreeSet::new();
        for _ in 0..BY_HTTP {
            let (completion, call) = guess(&mut rng);
            let path = format!("/v1/completions/{completion}");
            answers.insert(api.ask("GET", &path, "read-any", "").await);
            let path = format!("/v1/calls/{call}");
            answers.insert(api.ask("GET", &path, "read-any", "").await);
        }
        // One for completions, and one for calls.
        assert_eq!(answers.len(), 2, "{answers:?}");
        assert!(answers.iter().all(|(status, _)| *status == 404));
    });
}
