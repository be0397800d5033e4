//! A SIP message as a party reads it, by a parser that shares nothing with campon's.
//!
//! Spec: RFC 3261 §7, §8.1.1, §8.2.6; it is strict, because it reads what campon wrote.

use std::fmt;

use campon::shard::SendId;
use campon::sip::flow::{ConnectionId, Flow};
use campon::time::Timestamp;

/// A message with the instant at which it was sent or came.
#[derive(Clone)]
pub(crate) struct Message {
    /// The text on the wire.
    pub(crate) raw: Vec<u8>,
    /// When it was sent or came.
    pub(crate) at: Timestamp,
    /// Which of campon's senders it came from, and how; none for what a party sent.
    pub(crate) origin: Option<(SendId, Flow)>,
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    /// Reads a whole message, or says what is wrong with its shape.
    pub(crate) fn read(
        raw: &[u8],
        at: Timestamp,
        origin: Option<(SendId, Flow)>,
    ) -> Result<Self, String> {
        let end = find(raw, b"\r\n\r\n").ok_or("no empty line ends the headers")?;
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines.map(field).collect::<Result<Vec<_>, _>>()?;
        if head.replace("\r\n", "").contains(['\r', '\n']) {
            return Err("a CR or LF inside a line".to_owned());
        }
        let body = raw[end + 4..].to_vec();
        Ok(Self {
            raw: raw.to_vec(),
            at,
            origin,
            start,
            headers,
            body,
        })
    }

    /// Reads what a party sends: it may fold its headers.
    pub(crate) fn of_party(raw: &[u8], at: Timestamp) -> Result<Self, String> {
        let text = String::from_utf8_lossy(raw);
        let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut message = Self::read(unfolded.as_bytes(), at, None)?;
        message.raw = raw.to_vec();
        if let Some(end) = find(raw, b"\r\n\r\n") {
            message.body = raw[end + 4..].to_vec();
        }
        Ok(message)
    }

    /// Whether it is a request.
    pub(crate) fn is_request(&self) -> bool {
        !self.start.starts_with("SIP/2.0 ")
    }

    /// The method of a request, the code of a response: what an arrow is called.
    pub(crate) fn kind(&self) -> &str {
        let nth = usize::from(!self.is_request());
        self.start.split(' ').nth(nth).unwrap_or_default()
    }

    /// The code of a response; 0 for a request.
    pub(crate) fn status(&self) -> u16 {
        if self.is_request() {
            return 0;
        }
        self.kind().parse().unwrap_or_default()
    }

    /// The phrase of a response.
    pub(crate) fn phrase(&self) -> &str {
        self.start.splitn(3, ' ').nth(2).unwrap_or_default()
    }

    /// The Request-URI.
    pub(crate) fn uri(&self) -> &str {
        assert!(self.is_request(), "a Request-URI was asked of\n{self}");
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The start line.
    pub(crate) fn start(&self) -> &str {
        &self.start
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    pub(crate) fn sdp(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a session description is text")
    }

    /// The header fields as they stand, in order.
    pub(crate) fn fields(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The one field of this name; a failure if there are none or several.
    pub(crate) fn header(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} fields in\n{self}");
        all[0]
    }

    /// The field of this name, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Whether a field of this name is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Each field of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        let fields = self.headers.iter().filter(named);
        fields.map(|field| field.1.as_str()).collect()
    }

    /// Each value of the fields of this name: lists are split at their commas.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let fields = self.all(name);
        fields.into_iter().flat_map(split_list).collect()
    }

    /// Whether a list of tokens holds this one.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        let values = self.list(name);
        values.iter().any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The branch of the top Via.
    pub(crate) fn branch(&self) -> &str {
        let vias = self.list("Via");
        let top = vias.first().expect("a Via");
        param(top, "branch").unwrap_or_default()
    }

    /// The Call-ID.
    pub(crate) fn call_id(&self) -> &str {
        self.header("Call-ID")
    }

    /// The tag of From.
    pub(crate) fn tag_of_from(&self) -> &str {
        param(self.header("From"), "tag").unwrap_or_default()
    }

    /// The tag of To; empty if there is none.
    pub(crate) fn tag_of_to(&self) -> &str {
        param(self.header("To"), "tag").unwrap_or_default()
    }

    /// The number of CSeq.
    pub(crate) fn cseq(&self) -> u32 {
        let value = self.header("CSeq");
        let number = value.split(' ').next().unwrap_or_default();
        number.parse().expect("a CSeq number")
    }

    /// The method of CSeq.
    pub(crate) fn cseq_method(&self) -> &str {
        self.header("CSeq").split(' ').nth(1).unwrap_or_default()
    }

