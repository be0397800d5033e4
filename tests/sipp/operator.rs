//! What the operator does while calls are up: another configuration, and the wish to stop.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::process::wait_for;
use crate::stage::Phone::{Alice, Bob};
use crate::stage::{Stage, Transport};

/// How long campon may take to have done what it was told.
const DONE_MAX: Duration = Duration::from_secs(10);

/// Calls in all, and in a second.
const CALLS: u32 = 600;
const A_SECOND: u32 = 100;

/// However slow the machine is, nothing is refused for it.
const PATIENT: &str = "[overload]\ndelay_target_ms = 60000\n";

/// The configurations that follow one another, each with the keys that it changes; one does not hold.
const RELOADS: [(&str, Result<&[&str], &str>); 5] = [
    (
        "[calls]\ncalls_max = 2000\n[log]\nlevel = \"warn\"\n",
        Ok(&["calls.calls_max", "log.level"]),
    ),
    (
        "[calls]\ncalls_max = 0\n",
        Err("campon.toml:2: calls.calls_max: must not be 0"),
    ),
    (
        "domains = [\"a.example\"]\n[calls]\ncalls_max = 2000\n[completion]\nguard = \"1s\"\n\
         [completion.codes]\nrequest_last = \"*37#\"\n",
        Ok(&[
            "completion.codes.request_last",
            "completion.guard",
            "domains",
            "log.level",
        ]),
    ),
    (
        "[calls]\ncalls_max = 3000\n[[user]]\nname = \"bob\"\npassword = \"secret\"\n\
         [timing]\nt1_ms = 400\n[limits]\ncalls = 500\n",
        Ok(&[
            "calls.calls_max",
            "completion.codes.request_last",
            "completion.guard",
            "domains",
            "limits.calls",
            "timing.t1_ms",
            "user",
        ]),
    ),
    (
        "[calls]\ncalls_max = 1000\n",
        Ok(&["calls.calls_max", "limits.calls", "timing.t1_ms", "user"]),
    ),
];

#[test]
fn reloads_under_a_hundred_calls_a_second_lose_no_call() {
    let patient = |text: &str| format!("{text}{PATIENT}");
    let stage = Stage::open_with("reload", &patient("[calls]\ncalls_max = 1000\n"));
    stage.register(&[Bob]);
    let callee = stage.crowd("basic_call.callee", Bob, CALLS, A_SECOND);
    callee.wait_until_listening();
    let mut caller = stage.crowd("basic_call.caller", Alice, CALLS, A_SECOND);
    for ((text, expected), begun) in RELOADS.iter().zip((1..).map(|nth| nth * CALLS / 6)) {
        stage.wait_until_counted("calls_started", begun.into());
        let reload = stage.reload(&patient(text));
        match expected {
            Ok(changed) => {
                assert_eq!(reload["outcome"], "applied", "{reload}");
                assert_eq!(reload["changed"], json!(changed), "{reload}");
            }
            Err(why) => {
                assert_eq!(reload["outcome"], "refused", "{reload}");
                let error = reload["error"].as_str().unwrap_or_default();
                assert!(error.ends_with(why), "{reload}");
            }
        }
    }
    assert!(!caller.has_ended(), "the last reload was too late");
    caller.finish();
    callee.finish();
    for (name, count) in stage.counted() {
        let expected = match &*name {
            "calls_started" | "calls_answered" => u64::from(CALLS),
            "calls_failed" | "messages_dropped" | "panics" | "responses_stray" => 0,
            rejected if rejected.starts_with("rejected_") => 0,
            _ => continue,
        };
        assert_eq!(count, expected, "{name}");
    }
    stage.close();
}

/// The file is looked at by itself; a second file that does not hold leaves the first in force.
#[test]
fn a_file_that_changes_is_taken_in_without_a_signal() {
    let stage = Stage::open_with("reload_by_file", "[calls]\ncalls_max = 1\n");
    let wait_for_reload = |outcome: &str| {
        let reload = wait_for(DONE_MAX, || {
            let reload = stage.status_of("reload");
            (reload["outcome"] == outcome).then_some(reload)
        });
        reload.unwrap_or_else(|| panic!("not {outcome}: {}", stage.status()))
    };
    stage.write_config("[calls]\ncalls_max = 2\n[[listener]]\naddress = \"127.0.0.1\"\n");
    let reload = wait_for_reload("applied");
    assert_eq!(reload["needs_restart"], json!(["listener"]));
    stage.write_config("[calls]\ncalls_max = two\n");
    let reload = wait_for_reload("refused");
    let error = reload["error"].as_str().unwrap_or_default();
    assert!(
        error.contains("campon.toml:2: calls.calls_max: "),
        "{error}"
    );
    stage.close();
}

