//! What holds and is still worth a second thought: dangers, and what no standard says.

use std::time::Duration;

use crate::call::Policy;
use crate::cc::trust::Dials;
use crate::routing::table::OnBusy;
use crate::shard::settings::Settings;

use super::value::spelled;
use super::{Config, Level};

/// Timer C of RFC 3261 is longer.
const TIMER_C_LEAST: Duration = Duration::from_mins(3);
/// T1 of RFC 3261.
const T1: Duration = Duration::from_millis(500);

impl Config {
    /// A sentence for each: the key, and what is risky about its value.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let settings = &self.shard;
        warnings.extend(open_door(settings));
        if settings.calls.emergency.is_empty() {
            let risk =
                "calls.emergency: no number gets through whatever the load and whoever talks";
            warnings.push(risk.to_owned());
        }
        warnings.extend(times(settings));
        if matches!(self.log.level, Level::Debug | Level::Trace) {
            let level = self.log.level.as_str();
            warnings.push(format!(
                "log.level: {level} shows names, numbers and who calls whom"
            ));
        }
        if settings.completion.enabled {
            warnings.extend(completion(settings));
        }
        warnings.extend(waiting(settings));
        warnings.extend(unheard(settings));
        warnings.extend(codes_without_phones(settings));
        warnings.extend(self.missing_folders());
        warnings
    }

    /// The files that a start would not be able to make.
    fn missing_folders(&self) -> impl Iterator<Item = String> {
        let files = [
            ("log.file", &self.log.file),
            ("records.file", &self.records),
            ("store.path", &self.store),
        ];
        files.into_iter().filter_map(|(key, file)| {
            let folder = file.as_deref()?.parent()?;
            // A bare name is in the folder that we are started in.
            let is_missing = !folder.as_os_str().is_empty() && !folder.is_dir();
            is_missing.then(|| format!("{key}: there is no folder {} yet", folder.display()))
        })
    }
}

/// T29: who talks does not know who listens.
fn unheard(settings: &Settings) -> Option<String> {
    let intrusion = &settings.completion.intrusion;
    let is_silent = intrusion.is_silent && intrusion.is_possible();
    is_silent.then(|| {
        "completion.intrusion.silent: calls are joined unheard, which is a crime in many countries"
            .to_owned()
    })
}

/// R11: what is dialled at a peer is the peer's to understand.
fn codes_without_phones(settings: &Settings) -> Option<String> {
    let has_codes = settings.completion.codes.iter().next().is_some();
    let has_any = has_codes || settings.completion.prompt.is_some();
    (settings.is_trunk && has_any)
        .then(|| "completion: codes and prompts are for phones, and trunk mode has none".to_owned())
}

/// R11: between peers nobody waits.
fn waiting(settings: &Settings) -> Option<String> {
    let routes = settings.routes.iter().filter_map(|route| route.on_busy);
    let mut wishes = routes.chain([settings.completion.on_busy]);
    let waits = settings.is_trunk && wishes.any(|wish| wish != OnBusy::Refuse);
    waits.then(|| "on_busy: in trunk mode the PBX decides what a busy callee means".to_owned())
}

/// Whoever reaches a registrar without users is one of them.
fn open_door(settings: &Settings) -> Option<String> {
    let mut public = settings.listeners.iter().map(|it| it.bind);
    let public = public.find(|bind| !bind.ip().is_loopback())?;
    if settings.access.is_some() || settings.edge.is_some() || settings.is_trunk {
        return None;
    }
    let reach = match &settings.upstream {
        Some(upstream) => format!(" and call through {}", upstream.name),
        None => String::new(),
    };
    Some(format!(
        "registrar.open: whoever reaches {public} may register{reach} without a password; a [[user]] closes it"
    ))
}

fn times(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let (timing, rings) = (settings.timing, settings.call_timing.rings);
    if timing.t1 < T1 {
        let t1 = spelled(timing.t1);
        warnings.push(format!(
            "timing.t1_ms: {t1}, RFC 3261 says 500ms unless the network is a closed one"
        ));
    }
    if rings <= TIMER_C_LEAST {
        let rings = spelled(rings);
        warnings.push(format!(
            "timing.timer_c_ms: {rings}, RFC 3261 says more than 3min"
        ));
    }
    let least_s = settings.call_policy.session_least_s;
    // S-90
    if least_s < Policy::default().session_least_s {
        warnings.push(format!(
            "calls.min_se: {least_s}s, RFC 4028 says 90s at least"
        ));
    }
    let delay_max = settings.overload.delay_max;
    if delay_max >= timing.t1 {
        let (delay, t1) = (spelled(delay_max), spelled(timing.t1));
        warnings.push(format!(
            "overload.delay_target_ms: {delay}, so that requests are repeated (T1 is {t1}) before they are refused"
        ));
    }
    warnings
}

fn completion(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let upstream = settings.upstream.as_ref();
    // R7: its dial plan reaches the world at our users' cost.
    if upstream.is_some_and(|upstream| upstream.dials == Dials::Tokens) {
        let risk = "upstream.dials: a PBX may take a made-up name for something to dial";
        warnings.push(risk.to_owned());
    }
    let times = &settings.completion.service.monitor.times;
    // CC-42
    if !(Duration::from_secs(10)..=Duration::from_secs(20)).contains(&times.recall) {
        let recall = spelled(times.recall);
        warnings.push(format!(
            "completion.recall: {recall}, RFC 6910 says 10s to 20s"
        ));
    }
    // CC-65
    if times.notify_window < Duration::from_secs(10) {
        let window = spelled(times.notify_window);
        warnings.push(format!(
            "completion.notify_window: {window}, RFC 6910 says 10s"
        ));
    }
    warnings
}
