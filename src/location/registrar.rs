//! The registrar: REGISTER requests in, bindings kept, targets out.
//!
//! Spec: RFC 3261 §10.3 from step 5 on; RFC 3665 §2.
//!
//! Invariants:
//! - a request changes all that it asks for, or nothing;
//! - every AOR is filed under the time when its first binding ends, or when its last one has ended;
//! - a binding that has ended is neither listed nor called, even before it is removed.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::IpAddr;

use crate::location::Aor;
use crate::location::Domains;
use crate::location::Policy;
use crate::location::Target;
use crate::location::binding::Binding;
use crate::location::binding::BindingId;
use crate::location::binding::Origin;
use crate::location::binding::Replaced;
use crate::location::reject::Reject;
use crate::location::wanted::Wanted;
use crate::location::wanted::WantedBinding;
use crate::sip::ConnectionId;
use crate::sip::Flow;
use crate::sip::Name;
use crate::sip::Request;
use crate::sip::Status;
use crate::sip::Transport;
use crate::sip::Writer;
use crate::table::Key;
use crate::table::Table;
use crate::time::Timestamp;

/// Room for fewer AORs than this is kept.
const ROOM_KEPT: usize = 1_024;

/// Who is registered where.
#[derive(Debug)]
pub struct Registrar {
    policy: Policy,
    records: Table<Record>,
    by_aor: HashMap<Aor, Key>,
    /// The records by the user part of their AOR.
    by_user: BTreeSet<(Box<str>, Key)>,
    /// The records with bindings, by the end of the first.
    ends: BTreeSet<(Timestamp, Key)>,
    /// The records without bindings, by the time when that came about.
    gone: BTreeSet<(Timestamp, Key)>,
    /// The records with a binding over a connection.
    connected: BTreeSet<(ConnectionId, Key)>,
    bindings: usize,
    /// The AORs that have come or gone since that was last asked.
    changed: BTreeSet<Aor>,
}

/// One AOR.
#[derive(Debug)]
struct Record {
    aor: Aor,
    /// In the order in which they are called.
    bindings: Box<[Binding]>,
    /// When the first of the bindings was made that have been there without a gap.
    since: Timestamp,
    filed: Timestamp,
}

