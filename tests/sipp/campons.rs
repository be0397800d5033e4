//! Two campons with completion between them: each waits at the other for a callee there.
//!
//! Spec: RFC 6910 §4 to §9; RFC 6665 §4; RFC 3903; RULES R7, R18.
//!
//! ```text
//!   alice, eve ── north ── tap ── south ── bob, carol
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::act::Act;
use crate::message::{Message, uri};
use crate::player::{Player, finish};
use crate::process::{Campon, binary};
use crate::stage::Phone::{self, Alice, Bob, Carol, Eve};
use crate::stage::{Stage, network};
use crate::tap::Side::{North, South};
use crate::tap::{End, Side, Tap};
use crate::trace::Trace;

const NAME: &str = "two_campons_agent_and_monitor";

/// The addresses of the parties, beside those of the phones.
const NORTH: u8 = 1;
const NORTH_TRUNK: u8 = 21;
const SOUTH: u8 = 31;
const SOUTH_TRUNK: u8 = 32;
/// How each campon's other side knows it.
const NORTH_SEEN: u8 = 41;
const SOUTH_SEEN: u8 = 42;

/// Bob's guard time is long enough for phones to be picked up anew.
const COMPLETION: &str = r##"
[overload]
delay_target_ms = 5000

[completion]
guard = "2s"
recall = "10s"
ring = "1s"
rest = "2s"
aftermath = "100ms"
notify_window = "100ms"
expires_min = "2s"

[completion.codes]
request_last = "*37#"
cancel_all = "#37#"
"##;

/// Who may end requests in the south, by this token.
const TOKEN: &str = "operator";
const OPERATOR: &str = r#"
[[api.token]]
name = "operator"
sha256 = "06e55b633481f7bb072957eabcf110c972e86691c3cfedabe088024bffe42f23"
scopes = ["read", "admin"]
"#;

const REQUEST: &str = "*37%23";
const CANCEL_ALL: &str = "%2337%23";

fn at(place: u8) -> SocketAddr {
    let [a, b, c, _] = network(NAME).octets();
    SocketAddr::new(Ipv4Addr::new(a, b, c, place).into(), 5060)
}

/// A campon's configuration: it serves its phones at one address and its peer at another.
fn config(places: [u8; 4], peer: &str, dials: &str, users_there: &str) -> String {
    let [own, trunk, seen, there] = places.map(at);
    format!(
        "[[listener]]\naddress = \"{own}\"\n\
         [[listener]]\naddress = \"{trunk}\"\nadvertise = \"{}\"\nserves = [\"{}/32\"]\n\
         [[peer]]\nname = \"{peer}\"\naddress = \"{}\"\ndials = \"{dials}\"\n\
         [[route]]\nuser = \"{users_there}\"\nto = \"{peer}\"\n{COMPLETION}",
        seen.ip(),
        there.ip(),
        there.ip(),
    )
}

/// Both campons, the tap between them, and the talk that keeps Bob and Eve busy.
struct Scene {
    stage: Stage,
    south: Campon,
    tap: Tap,
}

impl Scene {
    fn open() -> Self {
        let here = [NORTH, NORTH_TRUNK, NORTH_SEEN, SOUTH_SEEN];
        let stage = Stage::open_with(NAME, &config(here, "south", "tokens", "bob"));
        let there = [SOUTH, SOUTH_TRUNK, SOUTH_SEEN, NORTH_SEEN];
        let folder = stage.file("south");
        std::fs::create_dir_all(&folder).expect("a folder in the target folder");
        let config = config(there, "north", "original", "eve") + OPERATOR;
        std::fs::write(stage.file("token"), TOKEN).expect("a file in the target folder");
        let south = Campon::start(at(SOUTH), &folder, Some(&config));
        let end = |here, campon| End {
            here: at(here),
            campon: at(campon),
        };
        let tap = Tap::between(end(SOUTH_SEEN, NORTH_TRUNK), end(NORTH_SEEN, SOUTH_TRUNK));
        let scene = Self { stage, south, tap };
        for phone in [Alice, Eve, Bob, Carol] {
            scene.act("registration.phone", phone).play();
        }
        scene
    }

