//! Why a request to the API failed, as a document.
//!
//! Spec: RFC 9457 §3.1, §3.2; TAPI `LINEERR_` constants.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::line_error::LineError;
use crate::shard::provider::Refusal;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem document; its type is `about:blank`, so the title is the phrase of the HTTP status.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The phrase of that status.
    pub title: Cow<'static, str>,
    /// What is wrong, for a person.
    pub detail: Cow<'static, str>,
    /// The name of TAPI's error, without `LINEERR_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// Its value, 32 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u32>,
}

impl Problem {
    /// The method is none that the resource has.
    pub const METHOD: Self = Self::new(
        (405, "Method Not Allowed"),
        LineError::OperationUnavail,
        "not by this method",
    );
    /// No resource has that path.
    pub const PATH: Self = Self::new(
        (404, "Not Found"),
        LineError::OperationUnavail,
        "see /v1/openapi.json and /metrics",
    );
    /// The worker gave no answer.
    pub const WORKER: Self = Self::new(
        (503, "Service Unavailable"),
        LineError::Uninitialized,
        "the worker is stopping, or too busy to answer in time",
    );
    /// Nobody knows who asks.
    pub const TOKEN: Self = Self::new(
        (401, "Unauthorized"),
        LineError::NotOwner,
        "needs a bearer token that stands in [[api.token]]",
    );
    /// The request names a host that is not this one: a page of somebody else's may have made it.
    pub const HOST: Self = Self::new(
        (421, "Misdirected Request"),
        LineError::OperationUnavail,
        "Host must be localhost or a loopback address",
    );
    /// Too many requests.
    pub const RATE: Self = Self::new(
        (429, "Too Many Requests"),
        LineError::ResourceUnavail,
        "try again in a second",
    );
    /// Too many connections.
    pub const CONNECTIONS: Self = Self::new(
        (503, "Service Unavailable"),
        LineError::ResourceUnavail,
        "too many connections already; see api.connections_max",
    );
    /// The body does not come.
    pub const SLOW: Self = Self::new(
        (408, "Request Timeout"),
        LineError::InvalPointer,
        "the body did not come in time",
    );
    /// Too many readers of events.
    pub const READERS: Self = Self::new(
        (503, "Service Unavailable"),
        LineError::ResourceUnavail,
        "too many read /v1/events already",
    );
    /// The body is too long.
    pub const LENGTH: Self = Self::new(
        (413, "Content Too Large"),
        LineError::InvalPointer,
        "16 KiB at most",
    );
    /// The body is of another kind.
    pub const KIND: Self = Self::new(
        (415, "Unsupported Media Type"),
        LineError::InvalPointer,
        "the body must be application/json",
    );

    /// The error of a status that is not the one of its own.
    const fn new(
        (status, title): (u16, &'static str),
        error: LineError,
        detail: &'static str,
    ) -> Self {
        Self {
            status,
            title: Cow::Borrowed(title),
            detail: Cow::Borrowed(detail),
            code: Some(Cow::Borrowed(error.name())),
            value: Some(error.value()),
        }
    }

    /// The document of an error of TAPI's.
    pub fn of(error: LineError, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: error.status(),
            title: Cow::Borrowed(phrase(error.status())),
            detail: detail.into(),
            code: Some(Cow::Borrowed(error.name())),
            value: Some(error.value()),
        }
    }

    /// The document.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of numbers and text is JSON")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::of(LineError::from(refusal), refusal.to_string())
    }
}

/// RFC 9110 §15.
fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        422 => "Unprocessable Content",
        502 => "Bad Gateway",
        _ => "Service Unavailable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::Reject;

    #[test]
    fn a_problem_is_a_document_of_its_status() {
        let expected = r#"{"status":404,"title":"Not Found","detail":"see /v1/openapi.json and /metrics","code":"OPERATIONUNAVAIL","value":2147483721}"#;
        assert_eq!(Problem::PATH.to_json(), expected);
    }

    #[test]
    fn a_refusal_has_the_name_and_the_value_of_tapi() {
        let problem = Problem::from(Refusal::Completion(Reject::CallerLimit));
        let expected = r#"{"status":409,"title":"Conflict","detail":"the caller has too many requests","code":"COMPLETIONOVERRUN","value":2147483654}"#;
        assert_eq!(problem.to_json(), expected);
    }
}
