//! kill -9 of the binary at instants of a seed's choosing, with a witness on each side and other people's
//! calls all the while.
//!
//! Alice, Bob and Carol are phones of this test's own: what they have heard is what counts. What a kill
//! has hit is read from their journals and from the store, never from where it was aimed. After each kill
//! campon is started anew on the same store, Bob is seen on the phone again, and Alice is rung once if her
//! request was accepted and has not ended, and else never.
//!
//! A kill says nothing of fsync, for the page cache survives the process.

mod aim;
mod exchange;
mod sight;
mod traffic;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use aim::{Aim, HITS_MIN, Plan, SOUGHT};
use exchange::{Exchange, Point};
use sight::{Journals, Phase};
use traffic::Traffic;

use super::scene::{Campon, PATIENCE, SDP, Scene, answer};

/// How long Alice is listened to where nothing is to come: more than the guard, and than all that
/// happens by itself.
const SILENCE: Duration = Duration::from_millis(250);

/// What lies in the buffers of a socket is there at once.
const AT_ONCE: Duration = Duration::from_millis(1);

/// How many kills there are if `CAMPON_KILLS` does not say.
const KILLS: u64 = 50;

/// The end of a process: what was said before `at` it may have heard, after `over` nothing.
#[derive(Clone, Copy)]
struct Killed {
    at: Instant,
    over: Instant,
}

/// Kills campon when its time has come, whatever the others are about: so long after the exchange came
/// to the point, or at its end.
fn kill(campon: &mut Campon, aim: &Aim, points: &Receiver<Point>, is_dead: &AtomicBool) -> Killed {
    while points.recv().is_ok_and(|point| point != aim.point) {}
    let due = Instant::now() + aim.delay;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        match points.recv_timeout(left) {
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    let at = Instant::now();
    campon.kill();
    is_dead.store(true, Ordering::Release);
    let over = Instant::now();
    Killed { at, over }
}

/// Plays the exchange, with a hand at the process; when it came where, and when it was killed.
fn play(scene: &mut Scene, aim: &Aim) -> (Vec<(Point, Instant)>, Killed) {
    let is_dead = AtomicBool::new(false);
    let (news, points) = channel();
    let campon = &mut scene.campon;
    let mut exchange = Exchange {
        alice: &mut scene.alice,
        bob: &mut scene.bob,
        carol: &mut scene.carol,
        news,
        is_dead: &is_dead,
        times: Vec::new(),
    };
    thread::scope(|threads| {
        let is_dead = &is_dead;
        let hand = threads.spawn(move || kill(campon, aim, &points, is_dead));
        // How far it came is seen from what was said.
        let _ = exchange.plays(aim.takes_back);
        let Exchange { times, news, .. } = exchange;
        drop(news);
        (times, hand.join().expect("a process can be killed"))
    })
}

/// What a kill has hit.
struct Hit {
    phase: Phase,
    /// What the store knew of it, or the other side.
    detail: &'static str,
    /// Whether Alice is to be rung again.
    is_kept: bool,
    fault: Option<&'static str>,
}

/// Looks at what campon has left behind.
fn look(scene: &Scene, store: &Path, killed: Killed) -> Hit {
    for phone in [&scene.alice, &scene.bob, &scene.carol] {
        // What was under way when it was killed.
        while phone.awaits(AT_ONCE, "").is_some() {}
    }
    let journals = Journals::taken(&scene.alice, &scene.bob, &scene.carol);
    let kept = sight::kept(store);
    let is_kept = !kept.is_empty();
    let is_selected = kept.iter().any(|record| record.recalls > 0);
    let phase = journals.phase(killed.at);
    let detail = match (phase, is_kept, is_selected) {
        (Phase::CcCall, ..) if journals.cc_call().is_none() => "nothing sent to B",
        (Phase::CcCall, ..) => "B rings",
        (Phase::Ready, _, false) => "guard time",
        (Phase::Ready, _, true) => "selected in the store",
        (_, false, _) => "nothing in the store",
        (_, true, _) => "in the store",
    };
    // What was said while it died may have been heard or not.
    let fault = match (journals.phase(killed.over), is_kept, is_selected) {
        (Phase::Unasked, true, _) => Some("kept, and nobody asked"),
        (Phase::Waiting | Phase::Ready, false, _) => Some("lost: it was accepted"),
        (Phase::Ringing | Phase::CcCall, false, _) => Some("lost: it has not ended"),
        (Phase::Ringing | Phase::CcCall, true, false) => Some("rung before that was kept"),
        (Phase::TakenBack, true, _) => Some("kept after its end was told"),
        _ if kept.len() > 1 => Some("kept twice"),
        _ if journals.recalls() > 1 => Some("rung twice before the kill"),
        _ => None,
    };
    Hit {
        phase,
        detail,
        is_kept,
        fault,
    }
}

/// Campon is started anew; since when others are served again.
fn restart(scene: &mut Scene, traffic: &mut Traffic) -> u64 {
    scene.restart();
    traffic.is_served()
}

/// What is wrong after the kill: Alice is rung for what is kept, once, and for nothing else.
fn serve_again(scene: &mut Scene, traffic: &mut Traffic, is_kept: bool) -> Option<&'static str> {
    let served = restart(scene, traffic);
    if is_kept && scene.alice.awaits(SILENCE, "INVITE").is_some() {
        return Some("rung, and Bob was not seen");
    }
    scene.bob_is_seen();
    let patience = if is_kept { PATIENCE } else { SILENCE };
    match (is_kept, scene.alice.awaits(patience, "INVITE")) {
        (true, None) => return Some("lost"),
        (false, Some(_)) => return Some("rung for nothing"),
        (false, None) => {
            traffic.goes_on(served);
            return None;
        }
        (true, Some(recall)) => {
            scene.alice.send(&answer(&recall, "200 OK", SDP));
            let cc_call = scene.bob.hears("INVITE");
            scene.connects(&cc_call);
        }
    }
    // It has ended now, once: whatever Bob does.
    scene.is_ended();
    traffic.goes_on(served);
    scene.campon.kill();
    traffic.is_cut_off();
    let served = restart(scene, traffic);
    scene.bob_is_seen();
    let again = scene.alice.awaits(SILENCE, "INVITE");
    traffic.goes_on(served);
    let rung = sight::recalls(&scene.alice.journal());
    (again.is_some() || rung != 1).then_some("rung twice")
}

