//! The client of the API for `campon complete` and `campon completions`.

use std::fmt::Write as _;
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body};

use crate::api::documents::{Complete, Completed, Completion};
use crate::api::problem::Problem;

/// How long the whole exchange may take: a monitor elsewhere may have to answer first.
const PATIENCE: Duration = Duration::from_secs(45);

/// What the API is asked for.
#[derive(Clone, Debug)]
pub enum Wish {
    /// To take a request back.
    Cancel(String),
    /// To complete a call.
    Complete {
        /// Its id.
        call: String,
        /// How.
        mode: String,
        /// The number of a text.
        message: Option<u32>,
    },
    /// To list the requests.
    List,
    /// To show one request with its story.
    Show(String),
}

/// Why a wish is not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// Nobody answers.
    #[error("no answer from {url}: {source}")]
    NoAnswer {
        /// What was asked for.
        url: String,
        /// What went wrong.
        source: ureq::Error,
    },
    /// The API refuses.
    #[error("{detail} ({name})")]
    Refused {
        /// Why.
        detail: String,
        /// The name of TAPI's error, or the HTTP status.
        name: String,
    },
    /// What answers is no campon of this version.
    #[error("what {url} answers cannot be read")]
    Unreadable {
        /// What was asked for.
        url: String,
    },
}

/// Asks the campon whose API is at this URL; what it says, to be printed.
pub fn ask_api(api: &str, token: Option<&str>, wish: &Wish) -> Result<String, WishError> {
    let base = format!("{}/v1", api.trim_end_matches('/'));
    let url = match wish {
        Wish::Cancel(id) | Wish::Show(id) => format!("{base}/completions/{id}"),
        Wish::Complete { call, .. } => format!("{base}/calls/{call}/complete"),
        Wish::List => format!("{base}/completions"),
    };
    let sent = send(&url, token, wish).and_then(|mut answer| {
        let document = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), document))
    });
    let (status, document) = match sent {
        Ok(answer) => answer,
        Err(source) => return Err(WishError::NoAnswer { url, source }),
    };
    if status >= 300 {
        return Err(refused(status, &document));
    }
    shown(wish, &document).ok_or(WishError::Unreadable { url })
}

fn send(url: &str, token: Option<&str>, wish: &Wish) -> Result<Response<Body>, ureq::Error> {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .into();
    let bearer = token.map(|token| format!("Bearer {}", token.trim()));
    let bearer = bearer.as_deref().unwrap_or("none");
    match wish {
        Wish::Cancel(_) => agent.delete(url).header("Authorization", bearer).call(),
        Wish::List | Wish::Show(_) => agent.get(url).header("Authorization", bearer).call(),
        Wish::Complete { mode, message, .. } => {
            let complete = Complete {
                mode: mode.clone(),
                message: *message,
            };
            let body = serde_json::to_string(&complete);
            let body = body.expect("a struct of numbers and text is JSON");
            let post = agent.post(url).header("Authorization", bearer);
            post.header("Content-Type", "application/json").send(&body)
        }
    }
}

fn refused(status: u16, document: &str) -> WishError {
    let problem: Option<Problem> = serde_json::from_str(document).ok();
    let (detail, code) = problem.map_or_else(Default::default, |it| (it.detail, it.code));
    WishError::Refused {
        detail: detail.into_owned(),
        name: code.map_or_else(|| status.to_string(), std::borrow::Cow::into_owned),
    }
}

/// `None` if it cannot be read.
fn shown(wish: &Wish, document: &str) -> Option<String> {
    Some(match wish {
        Wish::Cancel(id) => format!("{id} is taken back"),
        Wish::Complete { .. } => {
            let completed: Completed = serde_json::from_str(document).ok()?;
            format!("{} no. {}", completed.completion_id, completed.number)
        }
        Wish::List => {
            let completions: Vec<Completion> = serde_json::from_str(document).ok()?;
            let lines = completions.iter().map(line);
            lines.collect::<Vec<_>>().join("\n")
        }
        Wish::Show(_) => {
            let completion: Completion = serde_json::from_str(document).ok()?;
            let mut text = line(&completion);
            for step in &completion.history {
                // Writing to memory cannot fail.
                let _written = write!(text, "\n  {} {}", step.at, step.event);
            }
            text
        }
    })
}

fn line(completion: &Completion) -> String {
    let Completion {
        completion_id,
        line,
        callee,
        stage,
        ends,
        ..
    } = completion;
    format!("{completion_id} {line} waits for {callee}: {stage}, until {ends}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_error_of_tapi() {
        let document = r#"{"status":404,"title":"Not Found","detail":"no such completion",
            "code":"INVALCOMPLETIONID","value":2147483679}"#;
        let error = refused(404, document);
        assert_eq!(error.to_string(), "no such completion (INVALCOMPLETIONID)");
        assert_eq!(refused(502, "<html>").to_string(), " (502)");
    }

    #[test]
    fn an_accepted_request_is_printed_with_its_number() {
        let wish = Wish::Complete {
            call: "x".to_owned(),
            mode: "callback".to_owned(),
            message: None,
        };
        let document = r#"{"completion_id":"abc","number":2}"#;
        assert_eq!(shown(&wish, document).as_deref(), Some("abc no. 2"));
        assert_eq!(shown(&wish, "{}"), None);
        assert_eq!(shown(&Wish::List, "[]").as_deref(), Some(""));
    }
}