/// The password of the second configuration is asked for, the first asked for none.
#[test]
fn who_is_no_user_any_more_is_no_longer_registered() {
    let stage = Stage::open_with("reload_users", "");
    stage.register(&[Bob]);
    let registered = |stage: &Stage| stage.held("registrations");
    assert_eq!(registered(&stage), 1);
    stage.reload("[[user]]\nname = \"bob\"\npassword = \"secret\"\n");
    assert_eq!(registered(&stage), 1);
    stage.reload("[[user]]\nname = \"alice\"\npassword = \"secret\"\n");
    assert_eq!(registered(&stage), 0);
    stage.close();
}

#[test]
fn the_log_goes_on_in_a_new_file_when_the_old_one_was_moved_away() {
    let stage = Stage::open_with("reload_log", "[log]\nfile = \"calls.log\"\n");
    let (file, old) = (stage.file("calls.log"), stage.file("calls.log.1"));
    fs::rename(&file, &old).expect("campon's log");
    stage.signal("HUP");
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let new = wait_for(DONE_MAX, || {
        let text = read(&file);
        let is_there = text.contains("the configuration is what it was");
        is_there.then_some(text)
    });
    let new = new.expect("a line in the new file");
    // What was said when the file was moved stands in either of the two.
    assert!((read(&old) + &new).contains("campon is ready"), "{new}");
    stage.stop();
    let (old, new) = (read(&old), read(&file));
    assert!(
        new.contains("campon has stopped") && !old.contains("campon has stopped"),
        "{old}"
    );
}

#[test]
fn options_while_draining_says_that_no_calls_are_taken() {
    let stage = Stage::open("options_while_draining");
    stage.register(&[Bob]);
    let talk = stage.talk();
    stage.drain();
    let phone = stage.play("options_while_draining.phone", Alice, Transport::Udp);
    let answer = phone.received_nth("503 OPTIONS", 0);
    // S-184
    assert!(!answer.has("Retry-After"), "{answer}");
    // The call that was up goes on, and campon ends with it.
    stage.hang_up(talk, None).hang_up();
    stage.close_drained();
}

/// Whatever is asked of it, `GET /metrics` says what happened.
#[test]
fn metrics_count_a_call() {
    let stage = Stage::open("metrics");
    stage.play_call("basic_call", Transport::Udp);
    let text = stage.fetch("/metrics");
    let value = |series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.trim().parse().expect("a number")
    };
    let is = |series: &str, expected: f64| {
        let found = value(series);
        assert!((found - expected).abs() < 1e-9, "{series} {found}");
    };
    is("campon_calls_started_total ", 1.0);
    is("campon_calls_answered_total ", 1.0);
    is("campon_calls ", 0.0);
    is("campon_table_entries{table=\"registrations\"} ", 1.0);
    is(
        "campon_queue_delay_seconds_count ",
        value("campon_messages_received_total "),
    );
    assert!(value("process_resident_memory_bytes ") > 1e6);
    stage.close();
}

/// The records of a campon that has stopped, oldest first.
fn records(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).expect("a JSON object a line");
    text.lines().map(parse).collect()
}

/// The times of a record, each of them there, in their order.
fn assert_in_order(record: &Value, names: &[&str]) {
    let times = names.iter().map(|name| {
        let time = record[name].as_str();
        time.unwrap_or_else(|| panic!("no {name} in {record}"))
    });
    let times: Vec<_> = times.collect();
    assert!(times.is_sorted(), "{record}");
    // RFC 3339 in UTC, which sorts as text.
    let is_utc = |time: &&str| time.len() == 24 && time.ends_with('Z') && time.contains('T');
    assert!(times.iter().all(is_utc), "{record}");
}

