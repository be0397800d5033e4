//! What is refused before any line is asked about is a document with an error of TAPI's, too.

use super::*;

/// Each status that no question to the worker gives.
#[test]
fn whatever_is_refused_has_an_error_of_tapi() {
    run(async {
        let api = Api::with_tokens();
        let complete = format!("/v1/calls/{}/complete", api.call().await);
        let long = format!(r#"{{"mode":"{}"}}"#, "x".repeat(16 * 1024));
        for (method, path, token, body, status, code) in [
            ("GET", "/v1/calls/%ff", "read-any", "", 400, "INVALPOINTER"),
            ("GET", "/v1/lines/%ff", "read-any", "", 400, "INVALPOINTER"),
            (
                "GET",
                "/v1/completions/%ff",
                "read-any",
                "",
                400,
                "INVALPOINTER",
            ),
            (
                "DELETE",
                "/v1/calls/%ff",
                "complete-any",
                "",
                400,
                "INVALPOINTER",
            ),
            (
                "POST",
                "/v1/calls/%ff/complete",
                "complete-any",
                CALLBACK,
                400,
                "INVALPOINTER",
            ),
            // Who may not is told nothing of the path.
            ("GET", "/v1/calls/%ff", "complete-any", "", 403, "NOTOWNER"),
            ("GET", "/v1/calls/%ff", "", "", 401, "NOTOWNER"),
            ("GET", "/v1/calls", "", "", 401, "NOTOWNER"),
            ("GET", "/v1/nothing", "", "", 404, "OPERATIONUNAVAIL"),
            ("PUT", "/v1/lines", "read-any", "", 405, "OPERATIONUNAVAIL"),
            ("PUT", "/v1/status", "", "", 405, "OPERATIONUNAVAIL"),
            (
                "POST",
                &complete,
                "complete-any",
                &long,
                413,
                "INVALPOINTER",
            ),
            // No body, and none of its kind.
            ("POST", &complete, "complete-any", "", 415, "INVALPOINTER"),
        ] {
            let shown = format!("{method} {path} {token}");
            let (got, problem) = api.json(method, path, token, body).await;
            assert_eq!(
                (got, &problem["status"]),
                (status, &status.into()),
                "{shown}"
            );
            assert_eq!(problem["code"], code, "{shown}");
            assert!(problem["value"].is_u64(), "{shown}");
        }
        let foreign = Request::get("/v1/lines").header(header::HOST, "evil.example");
        let foreign = foreign.body(Body::empty()).expect("a request");
        let answer = api.router.clone().oneshot(foreign).await;
        let answer = answer.expect("an answer").into_body();
        let body = to_bytes(answer, usize::MAX).await.expect("a body");
        let problem: Value = serde_json::from_slice(&body).expect("a document");
        assert_eq!(problem["code"], "OPERATIONUNAVAIL");
    });
}

/// Any token's call from a line that nobody has heard of is one of no line.
#[test]
fn a_line_that_is_not_there_is_connected_with_nobody() {
    run(async {
        let api = Api::with_tokens();
        let body = r#"{"from":"nobody","to":"bob"}"#;
        let (status, problem) = api.json("POST", "/v1/calls", "complete-any", body).await;
        assert_eq!((status, &problem["code"]), (404, &"INVALLINEHANDLE".into()));
    });
}

/// What is sent to a client that takes nothing is not waited for.
#[test]
fn a_connection_of_who_does_not_read_is_reset() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut listener = impatient(listener);
        let client = TcpStream::connect(address).await.expect("a connection");
        let (stream, peer) = axum::serve::Listener::accept(&mut listener).await;
        assert_eq!(peer, client.local_addr().expect("an address"));
        let patience = socket2::SockRef::from(&stream).tcp_user_timeout();
        assert_eq!(patience.expect("an option"), Some(STALLED));
    });
}
