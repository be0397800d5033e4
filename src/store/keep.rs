//! What outlives a process beside completions: records by key, of which the last writing counts.
//!
//! Spec: DESIGN §11; RULES R12.

/// A change of one record.
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
pub trait Keep {
    /// The secret that belongs to the records; `fresh` if there was none.
    fn secret(&mut self, fresh: [u8; 32]) -> Result<[u8; 32], Unkept>;

    /// All records, in the order of their keys.
    fn load(&self) -> Result<Vec<Kept>, Unkept>;

    /// Makes all of these changes, in their order, or none.
    fn write(&mut self, changes: &[Change]) -> Result<(), Unkept>;
}
