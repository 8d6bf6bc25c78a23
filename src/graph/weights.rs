//! The tables beside a graph: named weights in one flat vector, and batch norms with their running statistics.

use crate::random::Seed;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// How a weight starts (`docs/darts.md`: the framework's defaults; He et al. 2015 for the fan-in rule).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±bound; convolutions and linear layers use 1/√fan_in.
    Uniform(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// This number everywhere.
    Constant(f32),
}

/// One named slice of the flat weight vector.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightInfo {
    /// Dotted, for example `cells.0.edges.3.ops.4.1.weight`.
    pub name: String,
    /// As the table in `builder.rs` says; row-major in the flat vector.
    pub shape: Vec<usize>,
    /// The first element's position in the flat vector.
    pub offset: usize,
    /// How it starts.
    pub init: Init,
}

impl WeightInfo {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it lies in the flat vector.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// Writes the starting values into `out`, which has the weight's length. Each weight draws from a stream of its
    /// own, keyed by its name, so adding a candidate never changes how the others start.
    pub fn initialise(&self, seed: Seed, out: &mut [f32]) {
        match self.init {
            Init::Constant(value) => out.fill(value),
            Init::Uniform(bound) => {
                let mut rng = seed.rng(&self.name, 0);
                out.fill_with(|| bound * (2.0 * rng.random::<f32>() - 1.0));
            }
            Init::Normal(deviation) => {
                let mut rng = seed.rng(&self.name, 0);
                out.fill_with(|| deviation * Distribution::<f32>::sample(&StandardNormal, &mut rng));
            }
        }
    }
}

/// One batch norm: where its running mean and variance lie in the flat statistics vector (mean first, then variance).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormInfo {
    /// Dotted, like a weight's.
    pub name: String,
    pub channels: usize,
    /// Of the first mean in the flat statistics vector.
    pub offset: usize,
}

impl NormInfo {
    /// Where the running means lie in the flat statistics vector.
    pub fn mean(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.channels
    }

    /// Where the running variances lie there.
    pub fn variance(&self) -> std::ops::Range<usize> {
        self.offset + self.channels..self.offset + 2 * self.channels
    }
}
