//! What strangers send to the ports of sound, bent in every way: nothing panics, and what is taken is
//! what was agreed on.
//!
//! Cases are made from good packets by a seeded machine, so that a failure comes again: it prints the
//! seed. `tests/fuzz/run` does so for a minute each; the everyday tests see a few thousand.

mod decoders;
mod editors;
mod mutate;
mod packets;
mod session;

use campon::random::Rng;

/// How many cases the everyday tests see.
const CASES: u64 = 5000;

/// Cases between two looks at the clock.
const BATCH: u64 = 256;

/// Lets a test judge one case after the other, each made by a seed of its own: so many of them, or
/// for `CAMPON_FUZZ_SECONDS`, or that of `CAMPON_FUZZ_SEED` alone.
fn each_case(share: u64, mut judge: impl FnMut(&mut Rng)) {
    let mut run = |seed: u64| {
        let shown = Shown(seed);
        judge(&mut Rng::from_number(seed));
        std::mem::forget(shown);
    };
    if let Some(only) = asked("CAMPON_FUZZ_SEED") {
        return run(only);
    }
    let Some(seconds) = asked("CAMPON_FUZZ_SECONDS") else {
        return (0..CASES / share).for_each(run);
    };
    let mut seed = 0;
    let clock = Clock::start();
    while clock.seconds() < seconds {
        (seed..seed + BATCH / share.min(BATCH)).for_each(&mut run);
        seed += BATCH / share.min(BATCH);
    }
    println!("{seed} cases in {seconds} s");
}

/// Says which case it was, should its test panic.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        println!("CAMPON_FUZZ_SEED={}", self.0);
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "how long to test is a matter of real time"
)]
struct Clock(std::time::Instant);

impl Clock {
    #[expect(
        clippy::disallowed_types,
        reason = "how long to test is a matter of real time"
    )]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn seconds(&self) -> u64 {
        self.0.elapsed().as_secs()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to test is not a setting of the program"
)]
fn asked(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
