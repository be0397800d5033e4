//! A SIP message as a phone saw it on the wire.
//!
//! A reader of its own, so that campon's parser does not check itself.

/// One request or response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    /// Reads the bytes of one message; the body is all that follows the blank line.
    pub fn read(raw: &[u8]) -> Self {
        let blank = raw.windows(4).position(|four| four == b"\r\n\r\n");
        let blank = blank.unwrap_or_else(|| panic!("no blank line in {}", raw.escape_ascii()));
        let (head, rest) = raw.split_at(blank);
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.trim().to_owned(), value.trim().to_owned())
        });
        Self {
            start,
            headers: headers.collect(),
            body: rest.get(4..).unwrap_or_default().to_vec(),
        }
    }

    /// The status code of a response.
    pub fn status(&self) -> Option<u16> {
        let rest = self.start.strip_prefix("SIP/2.0 ")?;
        rest.split(' ').next()?.parse().ok()
    }

    /// The method: of a response, that of its CSeq.
    pub fn method(&self) -> &str {
        match self.status() {
            Some(_) => self.cseq().1,
            None => self.start.split(' ').next().unwrap_or_default(),
        }
    }

    /// The Request-URI; empty for a response.
    pub fn request_uri(&self) -> &str {
        match self.status() {
            Some(_) => "",
            None => self.start.split(' ').nth(1).unwrap_or_default(),
        }
    }

    /// The values of all header fields of that name, commas not split.
    pub fn headers<'m>(&'m self, name: &str) -> impl Iterator<Item = &'m str> {
        let wanted = name.to_ascii_lowercase();
        self.headers
            .iter()
            .filter(move |(name, _)| name.to_ascii_lowercase() == wanted)
            .map(|(_, value)| value.as_str())
    }

    /// The value of the one header field of that name; fails where there are none or several.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers(name);
        let value = values.next();
        assert!(values.next().is_none(), "several {name} in {self}");
        value.unwrap_or_else(|| panic!("no {name} in {self}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.headers(name).next().is_some()
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub fn cseq(&self) -> (u32, &str) {
        let value = self.header("CSeq");
        let (number, method) = value.split_once(' ').unwrap_or((value, ""));
        let number = number.parse();
        (
            number.unwrap_or_else(|_| panic!("CSeq is no number in {self}")),
            method.trim(),
        )
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID")
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> &str {
        let via = self.headers("Via").next().unwrap_or_default();
        parameter(via, "branch").unwrap_or_else(|| panic!("no branch in {self}"))
    }

    pub fn max_forwards(&self) -> u8 {
        let value = self.header("Max-Forwards").parse();
        value.unwrap_or_else(|_| panic!("Max-Forwards is no number in {self}"))
    }

    pub fn tag_of_from(&self) -> Option<&str> {
        parameter(self.header("From"), "tag")
    }

    pub fn tag_of_to(&self) -> Option<&str> {
        parameter(self.header("To"), "tag")
    }

    /// The URI of the one Contact.
    pub fn contact(&self) -> &str {
        uri(self.header("Contact"))
    }

    /// The bindings that a registrar lists: URI and seconds left.
    pub fn bindings(&self) -> Vec<(&str, u32)> {
        let all = self.headers("Contact").flat_map(|line| line.split(','));
        all.map(|value| {
            let expires = parameter(value, "expires").and_then(|text| text.parse().ok());
            let expires = expires.unwrap_or_else(|| panic!("a Contact without expires in {self}"));
            (uri(value.trim()), expires)
        })
        .collect()
    }

    /// How a ladder names this message: `INVITE sdp`, `200 INVITE sdp`, `486 INVITE`.
    pub fn label(&self) -> String {
        let mut label = match self.status() {
            Some(status) => format!("{status} {}", self.method()),
            None => self.method().to_owned(),
        };
        if !self.body.is_empty() {
            let kind = self.headers("Content-Type").next().unwrap_or("untyped");
            label.push(' ');
            label.push_str(kind.rsplit('/').next().unwrap_or_default());
        }
        label
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.start)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        write!(f, "\n{}", String::from_utf8_lossy(&self.body))
    }
}

/// The address of a name-addr or of a bare addr-spec.
pub fn uri(value: &str) -> &str {
    match value
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
    {
        Some((inner, _)) => inner,
        None => value.split(';').next().unwrap_or_default(),
    }
}

/// Display name and URI, without the header parameters.
pub fn name_addr(value: &str) -> &str {
    match value.find('>') {
        Some(end) => value.get(..=end).unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default(),
    }
}

/// A header parameter: one that stands after the URI.
fn parameter<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let after = value.rsplit_once('>').map_or(value, |(_, after)| after);
    after.split(';').skip(1).find_map(|pair| {
        let (key, text) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| text.trim())
    })
}
