//! The resources of `/v1`: what TAPI calls lines, calls and completions.
//!
//! Spec: DESIGN §10; TAPI; OpenAPI 3.1.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an answer of another kind is the same bug of ours, whichever it is"
)]

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Info, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::access::{Grant, Scope};
use crate::api::documents::{
    Call, Complete, Completed, Completion, Connect, Connected, Event, Line, mode_named,
};
use crate::api::line_error::LineError;
use crate::api::problem::Problem;
use crate::completion::{CallIdentity, CompletionId, Reject};
use crate::shard::provider::{Answer, Ask, Refusal};
use crate::sip::unescape;
use crate::time::Date;

use super::events::Reader;
use super::gate::{self, Completes, Ends, Gate, Reads};
use super::{ANSWER, Asker, JSON, refuse, respond};

/// How long a monitor elsewhere may take: longer than a request of SIP (timer F) and its NOTIFY.
const ACCEPTED: Duration = Duration::from_secs(40);
/// How often a reader of events who hears nothing is told that he is still heard.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The page on which the document can be read.
const PAGE: &str = include_str!("page.html");

/// What the handlers share.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) asker: Asker,
    pub(super) readers: mpsc::Sender<Reader>,
}

/// What is refused is a document.
type Answered = Result<Response, Problem>;

/// The routes, and the document that describes them.
pub(super) fn routes(desk: Desk, gate: Gate) -> (Router, OpenApi) {
    let described: OpenApiRouter<Desk> = OpenApiRouter::with_openapi(document())
        .routes(routes!(lines))
        .routes(routes!(line))
        .routes(routes!(calls, connect))
        .routes(routes!(call, disconnect))
        .routes(routes!(complete))
        .routes(routes!(completions))
        .routes(routes!(completion, uncomplete))
        .routes(routes!(events));
    let (router, openapi) = described.split_for_parts();
    let router: Router = router
        .method_not_allowed_fallback(async || refuse(&Problem::METHOD))
        .layer(middleware::from_fn_with_state(gate, gate::check))
        .with_state(desk);
    let text = openapi.to_pretty_json().unwrap_or_default();
    let described = move || {
        let text = text.clone();
        async move { respond(StatusCode::OK, JSON, text) }
    };
    let open: Router = Router::new()
        .route("/v1/openapi.json", get(described))
        .route("/v1/", get(async || Html(PAGE)));
    (router.merge(open), openapi)
}

fn document() -> OpenApi {
    #[derive(utoipa::OpenApi)]
    #[openapi(components(schemas(Event, Problem)))]
    struct Document;
    let mut document = Document::openapi();
    document.info = Info::new("campon", env!("CARGO_PKG_VERSION"));
    document.info.description = Some("Completes calls: TAPI's lines and calls over HTTP.".into());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document
}

/// The lines, by name; 500 at most, the next ones by `after`.
#[utoipa::path(get, path = "/v1/lines", params(("after" = Option<String>, Query)),
    security(("bearer" = ["read"])),
    responses((status = 200, body = Vec<Line>), (status = "4XX", body = Problem)))]
