//! How near a pass came to the places where gradients jump.
//!
//! A network with ReLUs and max pools is smooth only piece by piece. Two executors whose rounding differs can land on
//! different sides of a kink, and then their gradients rightly differ by far more than rounding. The margin says
//! whether that could happen in a pass, and [`Exact::crossed`] whether it did between two.

use super::{Exact, Record, activation, pool};
use crate::graph::{Activation, Op, Pool, PoolKind};

/// Distances from where gradients jump; infinite where a network has no such place.
///
/// Values exactly on a kink and exact ties come from zeros and constants (a candidate "none", padding), which every
/// executor holds exactly; they are counted instead of measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// The smallest distance of an activation's input from a kink of it (ReLU and leaky ReLU: 0; hard swish: −3 and 3).
    pub kink: f64,
    /// Inputs that lie exactly on a kink.
    pub on_kink: usize,
    /// The smallest gap between the two largest pixels of a max pool's window.
    pub gap: f64,
    /// Windows whose two largest pixels are equal.
    pub ties: usize,
    /// The smallest of all these distances, each divided by the largest magnitude in its map (all images and channels):
    /// to be compared with a relative rounding error.
    pub relative: f64,
}

impl Margin {
    /// The smaller one of the two distances.
    pub fn smallest(&self) -> f64 {
        self.kink.min(self.gap)
    }
}

/// How many decisions fell differently in two passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Inputs of activations that lie on the other side of a kink.
    pub kinks: usize,
    /// Windows of max pools that another pixel wins.
    pub winners: usize,
}

impl Exact {
    /// The margin of a pass.
    pub fn margin(&self, record: &Record) -> Margin {
        let (mut kink, mut gap) = (Distances::new(), Distances::new());
        self.each_decision(record, |x, decision| {
            let scale = x.iter().fold(0f64, |scale, x| scale.max(x.abs()));
            match decision {
                Decision::Activation(activation) => {
                    let kinks = activation::kinks(activation);
                    x.iter().flat_map(|x| kinks.iter().map(move |kink| x - kink)).for_each(|d| kink.meet(d, scale));
                }
                Decision::MaxPool { windows, pixels } => {
                    for plane in x.chunks(pixels) {
                        windows.iter().filter_map(|w| two_largest(plane, w)).for_each(|(a, b)| gap.meet(a - b, scale));
                    }
                }
            }
        });
        Margin {
            kink: kink.smallest,
            on_kink: kink.zeros,
            gap: gap.smallest,
            ties: gap.zeros,
            relative: kink.relative.min(gap.relative),
        }
    }

    /// How many decisions fell differently in two passes of this graph with equally many images.
    pub fn crossed(&self, one: &Record, other: &Record) -> Crossed {
        let decisions = |record| {
            let (mut sides, mut winners) = (Vec::new(), Vec::new());
            self.each_decision(record, |x, decision| match decision {
                Decision::Activation(activation) => {
                    let kinks = activation::kinks(activation);
                    sides.extend(x.iter().map(|x| kinks.iter().filter(|kink| x > kink).count()));
                }
                Decision::MaxPool { windows, pixels } => {
                    winners.extend(x.chunks(pixels).flat_map(|plane| pool::winners(plane, &windows)));
                }
            });
            (sides, winners)
        };
        let ((sides, winners), (other_sides, other_winners)) = (decisions(one), decisions(other));
        let differ = |a: &[usize], b: &[usize]| a.iter().zip(b).filter(|(a, b)| a != b).count();
        Crossed { kinks: differ(&sides, &other_sides), winners: differ(&winners, &other_winners) }
    }

    /// Calls `meet` with the input of everything that has kinks, in the order of the graph.
    fn each_decision(&self, record: &Record, mut meet: impl FnMut(&[f64], Decision)) {
        for node in self.graph().nodes().filter(|node| record.values[node.index()].is_some()) {
            match self.graph().op(node) {
                Op::Activate { input, activation } if !activation::kinks(*activation).is_empty() => {
                    meet(&record.value(input.index()).values, Decision::Activation(*activation));
                }
                Op::Pool { input, pool: pool @ Pool { kind: PoolKind::Max, .. } } => {
                    let from = self.graph().shape(*input);
                    let windows = pool::windows(pool, from, self.graph().shape(node)).collect();
                    meet(&record.value(input.index()).values, Decision::MaxPool { windows, pixels: from.pixels() });
                }
                _ => {}
            }
        }
    }
}

/// What is decided by the values of a map.
enum Decision {
    Activation(Activation),
    /// The windows of one plane, and the pixels of a plane.
    MaxPool {
        windows: Vec<Vec<usize>>,
        pixels: usize,
    },
}

/// Distances seen so far.
struct Distances {
    smallest: f64,
    relative: f64,
    zeros: usize,
}

impl Distances {
    fn new() -> Self {
        Self { smallest: f64::INFINITY, relative: f64::INFINITY, zeros: 0 }
    }

    /// Takes in a distance among values of magnitude `scale`.
    fn meet(&mut self, distance: f64, scale: f64) {
        if distance == 0.0 {
            self.zeros += 1;
            return;
        }
        self.smallest = self.smallest.min(distance.abs());
        self.relative = self.relative.min(distance.abs() / scale);
    }
}

/// The largest value of a window and the next; none in a window of one pixel.
pub(super) fn two_largest(x: &[f64], window: &[usize]) -> Option<(f64, f64)> {
    let (mut first, mut second) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for &pixel in window {
        if x[pixel] > first {
            (first, second) = (x[pixel], first);
        } else {
            second = second.max(x[pixel]);
        }
    }
    (window.len() > 1).then_some((first, second))
}
