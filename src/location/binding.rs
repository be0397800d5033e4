//! One Contact of an AOR, and the way there.
//!
//! Spec: RFC 3261 §10.3 step 7, §19.1.4; RFC 5626 §6 (instances); RFC 3263 §4 (where no name is to be
//! resolved).

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::location::wanted::WantedBinding;
use crate::sip::ConnectionId;
use crate::sip::Flow;
use crate::sip::Host;
use crate::sip::Name;
use crate::sip::Params;
use crate::sip::Request;
use crate::sip::SipUri;
use crate::sip::Transport;
use crate::sip::Uri;
use crate::sip::Via;
use crate::sip::Writer;
use crate::time::Timestamp;

/// What q is where none is written: as good as any.
const Q_DEFAULT: u16 = 1_000;

/// Where an AOR can be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target<'t> {
    /// The Request-URI: the Contact as registered, without header fields.
    pub uri: &'t [u8],
    /// The way of the request.
    pub flow: Flow,
    /// Whether only this way leads there, as behind a NAT: what the phone says of its own address is
    /// of no use.
    pub is_nat: bool,
    /// The phone's preference, 0 to 1000.
    pub q: u16,
}

/// Names a binding of an AOR for as long as it lives, refreshes included.
///
/// It is a hash of what the phone is known by, so that a phone that registers again after a restart
/// of ours has the same one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BindingId(pub u64);

/// The request that a binding is made by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'m> {
    flow: Flow,
    call_id: &'m [u8],
    cseq: u32,
    leads: Leads<'m>,
}

/// Where calls to a binding may go.
#[derive(Clone, Copy, Debug)]
enum Leads<'m> {
    /// To the address of the Contact, if the phone can be there; this is what it says of its own.
    Anywhere(Via<'m>),
    /// Back over the flow of the REGISTER, and nowhere else (R22).
    Back,
    /// Nowhere: that flow was a connection of the process before this one.
    Nowhere,
}

impl<'m> Origin<'m> {
    pub(super) fn new(request: &Request<'m>, flow: &Flow) -> Self {
        Self {
            flow: *flow,
            call_id: request.call_id,
            cseq: request.cseq.number,
            leads: Leads::Anywhere(request.via),
        }
    }

    /// Of a REGISTER that was relayed before a restart.
    pub(super) fn restored(flow: Flow, call_id: &'m [u8], cseq: u32) -> Self {
        // No connection has this number: `io` counts from 0.
        let lost = flow
            .transport
            .is_reliable()
            .then_some(ConnectionId(u32::MAX));
        Self {
            flow: Flow {
                connection: lost,
                ..flow
            },
            call_id,
            cseq,
            leads: if lost.is_some() {
                Leads::Nowhere
            } else {
                Leads::Back
            },
        }
    }

    /// Of a REGISTER that was relayed: the phone is known by its flow alone.
    pub(super) fn relayed(request: &Request<'m>, flow: &Flow) -> Self {
        Self {
            leads: Leads::Back,
            ..Self::new(request, flow)
        }
    }

    /// Whether this request came after the one that made the binding, as far as one can tell.
    pub(super) fn is_after(&self, binding: &Binding) -> bool {
        if !matches!(self.leads, Leads::Anywhere(_)) {
            // The PBX has decided that already.
            return true;
        }
        self.call_id != binding.call_id() || self.cseq > binding.cseq
    }

    /// Whether the sender is somewhere else than he believes; over a connection his port says
    /// nothing, as he does not listen there.
    fn is_nat(&self) -> bool {
        let Leads::Anywhere(via) = &self.leads else {
            return true;
        };
        let source = self.flow.remote;
        let is_host = via.host.address() == Some(source.ip());
        let is_port = via.port.unwrap_or_else(|| self.flow.transport.port()) == source.port();
        !is_host || (self.flow.transport == Transport::Udp && !is_port)
    }

    /// Whether the Contact is somebody else than the sender, by his own account and by ours.
    fn is_for_another(&self, contact: IpAddr) -> bool {
        let Leads::Anywhere(via) = &self.leads else {
            return false;
        };
        let sender = [via.host.address(), Some(self.flow.remote.ip())];
        !sender.contains(&Some(contact))
    }
}

/// A binding.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    id: BindingId,
    /// URI, its header fields, the Contact's parameters, and the Call-ID, one after the other.
    text: Box<[u8]>,
    target_end: u16,
    uri_end: u16,
    params_end: u16,
    q: u16,
    cseq: u32,
    is_nat: bool,
    flow: Flow,
    way: Way,
    /// When the phone registered first.
    since: Timestamp,
    /// When it did last.
    refreshed: Timestamp,
    ends: Timestamp,
}