    /// The URI of the Contact.
    pub(crate) fn contact(&self) -> &str {
        uri_of(self.header("Contact"))
    }

    /// The connection that campon chose to send it over.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.origin.and_then(|(_, flow)| flow.connection)
    }

    /// What is wrong with a message of campon's, whatever the ladder.
    pub(crate) fn fault(&self) -> Option<String> {
        let once = ["From", "To", "Call-ID", "CSeq", "Content-Length"];
        if let Some(name) = once.iter().find(|name| self.all(name).len() != 1) {
            return Some(format!("{name} is not there once"));
        }
        if self.header("Content-Length") != self.body.len().to_string() {
            return Some("Content-Length is not the body's".to_owned());
        }
        if self.tag_of_from().is_empty() {
            return Some("From has no tag".to_owned());
        }
        let is_tagged_twice = |name: &&&str| self.header(name).matches(";tag=").count() > 1;
        if let Some(name) = ["From", "To"].iter().find(is_tagged_twice) {
            return Some(format!("{name} has two tags")); // S-12
        }
        if self.is_request() {
            self.fault_of_request()
        } else {
            self.fault_of_response()
        }
    }

    fn fault_of_request(&self) -> Option<String> {
        let branch = self.branch();
        let creates_dialog = self.kind() == "INVITE";
        let faults = [
            (
                !self.start.ends_with(" SIP/2.0"),
                "the version is not SIP/2.0",
            ),
            (self.list("Via").len() != 1, "there is not one Via"), // S-37
            (
                !branch.starts_with("z9hG4bK") || branch.len() < 12,
                "the branch is not unique",
            ),
            (
                self.all("Max-Forwards").len() != 1,
                "Max-Forwards is not there once",
            ),
            (self.cseq_method() != self.kind(), "CSeq has another method"),
            (
                self.has("Record-Route"),
                "Record-Route in a B2BUA's request",
            ), // S-37
            (
                creates_dialog && self.all("Contact").len() != 1,
                "there is not one Contact",
            ),
        ];
        first_true(&faults)
    }

    fn fault_of_response(&self) -> Option<String> {
        let status = self.status();
        let creates_dialog = self.cseq_method() == "INVITE" && (101..300).contains(&status);
        let faults = [
            (!(100..700).contains(&status), "the code is not 100 to 699"),
            (self.phrase().is_empty(), "there is no phrase"),
            (
                status > 100 && self.tag_of_to().is_empty(),
                "To has no tag", // S-12
            ),
            (
                creates_dialog && self.all("Contact").len() != 1,
                "there is not one Contact",
            ),
            (
                (101..200).contains(&status) && self.cseq_method() != "INVITE",
                "a provisional response to a non-INVITE", // S-45
            ),
            (
                status == 408 && self.cseq_method() != "INVITE",
                "a 408 to a non-INVITE", // S-47
            ),
        ];
        first_true(&faults)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.start)
    }
}

/// The parameter of a header value; `Some("")` for one without a value.
pub(crate) fn param<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let params = value.rsplit_once('>').map_or(value, |(_, after)| after);
    params.split(';').skip(1).find_map(|param| {
        let (key, value) = param.split_once('=').unwrap_or((param, ""));
        let found = key.trim().eq_ignore_ascii_case(name);
        found.then(|| value.trim())
    })
}

/// The URI of an address, with or without brackets.
pub(crate) fn uri_of(value: &str) -> &str {
    let inside = value
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    let bare = || value.split(';').next().unwrap_or_default().trim();
    inside.map_or_else(bare, |(uri, _)| uri)
}

/// The address without its parameters: what stays the same in a dialog.
pub(crate) fn without_tag(value: &str) -> &str {
    value
        .split_once(";tag=")
        .map_or(value, |(before, _)| before)
}

fn first_true(faults: &[(bool, &str)]) -> Option<String> {
    let found = faults.iter().find(|(is_true, _)| *is_true);
    found.map(|(_, what)| (*what).to_owned())
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("no colon in {line:?}"))?;
    if name.is_empty() || name.contains([' ', '\t']) {
        return Err(format!("no header name in {line:?}"));
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn split_list(value: &str) -> Vec<&str> {
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    value
        .split(|c: char| {
            let literal = escaped;
            escaped = quoted && c == '\\' && !literal;
            match c {
                '"' if !literal => quoted = !quoted,
                '<' if !quoted => bracketed = true,
                '>' if !quoted => bracketed = false,
                _ => {}
            }
            c == ',' && !quoted && !bracketed
        })
        .map(str::trim)
        .collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
