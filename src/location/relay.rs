//! Registrations that a PBX keeps: what it is told of a phone, and what the phone is told of it.
//!
//! Spec: RFC 3261 §10.2, §10.3; RULES R3, R12.
//!
//! ```text
//!   phone                          campon                                    PBX
//!     REGISTER Contact: PHONE ──►    REGISTER Contact: ALIAS@campon ──►
//!     ◄── 200 Contact: PHONE         ◄── 200 Contact: ALIAS@campon
//!                                    ◄── INVITE ALIAS@campon
//!     ◄── INVITE PHONE (over the flow of the REGISTER)
//! ```
//!
//! Invariant: an alias is known for as long as the PBX may use it, and leads somewhere for as long as
//! the phone keeps its registration up.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::location::Aor;
use crate::location::Policy;
use crate::location::Registrar;
use crate::location::Target;
use crate::location::alias::Alias;
use crate::location::alias::Ids;
use crate::location::alias::Pseudonyms;
use crate::location::binding::Binding;
use crate::location::binding::BindingId;
use crate::location::binding::Origin;
use crate::location::record::Record;
use crate::location::reject::Reject;
use crate::location::wanted::Wanted;
use crate::location::wanted::WantedBinding;
use crate::sip::Contact;
use crate::sip::Flow;
use crate::sip::Message;
use crate::sip::Name;
use crate::sip::NameAddr;
use crate::sip::Params;
use crate::sip::Request;
use crate::sip::Response;
use crate::sip::SipUri;
use crate::sip::Status;
use crate::sip::Writer;
use crate::sip::parse_u32;
use crate::time::Timestamp;

/// What a PBX grants that does not say: RFC 3261 §10.2.1.1.
const EXPIRES_S: u32 = 3_600;
/// Parameters of a Contact that are about the way of a registration, which ends here (R12).
const HOP_PARAMS: [&str; 4] = ["ob", "pub-gruu", "reg-id", "temp-gruu"];

/// The aliases under which a PBX knows our phones.
#[derive(Debug)]
pub struct Relay {
    names: Pseudonyms,
    policy: Policy,
    /// The longest time that a phone is told, so that we hear of it early when it has gone.
    expires_max_s: u32,
    entries: HashMap<Alias, Entry>,
    /// The aliases by when the PBX forgets them.
    ends: BTreeSet<(Timestamp, Alias)>,
    /// Those that have come, gone or moved since that was last asked.
    changed: BTreeSet<Alias>,
}

/// What an alias stands for.
#[derive(Clone, Debug)]
struct Entry {
    aor: Aor,
    binding: BindingId,
    /// Half of the time that the PBX has granted; and all of it.
    fresh: Timestamp,
    ends: Timestamp,
    presence: Presence,
}

/// Whether a phone answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Presence {
    Here,
    /// It has left several requests of ours unanswered.
    Silent,
}

/// What a REGISTER asks of the PBX.
#[derive(Debug)]
pub struct Asked<'m> {
    wanted: Wanted<'m>,
    /// One for each Contact.
    aliases: SmallVec<[Alias; 1]>,
}

/// Where an alias leads.
#[derive(Clone, Debug)]
pub enum Found<'t> {
    /// To this phone of this user.
    Phone(Aor, Target<'t>),
    /// Nowhere, for the time being: this user's phone has gone.
    Gone(Aor),
    /// It is none, or nobody's any more.
    Nobody,
}

