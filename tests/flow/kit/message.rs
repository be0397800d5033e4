//! A SIP message as a party reads it, by a parser that shares nothing with campon's.
//!
//! Spec: RFC 3261 §7, §8.1.1, §8.2.6; it is strict, because it reads what campon wrote.

use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use campon::shard::SendId;
use campon::sip::flow::{ConnectionId, Flow};
use campon::time::Timestamp;

/// A message with the instant at which it was sent or came; a copy of it is cheap.
#[derive(Clone)]
pub(crate) struct Message {
    /// The text on the wire.
    pub(crate) raw: Rc<[u8]>,
    /// When it was sent or came.
    pub(crate) at: Timestamp,
    /// Which of campon's senders it came from, and how; none for what a party sent.
    pub(crate) origin: Option<(SendId, Flow)>,
    /// Where the body begins in the text on the wire.
    body: usize,
    head: Rc<Head>,
}

/// The start line and the header fields, and where each stands in them.
struct Head {
    text: String,
    start: Range<usize>,
    fields: Vec<Field>,
    /// The branch of the top Via, which is compared again and again.
    branch: Range<usize>,
}

struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Message {
    /// Reads a whole message, or says what is wrong with its shape.
    pub(crate) fn read(
        raw: &[u8],
        at: Timestamp,
        origin: Option<(SendId, Flow)>,
    ) -> Result<Self, String> {
        let end = end_of_head(raw)?;
        let head = Head::read(String::from_utf8_lossy(&raw[..end]).into_owned())?;
        Ok(Self {
            raw: raw.into(),
            at,
            origin,
            body: end + 4,
            head: Rc::new(head),
        })
    }

    /// Reads what a party sends: it may fold its headers.
    pub(crate) fn of_party(raw: &[u8], at: Timestamp) -> Result<Self, String> {
        let end = end_of_head(raw)?;
        let text = String::from_utf8_lossy(&raw[..end]);
        let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
        Ok(Self {
            raw: raw.into(),
            at,
            origin: None,
            body: end + 4,
            head: Rc::new(Head::read(unfolded)?),
        })
    }

    /// Whether it is a request.
    pub(crate) fn is_request(&self) -> bool {
        !self.start().starts_with("SIP/2.0 ")
    }

    /// The method of a request, the code of a response: what an arrow is called.
    pub(crate) fn kind(&self) -> &str {
        let nth = usize::from(!self.is_request());
        self.start().split(' ').nth(nth).unwrap_or_default()
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
        self.start().splitn(3, ' ').nth(2).unwrap_or_default()
    }

    /// The Request-URI.
    pub(crate) fn uri(&self) -> &str {
        assert!(self.is_request(), "a Request-URI was asked of\n{self}");
        self.start().split(' ').nth(1).unwrap_or_default()
    }

    /// The start line.
    pub(crate) fn start(&self) -> &str {
        self.head.part(&self.head.start)
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.raw[self.body..]
    }

    /// The body as text.
    pub(crate) fn sdp(&self) -> &str {
        std::str::from_utf8(self.body()).expect("a session description is text")
    }

    /// The header fields as they stand, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let (fields, part) = (&self.head.fields, |place| self.head.part(place));
        fields
            .iter()
            .map(move |field| (part(&field.name), part(&field.value)))
    }

    /// The one field of this name; a failure if there are none or several.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut all = self.named(name);
        match (all.next(), all.next()) {
            (Some(value), None) => value,
            _ => panic!("{} {name} fields in\n{self}", self.all(name).len()),
        }
    }

    /// The field of this name, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.named(name).next()
    }

    /// Whether a field of this name is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Each field of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.named(name).collect()
    }

    fn named<'m>(&'m self, name: &str) -> impl Iterator<Item = &'m str> {
        self.head.named(name)
    }

    /// Each value of the fields of this name: lists are split at their commas.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.named(name).flat_map(split_list).collect()
    }

    /// Whether a list of tokens holds this one.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        let values = self.list(name);
        values.iter().any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The branch of the top Via; empty if there is none.
    pub(crate) fn branch(&self) -> &str {
        assert!(self.has("Via"), "a Via");
        self.head.part(&self.head.branch)
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
        if let Some(name) = once.iter().find(|name| self.named(name).count() != 1) {
            return Some(format!("{name} is not there once"));
        }
        if self.header("Content-Length") != self.body().len().to_string() {
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
                !self.start().ends_with(" SIP/2.0"),
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

impl Head {
    fn read(text: String) -> Result<Self, String> {
        let mut lines = Vec::with_capacity(16);
        let mut from = 0;
        for at in memchr::memchr2_iter(b'\r', b'\n', text.as_bytes()) {
            // The end of a line is two of them.
            if at < from {
                continue;
            }
            if !text[at..].starts_with("\r\n") {
                return Err("a CR or LF inside a line".to_owned());
            }
            lines.push(from..at);
            from = at + 2;
        }
        lines.push(from..text.len());
        let mut lines = lines.into_iter();
        let start = lines.next().unwrap_or_default();
        let fields = lines.map(|line| Field::read(&text, line));
        let mut head = Self {
            fields: fields.collect::<Result<_, _>>()?,
            start,
            branch: 0..0,
            text,
        };
        head.branch = head.find_branch().unwrap_or_default();
        Ok(head)
    }

    fn find_branch(&self) -> Option<Range<usize>> {
        let via = self.named("Via").next()?;
        let top = split_list(via).next()?;
        let branch = param(top, "branch").filter(|branch| !branch.is_empty())?;
        Some(self.place(branch))
    }

    fn named<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h str> {
        let named = move |field: &&Field| self.part(&field.name).eq_ignore_ascii_case(name);
        let fields = self.fields.iter().filter(named);
        fields.map(|field| self.part(&field.value))
    }

    fn part(&self, place: &Range<usize>) -> &str {
        &self.text[place.clone()]
    }

    /// Where a part of the text stands in it.
    fn place(&self, part: &str) -> Range<usize> {
        let from = part.as_ptr().addr() - self.text.as_ptr().addr();
        from..from + part.len()
    }
}

impl Field {
    fn read(text: &str, line: Range<usize>) -> Result<Self, String> {
        let of_line = &text[line.clone()];
        let (name, value) = of_line
            .split_once(':')
            .ok_or_else(|| format!("no colon in {of_line:?}"))?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(format!("no header name in {of_line:?}"));
        }
        let after = line.end - value.trim_start().len();
        let value = value.trim();
        Ok(Self {
            name: line.start..line.start + name.len(),
            value: after..after + value.len(),
        })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.start())
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

fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    let values = value.split(move |c: char| {
        let literal = escaped;
        escaped = quoted && c == '\\' && !literal;
        match c {
            '"' if !literal => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            _ => {}
        }
        c == ',' && !quoted && !bracketed
    });
    values.map(str::trim)
}

fn end_of_head(raw: &[u8]) -> Result<usize, String> {
    let found = memchr::memmem::find(raw, b"\r\n\r\n");
    found.ok_or_else(|| "no empty line ends the headers".to_owned())
}