/// What a binding takes over from the one that it replaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced {
    id: BindingId,
    since: Timestamp,
}

/// How to get there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// Where the REGISTER came from.
    Source,
    /// The address that the Contact names.
    Address(Address),
    /// The connection that the REGISTER came over; then the address, if it can be one.
    Connection { afterwards: Option<Address> },
    /// None: the connection has ended, and there is nobody to be called from here.
    Nowhere,
}

/// A transport and an address.
type Address = (Transport, SocketAddr);

impl Binding {
    /// The binding, which takes over the name of the one that it replaces; `None` if it is longer than
    /// `bytes_max`.
    pub(super) fn new(
        now: Timestamp,
        wanted: &WantedBinding<'_>,
        origin: &Origin<'_>,
        replaced: Option<Replaced>,
        bytes_max: usize,
    ) -> Option<Self> {
        let mut text = wanted.uri.text().to_vec();
        let headers = wanted.uri.headers.map_or(0, |headers| headers.len() + 1);
        let uri_end = text.len();
        append_params(&mut text, wanted.contact.params);
        let params_end = text.len();
        text.extend_from_slice(origin.call_id);
        let place = |at: usize| u16::try_from(at).ok();
        (text.len() <= bytes_max).then_some(())?;
        Some(Self {
            id: replaced.map_or_else(|| BindingId::of(wanted), |replaced| replaced.id),
            text: text.into_boxed_slice(),
            target_end: place(uri_end - headers)?,
            uri_end: place(uri_end)?,
            params_end: place(params_end)?,
            q: wanted.contact.q_thousandths().unwrap_or(Q_DEFAULT),
            cseq: origin.cseq,
            is_nat: origin.is_nat(),
            flow: origin.flow,
            way: Way::of(&wanted.uri, origin),
            since: replaced.map_or(now, |replaced| replaced.since),
            refreshed: now,
            ends: now + Duration::from_secs(wanted.expires_s.into()),
        })
    }

    /// The connection that this binding was made over has ended.
    pub(super) fn handle_disconnected(&mut self) {
        if let Way::Connection { afterwards } = self.way {
            self.way = afterwards.map_or(Way::Nowhere, Way::Address);
        }
    }

    /// Whether the Contact is this one again: an equal URI, or the same phone with another.
    pub(super) fn is_of(&self, wanted: &WantedBinding<'_>) -> bool {
        // S-34
        let is_uri = Uri::parse(self.uri()).is_ok_and(|uri| uri.is_equivalent(&wanted.contact.uri));
        is_uri || is_same_instance(self.parsed_params(), wanted.contact.params)
    }