impl Relay {
    /// No aliases yet; names are made under `names`, and phones are told `expires_max_s` at most.
    pub fn new(names: Pseudonyms, policy: Policy, expires_max_s: u32) -> Self {
        Self {
            names,
            policy: of_pbx(policy),
            expires_max_s,
            entries: HashMap::new(),
            ends: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }

    /// What is taken in from here on; aliases keep what they were granted.
    pub fn set_policy(&mut self, policy: Policy, expires_max_s: u32) {
        self.policy = of_pbx(policy);
        self.expires_max_s = expires_max_s;
    }

    /// What a REGISTER for this user asks for; the status to refuse it with, if that cannot be told.
    pub fn read<'m>(&self, request: &Request<'m>, aor: &Aor) -> Result<Asked<'m>, Status> {
        let wanted = Wanted::parse(&request.message, self.policy).map_err(Reject::status)?;
        let is_long = |wanted: &WantedBinding<'_>| {
            let params = wanted.contact.params.text().len();
            let call_id = request.call_id.len();
            wanted.uri.text().len() + params + call_id > self.policy.binding_bytes_max
        };
        let contacts = wanted.contacts();
        if contacts.iter().any(is_long) || aor.as_str().len() > self.policy.binding_bytes_max {
            return Err(Reject::BindingTooLong.status());
        }
        let alias = |wanted: &WantedBinding<'_>| self.names.alias(aor, &wanted.contact);
        let aliases = contacts.iter().map(alias).collect();
        Ok(Asked { wanted, aliases })
    }

    /// R3: the ids that stand for a phone's own towards the PBX.
    pub fn ids(&self, from: &Aor, call_id: &[u8], tag: &[u8]) -> Ids {
        self.names.ids(from, call_id, tag)
    }

    /// Writes the Contacts that the PBX is to keep, at this host and port, by this transport.
    pub fn write_contacts(&self, asked: &Asked<'_>, at: (&str, &str), writer: &mut Writer<'_>) {
        if matches!(asked.wanted, Wanted::RemoveAll) {
            writer.header(Name::Contact, b"*");
        }
        let (host, transport) = at;
        for (wanted, alias) in asked.wanted.contacts().iter().zip(&asked.aliases) {
            let mut params = Vec::new();
            append_params(&mut params, wanted.contact.params);
            let uri = format!("<sip:{alias}@{host}{transport}>");
            writer.header_parts(Name::Contact, &[uri.as_bytes(), &params]);
        }
    }

    /// R12: whether this only keeps up what the PBX has granted for longer.
    pub fn is_refresh(
        &self,
        now: Timestamp,
        registrar: &Registrar,
        asked: &Asked<'_>,
        (request, flow, aor): (&Request<'_>, &Flow, &Aor),
    ) -> bool {
        let origin = Origin::relayed(request, flow);
        let mut contacts = asked.wanted.contacts().iter().zip(&asked.aliases);
        let is_kept = |(wanted, alias): (&WantedBinding<'_>, &Alias)| {
            let entry = self.entries.get(alias);
            let is_early = entry.is_some_and(|entry| now < entry.fresh);
            let binding = registrar.binding_of(aor, wanted);
            let is_same = binding.is_some_and(|binding| {
                binding.ends() > now && binding.is_refreshed_by(wanted, &origin)
            });
            wanted.expires_s > 0 && is_early && is_same
        };
        !asked.aliases.is_empty() && contacts.all(is_kept)
    }

    /// Answers a REGISTER for which [`Self::is_refresh`] holds: the header fields of its 200.
    pub fn refresh(
        &mut self,
        now: Timestamp,
        registrar: &mut Registrar,
        mut asked: Asked<'_>,
        (request, flow, aor): (&Request<'_>, &Flow, &Aor),
        writer: &mut Writer<'_>,
    ) {
        let entries = &self.entries;
        for (wanted, alias) in asked.wanted.contacts_mut().iter_mut().zip(&asked.aliases) {
            let ends = entries.get(alias).map_or(now, |entry| entry.ends);
            let left_s = u32::try_from(ends.since(now).as_secs()).unwrap_or(u32::MAX);
            wanted.expires_s = wanted.expires_s.min(left_s).min(self.expires_max_s);
            self.changed.insert(*alias);
        }
        let origin = Origin::relayed(request, flow);
        // What could not be kept is not listed, so that the phone tries again.
        let _kept = registrar.adopt(now, aor, &asked.wanted, &origin);
        for wanted in asked.wanted.contacts() {
            if let Some(binding) = registrar.binding_of(aor, wanted) {
                binding.write(now, writer);
            }
        }
        self.policy.write_flow_timer(&request.message, writer);
    }

    /// Takes the PBX's 2xx to a REGISTER that was relayed, and writes the Contacts that the phone is
    /// told; whether what was granted could be kept.
    pub fn handle_success(
        &mut self,
        now: Timestamp,
        registrar: &mut Registrar,
        (mut asked, request, flow, aor): (Asked<'_>, &Request<'_>, &Flow, &Aor),
        response: &Response<'_>,
        writer: &mut Writer<'_>,
    ) -> bool {
        let granted = Granted::of(&response.message);
        let mut until = SmallVec::<[u32; 1]>::new();
        for (wanted, alias) in asked.wanted.contacts_mut().iter_mut().zip(&asked.aliases) {
            let expires_s = granted.of_alias(*alias, wanted.expires_s);
            until.push(expires_s);
            wanted.expires_s = expires_s.min(self.expires_max_s);
        }
        let origin = Origin::relayed(request, flow);
        let kept = registrar.adopt(now, aor, &asked.wanted, &origin);
        // After a `*`, the aliases of all phones lead nowhere, until their time is over.
        let contacts = asked.wanted.contacts().iter();
        for ((wanted, alias), expires_s) in contacts.zip(&asked.aliases).zip(until) {
            let binding = registrar.binding_of(aor, wanted).map(Binding::id);
            match binding.filter(|_| expires_s > 0) {
                Some(binding) => self.note(now, *alias, (aor, binding), expires_s),
                None => self.forget(*alias),
            }
        }
        self.list(now, registrar, &granted, writer);
        self.policy.write_flow_timer(&request.message, writer);
        kept.is_ok()
    }

    /// Where calls to a Request-URI of the PBX's go.
    pub fn find<'t>(
        &self,
        now: Timestamp,
        registrar: &'t Registrar,
        uri: &SipUri<'_>,
    ) -> Found<'t> {
        let alias = Alias::parse(uri);
        let entry = alias.and_then(|alias| self.entries.get(&alias));
        let Some(entry) = entry.filter(|entry| entry.ends > now) else {
            return Found::Nobody;
        };
        let target = registrar.target_of(now, &entry.aor, entry.binding);
        match target.filter(|_| entry.presence == Presence::Here) {
            Some(target) => Found::Phone(entry.aor.clone(), target),
            None => Found::Gone(entry.aor.clone()),
        }
    }

    /// The phone of an alias, whether it answers or not; `None` once it has gone.
    pub fn target<'t>(
        &self,
        now: Timestamp,
        registrar: &'t Registrar,
        alias: Alias,
    ) -> Option<Target<'t>> {
        let entry = self.entries.get(&alias)?;
        registrar.target_of(now, &entry.aor, entry.binding)
    }

    /// Takes note that a phone has stopped answering, or that it answers again; whether that is new.
    pub fn note_presence(&mut self, alias: Alias, answers: bool) -> bool {
        let presence = if answers {
            Presence::Here
        } else {
            Presence::Silent
        };
        let entry = self.entries.get_mut(&alias);
        entry.is_some_and(|entry| std::mem::replace(&mut entry.presence, presence) != presence)
    }

    /// An alias that has come, gone or moved, each once however often that happened.
    pub fn poll_change(&mut self) -> Option<Alias> {
        self.changed.pop_first()
    }

    /// Whether [`Self::poll_change`] has anything to say.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What is to be kept of an alias over a restart, of a process that started at this time of the
    /// calendar; `None` if there is nothing to be kept any more.
    pub fn record(
        &self,
        now: Timestamp,
        registrar: &Registrar,
        alias: Alias,
        (listeners, started): (&[SocketAddr], u64),
    ) -> Option<Vec<u8>> {
        let entry = self.entries.get(&alias)?;
        let binding = registrar.binding(now, &entry.aor, entry.binding)?;
        let flow = binding.flow();
        let (call_id, cseq) = binding.origin();
        let contact = [b"<", binding.uri(), b">", binding.params()].concat();
        let at = |time: Timestamp| started.saturating_add(time.as_micros());
        let record = Record {
            transport: flow.transport,
            listener: *listeners.get(usize::from(flow.listener.0))?,
            remote: flow.remote,
            aor: entry.aor.as_str(),
            contact: &contact,
            call_id,
            cseq,
            phone_until: at(binding.ends()),
            fresh_until: at(entry.fresh),
            until: at(entry.ends),
        };
        Some(record.encode())
    }

    /// Takes back what was kept before a restart; whether it is still of use. Nobody is told of it.
    pub fn restore(
        &mut self,
        registrar: &mut Registrar,
        (alias, record): (Alias, &[u8]),
        (listeners, started): (&[SocketAddr], u64),
    ) -> bool {
        let kept = Record::decode(record).is_some_and(|record| {
            let kept = self.try_restore(registrar, alias, &record, (listeners, started));
            kept.is_some()
        });
        if !kept {
            // So that it is forgotten there as well.
            self.changed.insert(alias);
        }
        kept
    }

    fn try_restore(
        &mut self,
        registrar: &mut Registrar,
        alias: Alias,
        record: &Record<'_>,
        (listeners, started): (&[SocketAddr], u64),
    ) -> Option<()> {
        let now = Timestamp::START;
        let left = |until: u64| Duration::from_micros(until.saturating_sub(started));
        let flow = record.flow(listeners)?;
        let contact = NameAddr::parse(record.contact).ok()?;
        let left_s = left(record.phone_until).as_secs();
        let wanted = WantedBinding {
            uri: contact.uri.as_sip()?,
            contact,
            expires_s: u32::try_from(left_s).ok().filter(|left_s| *left_s > 0)?,
        };
        let aor = Aor::from_canonical(record.aor.into());
        let origin = Origin::restored(flow, record.call_id, record.cseq);
        let granted = Wanted::Update(vec![wanted]);
        registrar.adopt(now, &aor, &granted, &origin).ok()?;
        let entry = Entry {
            binding: registrar.binding_of(&aor, &wanted)?.id(),
            aor,
            fresh: now + left(record.fresh_until),
            ends: now + left(record.until),
            presence: Presence::Here,
        };
        self.ends.insert((entry.ends, alias));
        self.entries.insert(alias, entry);
        Some(())
    }

    /// Forgets the aliases that the PBX has forgotten.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((ends, alias)) = self.ends.first().copied()
            && ends <= now
        {
            self.forget(alias);
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.ends.first().map(|(ends, _)| *ends)
    }

    /// How many aliases there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// RFC 3261 §10.3 step 8: all that the PBX has; our aliases as the phones know themselves.
    fn list(
        &self,
        now: Timestamp,
        registrar: &Registrar,
        granted: &Granted<'_>,
        writer: &mut Writer<'_>,
    ) {
        for contact in &granted.contacts {
            let alias = contact.uri.as_sip().and_then(|uri| Alias::parse(&uri));
            let Some(alias) = alias else {
                writer.header_parts(Name::Contact, &[contact.text, contact.params.text()]);
                continue;
            };
            let entry = self.entries.get(&alias);
            let binding = entry.and_then(|it| registrar.binding(now, &it.aor, it.binding));
            if let Some(binding) = binding {
                binding.write(now, writer);
            }
        }
    }

    fn note(&mut self, now: Timestamp, alias: Alias, of: (&Aor, BindingId), expires_s: u32) {
        self.forget(alias);
        let aliases_max = self.policy.aors_max.saturating_mul(2);
        if self.entries.len() >= aliases_max
            && let Some((_, first)) = self.ends.first().copied()
        {
            self.forget(first);
        }
        let (aor, binding) = of;
        let time = Duration::from_secs(expires_s.into());
        let entry = Entry {
            aor: aor.clone(),
            binding,
            fresh: now + time / 2,
            ends: now + time,
            presence: Presence::Here,
        };
        self.ends.insert((entry.ends, alias));
        self.entries.insert(alias, entry);
        self.changed.insert(alias);
    }

    fn forget(&mut self, alias: Alias) {
        if let Some(entry) = self.entries.remove(&alias) {
            self.ends.remove(&(entry.ends, alias));
            self.changed.insert(alias);
        }
        if self.entries.capacity() > 1024 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}

