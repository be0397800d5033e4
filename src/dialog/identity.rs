//! One side of a dialog, ours: identity, sequence numbers, route set and remote target.
//!
//! Spec: RFC 3261 §12.1, §12.2 (S-13, S-14, S-16, S-17).
//!
//! All texts of a dialog lie in one allocation; a dialog that a peer has not answered yet has no
//! remote tag and no target, and [`Dialog::answered`] makes the real one from it.

use std::net::{IpAddr, SocketAddr};

use crate::dialog::derived::Names;
use crate::dialog::tag::Tag;
use crate::sip::flow::{Flow, Transport};
use crate::sip::lex::Commas;
use crate::sip::{Host, Message, Method, Name, NameAddr, Request, Response, SipUri, Uri, Writer};

/// Above the numbers that a first request may have.
const CSEQ_END: u32 = 1 << 31;

/// Our side of a dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    texts: Box<[u8]>,
    ends: [u16; 6],
    tag: Tag,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    flow: Flow,
    reach: Reach,
}

/// How the peer is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// At the address of its Contact or first route.
    Address,
    /// Over the flow by which it came and no other: a NAT sits in between.
    Flow,
    /// At the port that its Contact or first route names of the address by which it came; over the
    /// flow, if they name another address.
    Host,
}

/// What a dialog is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'d> {
    /// Call-ID, our name, the peer's, the peer's tag, target, routes.
    pub(super) texts: [&'d [u8]; 6],
    pub(super) tag: Tag,
    pub(super) remote_cseq: Option<u32>,
    pub(super) flow: Flow,
    pub(super) reach: Reach,
}

/// The texts of a dialog, in the order in which they lie.
#[derive(Clone, Copy, Debug)]
enum Text {
    CallId,
    /// The name and address that we have in it, without tag.
    Local,
    /// The peer's, without tag.
    Remote,
    RemoteTag,
    /// The URI of the peer's Contact.
    Target,
    /// The route set, one value behind the other, with commas.
    Routes,
}

/// How a request stands to those before it (S-14).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// The next one.
    InOrder,
    /// Its number is not higher than one that came before.
    OutOfOrder,
}

impl Dialog {
    /// Our side as the server of `invite`, with the tag that our answer will have.
    pub fn of_server(invite: &Request<'_>, flow: &Flow, tag: Tag) -> Self {
        let mut routes = Vec::new();
        for value in invite.message.values(Name::RecordRoute) {
            push_route(&mut routes, value);
        }
        let target = contact_uri(&invite.message).unwrap_or_default();
        let texts = [
            invite.call_id,
            invite.to.text,
            invite.from.text,
            invite.from.tag().unwrap_or_default(),
            target,
            &routes,
        ];
        // A phone whose Via is not where its packets come from sits behind a NAT: only the way
        // that its request came leads back.
        let reach = if is_behind_nat(invite, flow) {
            Reach::Flow
        } else {
            Reach::Address
        };
        let mut dialog = Self::of_texts(texts, tag, *flow, reach);
        dialog.remote_cseq = Some(invite.cseq.number);
        dialog.flow = dialog.next_hop();
        dialog
    }

    /// Our side as the client of an INVITE that nobody has answered yet.
    pub fn of_client(call_id: &[u8], invite: &Request<'_>, tag: Tag, flow: Flow) -> Self {
        Self::begun(call_id, [invite.from.text, invite.to.text], tag, flow)
    }

    /// Our side as the client of a request of our own; `ends` are From and To, without tags.
    pub fn begun(call_id: &[u8], ends: [&[u8]; 2], tag: Tag, flow: Flow) -> Self {
        let [local, remote] = ends;
        let texts = [call_id, local, remote, b"", b"", b""];
        Self::of_texts(texts, tag, flow, Reach::Address)
    }

    /// Our side as the client of a first request of our own that nobody has answered yet.
    ///
    /// `local` and `remote` are names and addresses, without tags. Whatever the peer writes in its
    /// Contact, all requests go the way of the first one.
    pub fn of_opener(call_id: &[u8], local: &[u8], remote: &[u8], tag: Tag, flow: Flow) -> Self {
        let texts = [call_id, local, remote, b"", b"", b""];
        Self::of_texts(texts, tag, flow, Reach::Flow)
    }

