//! One side of a dialog: RFC 3261 §12.

use std::net::SocketAddr;

use super::sip::{Sip, address, host_port, parameter};

#[derive(Clone, Debug)]
pub struct Dialog {
    pub call_id: String,
    /// Our header value, tag included: From in what we send.
    pub local: String,
    /// The other's, with its tag once it is known.
    pub remote: String,
    /// Where requests go: the other's Contact.
    pub target: String,
    /// Routes to be written, the next hop first.
    pub route: Vec<String>,
    pub cseq: u32,
    pub remote_cseq: u32,
}

impl Dialog {
    /// Of an INVITE that came, answered with this tag.
    pub fn of_server(invite: &Sip, tag: &str) -> Self {
        let to = invite.first("To").unwrap_or_default();
        Self {
            call_id: invite.call_id().to_owned(),
            local: format!("{to};tag={tag}"),
            remote: invite.first("From").unwrap_or_default().to_owned(),
            target: invite.contact().unwrap_or_default().to_owned(),
            route: invite.list("Record-Route"),
            cseq: 0,
            remote_cseq: invite.cseq().0,
        }
    }

    /// Of an INVITE that left, before any answer.
    pub fn of_client(invite: &Sip) -> Self {
        Self {
            call_id: invite.call_id().to_owned(),
            local: invite.first("From").unwrap_or_default().to_owned(),
            remote: invite.first("To").unwrap_or_default().to_owned(),
            target: invite.uri().to_owned(),
            route: Vec::new(),
            cseq: invite.cseq().0,
            remote_cseq: 0,
        }
    }

    /// Takes what a response to the INVITE says: tag, Contact and route.
    pub fn learn(&mut self, response: &Sip) {
        response
            .first("To")
            .unwrap_or_default()
            .clone_into(&mut self.remote);
        if let Some(contact) = response.contact() {
            contact.clone_into(&mut self.target);
        }
        self.route = response.list("Record-Route");
        self.route.reverse();
    }

    /// The next request of this side.
    pub fn request(&mut self, method: &str) -> Sip {
        self.cseq += 1;
        self.numbered(method, self.cseq)
    }

    /// The ACK of a 2xx, or anything else that has a number already.
    pub fn numbered(&self, method: &str, cseq: u32) -> Sip {
        let mut request = Sip::request(method, &self.target);
        for route in &self.route {
            request.push("Route", route);
        }
        request
            .with("From", &self.local)
            .with("To", &self.remote)
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{cseq} {method}"))
    }

    /// Where requests are sent: the first route, else the target.
    pub fn hop(&self) -> Option<SocketAddr> {
        let first = self
            .route
            .first()
            .map_or(self.target.as_str(), |route| address(route));
        socket_address(first)
    }

    /// Whether a request that came is of this dialog.
    pub fn owns(&self, request: &Sip) -> bool {
        request.call_id() == self.call_id
            && request.tag_of_to() == self.local_tag()
            && request.tag_of_from() == self.remote_tag()
    }

    /// Counts a request that came; what is wrong with it.
    pub fn count(&mut self, request: &Sip) -> Option<String> {
        let (number, method) = request.cseq();
        if method == "ACK" || method == "CANCEL" {
            return None;
        }
        let wrong = self.remote_cseq != 0 && number != self.remote_cseq + 1;
        let last = self.remote_cseq;
        self.remote_cseq = number;
        if let (Some(contact), true) = (request.contact(), is_target_refresh(method)) {
            contact.clone_into(&mut self.target);
        }
        wrong.then(|| format!("CSeq {number} {method} after {last}, in\n{request}"))
    }

    pub fn local_tag(&self) -> Option<&str> {
        parameter(&self.local, "tag")
    }

    pub fn remote_tag(&self) -> Option<&str> {
        parameter(&self.remote, "tag")
    }
}

/// RFC 3261 §12.2, RFC 3311 §5.1.
fn is_target_refresh(method: &str) -> bool {
    ["INVITE", "UPDATE"].contains(&method)
}

/// The address that a SIP URI names; tests know no names.
pub fn socket_address(uri: &str) -> Option<SocketAddr> {
    let place = host_port(uri);
    place.parse().ok().or_else(|| {
        let ip = place.trim_matches(['[', ']']).parse().ok()?;
        Some(SocketAddr::new(ip, 5060))
    })
}