/// What the PBX's 2xx says.
struct Granted<'m> {
    contacts: SmallVec<[NameAddr<'m>; 2]>,
    /// For those that do not say it themselves.
    expires_s: Option<u32>,
}

impl<'m> Granted<'m> {
    fn of(message: &Message<'m>) -> Self {
        let contacts = message.values(Name::Contact);
        let address = |value: &'m [u8]| Contact::parse(value).ok()?.address();
        Self {
            contacts: contacts.filter_map(address).collect(),
            expires_s: message.first(Name::Expires).and_then(parse_u32),
        }
    }

    /// For how long; 0 if the PBX does not have it.
    fn of_alias(&self, alias: Alias, asked_s: u32) -> u32 {
        let is_it = |contact: &&NameAddr<'_>| {
            let uri = contact.uri.as_sip();
            uri.and_then(|uri| Alias::parse(&uri)) == Some(alias)
        };
        let unsaid = || self.expires_s.unwrap_or_else(|| asked_s.min(EXPIRES_S));
        match self.contacts.iter().find(is_it) {
            Some(contact) => contact.expires_s().unwrap_or_else(unsaid),
            // Some list nothing at all.
            None if self.contacts.is_empty() && asked_s > 0 => unsaid(),
            None => 0,
        }
    }
}

/// What is the phone's own to say of its Contact: its preference, its time, its features.
fn append_params(out: &mut Vec<u8>, params: Params<'_>) {
    for (name, value) in params {
        let is_hop = |hop: &&str| name.eq_ignore_ascii_case(hop.as_bytes());
        if HOP_PARAMS.iter().any(is_hop) {
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

/// The policy without what is the PBX's to say: what is too brief, and what is too long.
fn of_pbx(policy: Policy) -> Policy {
    Policy {
        expires_min_s: 0,
        expires_max_s: u32::MAX,
        ..policy
    }
}
