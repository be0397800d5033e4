//! What a line and its calls say of themselves, in TAPI's numbers.

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{Api, Clock, Gate, Office, Rate, run, tokens};
use crate::api::access::{Access, Scope, Token};

#[test]
fn a_line_says_what_can_be_done_on_it() {
    run(async {
        let api = Api::with_texts(&["please call back"]);
        let line = || api.json("GET", "/v1/lines/alice", "read-alice", "");
        let (_, alice) = line().await;
        for (name, value) in [
            ("max_call_completions", 5),
            ("call_completion_conds", 0x1 | 0x2),
            ("call_completion_modes", 0x1 | 0x2 | 0x8),
            ("call_features", 0x10),
            ("call_features2", 0x4 | 0x8 | 0x20),
            ("address_features", 0),
            ("addr_cap_flags", 0x800),
        ] {
            assert_eq!(alice[name], value, "{name}");
        }
        api.completion().await;
        let (_, alice) = line().await;
        assert_eq!(alice["address_features"], 0x40);
    });
}

#[test]
fn a_call_that_failed_says_why_in_numbers() {
    run(async {
        let api = Api::with_tokens();
        let path = format!("/v1/calls/{}", api.call().await);
        let (_, call) = api.json("GET", &path, "read-alice", "").await;
        assert_eq!(
            (&call["state"], &call["busy_mode"]),
            (&"busy".into(), &1.into())
        );
        assert_eq!(
            (&call["status"], &call["disconnect_mode"]),
            (&486.into(), &0x20.into())
        );
        assert_eq!(
            (&call["reason"], &call["condition"]),
            (&"DIRECT".into(), &"BS".into())
        );
    });
}

#[test]
fn a_worker_that_is_gone_answers_nobody() {
    run(async {
        let clock = Clock::start();
        let ((mail, _), (_, news)) = (mpsc::channel(1), mpsc::channel(1));
        let access = Access {
            tokens: tokens(),
            is_open: false,
        };
        let gate = Gate::new(clock, access, Rate::default());
        let api = Api::of(clock, (mail, news), gate);
        let (status, problem) = api.json("GET", "/v1/lines", "read-any", "").await;
        assert_eq!((status, &problem["code"]), (503, &"UNINITIALIZED".into()));
        assert_eq!(problem["value"], 0x8000_0050_u32);
    });
}

/// An application may be there before the phone: its line was unknown, and it was told so (404).
#[test]
fn who_reads_the_events_of_a_line_may_come_before_its_phone() {
    run(async {
        let name = "read-carol";
        let carol = Token {
            name: name.to_owned(),
            hash: Sha256::digest(name.as_bytes()).into(),
            scopes: vec![Scope::Read],
            line: Some("carol".into()),
        };
        let access = Access {
            tokens: vec![carol],
            is_open: false,
        };
        let office = Office::where_bob_was_busy(&[]);
        let api = Api::start(office, access, Rate::default());
        assert_eq!(api.ask("GET", "/v1/lines/carol", name, "").await.0, 404);
        assert_eq!(api.ask("GET", "/v1/events", name, "").await.0, 200);
    });
}
