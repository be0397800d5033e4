//! What outlives a process: completions by compare-and-set, and whatever else by its last word.
//!
//! Spec: DESIGN §11; RULES R12.

use crate::store::{Answer, Key, Put, Stored};

/// A change of one record that is not a completion: the last writing counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Which record.
    pub key: Box<[u8]>,
    /// What it says from now on; `None` removes it.
    pub record: Option<Box<[u8]>>,
}

/// A record with its key.
pub type Kept = (Box<[u8]>, Box<[u8]>);

/// Why nothing was kept or read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Unkept(pub String);

/// A place that keeps records over a restart.
///
/// After an error nothing is known of what was to be written, and it must be opened anew.
pub trait Keep {
    /// The secret that belongs to the records; `fresh` if there was none.
    fn secret(&mut self, fresh: [u8; 32]) -> Result<[u8; 32], Unkept>;

    /// Finds out whether anything can be written: after a failure, before it is relied on again.
    fn probe(&mut self) -> Result<(), Unkept>;

    /// All records that are not completions, in the order of their keys.
    fn load(&self) -> Result<Vec<Kept>, Unkept>;

    /// All completions, in the order of their keys.
    fn completions(&self) -> Result<Vec<(Key, Stored)>, Unkept>;

    /// One completion.
    fn read(&self, key: Key) -> Result<Option<Stored>, Unkept>;

    /// Makes all of these changes, in their order, or none; of the puts, those whose record is as
    /// their writer saw it. When this returns, what was written outlives a loss of power.
    fn write(&mut self, changes: &[Change], puts: &[Put]) -> Result<Vec<Answer>, Unkept>;
}
