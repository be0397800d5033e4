//! The router in one process with a shard: who may what, what he is told, and what he cannot find out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

mod door;
mod guesses;
mod lines;
mod problems;
mod texts;

use super::gate::Rate;
use super::*;
use crate::api::access::{Scope, Token};
use crate::completion::{CallIdentity, CompletionId};
use crate::io::applications::Applications;
use crate::random::Rng;
use crate::shard::provider::Question;
use crate::shard::{Input, Listener, Output, Settings, Shard};
use crate::sip::flow::{Flow, ListenerId, Transport};

/// A shard with Alice, Bob, and whatever they do.
struct Office {
    shard: Shard,
    clock: Clock,
}

const ALICE: &str = "127.0.0.3:5060";
const BOB: &str = "127.0.0.4:5060";

impl Office {
    /// Bob was busy when Alice called him.
    fn where_bob_was_busy(texts: &[&str]) -> Self {
        let listener = Listener::at("127.0.0.1:5060".parse().expect("an address"));
        let mut settings = Settings {
            listeners: vec![listener],
            ..Settings::default()
        };
        // A slow machine is no fault of a test.
        settings.completion.service.timing.offer_window = Duration::from_hours(1);
        let texts = texts.iter().map(|text| Arc::from(*text));
        settings.completion.messages = texts.collect();
        let mut office = Self {
            shard: Shard::new(settings, Rng::from_number(7)),
            clock: Clock::start(),
        };
        for (name, at) in [("alice", ALICE), ("bob", BOB)] {
            let register = request("REGISTER", name, name, at);
            let answers = office.receive(at, &register);
            assert!(answers.concat().starts_with("SIP/2.0 200"), "{answers:?}");
        }
        let sent = office.receive(ALICE, &request("INVITE", "alice", "bob", ALICE));
        let invite = sent.iter().find(|sent| sent.starts_with("INVITE "));
        let refused = busy(invite.expect("an INVITE to Bob"));
        let told = office.receive(BOB, &refused).concat();
        assert!(told.contains("purpose=call-completion"), "{told}");
        office
    }

    /// Alice calls him again, and waits.
    fn where_alice_waits() -> Self {
        let mut office = Self::where_bob_was_busy(&[]);
        let second = request("INVITE", "alice", "bob", ALICE)
            .replace("aliceINVITE", "second")
            .replace("CSeq", "Request-Disposition: queue\r\nCSeq");
        let sent = office.receive(ALICE, &second);
        let invite = sent.iter().find(|sent| sent.starts_with("INVITE "));
        let refused = busy(invite.expect("an INVITE to Bob"));
        let told = office.receive(BOB, &refused).concat();
        assert!(told.contains("SIP/2.0 182"), "{told}");
        office
    }

    fn receive(&mut self, from: &str, message: &str) -> Vec<String> {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: from.parse::<SocketAddr>().expect("an address"),
            connection: None,
        };
        let input = Input::Received {
            flow,
            bytes: message.as_bytes(),
            delay: Duration::ZERO,
        };
        self.shard.handle_input(self.clock.now(), input);
        let mut sent = Vec::new();
        while let Some(output) = self.shard.poll_output() {
            if let Output::Send { bytes, .. } = output {
                sent.push(String::from_utf8_lossy(bytes).into_owned());
            }
        }
        sent
    }

    /// Answers as a worker does.
    async fn work(mut self, mut mail: mpsc::Receiver<Mail>, news: mpsc::Sender<LineEvent>) {
        let mut applications = Applications::default();
        applications.tell(news);
        while let Some(mail) = mail.recv().await {
            let Mail::Ask { line, ask, asker } = mail else {
                continue;
            };
            let asking = applications.wait(asker);
            let question = Question { asking, line, ask };
            let input = Input::Asked(&question);
            self.shard.handle_input(self.clock.now(), input);
            while self.shard.poll_output().is_some() {}
            applications.deliver(&mut self.shard);
        }
    }
}

