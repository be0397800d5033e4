//! Texts that wait for a phone that takes them.

use std::sync::Arc;
use std::time::Duration;

use crate::cc::Condition;
use crate::completion::{
    CompletionId, Delivery, Input, Leave, Monitors, News, Outcome, Output, Record, Reject, Taking,
    Ticket, Which, WhichCall,
};
use crate::store::{Answer, Epoch, Put, Store as _};

use super::kit::{
    ALICE, BOB, CAROL, StoreMood, World, address, answer, ended, peer, rung, seconds, user,
};

const TEXT: &str = "please call back";
const MINUTE: Duration = Duration::from_mins(1);

impl World {
    fn leaves(&mut self, caller: &str, text: &str) -> (Result<CompletionId, Reject>, Vec<Output>) {
        let out = self.step(Input::Leave(Leave {
            ticket: Ticket(9),
            caller: user(caller),
            call: WhichCall::Last,
            text: Arc::from(text),
        }));
        (answer(&out).expect("the question is answered"), out)
    }

    fn takes(&mut self, id: CompletionId, how: Taking) -> Vec<Output> {
        self.step(Input::Delivered {
            id,
            callee: user(BOB),
            how,
        })
    }
}

/// What is sent to the callee's phones.
fn sent(out: &[Output]) -> Vec<&Delivery> {
    let sent = out.iter().filter_map(|output| {
        let Output::Deliver(delivery) = output else {
            return None;
        };
        Some(delivery)
    });
    sent.collect()
}

fn sent_ids(out: &[Output]) -> Vec<CompletionId> {
    sent(out).iter().map(|delivery| delivery.id).collect()
}

/// What the callee's lamp shows, each time that it changes.
fn lamps(out: &[Output]) -> Vec<usize> {
    let lamps = out.iter().filter_map(|output| {
        let Output::Lamp { count, .. } = output else {
            return None;
        };
        Some(*count)
    });
    lamps.collect()
}

/// How many requests their caller has, each time that he is told.
fn counts(out: &[Output]) -> Vec<usize> {
    let counts = out.iter().filter_map(|output| {
        let Output::Tell(tell) = output else {
            return None;
        };
        if let News::Accepted(count) | News::Ended { left: count, .. } = tell.news {
            return Some(count);
        }
        None
    });
    counts.collect()
}

fn alice_left_word() -> (World, CompletionId, Vec<Output>) {
    let mut world = World::new();
    world.fails(ALICE, BOB, Condition::NoReply);
    let (result, out) = world.leaves(ALICE, TEXT);
    (world, result.expect("room"), out)
}

#[test]
fn a_text_is_kept_and_sent_and_ends_when_it_is_taken() {
    let (mut world, id, out) = alice_left_word();
    assert_eq!(world.stored().len(), 1);
    let delivery = sent(&out)[0].clone();
    assert_eq!((delivery.id, &*delivery.text), (id, TEXT));
    assert_eq!(delivery.callee, user(BOB));
    let at = |what: fn(&Output) -> bool| out.iter().position(what);
    let kept = at(|output| matches!(output, Output::Persist(_)));
    assert!(kept < at(|output| matches!(output, Output::Deliver(_))));
    let out = world.takes(id, Taking::Taken);
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    assert!(lamps(&out).is_empty());
    world.ends_empty();
}

#[test]
fn a_text_waits_until_the_callee_registers() {
    let mut world = World::new();
    world.unregisters(BOB);
    world.fails(ALICE, BOB, Condition::NotLoggedIn);
    let (result, out) = world.leaves(ALICE, TEXT);
    let id = result.expect("room");
    assert_eq!(sent_ids(&out), []);
    assert_eq!(sent_ids(&world.pass(seconds(3600))), []);
    assert_eq!(sent_ids(&world.registers(BOB)), [id]);
    world.takes(id, Taking::Taken);
    world.ends_empty();
}

/// RFC 3428 §8: one at a time for one address.
#[test]
fn the_next_text_is_sent_when_the_one_before_was_answered() {
    let (mut world, first, _) = alice_left_word();
    world.fails(CAROL, BOB, Condition::NoReply);
    let (result, out) = world.leaves(CAROL, "tea is ready");
    let second = result.expect("room");
    assert_eq!(sent_ids(&out), []);
    let out = world.takes(first, Taking::Taken);
    assert_eq!(sent_ids(&out), [second]);
    world.takes(second, Taking::Taken);
    world.ends_empty();
}

