//! A party that speaks SIP, one message at a time.

use std::net::SocketAddr;

use crate::line::Line;

pub struct Phone {
    pub user: &'static str,
    /// How URIs name campon.
    pub domain: String,
    pub line: Line,
    unread: Vec<u8>,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Heard(pub String);

impl Phone {
    pub fn new(user: &'static str, domain: &str, line: Line) -> Self {
        Self {
            user,
            domain: domain.to_owned(),
            line,
            unread: Vec::new(),
        }
    }

    /// Registers, and demands that it succeeds.
    pub fn register(&mut self) {
        let request = self.request("REGISTER", &format!("sip:{}", self.domain), self.user, "");
        self.send(&request);
        let answer = self.hear();
        assert!(answer.is("200"), "{}", answer.0);
    }

    /// A request of a dialog of its own.
    pub fn request(&self, method: &str, uri: &str, to: &str, more: &str) -> String {
        let Self { user, domain, .. } = self;
        let (via, local) = (self.line.transport(), self.line.local());
        let parameter = match via {
            "TCP" => ";transport=tcp",
            "TLS" => ";transport=tls",
            _ => "",
        };
        format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/{via} {local};branch=z9hG4bK-{user}-{method};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{user}@{domain}>;tag={user}\r\n\
             To: <sip:{to}@{domain}>\r\n\
             Call-ID: {user}-{method}\r\n\
             CSeq: 1 {method}\r\n\
             Contact: <sip:{user}@{local}{parameter}>\r\n\
             {more}Content-Length: 0\r\n\r\n"
        )
    }

    /// An INVITE to a user of campon's.
    pub fn invite(&self, callee: &str) -> String {
        let uri = format!("sip:{callee}@{}", self.domain);
        self.request("INVITE", &uri, callee, "")
    }

    pub fn send(&mut self, message: &str) {
        self.line.write(message.as_bytes()).expect("an open line");
    }

    /// The next message but a 100.
    pub fn hear(&mut self) -> Heard {
        loop {
            let heard = self.next().expect("the line is open");
            if !heard.is("100") {
                return heard;
            }
        }
    }

    /// The next message of this kind; others are not listened to.
    pub fn hears(&mut self, what: &str) -> Heard {
        loop {
            let heard = self.hear();
            if heard.is(what) {
                return heard;
            }
        }
    }

    /// The next message; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(length) = length_of(&self.unread) {
                let message: Vec<_> = self.unread.drain(..length).collect();
                return Some(Heard(String::from_utf8(message).expect("UTF-8")));
            }
            let mut buffer = vec![0; 65_536];
            let length = self.line.read(&mut buffer);
            if length == 0 {
                return None;
            }
            self.unread.extend_from_slice(&buffer[..length]);
        }
    }

    /// Answers a request, with a tag and a Contact of its own.
    pub fn answer(&mut self, request: &Heard, status: &str) {
        let answer = request.answer(status, self.user, self.line.local());
        self.send(&answer);
    }
}

impl Heard {
    /// Whether it is a response with this status, or a request of this method.
    pub fn is(&self, what: &str) -> bool {
        let start = self.0.strip_prefix("SIP/2.0 ").unwrap_or(&self.0);
        start.starts_with(&format!("{what} "))
    }

    /// The first value of a header field.
    pub fn field(&self, name: &str) -> &str {
        let found = self.fields(name).next();
        found.unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    pub fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().filter_map(move |line| {
            let (its, value) = line.split_once(':')?;
            its.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn answer(&self, status: &str, user: &str, local: SocketAddr) -> String {
        let mut answer = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            for value in self.fields(name) {
                answer = answer + name + ": " + value + "\r\n";
            }
        }
        let to = self.field("To");
        let tag = if to.contains(";tag=") {
            ""
        } else {
            ";tag=answer"
        };
        answer
            + &format!(
                "To: {to}{tag}\r\nContact: <sip:{user}@{local}>\r\nContent-Length: 0\r\n\r\n"
            )
    }
}

/// How long the message is that has begun, if all of it is there.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")? + 4;
    let field = text[..head].lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Content-Length")
            .then(|| value.trim().to_owned())
    });
    let length = head + field.map_or(0, |length| length.parse().expect("a number"));
    (length <= bytes.len()).then_some(length)
}