    /// A part of a phone, at its own campon.
    fn act(&self, scenario: &str, phone: Phone) -> Act {
        let act = self.stage.act(scenario, phone);
        match phone {
            Bob | Carol => act.of_campon(at(SOUTH)),
            Alice | Phone::AliceAtHome | Phone::Dave | Eve => act,
        }
    }

    fn address_of(&self, user: &str, phone: Phone) -> String {
        match phone {
            Bob | Carol => format!("sip:{user}@{}", at(SOUTH).ip()),
            Alice | Phone::AliceAtHome | Phone::Dave | Eve => {
                format!("sip:{user}@{}", self.stage.domain())
            }
        }
    }

    /// Eve calls Bob, and they talk.
    fn talk(&self) -> Talk {
        let mut bob = self.act("talk.callee", Bob).listen();
        let eve = self.act("talk.caller", Eve).start();
        bob.wait_until_heard("ACK", 1);
        let bob = bob.finish();
        Talk { eve, bob }
    }

    /// Bob hangs up.
    fn hangs_up(&self, talk: Talk) {
        let invite = talk.bob.received_nth("INVITE sdp", 0);
        let answer = talk.bob.sent_nth("200 INVITE sdp", 0);
        let mut bob = self
            .act("hang_up.callee", Bob)
            .in_call(invite, answer)
            .start();
        bob.wait_until_heard("200 BYE", 1);
        bob.hang_up();
        talk.eve.finish();
    }

    /// A call to somebody busy on the other side, and the wish to be called back.
    fn asks(&self, phone: Phone, whom: &str) {
        let target = self.address_of(whom, phone);
        let failed = self
            .act("offered.caller", phone)
            .with("target", target)
            .play();
        // The offer is for the phone's own campon, which is its agent.
        let busy = failed.received_nth("486 INVITE", 0);
        assert!(!busy.has("Call-Info"), "{busy}");
        self.dials(phone, REQUEST);
    }

    /// The talk ends, and both callers are called back; Alice comes when it rings again.
    fn call_back(&self, talk: Talk) {
        let recalled = |phone| self.act("agent_of_remote_monitor.recalled", phone).listen();
        let ignored = self.act("recall_ignored.recall", Alice).listen();
        let carol = recalled(Carol);
        self.hangs_up(talk);
        let [eve, bob] = [Eve, Bob].map(|phone| self.act("late_offer.callee", phone).listen());
        ignored.finish();
        finish(vec![carol, eve, recalled(Alice), bob]);
    }

    /// What `campon completions` prints to the operator of the southern campon.
    fn souths_operator(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.arg("completions").args(arguments);
        command.args(["--api", &format!("http://{}:5080", at(SOUTH).ip())]);
        command.arg("--token-file").arg(self.stage.file("token"));
        let done = command.output().expect("the binary runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("UTF-8")
    }

    fn dials(&self, phone: Phone, code: &str) {
        self.act("code.caller", phone).with("code", code).play();
    }
}

struct Talk {
    eve: Player,
    bob: Trace,
}

/// What a monitor says: cc-state and Subscription-State, without the time that is left.
fn news(notify: &Message) -> (String, String) {
    let life = notify.header("Subscription-State");
    let (life, _) = life.split_once(";expires=").unwrap_or((life, ""));
    (line(notify, "cc-state"), life.to_owned())
}

fn line(notify: &Message, name: &str) -> String {
    let body = String::from_utf8_lossy(notify.body()).into_owned();
    let line = body.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {notify}"));
    line.trim_start_matches(": ").to_owned()
}

fn basic(publication: &Message) -> &'static str {
    let body = String::from_utf8_lossy(publication.body()).into_owned();
    if body.contains("<basic>closed<") {
        "closed"
    } else {
        assert!(body.contains("<basic>open<"), "{publication}");
        "open"
    }
}