#[test]
fn a_text_that_nobody_took_is_sent_again_ever_more_rarely_and_lights_the_lamp() {
    let (mut world, id, _) = alice_left_word();
    let out = world.takes(id, Taking::Failed);
    assert_eq!(lamps(&out), [1]);
    for rest in [1, 2, 4, 8, 16, 32, 60, 60_u64] {
        let early = world.pass(seconds(60 * rest - 1));
        assert_eq!(sent_ids(&early), [], "{rest}");
        assert_eq!(sent_ids(&world.pass(seconds(1))), [id], "{rest}");
        assert!(lamps(&world.takes(id, Taking::Failed)).is_empty());
    }
    // Who comes back is tried at once.
    world.unregisters(BOB);
    assert_eq!(sent_ids(&world.registers(BOB)), [id]);
    let out = world.takes(id, Taking::Taken);
    assert_eq!(lamps(&out), [0]);
    world.ends_empty();
}

#[test]
fn phones_that_take_no_texts_are_left_alone_for_an_hour() {
    let (mut world, id, _) = alice_left_word();
    assert_eq!(lamps(&world.takes(id, Taking::Refused)), [1]);
    assert_eq!(sent_ids(&world.pass(59 * MINUTE)), []);
    assert_eq!(sent_ids(&world.pass(MINUTE)), [id]);
    world.takes(id, Taking::Taken);
    world.ends_empty();
}

#[test]
fn who_takes_a_text_back_puts_the_lamp_out() {
    let (mut world, id, _) = alice_left_word();
    world.takes(id, Taking::Failed);
    let (result, out) = world.takes_back(ALICE, Which::Id(id));
    assert_eq!(result, Ok(vec![id]));
    assert_eq!(ended(&out), [(id, Outcome::Cancelled)]);
    assert_eq!(lamps(&out), [0]);
    assert_eq!(sent_ids(&world.pass(seconds(7200))), []);
    world.ends_empty();
}

/// A text on its way cannot be called back, and no other overtakes it.
#[test]
fn the_next_text_waits_for_one_that_was_taken_back_on_its_way() {
    let (mut world, first, _) = alice_left_word();
    let (result, _) = world.takes_back(ALICE, Which::Id(first));
    assert_eq!(result, Ok(vec![first]));
    world.fails(CAROL, BOB, Condition::NoReply);
    let (result, out) = world.leaves(CAROL, "tea is ready");
    let second = result.expect("room");
    assert_eq!(sent_ids(&out), []);
    let out = world.takes(first, Taking::Taken);
    assert_eq!((sent_ids(&out), ended(&out)), (vec![second], vec![]));
    world.takes(second, Taking::Taken);
    world.ends_empty();
}

impl World {
    /// Alice leaves a text, and the store does not say whether it has it.
    fn is_left_unkept(&mut self) -> CompletionId {
        self.mood = StoreMood::Silent;
        self.fails(ALICE, BOB, Condition::NoReply);
        let out = self.step(Input::Leave(Leave {
            ticket: Ticket(9),
            caller: user(ALICE),
            call: WhichCall::Last,
            text: Arc::from(TEXT),
        }));
        assert_eq!((sent_ids(&out), answer(&out)), (vec![], None));
        self.mood = StoreMood::Well;
        self.id_of(ALICE)
    }

    /// Now it says so.
    fn says_that_it_is_kept(&mut self) -> Vec<Output> {
        let (key, stored) = self.stored().pop().expect("a record");
        let answer = Answer::Done(stored.version);
        self.step(Input::Persisted { key, answer })
    }
}

/// His phone has hung up on the code, and heard that it came to nothing: Bob got the text all the same.
#[test]
fn a_text_that_is_taken_back_with_its_code_is_not_sent() {
    let mut world = World::new();
    let id = world.is_left_unkept();
    let which = Which::Left(Ticket(8));
    assert_eq!(
        world.takes_back(ALICE, which).0,
        Err(Reject::UnknownCompletion)
    );
    let out = world.step(Input::Uncomplete {
        ticket: Ticket(2),
        caller: user(ALICE),
        which: Which::Left(Ticket(9)),
    });
    assert!(answer(&out).is_none());
    let out = world.says_that_it_is_kept();
    assert_eq!((sent_ids(&out), answer(&out)), (vec![], Some(Ok(id))));
    assert_eq!(ended(&out), [(id, Outcome::Cancelled)]);
    world.ends_empty();
}

/// The next one waited for six minutes for what would become of one that never left.
#[test]
fn a_text_that_is_taken_back_before_it_has_left_holds_no_other_up() {
    let mut world = World::new();
    world.is_left_unkept();
    world.step(Input::Uncomplete {
        ticket: Ticket(2),
        caller: user(ALICE),
        which: Which::All,
    });
    world.says_that_it_is_kept();
    world.fails(CAROL, BOB, Condition::NoReply);
    let (result, out) = world.leaves(CAROL, "tea is ready");
    let second = result.expect("room");
    assert_eq!(sent_ids(&out), [second]);
    world.takes(second, Taking::Taken);
    world.ends_empty();
}

