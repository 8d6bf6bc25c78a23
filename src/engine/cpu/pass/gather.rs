//! Moving channels between lanes: slices, shuffles, and a state's channels repeated for each sibling.
//!
//! A block of the output is a sum of lane permutations of input blocks, each with zeros where the lane comes from
//! another. The backward pass is the transposed permutations; where a channel was taken several times, there are
//! several of one block, which add up.

use crate::engine::cpu::kernels::lanes::Isa;
use crate::engine::cpu::kernels::permute::{Move, permuted};
use crate::engine::cpu::kernels::sums::Write;
use crate::graph::plan::LANES;

/// No lane: zero.
const NONE: u32 = u32::MAX;

/// A gather in both directions.
#[derive(Clone, Debug)]
pub struct Moves {
    /// By output block.
    forward: Vec<Vec<Move>>,
    /// By input block, from output blocks.
    backward: Vec<Vec<Move>>,
}

impl Moves {
    /// `lanes`: by output lane, over whole blocks, the input's lane.
    pub fn new(lanes: &[Option<u32>], input_blocks: usize) -> Self {
        let output_blocks = lanes.len().div_ceil(LANES);
        let (mut forward, mut backward) = (vec![Vec::new(); output_blocks], vec![Vec::new(); input_blocks]);
        for (to, from) in lanes.iter().enumerate().filter_map(|(to, from)| Some((to, (*from)? as usize))) {
            put(&mut forward[to / LANES], from, to);
            put(&mut backward[from / LANES], to, from);
        }
        Self { forward, backward }
    }

    /// output ← the gathered input, over planes of n pixels.
    ///
    /// # Safety
    /// `to` and `from` must be good for n pixels in each block.
    pub unsafe fn forward(&self, isa: Isa, to: *mut f32, from: *const f32, n: usize) {
        for (block, moves) in self.forward.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { permuted(isa, to.add(block * n * LANES), from, moves, n, Write::Over) };
        }
    }

    /// The input's gradient ← or += the output's, scattered.
    ///
    /// # Safety
    /// As for [`forward`](Self::forward), with `to` the input's gradient and `from` the output's.
    pub unsafe fn backward(&self, isa: Isa, to: *mut f32, from: *const f32, n: usize, write: Write) {
        for (block, moves) in self.backward.iter().enumerate() {
            if moves.is_empty() && write == Write::Add {
                continue;
            }
            // SAFETY: the caller's promise.
            unsafe { permuted(isa, to.add(block * n * LANES), from, moves, n, write) };
        }
    }
}

/// Notes that lane `to` takes lane `from`, in the first move of that block whose lane `to` is free.
fn put(moves: &mut Vec<Move>, from: usize, to: usize) {
    let (block, to) = (from / LANES, to % LANES);
    let free = moves.iter().position(|m| m.block == block && m.lanes[to] == NONE);
    let index = free.unwrap_or_else(|| {
        moves.push(Move { block, lanes: [NONE; LANES] });
        moves.len() - 1
    });
    moves[index].lanes[to] = (from % LANES) as u32;
}

#[cfg(test)]
mod tests {
    use super::Isa;
    use super::*;

    /// A shuffle over two blocks into three with holes, in which channels come once, repeatedly and not at all.
    fn lanes() -> Vec<Option<u32>> {
        (0..48).map(|to| (to % 5 != 3).then_some((to * 7 % 29) as u32)).collect()
    }

    #[test]
    fn gathers_and_their_transposes_move_every_lane() {
        let (n, lanes) = (11, lanes());
        let at = |lane: usize, pixel: usize| (lane / LANES * n + pixel) * LANES + lane % LANES;
        let x: Vec<f32> = (0..2 * n * LANES).map(|v| v as f32 + 1.0).collect();
        let dy: Vec<f32> = (0..3 * n * LANES).map(|v| (v * 37 % 101) as f32).collect();
        let moves = Moves::new(&lanes, 2);
        for isa in Isa::available() {
            let mut y = vec![f32::NAN; dy.len()];
            let mut dx = vec![f32::NAN; x.len()];
            let mut more = x.clone();
            // SAFETY: two and three blocks of n pixels.
            unsafe {
                moves.forward(isa, y.as_mut_ptr(), x.as_ptr(), n);
                moves.backward(isa, dx.as_mut_ptr(), dy.as_ptr(), n, Write::Over);
                moves.backward(isa, more.as_mut_ptr(), dy.as_ptr(), n, Write::Add);
            }
            let mut expected = vec![0.0; x.len()];
            for (to, from) in lanes.iter().enumerate() {
                for pixel in 0..n {
                    assert_eq!(y[at(to, pixel)], from.map_or(0.0, |from| x[at(from as usize, pixel)]), "{isa:?}");
                    if let Some(from) = from {
                        expected[at(*from as usize, pixel)] += dy[at(to, pixel)];
                    }
                }
            }
            assert_eq!(dx, expected, "{isa:?}");
            let both: Vec<f32> = x.iter().zip(&expected).map(|(x, e)| x + e).collect();
            assert_eq!(more, both, "{isa:?}");
        }
    }
}