/// The NOTIFYs of one subscription.
fn told(tap: &Tap, by: Side, subscribe: &Message) -> Vec<Message> {
    let mut told = tap.requests(by, "NOTIFY");
    told.retain(|notify| notify.call_id() == subscribe.call_id());
    told
}

/// The n-th of them, 0 being the first.
fn nth_told(tap: &Tap, (by, subscribe): (Side, &Message), n: usize) -> Message {
    tap.wait_until("NOTIFY", || told(tap, by, subscribe).into_iter().nth(n))
}

fn news_of(told: &[Message]) -> Vec<(String, String)> {
    told.iter().map(news).collect()
}

fn expected(news: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(state, life): &(&str, &str)| ((*state).to_owned(), (*life).to_owned());
    news.iter().map(owned).collect()
}

const QUEUED: (&str, &str) = ("queued", "active");
const READY: (&str, &str) = ("ready", "active");
const DONE: (&str, &str) = ("queued", "terminated;reason=noresource");
const REJECTED: (&str, &str) = ("queued", "terminated;reason=rejected");
const LEFT: (&str, &str) = ("queued", "terminated;reason=timeout");

#[test]
fn two_campons_are_agent_and_monitor_for_each_other_at_once() {
    let scene = Scene::open();
    both_call_back(&scene);
    let subscribed = |side| scene.tap.requests(side, "SUBSCRIBE").len();
    let before = [subscribed(North), subscribed(South)];
    assert_eq!(before, [1, 1]);
    taken_back_by_the_caller(&scene);
    ended_by_the_monitors_operator(&scene);
    ended_with_the_monitor(scene);
}

/// Alice waits for Bob and Carol for Eve. Alice does not come at first, and keeps her place.
fn both_call_back(scene: &Scene) {
    let tap = &scene.tap;
    let talk = scene.talk();
    scene.asks(Alice, "bob");
    scene.asks(Carol, "eve");
    let [alices, carols] = [North, South].map(|side| tap.wait_for(side, "SUBSCRIBE", 0));
    // Both wait at once.
    for (by, subscribe) in [(South, &alices), (North, &carols)] {
        nth_told(tap, (by, subscribe), 0);
        assert_eq!(news_of(&told(tap, by, subscribe)), expected(&[QUEUED]));
    }
    assert_asked_by_alice(scene, &alices);
    scene.call_back(talk);

    nth_told(tap, (South, &alices), 4);
    nth_told(tap, (North, &carols), 2);
    let news = told(tap, South, &alices);
    let story = expected(&[QUEUED, READY, QUEUED, READY, DONE]);
    assert_eq!(news_of(&news), story);
    let carols_news = news_of(&told(tap, North, &carols));
    assert_eq!(carols_news, expected(&[QUEUED, READY, DONE]));
    let entry = line(news.first().expect("five of them"), "cc-URI");
    assert_suspended_and_resumed(tap, &entry);
    assert_cc_calls(tap, &entry);
}

fn assert_asked_by_alice(scene: &Scene, subscribe: &Message) {
    // CC-12, CC-16: of the offer, in the name of the caller.
    assert!(subscribe.request_uri().ends_with(";m=BS"), "{subscribe}");
    let alice = format!("sip:alice@{}", scene.stage.domain());
    assert_eq!(uri(subscribe.header("From")), alice);
    let seen = at(NORTH_SEEN).ip().to_string();
    assert!(subscribe.contact().contains(&seen), "{subscribe}");
}

