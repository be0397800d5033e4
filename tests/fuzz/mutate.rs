//! Bends good input: bits, bytes, ranges, and pieces of other good input.

use campon::random::Rng;

/// Bytes that parsers stumble over.
const STONES: &[&[u8]] = &[
    b"\x00",
    b"\xff",
    b"\x80",
    b"\r\n",
    b"\n",
    b" ",
    b"/",
    b":",
    b"0",
    b"65536",
    b"-1",
    b"4294967296",
    b"a=",
    b"m=",
    b"c=IN IP4 ",
    b"*",
];

/// One of these, bent up to eight times.
pub(super) fn bent(rng: &mut Rng, seeds: &[&[u8]]) -> Vec<u8> {
    let mut bytes = one_of(rng, seeds).to_vec();
    for _ in 0..rng.below(9) {
        bend(rng, &mut bytes, seeds);
    }
    bytes
}

/// One of these.
pub(super) fn one_of<'s>(rng: &mut Rng, seeds: &[&'s [u8]]) -> &'s [u8] {
    seeds[below(rng, seeds.len())]
}

/// A number below this one, which is not 0.
pub(super) fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("it is below a usize")
}

fn bend(rng: &mut Rng, bytes: &mut Vec<u8>, seeds: &[&[u8]]) {
    let at = below(rng, bytes.len() + 1);
    let until = at + below(rng, bytes.len() - at + 1);
    match rng.below(7) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(rng.below(256)).expect("a byte");
            }
        }
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..until)),
        4 => {
            // Not for ever longer.
            let again = bytes[at..until.min(at + 2000)].to_vec();
            bytes.splice(at..at, again);
        }
        5 => {
            let stone = one_of(rng, STONES);
            bytes.splice(at..at, stone.iter().copied());
        }
        _ => {
            let other = one_of(rng, seeds);
            let from = below(rng, other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}