async fn lines(
    State(desk): State<Desk>,
    Reads(grant): Reads,
    RawQuery(query): RawQuery,
) -> Answered {
    let after = value_of("after", query.as_deref())?.map(String::into_boxed_str);
    match desk.ask(&grant, Ask::Lines(after)).await? {
        Answer::Lines(lines) => {
            let lines: Vec<_> = lines.iter().map(Line::from).collect();
            Ok(Json(lines).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

/// lineGetAddressCaps, lineGetLineDevStatus: one line; `alice`, or a SIP URI.
#[utoipa::path(get, path = "/v1/lines/{line}", params(("line" = String, Path)),
    security(("bearer" = ["read"])),
    responses((status = 200, body = Line), (status = "4XX", body = Problem)))]
async fn line(State(desk): State<Desk>, Reads(grant): Reads, Named(line): Named) -> Answered {
    match desk.ask(&grant, Ask::Line(line.into())).await? {
        Answer::Line(line) => Ok(Json(Line::from(&line)).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// The calls that are up, and those that have failed and may be completed; 500 at most.
#[utoipa::path(get, path = "/v1/calls", params(("line" = Option<String>, Query)),
    security(("bearer" = ["read"])),
    responses((status = 200, body = Vec<Call>), (status = "4XX", body = Problem)))]
async fn calls(
    State(desk): State<Desk>,
    Reads(grant): Reads,
    RawQuery(query): RawQuery,
) -> Answered {
    let line = value_of("line", query.as_deref())?.map(String::into_boxed_str);
    match desk.ask(&grant, Ask::Calls(line)).await? {
        Answer::Calls(calls) => {
            let utc = desk.utc();
            let calls: Vec<_> = calls.iter().map(|call| Call::new(call, &utc)).collect();
            Ok(Json(calls).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

/// lineGetCallInfo, lineGetCallStatus: one call.
#[utoipa::path(get, path = "/v1/calls/{id}", params(("id" = String, Path)),
    security(("bearer" = ["read"])),
    responses((status = 200, body = Call), (status = "4XX", body = Problem)))]
async fn call(State(desk): State<Desk>, Reads(grant): Reads, Named(id): Named) -> Answered {
    match desk.ask(&grant, Ask::Call(call_id(&id)?)).await? {
        Answer::Call(call) => Ok(Json(Call::new(&call, &desk.utc())).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// ITBasicCallControl::Connect: rings the phones of a line, and when they answer, the other party.
#[utoipa::path(post, path = "/v1/calls", request_body = Connect,
    security(("bearer" = ["complete"])),
    responses((status = 201, body = Connected), (status = "4XX", body = Problem),
        (status = 503, body = Problem)))]
async fn connect(
    State(desk): State<Desk>,
    Completes(grant): Completes,
    Body(connect): Body<Connect>,
) -> Answered {
    let ask = Ask::Connect {
        from: connect.from.into(),
        to: connect.to.into(),
    };
    match desk.ask(&grant, ask).await? {
        Answer::Connected(call) => {
            let id = call.to_string();
            let place = [(header::LOCATION, format!("/v1/calls/{id}"))];
            Ok((StatusCode::CREATED, place, Json(Connected { id })).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

/// lineDrop, ITBasicCallControl::Disconnect: ends a call.
#[utoipa::path(delete, path = "/v1/calls/{id}", params(("id" = String, Path)),
    security(("bearer" = ["complete"])),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn disconnect(
    State(desk): State<Desk>,
    Completes(grant): Completes,
    Named(id): Named,
) -> Answered {
    match desk.ask(&grant, Ask::Disconnect(call_id(&id)?)).await? {
        Answer::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        other => Err(unexpected(&other)),
    }
}

/// lineCompleteCall: answered when the network has accepted the request.
#[utoipa::path(post, path = "/v1/calls/{id}/complete", params(("id" = String, Path)),
    request_body = Complete, security(("bearer" = ["complete"])),
    responses((status = 201, body = Completed), (status = "4XX", body = Problem),
        (status = "5XX", body = Problem)))]
async fn complete(
    State(desk): State<Desk>,
    Completes(grant): Completes,
    Named(id): Named,
    Body(complete): Body<Complete>,
) -> Answered {
    let ask = Ask::Complete {
        call: call_id(&id)?,
        mode: mode_named(&complete.mode),
        message: complete.message,
    };
    match desk.ask(&grant, ask).await? {
        Answer::Completed { id, number } => {
            let completion_id = id.to_string();
            let place = [(header::LOCATION, format!("/v1/completions/{completion_id}"))];
            let completed = Completed {
                completion_id,
                number,
            };
            Ok((StatusCode::CREATED, place, Json(completed)).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

/// The requests that wait, by name; 500 at most, the next ones by `after`.
#[utoipa::path(get, path = "/v1/completions", params(("after" = Option<String>, Query)),
    security(("bearer" = ["read"])),
    responses((status = 200, body = Vec<Completion>), (status = "4XX", body = Problem)))]
async fn completions(
    State(desk): State<Desk>,
    Reads(grant): Reads,
    RawQuery(query): RawQuery,
) -> Answered {
    let after = value_of("after", query.as_deref())?;
    let after = after.as_deref().map(completion_id).transpose()?;
    match desk.ask(&grant, Ask::Completions(after)).await? {
        Answer::Completions(found) => {
            let utc = desk.utc();
            let found: Vec<_> = found.iter().map(|it| Completion::new(it, &utc)).collect();
            Ok(Json(found).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

/// One request, with its story.
#[utoipa::path(get, path = "/v1/completions/{id}", params(("id" = String, Path)),
    security(("bearer" = ["read"])),
    responses((status = 200, body = Completion), (status = "4XX", body = Problem)))]
async fn completion(State(desk): State<Desk>, Reads(grant): Reads, Named(id): Named) -> Answered {
    match desk
        .ask(&grant, Ask::Completion(completion_id(&id)?))
        .await?
    {
        Answer::Completion(found) => Ok(Json(Completion::new(&found, &desk.utc())).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// lineUncompleteCall; with the scope `admin` alone, as an operator: its line hears COMPLCANCEL.
#[utoipa::path(delete, path = "/v1/completions/{id}", params(("id" = String, Path)),
    security(("bearer" = ["complete"]), ("bearer" = ["admin"])),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn uncomplete(State(desk): State<Desk>, Ends(grant): Ends, Named(id): Named) -> Answered {
    let id = completion_id(&id)?;
    let ask = if grant.may(Scope::Complete) {
        Ask::Uncomplete(id)
    } else {
        Ask::Refuse(id)
    };
    match desk.ask(&grant, ask).await? {
        Answer::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        other => Err(unexpected(&other)),
    }
}

/// News as server-sent events; `Last-Event-ID` gets what was missed since.
#[utoipa::path(get, path = "/v1/events", security(("bearer" = ["read"])),
    responses((status = 200, body = Event, content_type = "text/event-stream"),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn events(State(desk): State<Desk>, Reads(grant): Reads, headers: HeaderMap) -> Answered {
    let line = match &grant.line {
        // By the name that it has in events.
        Some(line) => match desk.ask(&grant, Ask::Line(line.clone())).await {
            Ok(Answer::Line(line)) => Some(line.name),
            // Nobody has heard of it yet: it will have the name that its token has.
            Err(problem) if problem.status == 404 => Some(line.to_string()),
            Err(problem) => return Err(problem),
            Ok(other) => return Err(unexpected(&other)),
        },
        None => None,
    };
    let last = headers.get("last-event-id");
    let last = last.and_then(|id| Some(id.to_str().ok()?.to_owned()));
    let (place, given) = oneshot::channel();
    let reader = Reader { line, last, place };
    if desk.readers.send(reader).await.is_err() {
        return Err(Problem::WORKER);
    }
    let readable = given.await.map_err(|_| Problem::READERS)?;
    let stream = Sse::new(readable).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let mut response = stream.into_response();
    // Whoever is dropped is not kept waiting for a stream that has ended.
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    Ok(response)
}

/// The name in a path.
struct Named(String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name = Path::from_request_parts(parts, state).await;
        let name = name.map(|Path(name)| Self(name));
        name.map_err(|_| Problem::of(LineError::InvalPointer, "the path cannot be read"))
    }
}

/// A body of JSON.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(JSON) {
            return Err(Problem::KIND);
        }
        let bytes = bytes::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| Problem::LENGTH)?;
        let read = serde_json::from_slice(&bytes).map(Self);
        read.map_err(|error| Problem::of(LineError::InvalPointer, error.to_string()))
    }
}

impl Desk {
    /// Asks the worker, about the line of this grant alone.
    async fn ask(&self, grant: &Grant, ask: Ask) -> Result<Answer, Problem> {
        let patience = match ask {
            Ask::Complete { .. } | Ask::Refuse(_) | Ask::Uncomplete(_) => ACCEPTED,
            Ask::Call(_)
            | Ask::Calls(_)
            | Ask::Completion(_)
            | Ask::Completions(_)
            | Ask::Connect { .. }
            | Ask::Disconnect(_)
            | Ask::Line(_)
            | Ask::Lines(_) => ANSWER,
        };
        let asked = self.asker.ask(grant.line.clone(), ask);
        match timeout(patience, asked).await {
            Ok(Some(Answer::Refused(refusal))) => Err(Problem::from(refusal)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(_) => Err(Problem::WORKER),
        }
    }

    fn utc(&self) -> impl Fn(Date) -> String + use<> {
        let calendar = self.asker.clock.calendar();
        move |at| calendar.utc(at)
    }
}

/// The value of the only key that a query may have.
fn value_of(key: &str, query: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(None);
    };
    let wrong = || Problem::of(LineError::InvalPointer, "the query cannot be read");
    let (name, value) = query.split_once('=').ok_or_else(wrong)?;
    if name != key || value.contains(['&', '=', '+']) {
        return Err(wrong());
    }
    let value = String::from_utf8(unescape(value.as_bytes()).into_owned());
    value.map(Some).map_err(|_| wrong())
}

/// What is no name at all is answered as a name that nobody has.
fn call_id(text: &str) -> Result<CallIdentity, Problem> {
    let id = text.parse();
    id.map_err(|_| Problem::from(Refusal::Call))
}

fn completion_id(text: &str) -> Result<CompletionId, Problem> {
    let unknown = Refusal::Completion(Reject::UnknownCompletion);
    text.parse().map_err(|_| Problem::from(unknown))
}

/// The worker has answered another question: a bug of ours.
fn unexpected(answer: &Answer) -> Problem {
    tracing::error!(?answer, "an answer to another question");
    Problem::WORKER
}