impl Registrar {
    /// A registrar without bindings.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            records: Table::new(Self::records_max(policy)),
            by_aor: HashMap::new(),
            by_user: BTreeSet::new(),
            ends: BTreeSet::new(),
            gone: BTreeSet::new(),
            connected: BTreeSet::new(),
            bindings: 0,
            changed: BTreeSet::new(),
        }
    }

    /// What is granted from here on; bindings keep what they were granted.
    pub fn set_policy(&mut self, policy: Policy) {
        self.records.set_max(Self::records_max(policy));
        self.policy = policy;
    }

    /// Removes the bindings of all but these AORs, and gives those.
    pub fn remove_unless(&mut self, now: Timestamp, is_kept: impl Fn(&Aor) -> bool) -> Vec<Aor> {
        let others = self.records.iter();
        let others = others.filter(|(_, record)| !is_kept(&record.aor));
        let gone: Vec<_> = others
            .map(|(key, record)| (key, record.aor.clone(), record.bindings.is_empty()))
            .collect();
        for (key, _, is_empty) in &gone {
            if !is_empty {
                self.set(now, *key, Vec::new());
            }
        }
        self.forget_surplus();
        gone.into_iter().map(|(_, aor, _)| aor).collect()
    }

    /// Carries a REGISTER out, or refuses it.
    ///
    /// What comes back is the answer's status; its header fields and the empty line after them are
    /// appended to `out`. Extensions that the request requires are the caller's to refuse.
    pub fn handle_register(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        domains: &Domains,
        out: &mut Vec<u8>,
    ) -> Status {
        let mut writer = Writer::fragment(out);
        let status = match self.register(now, request, flow, domains) {
            Ok(aor) => {
                self.list(now, &aor, &mut writer);
                self.policy.write_flow_timer(&request.message, &mut writer);
                Status::OK
            }
            Err(reject) => {
                tracing::debug!(from = %flow, %reject, "REGISTER refused");
                if reject == Reject::IntervalTooBrief {
                    let min_s = self.policy.expires_min_s;
                    writer.header_fmt(Name::MinExpires, format_args!("{min_s}"));
                }
                reject.status()
            }
        };
        match writer.finish(b"") {
            Ok(_) => status,
            Err(refused) => {
                tracing::warn!(from = %flow, %refused, "answer to REGISTER not written");
                out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
                Status::SERVER_INTERNAL_ERROR
            }
        }
    }

    /// Takes over what another registrar has granted for this REGISTER; where calls go then is back
    /// over its flow.
    pub(super) fn adopt(
        &mut self,
        now: Timestamp,
        aor: &Aor,
        granted: &Wanted<'_>,
        origin: &Origin<'_>,
    ) -> Result<(), Reject> {
        let before = self.current(now, aor).cloned().collect();
        let after = updated(now, before, granted, origin, self.policy)?;
        self.store(now, aor, after)
    }

    /// The binding that this Contact would replace.
    pub(super) fn binding_of(&self, aor: &Aor, wanted: &WantedBinding<'_>) -> Option<&Binding> {
        let mut bindings = self.record(aor)?.bindings.iter();
        bindings.find(|binding| binding.is_of(wanted))
    }

    /// The binding of this id, if it has not ended.
    pub(super) fn binding(&self, now: Timestamp, aor: &Aor, id: BindingId) -> Option<&Binding> {
        let mut bindings = self.current(now, aor);
        bindings.find(|binding| binding.id() == id)
    }

    /// Bindings over this connection are reached by it no more.
    pub fn handle_disconnected(&mut self, flow: &Flow) {
        let Some(connection) = flow.connection else {
            return;
        };
        let first = (connection, Key::from_bits(0));
        while let Some(&on_it @ (found, key)) = self.connected.range(first..).next()
            && found == connection
        {
            self.connected.remove(&on_it);
            let record = self.records.get_mut(key);
            let bindings = record.map_or(&mut [][..], |record| &mut record.bindings);
            let lost = |binding: &&mut Binding| binding.connection() == Some(connection);
            bindings
                .iter_mut()
                .filter(lost)
                .for_each(Binding::handle_disconnected);
        }
    }

    /// Removes the bindings that have ended.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(&(ends, key)) = self.ends.first()
            && ends <= now
        {
            let record = self.records.get(key);
            let left = record.map(|record| record.current(now).cloned().collect());
            self.set(now, key, left.unwrap_or_default());
        }
        self.forget_surplus();
    }

    /// Whether [`Self::poll_change`] has anything to say.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// An AOR that has become registered or has ceased to be, each one once however often that
    /// happened; [`Self::registered_since`] has the outcome.
    pub fn poll_change(&mut self) -> Option<Aor> {
        self.changed.pop_first()
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.ends.first().map(|(ends, _)| *ends)
    }

    /// Where to call an AOR: by preference, then the one that registered last.
    pub fn targets(&self, now: Timestamp, aor: &Aor) -> impl Iterator<Item = Target<'_>> {
        self.current(now, aor).filter_map(Binding::target)
    }

    /// Where to call this one binding.
    pub fn target_of(&self, now: Timestamp, aor: &Aor, id: BindingId) -> Option<Target<'_>> {
        self.binding(now, aor, id)?.target()
    }

    /// Where to call this one binding, and those that may be its phone after a restart: it does not
    /// take back what it has forgotten.
    pub fn targets_of(
        &self,
        now: Timestamp,
        aor: &Aor,
        id: BindingId,
    ) -> impl Iterator<Item = Target<'_>> {
        let wanted = self.current(now, aor).find(|binding| binding.id() == id);
        let all = wanted.into_iter().flat_map(move |wanted| {
            let successors = self.current(now, aor);
            std::iter::once(wanted).chain(successors.filter(|other| other.may_succeed(wanted)))
        });
        all.filter_map(Binding::target)
    }

    /// The binding of the AOR that was made over this very flow.
    pub fn binding_at(&self, aor: &Aor, flow: &Flow) -> Option<BindingId> {
        Some(self.record(aor)?.binding_at(flow)?.id())
    }

    /// The flow over UDP of a phone of the AOR's that has this address.
    pub fn datagrams_from(&self, aor: &Aor, address: IpAddr) -> Option<Flow> {
        let bindings = self.record(aor)?.bindings.iter();
        let mut flows = bindings.map(|binding| *binding.flow());
        flows.find(|it| it.transport == Transport::Udp && it.remote.ip() == address)
    }

    /// Since when the AOR has had bindings without a gap; `None` if it has none.
    pub fn registered_since(&self, aor: &Aor) -> Option<Timestamp> {
        let record = self.record(aor)?;
        (!record.bindings.is_empty()).then_some(record.since)
    }

    /// The AOR as it is written here, and [`Self::registered_since`]: who keeps it shares its text.
    pub fn known(&self, aor: &Aor) -> Option<(&Aor, Option<Timestamp>)> {
        let record = self.record(aor)?;
        let since = (!record.bindings.is_empty()).then_some(record.since);
        Some((&record.aor, since))
    }

    /// Whether the AOR has been registered since the start, as far as we remember.
    pub fn is_known(&self, aor: &Aor) -> bool {
        self.by_aor.contains_key(aor)
    }

    /// The AOR as it is written here, if a binding of it was made over this very flow.
    pub fn registered_at(&self, aor: &Aor, flow: &Flow) -> Option<&Aor> {
        let record = self.record(aor)?;
        record.binding_at(flow).map(|_| &record.aor)
    }

    /// Whether a binding of the AOR was made over this very flow.
    pub fn is_registered_at(&self, aor: &Aor, flow: &Flow) -> bool {
        self.registered_at(aor, flow).is_some()
    }

    /// The AOR that is known under this name: itself, or the only one with the same user part,
    /// whatever host it was dialled at.
    pub fn owner_of(&self, dialled: &Aor) -> Option<Aor> {
        if self.is_known(dialled) {
            return Some(dialled.clone());
        }
        let user = dialled.user();
        let first = (Box::from(user), Key::from_bits(0));
        let owners = self.by_user.range(first..);
        let mut owners = owners.take_while(|(other, _)| **other == *user);
        let (_, only) = owners.next()?;
        let record = self.records.get(*only).filter(|_| owners.next().is_none());
        record.map(|record| record.aor.clone())
    }

    /// Those that have been registered since the start, as far as we remember.
    pub fn aors(&self) -> impl Iterator<Item = &Aor> {
        let known = self.by_user.iter();
        known.filter_map(|(_, key)| Some(&self.records.get(*key)?.aor))
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.bindings
    }

    /// Whether there are no bindings.
    pub fn is_empty(&self) -> bool {
        self.bindings == 0
    }

    fn records_max(policy: Policy) -> usize {
        let records_max = policy.aors_max.saturating_add(policy.gone_max);
        records_max.saturating_add(1)
    }

    fn register(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        domains: &Domains,
    ) -> Result<Aor, Reject> {
        request.to.uri.as_sip().ok_or(Reject::AddressForeign)?;
        let aor = domains.aor(&request.to.uri).ok_or(Reject::UserMissing)?;
        if aor.as_str().len() > self.policy.binding_bytes_max {
            return Err(Reject::BindingTooLong);
        }
        let wanted = Wanted::parse(&request.message, self.policy)?;
        let origin = Origin::new(request, flow);
        let before = self.current(now, &aor).cloned().collect();
        let after = updated(now, before, &wanted, &origin, self.policy)?;
        self.store(now, &aor, after)?;
        Ok(aor)
    }

    fn list(&self, now: Timestamp, aor: &Aor, writer: &mut Writer<'_>) {
        for binding in self.current(now, aor) {
            binding.write(now, writer);
        }
    }

    /// Makes these the bindings of the AOR.
    fn store(&mut self, now: Timestamp, aor: &Aor, bindings: Vec<Binding>) -> Result<(), Reject> {
        let record = self.record(aor);
        if record.is_none_or(|record| record.bindings.is_empty()) {
            if bindings.is_empty() {
                return Ok(());
            }
            // Every record with bindings is filed there once.
            if self.ends.len() >= self.policy.aors_max {
                return Err(Reject::RegistrarFull);
            }
        }
        let key = match self.by_aor.get(aor) {
            Some(key) => *key,
            None => self.insert(now, aor)?,
        };
        self.set(now, key, bindings);
        self.forget_surplus();
        Ok(())
    }

    fn insert(&mut self, now: Timestamp, aor: &Aor) -> Result<Key, Reject> {
        let record = Record {
            aor: aor.clone(),
            bindings: Box::default(),
            since: now,
            filed: now,
        };
        let inserted = self.records.insert(record);
        let key = inserted.map_err(|_| Reject::RegistrarFull)?;
        self.by_aor.insert(aor.clone(), key);
        self.by_user.insert((Box::from(aor.user()), key));
        Ok(key)
    }

    /// Gives a record these bindings, and files it anew.
    fn set(&mut self, now: Timestamp, key: Key, bindings: Vec<Binding>) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        self.ends.remove(&(record.filed, key));
        self.gone.remove(&(record.filed, key));
        for connection in record.connections() {
            self.connected.remove(&(connection, key));
        }
        self.bindings -= record.bindings.len();
        let before = std::mem::replace(&mut record.bindings, bindings.into_boxed_slice());
        self.bindings += record.bindings.len();
        if before.is_empty() {
            record.since = now;
        }
        if before.is_empty() != record.bindings.is_empty() {
            self.changed.insert(record.aor.clone());
        }
        let over = record.connections().map(|connection| (connection, key));
        self.connected.extend(over);
        let first_end = record.bindings.iter().map(Binding::ends).min();
        record.filed = first_end.unwrap_or(now);
        let file = match first_end {
            Some(_) => &mut self.ends,
            None => &mut self.gone,
        };
        file.insert((record.filed, key));
    }

    /// Of the AORs without bindings, only so many are remembered.
    fn forget_surplus(&mut self) {
        while self.gone.len() > self.policy.gone_max
            && let Some((_, key)) = self.gone.pop_first()
        {
            if let Some(record) = self.records.remove(key) {
                self.by_aor.remove(&record.aor);
                self.by_user.remove(&(Box::from(record.aor.user()), key));
            }
        }
        let room = self.by_aor.capacity();
        if room > ROOM_KEPT && self.by_aor.len() < room / 8 {
            self.by_aor.shrink_to(self.by_aor.len() * 2);
        }
    }

    fn current(&self, now: Timestamp, aor: &Aor) -> impl Iterator<Item = &Binding> {
        let record = self.record(aor).into_iter();
        record.flat_map(move |record| record.current(now))
    }

    fn record(&self, aor: &Aor) -> Option<&Record> {
        self.records.get(*self.by_aor.get(aor)?)
    }
}

