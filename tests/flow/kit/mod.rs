//! A world in virtual time around one worker: parties at addresses, and no network.
//!
//! A party does what the ladder says and nothing else: it retransmits nothing, acknowledges
//! nothing and answers nothing by itself, so that each arrow stands in the test. What campon sends
//! is read by a parser of the kit's own and checked against what must hold of every message; what
//! no test took by the end is a failure, and so is an entry left in a table.

pub(crate) mod completion;
pub(crate) mod dialog;
pub(crate) mod dialogs;
pub(crate) mod draft;
pub(crate) mod message;
pub(crate) mod monitor;
pub(crate) mod party;
pub(crate) mod password;
pub(crate) mod relayed;
pub(crate) mod scenes;
pub(crate) mod subject;
pub(crate) mod vault;
pub(crate) mod world;
