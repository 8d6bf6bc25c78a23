//! How long a forward pass takes on this machine.

use super::Network;
use crate::engine::Mode;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::sync::Arc;
use std::time::Instant;

impl Network {
    /// The median seconds of `passes` forward passes without gradients over `images` images, after one that warms up.
    /// `p`: the mixing weights of every block, in order; `active`: which slots run (none: all).
    ///
    /// # Errors
    /// No images or no passes; as [`forward_at`](Self::forward_at).
    pub fn latency(&self, images: usize, passes: usize, p: &[Tensor], active: Option<Arc<[bool]>>) -> Result<f64> {
        if images == 0 || passes == 0 {
            return Err(Error::user("a latency is measured over at least one image and one pass"));
        }
        let from = self.graph().shape(self.graph().input());
        let x = Tensor::ones((images, from.channels, from.height, from.width), DType::F32, self.weights.device())?;
        let w = self.weights.tensor().detach();
        let p: Vec<Tensor> = p.iter().map(Tensor::detach).collect();
        let mut seconds = Vec::new();
        for pass in 0..=passes {
            let start = Instant::now();
            self.forward_at(&x, &w, &p, Mode::Evaluation, active.clone())?;
            // A GPU has only been asked for it so far.
            x.device().synchronize()?;
            if pass > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        seconds.sort_by(f64::total_cmp);
        Ok(f64::midpoint(seconds[(passes - 1) / 2], seconds[passes / 2]))
    }
}
