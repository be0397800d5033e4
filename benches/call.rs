//! What one call costs in our own code: INVITE to BYE through a worker, without sockets.

mod world;

use criterion::{Criterion, criterion_group, criterion_main};
use world::World;

fn calls(c: &mut Criterion) {
    let mut world = World::new();
    world.register();
    c.bench_function("an answered call", |bencher| {
        bencher.iter(|| world.answered_call());
    });
    c.bench_function("a busy call", |bencher| bencher.iter(|| world.busy_call()));
}

criterion_group!(benches, calls);
criterion_main!(benches);
