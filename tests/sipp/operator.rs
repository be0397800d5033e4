//! What the operator does while calls are up: another configuration, and the wish to stop.

use std::fs;
use std::time::Duration;

use crate::process::wait_for;
use crate::stage::Phone::{Alice, Bob};
use crate::stage::{Stage, Transport};

/// How long campon may take to have done what it was told.
const DONE_MAX: Duration = Duration::from_secs(10);

/// Calls in all, and in a second.
const CALLS: u32 = 600;
const A_SECOND: u32 = 100;

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
    let stage = Stage::open_with("reload", "[calls]\ncalls_max = 1000\n");
    stage.register(&[Bob]);
    let callee = stage.crowd("basic_call.callee", Bob, CALLS, A_SECOND);
    callee.wait_until_listening();
    let mut caller = stage.crowd("basic_call.caller", Alice, CALLS, A_SECOND);
    for ((text, expected), begun) in RELOADS.iter().zip((1..).map(|nth| nth * CALLS / 6)) {
        stage.wait_until_counted("calls_started", begun.into());
        let reload = stage.reload(text);
        match expected {
            Ok(changed) => {
                assert_eq!(reload["outcome"], "applied", "{reload}");
                assert_eq!(reload["changed"], serde_json::json!(changed), "{reload}");
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
    assert_eq!(reload["needs_restart"], serde_json::json!(["listener"]));
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