/// A place of this run's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn open() -> Self {
        let path = std::env::temp_dir().join(format!("campon-crash-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Learns how long each stretch of the exchange takes, with nobody killed before its end.
fn rehearse(scene: &mut Scene, traffic: &mut Traffic, plan: &mut Plan) {
    for takes_back in [false, true] {
        let (times, _) = play(scene, &Aim::at_the_end(takes_back));
        traffic.is_cut_off();
        let is_over = times.last().is_some_and(|(point, _)| *point == Point::Over);
        assert!(is_over, "{times:?}");
        plan.learns(&times, takes_back);
        restart(scene, traffic);
        scene.bob_is_seen();
        assert_eq!(scene.alice.awaits(SILENCE, "INVITE"), None);
    }
}

/// What all kills have hit, and what was wrong after them.
#[derive(Default)]
struct Tally {
    hits: BTreeMap<(Phase, &'static str), u64>,
    faults: Vec<String>,
}

impl Tally {
    fn adds(&mut self, seed: u64, hit: &Hit, fault: Option<&'static str>) {
        let (phase, detail) = (hit.phase, hit.detail);
        *self.hits.entry((phase, detail)).or_default() += 1;
        let found = hit.fault.into_iter().chain(fault);
        let named = found.map(|fault| format!("kill {seed}, {}: {fault}", phase.name()));
        self.faults.extend(named);
    }

    fn of(&self, phase: Phase) -> u64 {
        let of_phase = self.hits.iter().filter(|((its, _), _)| *its == phase);
        of_phase.map(|(_, count)| count).sum()
    }

    fn print(&self) {
        let [lost, double] = ["lost", "rung"].map(|word| {
            let is_so = |fault: &&String| fault.contains(word);
            self.faults.iter().filter(is_so).count()
        });
        let kills: u64 = self.hits.values().sum();
        println!("{kills} kills, {lost} requests lost, {double} rung twice or for nothing; hit:");
        for ((phase, detail), count) in &self.hits {
            println!("  {:<28} {detail:<24} {count:>3}", phase.name());
        }
    }
}

#[test]
fn accepted_requests_outlive_kills_and_ring_once() {
    let folder = Folder::open();
    let kills = super::asked("CAMPON_KILLS").unwrap_or(KILLS);
    let store = folder.0.join("store");
    let place = (store.as_path(), traffic::PEERS);
    let mut scene = Scene::open(1, &folder.0, place, Campon::start);
    let mut traffic = Traffic::start(&folder.0);
    let mut plan = Plan::new(kills);
    rehearse(&mut scene, &mut traffic, &mut plan);
    let mut tally = Tally::default();
    for seed in 0..kills {
        let aim = plan.aim(seed);
        drop(Journals::taken(&scene.alice, &scene.bob, &scene.carol));
        let (times, killed) = play(&mut scene, &aim);
        traffic.is_cut_off();
        let hit = look(&scene, &store, killed);
        println!("kill {seed}: {aim}: {}, {}", hit.phase.name(), hit.detail);
        plan.learns(&times, aim.takes_back);
        plan.hits(hit.phase);
        let fault = serve_again(&mut scene, &mut traffic, hit.is_kept);
        tally.adds(seed, &hit, fault);
    }
    let calls = traffic.close();
    drop(scene);
    tally.print();
    println!("{calls}");
    assert_eq!(tally.faults, [""; 0]);
    let is_hit = |phase: &Phase| tally.of(*phase) >= HITS_MIN;
    assert!(kills < KILLS || SOUGHT.iter().all(is_hit), "too seldom");
    calls.check(2 * kills);
}
