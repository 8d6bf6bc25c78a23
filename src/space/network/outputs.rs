//! Several outputs: the logits, by which classes are judged, and vectors that follow them.

use super::Network;
use crate::Result;
use crate::engine::Mode;
use candle_core::Tensor;
use std::sync::Arc;

impl Network {
    /// The same network, whose output is the logits of `classes` followed by vectors of these names and widths.
    pub fn with_further(self, classes: usize, further: Vec<(String, usize)>) -> Self {
        Self { classes, further: further.into(), ..self }
    }

    /// All outputs by name, images × numbers each: "logits" as of [`forward_at`](Self::forward_at), and what follows
    /// them.
    ///
    /// # Errors
    /// As [`forward_at`](Self::forward_at).
    pub fn outputs_at(
        &self,
        x: &Tensor,
        w: &Tensor,
        p: &[Tensor],
        mode: Mode,
        active: Option<Arc<[bool]>>,
    ) -> Result<Vec<(String, Tensor)>> {
        if self.further.is_empty() {
            return Ok(vec![("logits".into(), self.forward_at(x, w, p, mode, active)?)]);
        }
        let output = self.output_at(x, w, p, mode, active)?;
        let mut outputs = vec![("logits".to_string(), self.logits_of(&output)?)];
        let mut first = self.classes;
        for (name, width) in self.further.iter() {
            outputs.push((name.clone(), output.narrow(1, first, *width)?.contiguous()?));
            first += width;
        }
        Ok(outputs)
    }

    /// Of the engine's output what is not one of the further outputs.
    pub fn logits_of(&self, output: &Tensor) -> Result<Tensor> {
        match self.further.is_empty() {
            true => Ok(output.clone()),
            false => Ok(output.narrow(1, 0, self.classes)?.contiguous()?),
        }
    }
}
