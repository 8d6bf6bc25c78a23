//! Random networks, those of the engine's tests: outputs, gradients and running statistics, in all modes.
//! `CANDLEWICK_GRAPHS=1000 cargo test --release --test cuda random_graphs` tries more of them.

#[path = "../engine/random_graphs/maker.rs"]
mod maker;

use crate::compare::{expect, run};
use crate::shim::Shim;

/// How many graphs are tried unless `CANDLEWICK_GRAPHS` says otherwise.
const GRAPHS: u64 = 30;
/// How often values are drawn for a graph before it counts as unfit for single precision.
const DRAWS: u64 = 30;

#[test]
fn random_graphs_compute_what_the_exact_executor_says() {
    if Shim::new(0).is_none() {
        return;
    }
    let count = std::env::var("CANDLEWICK_GRAPHS").map_or(GRAPHS, |text| text.parse().expect("a number of graphs"));
    let (mut compared, mut redrawn) = (0, 0);
    for seed in 0..count {
        let case = maker::draw(seed);
        let Some(expected) = expect(&case, 50 * seed, DRAWS) else { continue };
        (compared, redrawn) = (compared + 1, redrawn + expected.redrawn);
        if let Err(message) = run(&case, &expected) {
            panic!("seed {seed}: {message}");
        }
    }
    println!("{compared} of {count} graphs, values drawn again {redrawn} times");
    assert!(compared * 5 >= count * 4, "{compared} of {count}");
}
