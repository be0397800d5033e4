//! What becomes of campon in a world, beside what others ask of it: its network, its ends, its store.

use campon::random::Rng;

use crate::sim::network::Conditions;
use crate::sim::phone::Network;

/// Drawn at the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub(super) conditions: Conditions,
    pub(super) ends: Ends,
    /// How often the store fails or is slow.
    pub(super) troubles: u64,
}

/// How its processes end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    /// Not at all.
    Never,
    /// At any output.
    Crashes,
    /// It is told to stop; what it keeps nobody goes on with.
    Stops,
    /// Both, and a next process goes on.
    CrashesAndStops,
}

impl Fate {
    pub(super) fn drawn(rng: &mut Rng, keeps: bool) -> Self {
        let conditions = match rng.below(3) {
            0 => Conditions::worst(rng),
            _ => Conditions::BAD,
        };
        // Two worlds in three crash, of whatever network, if anything is kept; only who keeps
        // nothing may stop for good.
        let crashes = rng.below(3) > 0 && keeps;
        let stops = rng.below(if keeps { 4 } else { 2 }) == 0;
        let ends = match (crashes, stops) {
            (true, true) => Ends::CrashesAndStops,
            (true, false) => Ends::Crashes,
            (false, true) if !keeps => Ends::Stops,
            (false, _) => Ends::Never,
        };
        // What a process that ends leaves behind is looked at where the store does what it is told.
        let has_troubles = ends == Ends::Never && keeps && rng.below(2) == 0;
        Self {
            conditions,
            ends,
            troubles: if has_troubles { 1 + rng.below(4) } else { 0 },
        }
    }

    pub(super) fn crashes(self) -> bool {
        matches!(self.ends, Ends::Crashes | Ends::CrashesAndStops)
    }

    pub(super) fn stops(self) -> bool {
        matches!(self.ends, Ends::Stops | Ends::CrashesAndStops)
    }

    /// What phones must put up with.
    pub(super) fn network(self) -> Network {
        if self.conditions.stale > 0 || self.crashes() {
            Network::Haunts
        } else if self.conditions.is_hopeless() || self.stops() {
            Network::Loses
        } else {
            Network::Mends
        }
    }
}