/// CC-24, CC-27: Alice was not there, and came back; Carol was there all the time.
fn assert_suspended_and_resumed(tap: &Tap, entry: &str) {
    let published = tap.requests(North, "PUBLISH");
    let said: Vec<_> = published.iter().map(basic).collect();
    assert_eq!(said, ["closed", "open"]);
    assert!(published.iter().all(|it| it.request_uri() == entry));
    let tag = tap.answers(South, "PUBLISH").remove(0);
    let resumed = published.last().expect("two of them");
    assert_eq!(resumed.header("SIP-If-Match"), tag.header("SIP-ETag"));
    assert!(tap.requests(South, "PUBLISH").is_empty());
}

/// CC-22, CC-23: each side dials as it may; the calls that failed came before.
fn assert_cc_calls(tap: &Tap, entry: &str) {
    let invites = |side| tap.requests(side, "INVITE");
    let cc_call = |side| invites(side).pop().expect("a CC call");
    assert_eq!(cc_call(North).request_uri(), format!("{entry};m=BS"));
    let original = invites(South).remove(0);
    let dialled = format!("{};m=BS", original.request_uri());
    let cc_call = cc_call(South);
    assert!(cc_call.request_uri().starts_with(&dialled), "{cc_call}");
}

/// Alice dials the code that takes back: the subscription ends by her campon's wish.
fn taken_back_by_the_caller(scene: &Scene) {
    let talk = scene.talk();
    scene.asks(Alice, "bob");
    scene.dials(Alice, CANCEL_ALL);
    let first = scene.tap.wait_for(North, "SUBSCRIBE", 1);
    let leaves = scene.tap.wait_for(North, "SUBSCRIBE", 2);
    assert_eq!(leaves.call_id(), first.call_id());
    assert_eq!(leaves.header("Expires"), "0");
    let ended = nth_told(&scene.tap, (South, &first), 1);
    assert_eq!(vec![news(&ended)], expected(&[LEFT]));
    scene.hangs_up(talk);
    assert_eq!(scene.stage.count("completions_cancelled"), 1);
}

/// Who runs the monitor's campon ends her request there: the subscription ends, and so does her wish.
fn ended_by_the_monitors_operator(scene: &Scene) {
    let talk = scene.talk();
    scene.asks(Alice, "bob");
    let subscribe = scene.tap.wait_for(North, "SUBSCRIBE", 3);
    nth_told(&scene.tap, (South, &subscribe), 0);
    let waiting = scene.souths_operator(&["list"]);
    let (id, waits) = waiting.split_once(' ').expect("a name");
    assert!(
        waits.contains(" waits for bob by callback: queued"),
        "{waiting}"
    );
    scene.souths_operator(&["cancel", id]);
    let ended = nth_told(&scene.tap, (South, &subscribe), 1);
    assert_eq!(vec![news(&ended)], expected(&[REJECTED]));
    scene.stage.wait_until_counted("completions_refused", 1);
    // RFC 6665 §4.1.3: who is rejected does not ask again.
    scene.hangs_up(talk);
    assert_eq!(scene.tap.requests(North, "SUBSCRIBE").len(), 4);
}

/// The monitor's campon is stopped while Alice waits: she waits no longer.
fn ended_with_the_monitor(scene: Scene) {
    let talk = scene.talk();
    scene.asks(Alice, "bob");
    let subscribe = scene.tap.wait_for(North, "SUBSCRIBE", 4);
    scene.south.signal("TERM");
    let ended = nth_told(&scene.tap, (South, &subscribe), 1);
    assert_eq!(vec![news(&ended)], expected(&[DONE]));
    scene.stage.wait_until_counted("completions_refused", 2);
    // Its calls go on until they end.
    scene.hangs_up(talk);
    let Scene { stage, south, tap } = scene;
    let log = south.join();
    assert!(log.contains("completions 0"), "{log}");
    drop(tap);
    stage.close_served(&[
        // As Alice's agent four times, and as Eve's monitor.
        ("completions_accepted", 5),
        ("completions_cancelled", 1),
        ("completions_completed", 2),
        ("completions_recalled", 3),
        ("completions_refused", 2),
    ]);
}
