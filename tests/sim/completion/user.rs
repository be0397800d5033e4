//! A user of campon's: he calls, asks for completion by code, takes it back, and is called back.

use std::time::Duration;

use campon::time::Timestamp;

use crate::flow::kit::message::Message;
use crate::sim::call::{Act, Call, Errand};
use crate::sim::frame::campon;
use crate::sim::phone::Phone;

/// Codes as dialled: `#` is escaped.
pub(crate) const REQUEST_LAST: &str = "*37%23";
pub(crate) const CANCEL_LAST: &str = "%2337*%23";
pub(crate) const CANCEL_ALL: &str = "%2337%23";
pub(crate) const RESUME: &str = "*38%23";
/// One of the texts is left for the callee of the last call.
pub(crate) const LEAVE: [&str; 2] = ["*39*0%23", "*39*1%23"];

/// What a user does.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Dials(Errand),
    DialsCode(&'static str),
    Leaves,
    Returns,
    /// Campon was started anew and knows of nobody.
    ComesBackTo,
}

/// A user and his phone.
pub(crate) struct User {
    pub(crate) phone: Phone,
    pub(crate) agenda: Vec<(Timestamp, Deed)>,
    is_away: bool,
    patience: Patience,
    /// Until when a patient one waits for his recall.
    waits_until: Timestamp,
}

/// What a user does while he waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patience {
    /// He goes on calling, him for whom he waits too.
    None,
    /// He calls nobody: whose turn it is then is certain.
    Some,
}

/// How long a patient user waits.
const WAITS: Duration = Duration::from_mins(1);

impl User {
    pub(crate) fn new(mut phone: Phone, patience: Patience) -> Self {
        phone.has_owner = true;
        phone.has_forks = false;
        phone.manners = match patience {
            Patience::None => manners,
            Patience::Some => manners_of_contested,
        };
        Self {
            phone,
            agenda: Vec::new(),
            is_away: false,
            patience,
            waits_until: Timestamp::START,
        }
    }

    pub(crate) fn is_patient(&self) -> bool {
        self.patience == Patience::Some
    }

    pub(crate) fn act(&mut self, now: Timestamp, deed: Deed) {
        match deed {
            Deed::Leaves => {
                self.is_away = true;
                self.phone.count("gone away");
                self.phone.unregister(now, campon());
                let back = 2_000 + self.phone.rng.below(15_000);
                self.plan(now, back, Deed::Returns);
            }
            // Who is away neither calls nor asks whether he is back.
            Deed::ComesBackTo | Deed::Dials(_) | Deed::DialsCode(_) if self.is_away => {}
            Deed::Dials(_) if now < self.waits_until => {}
            Deed::Dials(_) | Deed::DialsCode(_) if self.phone.talks_on() => {}
            Deed::Returns | Deed::ComesBackTo => {
                self.is_away = false;
                self.phone.register(now, campon());
            }
            Deed::Dials(errand) => self.phone.dial(now, &errand),
            Deed::DialsCode(code) => {
                self.phone.count("codes");
                let uri = format!("sip:{code}@{}", self.phone.domain);
                self.phone.dial(now, &errand(uri, 30_000, 30_000));
            }
        }
    }

