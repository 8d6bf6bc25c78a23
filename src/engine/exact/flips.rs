//! Decisions that rounding may flip, and what each would change.
//!
//! Where the input of a ReLU lies nearer to zero than single precision can tell, an executor in single precision takes
//! one side or the other, and the gradient jumps by what flows through there. The jump of one decision is a backward
//! pass of its own: from the decision's input, with the difference between the two sides' gradients. A gradient in
//! single precision differs from the exact one by the jumps of some of these decisions, and by rounding.

use super::margin::two_largest;
use super::{Exact, Gradients, Record, Wanted, activation, fits, pool};
use crate::graph::{Node, Op, Pool, PoolKind};
use crate::{Result, interrupt};

/// One decision.
#[derive(Clone, Debug)]
pub struct Flip {
    /// Where the decision is read.
    input: Node,
    /// By index in the input's values: how dL/dx changes.
    changes: Vec<(usize, f64)>,
    /// Whether it is the winner of a max pool's window, and not the side of a kink.
    pub is_winner: bool,
}

impl Exact {
    /// The decisions of a pass that lie nearer than `within` times the largest magnitude in their map, images and
    /// channels taken together. Values exactly on a kink and exact ties come from constants, which every executor holds
    /// exactly: they are not among them. `dy`: the gradient of the pass's output.
    ///
    /// # Errors
    /// A gradient of another length than the output; an interruption.
    pub fn flips(&self, record: &Record, dy: &[f64], within: f64) -> Result<Vec<Flip>> {
        fits("output gradients", dy.len(), record.output().len())?;
        let mut back = self.back(record, Wanted::default());
        let shape = self.graph().shape(self.output);
        back.pass(self.output, super::Maps { batch: record.batch, shape, values: dy.to_vec() });
        let mut flips = Vec::new();
        for node in self.nodes_back() {
            interrupt::check()?;
            let Some(dy) = back.maps[node.index()].take() else { continue };
            let scaled = |x: &[f64]| within * x.iter().fold(0f64, |scale, x| scale.max(x.abs()));
            match self.graph().op(node) {
                Op::Activate { input, activation } => {
                    let x = &record.value(input.index()).values;
                    let near = scaled(x);
                    for kink in activation::kinks(*activation) {
                        for (at, (x, dy)) in x.iter().zip(&dy.values).enumerate() {
                            if x != kink && (x - kink).abs() < near {
                                let other = activation::slope(*activation, 2.0 * kink - x);
                                let change = dy * (other - activation::slope(*activation, *x));
                                flips.push(Flip { input: *input, changes: vec![(at, change)], is_winner: false });
                            }
                        }
                    }
                }
                Op::Pool { input, pool: pool @ Pool { kind: PoolKind::Max, .. } } => {
                    let from = self.graph().shape(*input);
                    let windows: Vec<Vec<usize>> = pool::windows(pool, from, self.graph().shape(node)).collect();
                    let x = &record.value(input.index()).values;
                    let near = scaled(x);
                    for (plane, (values, dy)) in
                        x.chunks(from.pixels()).zip(dy.values.chunks(windows.len())).enumerate()
                    {
                        for (window, dy) in windows.iter().zip(dy) {
                            let Some((first, second)) = two_largest(values, window) else { continue };
                            if first != second && first - second < near {
                                let of = |value: f64| window.iter().find(|&&pixel| values[pixel] == value);
                                let (Some(first), Some(second)) = (of(first), of(second)) else { continue };
                                let at = |pixel: &usize| plane * from.pixels() + pixel;
                                let changes = vec![(at(first), -dy), (at(second), *dy)];
                                flips.push(Flip { input: *input, changes, is_winner: true });
                            }
                        }
                    }
                }
                _ => {}
            }
            back.primitive(node, &dy);
        }
        Ok(flips)
    }

    /// How the gradients change if one decision falls the other way.
    ///
    /// # Errors
    /// An interruption.
    pub fn effect(&self, record: &Record, flip: &Flip, wanted: Wanted) -> Result<Gradients> {
        let mut back = self.back(record, wanted);
        let mut change = super::Maps::zeros(record.batch, self.graph().shape(flip.input));
        flip.changes.iter().for_each(|&(at, by)| change.values[at] += by);
        back.pass(flip.input, change);
        self.run_back(back)
    }
}
