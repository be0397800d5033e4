//! Requests for completion that outlive their process, and what becomes of them while nothing is kept.
//!
//! Spec: DESIGN §11; RULES R2, R6.

mod agents;
mod outages;
mod restarts;
mod subscribers;

use std::time::Duration;

use super::kit::completion::{BobIsBusy, GUARD};
use super::kit::party::Party;
use super::kit::scenes::{call, hang_up};

/// campon is started anew, and the phones register again. The calls of before are nobody's.
fn restarts(scene: &BobIsBusy) {
    scene.world.restarts();
    for phone in [&scene.alice, &scene.bob, &scene.carol] {
        phone.registers();
    }
    scene.world.advance(Duration::from_secs(1));
}

/// Bob is seen talking with somebody, and is free again.
#[track_caller]
fn bob_is_seen(scene: &BobIsBusy) {
    is_seen(scene, &scene.carol);
}

#[track_caller]
fn is_seen(scene: &BobIsBusy, with: &Party) {
    let talk = call(with, &scene.bob);
    hang_up(with, &talk.caller, &scene.bob);
    scene.world.advance(GUARD);
}
