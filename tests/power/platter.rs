//! A disk that loses its power: of what was not synced, some is written, some is torn, some is gone.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use campon::random::Rng;
use redb::StorageBackend;

/// What a disk writes as a whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A disk, and what is plugged into it: all clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Platter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What is on it for good.
    synced: Vec<u8>,
    /// What was done since, in its order.
    pending: Vec<Change>,
    /// What who has power sees.
    live: Vec<u8>,
    /// How many changes may still be made before everything fails.
    changes_left: Option<u32>,
    /// Whether a sync is no sync: as a store without durability does it.
    lies: bool,
    /// Who was plugged in before sees nothing any more.
    plugged: u32,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

/// One process's handle of it.
#[derive(Debug)]
pub(super) struct Plug {
    platter: Platter,
    number: u32,
}

impl Platter {
    pub(super) fn new(lies: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            lies,
            ..State::default()
        })))
    }

    /// A handle for a new process; those before are dead.
    pub(super) fn plug(&self) -> Plug {
        let mut state = self.state();
        state.plugged += 1;
        Plug {
            platter: self.clone(),
            number: state.plugged,
        }
    }

    /// After so many more changes everything fails; `None` mends it.
    pub(super) fn fail_after(&self, changes: Option<u32>) {
        self.state().changes_left = changes;
    }

    /// The power goes and comes back.
    pub(super) fn lose_power(&self, rng: &mut Rng) {
        let mut state = self.state();
        let state = &mut *state;
        state.plugged += 1;
        state.changes_left = None;
        let mut pending = std::mem::take(&mut state.pending);
        // In whatever order the disk likes.
        for at in (1..pending.len()).rev() {
            let other = below(rng, at + 1);
            pending.swap(at, other);
        }
        // Mostly half of it; at times all of it or nothing.
        let kept = rng.below(9);
        for change in &pending {
            if rng.below(8) < kept {
                apply(&mut state.synced, change, tear(rng, change));
            }
        }
        state.live.clone_from(&state.synced);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Plug {
    fn state(&self) -> Result<MutexGuard<'_, State>, io::Error> {
        let state = self.platter.state();
        if state.plugged == self.number {
            Ok(state)
        } else {
            Err(failed())
        }
    }

    fn change(&self, change: Change) -> Result<(), io::Error> {
        let mut state = self.state()?;
        match &mut state.changes_left {
            Some(0) => return Err(failed()),
            Some(left) => *left -= 1,
            None => {}
        }
        apply(&mut state.live, &change, None);
        state.pending.push(change);
        Ok(())
    }
}

impl StorageBackend for Plug {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state()?.live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state()?;
        let start = position(offset)?;
        let found = state.live.get(start..start + out.len());
        out.copy_from_slice(found.ok_or_else(failed)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.change(Change::Length(position(length)?))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.state()?;
        let state = &mut *state;
        if state.changes_left == Some(0) {
            return Err(failed());
        }
        if !state.lies {
            for change in state.pending.drain(..) {
                apply(&mut state.synced, &change, None);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.change(Change::Write(position(offset)?, data.to_vec()))
    }
}

/// Makes a change, or of a write only its first bytes or its last.
fn apply(image: &mut Vec<u8>, change: &Change, torn: Option<(bool, usize)>) {
    match change {
        Change::Length(length) => image.resize(*length, 0),
        Change::Write(at, bytes) => {
            let end = at + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            let range = match torn {
                None => 0..bytes.len(),
                Some((true, cut)) => 0..cut,
                Some((false, cut)) => cut..bytes.len(),
            };
            image[at + range.start..at + range.end].copy_from_slice(&bytes[range]);
        }
    }
}

/// Where a write is torn, if it is: before it or behind it nothing is written.
fn tear(rng: &mut Rng, change: &Change) -> Option<(bool, usize)> {
    let Change::Write(_, bytes) = change else {
        return None;
    };
    let sectors = bytes.len() / SECTOR_BYTES;
    if sectors < 2 || rng.below(4) > 0 {
        return None;
    }
    let cut = (1 + below(rng, sectors - 1)) * SECTOR_BYTES;
    Some((rng.below(2) == 0, cut))
}

pub(super) fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}

fn position(offset: u64) -> Result<usize, io::Error> {
    usize::try_from(offset).map_err(|_| failed())
}

fn failed() -> io::Error {
    io::Error::other("the disk is gone")
}
