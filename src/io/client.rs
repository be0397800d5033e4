//! The client of the status API, for `campon status`.

use std::time::Duration;

use ureq::Agent;

use crate::api::status::Status;

/// How long the whole exchange may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody answers, or the answer is an error.
    #[error("no status from {url}: {source}")]
    NoAnswer {
        /// What was asked for.
        url: String,
        /// What went wrong.
        source: ureq::Error,
    },
    /// What answers is no campon of this version.
    #[error("what {url} answers is not a status: {source}")]
    NotStatus {
        /// What was asked for.
        url: String,
        /// What went wrong.
        source: serde_json::Error,
    },
}

/// Asks the campon whose API is at this URL, such as `http://127.0.0.1:5080`.
pub fn fetch_status(api: &str) -> Result<Status, StatusError> {
    let url = format!("{}/v1/status", api.trim_end_matches('/'));
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let answer = agent
        .get(&url)
        .call()
        .and_then(|mut answer| answer.body_mut().read_to_string());
    match answer {
        Ok(document) => {
            Status::from_json(&document).map_err(|source| StatusError::NotStatus { url, source })
        }
        Err(source) => Err(StatusError::NoAnswer { url, source }),
    }
}
