//! The cache of freed memory of a thread: there while there are calls, given back when there are none.
//!
//! Spec: DESIGN §6 (nothing for a call that has ended).
//!
//! With it a call costs less; a thread that falls silent would keep it for ever. Threads begin without
//! one (`.cargo/config.toml`).

use tikv_jemalloc_ctl::{Access, AsName};

/// The switch, as jemalloc names it.
const ENABLED: &[u8] = b"thread.tcache.enabled\0";

/// The cache of the thread that uses it.
#[derive(Debug, Default)]
pub(super) struct ThreadCache {
    is_on: bool,
}

impl ThreadCache {
    /// Keeps freed memory at hand from now on, or gives back all that was kept.
    pub(super) fn set(&mut self, is_on: bool) {
        if std::mem::replace(&mut self.is_on, is_on) != is_on {
            // Where another allocator is in use there is nothing to switch.
            let _switched = ENABLED.name().write(is_on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_on() -> bool {
        ENABLED.name().read().expect("jemalloc knows the switch")
    }

    #[test]
    fn the_cache_follows_its_switch() {
        let mut cache = ThreadCache::default();
        for wanted in [true, false, true] {
            cache.set(wanted);
            assert_eq!(is_on(), wanted);
        }
    }
}
