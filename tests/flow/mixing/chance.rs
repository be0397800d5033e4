//! Phones do as chance has it on the way to a mixer and back: whatever they did, when they behave again
//! nobody is left on it.
//!
//! Spec: RULES R17; RFC 3261 §14.1.

use campon::random::Rng;

use super::*;

/// How many ladders the everyday tests draw.
const LADDERS: u64 = 150;

/// A phone with its end of a call.
struct Phone<'p> {
    party: &'p Party,
    dialog: &'p Dialog,
    /// What it says of itself.
    sdp: &'static str,
    /// The INVITE that it has not answered.
    asked: Option<Message>,
    /// That of its own which is not answered.
    asks: Option<Message>,
    /// The number of the last INVITE that came.
    last: u32,
    is_over: bool,
}

/// How a phone behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manners {
    Good,
    Bad,
}

impl Phone<'_> {
    /// Takes what has come, and does something about it.
    fn acts(&mut self, rng: &mut Rng, manners: Manners) {
        while self.party.waiting() > 0 {
            let message = self.party.receives_any();
            self.takes(&message);
        }
        if let Some(asked) = self.asked.take() {
            self.answers(rng, manners, asked);
        }
        if manners == Manners::Bad && !self.is_over && self.asks.is_none() {
            match rng.below(40) {
                0 => {
                    let hold = self.sdp.replace("sendrecv", "sendonly");
                    let sent = self.party.sends(reinvite(self.dialog).with_sdp(&hold));
                    self.asks = Some(sent);
                }
                1 => {
                    let sent = self.party.sends(reinvite(self.dialog).with_sdp(self.sdp));
                    self.asks = Some(sent);
                }
                _ => {}
            }
        }
    }

    fn takes(&mut self, message: &Message) {
        let method = message.cseq_method();
        if message.is_request() {
            match method {
                // Or it is the same again.
                "INVITE" if message.cseq() > self.last => {
                    self.last = message.cseq();
                    self.asked = Some(message.clone());
                }
                "BYE" => {
                    self.is_over = true;
                    self.party.answers(message, 200);
                }
                "CANCEL" => {
                    self.party.answers(message, 200);
                    if let Some(asked) = self.asked.take() {
                        self.party.answers(&asked, 487);
                    }
                }
                _ => {}
            }
            return;
        }
        if method == "INVITE"
            && message.status() >= 200
            && let Some(sent) = self.asks.take()
        {
            self.party.acks(&sent, message);
        }
    }

    fn answers(&mut self, rng: &mut Rng, manners: Manners, asked: Message) {
        let choice = match manners {
            Manners::Good => 0,
            Manners::Bad => rng.below(10),
        };
        match choice {
            0..=3 => {
                self.party.sends(response(&asked, 200).with_sdp(self.sdp));
            }
            4 => {
                self.party.answers(&asked, 488);
            }
            5 => {
                self.party.answers(&asked, 491);
            }
            6 => {
                self.party.answers(&asked, 500);
            }
            7 => {
                let held = self.sdp.replace("sendrecv", "inactive");
                self.party.sends(response(&asked, 200).with_sdp(&held));
            }
            // Later.
            8 => {
                self.party.answers(&asked, 100);
                self.asked = Some(asked);
            }
            _ => self.asked = Some(asked),
        }
    }
}

/// The one who joins, or does not.
#[derive(Default)]
struct Intruder {
    dialog: Option<Dialog>,
    is_over: bool,
}

impl Intruder {
    fn acts(&mut self, scene: &Scene) {
        while scene.alice.waiting() > 0 {
            let message = scene.alice.receives_any();
            match (message.is_request(), message.cseq_method()) {
                (true, "BYE") => {
                    scene.alice.answers(&message, 200);
                    self.is_over = true;
                }
                (false, "INVITE") if message.status() >= 200 => {
                    scene.alice.acks(&scene.sent, &message);
                    if message.status() == 200 {
                        self.dialog = Some(Dialog::of_caller(&scene.sent, &message));
                    }
                }
                _ => {}
            }
        }
    }

    fn leaves(&mut self, scene: &Scene) {
        if let Some(dialog) = self.dialog.as_ref().filter(|_| !self.is_over) {
            scene.alice.hangs_up(dialog);
            self.is_over = true;
        }
    }
}

/// A ladder of chance.
struct Chance<'s> {
    scene: &'s Scene,
    phones: [Phone<'s>; 2],
    intruder: Intruder,
    rng: Rng,
}

impl Chance<'_> {
    /// Lets this time pass, in which all do as they do.
    fn passes(&mut self, manners: Manners, time: Duration) {
        let mut passed = Duration::ZERO;
        while passed < time {
            for phone in &mut self.phones {
                phone.acts(&mut self.rng, manners);
            }
            self.intruder.acts(self.scene);
            self.scene.world.advance(Duration::from_millis(250));
            passed += Duration::from_millis(250);
        }
    }
}

#[test]
fn whatever_phones_do_nobody_is_left_on_a_mixer() {
    let mut mixed = 0;
    for seed in 0..LADDERS {
        let scene = Scene::new();
        let phones = [
            (&scene.carol, &scene.talk.caller, CAROL),
            (&scene.bob, &scene.talk.callee, BOB),
        ];
        let phones = phones.map(|(party, dialog, sdp)| Phone {
            party,
            dialog,
            sdp,
            asked: None,
            asks: None,
            last: 0,
            is_over: false,
        });
        let mut chance = Chance {
            scene: &scene,
            phones,
            intruder: Intruder::default(),
            rng: Rng::from_number(seed),
        };
        scene.asks();
        scene.world.hears(scene.room, News::Reserved);
        let time = Duration::from_secs(1 + chance.rng.below(20));
        chance.passes(Manners::Bad, time);
        mixed += u32::from(chance.intruder.dialog.is_some());
        chance.intruder.leaves(&scene);
        let time = Duration::from_secs(1 + chance.rng.below(90));
        chance.passes(Manners::Bad, time);
        chance.passes(Manners::Good, Duration::from_secs(30));
        chance.intruder.leaves(&scene);
        chance.passes(Manners::Good, Duration::from_mins(4));
        let closes = std::iter::from_fn(|| scene.world.next_sound());
        let closes = closes.filter(|it| matches!(it, Command::Close { .. }));
        assert_eq!(closes.count(), 1, "seed {seed}");
        if !chance.phones.iter().any(|phone| phone.is_over) {
            hang_up(&scene.carol, &scene.talk.caller, &scene.bob);
        }
        scene.world.stays_quiet();
    }
    assert!(mixed > 10, "{mixed} of {LADDERS} ladders were mixes");
}
