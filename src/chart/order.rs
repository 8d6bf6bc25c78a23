//! The order of things within the columns of a layered drawing, and their heights: few crossings, straight lines.
//!
//! Sugiyama, Tagawa, Toda, "Methods for Visual Understanding of Hierarchical System Structures" (1981): sweeps that
//! sort each column by the mean position of its neighbours, then swaps of neighbours while they help. Heights are the
//! weighted least squares fit to the neighbours' heights under the distances that a column needs, found exactly by
//! pooling adjacent violators (Barlow et al. 1972).

/// A layered graph: `layers[r]` lists the vertices of column r from top to bottom; every link joins neighbouring
/// columns.
pub struct Layers {
    pub layers: Vec<Vec<usize>>,
    pub links: Vec<(usize, usize)>,
}

impl Layers {
    /// Reorders all columns but the first for few crossings.
    pub fn untangle(&mut self) {
        let mut best = self.layers.clone();
        let mut fewest = self.crossings();
        for sweep in 0..24 {
            let forward = sweep % 2 == 0;
            let columns: Vec<usize> = match forward {
                true => (1..self.layers.len()).collect(),
                false => (1..self.layers.len().saturating_sub(1)).rev().collect(),
            };
            for column in columns {
                self.sort_by_neighbours(column, forward);
            }
            self.swap_while_it_helps();
            let crossings = self.crossings();
            if crossings < fewest {
                fewest = crossings;
                best = self.layers.clone();
            }
        }
        self.layers = best;
    }

    fn positions(&self) -> Vec<usize> {
        let count = self.layers.iter().flatten().max().map_or(0, |last| last + 1);
        let mut positions = vec![0; count];
        for layer in &self.layers {
            for (position, &vertex) in layer.iter().enumerate() {
                positions[vertex] = position;
            }
        }
        positions
    }

    /// Links that cross, over all pairs of columns.
    fn crossings(&self) -> usize {
        let at = self.positions();
        let mut column = vec![0; at.len()];
        for (number, layer) in self.layers.iter().enumerate() {
            layer.iter().for_each(|&v| column[v] = number);
        }
        let crosses = |a: &(usize, usize), b: &(usize, usize)| {
            column[a.0] == column[b.0]
                && (at[a.0] < at[b.0] && at[a.1] > at[b.1] || at[a.0] > at[b.0] && at[a.1] < at[b.1])
        };
        let links = &self.links;
        (0..links.len()).map(|i| links[..i].iter().filter(|other| crosses(other, &links[i])).count()).sum()
    }

    fn sort_by_neighbours(&mut self, column: usize, forward: bool) {
        let at = self.positions();
        let mean = |vertex: usize| {
            let neighbours: Vec<usize> = self
                .links
                .iter()
                .filter_map(|&(from, to)| match forward {
                    true => (to == vertex).then(|| at[from]),
                    false => (from == vertex).then(|| at[to]),
                })
                .collect();
            match neighbours.len() {
                0 => at[vertex] as f64,
                count => neighbours.iter().sum::<usize>() as f64 / count as f64,
            }
        };
        let mut keyed: Vec<(f64, usize)> = self.layers[column].iter().map(|&v| (mean(v), v)).collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.layers[column] = keyed.into_iter().map(|(_, v)| v).collect();
    }

    fn swap_while_it_helps(&mut self) {
        let mut crossings = self.crossings();
        loop {
            let before = crossings;
            for column in 1..self.layers.len() {
                for upper in 1..self.layers[column].len() {
                    self.layers[column].swap(upper - 1, upper);
                    let swapped = self.crossings();
                    if swapped < crossings {
                        crossings = swapped;
                    } else {
                        self.layers[column].swap(upper - 1, upper);
                    }
                }
            }
            if crossings == before {
                return;
            }
        }
    }