    /// Where a call goes; `None` while there is no way.
    pub(super) fn target(&self) -> Option<Target<'_>> {
        let to = |(transport, remote)| Flow {
            transport,
            listener: self.flow.listener,
            remote,
            connection: None,
        };
        let flow = match self.way {
            Way::Source | Way::Connection { .. } => self.flow,
            Way::Address(address) => to(address),
            Way::Nowhere => return None,
        };
        Some(Target {
            uri: self.between(0, self.target_end),
            flow,
            is_nat: self.is_nat,
            q: self.q,
        })
    }

    pub(super) fn id(&self) -> BindingId {
        self.id
    }

    pub(super) fn replaced(&self) -> Replaced {
        Replaced {
            id: self.id,
            since: self.since,
        }
    }

    /// Whether it may be the same phone after a restart, on another port: it came from the same
    /// host, and after the other had been heard of for the last time.
    pub(super) fn may_succeed(&self, other: &Self) -> bool {
        self.since > other.refreshed && self.flow.remote.ip() == other.flow.remote.ip()
    }

    /// The URI of the Contact, its header fields included.
    pub(super) fn uri(&self) -> &[u8] {
        self.between(0, self.uri_end)
    }

    /// The Contact's parameters but for `expires`, from the first semicolon on.
    pub(super) fn params(&self) -> &[u8] {
        self.between(self.uri_end, self.params_end)
    }

    /// The preference, 0 to 1000.
    pub(super) fn q(&self) -> u16 {
        self.q
    }

    /// When it ends, if it is not refreshed.
    pub(super) fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Writes the Contact with the time that it has left.
    pub(super) fn write(&self, now: Timestamp, writer: &mut Writer<'_>) {
        let left_s = self.ends.since(now).as_secs().max(1).to_string();
        let expires = [b";expires=", left_s.as_bytes()].concat();
        let parts: [&[u8]; 5] = [b"<", self.uri(), b">", self.params(), &expires];
        writer.header_parts(Name::Contact, &parts);
    }

    /// The way that the REGISTER came.
    pub(super) fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The connection that calls go over.
    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self.way {
            Way::Connection { .. } => self.flow.connection,
            Way::Source | Way::Address(_) | Way::Nowhere => None,
        }
    }

    /// How much text it keeps.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether this is the same Contact, registered in the same way as before.
    pub(super) fn is_refreshed_by(&self, wanted: &WantedBinding<'_>, origin: &Origin<'_>) -> bool {
        let is_way = self.flow == origin.flow && self.call_id() == origin.call_id;
        let q = wanted.contact.q_thousandths().unwrap_or(Q_DEFAULT);
        is_way && self.uri() == wanted.uri.text() && self.q == q
    }

    /// The Call-ID and CSeq number of the REGISTER.
    pub(super) fn origin(&self) -> (&[u8], u32) {
        (self.call_id(), self.cseq)
    }

    fn call_id(&self) -> &[u8] {
        self.text.get(self.params_end.into()..).unwrap_or_default()
    }

    fn parsed_params(&self) -> Params<'_> {
        Params::parse(self.params()).unwrap_or(Params::NONE)
    }

    fn between(&self, from: u16, to: u16) -> &[u8] {
        self.text.get(from.into()..to.into()).unwrap_or_default()
    }
}

impl BindingId {
    /// What R12 has an alias made of: the instance and its flow, else the URI.
    fn of(wanted: &WantedBinding<'_>) -> Self {
        let params = wanted.contact.params;
        let mut hasher = SipHasher13::new();
        match params.value("+sip.instance") {
            Some(instance) => {
                hasher.write(instance);
                hasher.write(params.value("reg-id").unwrap_or_default());
            }
            None => hasher.write(wanted.uri.text()),
        }
        Self(hasher.finish())
    }
}

impl Way {
    fn of(uri: &SipUri<'_>, origin: &Origin<'_>) -> Self {
        if matches!(origin.leads, Leads::Nowhere) {
            return Self::Nowhere;
        }
        let address = address_of(uri, origin);
        let is_nat = origin.is_nat();
        match (origin.flow.connection, address) {
            (Some(_), Some(address)) if origin.is_for_another(address.1.ip()) && !is_nat => {
                Self::Address(address)
            }
            (Some(_), address) => Self::Connection {
                afterwards: address.filter(|_| !is_nat),
            },
            (None, Some(address)) if !is_nat => Self::Address(address),
            (None, _) => Self::Source,
        }
    }
}

/// The address in the Contact; `None` if it is a name, or none that the listener can send to.
///
/// A phone has no certificate that we could check: over TLS it is called on its own connection.
fn address_of(uri: &SipUri<'_>, origin: &Origin<'_>) -> Option<Address> {
    let transport = transport_of(uri).filter(|_| origin.flow.transport != Transport::Tls)?;
    let ip = match uri.host {
        Host::Name(_) => return None,
        Host::V4(ip) => IpAddr::V4(ip),
        Host::V6(ip) => IpAddr::V6(ip),
    };
    let is_host = !ip.is_unspecified() && !ip.is_multicast();
    let fits = ip.is_ipv4() == origin.flow.remote.is_ipv4();
    let remote = SocketAddr::new(ip, uri.port.unwrap_or_else(|| transport.port()));
    (is_host && fits).then_some((transport, remote))
}

/// The transport in the Contact; `None` if we do not have it, or do not open connections by it.
fn transport_of(uri: &SipUri<'_>) -> Option<Transport> {
    let named = uri.params.value("transport");
    let is = |name: &str| named.is_some_and(|named| named.eq_ignore_ascii_case(name.as_bytes()));
    if uri.is_by_tls() {
        None
    } else if named.is_none() || is("udp") {
        Some(Transport::Udp)
    } else {
        is("tcp").then_some(Transport::Tcp)
    }
}

