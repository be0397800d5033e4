//! Ladders: the drawing at the head of a scenario file, and its comparison with a trace.
//!
//! The names stand on the first line, `alice … campon` or `campon … bob`; the phone is the one that is
//! not campon. Each arrow carries a message's label; `(100 INVITE)` may be absent; what stands in
//! square brackets is for people.

use std::fmt;

use crate::trace::{Direction, Trace};

/// One arrow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Arrow {
    direction: Direction,
    label: String,
    may_be_absent: bool,
}

/// The arrows of one phone, top to bottom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ladder(Vec<Arrow>);

impl Ladder {
    /// Reads the drawing in the comment that opens a scenario file.
    pub fn of_scenario(text: &str) -> Option<Self> {
        let opened = text.split_once("?>").map_or(text, |(_, rest)| rest);
        let (comment, _) = opened
            .trim_start()
            .strip_prefix("<!--")?
            .split_once("-->")?;
        let to_the_right = comment.lines().find_map(|line| {
            let names: Vec<_> = line.split_whitespace().collect();
            match names.as_slice() {
                ["campon", _] => Some(Direction::Received),
                [_, "campon"] => Some(Direction::Sent),
                _ => None,
            }
        })?;
        let arrows = comment.lines().filter_map(|line| arrow(line, to_the_right));
        let arrows: Vec<_> = arrows.collect();
        (!arrows.is_empty()).then_some(Self(arrows))
    }

    /// The ladder of what really happened.
    pub fn of_trace(trace: &Trace) -> Self {
        let arrows = trace.all.iter().map(|logged| Arrow {
            direction: logged.direction,
            label: logged.message.label(),
            may_be_absent: false,
        });
        Self(arrows.collect())
    }

    /// This ladder, and below it another one of the same phone.
    pub fn then(mut self, next: Self) -> Self {
        self.0.extend(next.0);
        self
    }

    /// How many of these arrows are drawn, the ones that may be absent not counted.
    pub fn len(&self) -> usize {
        self.0.iter().filter(|arrow| !arrow.may_be_absent).count()
    }

    /// Whether `seen` is this ladder: each arrow once, in order, and no other.
    pub fn allows(&self, seen: &Self) -> bool {
        let mut seen = seen.0.iter().peekable();
        for arrow in &self.0 {
            let same =
                |other: &&Arrow| other.direction == arrow.direction && other.label == arrow.label;
            if seen.next_if(same).is_none() && !arrow.may_be_absent {
                return false;
            }
        }
        seen.next().is_none()
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for arrow in &self.0 {
            let note = if arrow.may_be_absent { " (or not)" } else { "" };
            writeln!(f, "    {} {}{note}", arrow.direction, arrow.label)?;
        }
        Ok(())
    }
}

fn arrow(line: &str, to_the_right: Direction) -> Option<Arrow> {
    let inside = line.trim().strip_prefix('│')?.strip_suffix('│')?;
    let direction = match (inside.contains('►'), to_the_right) {
        (true, direction) => direction,
        (false, Direction::Sent) => Direction::Received,
        (false, Direction::Received) => Direction::Sent,
    };
    let text = inside.split('[').next().unwrap_or_default().to_owned()
        + inside.rsplit_once(']').map_or("", |(_, rest)| rest);
    let label = text.replace(['─', '►', '◄'], "");
    let label = label.trim();
    let bare = label
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    Some(Arrow {
        direction,
        label: bare.unwrap_or(label).to_owned(),
        may_be_absent: bare.is_some(),
    })
}

#[test]
fn a_drawing_is_read_from_the_side_of_the_phone() {
    let drawn = Ladder::of_scenario(
        "<!--\nA call.\n  campon       bob\n  │ INVITE sdp ──► │\n  │ ◄─ (100 INVITE) │\n\
           │ ◄─ 486 INVITE [busy] │\n-->",
    );
    let drawn = drawn.expect("a ladder");
    let arrow = |direction, label: &str, may_be_absent| Arrow {
        direction,
        label: label.to_owned(),
        may_be_absent,
    };
    let expected = Ladder(vec![
        arrow(Direction::Received, "INVITE sdp", false),
        arrow(Direction::Sent, "100 INVITE", true),
        arrow(Direction::Sent, "486 INVITE", false),
    ]);
    assert_eq!(drawn, expected);
}

#[test]
fn a_repeated_message_is_not_in_the_ladder() {
    let drawn = Ladder::of_scenario("<!--\n a  campon\n│ BYE ──► │\n│ ◄── 200 BYE │\n-->");
    let drawn = drawn.expect("a ladder");
    let mut seen = drawn.clone();
    assert!(drawn.allows(&seen));
    seen.0.push(seen.0.last().expect("the 200").clone());
    assert!(!drawn.allows(&seen));
}
