//! A message that a party is about to send: what the ladder says of it, and the rest filled in.
//!
//! Spec: RFC 3261 §8.1.1, §8.2.6, §9.1, §12.2.1.1, §13.2.2.4, §17.1.1.3.

use std::fmt::Write as _;

use super::dialog::Dialog;
use super::message::{Message, param};
use super::subject::DOMAIN;

/// The caller's session description.
pub(crate) const OFFER: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.10\r\ns=-\r\n\
    c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na=sendrecv\r\n";

/// The callee's.
pub(crate) const ANSWER: &str = "v=0\r\no=bob 7 7 IN IP4 192.0.2.20\r\ns=-\r\n\
    c=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 50000 RTP/AVP 0\r\na=sendrecv\r\n";

/// A message in the making.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    start: String,
    fields: Vec<(String, String)>,
    without: Vec<String>,
    body: Vec<u8>,
    /// Whether the sender's Via goes above the ones that are there.
    adds_via: bool,
}

/// What a party adds to a draft that does not say otherwise.
#[derive(Debug)]
pub(crate) struct Sender<'s> {
    pub(crate) name: &'s str,
    /// `host:port`
    pub(crate) address: String,
    /// `UDP` or `TCP`
    pub(crate) transport: &'s str,
    /// Makes branches, tags and Call-IDs unique.
    pub(crate) serial: u64,
}

/// An INVITE to a user of campon's, or to a URI.
pub(crate) fn invite(whom: &str) -> Draft {
    request("INVITE", &uri_for(whom))
}

/// A request outside of any dialog.
pub(crate) fn request(method: &str, uri: &str) -> Draft {
    Draft::new(format!("{method} {uri} SIP/2.0")).with("To", &format!("<{uri}>"))
}

/// An OPTIONS to campon itself.
pub(crate) fn options() -> Draft {
    request("OPTIONS", &format!("sip:{DOMAIN}")).with("Accept", "application/sdp")
}

/// A registration of the party's Contact for this user, for an hour.
pub(crate) fn register(user: &str) -> Draft {
    request("REGISTER", &format!("sip:{DOMAIN}"))
        .with_only("To", &format!("<sip:{user}@{DOMAIN}>"))
        .with("Expires", "3600")
}

/// A request within a dialog, with the next CSeq number.
pub(crate) fn within(dialog: &Dialog, method: &str) -> Draft {
    let cseq = dialog.next_cseq();
    in_dialog(dialog, method, cseq)
}

/// A re-INVITE.
pub(crate) fn reinvite(dialog: &Dialog) -> Draft {
    within(dialog, "INVITE")
}

/// A BYE.
pub(crate) fn bye(dialog: &Dialog) -> Draft {
    within(dialog, "BYE")
}

/// A request within a dialog, with this CSeq number.
pub(crate) fn in_dialog(dialog: &Dialog, method: &str, cseq: u32) -> Draft {
    let mut draft = Draft::new(format!("{method} {} SIP/2.0", dialog.target))
        .with("From", &dialog.local)
        .with("To", &dialog.remote)
        .with("Call-ID", &dialog.call_id)
        .with("CSeq", &format!("{cseq} {method}"));
    for route in &dialog.routes {
        draft = draft.with("Route", route);
    }
    draft
}

/// The CANCEL of an INVITE.
pub(crate) fn cancel(invite: &Message) -> Draft {
    Draft::new(format!("CANCEL {} SIP/2.0", invite.uri()))
        .copying(invite, &["Via", "From", "To", "Call-ID", "Route"])
        .with("CSeq", &format!("{} CANCEL", invite.cseq()))
}

/// The ACK of a final response: of the transaction below 200, of the dialog after a 2xx.
pub(crate) fn ack(invite: &Message, response: &Message) -> Draft {
    let cseq = format!("{} ACK", invite.cseq());
    if response.status() < 300 {
        let dialog = Dialog::of_caller(invite, response);
        let draft = in_dialog(&dialog, "ACK", invite.cseq());
        // Within a dialog the route set is the INVITE's, and responses do not change it.
        return if invite.tag_of_to().is_empty() {
            draft
        } else {
            draft.copying_afresh(invite, "Route")
        };
    }
    Draft::new(format!("ACK {} SIP/2.0", invite.uri()))
        .copying(invite, &["Via", "From", "Call-ID", "Route"])
        .copying(response, &["To"])
        .with("CSeq", &cseq)
}

/// A request as a proxy passes it on, to this Request-URI.
pub(crate) fn proxied(request: &Message, uri: &str) -> Draft {
    let mut draft = Draft::new(format!("{} {uri} SIP/2.0", request.kind()));
    let hops: u8 = request.header("Max-Forwards").parse().expect("a number");
    for (name, value) in request.fields() {
        draft = match name {
            "Max-Forwards" => draft.with(name, &(hops - 1).to_string()),
            "Content-Length" => draft,
            _ => draft.with(name, value),
        };
    }
    draft.body = request.body().to_vec();
    draft.adds_via = true;
    draft
}

/// A response to a request that a party got.
pub(crate) fn response(request: &Message, status: u16) -> Draft {
    let draft = Draft::new(format!("SIP/2.0 {status} {}", phrase(status)))
        .copying(request, &["Via", "From", "To", "Call-ID", "CSeq"]);
    if status > 100 && status < 300 {
        draft.copying(request, &["Record-Route"])
    } else {
        draft
    }
}