    /// Takes in what his phone was told.
    pub(crate) fn react(&mut self, now: Timestamp) {
        for (request, response) in std::mem::take(&mut self.phone.told) {
            if request.kind() != "INVITE" || !request.tag_of_to().is_empty() {
                continue;
            }
            let wait = 50 + self.phone.rng.below(3_000);
            match (request.uri().contains("%23"), response.status()) {
                (true, 200) => self.after_code(now, request.uri()),
                (false, 400..) => match self.phone.rng.below(100) {
                    0..15 if self.patience == Patience::None => {
                        let text = LEAVE[index(self.phone.rng.below(2))];
                        self.plan(now, wait, Deed::DialsCode(text));
                    }
                    0..85 => self.plan(now, wait, Deed::DialsCode(REQUEST_LAST)),
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn after_code(&mut self, now: Timestamp, uri: &str) {
        if LEAVE.iter().any(|text| uri.contains(text)) {
            self.phone.count("texts left");
            let wait = self.phone.rng.below(25_000);
            if self.phone.rng.below(4) == 0 {
                self.plan(now, wait, Deed::DialsCode(CANCEL_ALL));
            }
            return;
        }
        if !uri.contains(REQUEST_LAST) {
            return self.phone.count("cancels heard");
        }
        self.phone.count("completions heard");
        if self.patience == Patience::Some {
            self.waits_until = now + WAITS;
        }
        let wait = self.phone.rng.below(25_000);
        match self.phone.rng.below(10) {
            0 | 1 => self.plan(now, wait, Deed::DialsCode(CANCEL_ALL)),
            2 => self.plan(now, wait, Deed::DialsCode(CANCEL_LAST)),
            3 => self.plan(now, wait, Deed::DialsCode(RESUME)),
            _ => {}
        }
    }

    pub(crate) fn plan(&mut self, now: Timestamp, after_ms: u64, deed: Deed) {
        let at = now + Duration::from_millis(after_ms);
        self.agenda.push((at, deed));
    }
}

/// A call of so much patience and so long a talk.
pub(crate) fn errand(uri: String, patience_ms: u64, talk_ms: u64) -> Errand {
    Errand {
        uri,
        to: campon(),
        patience: Duration::from_millis(patience_ms),
        talks: Duration::from_millis(talk_ms),
        changes: Vec::new(),
        offers_late: false,
        lines: "",
    }
}

/// A call that is to wait where its callee is busy (RFC 3841 §9.1), and whose caller does so for long:
/// some for more than the minute after which they hear of it again, all for less than a phone rings.
pub(crate) fn waits(errand: Errand) -> Errand {
    Errand {
        patience: errand.patience * 8,
        lines: "Request-Disposition: queue\r\n",
        ..errand
    }
}

/// The same where callers wait for their turns: the callee has often taken another call meanwhile.
fn manners_of_contested(phone: &mut Phone, now: Timestamp, invite: &Message, call: &mut Call) {
    let is_cc_call = invite.body().is_empty() && !invite.has("Alert-Info");
    if is_cc_call && phone.rng.below(2) == 0 {
        return call.plan(now, Act::Answer(486));
    }
    manners(phone, now, invite, call);
}

/// How users take calls and recalls.
pub(crate) fn manners(phone: &mut Phone, now: Timestamp, invite: &Message, call: &mut Call) {
    let after = |ms: u64| now + Duration::from_millis(ms);
    let soon = phone.rng.below(200);
    let later = soon + 100 + phone.rng.below(2_500);
    if phone.talks_on() {
        phone.count("busy with a call of before");
        return call.plan(now, Act::Answer(486));
    }
    let is_recall = invite.has("Alert-Info");
    if is_recall {
        phone.count("recalls received");
    }
    call.talks = Duration::from_millis(300 + phone.rng.below(12_000));
    let refusal = [480, 486, 486, 603][index(phone.rng.below(4))];
    match phone.rng.below(20) {
        0 => {
            call.plan(after(soon), Act::Ring(100));
            // Later than timer C (RFC 3261 §16.6): a caller of whom nothing is heard any more is
            // taken for one who waits.
            call.plan(after(200_000), Act::GivesUp);
        }
        // It rings and nobody comes.
        1..4 => {
            call.plan(after(soon), Act::Ring(180));
            // A phone that nobody told of the end gives up by itself.
            call.plan(after(90_000), Act::Answer(480));
        }
        4 | 5 => call.plan(after(soon), Act::Answer(refusal)),
        6 => {
            call.plan(after(soon), Act::Ring(180));
            call.plan(after(later), Act::Answer(refusal));
        }
        7 | 8 => call.plan(after(soon), Act::Answer(200)),
        _ => {
            call.plan(after(soon), Act::Ring(180));
            call.plan(after(later), Act::Answer(200));
        }
    }
}

pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).expect("small")
}