#[test]
fn a_text_that_the_store_does_not_take_holds_no_other_up() {
    let mut world = World::new();
    world.is_left_unkept();
    world.pass(seconds(10));
    world.fails(CAROL, BOB, Condition::NoReply);
    let (result, out) = world.leaves(CAROL, "tea is ready");
    let second = result.expect("room");
    assert_eq!(sent_ids(&out), [second]);
    world.takes(second, Taking::Taken);
}

#[test]
fn a_text_ends_with_its_time() {
    let mut world = World::new();
    world.unregisters(BOB);
    world.fails(ALICE, BOB, Condition::NotLoggedIn);
    let (result, _) = world.leaves(ALICE, TEXT);
    let id = result.expect("room");
    let out = world.pass(Duration::from_hours(7 * 24));
    assert_eq!(ended(&out), [(id, Outcome::Expired)]);
    world.ends_empty();
}

#[test]
fn a_text_outlives_the_process_and_is_sent_when_its_callee_is_seen() {
    let mut world = World::new();
    world.unregisters(BOB);
    world.fails(ALICE, BOB, Condition::NotLoggedIn);
    let (result, _) = world.leaves(ALICE, TEXT);
    let id = result.expect("room");
    let out = world.restarts(&[BOB]);
    assert_eq!((sent_ids(&out), world.unrestored), (vec![], 0));
    let view = world.service.view(id).expect("it lives");
    assert_eq!(view.text, Some(TEXT));
    assert_eq!(sent_ids(&world.registers(BOB)), [id]);
    let out = world.takes(id, Taking::Taken);
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    world.ends_empty();
}

/// A restart kept the last request of each pair alone: the other text, and the first one of who asked to
/// be called back after it, were dropped.
#[test]
fn texts_and_a_callback_of_the_same_two_outlive_the_process_each() {
    let mut world = World::new();
    world.unregisters(BOB);
    let mut texts = Vec::new();
    for text in [TEXT, "it is urgent"] {
        world.fails(ALICE, BOB, Condition::NotLoggedIn);
        texts.extend(world.leaves(ALICE, text).0);
    }
    world.fails(ALICE, BOB, Condition::NotLoggedIn);
    let callback = world.asks(ALICE).expect("a place in the queue");
    world.restarts(&[]);
    let views = world.service.views(&user(ALICE));
    let ids: Vec<_> = views.iter().map(|it| it.id).collect();
    assert_eq!(ids, [texts[0], texts[1], callback]);
    let (result, _) = world.takes_back(ALICE, Which::All);
    assert_eq!(result.map(|ids| ids.len()), Ok(3));
    world.ends_empty();
}

#[test]
fn the_same_text_is_left_once_and_another_one_beside_it() {
    let (mut world, id, _) = alice_left_word();
    world.fails(ALICE, BOB, Condition::NoReply);
    assert_eq!(world.leaves(ALICE, TEXT).0, Ok(id));
    let (other, _) = world.leaves(ALICE, "it is urgent");
    assert_ne!(other, Ok(id));
    let numbers: Vec<_> = world
        .service
        .views(&user(ALICE))
        .iter()
        .map(|it| it.number)
        .collect();
    assert_eq!(numbers, [1, 2]);
    let (result, _) = world.takes_back(ALICE, Which::All);
    assert_eq!(result.map(|ids| ids.len()), Ok(2));
    world.takes(id, Taking::Failed);
    world.ends_empty();
}

/// Who leaves word is not called back as well.
#[test]
fn a_text_takes_the_place_of_a_callback() {
    let mut world = World::new();
    let callback = world.waits(ALICE, BOB);
    let (result, out) = world.leaves(ALICE, TEXT);
    let id = result.expect("room");
    assert_eq!(ended(&out), [(callback, Outcome::Cancelled)]);
    world.takes(id, Taking::Taken);
    world.ends_empty();
}

/// The process ended when the store had the text, and before the callback was gone.
#[test]
fn a_callback_that_a_text_has_taken_the_place_of_is_not_taken_up() {
    let mut world = World::new();
    let callback = world.waits(ALICE, BOB);
    let key = Record::key(callback, &user(BOB));
    let record = world.store.read(key).map(|stored| stored.record);
    let id = world.leaves(ALICE, TEXT).0.expect("room");
    assert!(world.store.read(key).is_none());
    world.store.put(Put {
        key,
        expect: None,
        epoch: Epoch::default(),
        record,
    });
    world.restarts(&[BOB]);
    assert_eq!(world.unrestored, 1);
    assert!(world.service.view(callback).is_none());
    assert!(world.store.read(key).is_none());
    world.registers(BOB);
    world.takes(id, Taking::Taken);
    world.ends_empty();
}