impl Record {
    fn binding_at(&self, flow: &Flow) -> Option<&Binding> {
        let mut bindings = self.bindings.iter();
        bindings.find(|binding| binding.flow() == flow)
    }

    fn current(&self, now: Timestamp) -> impl Iterator<Item = &Binding> {
        self.bindings
            .iter()
            .filter(move |binding| binding.ends() > now)
    }

    fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.bindings.iter().filter_map(Binding::connection)
    }
}

/// The bindings after the request, in the order in which they are called.
fn updated(
    now: Timestamp,
    mut before: Vec<Binding>,
    wanted: &Wanted<'_>,
    origin: &Origin<'_>,
    policy: Policy,
) -> Result<Vec<Binding>, Reject> {
    let wanted = match wanted {
        Wanted::RemoveAll => {
            let is_late = before.iter().any(|binding| !origin.is_after(binding));
            return if is_late {
                Err(Reject::OutOfOrder)
            } else {
                Ok(Vec::new())
            };
        }
        Wanted::Update(wanted) => wanted,
    };
    let is_changed = |binding: &Binding| wanted.iter().any(|wanted| binding.is_of(wanted));
    if before
        .iter()
        .any(|binding| is_changed(binding) && !origin.is_after(binding))
    {
        return Err(Reject::OutOfOrder);
    }
    let mut after = Vec::new();
    for wanted in wanted {
        let same = [take(&mut before, wanted), take(&mut after, wanted)];
        let replaced = same.into_iter().flatten().next();
        if wanted.expires_s > 0 {
            let binding = Binding::new(now, wanted, origin, replaced, policy.binding_bytes_max);
            after.push(binding.ok_or(Reject::BindingTooLong)?);
        }
    }
    after.append(&mut before);
    if after.len() > policy.contacts_max {
        return Err(Reject::ContactsTooMany);
    }
    after.sort_by_key(|binding| Reverse(binding.q()));
    Ok(after)
}

