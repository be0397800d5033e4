//! A disk that is full or fails: the binary refuses what it cannot keep, and goes on by itself later.
//!
//! Spec: DESIGN §11; threats T35; RULES R6. The disk is a tmpfs of a megabyte that campon alone sees; its
//! pages that are not written yet are taken by somebody else. Or it is a file system whose blocks lie in
//! such a tmpfs: then writing works, and fsync fails.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::Duration;

use super::scene::{Campon, PATIENCE, SDP, Scene, answer, value};

/// Longer than the guard, and than all that happens by itself.
const SILENCE: Duration = Duration::from_millis(600);

const REQUEST_LAST: &str = "*37%23";
const CANCEL_LAST: &str = "%2337*%23";

/// Requests that may find room in what the file has already.
const KEPT_MAX: u32 = 50;

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file on the disk that campon sees");
    let bytes = [0xaa; 4096];
    loop {
        match file.write_all(&bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_full_disk_refuses_requests_and_no_calls_until_there_is_room() {
    let folder = std::env::temp_dir().join(format!("campon-full-{}", std::process::id()));
    let disk = folder.join("disk");
    fs::create_dir_all(&disk).expect("a folder");
    let small = |config: &Path, ip: &str| Campon::start_on_small_disk(config, ip, &disk);
    let scene = Scene::open(2, &folder, (&disk.join("store"), ""), small);
    goes_on_without(scene, &disk.join("filler"));
    drop(fs::remove_dir_all(&folder));
}

/// What is written seems to be, and the sync says that it is not.
#[test]
fn a_disk_that_fails_to_sync_refuses_requests_and_no_calls_until_it_works_again() {
    let folder = std::env::temp_dir().join(format!("campon-thin-{}", std::process::id()));
    let room = folder.join("room");
    fs::create_dir_all(&room).expect("a folder");
    let thin = |config: &Path, ip: &str| Campon::start_on_thin_disk(config, ip, &room);
    let scene = Scene::open(3, &folder, (&room.join("disk/store"), ""), thin);
    goes_on_without(scene, &room.join("filler"));
    drop(fs::remove_dir_all(&folder));
}

/// Nothing can be kept while this file takes all the room, and everything goes on that need not be kept;
/// then all is as before.
fn goes_on_without(mut scene: Scene, filler: &Path) {
    let bye = scene.carol_talks();
    scene.alice_finds_busy("bob");
    assert_eq!(scene.dials(REQUEST_LAST), "SIP/2.0 200 OK");

    let filler = scene.campon.seen(filler);
    fill(&filler);
    let busy = scene.alice_finds_busy("carol");
    assert!(!value(&busy, "Call-Info").is_empty(), "{busy}");
    let mut kept = 0;
    while scene.dials(REQUEST_LAST).starts_with("SIP/2.0 200") {
        scene.dials(CANCEL_LAST);
        kept += 1;
        assert!(kept < KEPT_MAX, "the disk is not full");
    }
    assert_eq!(
        scene.dials(REQUEST_LAST),
        "SIP/2.0 503 the store is not available"
    );
    // Nothing is offered that would be refused.
    let busy = scene.alice_finds_busy("carol");
    assert_eq!(value(&busy, "Call-Info"), "");
    // Calls go on; Bob is free, and nobody is called back before that can be kept.
    scene.carol_hangs_up(&bye);
    scene.bob_is_seen();
    assert_eq!(scene.alice.awaits(SILENCE, "INVITE"), None);

    fs::remove_file(&filler).expect("the file is there");
    let recall = scene.alice.awaits(PATIENCE, "INVITE").expect("a recall");
    scene.alice.send(&answer(&recall, "200 OK", SDP));
    let cc_call = scene.bob.hears("INVITE");
    scene.connects(&cc_call);
    scene.is_ended();
}
