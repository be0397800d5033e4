//! A SIP message to be read and to be written, with a reader that forgives nothing.

use std::fmt::{self, Write as _};

/// One request or response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sip {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Sip {
    /// An empty request.
    pub fn request(method: &str, uri: &str) -> Self {
        Self::starting(format!("{method} {uri} SIP/2.0"))
    }

    /// The response to a request, with what RFC 3261 §8.2.6.2 has copied.
    pub fn response(request: &Self, status: u16, reason: &str) -> Self {
        let mut response = Self::starting(format!("SIP/2.0 {status} {reason}"));
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in request.all(name) {
                response.push(name, value);
            }
        }
        // A dialog needs the route that the request took (§12.1.1).
        if status != 100 && request.tag_of_to().is_none() {
            for value in request.all("Record-Route") {
                response.push("Record-Route", value);
            }
        }
        response
    }

    fn starting(start: String) -> Self {
        Self {
            start,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Reads a datagram; the error is what is wrong with it.
    pub fn read(raw: &[u8]) -> Result<Self, String> {
        let blank = raw.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, rest) = raw.split_at(blank.ok_or("no blank line")?);
        let head = str::from_utf8(head).map_err(|_| "the head is not UTF-8")?;
        if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
            return Err("a bare CR, LF or NUL".to_owned());
        }
        let mut lines = head.split("\r\n");
        let mut read = Self::starting(lines.next().unwrap_or_default().to_owned());
        for line in lines {
            let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
            let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
            if name.is_empty() || !name.chars().all(is_token) {
                return Err(format!("`{name}` is no header name"));
            }
            if value.trim().is_empty() && !["Supported", "Allow", "Subject"].contains(&name) {
                return Err(format!("an empty {name}"));
            }
            read.push(name, value.trim());
        }
        read.body = rest.get(4..).unwrap_or_default().to_vec();
        Ok(read)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        let told = |(name, _): &&(String, String)| !name.eq_ignore_ascii_case("Content-Length");
        for (name, value) in self.headers.iter().filter(told) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Adds a header field below those that are there.
    pub fn push(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The same, in a chain.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.push(name, value);
        self
    }

    /// Puts a header field in the place of all of that name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.push(name, value);
    }

    pub fn remove(&mut self, name: &str) {
        self.headers
            .retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    /// Puts in a body and says of what type it is.
    pub fn carrying(mut self, kind: &str, body: &[u8]) -> Self {
        self.set("Content-Type", kind);
        self.body = body.to_vec();
        self
    }

    pub fn status(&self) -> Option<u16> {
        let rest = self.start.strip_prefix("SIP/2.0 ")?;
        rest.split(' ').next()?.parse().ok()
    }

    pub fn reason(&self) -> &str {
        self.start.splitn(3, ' ').nth(2).unwrap_or_default()
    }

    /// The method: of a response, that of its CSeq.
    pub fn method(&self) -> &str {
        match self.status() {
            Some(_) => self.cseq().1,
            None => self.start.split(' ').next().unwrap_or_default(),
        }
    }

    /// The Request-URI; empty for a response.
    pub fn uri(&self) -> &str {
        match self.status() {
            Some(_) => "",
            None => self.start.split(' ').nth(1).unwrap_or_default(),
        }
    }

    /// The values of all header fields of that name, commas not split.
    pub fn all<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        let wanted = move |(own, _): &&(String, String)| own.eq_ignore_ascii_case(name);
        let found = self.headers.iter().filter(wanted);
        found.map(|(_, value)| value.as_str())
    }

    /// The first header field of that name.
    pub fn first(&self, name: &str) -> Option<&str> {
        let wanted = |(own, _): &&(String, String)| own.eq_ignore_ascii_case(name);
        let found = self.headers.iter().find(wanted);
        found.map(|(_, value)| value.as_str())
    }

    /// The elements of a list, over all header fields of that name.
    pub fn list(&self, name: &str) -> Vec<String> {
        let mut elements = Vec::new();
        for value in self
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
        {
            elements.extend(split(&value.1));
        }
        elements
    }

    pub fn cseq(&self) -> (u32, &str) {
        let value = self.first("CSeq").unwrap_or_default();
        let (number, method) = value.split_once(' ').unwrap_or((value, ""));
        (number.parse().unwrap_or_default(), method.trim())
    }

    pub fn call_id(&self) -> &str {
        self.first("Call-ID").unwrap_or_default()
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> &str {
        let via = self.first("Via").unwrap_or_default();
        parameter(via, "branch").unwrap_or_default()
    }

    pub fn tag_of_from(&self) -> Option<&str> {
        parameter(self.first("From")?, "tag")
    }

    pub fn tag_of_to(&self) -> Option<&str> {
        parameter(self.first("To")?, "tag")
    }

    /// The URI of the first Contact.
    pub fn contact(&self) -> Option<&str> {
        self.first("Contact").map(address)
    }

    /// How a journal names this message: `INVITE sdp`, `200 INVITE sdp`, `486 INVITE`.
    pub fn label(&self) -> String {
        let mut label = match self.status() {
            Some(status) => format!("{status} {}", self.method()),
            None => self.method().to_owned(),
        };
        if !self.body.is_empty() {
            let kind = self.first("Content-Type").unwrap_or("untyped");
            label.push(' ');
            label.push_str(kind.rsplit('/').next().unwrap_or_default());
        }
        label
    }
}

impl fmt::Display for Sip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes()))
    }
}

/// The address of a name-addr or of a bare addr-spec.
pub fn address(value: &str) -> &str {
    let bracketed = value
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    match bracketed {
        Some((inner, _)) => inner,
        None => value.split(';').next().unwrap_or_default().trim(),
    }
}

/// Display name and URI, without the header parameters.
pub fn name_addr(value: &str) -> &str {
    match value.rfind('>') {
        Some(end) => value.get(..=end).unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default(),
    }
}

/// A header parameter: one that stands after the URI.
pub fn parameter<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let after = value.rsplit_once('>').map_or(value, |(_, after)| after);
    after.split(';').skip(1).find_map(|pair| {
        let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| text.trim())
    })
}

/// A URI without its parameters and headers.
pub fn bare(uri: &str) -> &str {
    uri.split([';', '?']).next().unwrap_or_default()
}

/// The user part of a SIP URI, its own parameters cut off.
pub fn user(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once(':')?;
    let (user, _) = rest.split_once('@')?;
    user.split([':', ';']).next()
}

/// Host and port of a SIP URI as they are written.
pub fn host_port(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or("", |(_, rest)| rest);
    bare(rest.rsplit_once('@').map_or(rest, |(_, host)| host))
}

/// Splits a list at the commas that stand outside of quotes and angle brackets.
pub fn split(list: &str) -> Vec<String> {
    let mut elements = vec![String::new()];
    let (mut quoted, mut bracketed) = (false, false);
    for c in list.chars() {
        match c {
            '"' => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            _ => {}
        }
        if c == ',' && !quoted && !bracketed {
            elements.push(String::new());
        } else if let Some(last) = elements.last_mut() {
            last.push(c);
        }
    }
    let trimmed = elements.iter().map(|one| one.trim().to_owned());
    trimmed.filter(|one| !one.is_empty()).collect()
}