    /// Heights of all vertices: `distance(a, b)` is what the centres of `b` below `a` need between them, `weight(link)`
    /// how much a straight link is worth.
    pub fn heights(&self, distance: impl Fn(usize, usize) -> f64, weight: impl Fn((usize, usize)) -> f64) -> Vec<f64> {
        let mut y = vec![0.0; self.positions().len()];
        for layer in &self.layers {
            let mut at = 0.0;
            for (place, &vertex) in layer.iter().enumerate() {
                at += if place > 0 { distance(layer[place - 1], vertex) } else { 0.0 };
                y[vertex] = at;
            }
            let middle = at / 2.0;
            layer.iter().for_each(|&vertex| y[vertex] -= middle);
        }
        for round in 0..400 {
            let backward = round % 2 == 1;
            for number in 0..self.layers.len() {
                let layer = &self.layers[if backward { self.layers.len() - 1 - number } else { number }];
                let wishes: Vec<(f64, f64)> = layer
                    .iter()
                    .map(|&vertex| {
                        let (mut sum, mut total) = (1e-3 * y[vertex], 1e-3);
                        for &(from, to) in self.links.iter().filter(|l| l.0 == vertex || l.1 == vertex) {
                            let weight = weight((from, to));
                            sum += weight * y[if from == vertex { to } else { from }];
                            total += weight;
                        }
                        (sum / total, total)
                    })
                    .collect();
                let distances: Vec<f64> = layer.windows(2).map(|pair| distance(pair[0], pair[1])).collect();
                for (&vertex, height) in layer.iter().zip(spaced(&wishes, &distances)) {
                    y[vertex] = height;
                }
            }
        }
        y
    }

    /// Brings stretches of each chain to one height where the neighbours in their columns leave room for it: a long
    /// edge then bends seldom instead of a little in every gap.
    pub fn straighten(&self, y: &mut [f64], chains: &[&[usize]], distance: impl Fn(usize, usize) -> f64) {
        let mut neighbours = vec![(None, None); y.len()];
        for pair in self.layers.iter().flat_map(|layer| layer.windows(2)) {
            neighbours[pair[0]].1 = Some(pair[1]);
            neighbours[pair[1]].0 = Some(pair[0]);
        }
        for chain in std::iter::repeat_n(chains, 3).flatten() {
            let mut rest = *chain;
            while !rest.is_empty() {
                // The longest stretch from here whose members can share a height.
                let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
                let mut length = 0;
                for &vertex in rest {
                    let (above, below) = neighbours[vertex];
                    let lowest = low.max(above.map_or(low, |above| y[above] + distance(above, vertex)));
                    let highest = high.min(below.map_or(high, |below| y[below] - distance(vertex, below)));
                    if length > 0 && lowest > highest {
                        break;
                    }
                    (low, high) = (lowest, highest.max(lowest));
                    length += 1;
                }
                let mean = rest[..length].iter().map(|&v| y[v]).sum::<f64>() / length as f64;
                rest[..length].iter().for_each(|&v| y[v] = mean.clamp(low, high));
                rest = &rest[length..];
            }
        }
    }
}

/// The heights nearest to the wishes (value, weight) in weighted least squares such that each is at least `distances`
/// below the one before it.
fn spaced(wishes: &[(f64, f64)], distances: &[f64]) -> Vec<f64> {
    let mut offset = 0.0;
    let mut offsets = vec![0.0];
    for distance in distances {
        offset += distance;
        offsets.push(offset);
    }
    // Without its offset each height only has to be at least the one before it: isotonic regression.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (&(value, weight), offset) in wishes.iter().zip(&offsets) {
        let mut block = (value - offset, weight, 1);
        while let Some(&(value, weight, count)) = blocks.last()
            && value > block.0
        {
            blocks.pop();
            let total = weight + block.1;
            block = ((value * weight + block.0 * block.1) / total, total, count + block.2);
        }
        blocks.push(block);
    }
    let levels = blocks.iter().flat_map(|&(value, _, count)| std::iter::repeat_n(value, count));
    levels.zip(&offsets).map(|(level, offset)| level + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossed_links_are_untangled() {
        let mut graph = Layers { layers: vec![vec![0, 1], vec![2, 3]], links: vec![(0, 3), (1, 2)] };
        graph.untangle();
        assert_eq!(graph.layers[1], [3, 2]);
    }

    #[test]
    fn wishes_are_met_where_there_is_room_and_shared_where_not() {
        let heights = spaced(&[(0.0, 1.0), (1.0, 1.0), (50.0, 1.0)], &[10.0, 10.0]);
        assert_eq!(heights, [-4.5, 5.5, 50.0]);
    }
}
