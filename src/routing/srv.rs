//! The order in which servers are tried: by priority, and among equals by weight and by chance.
//!
//! Spec: RFC 2782 ("Usage rules"); RFC 3263 §4.2, §4.3 (S-101).

use crate::random::Rng;

/// What an SRV record says of its target besides the place.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rank {
    /// The lowest is tried first.
    pub priority: u32,
    /// Among equals, how often it comes first compared with the others.
    pub weight: u16,
}

/// Brings the servers into the order in which one request tries them.
pub fn order<T>(servers: &mut [T], rank: impl Fn(&T) -> Rank, rng: &mut Rng) {
    // A weight of 0 first among equals, so that it has a small chance (RFC 2782).
    servers.sort_by_key(&rank);
    let mut rest = servers;
    while let Some(first) = rest.first() {
        let priority = rank(first).priority;
        let equals = rest
            .iter()
            .take_while(|server| rank(server).priority == priority)
            .count();
        let (equals, others) = rest.split_at_mut(equals);
        shuffle(equals, &rank, rng);
        rest = others;
    }
}

/// Draws one server after the other, each by its share of what is left.
fn shuffle<T>(servers: &mut [T], rank: &impl Fn(&T) -> Rank, rng: &mut Rng) {
    let mut rest = servers;
    while rest.len() > 1 {
        let chosen = draw(rest, rank, rng);
        // The others keep their order, the lightest first.
        if let Some(head) = rest.get_mut(..=chosen) {
            head.rotate_right(1);
        }
        rest = rest.split_at_mut(1).1;
    }
}

/// Which one is drawn.
fn draw<T>(servers: &[T], rank: &impl Fn(&T) -> Rank, rng: &mut Rng) -> usize {
    let sum: u64 = servers.iter().map(|server| weight(rank, server)).sum();
    if sum == 0 {
        // RFC 2782 leaves this order open.
        let count = u64::try_from(servers.len()).unwrap_or(u64::MAX);
        return usize::try_from(rng.below(count)).unwrap_or_default();
    }
    let drawn = rng.below(sum + 1);
    let mut running = 0;
    let chosen = servers.iter().position(|server| {
        running += weight(rank, server);
        running >= drawn
    });
    chosen.unwrap_or_default()
}

fn weight<T>(rank: &impl Fn(&T) -> Rank, server: &T) -> u64 {
    u64::from(rank(server).weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: u32 = 20_000;

    /// How often each of these comes first.
    fn firsts(servers: &[(u32, u16)]) -> Vec<u32> {
        let mut rng = Rng::from_number(7);
        let mut firsts = vec![0; servers.len()];
        for _ in 0..ROUNDS {
            let mut drawn: Vec<_> = (0..).zip(servers.iter().copied()).collect();
            let rank = |server: &(usize, (u32, u16))| Rank {
                priority: server.1.0,
                weight: server.1.1,
            };
            order(&mut drawn, rank, &mut rng);
            firsts[drawn[0].0] += 1;
        }
        firsts
    }

    #[test]
    fn a_higher_priority_number_never_comes_first() {
        // S-101
        let firsts = firsts(&[(20, 1000), (10, 1), (10, 1)]);
        assert_eq!(firsts[0], 0);
        assert!(
            firsts[1] > ROUNDS / 3 && firsts[2] > ROUNDS / 3,
            "{firsts:?}"
        );
    }

    #[test]
    fn equals_share_by_their_weight() {
        // S-101: 60 to 30 to 10, within 2 % of all.
        let firsts = firsts(&[(1, 10), (1, 60), (1, 30)]);
        for (came, share) in firsts.iter().zip([10, 60, 30]) {
            let expected = ROUNDS / 100 * share;
            assert!(came.abs_diff(expected) < ROUNDS / 50, "{firsts:?}");
        }
    }

    #[test]
    fn a_weight_of_nothing_has_a_small_chance_beside_others() {
        let firsts = firsts(&[(1, 0), (1, 50)]);
        let expected = ROUNDS / 51;
        assert!(firsts[0].abs_diff(expected) < ROUNDS / 100, "{firsts:?}");
        assert!(firsts[0] > 0);
    }

    #[test]
    fn equals_without_weights_take_turns() {
        let firsts = firsts(&[(1, 0), (1, 0)]);
        assert!(firsts[0].abs_diff(ROUNDS / 2) < ROUNDS / 50, "{firsts:?}");
    }

    #[test]
    fn every_server_is_tried_once() {
        let mut servers = [(1, 0), (3, 9), (1, 7), (2, 0), (3, 0), (1, 1)];
        let rank = |server: &(u32, u16)| Rank {
            priority: server.0,
            weight: server.1,
        };
        order(&mut servers, rank, &mut Rng::from_number(3));
        let priorities = servers.map(|server| server.0);
        assert_eq!(priorities, [1, 1, 1, 2, 3, 3]);
        servers.sort_unstable();
        assert_eq!(servers, [(1, 0), (1, 1), (1, 7), (2, 0), (3, 0), (3, 9)]);
    }
}
