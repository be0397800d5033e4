//! The commands of the manual's tour of the API, run as they stand there, before two phones.
//!
//! Spec: TAPI `lineCompleteCall`, `lineUncompleteCall`, ITBasicCallControl; RFC 3911; RULES R24.
//!
//! A command is found by what it does, so that the manual cannot say something that does not work.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;

use crate::process::{binary, wait_for};
use crate::stage::Phone::{Alice, Bob, Dave};
use crate::stage::{Stage, Transport};

/// How long a request may take to have its effect.
const EFFECT_MAX: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"
[completion]
on_busy = "ask"
ask_time = "20s"
camp_on_guard = "100ms"
guard = "300ms"

[completion.messages]
texts = ["please call back", "it is urgent"]
"#;

/// The commands between the fences of the tour, each with its comment.
fn tour() -> Vec<&'static str> {
    let manual = include_str!("../../README.md");
    let (_, tour) = manual
        .split_once("API=http://127.0.0.1:5080/v1\n")
        .expect("the tour");
    let (tour, _) = tour.split_once("```").expect("its end");
    tour.lines()
        .filter(|line| line.starts_with("curl "))
        .collect()
}

/// The only command that has all of this in it.
fn documented(parts: &[&str]) -> &'static str {
    let tour = tour();
    let mut found = tour
        .iter()
        .filter(|line| parts.iter().all(|part| line.contains(part)));
    let command = found
        .next()
        .unwrap_or_else(|| panic!("no {parts:?} in {tour:?}"));
    assert!(found.next().is_none(), "two commands with {parts:?}");
    command
}

impl Stage {
    /// Runs a command of the manual; what the API answers.
    fn runs(&self, parts: &[&str], names: &[(&str, &str)]) -> Value {
        let api = format!("http://{}:5080/v1", self.domain());
        let mut shell = Command::new("sh");
        shell.args(["-c", documented(parts)]);
        shell.env("API", api);
        shell.envs(names.iter().copied());
        let done = shell.output().expect("sh, and curl in the path");
        assert!(done.status.success(), "{done:?}");
        let body = String::from_utf8(done.stdout).expect("UTF-8");
        serde_json::from_str(&body).unwrap_or(Value::String(body))
    }

    /// The call of Alice's that stands so.
    fn alices_call(&self, state: &str) -> Value {
        let found = wait_for(EFFECT_MAX, || {
            let calls = self.runs(&["calls?line=alice"], &[]);
            let mut calls = calls.as_array().cloned().unwrap_or_default().into_iter();
            calls.find(|call| call["state"] == state)
        });
        found.unwrap_or_else(|| panic!("no call is {state}"))
    }

    /// Has Alice's busy call completed in this mode.
    fn completes(&self, mode: &str) -> Value {
        let call = self.alices_call("busy");
        let modes = call.get("modes").and_then(Value::as_array).expect("modes");
        assert!(modes.contains(&Value::from(mode)), "{call}");
        let mode = format!("\"mode\":\"{mode}\"");
        let id = call.get("id").and_then(Value::as_str).expect("an id");
        self.runs(&[&mode], &[("CALL", id)])
    }

    /// What the commands of the binary say to its operator.
    fn is_shown_to_operators(&self, completed: &Value) {
        let id = id_of(completed);
        let waits = format!("{id} alice waits for bob by callback: queued, until ");
        let list = self.operator(&["completions", "list"]);
        assert!(
            list.starts_with(&waits) && list.lines().count() == 1,
            "{list}"
        );
        let story = self.operator(&["completions", "show", id]);
        assert!(
            story.starts_with(&waits) && story.contains("queued as no. 1"),
            "{story}"
        );
        let call = self.alices_call("busy");
        let call = call.get("id").and_then(|id| id.as_str()).expect("an id");
        let again = self.operator(&["complete", call]);
        assert_eq!(again, format!("{id} no. 1\n"));
    }

