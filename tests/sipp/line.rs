//! Lines: phones that take further calls while they play, and the talk that keeps Bob busy.
//!
//! A line ends when the test says so: what it must not hear, it has then not heard.

use std::thread::sleep;
use std::time::Duration;

use crate::player::Player;
use crate::process::{Meanwhile, Script};
use crate::scenarios;
use crate::stage::Phone::{Bob, Dave};
use crate::stage::{Phone, Stage, Transport};
use crate::trace::Trace;

/// How long silence is listened to: longer than the guard time of every flow, and than the times
/// after which a flow demands that nobody rings.
const SILENCE: Duration = Duration::from_secs(1);

/// Bob talks with Dave.
pub struct Talk {
    /// Ends by itself when Bob hangs up.
    pub dave: Player,
    /// How the dialog came about.
    pub bob: Trace,
}

impl Stage {
    /// Starts a phone that waits for its first message.
    pub fn wait_at(&self, scenario: &str, phone: Phone) -> Player {
        let mut player = self.start(scenario, phone, Transport::Udp);
        player.wait_until_listening();
        player
    }

    /// Starts a phone that plays `meanwhile` to each of the calls that come in, so many of them.
    pub fn line(&self, scenario: &str, phone: Phone, meanwhile: (&str, usize)) -> Player {
        let mut script = self.script(scenario, phone, Transport::Udp);
        script.meanwhile = Some(calls(meanwhile));
        Player::start(&script)
    }

    /// Bob is called by Dave and answers.
    pub fn talk(&self) -> Talk {
        self.talk_at("talk.callee")
    }

    /// The same, where Bob's phone plays this.
    pub fn talk_at(&self, callee: &str) -> Talk {
        let mut bob = self.wait_at(callee, Bob);
        let dave = self.start("talk.caller", Dave, Transport::Udp);
        bob.wait_until_heard("ACK", 1);
        let bob = bob.finish();
        Talk { dave, bob }
    }

    /// Bob hangs up, and takes `next`, so many calls.
    pub fn hang_up(&self, talk: Talk, next: Option<(&str, usize)>) -> Player {
        let invite = talk.bob.received_nth("INVITE sdp", 0);
        let answer = talk.bob.sent_nth("200 INVITE sdp", 0);
        let mut script = self.script("hang_up.callee", Bob, Transport::Udp);
        script.meanwhile = next.map(calls);
        script.call_id = Some(invite.call_id().to_owned());
        script.keys.extend([
            ("dialog_target", invite.contact().to_owned()),
            ("dialog_local", answer.header("To").to_owned()),
            ("dialog_remote", invite.header("From").to_owned()),
        ]);
        let mut line = Player::start(&script);
        line.wait_until_heard("200 BYE", 1);
        talk.dave.finish();
        line
    }

    /// A later phase of a phone that has begun a subscription: the keys are what it learned.
    pub fn resume(&self, scenario: &str, phone: Phone, before: &Trace) -> Player {
        let mut script = self.script(scenario, phone, Transport::Udp);
        resume(&mut script, before);
        Player::start(&script)
    }
}

/// Listens to silence: that nobody calls is shown by time alone.
pub fn listen() {
    sleep(SILENCE);
}

fn calls((scenario, calls): (&str, usize)) -> Meanwhile {
    Meanwhile {
        scenario: scenarios::path(scenario),
        calls,
    }
}

fn resume(script: &mut Script, before: &Trace) {
    let notify = before.received_nth("NOTIFY call-completion", 0);
    let body = String::from_utf8_lossy(notify.body());
    let cc_uri = body.lines().find_map(|line| line.strip_prefix("cc-URI: "));
    let published = before.received_nth("200 PUBLISH", 0);
    script.keys.extend([
        ("cc_uri", cc_uri.expect("a cc-URI").to_owned()),
        ("entity_tag", published.header("SIP-ETag").to_owned()),
    ]);
    // SIPp takes what follows the slashes as the name of its call.
    let (_, name) = notify.call_id().split_once("///").expect("slashes");
    script.call_id = Some(name.to_owned());
}