fn request(method: &str, from: &str, to: &str, at: &str) -> String {
    format!(
        "{method} sip:{to}@127.0.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {at};branch=z9hG4bK{from}{method}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{from}@127.0.0.1>;tag={from}\r\n\
         To: <sip:{to}@127.0.0.1>\r\n\
         Call-ID: {from}{method}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:{from}@{at}>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// Bob's refusal of this INVITE.
fn busy(invite: &str) -> String {
    let mut answer = "SIP/2.0 486 Busy Here\r\n".to_owned();
    for line in invite.split("\r\n") {
        let (name, _) = line.split_once(':').unwrap_or_default();
        let kept = ["via", "from", "to", "call-id", "cseq", "v", "f", "t", "i"];
        if kept.contains(&name.trim().to_ascii_lowercase().as_str()) {
            let is_to = matches!(name, "To" | "t");
            answer.push_str(line);
            answer.push_str(if is_to { ";tag=bob\r\n" } else { "\r\n" });
        }
    }
    answer + "Content-Length: 0\r\n\r\n"
}

/// The tokens are their own names: scope and line.
fn tokens() -> Vec<Token> {
    let scopes = Scope::WORDS.into_iter();
    let lines = [Some("alice"), Some("bob"), None];
    let each = scopes.flat_map(|scope| lines.map(|line| (scope, line)));
    each.map(|((word, scope), line)| {
        let name = format!("{word}-{}", line.unwrap_or("any"));
        Token {
            hash: Sha256::digest(name.as_bytes()).into(),
            name,
            scopes: vec![scope],
            line: line.map(Box::from),
        }
    })
    .collect()
}

/// The API in front of an office; to be called on an event loop.
struct Api {
    router: Router,
    /// Kept, so that the streams seem to be there.
    _commands: mpsc::Sender<Command>,
}

impl Api {
    fn start(office: Office, access: Access, rate: Rate) -> Self {
        let (mail, mailbox) = mpsc::channel(16);
        let (telling, news) = mpsc::channel(16);
        let clock = office.clock;
        tokio::spawn(office.work(mailbox, telling));
        Self::of(clock, (mail, news), Gate::new(clock, access, rate))
    }

    fn of(
        clock: Clock,
        (mail, news): (mpsc::Sender<Mail>, mpsc::Receiver<LineEvent>),
        gate: Gate,
    ) -> Self {
        let (commands, _) = mpsc::channel(1);
        let (_, standing) = watch::channel(Standing {
            mode: "standalone",
            reload: None,
        });
        let asker = Asker {
            clock,
            mail,
            commands: commands.downgrade(),
            dropped: Arc::default(),
            door: Arc::default(),
            standing,
        };
        Self {
            router: router(asker, gate, news),
            _commands: commands,
        }
    }

    fn with_tokens() -> Self {
        Self::with_texts(&[])
    }

    /// The same, where these texts may be left.
    fn with_texts(texts: &[&str]) -> Self {
        Self::before(Office::where_bob_was_busy(texts))
    }

    fn before(office: Office) -> Self {
        let rate = Rate {
            per_second: 1_000_000,
            burst: 1_000_000,
            ..Rate::default()
        };
        let access = Access {
            tokens: tokens(),
            is_open: false,
        };
        Self::start(office, access, rate)
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost");
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status();
        let is_stream = (response.headers().get(header::CONTENT_TYPE))
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if is_stream {
            return (status.as_u16(), String::new());
        }
        let body = to_bytes(response.into_body(), usize::MAX)
            .await
            .expect("a body");
        (status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    }

    async fn json(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.ask(method, path, token, body).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Alice's call that failed.
    async fn call(&self) -> String {
        let (_, calls) = self.json("GET", "/v1/calls", "read-alice", "").await;
        calls[0]["id"].as_str().expect("a call").to_owned()
    }

    /// Alice's request.
    async fn completion(&self) -> String {
        let path = format!("/v1/calls/{}/complete", self.call().await);
        let (status, done) = self.json("POST", &path, "complete-alice", CALLBACK).await;
        assert_eq!(status, 201, "{done}");
        done["completion_id"].as_str().expect("a name").to_owned()
    }
}

const CALLBACK: &str = r#"{"mode":"callback"}"#;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an event loop");
    runtime.block_on(test)
}

#[test]
fn a_failed_call_is_completed_and_its_request_taken_back() {
    run(async {
        let api = Api::with_tokens();
        let (_, calls) = api.json("GET", "/v1/calls", "read-alice", "").await;
        assert_eq!(calls[0]["state"], "busy");
        assert_eq!(calls[0]["call_features"], 0x10);
        assert_eq!(calls[0]["call_features2"], 0x8);
        let id = api.completion().await;
        // The second request for the same is the first.
        assert_eq!(api.completion().await, id);
        let (_, line) = api.json("GET", "/v1/lines/alice", "read-alice", "").await;
        assert_eq!(line["num_call_completions"], 1);
        let path = format!("/v1/completions/{id}");
        let (_, found) = api.json("GET", &path, "read-any", "").await;
        assert_eq!(
            (&found["line"], &found["number"]),
            (&"alice".into(), &1.into())
        );
        assert_eq!(api.ask("DELETE", &path, "complete-alice", "").await.0, 204);
        let (status, gone) = api.json("DELETE", &path, "complete-alice", "").await;
        assert_eq!((status, &gone["code"]), (404, &"INVALCOMPLETIONID".into()));
        assert_eq!(gone["value"], 0x8000_001f_u32);
    });
}

/// It was listed as one that is up, and as one that has failed.
#[test]
fn a_call_that_waits_is_listed_once() {
    run(async {
        let api = Api::before(Office::where_alice_waits());
        let (_, calls) = api.json("GET", "/v1/calls", "read-alice", "").await;
        let calls = calls.as_array().expect("a list");
        let names: Vec<_> = calls.iter().map(|call| &call["id"]).collect();
        assert!(
            matches!(*names, [waits, failed] if waits != failed),
            "{names:?}"
        );
        assert!(calls[0]["completion_id"].is_string(), "{calls:?}");
    });
}

#[test]
fn what_cannot_be_done_has_the_error_of_tapi() {
    run(async {
        let api = Api::with_tokens();
        let complete = format!("/v1/calls/{}/complete", api.call().await);
        for (path, body, status, code) in [
            (&*complete, r#"{"mode":"shout"}"#, 422, "INVALCALLCOMPLMODE"),
            (
                &*complete,
                r#"{"mode":"callback","message":0}"#,
                422,
                "INVALMESSAGEID",
            ),
            (
                &*complete,
                r#"{"mode":"callback","more":{}}"#,
                400,
                "INVALPOINTER",
            ),
            (&*complete, "{", 400, "INVALPOINTER"),
            ("/v1/calls/x/complete", CALLBACK, 404, "INVALCALLHANDLE"),
            (
                "/v1/calls",
                r#"{"from":"alice","to":"a b"}"#,
                400,
                "INVALPOINTER",
            ),
            (
                "/v1/calls",
                r#"{"from":"nobody","to":"bob"}"#,
                404,
                "INVALLINEHANDLE",
            ),
        ] {
            let (got, problem) = api.json("POST", path, "complete-alice", body).await;
            assert_eq!((got, &problem["code"]), (status, &code.into()), "{body}");
        }
        let long = format!(r#"{{"mode":"{}"}}"#, "x".repeat(16 * 1024));
        let (status, _) = api.ask("POST", &complete, "complete-alice", &long).await;
        assert_eq!(status, 413);
        let deep = "[".repeat(10_000);
        let (status, _) = api.ask("POST", &complete, "complete-alice", &deep).await;
        assert_eq!(status, 400);
        assert_eq!(api.ask("GET", "/v1/lines?x=1", "read-any", "").await.0, 400);
        assert_eq!(api.ask("PUT", "/v1/lines", "read-any", "").await.0, 405);
    });
}

/// Each operation of the document, with the scopes that it says are enough.
fn operations() -> Vec<(String, String, Vec<String>)> {
    let (mail, _) = mpsc::channel(1);
    let (commands, _) = mpsc::channel(1);
    let (_, standing) = watch::channel(Standing {
        mode: "standalone",
        reload: None,
    });
    let clock = Clock::start();
    let asker = Asker {
        clock,
        mail,
        commands: commands.downgrade(),
        dropped: Arc::default(),
        door: Arc::default(),
        standing,
    };
    let (readers, _) = mpsc::channel(1);
    let desk = v1::Desk { asker, readers };
    let gate = Gate::new(clock, Access::default(), Rate::default());
    let (_, document) = v1::routes(desk, gate);
    let document = serde_json::to_value(&document).expect("a document");
    assert!(
        document["openapi"]
            .as_str()
            .expect("a version")
            .starts_with("3.1")
    );
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let enough = operation["security"].as_array().expect("scopes").iter();
            let enough = enough.map(|one| one["bearer"][0].as_str().expect("a scope").to_owned());
            operations.push((method.to_uppercase(), path.clone(), enough.collect()));
        }
    }
    operations
}

fn body_of(method: &str, path: &str) -> &'static str {
    match (method, path) {
        ("POST", "/v1/calls") => r#"{"from":"alice","to":"bob"}"#,
        ("POST", _) => CALLBACK,
        _ => "",
    }
}

/// An operation on what is Alice's, and on what is nobody's.
struct Case {
    method: String,
    path: String,
    named: String,
    unknown: String,
    enough: Vec<String>,
}

impl Api {
    async fn cases(&self) -> Vec<Case> {
        let call = self.call().await;
        let completion = self.completion().await;
        let filled = |path: &str, line: &str, call: &str, completion: &str| {
            path.replace("{line}", line)
                .replace("calls/{id}", &format!("calls/{call}"))
                .replace("completions/{id}", &format!("completions/{completion}"))
        };
        let nobodys = (
            CallIdentity(1).to_string(),
            CompletionId::from_bits(1).to_string(),
        );
        let operations = operations().into_iter();
        let cases = operations.map(|(method, path, enough)| Case {
            named: filled(&path, "alice", &call, &completion),
            unknown: filled(&path, "nobody", &nobodys.0, &nobodys.1),
            method,
            path,
            enough,
        });
        cases.collect()
    }

    async fn case_of(&self, method: &str, path: &str) -> Case {
        let mut cases = self.cases().await.into_iter();
        let own = cases.find(|it| it.method == method && it.path == path);
        own.expect("an operation of the document")
    }

    async fn try_token(&self, case: &Case, token: &str) {
        let (word, line) = token.split_once('-').expect("a name");
        let (method, path) = (&*case.method, &*case.path);
        let shown = format!("{method} {path} {token}");
        let body = body_of(method, path);
        if !case.enough.iter().any(|scope| scope == word) {
            for path in [&case.named, &case.unknown] {
                assert_eq!(self.ask(method, path, token, body).await.0, 403, "{shown}");
            }
            return;
        }
        if line != "bob" {
            // What changes something is tried where nothing has changed yet.
            let fresh = Self::with_tokens();
            let place = if method == "GET" { self } else { &fresh };
            let own = place.case_of(method, path).await;
            let answer = place.ask(method, &own.named, token, body).await;
            assert!((200..300).contains(&answer.0), "{shown}: {answer:?}");
            return;
        }
        self.try_foreign(case, token, body).await;
    }

    /// What is Alice's is as unknown to Bob as what is not there.
    async fn try_foreign(&self, case: &Case, token: &str, body: &str) {
        let (method, path) = (&*case.method, &*case.path);
        let shown = format!("{method} {path} {token}");
        let foreign = self.ask(method, &case.named, token, body).await;
        if path.contains('{') {
            let unknown = self.ask(method, &case.unknown, token, body).await;
            assert_eq!(foreign, unknown, "{shown}");
        }
        if path.contains('{') || method == "POST" {
            assert_eq!(foreign.0, 404, "{shown}");
        }
        assert!(!foreign.1.contains("alice"), "{shown}: {}", foreign.1);
    }
}

/// Every operation of the document × every scope × Alice's line, a foreign one, any.
#[test]
fn nobody_may_more_than_the_document_says_of_his_scope() {
    run(async {
        let api = Api::with_tokens();
        let cases = api.cases().await;
        assert_eq!(cases.len(), 11);
        for case in &cases {
            for token in ["", "guess"] {
                let answer = api.ask(&case.method, &case.named, token, "").await;
                assert_eq!(answer.0, 401, "{} {}", case.method, case.path);
            }
            for token in tokens() {
                api.try_token(case, &token.name).await;
            }
        }
        let foreign = api.ask("GET", "/v1/calls?line=alice", "read-bob", "").await;
        let unknown = api
            .ask("GET", "/v1/calls?line=nobody", "read-bob", "")
            .await;
        assert_eq!((foreign.0, &foreign), (404, &unknown));
        // None of those who may not has changed anything.
        let own = api.cases().await;
        let names = |cases: &[Case]| cases.iter().map(|it| it.named.clone()).collect::<Vec<_>>();
        assert_eq!(names(&own), names(&cases));
    });
}

#[test]
fn who_asks_too_much_or_by_another_name_is_turned_away() {
    run(async {
        let rate = Rate {
            per_second: 1,
            burst: 3,
            ..Rate::default()
        };
        let access = Access {
            tokens: Vec::new(),
            is_open: true,
        };
        let api = Api::start(Office::where_bob_was_busy(&[]), access, rate);
        let foreign = Request::get("/v1/lines").header(header::HOST, "evil.example");
        let foreign = foreign.body(Body::empty()).expect("a request");
        let answer = api
            .router
            .clone()
            .oneshot(foreign)
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(api.ask("GET", "/v1/lines", "", "").await.0);
        }
        assert_eq!(statuses, [200, 200, 200, 429]);
    });
}

#[test]
fn the_document_and_its_page_are_served() {
    run(async {
        let api = Api::with_tokens();
        let (status, document) = api.json("GET", "/v1/openapi.json", "", "").await;
        assert_eq!(
            (status, &document["info"]["title"]),
            (200, &"campon".into())
        );
        let (status, page) = api.ask("GET", "/v1/", "", "").await;
        assert_eq!(status, 200);
        assert!(
            page.contains("openapi.json") && !page.contains("//"),
            "no foreign assets"
        );
    });
}