    /// Our side as the client of a request that a peer sent and that goes on this way; nobody has
    /// answered it yet.
    ///
    /// R3: it bears the number that the peer gave it, so that one that comes again with credentials
    /// goes on with a higher one.
    pub fn of_forwarded(names: &Names, request: &Request<'_>, way: (Flow, Reach)) -> Self {
        let ends = [request.from.text, request.to.text];
        let mut half = Self::begun(&names.call_id, ends, names.tag, way.0);
        half.reach = way.1;
        // RFC 3261 §8.1.1.5: below 2^31, whatever the peer wrote.
        half.local_cseq = request.cseq.number % CSEQ_END;
        half
    }

    /// Our side of a dialog that only its 2xx tells of; `flow` is how that came.
    pub fn of_orphan(response: &Response<'_>, tag: Tag, flow: &Flow) -> Self {
        let texts = [
            response.call_id,
            response.from.text,
            response.to.text,
            b"",
            b"",
            b"",
        ];
        let mut half = Self::of_texts(texts, tag, *flow, Reach::Address);
        half.local_cseq = response.cseq.number;
        half.answered(response, flow, Reach::Address)
    }

    /// The dialog that this response makes of a client's half; `flow` is where the INVITE went.
    #[must_use]
    pub fn answered(&self, response: &Response<'_>, flow: &Flow, reach: Reach) -> Self {
        let mut routes = Vec::new();
        let values: smallvec::SmallVec<[&[u8]; 4]> =
            response.message.values(Name::RecordRoute).collect();
        for value in values.iter().rev() {
            push_route(&mut routes, value);
        }
        let message = &response.message;
        let mut dialog = self.completed(&response.to, message, &routes, (*flow, reach));
        dialog.remote_cseq = self.remote_cseq;
        dialog
    }

    /// The dialog that this NOTIFY makes of a client's half: it may come before the 2xx of its
    /// SUBSCRIBE, or from a fork whose 2xx never comes (S-129).
    #[must_use]
    pub fn notified(&self, notify: &Request<'_>) -> Self {
        let mut routes = Vec::new();
        // In it we are the server, so that the routes are in our order already.
        for value in notify.message.values(Name::RecordRoute) {
            push_route(&mut routes, value);
        }
        let way = (self.flow, self.reach);
        let mut dialog = self.completed(&notify.from, &notify.message, &routes, way);
        dialog.remote_cseq = Some(notify.cseq.number);
        dialog
    }

