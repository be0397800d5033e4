//! What `campon check` prints: what a configuration means.

use std::fmt;

use crate::call::NatMedia;
use crate::cc::trust::Dials;
use crate::completion::intrusion::Rights;
use crate::completion::{CodeKind, Codes};
use crate::routing::table::OnBusy;
use crate::shard::intrusion::Intrusion;
use crate::shard::settings::{Carries, CcParams, Completion, Edge, KeepAlive, Peer};
use crate::shard::settings::{PeerCompletion, RecallMethod, Settings};
use crate::sip::flow::ListenerId;

use super::explain;
use super::value::spelled;
use super::{Config, Log};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.shard;
        if let Some(site) = &self.site {
            writeln!(f, "site       {site}")?;
        }
        write!(f, "mode       {}", self.mode())?;
        match &settings.upstream {
            Some(upstream) => writeln!(f, ", in front of {}", upstream.shown())?,
            None => writeln!(f)?,
        }
        write_listeners(f, settings)?;
        if !settings.domains.is_empty() {
            writeln!(f, "domains    {}", settings.domains.join(", "))?;
        }
        if let Some(login) = &settings.own_login {
            let user = login.user();
            writeln!(f, "own calls  as user {user}, where the upstream asks")?;
        }
        for (_, peer) in settings.peers() {
            write_peer(f, peer)?;
        }
        write_routes(f, settings)?;
        if let Some(edge) = &settings.edge {
            write_edge(f, edge)?;
        }
        write_users(f, settings)?;
        match settings.calls.calls_max {
            Some(calls_max) => writeln!(f, "calls      {calls_max} at a time for a user")?,
            None => writeln!(f, "calls      as many for a user as his phone takes")?,
        }
        writeln!(f, "emergency  {}", settings.calls.emergency.join(", "))?;
        write_completion(f, &settings.completion)?;
        self.write_media(f)?;
        self.write_places(f)?;
        writeln!(f, "log        {}", self.log)?;
        if let Some(file) = &self.records {
            writeln!(f, "records    to {}", file.display())?;
        }
        write!(f, "status     http://{}/v1/status", self.api)?;
        for warning in self.warnings() {
            write!(f, "\nwarning    {warning}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Where our own sound comes from.
    fn write_media(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(media) = &self.media else {
            return Ok(());
        };
        let (ports, address) = (&media.sound.ports, media.sound.address);
        let (first, last) = (ports.start(), ports.end());
        write!(f, "media      UDP ports {first}-{last} of {address}")?;
        match &media.voice {
            Some(folder) => writeln!(f, ", with recordings of {}", folder.display()),
            None => writeln!(f),
        }
    }

    /// Where names are looked up, and where what lasts is kept.
    fn write_places(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.resolver.is_empty() {
            let servers = self.resolver.iter().map(ToString::to_string);
            let servers: Vec<_> = servers.collect();
            writeln!(f, "resolver   {}", servers.join(", "))?;
        }
        if let Some(store) = &self.store {
            let registrations = if self.shard.edge.is_some() {
                "registrations and "
            } else {
                ""
            };
            let path = store.display();
            writeln!(
                f,
                "store      {registrations}requests for completion in {path}"
            )?;
        }
        Ok(())
    }
}

fn write_listeners(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    for (id, listener) in (0..).map(ListenerId).zip(&settings.listeners) {
        let sent_by = listener.sent_by();
        let transports = match listener.carries {
            Carries::Plain => "UDP and TCP",
            Carries::Tls => "TLS",
        };
        let only = if settings.own_calls == Some(id) {
            ", for our own calls alone"
        } else {
            ""
        };
        let address = listener.bind;
        writeln!(
            f,
            "listen     {address} by {transports}, as {sent_by}{only}"
        )?;
    }
    Ok(())
}

fn write_edge(f: &mut fmt::Formatter<'_>, edge: &Edge) -> fmt::Result {
    match edge.expires_max_s {
        u32::MAX => writeln!(f, "phones     registered for as long as the PBX says")?,
        most => writeln!(f, "phones     registered for {most} s at most")?,
    }
    let (failures, of_source) = (edge.failures_max, edge.failures_of_source_max);
    let window = spelled(edge.failures_window);
    let every = spelled(edge.keep_alive_every);
    match edge.keep_alive {
        KeepAlive::Crlf => write!(f, "nat        kept open by an empty line every {every}")?,
        KeepAlive::Options => write!(f, "nat        kept open by OPTIONS every {every}")?,
        KeepAlive::Off => write!(f, "nat        not kept open")?,
    }
    let media = match edge.nat_media {
        NatMedia::Anchor => "ours, as all audio passes us",
        NatMedia::Off => "as they are",
        NatMedia::Rewrite => "written anew",
    };
    writeln!(f, "; private media addresses {media}")?;
    writeln!(
        f,
        "failures   {failures} of one user, {of_source} of one address in {window}, then 403"
    )
}

fn write_users(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    match &settings.access {
        _ if settings.edge.is_some() => writeln!(f, "users      those of the PBX"),
        _ if settings.is_trunk => writeln!(f, "users      those of the peers"),
        Some(access) => {
            let (users, realm) = (access.accounts.len(), &access.realm);
            writeln!(f, "users      {users} by password, realm {realm}")
        }
        None => writeln!(f, "users      whoever registers"),
    }
}

fn write_routes(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    for (number, route) in (1..).zip(&settings.routes) {
        let shown = explain::shown(settings, route);
        writeln!(f, "route      {number}: {shown}")?;
    }
    Ok(())
}

fn write_peer(f: &mut fmt::Formatter<'_>, peer: &Peer) -> fmt::Result {
    let completion = match peer.completion {
        PeerCompletion::Agent => "agent",
        PeerCompletion::Off => "off",
        PeerCompletion::Relay => "relay",
    };
    let dials = match peer.dials {
        Dials::Original => "the original number",
        Dials::Tokens => "tokens",
    };
    let told = if peer.dialog_events {
        "; tells of dialogs"
    } else {
        ""
    };
    let bare = match peer.cc_params {
        CcParams::Added => "",
        CcParams::LeftOut => " without parameters",
    };
    let recall = methods(&peer.recall);
    let (name, uri, hosts) = (&peer.name, peer.shown(), peer.hosts.join(", "));
    writeln!(
        f,
        "peer       {name} at {uri}, speaks for {hosts}; completion {completion}, dials {dials}{bare}; \
         recalls by {recall}{told}"
    )
}

fn methods(methods: &[RecallMethod]) -> String {
    let words = methods.iter().map(|method| match method {
        RecallMethod::Direct => "direct",
        RecallMethod::Refer => "refer",
        RecallMethod::ThirdParty => "3pcc",
    });
    words.collect::<Vec<_>>().join(", ")
}

fn write_completion(f: &mut fmt::Formatter<'_>, completion: &Completion) -> fmt::Result {
    if !completion.enabled {
        return writeln!(f, "completion off");
    }
    let service = &completion.service;
    let (times, limits) = (&service.monitor.times, &service.limits);
    writeln!(
        f,
        "completion to be asked for within {}; waits {} for the busy, {} for who does not answer, \
         {} for who is not registered",
        spelled(service.timing.offer_window),
        spelled(times.service_busy),
        spelled(times.service_no_reply),
        spelled(times.service_not_logged_in),
    )?;
    writeln!(
        f,
        "recall     after {} of guard; rings {} of {}; at most {} for a request; by {}{}",
        spelled(times.guard),
        spelled(service.agent.ring),
        spelled(times.recall),
        service.monitor.recalls_max,
        methods(&completion.recall_by),
        announced(completion),
    )?;
    writeln!(
        f,
        "camp-on    {}; {} {}, rings after {} of guard",
        match completion.on_busy {
            OnBusy::Ask => "where it is asked for in time",
            OnBusy::CampOn => "for all who find the callee busy",
            OnBusy::Refuse => "for who asks by Request-Disposition",
        },
        waits(completion),
        spelled(service.timing.camp_on_max),
        spelled(times.guard_call),
    )?;
    writeln!(
        f,
        "requests   {} for a callee, {} of a caller, {} in all",
        service.monitor.entries_max, limits.per_caller_max, limits.total_max,
    )?;
    write_codes(f, &completion.codes)?;
    if !completion.messages.is_empty() {
        writeln!(
            f,
            "messages   {} texts, {} for a callee, kept {}, sent again after {}",
            completion.messages.len(),
            limits.messages_max,
            spelled(service.timing.message_lasts),
            spelled(service.timing.message_rest),
        )?;
    }
    intrusion(&completion.intrusion, f)?;
    let Some(prompt) = &completion.prompt else {
        return Ok(());
    };
    let digits: Vec<_> = prompt
        .digits
        .iter()
        .map(|(digit, _)| digit.key().to_string())
        .collect();
    let digits = digits.join(", ");
    writeln!(f, "prompt     {digits} within {}", spelled(prompt.lasts))
}

fn write_codes(f: &mut fmt::Formatter<'_>, codes: &Codes) -> fmt::Result {
    let codes = codes.iter().map(|(text, code)| match code {
        CodeKind::Cancel => format!("{text} cancels one"),
        CodeKind::CancelAll => format!("{text} cancels all"),
        CodeKind::CancelLast => format!("{text} cancels the last"),
        CodeKind::List => format!("{text} lists all"),
        CodeKind::Message => format!("{text} leaves a text"),
        CodeKind::Request => format!("{text} requests the last to a number"),
        CodeKind::RequestLast => format!("{text} requests the last"),
        CodeKind::Resume => format!("{text} resumes"),
    });
    let codes: Vec<_> = codes.collect();
    match &*codes {
        [] => writeln!(f, "codes      none"),
        some => writeln!(f, "codes      {}", some.join(", ")),
    }
}

fn announced(completion: &Completion) -> &'static str {
    if completion.announces_recalls {
        ", announced"
    } else {
        ""
    }
}

fn waits(completion: &Completion) -> &'static str {
    if completion.camp_on_answered {
        "is answered and waits"
    } else {
        "waits"
    }
}

fn intrusion(intrusion: &Intrusion, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !intrusion.is_possible() {
        return Ok(());
    }
    let Rights {
        intrudes,
        protection,
    } = intrusion.usual;
    let (intrudes, protection) = (intrudes.get(), protection.get());
    write!(f, "intrusion  level {intrudes}, protection {protection}, ")?;
    if intrusion.is_silent {
        writeln!(f, "unheard")
    } else {
        writeln!(f, "warned every {}", spelled(intrusion.warns_every))
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {} to ", self.level.as_str(), self.format.as_str())?;
        match &self.file {
            Some(file) => write!(f, "{}", file.display()),
            None => f.write_str("the standard error"),
        }
    }
}
