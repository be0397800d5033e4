//! What a completion that waits takes: there may be 100 000 of them.
//!
//! Spec: DESIGN §6.

use crate::cc::monitor::Monitor;
use crate::completion::entry::Completion;
use crate::completion::names::Names;
use crate::completion::service::Route;
use crate::completion::user::User;

/// One field more in each costs a hundred thousand times as much: it has to be worth that.
#[test]
fn a_completion_that_waits_takes_little_room() {
    let rooms = [
        ("completion", size_of::<Completion>(), 256),
        ("names", size_of::<Names>(), 64),
        ("queue", size_of::<Monitor>(), 104),
        ("route", size_of::<Route>(), 16),
        ("user", size_of::<User>(), 128),
    ];
    for (what, bytes, most) in rooms {
        assert!(bytes <= most, "{what}: {bytes} bytes");
    }
}