    /// The half that it was before anybody answered, for another fork to complete.
    #[must_use]
    pub fn half(&self) -> Self {
        let texts = [self.call_id(), self.local(), self.remote(), b"", b"", b""];
        let mut half = Self::of_texts(texts, self.tag, self.flow, self.reach);
        half.local_cseq = self.local_cseq;
        half
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            texts: [
                self.call_id(),
                self.local(),
                self.remote(),
                self.remote_tag(),
                self.target(),
                self.routes(),
            ],
            tag: self.tag,
            remote_cseq: self.remote_cseq,
            flow: self.flow,
            reach: self.reach,
        }
    }

    /// The dialog of these parts, whose requests go on after this number. A connection that its flow
    /// had is gone: the peer is reached at its address.
    pub(super) fn of_parts(parts: &Parts<'_>, cseq: u32) -> Self {
        let mut dialog = Self::of_texts(parts.texts, parts.tag, parts.flow, parts.reach);
        dialog.local_cseq = cseq;
        dialog.remote_cseq = parts.remote_cseq;
        dialog.flow = dialog.next_hop();
        dialog
    }

    /// S-16: takes the target of a request or response that refreshes it.
    pub fn refresh_target(&mut self, message: &Message<'_>) {
        let Some(target) = contact_uri(message) else {
            return;
        };
        if target == self.target() {
            return;
        }
        let texts = [
            self.call_id(),
            self.local(),
            self.remote(),
            self.remote_tag(),
            target,
            self.routes(),
        ];
        let fresh = Self::of_texts(texts, self.tag, self.flow, self.reach);
        self.texts = fresh.texts;
        self.ends = fresh.ends;
        self.flow = self.next_hop();
    }

    /// From here on requests go to no other address than the one by which `flow` came.
    pub fn keep_to(&mut self, flow: &Flow) {
        if self.reach == Reach::Address {
            self.reach = Reach::Host;
            self.flow = *flow;
            self.flow = self.next_hop();
        }
    }

    /// Counts on from where the numbers of this early dialog are.
    pub fn continue_from(&mut self, early: &Self) {
        self.local_cseq = early.local_cseq;
        self.remote_cseq = early.remote_cseq;
    }

    /// The peer has moved: its requests come by this flow now.
    pub fn move_to(&mut self, flow: &Flow) {
        self.flow = *flow;
        self.flow = self.next_hop();
    }

    /// The number for our next request.
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// The URI of the address that we have in it.
    pub fn local_uri(&self) -> &[u8] {
        let address = NameAddr::parse(self.local()).ok();
        address.map_or(&[], |address| address.uri.text())
    }

    /// The number of our last request; 0 before the first.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Goes on after this number.
    pub fn count_from(&mut self, number: u32) {
        self.local_cseq = number;
    }

    /// A request of ours has gone again under this number.
    pub fn count_past(&mut self, number: u32) {
        self.local_cseq = self.local_cseq.max(number);
    }

    /// From here on requests go over this flow and no other.
    pub fn keep_to_flow(&mut self, flow: &Flow) {
        self.reach = Reach::Flow;
        self.flow = *flow;
    }

    /// Takes the number of a request of the peer's.
    pub fn order(&mut self, number: u32) -> Order {
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Order::OutOfOrder;
        }
        self.remote_cseq = Some(number);
        Order::InOrder
    }

    /// Whether a request or response of the peer's belongs here.
    pub fn is(&self, call_id: &[u8], tag: Tag, remote_tag: &[u8]) -> bool {
        self.tag == tag && self.call_id() == call_id && self.remote_tag() == remote_tag
    }

    /// The number of the peer's last request; 0 before its first.
    pub fn remote_cseq(&self) -> u32 {
        self.remote_cseq.unwrap_or_default()
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &[u8] {
        self.text(Text::CallId)
    }

    /// Takes the tag of the fork that answered.
    pub fn set_tag(&mut self, tag: Tag) {
        self.tag = tag;
    }

    /// Our tag.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The peer's tag; empty while it has not answered, or if it has none.
    pub fn remote_tag(&self) -> &[u8] {
        self.text(Text::RemoteTag)
    }

    /// Whether the peer has said where it is reached; no request can be sent before.
    pub fn has_target(&self) -> bool {
        !self.target().is_empty()
    }

    /// How the peer is reached.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Where the next request goes.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// The Request-URI of the next request: the remote target, or a strict router (S-17).
    pub fn request_uri(&self) -> &[u8] {
        self.strict_router().unwrap_or_else(|| self.target())
    }

    /// Begins the fields of a request: Max-Forwards, From, To, Call-ID, CSeq and Route.
    pub fn write_fields(
        &self,
        writer: &mut Writer<'_>,
        method: Method<'_>,
        number: u32,
        max_forwards: u8,
    ) {
        let mut digits = itoa::Buffer::new();
        writer.header(Name::MaxForwards, digits.format(max_forwards).as_bytes());
        let tag = self.tag.text();
        writer.header_parts(Name::From, &[self.local(), b";tag=", &tag]);
        if self.remote_tag().is_empty() {
            writer.header(Name::To, self.remote());
        } else {
            writer.header_parts(Name::To, &[self.remote(), b";tag=", self.remote_tag()]);
        }
        writer.header(Name::CallId, self.call_id());
        let number = digits.format(number).as_bytes();
        writer.header_parts(Name::CSeq, &[number, b" ", method.as_str().as_bytes()]);
        self.write_routes(writer);
    }

    fn write_routes(&self, writer: &mut Writer<'_>) {
        let routes = self.routes();
        if routes.is_empty() {
            return;
        }
        if self.strict_router().is_none() {
            writer.header(Name::Route, routes);
            return;
        }
        // S-17: the strict router is in the Request-URI, and the target comes last.
        let first = first_route(routes).unwrap_or_default();
        let others = routes.get(first.len()..).unwrap_or_default();
        let others = others.strip_prefix(b",").unwrap_or(others);
        let comma: &[u8] = if others.is_empty() { b"" } else { b"," };
        writer.header_parts(Name::Route, &[others, comma, b"<", self.target(), b">"]);
    }

    /// The dialog of a half whose peer has shown itself in this message.
    fn completed(
        &self,
        peer: &NameAddr<'_>,
        message: &Message<'_>,
        routes: &[u8],
        way: (Flow, Reach),
    ) -> Self {
        let texts = [
            self.call_id(),
            self.local(),
            peer.text,
            peer.tag().unwrap_or_default(),
            contact_uri(message).unwrap_or_default(),
            routes,
        ];
        let (flow, reach) = way;
        let mut dialog = Self::of_texts(texts, self.tag, flow, reach);
        dialog.local_cseq = self.local_cseq;
        dialog.flow = dialog.next_hop();
        dialog
    }

    fn of_texts(texts: [&[u8]; 6], tag: Tag, flow: Flow, reach: Reach) -> Self {
        let mut end = 0_usize;
        let ends = texts.map(|text| {
            end += text.len();
            // All of it came in one message of at most 65 535 bytes, the tag and quotes included.
            u16::try_from(end).expect("the texts of a dialog come from one message")
        });
        Self {
            texts: texts.concat().into_boxed_slice(),
            ends,
            tag,
            local_cseq: 0,
            remote_cseq: None,
            flow,
            reach,
        }
    }

    fn text(&self, which: Text) -> &[u8] {
        let index = which as usize;
        let end = self.ends.get(index).copied().unwrap_or_default();
        let start = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before).copied())
            .unwrap_or_default();
        self.texts
            .get(usize::from(start)..usize::from(end))
            .unwrap_or_default()
    }

    fn local(&self) -> &[u8] {
        self.text(Text::Local)
    }

    fn remote(&self) -> &[u8] {
        self.text(Text::Remote)
    }

    fn target(&self) -> &[u8] {
        self.text(Text::Target)
    }

    fn routes(&self) -> &[u8] {
        self.text(Text::Routes)
    }

    /// The URI of the first route, if it is one without `lr`.
    fn strict_router(&self) -> Option<&[u8]> {
        let route = NameAddr::parse(first_route(self.routes())?).ok()?;
        let uri = route.uri.as_sip()?;
        (!uri.params.has("lr")).then(|| route.uri.text())
    }

    /// The way to the first route or the target; as before, if that names no address.
    fn next_hop(&self) -> Flow {
        if self.reach == Reach::Flow {
            return self.flow;
        }
        let route = first_route(self.routes()).and_then(|route| NameAddr::parse(route).ok());
        let target = Uri::parse(self.target()).ok();
        let uri = route.map(|route| route.uri).or(target);
        let hop = uri
            .and_then(|uri| uri.as_sip())
            .and_then(|uri| flow_to(&uri, &self.flow))
            .unwrap_or(self.flow);
        if self.reach == Reach::Host && hop.remote.ip() != self.flow.remote.ip() {
            return self.flow;
        }
        hop
    }
}

