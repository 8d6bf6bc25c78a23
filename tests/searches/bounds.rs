//! What the paths of a small supernet can cost, from the costs of its candidates.

use candlewick::graph::Shape;
use candlewick::space::{CellKind, Cost, Supernet, SupernetOptions};

/// The least and the most multiply-adds of one path (one op on every edge) of the supernet for digits, and those of all
/// of it.
pub fn path_macs(channels: usize, layers: usize) -> [f64; 3] {
    let mut options = SupernetOptions::new(Shape::new(1, 8, 8), 10);
    (options.channels, options.layers) = (channels, layers);
    let supernet = Supernet::build(&options).expect("a supernet");
    let costs = supernet.space.costs(&supernet.graph, Cost::Macs);
    let rows = CellKind::BOTH.iter().flat_map(|kind| costs.of(*kind));
    let [least, most, all] = rows.fold([0; 3], |[least, most, all], row| {
        let [low, high] = [row.iter().min(), row.iter().max()].map(|cost| *cost.expect("ops"));
        [least + low, most + high, all + row.iter().sum::<usize>()]
    });
    // Stem, cells' inputs and head run in any path.
    let always = supernet.graph.macs() - all;
    [always + least, always + most, supernet.graph.macs()].map(|macs| macs as f64)
}
