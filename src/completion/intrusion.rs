//! Intrusion: who may join whose call, as a rule without state.
//!
//! Spec: ECMA-202 (QSIG call intrusion: capability and protection levels); RFC 3911 §4, §8;
//! RFC 5850 §3.3.5; RULES R17, R23; TAPI `LINECALLCOMPLMODE_INTRUDE`.
//!
//! - Who has no level of his own may not, whoever the others are.
//! - The intruder's level has to be above the protection of each of the two who talk.
//! - Calls for help and private calls are joined by nobody, at any level.

/// A level of QSIG's scale, 0 to 3.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Level(u8);

impl Level {
    /// None: as intruder, nobody; as one who is protected, from nobody.
    pub const NONE: Self = Self(0);
    /// The highest: as protection, from everybody.
    pub const FULL: Self = Self(3);

    /// `None` if it is not on the scale.
    pub fn new(level: u32) -> Option<Self> {
        let level = u8::try_from(level).ok().map(Self)?;
        (level <= Self::FULL).then_some(level)
    }

    /// Its number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// What a user may do to the calls of others, and they to his.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rights {
    /// His level as intruder; [`Level::NONE`] may not intrude at all.
    pub intrudes: Level,
    /// His protection, in calls that he talks on, whoever is intruded on.
    pub protection: Level,
}

impl Rights {
    /// Nobody may intrude on him, and he on nobody.
    pub const DENIED: Self = Self {
        intrudes: Level::NONE,
        protection: Level::FULL,
    };
}

/// What calls the target has; of several that are true, the first in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Situation {
    /// One of his calls is for help, or calls back somebody who called for help (RFC 7090); or one of
    /// the two has called for help within the hour.
    Emergency,
    /// A party of one of his calls wants it private (RFC 3323).
    Private,
    /// He has none.
    Idle,
    /// More than one.
    Several,
    /// One that nobody has answered yet.
    Ringing,
    /// One that is on hold.
    Held,
    /// One, on which two talk.
    Talking,
}

/// An attempt to join a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The level of who asks.
    pub intruder: Level,
    /// The protection of whom he called.
    pub target: Level,
    /// The protection of whom that one talks to.
    pub third: Level,
    /// What calls the target has.
    pub situation: Situation,
}

/// Why a call is not joined.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Denied {
    /// [`Situation::Emergency`]
    #[error("the call is for help")]
    Emergency,
    /// [`Situation::Held`]
    #[error("the call is on hold")]
    Held,
    /// [`Situation::Idle`]
    #[error("there is no call to join")]
    Idle,
    /// Neither the target's phone nor we can bring three together.
    #[error("the callee's phone cannot join calls")]
    NoMeans,
    /// The intruder has no level.
    #[error("the caller may not intrude")]
    NoRight,
    /// [`Situation::Private`]
    #[error("the call is private")]
    Private,
    /// [`Situation::Ringing`]
    #[error("the call is not answered")]
    Ringing,
    /// [`Situation::Several`]
    #[error("the callee has several calls")]
    Several,
    /// The target's protection is not below the intruder's level.
    #[error("the callee is protected")]
    TargetProtected,
    /// The same of whom the target talks to.
    #[error("the other party is protected")]
    ThirdProtected,
}

impl Denied {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::Held => "held",
            Self::Idle => "idle",
            Self::NoMeans => "no-means",
            Self::NoRight => "no-right",
            Self::Private => "private",
            Self::Ringing => "ringing",
            Self::Several => "several",
            Self::TargetProtected => "target-protected",
            Self::ThirdProtected => "third-protected",
        }
    }

    /// The status of the response.
    pub fn status(self) -> u16 {
        self.answers().0
    }

    /// The TAPI error that a provider returns for it: OPERATIONUNAVAIL, or RESOURCEUNAVAIL.
    pub fn line_error(self) -> u32 {
        self.answers().1
    }

    fn answers(self) -> (u16, u32) {
        match self {
            Self::NoMeans => (488, 0x8000_004b),
            // RFC 3911 §4: who is not authorized.
            Self::Emergency
            | Self::Held
            | Self::Idle
            | Self::NoRight
            | Self::Private
            | Self::Ringing
            | Self::Several
            | Self::TargetProtected
            | Self::ThirdProtected => (403, 0x8000_0049),
        }
    }
}

