//! How campon is set up in these worlds: times so short that a seed sees several completions.

use std::time::Duration;

use campon::cc::trust::Dials;
use campon::completion::{Codes, RawCodes};
use campon::random::Rng;
use campon::shard::settings::Peer;
use campon::shard::{Listener, Settings};
use campon::sip::flow::Transport;

use super::world::PEER;
use crate::flow::kit::subject;

/// How long the callee's free lines are left to himself.
pub(super) const GUARD: Duration = Duration::from_millis(300);
/// The same before a call that waits rings him.
pub(super) const GUARD_CALL: Duration = Duration::from_millis(200);
/// How long a recall may take without a CC call.
pub(super) const RECALL: Duration = Duration::from_secs(4);
/// How long a CC call may take.
pub(super) const CC_CALL_MAX: Duration = Duration::from_secs(20);
/// How long a caller is rung.
pub(super) const RING: Duration = Duration::from_secs(3);
/// How long a caller who was not reached is left alone.
pub(super) const REST: Duration = Duration::from_secs(5);
/// In which a subscription gets at most three NOTIFYs.
pub(super) const NOTIFY_WINDOW: Duration = Duration::from_secs(3);
/// How long a call may wait.
pub(super) const CAMP_ON_MAX: Duration = Duration::from_secs(80);
/// What callers may leave, and how long it waits.
pub(super) const TEXTS: [&str; 2] = ["please call back", "where are you?"];
pub(super) const TEXT_LASTS: Duration = Duration::from_mins(4);
/// How long a failed call may be completed.
pub(super) const OFFER_WINDOW: Duration = Duration::from_secs(15);

/// A worker whose times are so short that a seed sees several completions; its peer is the
/// upstream in one half of the worlds.
pub(super) fn settings(rng: &mut Rng) -> Settings {
    let listeners = subject::listeners().map(Listener::at);
    let address = format!("{PEER}:5060").parse().expect("an address");
    let mut peer = Peer::new("office", Transport::Udp, address);
    if rng.below(2) == 0 {
        peer.dials = Dials::Tokens;
    }
    let (upstream, peers) = if rng.below(2) == 0 {
        (Some(peer), Vec::new())
    } else {
        (None, vec![peer])
    };
    let mut settings = Settings {
        listeners: listeners.to_vec(),
        upstream,
        peers,
        ..Settings::default()
    };
    if rng.below(3) == 0 {
        settings.calls.calls_max = None;
    }
    let codes = RawCodes {
        request_last: Some("*37#".to_owned()),
        cancel_last: Some("#37*#".to_owned()),
        cancel_all: Some("#37#".to_owned()),
        message: Some("*39*{index}#".to_owned()),
        resume: Some("*38#".to_owned()),
        ..RawCodes::default()
    };
    settings.completion.keeps = rng.below(8) > 0;
    settings.completion.codes = Codes::new(&codes, &[]).expect("codes that can be dialled");
    settings.completion.messages = TEXTS.map(Into::into).to_vec();
    let service = &mut settings.completion.service;
    service.timing.message_lasts = TEXT_LASTS;
    service.timing.message_rest = Duration::from_secs(5);
    service.timing.offer_window = OFFER_WINDOW;
    service.timing.camp_on_max = [CAMP_ON_MAX / 4, CAMP_ON_MAX][usize::from(rng.below(3) == 0)];
    let times = &mut service.monitor.times;
    times.guard = GUARD;
    times.guard_call = GUARD_CALL;
    times.recall = RECALL;
    times.notify_window = NOTIFY_WINDOW;
    times.cc_call_max = CC_CALL_MAX;
    times.rest = Duration::from_secs(5);
    times.aftermath = Duration::from_millis(500);
    times.service_busy = Duration::from_mins(2);
    times.service_no_reply = Duration::from_mins(3);
    times.service_not_logged_in = Duration::from_mins(5);
    let agent = &mut service.agent;
    agent.ring = RING;
    agent.cc_call_max = CC_CALL_MAX;
    agent.rest = REST;
    agent.aftermath = Duration::from_millis(500);
    settings
}
