//! Texts that are left by their number.

use super::{Api, run};

#[test]
fn a_text_is_chosen_by_its_number() {
    run(async {
        let api = Api::with_texts(&["please call back", "it is urgent"]);
        let (_, line) = api.json("GET", "/v1/lines/alice", "read-alice", "").await;
        assert_eq!(line["num_completion_messages"], 2);
        assert_eq!(line["completion_messages"][1], "it is urgent");
        assert_eq!(line["call_completion_modes"], 0x1 | 0x2 | 0x8);
        let id = api.call().await;
        let (_, call) = api
            .json("GET", &format!("/v1/calls/{id}"), "read-alice", "")
            .await;
        assert_eq!(call["call_features2"], 0x8 | 0x20);
        let path = format!("/v1/calls/{id}/complete");
        for body in [
            r#"{"mode":"message"}"#,
            r#"{"mode":"message","message":2}"#,
            r#"{"mode":"message","message":4294967295}"#,
        ] {
            let (status, problem) = api.json("POST", &path, "complete-alice", body).await;
            assert_eq!(
                (status, &problem["code"]),
                (422, &"INVALMESSAGEID".into()),
                "{body}"
            );
            assert_eq!(problem["value"], 0x8000_0030_u32);
        }
        let chosen = r#"{"mode":"message","message":1}"#;
        let (status, done) = api.json("POST", &path, "complete-alice", chosen).await;
        assert_eq!(status, 201, "{done}");
        let name = done["completion_id"].as_str().expect("a name");
        let path = format!("/v1/completions/{name}");
        let (_, found) = api.json("GET", &path, "read-alice", "").await;
        assert_eq!(
            (&found["mode"], &found["text"]),
            (&"message".into(), &"it is urgent".into())
        );
        let (_, bob) = api.json("GET", "/v1/lines/bob", "read-bob", "").await;
        assert_eq!(bob["messages_waiting"], 1);
        assert_eq!(api.ask("DELETE", &path, "complete-alice", "").await.0, 204);
    });
}