/// Takes out what the Contact replaces; of several bindings, the name of the oldest.
fn take(bindings: &mut Vec<Binding>, wanted: &WantedBinding<'_>) -> Option<Replaced> {
    let replaced = bindings.extract_if(.., |binding| binding.is_of(wanted));
    replaced.map(|binding| binding.replaced()).last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::rig::Phone;
    use crate::location::rig::Rig;
    use crate::location::rig::at;
    use crate::location::rig::tcp;
    use crate::location::rig::udp;

    const ALICE: &str = "sip:alice@127.0.0.1";
    const HOME: &str = "Contact: <sip:alice@192.0.2.1>";
    const CELL: &str = "Contact: <sip:alice@192.0.2.2>";

    fn start() -> (Rig, Phone) {
        (Rig::new(Policy::default()), Phone::alice())
    }

    /// Alice, registered at home at second 0.
    fn registered() -> (Rig, Phone) {
        let (mut rig, mut phone) = start();
        let (status, _) = rig.register(0, &mut phone, &[HOME]);
        assert_eq!(status, Status::OK);
        (rig, phone)
    }

    #[test]
    fn a_registered_user_is_called_at_his_contact() {
        let (rig, _) = registered();
        assert_eq!(rig.uris(1, ALICE), ["sip:alice@192.0.2.1"]);
        assert!(rig.uris(1, "sip:bob@127.0.0.1").is_empty());
    }

    #[test]
    fn the_answer_lists_all_bindings_with_the_time_they_have_left() {
        let (mut rig, mut phone) = registered();
        let answer = rig.register(100, &mut phone, &[CELL, "Expires: 600"]);
        let expected = [
            "<sip:alice@192.0.2.2>;expires=600",
            "<sip:alice@192.0.2.1>;expires=3500",
        ];
        assert_eq!(answer, (Status::OK, expected.map(str::to_owned).into()));
    }

    #[test]
    fn a_register_without_contact_lists_and_changes_nothing() {
        let (mut rig, mut phone) = registered();
        let (_, contacts) = rig.register(10, &mut phone, &["Expires: 0"]);
        assert_eq!(contacts, ["<sip:alice@192.0.2.1>;expires=3590"]);
        let mut bob = Phone {
            to: "<sip:bob@127.0.0.1>",
            ..Phone::alice()
        };
        assert_eq!(rig.register(10, &mut bob, &[]), (Status::OK, vec![]));
        assert!(!rig.registrar.is_known(&rig.aor("sip:bob@127.0.0.1")));
    }

    #[test]
    fn the_expiry_is_the_contacts_own_then_the_requests_then_an_hour() {
        let (mut rig, mut phone) = start();
        let (_, contacts) = rig.register(
            0,
            &mut phone,
            &[
                "Contact: <sip:a@192.0.2.1>;expires=120, <sip:a@192.0.2.2>",
                "Expires: 240",
            ],
        );
        assert_eq!(
            contacts,
            [
                "<sip:a@192.0.2.1>;expires=120",
                "<sip:a@192.0.2.2>;expires=240"
            ]
        );
        let (_, contacts) = rig.register(0, &mut phone, &["Contact: <sip:a@192.0.2.1>;expires=x"]);
        assert_eq!(contacts[0], "<sip:a@192.0.2.1>;expires=3600");
    }

    #[test]
    fn no_binding_lasts_longer_than_the_policy_grants() {
        let (mut rig, mut phone) = start();
        let (_, contacts) = rig.register(0, &mut phone, &[HOME, "Expires: 4294967295"]);
        assert_eq!(contacts, ["<sip:alice@192.0.2.1>;expires=7200"]);
    }

    #[test]
    fn an_interval_too_brief_is_refused_with_the_least_that_is_granted() {
        let (mut rig, mut phone) = registered();
        let answer = rig.register(1, &mut phone, &[CELL, "Expires: 59"]);
        let expected = vec!["Min-Expires: 60".to_owned()];
        assert_eq!(answer, (Status::INTERVAL_TOO_BRIEF, expected));
        assert_eq!(
            rig.register(1, &mut phone, &[CELL, "Expires: 60"]).0,
            Status::OK
        );
    }

    #[test]
    fn an_hour_is_never_too_brief() {
        let policy = Policy {
            expires_min_s: 7_000,
            ..Policy::default()
        };
        let mut rig = Rig::new(policy);
        let mut phone = Phone::alice();
        assert_eq!(
            rig.register(0, &mut phone, &[HOME, "Expires: 3600"]).0,
            Status::OK
        );
        let (status, _) = rig.register(0, &mut phone, &[HOME, "Expires: 3599"]);
        assert_eq!(status, Status::INTERVAL_TOO_BRIEF);
    }

    #[test]
    fn a_request_that_is_refused_changes_nothing() {
        let (mut rig, mut phone) = registered();
        let contacts = "Contact: <sip:alice@192.0.2.1>;expires=0, <sip:alice@192.0.2.2>;expires=5";
        let (status, _) = rig.register(1, &mut phone, &[contacts]);
        assert_eq!(status, Status::INTERVAL_TOO_BRIEF);
        assert_eq!(rig.uris(1, ALICE), ["sip:alice@192.0.2.1"]);
    }

    #[test]
    fn an_expiry_of_0_removes_that_contact_alone() {
        let (mut rig, mut phone) = registered();
        rig.register(1, &mut phone, &[CELL]);
        let (_, contacts) = rig.register(2, &mut phone, &[HOME, "Expires: 0"]);
        assert_eq!(contacts, ["<sip:alice@192.0.2.2>;expires=3599"]);
    }

    #[test]
    fn a_star_with_an_expiry_of_0_removes_all() {
        let (mut rig, mut phone) = registered();
        rig.register(1, &mut phone, &[CELL]);
        let answer = rig.register(2, &mut phone, &["Contact: *", "Expires: 0"]);
        assert_eq!(answer, (Status::OK, vec![]));
        assert!(rig.registrar.is_empty());
    }

    #[test]
    fn a_star_with_anything_else_is_refused() {
        let (mut rig, mut phone) = registered();
        for lines in [
            &["Contact: *"][..],
            &["Contact: *", "Expires: 1"],
            &["Contact: *", HOME, "Expires: 0"],
            &["Contact: *, *", "Expires: 0"],
        ] {
            assert_eq!(rig.register(1, &mut phone, lines).0, Status::BAD_REQUEST);
        }
        assert_eq!(rig.registrar.len(), 1);
    }

    #[test]
    fn a_contact_that_is_written_otherwise_is_the_same_binding() {
        let (mut rig, mut phone) = start();
        rig.register(0, &mut phone, &["Contact: <sip:alice@Home.example;x=1>"]);
        rig.register(1, &mut phone, &["Contact: <sip:%61lice@hOME.example>"]);
        assert_eq!(rig.uris(1, ALICE), ["sip:%61lice@hOME.example"]); // S-34
        rig.register(
            2,
            &mut phone,
            &["Contact: <sip:alice@home.example;transport=tcp>"],
        );
        assert_eq!(rig.registrar.len(), 2); // S-34
    }

    #[test]
    fn a_phone_that_comes_back_with_another_address_replaces_itself() {
        let (mut rig, mut phone) = start();
        let instance = "+sip.instance=\"<urn:uuid:0a>\"";
        rig.register(0, &mut phone, &[&format!("{HOME};{instance}")]);
        let mut rebooted = Phone {
            call_id: "two",
            ..Phone::alice()
        };
        rig.register(1, &mut rebooted, &[&format!("{CELL};reg-id=1;{instance}")]);
        assert_eq!(rig.uris(1, ALICE), ["sip:alice@192.0.2.2"]); // S-87
        rig.register(2, &mut rebooted, &[&format!("{HOME};reg-id=2;{instance}")]);
        assert_eq!(rig.registrar.len(), 2); // S-87
    }

    #[test]
    fn an_old_request_does_not_undo_a_new_one() {
        let (mut rig, mut phone) = start();
        phone.cseq = 7;
        rig.register(0, &mut phone, &[HOME]);
        for cseq in [6, 7] {
            phone.cseq = cseq;
            let (status, _) = rig.register(1, &mut phone, &[HOME, "Expires: 0"]);
            assert_eq!(status, Status::SERVER_INTERNAL_ERROR);
            phone.cseq = cseq;
            let (status, _) = rig.register(1, &mut phone, &["Contact: *", "Expires: 0"]);
            assert_eq!(status, Status::SERVER_INTERNAL_ERROR);
        }
        assert_eq!(rig.uris(1, ALICE), ["sip:alice@192.0.2.1"]);
    }

    #[test]
    fn a_phone_that_has_restarted_may_count_anew() {
        let (mut rig, mut phone) = start();
        phone.cseq = 7;
        rig.register(0, &mut phone, &[HOME]);
        let mut restarted = Phone {
            call_id: "two",
            ..Phone::alice()
        };
        let (status, contacts) = rig.register(1, &mut restarted, &[HOME, "Expires: 0"]);
        assert_eq!((status, contacts), (Status::OK, vec![]));
    }

    #[test]
    fn a_contact_that_stands_twice_is_bound_once_as_written_last() {
        let (mut rig, mut phone) = start();
        let (status, contacts) = rig.register(
            0,
            &mut phone,
            &[&format!("{HOME};expires=60"), &format!("{HOME};q=0.5")],
        );
        assert_eq!(status, Status::OK);
        assert_eq!(contacts, ["<sip:alice@192.0.2.1>;q=0.5;expires=3600"]);
    }

    #[test]
    fn targets_come_by_preference_and_then_the_newest_first() {
        let (mut rig, mut phone) = start();
        for contact in [
            "c@192.0.2.1>",
            "a@192.0.2.1>;q=0.1",
            "d@192.0.2.1>",
            "b@192.0.2.1>;q=0.9",
        ] {
            rig.register(0, &mut phone, &[&format!("Contact: <sip:{contact}")]);
        }
        let expected = ["d", "c", "b", "a"].map(|user| format!("sip:{user}@192.0.2.1"));
        assert_eq!(rig.uris(1, ALICE), expected);
        let q: Vec<_> = rig
            .targets(1, ALICE)
            .iter()
            .map(|target| target.q)
            .collect();
        assert_eq!(q, [1_000, 1_000, 900, 100]);
    }

    #[test]
    fn a_binding_ends_when_its_time_is_over() {
        let (mut rig, mut phone) = registered();
        rig.register(0, &mut phone, &[CELL, "Expires: 60"]);
        assert_eq!(rig.registrar.poll_timeout(), Some(at(60)));
        assert_eq!(rig.uris(60, ALICE), ["sip:alice@192.0.2.1"]);
        rig.registrar.handle_timeout(at(60));
        assert_eq!(
            (rig.registrar.len(), rig.registrar.poll_timeout()),
            (1, Some(at(3_600)))
        );
        rig.registrar.handle_timeout(at(3_600));
        assert_eq!(
            (rig.registrar.len(), rig.registrar.poll_timeout()),
            (0, None)
        );
    }

    #[test]
    fn a_refreshed_binding_lasts_longer() {
        let (mut rig, mut phone) = registered();
        rig.register(3_000, &mut phone, &[HOME]);
        rig.registrar.handle_timeout(at(3_600));
        assert_eq!(rig.uris(6_599, ALICE), ["sip:alice@192.0.2.1"]);
        assert_eq!(rig.registrar.poll_timeout(), Some(at(6_600)));
    }

    #[test]
    fn a_user_who_has_gone_is_still_known() {
        let (mut rig, mut phone) = registered();
        rig.register(1, &mut phone, &[HOME, "Expires: 0"]);
        assert!(rig.uris(1, ALICE).is_empty());
        assert!(rig.registrar.is_known(&rig.aor(ALICE)));
        assert!(!rig.registrar.is_known(&rig.aor("sip:bob@127.0.0.1")));
    }

    #[test]
    fn of_users_who_have_gone_the_earliest_are_forgotten() {
        let mut rig = Rig::new(Policy {
            gone_max: 1,
            ..Policy::default()
        });
        let users = [("<sip:a@127.0.0.1>", 20), ("<sip:b@127.0.0.1>", 10)];
        for (to, gone_at_s) in users {
            let mut phone = Phone {
                to,
                ..Phone::alice()
            };
            rig.register(0, &mut phone, &[HOME]);
            rig.register(gone_at_s, &mut phone, &[HOME, "Expires: 0"]);
        }
        assert!(rig.registrar.is_known(&rig.aor("sip:a@127.0.0.1")));
        assert!(!rig.registrar.is_known(&rig.aor("sip:b@127.0.0.1")));
        assert_eq!(
            (rig.registrar.records.len(), rig.registrar.by_aor.len()),
            (1, 1)
        );
    }

    #[test]
    fn a_user_who_has_come_back_is_not_forgotten() {
        let mut rig = Rig::new(Policy {
            gone_max: 1,
            ..Policy::default()
        });
        let mut alice = Phone::alice();
        rig.register(0, &mut alice, &[HOME]);
        rig.register(1, &mut alice, &[HOME, "Expires: 0"]);
        rig.register(2, &mut alice, &[HOME]);
        for to in ["<sip:b@127.0.0.1>", "<sip:c@127.0.0.1>"] {
            let mut phone = Phone {
                to,
                ..Phone::alice()
            };
            rig.register(3, &mut phone, &[HOME]);
            rig.register(4, &mut phone, &[HOME, "Expires: 0"]);
        }
        assert_eq!(rig.uris(5, ALICE), ["sip:alice@192.0.2.1"]);
    }

    #[test]
    fn a_binding_that_has_gone_leaves_nothing_filed() {
        let mut rig = Rig::new(Policy {
            gone_max: 0,
            ..Policy::default()
        });
        let mut phone = Phone {
            flow: tcp("192.0.2.1:40000", 3),
            ..Phone::alice()
        };
        rig.register(0, &mut phone, &[HOME, CELL]);
        assert_eq!(rig.registrar.connected.len(), 1);
        rig.registrar.handle_timeout(at(3_600));
        let Registrar {
            records,
            by_aor,
            ends,
            gone,
            connected,
            ..
        } = rig.registrar;
        assert!(records.is_empty() && by_aor.is_empty());
        assert!(ends.is_empty() && gone.is_empty() && connected.is_empty());
    }

    #[test]
    fn one_user_has_only_so_many_bindings() {
        let (mut rig, mut phone) = start();
        for at in 0..10 {
            let contact = format!("Contact: <sip:alice@192.0.2.{at}>");
            assert_eq!(rig.register(0, &mut phone, &[&contact]).0, Status::OK);
        }
        let (status, _) = rig.register(0, &mut phone, &["Contact: <sip:alice@192.0.2.10>"]);
        assert_eq!((status, rig.registrar.len()), (Status::FORBIDDEN, 10));
        let swap = ["Contact: <sip:alice@192.0.2.0>;expires=0, <sip:alice@192.0.2.10>"];
        assert_eq!(rig.register(0, &mut phone, &swap).0, Status::OK);
    }

    #[test]
    fn a_full_registrar_refuses_new_users_and_serves_the_others() {
        let mut rig = Rig::new(Policy {
            aors_max: 1,
            gone_max: 0,
            ..Policy::default()
        });
        let mut alice = Phone::alice();
        let mut bob = Phone {
            to: "<sip:bob@127.0.0.1>",
            ..Phone::alice()
        };
        assert_eq!(rig.register(0, &mut alice, &[HOME]).0, Status::OK);
        assert_eq!(
            rig.register(0, &mut bob, &[HOME]).0,
            Status::SERVICE_UNAVAILABLE
        );
        assert_eq!(rig.register(0, &mut alice, &[CELL]).0, Status::OK);
        rig.register(0, &mut alice, &["Contact: *", "Expires: 0"]);
        assert_eq!(rig.register(0, &mut bob, &[HOME]).0, Status::OK);
    }

    #[test]
    fn a_to_that_names_no_user_of_ours_is_refused() {
        let (mut rig, _) = start();
        for (to, expected) in [
            ("isbn:2983792873", Status::BAD_REQUEST),
            ("<tel:+4930123>", Status::BAD_REQUEST),
            ("<sip:127.0.0.1>", Status::NOT_FOUND),
        ] {
            let mut phone = Phone {
                to,
                ..Phone::alice()
            };
            assert_eq!(rig.register(0, &mut phone, &[HOME]).0, expected);
        }
    }

    #[test]
    fn a_contact_that_cannot_be_called_is_refused() {
        let (mut rig, mut phone) = start();
        for contact in ["<name:John_Smith>", "<tel:+4930123>"] {
            let line = format!("Contact: {contact}");
            assert_eq!(rig.register(0, &mut phone, &[&line]).0, Status::BAD_REQUEST);
        }
    }

    #[test]
    fn what_is_longer_than_any_phone_needs_is_refused() {
        let (mut rig, mut phone) = start();
        let contact = format!("{HOME};x={}", "y".repeat(1_024));
        assert_eq!(
            rig.register(0, &mut phone, &[&contact]).0,
            Status::BAD_REQUEST
        );
        let to = format!("<sip:{}@127.0.0.1>", "u".repeat(1_024));
        let mut phone = Phone {
            to: to.leak(),
            ..Phone::alice()
        };
        assert_eq!(rig.register(0, &mut phone, &[HOME]).0, Status::BAD_REQUEST);
    }

    #[test]
    fn contact_parameters_come_back_outside_the_brackets_and_uri_parameters_inside() {
        let (mut rig, mut phone) = start();
        let contact = "Contact: \"A\" <sip:alice@192.0.2.1;in> ; out ;q=0.7 ; expires=60";
        let (_, contacts) = rig.register(0, &mut phone, &[contact]);
        assert_eq!(contacts, ["<sip:alice@192.0.2.1;in>;out;q=0.7;expires=60"]);
        assert_eq!(rig.uris(1, ALICE), ["sip:alice@192.0.2.1;in"]);
    }

    #[test]
    fn header_fields_in_a_contact_are_listed_but_not_called() {
        let (mut rig, mut phone) = start();
        let contact = "Contact: <sip:alice@192.0.2.1;x?Route=%3Csip:y%3E>";
        let (_, contacts) = rig.register(0, &mut phone, &[contact]);
        assert_eq!(
            contacts,
            ["<sip:alice@192.0.2.1;x?Route=%3Csip:y%3E>;expires=3600"]
        );
        assert_eq!(rig.uris(1, ALICE), ["sip:alice@192.0.2.1;x"]);
    }

    #[test]
    fn an_answer_that_fits_no_message_is_500_and_no_panic() {
        let mut rig = Rig::new(Policy {
            contacts_max: 100,
            ..Policy::default()
        });
        let mut phone = Phone::alice();
        let filler = "x".repeat(900);
        let statuses: Vec<_> = (0..80)
            .map(|user| {
                let contact = format!("Contact: <sip:{user}@192.0.2.1>;x={filler}");
                rig.register(0, &mut phone, &[&contact]).0
            })
            .collect();
        assert_eq!(statuses.first(), Some(&Status::OK));
        assert_eq!(statuses.last(), Some(&Status::SERVER_INTERNAL_ERROR));
    }

    #[test]
    fn a_user_is_registered_at_the_flow_of_his_register_and_no_other() {
        let (rig, _) = registered();
        let alice = rig.aor(ALICE);
        assert!(
            rig.registrar
                .is_registered_at(&alice, &udp("192.0.2.1:5060"))
        );
        assert!(
            !rig.registrar
                .is_registered_at(&alice, &udp("192.0.2.1:5061"))
        );
        assert!(
            !rig.registrar
                .is_registered_at(&alice, &tcp("192.0.2.1:5060", 1))
        );
    }

    #[test]
    fn a_binding_keeps_its_name_through_refreshes_and_is_called_by_it() {
        let (mut rig, mut phone) = registered();
        let alice = rig.aor(ALICE);
        let home = rig.registrar.binding_at(&alice, &phone.flow);
        let mut cell = Phone {
            flow: udp("192.0.2.2:5060"),
            call_id: "two",
            ..Phone::alice()
        };
        rig.register(1, &mut cell, &[CELL]);
        rig.register(2, &mut phone, &["Contact: <SIP:%61lice@192.0.2.1>"]);
        assert_eq!(rig.registrar.binding_at(&alice, &phone.flow), home);
        assert_ne!(rig.registrar.binding_at(&alice, &cell.flow), home);

        let home = home.expect("a binding");
        let target = |at_s| rig.registrar.target_of(at(at_s), &alice, home);
        let uri = target(3).map(|target| target.uri);
        assert_eq!(uri, Some(b"SIP:%61lice@192.0.2.1".as_slice()));
        assert_eq!(target(3_602), None);
        let bob = rig.aor("sip:bob@127.0.0.1");
        assert_eq!(rig.registrar.target_of(at(3), &bob, home), None);
    }

    #[test]
    fn a_phone_with_an_instance_keeps_its_name_wherever_it_goes() {
        let (mut rig, mut phone) = start();
        let alice = rig.aor(ALICE);
        let instance = "+sip.instance=\"<urn:uuid:0a>\"";
        rig.register(0, &mut phone, &[&format!("{HOME};{instance}")]);
        let home = rig.registrar.binding_at(&alice, &phone.flow);
        phone.flow = udp("192.0.2.2:5060");
        rig.register(1, &mut phone, &[&format!("{CELL};{instance}")]);
        assert_eq!(rig.registrar.binding_at(&alice, &phone.flow), home);
    }

    #[test]
    fn a_user_is_registered_since_he_last_came() {
        let (mut rig, mut phone) = registered();
        let alice = rig.aor(ALICE);
        rig.register(5, &mut phone, &[CELL]);
        rig.register(6, &mut phone, &[HOME, "Expires: 0"]);
        assert_eq!(rig.registrar.registered_since(&alice), Some(at(0)));
        rig.register(7, &mut phone, &["Contact: *", "Expires: 0"]);
        assert_eq!(rig.registrar.registered_since(&alice), None);
        rig.register(8, &mut phone, &[HOME]);
        assert_eq!(rig.registrar.registered_since(&alice), Some(at(8)));
    }

    #[test]
    fn a_user_who_comes_or_goes_is_told_once() {
        let (mut rig, mut phone) = registered();
        let alice = rig.aor(ALICE);
        assert_eq!(rig.registrar.poll_change(), Some(alice.clone()));
        rig.register(1, &mut phone, &[CELL]);
        assert_eq!(rig.registrar.poll_change(), None);
        rig.register(2, &mut phone, &["Contact: *", "Expires: 0"]);
        rig.register(3, &mut phone, &[HOME]);
        assert_eq!(rig.registrar.poll_change(), Some(alice.clone()));
        assert_eq!(rig.registrar.poll_change(), None);
        rig.registrar.handle_timeout(at(3_603));
        assert_eq!(rig.registrar.poll_change(), Some(alice));
    }

    #[test]
    fn an_idle_registration_takes_less_than_a_kibibyte() {
        let (mut rig, mut phone) = start();
        phone.call_id = "3c26700a7a3b-e3hl6mgwt8ys@192.0.2.1";
        let instance = "+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
        let contact = "Contact: <sip:alice@192.0.2.1:51234;transport=udp;line=a1b2c3d4>";
        rig.register(0, &mut phone, &[&format!("{contact};reg-id=1;{instance}")]);
        let record = rig.registrar.record(&rig.aor(ALICE)).expect("a record");
        let binding = record.bindings.first().expect("a binding");
        // The AOR is shared by the record and the map, and counts who has it.
        let texts = binding.bytes() + record.aor.as_str().len() + 2 * size_of::<usize>();
        // The hash map is at least 7/16 full after it has grown, a tree node half full.
        let maps = size_of::<(Aor, Key)>() * 16 / 7 + 2 * size_of::<(Timestamp, Key)>();
        let entry = size_of::<Record>() + size_of::<Key>() + size_of::<Binding>();
        // An allocation costs up to 16 bytes more than it holds: four of them.
        assert!(texts + maps + entry + 4 * 16 < 700);
    }
}
