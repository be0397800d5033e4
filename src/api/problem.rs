//! Why a request to the API failed, as a document.
//!
//! Spec: RFC 9457 §3.1.

use serde::Serialize;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem document; its type is `about:blank`, so the title is the phrase of the HTTP status.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The phrase of that status.
    pub title: &'static str,
    /// What is wrong, for a person.
    pub detail: &'static str,
}

impl Problem {
    /// The method is none that the resource has.
    pub const METHOD: Self = Self {
        status: 405,
        title: "Method Not Allowed",
        detail: "this resource can only be read, by GET",
    };
    /// No resource has that path.
    pub const PATH: Self = Self {
        status: 404,
        title: "Not Found",
        detail: "the API has GET /v1/status and GET /metrics",
    };
    /// The worker gave no answer.
    pub const WORKER: Self = Self {
        status: 503,
        title: "Service Unavailable",
        detail: "the worker is stopping, or too busy to answer in time",
    };

    /// The document.
    pub fn to_json(self) -> String {
        serde_json::to_string(&self).expect("a struct of numbers and text is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_document_of_its_status() {
        let expected = r#"{"status":404,"title":"Not Found","detail":"the API has GET /v1/status and GET /metrics"}"#;
        assert_eq!(Problem::PATH.to_json(), expected);
    }
}
