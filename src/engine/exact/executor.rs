//! The exact executor behind the engine's seam.

use super::{Exact, Norms, Record};
use crate::engine::executor::{Executor, Forward, Gradients, ImageExecutor, Inputs, Mode, Pass, Report, Tape, Wanted};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

impl Executor for Exact {
    fn dtype(&self) -> DType {
        DType::F64
    }

    fn runs_on(&self, device: &Device) -> Result<()> {
        match device.is_cpu() {
            true => Ok(()),
            false => Err(Error::user("networks in double precision run on the processor only")
                .hint("run with --device cpu, or without --precision f64")),
        }
    }

    fn forward(&self, inputs: Inputs<'_>, pass: &Pass, wanted: Wanted) -> Result<Forward> {
        let [x, w, p] = [inputs.x, inputs.w, inputs.p].map(values);
        let (x, w, p, batch) = (x?, w?, p?, inputs.x.dims()[0]);
        let inputs_of = super::Inputs { x: &x, w: &w, p: &p, batch, active: pass.active.as_deref() };
        let run = |norms: Norms<'_>| Exact::forward(self, inputs_of, norms, &pass.draws);
        // On a copy: an interrupted pass leaves the running statistics as they were.
        let mut running = pass.statistics.values();
        let record = match pass.mode {
            Mode::Training => run(Norms::Training(&mut running))?,
            Mode::Trial => run(Norms::Trial)?,
            Mode::Evaluation => run(Norms::Evaluation(&running))?,
        };
        if pass.mode == Mode::Training {
            pass.statistics.set(&running)?;
        }
        let shape = (batch, record.output().len() / batch);
        let output = Tensor::from_vec(record.output().to_vec(), shape, inputs.x.device())?;
        let tape = wanted.any().then(|| Box::new(ExactTape { exact: self.clone(), record, wanted }) as Box<dyn Tape>);
        Ok(Forward { output, states: Vec::new(), tape })
    }
}

impl ImageExecutor for Exact {
    fn memory(&self, batch: usize) -> Result<u64> {
        Ok(Exact::memory(self, batch))
    }

    fn within(&self, bytes: u64, _: Report) -> Result<Arc<dyn ImageExecutor>> {
        let need = Exact::memory(self, 1);
        match need <= bytes {
            true => Ok(Arc::new(self.clone())),
            false => Err(Error::user(format!(
                "one image takes {} in double precision, which keeps everything",
                crate::bytes::show_bytes(need)
            ))
            .hint("run without --precision f64 to train within less memory")),
        }
    }
}

/// A pass's values, for its backward pass.
struct ExactTape {
    exact: Exact,
    record: Record,
    wanted: Wanted,
}

impl Tape for ExactTape {
    fn backward(self: Box<Self>, inputs: Inputs<'_>, dy: &Tensor) -> Result<Gradients> {
        let found = self.exact.backward(&self.record, &values(dy)?, self.wanted)?;
        let tensor = |wanted: bool, values: Vec<f64>, like: &Tensor| {
            wanted.then(|| Tensor::from_vec(values, like.shape(), like.device())).transpose()
        };
        Ok(Gradients {
            x: tensor(self.wanted.x, found.x, inputs.x)?,
            w: tensor(self.wanted.w, found.w, inputs.w)?,
            p: tensor(self.wanted.p, found.p, inputs.p)?,
        })
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.flatten_all()?.to_vec1::<f64>()?)
}