#[test]
fn each_call_leaves_a_record_of_both_its_legs() {
    let stage = Stage::open_with("records", "[records]\nfile = \"calls.jsonl\"\n");
    let answered = stage.play_call("basic_call", Transport::Udp);
    let busy = stage.play_call("busy", Transport::Udp);
    let (file, old) = (stage.file("calls.jsonl"), stage.file("calls.jsonl.1"));
    // As logrotate does; what is already written stays where it is.
    stage.wait_until_counted("call_records_written", 2);
    fs::rename(&file, &old).expect("campon's records");
    stage.signal("HUP");
    let cancelled = stage.play_call("cancel_ringing", Transport::Udp);
    assert_eq!(stage.count("call_records_lost"), 0);
    let (domain, folder) = (stage.domain().to_owned(), stage.file(""));
    stage.close();

    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("UTF-8");
    let before = records(&read("calls.jsonl.1"));
    let after = records(&read("calls.jsonl"));
    assert_eq!((before.len(), after.len()), (2, 1), "{before:?} {after:?}");
    let all = before.iter().chain(&after);
    for (record, call) in all.zip([&answered, &busy, &cancelled]) {
        assert_is_of(record, call, &domain);
    }
    let [answered, busy, cancelled] = [&before[0], &before[1], &after[0]];
    assert_in_order(answered, &["began", "rang", "answered", "ended"]);
    assert_says(
        answered,
        &[
            ("/outcome", json!("answered")),
            ("/ended_by", json!("caller")),
            ("/a/status", json!(200)),
            ("/b/status", json!(200)),
            (
                "/a/reason",
                json!("Q.850;cause=16;text=\"Normal call clearing\""),
            ),
            ("/b/answered_at", answered["b"]["addresses"][0].clone()),
        ],
    );
    let talked = answered["talked_s"].as_f64();
    assert!(talked.is_some_and(|talked| talked < 5.0), "{answered}");
    assert_in_order(busy, &["began", "ended"]);
    assert_says(
        busy,
        &[
            ("/outcome", json!("failed")),
            ("/ended_by", json!("callee")),
            ("/answered", Value::Null),
            ("/talked_s", Value::Null),
            ("/a/status", json!(486)),
            ("/b/status", json!(486)),
        ],
    );
    assert_in_order(cancelled, &["began", "rang", "ended"]);
    assert_says(
        cancelled,
        &[
            ("/outcome", json!("cancelled")),
            ("/ended_by", json!("caller")),
            ("/a/status", json!(487)),
        ],
    );
}

/// Demands these values, each by its JSON pointer.
fn assert_says(record: &Value, expected: &[(&str, Value)]) {
    for (pointer, value) in expected {
        assert_eq!(
            record.pointer(pointer),
            Some(value),
            "{pointer} of {record}"
        );
    }
}

/// Demands that the record names the legs of this call as they were seen on the wire.
fn assert_is_of(record: &Value, call: &Bridge, domain: &str) {
    let (invite_in, invite_out) = (call.invite_in(), call.invite_out());
    assert_says(
        record,
        &[
            ("/type", json!("call")),
            ("/origin", json!("caller")),
            ("/a/call_id", json!(invite_in.call_id())),
            ("/b/call_id", json!(invite_out.call_id())),
            ("/a/from", json!(format!("sip:alice@{domain}"))),
            ("/a/to", json!(format!("sip:bob@{domain}"))),
            ("/a/uri", json!(invite_in.request_uri())),
            ("/b/uri", json!(invite_out.request_uri())),
            ("/completion", Value::Null),
        ],
    );
    let address = record.pointer("/a/addresses/0").and_then(Value::as_str);
    let is_of_alice = |address: &str| address.starts_with("udp:127.");
    assert!(address.is_some_and(is_of_alice), "{record}");
}

#[test]
fn a_call_that_completes_another_leaves_its_story() {
    let config = "[records]\nfile = \"calls.jsonl\"\n[completion]\nguard = \"300ms\"\n\
        [completion.codes]\nrequest_last = \"*37#\"\n";
    let stage = Stage::open_with("records_of_recall", config);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = stage.line("code_callback.caller", Alice, ("code_callback.recall", 1));
    alice.wait_until_said("200 BYE", 1);
    let bob = stage.hang_up(talk, Some(("late_offer.callee", 1)));
    alice.wait_until_heard("200 BYE", 1);
    // Dave's talk, Alice's failed call, what came of her request, and the call itself.
    stage.wait_until_counted("call_records_written", 4);
    let (_, file) = (alice.hang_up(), stage.file("calls.jsonl"));
    bob.hang_up();
    stage.close();

    let all = records(&fs::read_to_string(&file).expect("UTF-8"));
    let find = |is_it: &dyn Fn(&Value) -> bool| {
        let found: Vec<_> = all.iter().filter(|record| is_it(record)).collect();
        assert_eq!(found.len(), 1, "{all:?}");
        found[0]
    };
    let ended = find(&|record| record["type"] == "completion");
    assert_eq!(ended["outcome"], "completed");
    assert_eq!(
        (&ended["caller"], &ended["callee"]),
        (&"alice".into(), &"bob".into())
    );
    let recall = find(&|record| record["origin"] == "recall");
    assert_eq!(recall["outcome"], "answered");
    assert_eq!(
        recall["completion"]["completion_id"],
        ended["completion_id"]
    );
    assert_eq!(recall["completion"]["history"], ended["history"]);
    let refused = find(&|record| record["ended_by"] == "campon");
    assert_eq!(refused["a"]["status"], 486);
    assert_eq!(refused["b"]["call_id"], "");
    let history = ended["history"].as_array().expect("a list");
    let told: Vec<_> = history.iter().map(|step| &step["event"]).collect();
    let expected = [
        "callee busy",
        "queued as no. 1",
        "recalled",
        "caller answered",
        "call under way",
        "completed",
    ];
    assert_eq!(told, expected);
}
