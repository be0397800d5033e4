//! Ten thousand requests that live again after a kill.

use std::fs;
use std::path::Path;
use std::time::Instant;

use campon::cc::SubscriptionId;
use campon::cc::addr::Aor;
use campon::completion::{CceToken, CompletionId, Record, WallTime};
use campon::store::disk::Disk;
use campon::store::keep::Keep as _;
use campon::store::{Answer, Epoch, Put};

use super::scene::{Campon, Scene, opened};

const REQUESTS: u64 = 10_000;

/// Takes the one request of the store, and puts as many more into it that are like it, each of another
/// caller's for another callee.
fn multiply(store: &Path) {
    let mut disk = Disk::open(store).expect("a store opens after a crash");
    let kept = disk.completions().expect("it can be read");
    let [(_, stored)] = kept.as_slice() else {
        panic!("{} requests are kept, not one", kept.len());
    };
    let (one, rest) = opened(&stored.record);
    let puts: Vec<_> = (1..REQUESTS)
        .map(|number| {
            let record = like(&one, number);
            let key = Record::key(record.id, &record.callee);
            let bytes = record.encode(WallTime::default());
            let length = u32::try_from(bytes.len()).expect("a length");
            let sealed = [&length.to_be_bytes()[..], &bytes, rest].concat();
            Put {
                key,
                expect: None,
                epoch: Epoch::default(),
                record: Some(sealed.into()),
            }
        })
        .collect();
    let answers = disk.write(&[], &puts).expect("it can be written");
    let is_done = |answer: &Answer| matches!(answer, Answer::Done(_));
    assert!(answers.iter().all(is_done), "a record was there");
}

fn like(one: &Record, number: u64) -> Record {
    let mut record = one.clone();
    let bits = u128::from(number);
    record.id = CompletionId::from_bits(one.id.to_bits() ^ bits);
    record.cce = CceToken::from_bits(one.cce.to_bits() ^ bits);
    record.order += number;
    record.caller = Aor::new(&format!("sip:caller{number}@127.84.4.1"));
    record.callee = Aor::new(&format!("sip:callee{number}@127.84.4.1"));
    // Of one loop both ends have the same name.
    let ids = record.entry.iter_mut().map(|(id, ..)| id);
    let kept = record.request.iter_mut();
    let subscriptions = kept.flat_map(|kept| kept.subscriptions.iter_mut());
    let ids = ids.chain(subscriptions.map(|subscription| &mut subscription.id));
    ids.for_each(|id| *id = SubscriptionId(id.0 + number));
    record
}

/// All are there again, and the one whose callee is seen is rung. How long that took is printed; what it
/// may take is measured by `benches/completions.py`.
#[test]
fn ten_thousand_requests_live_again_after_a_kill() {
    let folder = std::env::temp_dir().join(format!("campon-many-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let store = folder.join("store");
    let mut scene = Scene::open(4, &folder, (&store, ""), Campon::start);
    let _bye = scene.carol_talks();
    scene.alice_finds_busy("bob");
    assert_eq!(scene.dials("*37%23"), "SIP/2.0 200 OK");
    scene.campon.kill();
    multiply(&store);
    let begun = Instant::now();
    scene.restart();
    scene.holds(REQUESTS);
    println!("{REQUESTS} live again after {:?}", begun.elapsed());
    scene.bob_is_seen();
    scene.alice.hears("INVITE");
    scene.holds(REQUESTS);
    drop(scene);
    drop(fs::remove_dir_all(&folder));
}
