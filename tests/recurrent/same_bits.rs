//! The fast executor gives the same bits for any number of threads, and twice.

use crate::cells;
use crate::compare::{Case, Left, Values, cpu, run};
use candlewick::engine::Isa;

fn bits(left: &Left) -> Vec<u64> {
    left.parts().iter().flat_map(|(_, part)| part.iter().map(|value| value.to_bits())).collect()
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    // Larger than every tile in one direction or another.
    let mut large = vec![("wide search", cells::search(70, 150, 3).unwrap(), 4, 97)];
    large.push(("wide", cells::everything(33, 600).unwrap(), 3, 40));
    let small = cells::all().into_iter().map(|(name, graph)| (name, graph, 5, 7));
    for (name, graph, steps, rows) in small.chain(large) {
        let case = Case::new(graph, steps, rows);
        let given = Values::new(&case);
        for isa in Isa::available() {
            let with = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                bits(&pool.install(|| run(&case, &given, cpu(isa))))
            };
            let one = with(1);
            assert!(one == with(1), "{name}, {}: run again", isa.name());
            assert!(one == with(2), "{name}, {}: 1 and 2 threads", isa.name());
            assert!(one == with(5), "{name}, {}: 1 and 5 threads", isa.name());
        }
    }
}