/// Whether both are of one phone; and of one of its flows, where both say which.
fn is_same_instance(a: Params<'_>, b: Params<'_>) -> bool {
    let values = |name| a.value(name).zip(b.value(name));
    // S-87: without the outbound extension, what counts is that a phone has not two bindings.
    let is_phone = values("+sip.instance").is_some_and(|(a, b)| a.eq_ignore_ascii_case(b));
    is_phone && values("reg-id").is_none_or(|(a, b)| a == b)
}

/// The parameters without `expires`, which each answer counts anew.
fn append_params(text: &mut Vec<u8>, params: Params<'_>) {
    for (name, value) in params
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case(b"expires"))
    {
        text.push(b';');
        text.extend_from_slice(name);
        if let Some(value) = value {
            text.push(b'=');
            text.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::location::Policy;
    use crate::location::rig::Phone;
    use crate::location::rig::Rig;
    use crate::location::rig::tcp;
    use crate::location::rig::to;
    use crate::location::rig::udp;
    use crate::sip::Flow;
    use crate::sip::Status;
    use crate::sip::Transport;

    const ALICE: &str = "sip:alice@127.0.0.1";

    /// Where Alice is called, and whether a NAT is on the way, after this Contact from this phone.
    fn way(sent_by: &'static str, flow: Flow, contact: &str) -> (Flow, bool) {
        let rig = registered(sent_by, flow, contact);
        let targets = rig.targets(1, ALICE);
        (targets[0].flow, targets[0].is_nat)
    }

    fn registered(sent_by: &'static str, flow: Flow, contact: &str) -> Rig {
        let mut rig = Rig::new(Policy::default());
        let mut phone = Phone {
            sent_by,
            flow,
            ..Phone::alice()
        };
        let (status, _) = rig.register(0, &mut phone, &[&format!("Contact: <{contact}>")]);
        assert_eq!(status, Status::OK);
        rig
    }

    #[test]
    fn a_phone_without_nat_is_called_at_the_address_of_its_contact() {
        let from = udp("192.0.2.1:5062");
        let called = way("192.0.2.1:5062", from, "sip:alice@192.0.2.1:5070");
        assert_eq!(called, (udp("192.0.2.1:5070"), false));
        let called = way("192.0.2.1:5062", from, "sip:alice@192.0.2.1");
        assert_eq!(called, (udp("192.0.2.1:5060"), false));
    }

    #[test]
    fn somebody_else_may_register_a_phone() {
        let called = way(
            "192.0.2.9",
            udp("192.0.2.9:5060"),
            "sip:alice@192.0.2.1:5066",
        );
        assert_eq!(called, (udp("192.0.2.1:5066"), false));
        let called = way(
            "192.0.2.9",
            tcp("192.0.2.9:5060", 3),
            "sip:alice@192.0.2.1:5066",
        );
        assert_eq!(called, (udp("192.0.2.1:5066"), false));
    }

    #[test]
    fn a_phone_behind_a_nat_is_called_where_its_request_came_from() {
        let from = udp("203.0.113.5:40000");
        for sent_by in ["10.0.0.7:5060", "203.0.113.5:5060", "phone.local:40000"] {
            assert_eq!(way(sent_by, from, "sip:alice@10.0.0.7:5060"), (from, true));
        }
    }

    #[test]
    fn a_contact_with_a_name_is_called_where_its_request_came_from() {
        let from = udp("192.0.2.1:5060");
        assert_eq!(
            way("192.0.2.1", from, "sip:alice@phone.local"),
            (from, false)
        );
    }

    #[test]
    fn a_contact_of_another_kind_of_address_is_called_where_its_request_came_from() {
        let from = udp("192.0.2.1:5060");
        for host in ["[2001:db8::1]", "0.0.0.0", "224.0.1.75"] {
            assert_eq!(
                way("192.0.2.1", from, &format!("sip:alice@{host}")),
                (from, false)
            );
        }
        let from = udp("[2001:db8::1]:5060");
        let called = way("[2001:db8::1]", from, "sip:alice@[2001:db8::2]:5070");
        assert_eq!(called, (udp("[2001:db8::2]:5070"), false));
    }

    #[test]
    fn the_contact_says_by_which_transport_its_address_is_called() {
        let from = udp("192.0.2.1:5060");
        let called = |uri: &str| way("192.0.2.1", from, uri).0;
        let expected = to(Transport::Tcp, "192.0.2.1:5060");
        assert_eq!(called("sip:alice@192.0.2.1;transport=TCP"), expected); // S-100
        assert_eq!(called("sip:alice@192.0.2.1;transport=ws"), from);
        assert_eq!(called("sips:alice@192.0.2.1"), from);
        assert_eq!(called("sip:alice@192.0.2.1;transport=TLS"), from);
    }

    #[test]
    fn a_phone_on_tls_is_called_on_its_connection_and_nowhere_else() {
        let from = Flow {
            transport: Transport::Tls,
            ..tcp("192.0.2.1:40000", 3)
        };
        for contact in [
            "sip:alice@192.0.2.1:5061;transport=tls",
            "sips:alice@192.0.2.1",
            "sip:alice@192.0.2.7:5060;transport=udp",
        ] {
            let mut rig = registered("192.0.2.1:5061", from, contact);
            assert_eq!(rig.targets(1, ALICE)[0].flow, from);
            rig.registrar.handle_disconnected(&from);
            assert!(rig.targets(1, ALICE).is_empty(), "{contact}");
        }
    }

    #[test]
    fn a_phone_on_a_connection_is_called_over_it() {
        let from = tcp("192.0.2.1:40000", 3);
        let own = "sip:alice@192.0.2.1:5060;transport=tcp";
        assert_eq!(way("192.0.2.1:5060", from, own), (from, false));
        let private = "sip:alice@10.0.0.7:5060;transport=tcp";
        assert_eq!(way("10.0.0.7:5060", from, private), (from, true));
        assert_eq!(way("10.8.0.1:5060", from, private), (from, true));
        assert_eq!(
            way("192.0.2.1", from, "sip:alice@x.invalid;transport=ws"),
            (from, false)
        );
    }

    #[test]
    fn after_its_connection_a_phone_is_called_at_its_address_if_it_has_one() {
        let from = tcp("192.0.2.1:40000", 3);
        let mut rig = registered("192.0.2.1:5060", from, "sip:alice@192.0.2.1;transport=tcp");
        rig.registrar
            .handle_disconnected(&tcp("192.0.2.1:40000", 4));
        assert_eq!(rig.targets(1, ALICE)[0].flow, from);
        rig.registrar.handle_disconnected(&from);
        let expected = to(Transport::Tcp, "192.0.2.1:5060");
        assert_eq!(rig.targets(1, ALICE)[0].flow, expected);
    }

    #[test]
    fn after_its_connection_a_phone_behind_a_nat_is_called_when_it_registers_again() {
        let from = tcp("203.0.113.5:40000", 3);
        let contact = "sip:alice@10.0.0.7;transport=tcp";
        let mut rig = registered("10.0.0.7", from, contact);
        rig.registrar.handle_disconnected(&from);
        assert!(rig.targets(1, ALICE).is_empty());

        let again = tcp("203.0.113.5:40001", 4);
        let mut phone = Phone {
            sent_by: "10.0.0.7",
            flow: again,
            cseq: 2,
            ..Phone::alice()
        };
        rig.register(2, &mut phone, &[&format!("Contact: <{contact}>")]);
        assert_eq!(rig.targets(2, ALICE)[0].flow, again);
    }

    #[test]
    fn a_connection_that_ends_is_no_loss_to_another() {
        let mut rig = Rig::new(Policy::default());
        let flows = [3, 4].map(|connection| tcp("203.0.113.5:40000", connection));
        for (flow, to) in flows
            .into_iter()
            .zip(["<sip:alice@127.0.0.1>", "<sip:bob@127.0.0.1>"])
        {
            let mut phone = Phone {
                to,
                sent_by: "10.0.0.7",
                flow,
                ..Phone::alice()
            };
            rig.register(0, &mut phone, &["Contact: <sip:x@10.0.0.7>"]);
        }
        rig.registrar.handle_disconnected(&flows[0]);
        rig.registrar.handle_disconnected(&flows[1]);
        assert!(rig.targets(1, "sip:bob@127.0.0.1").is_empty());
    }

    #[test]
    fn each_user_of_a_connection_loses_it() {
        let from = tcp("203.0.113.5:40000", 3);
        let mut rig = Rig::new(Policy::default());
        for to in ["<sip:alice@127.0.0.1>", "<sip:bob@127.0.0.1>"] {
            let mut phone = Phone {
                to,
                sent_by: "10.0.0.7",
                flow: from,
                ..Phone::alice()
            };
            rig.register(0, &mut phone, &["Contact: <sip:x@10.0.0.7>"]);
        }
        rig.registrar.handle_disconnected(&from);
        assert!(rig.targets(1, ALICE).is_empty());
        assert!(rig.targets(1, "sip:bob@127.0.0.1").is_empty());
    }
}
