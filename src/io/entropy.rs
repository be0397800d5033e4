//! The operating system's random numbers, as the seed of ours.

use crate::random::Rng;

/// A generator that nobody outside can foresee.
pub(super) fn seeded() -> Result<Rng, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(Rng::from_seed(seed))
}

/// A secret of our own.
pub(super) fn secret() -> Result<[u8; 32], getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}