    /// Runs the binary against the campon of the stage; what it prints.
    fn operator(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.args(arguments);
        command.args(["--api", &format!("http://{}:5080", self.domain())]);
        let done = command.output().expect("the binary runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("UTF-8")
    }

    fn alice_finds_bob_busy_for_long(&self) -> crate::player::Player {
        let target = format!("sip:bob@{}", self.domain());
        let mut alice = self
            .act("offered.caller", Alice)
            .with("target", target)
            .start();
        alice.wait_until_heard("100 INVITE", 1);
        alice
    }
}

/// A reader of events, who writes what comes to a file.
struct Events {
    reader: Child,
    heard: PathBuf,
}

impl Events {
    /// As the manual says, from behind this event.
    fn read(stage: &Stage, name: &str, last: &str) -> Self {
        let heard = stage.file(name);
        let out = fs::File::create(&heard).expect("a file in the target folder");
        let resumes = format!("exec curl -H 'Last-Event-ID: {last}'");
        let command = documented(&["/events"]).replacen("curl", &resumes, 1);
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).stdout(out);
        shell.env("API", format!("http://{}:5080/v1", stage.domain()));
        let reader = shell.spawn().expect("sh, and curl in the path");
        Self { reader, heard }
    }

    /// The n-th event, with its id.
    fn nth(&self, n: usize) -> (String, Value) {
        let found = wait_for(EFFECT_MAX, || {
            let heard = fs::read_to_string(&self.heard).ok()?;
            let mut events = heard.split("\n\n").filter(|event| event.contains("data: "));
            let event = events.nth(n)?;
            let line = |name| event.lines().find_map(|line| line.strip_prefix(name));
            let value = serde_json::from_str(line("data: ")?).ok()?;
            Some((line("id: ")?.to_owned(), value))
        });
        found.unwrap_or_else(|| panic!("no event {n}"))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _gone = self.reader.kill();
        let _reaped = self.reader.wait();
    }
}

fn id_of(completed: &Value) -> &str {
    let id = completed["completion_id"].as_str();
    id.unwrap_or_else(|| panic!("no request: {completed}"))
}