/// The callback was taken back for a text that nobody had, and its caller told of one that was gone.
#[test]
fn a_text_that_is_not_kept_takes_no_place() {
    let mut world = World::new();
    let callback = world.waits(ALICE, BOB);
    world.mood = StoreMood::Taken;
    let (result, out) = world.leaves(ALICE, TEXT);
    assert_eq!(result, Err(Reject::StoreUnavailable));
    assert!(counts(&out).is_empty());
    world.mood = StoreMood::Well;
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
    world.step(Input::RecallAnswered { id: callback });
    world.step(Input::CcCallAnswered { id: callback });
    world.ends_empty();
}

#[test]
fn a_text_and_the_callback_that_it_takes_the_place_of_are_one_request() {
    let mut world = World::new();
    world.waits(ALICE, BOB);
    let (_, out) = world.leaves(ALICE, TEXT);
    assert_eq!(counts(&out), [1, 1]);
}

#[test]
fn who_has_as_many_requests_as_he_may_have_may_leave_word_in_place_of_one() {
    let mut world = World::new();
    for callee in [CAROL, "dan", "erin", "fred", BOB] {
        world.waits(ALICE, callee);
    }
    let id = world.leaves(ALICE, TEXT).0.expect("a place");
    assert_eq!(
        world.leaves(ALICE, "tea is ready").0,
        Err(Reject::CallerLimit)
    );
    world.takes(id, Taking::Taken);
    assert_eq!(
        world.takes_back(ALICE, Which::All).0.map(|ids| ids.len()),
        Ok(4)
    );
    world.ends_empty();
}

#[test]
fn texts_count_among_the_requests_of_their_caller_and_of_their_callee() {
    let mut world = World::new();
    world.unregisters(BOB);
    world.fails(ALICE, BOB, Condition::NotLoggedIn);
    for number in 0..5 {
        let (result, _) = world.leaves(ALICE, &format!("no. {number}"));
        assert!(result.is_ok(), "{result:?}");
    }
    assert_eq!(world.leaves(ALICE, TEXT).0, Err(Reject::CallerLimit));
    for caller in 0..15 {
        let caller = format!("c{caller}");
        world.fails(&caller, BOB, Condition::NotLoggedIn);
        assert!(world.leaves(&caller, TEXT).0.is_ok());
    }
    world.fails(CAROL, BOB, Condition::NotLoggedIn);
    assert_eq!(world.leaves(CAROL, TEXT).0, Err(Reject::QueueFull));
    world.pass(Duration::from_hours(7 * 24));
    world.ends_empty();
}

/// RULES R23: a text names who left it.
#[test]
fn who_withholds_his_number_leaves_no_text() {
    let mut world = World::new();
    let mut hidden = world.failed_call(ALICE, BOB, Condition::NoReply);
    hidden.identity = crate::completion::Identity::new("", "critical; ID");
    world.step(Input::CallFailed(hidden));
    assert_eq!(world.leaves(ALICE, TEXT).0, Err(Reject::ModeNotOffered));
    let mut nobody = world.failed_call(ALICE, BOB, Condition::NoReply);
    nobody.from = address("sip:anonymous@anonymous.invalid");
    world.step(Input::CallFailed(nobody));
    assert_eq!(world.leaves(ALICE, TEXT).0, Err(Reject::ModeNotOffered));
    world.ends_empty();
}

#[test]
fn no_text_is_left_without_a_call_that_failed_or_behind_a_peer() {
    let mut world = World::new();
    assert_eq!(world.leaves(ALICE, TEXT).0, Err(Reject::NoOffer));
    let mut call = world.failed_call(ALICE, BOB, Condition::NoReply);
    call.monitors = Monitors::Peer {
        peer: peer(),
        offers: Vec::new(),
    };
    world.step(Input::CallFailed(call));
    assert_eq!(world.leaves(ALICE, TEXT).0, Err(Reject::NoMonitor));
    world.ends_empty();
}

/// RULES R23
#[test]
fn who_has_called_for_help_gets_no_text_for_a_while() {
    let mut world = World::new();
    world.unregisters(BOB);
    world.fails(ALICE, BOB, Condition::NotLoggedIn);
    let (result, _) = world.leaves(ALICE, TEXT);
    let id = result.expect("room");
    world.called_for_help(BOB, 10 * MINUTE);
    assert_eq!(sent_ids(&world.registers(BOB)), []);
    assert_eq!(sent_ids(&world.pass(10 * MINUTE)), [id]);
    world.takes(id, Taking::Taken);
    world.ends_empty();
}

#[test]
fn a_callee_who_is_served_no_more_gets_no_texts() {
    let (mut world, id, _) = alice_left_word();
    world.takes(id, Taking::Failed);
    let out = world.step(Input::UserGone { user: user(BOB) });
    let told = out.iter().any(|output| {
        let Output::Tell(tell) = output else {
            return false;
        };
        matches!(
            tell.news,
            News::Ended {
                outcome: Outcome::Refused,
                ..
            }
        )
    });
    assert!(told, "{out:?}");
    world.ends_empty();
}
