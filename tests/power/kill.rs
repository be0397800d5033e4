//! kill -9 of the binary at moments of a seed's choosing, with a witness on each side.
//!
//! Alice, Bob and Carol are phones of this test's own: what they have heard is what counts. After each
//! kill campon is started anew on the same store, Bob is seen on the phone again, and Alice is rung if
//! and only if her request was accepted and has not ended.
//!
//! A kill says nothing of fsync, for the page cache survives the process.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use campon::random::Rng;

use super::scene::{Campon, PATIENCE, SDP, Scene, answer};

/// How long Alice is listened to where nothing is to come: more than the guard, and than all that
/// happens by itself.
const SILENCE: Duration = Duration::from_millis(600);

/// How many kills there are if `CAMPON_KILLS` does not say.
const KILLS: u64 = 50;
/// How often each moment must be hit; a request or a cancellation that was answered before the kill is
/// none of its first or last moment.
const HITS_MIN: u64 = 5;

/// What the kill hits.
const MOMENTS: [&str; 5] = [
    "accept before its answer",
    "ready",
    "ringing A",
    "CC call",
    "uncomplete",
];

/// Whether she was told that her request was accepted, and whether it may ring, after a kill at this
/// moment: `None` where either is right, for nobody had heard what became of it.
fn until_kill(scene: &mut Scene, moment: usize, pause: Duration) -> Option<bool> {
    let bye = scene.carol_talks();
    scene.alice_finds_busy("bob");
    let nap = |scene: &Scene| {
        if !pause.is_zero() {
            drop(scene.carol.awaits(pause, "nothing"));
        }
    };
    if moment == 0 {
        let code = scene.alice.request("INVITE", "*37%23", "", SDP);
        scene.alice.send(&code);
        nap(scene);
        scene.campon.kill();
        let told = scene
            .alice
            .awaits(Duration::from_millis(100), "SIP/2.0 200");
        return told.map(|_| true);
    }
    assert_eq!(scene.dials("*37%23"), "SIP/2.0 200 OK");
    if moment == 4 {
        let code = scene.alice.request("INVITE", "%2337%23", "", SDP);
        scene.alice.send(&code);
        nap(scene);
        scene.campon.kill();
        let told = scene
            .alice
            .awaits(Duration::from_millis(100), "SIP/2.0 200");
        return told.map(|_| false);
    }
    scene.carol_hangs_up(&bye);
    if moment == 1 {
        // Around the end of the guard time, when he is selected.
        drop(scene.carol.awaits(Duration::from_millis(90), "nothing"));
        nap(scene);
        scene.campon.kill();
        return Some(true);
    }
    let recall = scene.alice.hears("INVITE");
    scene.alice.send(&answer(&recall, "180 Ringing", ""));
    if moment == 2 {
        nap(scene);
        scene.campon.kill();
        return Some(true);
    }
    scene.alice.send(&answer(&recall, "200 OK", SDP));
    let _cc_call = scene.bob.hears("INVITE");
    nap(scene);
    scene.campon.kill();
    Some(true)
}

/// After the kill: lost or rung for nothing is a fault.
fn after_kill(scene: &mut Scene, expected: Option<bool>) -> Option<&'static str> {
    for phone in [&scene.alice, &scene.bob, &scene.carol] {
        // What was under way when the power went.
        while phone.awaits(Duration::from_millis(20), "").is_some() {}
    }
    scene.restart();
    scene.bob_is_seen();
    let patience = if expected == Some(true) {
        PATIENCE
    } else {
        SILENCE
    };
    let recall = scene.alice.awaits(patience, "INVITE");
    match (expected, recall) {
        (Some(true), None) => return Some("lost"),
        (Some(false), Some(_)) => return Some("rung after its end"),
        (_, None) => return None,
        (_, Some(recall)) => {
            scene.alice.send(&answer(&recall, "200 OK", SDP));
            let cc_call = scene.bob.hears("INVITE");
            scene.connects(&cc_call);
        }
    }
    // It has ended now, once: whatever Bob does.
    scene.is_ended();
    scene.restart();
    scene.bob_is_seen();
    scene.alice.awaits(SILENCE, "INVITE").map(|_| "rung twice")
}

#[test]
fn accepted_requests_outlive_kills_and_ring_once() {
    let folder = std::env::temp_dir().join(format!("campon-crash-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let kills = super::asked("CAMPON_KILLS").unwrap_or(KILLS);
    let store = folder.join("store");
    let mut scene = Scene::open(1, &folder, &store, Campon::start);
    let mut hits: BTreeMap<&str, u64> = BTreeMap::new();
    let mut faults = Vec::new();
    for seed in 0..kills {
        let mut rng = Rng::from_number(seed);
        let moment = usize::try_from(seed % 5).expect("below five");
        let hit = hits.get(MOMENTS[moment]).copied().unwrap_or_default();
        let longest = match moment {
            // At once until it was hit often enough: an answer takes longer than that.
            0 | 4 if hit < HITS_MIN => 0,
            0 | 4 => 3_000,
            _ => 12_000,
        };
        let pause = Duration::from_micros(rng.below(longest));
        let expected = until_kill(&mut scene, moment, pause);
        if expected.is_none() || (1..4).contains(&moment) {
            *hits.entry(MOMENTS[moment]).or_default() += 1;
        }
        if let Some(fault) = after_kill(&mut scene, expected) {
            faults.push(format!("kill {seed} at {}: {fault}", MOMENTS[moment]));
        }
    }
    println!("{kills} kills: {hits:?}; faults: {faults:?}");
    drop(scene);
    drop(fs::remove_dir_all(&folder));
    assert_eq!(faults, [""; 0]);
    let are_all_hit = MOMENTS
        .iter()
        .all(|moment| hits.get(moment).is_some_and(|hits| *hits >= HITS_MIN));
    assert!(kills < KILLS || are_all_hit, "{hits:?}");
}
