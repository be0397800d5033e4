//! What a manifest accepts for a message.

use crate::flow::kit::message::Message;

/// One acceptable outcome.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Expectation {
    /// This final response, and nothing passed on.
    Answer(u16),
    /// Silence.
    Drop,
    /// Handled as any message of its kind.
    Process,
    /// Handled after this repair; what is passed on is repaired.
    Repair(String),
}

/// What campon did with a message.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Final responses to it.
    pub(crate) answers: Vec<Message>,
    /// Requests that went out because of it.
    pub(crate) passed_on: Vec<Message>,
}

impl Expectation {
    /// The outcomes of a manifest's list.
    pub(crate) fn list(value: &serde_json::Value) -> Vec<Self> {
        let list = value.as_array().expect("a list of outcomes");
        list.iter().map(Self::of).collect()
    }

    fn of(value: &serde_json::Value) -> Self {
        if let Some(status) = value.as_u64() {
            return Self::Answer(u16::try_from(status).expect("a status"));
        }
        match value.as_str().expect("a number or a word") {
            "drop" => Self::Drop,
            word if word.starts_with("process") => Self::Process,
            word => {
                let repair = word.strip_prefix("liberal:");
                Self::Repair(repair.expect("a word of the legend").to_owned())
            }
        }
    }

    /// Whether this is what happened.
    pub(crate) fn is_met_by(&self, message: &[u8], outcome: &Outcome) -> bool {
        let silent = outcome.answers.is_empty() && outcome.passed_on.is_empty();
        match self {
            Self::Drop => silent,
            Self::Answer(status) => {
                outcome.passed_on.is_empty() && outcome.is_answered_with(&[*status])
            }
            Self::Process => is_processed(message, outcome),
            Self::Repair(_) => is_processed(message, outcome) && outcome.is_repaired(),
        }
    }
}

impl Outcome {
    /// Whether there is one final response, and it is one of these.
    pub(crate) fn is_answered_with(&self, statuses: &[u16]) -> bool {
        let answers = self.answers.iter().map(Message::status);
        matches!(&*answers.collect::<Vec<_>>(), [status] if statuses.contains(status))
    }

    fn is_repaired(&self) -> bool {
        let uri_is_clean = |message: &Message| {
            let start = message.start();
            start.split(' ').count() == 3 && !message.uri().contains(['<', '>', '?'])
        };
        self.passed_on.iter().all(uri_is_clean)
    }
}

/// What "handled as any message of its kind" means here: a new call goes to the upstream, a request
/// in a dialog that is not ours gets 481, a response that nobody waits for is dropped, a text of
/// somebody who is not registered goes nowhere, and campon itself answers the rest.
fn is_processed(message: &[u8], outcome: &Outcome) -> bool {
    let text = String::from_utf8_lossy(message);
    let method = text.split([' ', '/']).next().unwrap_or_default();
    if method == "SIP" {
        return outcome.answers.is_empty() && outcome.passed_on.is_empty();
    }
    if is_in_dialog(&text) {
        return outcome.is_answered_with(&[481]) && outcome.passed_on.is_empty();
    }
    match method {
        "INVITE" => {
            let [invite] = &*outcome.passed_on else {
                return false;
            };
            invite.kind() == "INVITE" && outcome.is_answered_with(&[603])
        }
        "REGISTER" | "OPTIONS" => outcome.is_answered_with(&[200]),
        "MESSAGE" => outcome.is_answered_with(&[403]),
        _ => outcome.is_answered_with(&[200, 405, 501]),
    }
}

/// Whether the To has a tag, however the header is written and folded.
fn is_in_dialog(text: &str) -> bool {
    let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut lines = unfolded.split("\r\n").take_while(|line| !line.is_empty());
    lines.any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        let is_to = ["to", "t"].contains(&&*name.trim().to_ascii_lowercase());
        is_to && value.replace([' ', '\t'], "").contains(";tag=")
    })
}
