//! So many calls through a worker, for callgrind to count what they take.
//!
//! Arguments: `answered` or `busy`, `users` (both registered) or `upstream`, and how many.

mod world;

use world::World;

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|it| it != "--bench").collect();
    let [_, kind, who, count] = arguments.as_slice() else {
        return;
    };
    let mut world = World::new();
    if who == "users" {
        world.register();
    }
    for _ in 0..count.parse().unwrap_or(0) {
        match kind.as_str() {
            "busy" => world.busy_call(),
            _ => world.answered_call(),
        }
    }
}
