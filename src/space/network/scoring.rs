//! Passes that score a network, and the running statistics that they go by.

use super::Network;
use crate::engine::{Mode, Pass, RunningStatistics, STATISTICS_MOMENTUM};
use crate::{Error, Result, interrupt};
use candle_core::{DType, Tensor};
use std::sync::Arc;

/// What batch norms go by where a network is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Statistics {
    /// The running statistics, which training gathered at the mixing weights of its passes.
    #[default]
    Running,
    /// Those of each batch, for mixing weights that training never ran alone, such as one path of a supernet.
    Batch,
}

impl Statistics {
    const ALL: [(Statistics, &'static str); 2] = [(Statistics::Running, "running"), (Statistics::Batch, "batch")];

    /// "running" or "batch".
    ///
    /// # Errors
    /// Another name, with the closest of the two.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found
            .map(|(this, _)| *this)
            .ok_or_else(|| Error::unknown("kind of statistics", name, Self::ALL.map(|(_, n)| n)))
    }
}

impl Network {
    /// Logits without gradients, images × classes: nothing is dropped, an auxiliary head's are cut off, running
    /// statistics stay. `x`: images × channels × height × width; `p`: the mixing weights of every block, in order;
    /// `active`: the slots that run (none: all).
    ///
    /// # Errors
    /// As [`forward_at`](Self::forward_at).
    pub fn score(
        &self,
        x: &Tensor,
        p: &[Tensor],
        active: Option<Arc<[bool]>>,
        statistics: Statistics,
    ) -> Result<Tensor> {
        let mode = match statistics {
            Statistics::Running => Mode::Evaluation,
            Statistics::Batch => Mode::Trial,
        };
        self.scoring_pass(x, p, active, mode, self.statistics.clone())
    }

    /// Replaces the running statistics by those of `images` (each images × channels × height × width) at the mixing
    /// weights `p`: the mean of the batches' means and unbiased variances, each batch by the number of its images.
    /// Gives that number. Weights stay.
    ///
    /// # Errors
    /// No images at all; as [`forward_at`](Self::forward_at). The running statistics are the old ones then.
    pub fn recalibrate(
        &self,
        images: impl IntoIterator<Item = Result<Tensor>>,
        p: &[Tensor],
        active: Option<Arc<[bool]>>,
    ) -> Result<usize> {
        let passing = RunningStatistics::new(self.graph());
        let zeros = vec![0.0; self.graph().statistics_len()];
        let mut sums = zeros.clone();
        let mut examples = 0;
        for x in images {
            interrupt::check()?;
            let x = x?;
            // From zeros, a training pass leaves the share of its own that it always adds.
            passing.set(&zeros)?;
            self.scoring_pass(&x, p, active.clone(), Mode::Training, passing.clone())?;
            let count = x.dims()[0];
            examples += count;
            let weight = count as f64 / STATISTICS_MOMENTUM;
            sums.iter_mut().zip(passing.values()).for_each(|(sum, part)| *sum += part * weight);
        }
        if examples == 0 {
            return Err(Error::user("there is nothing to recalibrate with: no images"));
        }
        let means = sums.iter().map(|sum| sum / examples as f64);
        let means: Vec<f64> = match self.weights.dtype() {
            // As single precision holds them, like those that training leaves.
            DType::F32 => means.map(|mean| f64::from(mean as f32)).collect(),
            _ => means.collect(),
        };
        self.statistics.set(&means)?;
        Ok(examples)
    }

    fn scoring_pass(
        &self,
        x: &Tensor,
        p: &[Tensor],
        active: Option<Arc<[bool]>>,
        mode: Mode,
        statistics: RunningStatistics,
    ) -> Result<Tensor> {
        let p: Vec<Tensor> = p.iter().map(Tensor::detach).collect();
        let p = self.flat_mixing(&p, active.as_deref())?;
        let pass = Pass { mode, statistics, active, draws: self.chance.scoring(), ..Pass::default() };
        let dtype = self.engine.dtype();
        let (x, w, p) = (x.to_dtype(dtype)?, self.weights.detached().to_dtype(dtype)?, p.to_dtype(dtype)?);
        let output = self.engine.forward(&x, &w, &p, &pass)?.detach();
        match output.dims()[1] > self.classes {
            true => Ok(output.narrow(1, 0, self.classes)?.contiguous()?),
            false => Ok(output),
        }
    }
}