#[test]
fn a_callback_is_asked_for_and_taken_back_when_curl_says_so() {
    let stage = Stage::open_with("tour_callback", CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    // From the beginning: of an id that nobody knows, all that there is comes behind it.
    let events = Events::read(&stage, "events", "0");
    let alice = stage.alice_finds_bob_busy_for_long();
    let completed = stage.completes("callback");
    // Who need not wait for it any more is told that he is busy.
    alice.finish();
    stage.is_shown_to_operators(&completed);
    let waiting = stage.runs(&["\"$API/completions\""], &[]);
    assert_eq!(waiting[0]["completion_id"], completed["completion_id"]);
    assert_eq!(waiting[0]["mode"], "callback");
    let gone = stage.runs(
        &["DELETE", "/completions/"],
        &[("COMPLETION", id_of(&completed))],
    );
    assert_eq!(gone, "");
    assert_eq!(
        stage.runs(&["\"$API/completions\""], &[]),
        Value::from(Vec::<Value>::new())
    );
    let [first, last] = [0, 1].map(|nth| events.nth(nth));
    assert_eq!(
        (&first.1["type"], &first.1["line"]),
        (&"NUMCOMPLETIONS".into(), &"alice".into())
    );
    assert_eq!(
        (&first.1["count"], &last.1["count"]),
        (&1.into(), &0.into())
    );
    // Who comes again gets what he has missed, once.
    let again = Events::read(&stage, "again", &first.0);
    assert_eq!(again.nth(0), last);
    drop((events, again));
    stage.hang_up(talk, None).hang_up();
    stage.close_served(&[("completions_accepted", 1), ("completions_cancelled", 1)]);
}

#[test]
fn a_text_is_left_when_curl_says_so() {
    let stage = Stage::open_with("tour_message", CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let alice = stage.alice_finds_bob_busy_for_long();
    let bob = stage.wait_at("message_delivered.phone", Bob);
    let completed = stage.completes("message");
    assert!(!id_of(&completed).is_empty());
    alice.finish();
    let bob = bob.finish();
    let text = bob.received_nth("MESSAGE plain;charset=UTF-8", 0);
    assert_eq!(text.body(), b"alice: please call back");
    stage.hang_up(talk, None).hang_up();
    stage.close_served(&[("completions_accepted", 1), ("completions_completed", 1)]);
}

#[test]
fn a_call_camps_on_when_curl_says_so() {
    let stage = Stage::open_with("camp_on_by_http", CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = stage.start("camp_on_by_http.caller", Alice, Transport::Udp);
    let completed = stage.completes("camp_on");
    alice.wait_until_heard("182 INVITE", 1);
    assert_eq!(
        stage.alices_call("busy")["completion_id"],
        completed["completion_id"]
    );
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    alice.finish();
    bob.hang_up();
    stage.close_completed();
}

/// Everybody has this level, and is protected by one.
fn open_for_intrusion(name: &str, level: u32) -> Stage {
    let config = CONFIG.replace("20s", "6s");
    let rights = format!("[completion.intrusion]\nintrudes = {level}\nprotection = 1\n");
    let records = "[records]\nfile = \"records\"\n";
    let stage = Stage::open_with(name, &format!("{config}\n{rights}\n{records}"));
    stage.register(&[Alice, Bob, Dave]);
    stage
}

/// The record of the attempt.
fn attempt(stage: &Stage) -> Value {
    let found = wait_for(EFFECT_MAX, || {
        let records = fs::read_to_string(stage.file("records")).ok()?;
        let mut records = records
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        records.find(|record: &Value| record["type"] == "intrusion")
    });
    found.expect("a record of the attempt")
}

#[test]
fn a_call_joins_another_when_curl_says_so() {
    let stage = open_for_intrusion("intrude_by_join", 2);
    let talk = stage.talk_at("intrude_by_join.talk");
    let bob = stage.wait_at("intrude_by_join.callee", Bob);
    let alice = stage.start("intrude_by_join.caller", Alice, Transport::Udp);
    let completed = stage.completes("intrude");
    let bob = bob.finish();
    alice.finish();
    let join = bob.received_nth("INVITE sdp", 0);
    let invite = talk.bob.received_nth("INVITE sdp", 0);
    let answer = talk.bob.sent_nth("200 INVITE sdp", 0);
    let expected = format!(
        "{};to-tag={};from-tag={}",
        invite.call_id(),
        answer.tag_of_to().expect("a tag"),
        answer.tag_of_from().expect("a tag"),
    );
    assert_eq!(join.header("Join"), expected);
    assert!(
        join.headers("Require").any(|value| value == "join"),
        "{join}"
    );
    let record = attempt(&stage);
    assert!(!id_of(&completed).is_empty());
    for (key, value) in [
        ("intruder", "alice"),
        ("target", "bob"),
        ("third", "dave"),
        ("outcome", "joined"),
    ] {
        assert_eq!(record[key], value, "{record}");
    }
    stage.hang_up(talk, None).hang_up();
    stage.close_served(&[]);
}

#[test]
fn a_level_that_is_too_low_joins_nothing() {
    let stage = open_for_intrusion("intrude_denied", 1);
    let talk = stage.talk_at("intrude_by_join.talk");
    let target = format!("sip:bob@{}", stage.domain());
    let caller = stage.act("intrude_denied.caller", Alice);
    let mut alice = caller.with("target", target).start();
    alice.wait_until_heard("100 INVITE", 1);
    let refused = stage.completes("intrude");
    assert_eq!(refused["code"], "OPERATIONUNAVAIL", "{refused}");
    assert_eq!(refused["detail"], "no intrusion: the callee is protected");
    let record = attempt(&stage);
    assert_eq!(record["outcome"], "target-protected", "{record}");
    alice.finish();
    stage.hang_up(talk, None).hang_up();
    stage.close_served(&[]);
}

#[test]
fn a_line_is_connected_and_disconnected_when_curl_says_so() {
    let stage = Stage::open_with("connected_by_http", CONFIG);
    stage.register(&[Alice, Bob]);
    let alice = stage.wait_at("connected_by_http.phone", Alice);
    let bob = stage.wait_at("late_offer.callee", Bob);
    let connected = stage.runs(&["\"from\":\"alice\""], &[]);
    let id = connected["id"].as_str().expect("an id");
    assert_eq!(stage.alices_call("connected")["id"], id);
    let gone = stage.runs(&["DELETE", "/calls/"], &[("CALL", id)]);
    assert_eq!(gone, "");
    alice.finish();
    bob.finish();
    stage.close_served(&[]);
}

#[test]
fn every_command_of_the_tour_is_run_by_some_test() {
    let run: [&[&str]; 10] = [
        &["calls?line=alice"],
        &["\"mode\":\"callback\""],
        &["\"mode\":\"message\""],
        &["\"mode\":\"camp_on\""],
        &["\"mode\":\"intrude\""],
        &["\"$API/completions\""],
        &["DELETE", "/completions/"],
        &["\"from\":\"alice\""],
        &["DELETE", "/calls/"],
        &["/events"],
    ];
    let mut commands: Vec<_> = run.into_iter().map(documented).collect();
    commands.sort_unstable();
    let mut tour = tour();
    tour.sort_unstable();
    assert_eq!(commands, tour);
}
