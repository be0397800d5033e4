//! How long the table and the wheel take: an entry that comes and goes, a deadline that is armed and passes.

use std::hint::black_box;
use std::time::Duration;

use campon::table::Key;
use campon::table::Table;
use campon::time::Timestamp;
use campon::wheel::Wheel;
use criterion::Criterion;

/// What is held beside what is measured: the transactions of 2 000 calls a second.
const HELD: u64 = 50_000;

/// As large as a machine with its bookkeeping.
type Entry = [u64; 16];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    insert_and_remove(&mut criterion);
    look_up(&mut criterion);
    take_and_put_back(&mut criterion);
    arm_and_take_due(&mut criterion);
    criterion.final_summary();
}

fn filled() -> (Table<Entry>, Vec<Key>) {
    let mut table = Table::new(1_000_000);
    let keys = (0..HELD).map(|value| table.insert([value; 16]).expect("there is room"));
    let keys = keys.collect();
    (table, keys)
}

fn insert_and_remove(criterion: &mut Criterion) {
    let (mut table, _held) = filled();
    criterion.bench_function("table/insert and remove", |bencher| {
        bencher.iter(|| {
            let key = table.insert(black_box([1; 16])).expect("there is room");
            table.remove(key)
        });
    });
}

fn look_up(criterion: &mut Criterion) {
    let (table, keys) = filled();
    let mut keys = keys.iter().cycle();
    criterion.bench_function("table/get", |bencher| {
        bencher.iter(|| {
            let key = keys.next().copied().expect("a cycle does not end");
            table.get(black_box(key)).map(|entry| entry[0])
        });
    });
}

fn take_and_put_back(criterion: &mut Criterion) {
    let (mut table, keys) = filled();
    let mut keys = keys.iter().cycle();
    criterion.bench_function("table/take and put back", |bencher| {
        bencher.iter(|| {
            let key = keys.next().copied().expect("a cycle does not end");
            let entry = table.take(black_box(key)).expect("it is held");
            table.put_back(key, entry)
        });
    });
}

/// A thousand transactions, one every 70 µs with a deadline 3.5 s ahead, while the wheel holds those
/// of the 3.5 s before.
fn arm_and_take_due(criterion: &mut Criterion) {
    let (_, keys) = filled();
    let mut wheel = Wheel::new();
    let mut keys = keys.iter().cycle();
    let mut now_us = 0;
    let mut turn = || {
        now_us += 70;
        let now = Timestamp::from(Duration::from_micros(now_us));
        let deadline = Timestamp::from(Duration::from_micros(now_us + 3_500_000));
        let key = keys.next().copied().expect("a cycle does not end");
        wheel.arm(now, black_box(key), deadline);
        while let Some(key) = wheel.take_due(now) {
            black_box(key);
        }
    };
    (0..HELD).for_each(|_| turn());
    criterion.bench_function("wheel/arm and take due, 1000 times", |bencher| {
        bencher.iter(|| (0..1_000).for_each(|_| turn()));
    });
}
