//! The client of the API for `campon complete` and `campon completions`.

use std::fmt::Write as _;
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body};

use crate::api::documents::{Complete, Completed, Completion};
use crate::api::problem::Problem;
use crate::shard::provider::LISTED_MAX;

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
    /// The API asks for a token.
    #[error("needs a token of [[api.token]]: write it to a file, and name that by --token-file")]
    NoToken,
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
        Wish::Cancel(id) | Wish::Show(id) => format!("{base}/completions/{}", segment(id)),
        Wish::Complete { call, .. } => format!("{base}/calls/{}/complete", segment(call)),
        Wish::List => format!("{base}/completions"),
    };
    if let Wish::List = wish {
        return list(&url, token);
    }
    let document = ask(&url, token, wish)?;
    shown(wish, &document).ok_or(WishError::Unreadable { url })
}

/// A name as a segment of a path: whatever no id has is escaped, for the API to say that it is none.
fn segment(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            // Writing to memory cannot fail.
            let _written = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// All requests, page by page.
fn list(url: &str, token: Option<&str>) -> Result<String, WishError> {
    let mut lines = Vec::new();
    let mut page = url.to_owned();
    loop {
        let document = ask(&page, token, &Wish::List)?;
        let Ok(completions) = serde_json::from_str::<Vec<Completion>>(&document) else {
            return Err(WishError::Unreadable { url: page });
        };
        lines.extend(completions.iter().map(line));
        page = match completions.last() {
            Some(last) if completions.len() >= LISTED_MAX => {
                format!("{url}?after={}", last.completion_id)
            }
            Some(_) | None => break,
        };
    }
    if lines.is_empty() {
        return Ok("nobody waits for anybody".to_owned());
    }
    Ok(lines.join("\n"))
}

/// What is answered; a refusal is an error.
fn ask(url: &str, token: Option<&str>, wish: &Wish) -> Result<String, WishError> {
    let sent = send(url, token, wish).and_then(|mut answer| {
        let document = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), document))
    });
    match sent {
        Ok((401, _)) if token.is_none() => Err(WishError::NoToken),
        Ok((status, document)) if status >= 300 => Err(refused(status, &document)),
        Ok((_, document)) => Ok(document),
        Err(source) => Err(WishError::NoAnswer {
            url: url.to_owned(),
            source,
        }),
    }
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
    let unknown = || ("what answers is no campon".into(), None);
    let (detail, code) = problem.map_or_else(unknown, |it| (it.detail, it.code));
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
        Wish::List | Wish::Show(_) => {
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
        mode,
        stage,
        ends,
        ..
    } = completion;
    format!("{completion_id} {line} waits for {callee} by {mode}: {stage}, until {ends}")
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
        assert_eq!(
            refused(502, "<html>").to_string(),
            "what answers is no campon (502)"
        );
    }

    /// The story: what was meant to be an id named another resource, or was told as silence.
    #[test]
    fn a_name_stays_within_its_segment() {
        assert_eq!(segment("akcvgtpj7"), "akcvgtpj7");
        assert_eq!(segment("../calls?a b"), "%2E%2E%2Fcalls%3Fa%20b");
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
    }
}