/// Whether the call may be joined.
///
/// Who may not anyhow learns nothing of the call: rights and the target's protection come first.
pub fn decide(attempt: &Attempt) -> Result<(), Denied> {
    if attempt.intruder == Level::NONE {
        return Err(Denied::NoRight);
    }
    if attempt.intruder <= attempt.target {
        return Err(Denied::TargetProtected);
    }
    match attempt.situation {
        Situation::Emergency => Err(Denied::Emergency),
        Situation::Private => Err(Denied::Private),
        Situation::Idle => Err(Denied::Idle),
        Situation::Several => Err(Denied::Several),
        Situation::Ringing => Err(Denied::Ringing),
        Situation::Held => Err(Denied::Held),
        Situation::Talking if attempt.intruder <= attempt.third => Err(Denied::ThirdProtected),
        Situation::Talking => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [Level; 4] = [Level(0), Level(1), Level(2), Level(3)];
    const SITUATIONS: [Situation; 7] = [
        Situation::Emergency,
        Situation::Private,
        Situation::Idle,
        Situation::Several,
        Situation::Ringing,
        Situation::Held,
        Situation::Talking,
    ];

    /// Who may join whose call, for every intruder, target and third party: `+` is allowed, `-` has no
    /// right, `t` is a protected target, `3` a protected third party; in columns the third party 0 to
    /// 3, in groups the target 0 to 3.
    #[test]
    fn every_level_meets_every_other() {
        let mut table = Vec::new();
        for intruder in LEVELS {
            let mut row = String::new();
            for target in LEVELS {
                for third in LEVELS {
                    let situation = Situation::Talking;
                    row.push(
                        match decide(&Attempt {
                            intruder,
                            target,
                            third,
                            situation,
                        }) {
                            Ok(()) => '+',
                            Err(Denied::NoRight) => '-',
                            Err(Denied::TargetProtected) => 't',
                            Err(Denied::ThirdProtected) => '3',
                            Err(other) => panic!("{other}"),
                        },
                    );
                }
                row.push(' ');
            }
            table.push(row.trim_end().to_owned());
        }
        assert_eq!(
            table,
            [
                "---- ---- ---- ----",
                "+333 tttt tttt tttt",
                "++33 ++33 tttt tttt",
                "+++3 +++3 +++3 tttt",
            ]
        );
    }

    /// RULES R17, R23: no level opens a call for help or a private one, and only one call on which two
    /// talk is joined.
    #[test]
    fn no_level_opens_a_call_that_is_not_two_talking() {
        for situation in SITUATIONS {
            let expected = match situation {
                Situation::Emergency => Err(Denied::Emergency),
                Situation::Private => Err(Denied::Private),
                Situation::Idle => Err(Denied::Idle),
                Situation::Several => Err(Denied::Several),
                Situation::Ringing => Err(Denied::Ringing),
                Situation::Held => Err(Denied::Held),
                Situation::Talking => Ok(()),
            };
            for third in LEVELS.into_iter().filter(|third| *third < Level::FULL) {
                let highest = Attempt {
                    intruder: Level::FULL,
                    target: Level::NONE,
                    third,
                    situation,
                };
                assert_eq!(decide(&highest), expected, "{situation:?} {third:?}");
            }
        }
    }

    /// What calls the target has is not for those who may not intrude on him.
    #[test]
    fn who_may_not_intrude_learns_nothing_of_the_call() {
        for situation in SITUATIONS {
            for third in LEVELS {
                let attempt = |intruder, target| {
                    decide(&Attempt {
                        intruder,
                        target,
                        third,
                        situation,
                    })
                };
                for target in LEVELS {
                    assert_eq!(attempt(Level::NONE, target), Err(Denied::NoRight));
                }
                let pairs = LEVELS.into_iter().skip(1);
                let pairs = pairs.flat_map(|intruder| LEVELS.map(|target| (intruder, target)));
                for (intruder, target) in pairs.filter(|(intruder, target)| target >= intruder) {
                    let denied = Err(Denied::TargetProtected);
                    assert_eq!(attempt(intruder, target), denied);
                }
            }
        }
    }

    #[test]
    fn a_level_is_one_of_four() {
        assert_eq!(Level::new(3), Some(Level::FULL));
        assert_eq!(Level::new(4), None);
        assert_eq!(Rights::DENIED.intrudes, Level::NONE);
        assert_eq!(Rights::DENIED.protection, Level::FULL);
    }
}