/// The way to the address in a URI; `None` if it has a name, which only DNS could tell, or if our
/// end of the flow cannot reach it.
pub fn flow_to(uri: &SipUri<'_>, from: &Flow) -> Option<Flow> {
    let address = match uri.host {
        Host::V4(address) => IpAddr::V4(address),
        Host::V6(address) => IpAddr::V6(address),
        Host::Name(_) => return None,
    };
    let transport = match uri.params.value("transport") {
        Some(name) if name.eq_ignore_ascii_case(b"tcp") => Transport::Tcp,
        Some(name) if name.eq_ignore_ascii_case(b"udp") => Transport::Udp,
        _ => from.transport,
    };
    // What came by TLS stays with it, and what did not has no certificate to begin it with.
    let transport = match from.transport {
        Transport::Tls => Transport::Tls,
        Transport::Tcp | Transport::Udp if uri.is_by_tls() => return None,
        Transport::Tcp | Transport::Udp => transport,
    };
    if address.is_ipv4() != from.remote.is_ipv4() {
        return None;
    }
    // A peer on a connection is reached over it, whatever port its Contact names.
    if transport.is_reliable() && from.connection.is_some() && from.transport == transport {
        return Some(*from);
    }
    let remote = SocketAddr::new(address, uri.port.unwrap_or_else(|| transport.port()));
    Some(Flow {
        transport,
        remote,
        connection: None,
        ..*from
    })
}

/// Whether a request came from elsewhere than its Via says.
pub fn is_behind_nat(request: &Request<'_>, flow: &Flow) -> bool {
    let via = &request.via;
    let same_host = match via.host {
        Host::V4(address) => flow.remote.ip() == IpAddr::V4(address),
        Host::V6(address) => flow.remote.ip() == IpAddr::V6(address),
        // A name says nothing about the address.
        Host::Name(_) => return true,
    };
    let same_port = via.port.unwrap_or_else(|| flow.transport.port()) == flow.remote.port();
    !(same_host && (same_port || flow.transport.is_reliable()))
}

fn contact_uri<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    let contact = message.values(Name::Contact).next()?;
    let contact = NameAddr::parse(contact).ok()?;
    Some(contact.uri.text())
}

fn push_route(routes: &mut Vec<u8>, value: &[u8]) {
    if !routes.is_empty() {
        routes.push(b',');
    }
    routes.extend_from_slice(value);
}

/// The first of several routes; commas inside `<>` and quotes do not part them.
fn first_route(routes: &[u8]) -> Option<&[u8]> {
    Commas::of(routes).next().filter(|route| !route.is_empty())
}
