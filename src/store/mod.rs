//! Where completions survive: one record each, changed by compare-and-set.
//!
//! Spec: DESIGN §11. What a record holds is its owner's business; here it is bytes.
//!
//! Invariants:
//! - a record changes only from the version that its writer saw;
//! - who lost the lease of a partition changes nothing in it any more (fencing).

pub mod disk;
pub mod keep;
pub mod memory;

/// Names a record: the partition of its callee, and its own name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Who owns a partition decides the order of its queues.
    pub partition: u8,
    /// 128 random bits.
    pub id: u128,
}

/// Counts the owners of a partition, one after another.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

/// Counts the changes of one record.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version(pub u64);

/// A change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Put {
    /// Which record.
    pub key: Key,
    /// The version that the writer saw; `None` for a record that must not exist yet.
    pub expect: Option<Version>,
    /// Under which lease.
    pub epoch: Epoch,
    /// What it says from now on; `None` removes it.
    pub record: Option<Box<[u8]>>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It is kept; this is the version now (the last one, if the record was removed).
    Done(Version),
    /// Somebody else changed the record or owns its partition: nothing was changed.
    Conflict,
    /// It may be kept or not: read before deciding.
    Unknown,
}

/// A record as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// Its version.
    pub version: Version,
    /// What it says.
    pub record: Box<[u8]>,
}

/// Counts the openings of a store, so that what was meant for an earlier one is not carried out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Opening(pub u32);

/// What a store on another thread is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// All that there is, under a new opening.
    Load,
    /// A change.
    Put(Put),
    /// One record.
    Read(Key),
}

/// What a store on another thread says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// It has failed: nothing is known of what it was asked for and did not answer.
    Failed,
    /// It is there, with these records; what it was asked for before is void.
    Opened {
        /// Under which it is asked from here on.
        opening: Opening,
        /// All that there is.
        records: Vec<(Key, Stored)>,
    },
    /// What became of a change.
    Put {
        /// Of which record.
        key: Key,
        /// What.
        answer: Answer,
    },
    /// One record.
    Read {
        /// Which.
        key: Key,
        /// As it is.
        stored: Option<Stored>,
    },
}

/// A place that keeps records.
pub trait Store {
    /// Makes a change, or does not.
    fn put(&mut self, put: Put) -> Answer;

    /// The record of this key.
    fn read(&self, key: Key) -> Option<Stored>;

    /// All records of a partition, in the order of their keys.
    fn load(&self, partition: u8) -> Vec<(Key, Stored)>;

    /// Takes a partition over: changes under earlier epochs conflict from now on.
    fn lease(&mut self, partition: u8) -> Epoch;
}