impl Draft {
    fn new(start: String) -> Self {
        Self {
            start,
            fields: Vec::new(),
            without: Vec::new(),
            body: Vec::new(),
            adds_via: false,
        }
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Adds a header; one that the party would fill in gives way to it.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a header in place of those of its name.
    pub(crate) fn with_only(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|field| field.0 != name);
        self.with(name, value)
    }

    /// Leaves out a header that the party would fill in.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|field| field.0 != name);
        self.without.push(name.to_owned());
        self
    }

    /// Adds a body.
    pub(crate) fn with_body(mut self, content_type: &str, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.with("Content-Type", content_type)
    }

    /// Adds a session description.
    pub(crate) fn with_sdp(self, sdp: &str) -> Self {
        self.with_body("application/sdp", sdp.as_bytes())
    }

    /// Gives a response another phrase.
    pub(crate) fn phrased(mut self, phrase: &str) -> Self {
        let kept: Vec<_> = self.start.splitn(3, ' ').take(2).collect();
        self.start = format!("{} {phrase}", kept.join(" "));
        self
    }

    /// Answers with a To tag of its own: as another fork.
    pub(crate) fn tagged(mut self, tag: &str) -> Self {
        let to = self.fields.iter_mut().find(|field| field.0 == "To");
        let to = to.expect("a response has a To");
        to.1 = format!("{};tag={tag}", super::message::without_tag(&to.1));
        self
    }

    /// The text, as this sender writes it.
    pub(crate) fn written(self, sender: &Sender<'_>) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in self.filled_in(sender) {
            let given = self.has(name) && !(self.adds_via && name == "Via");
            if !given && !self.without.iter().any(|left| left == name) {
                let _ = write!(text, "{name}: {value}\r\n");
            }
        }
        for (name, value) in &self.fields {
            let value = self.tag_of_answer(name, value, sender);
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        let mut raw = text.into_bytes();
        raw.extend_from_slice(&self.body);
        raw
    }

    fn filled_in(&self, sender: &Sender<'_>) -> Vec<(&'static str, String)> {
        let Sender { name, serial, .. } = sender;
        let length = ("Content-Length", self.body.len().to_string());
        let contact = ("Contact", sender.contact());
        if self.start.starts_with("SIP/2.0 ") {
            let status = self.start.split(' ').nth(1).unwrap_or_default();
            let for_invite = self.field("CSeq").ends_with(" INVITE");
            let has_contact = for_invite && status > "100" && status < "300";
            return if has_contact {
                vec![contact, length]
            } else {
                vec![length]
            };
        }
        let method = self.start.split(' ').next().unwrap_or_default();
        let mut fields = vec![
            ("Via", sender.via()),
            ("Max-Forwards", "70".to_owned()),
            ("From", format!("<sip:{name}@{DOMAIN}>;tag={name}-{serial}")),
            ("Call-ID", format!("{name}-{serial}@192.0.2.99")),
            ("CSeq", format!("314 {method}")),
        ];
        if ["INVITE", "REGISTER"].contains(&method) {
            fields.push(contact);
        }
        fields.push(length);
        fields
    }

    /// A response without a To tag gets the party's, a 100 none.
    fn tag_of_answer(&self, name: &str, value: &str, sender: &Sender<'_>) -> String {
        let answers = self.start.starts_with("SIP/2.0 ") && !self.start.starts_with("SIP/2.0 100");
        if answers && name == "To" && param(value, "tag").is_none() {
            return format!("{value};tag={}", sender.name);
        }
        value.to_owned()
    }

    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|field| field.0 == name);
        found.map_or("", |field| field.1.as_str())
    }

    /// Whether the ladder gave this header, in its long or its compact form.
    fn has(&self, name: &str) -> bool {
        let compact = match name {
            "Via" => "v",
            "From" => "f",
            "Call-ID" => "i",
            "Contact" => "m",
            "Content-Length" => "l",
            _ => name,
        };
        let mut given = self.fields.iter().map(|field| field.0.as_str());
        given.any(|given| given == name || given == compact)
    }

    fn copying(mut self, from: &Message, names: &[&str]) -> Self {
        for name in names {
            for value in from.all(name) {
                self = self.with(name, value);
            }
        }
        self
    }

    fn copying_afresh(mut self, from: &Message, name: &str) -> Self {
        self.fields.retain(|field| field.0 != name);
        self.copying(from, &[name])
    }
}

impl Sender<'_> {
    fn via(&self) -> String {
        let Self {
            name,
            address,
            transport,
            serial,
        } = self;
        format!("SIP/2.0/{transport} {address};branch=z9hG4bK-{name}-{serial};rport")
    }

    fn contact(&self) -> String {
        let tcp = if self.transport == "TCP" {
            ";transport=tcp"
        } else {
            ""
        };
        format!("<sip:{}@{}{tcp}>", self.name, self.address)
    }
}

fn uri_for(whom: &str) -> String {
    if whom.contains(':') {
        whom.to_owned()
    } else {
        format!("sip:{whom}@{DOMAIN}")
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        302 => "Moved Temporarily",
        486 => "Busy Here",
        487 => "Request Terminated",
        491 => "Request Pending",
        603 => "Decline",
        _ => "As The Ladder Says",
    }
}
