//! The exact executor of recurrent networks behind the engine's seam.

use super::{ExactRecurrent, Record, Rows, Window};
use crate::engine::executor::{
    Executor, Forward, Gradients, Guard, Inputs, Mode, Pass, RecurrentExecutor, Tape, Wanted,
};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

impl Executor for ExactRecurrent {
    fn dtype(&self) -> DType {
        DType::F64
    }

    fn runs_on(&self, device: &Device) -> Result<()> {
        match device.is_cpu() {
            true => Ok(()),
            false => Err(Error::user("recurrent networks in double precision run on the processor only")
                .hint("run with --device cpu, or without --precision f64")),
        }
    }

    fn forward(&self, inputs: Inputs<'_>, pass: &Pass, wanted: Wanted) -> Result<Forward> {
        let [x, w, p] = [inputs.x, inputs.w, inputs.p].map(values);
        let (x, w, p) = (x?, w?, p?);
        let (steps, rows) = (inputs.x.dims()[0], inputs.x.dims()[1]);
        let state = |tensor: &Tensor| Ok(Rows { width: tensor.dims()[1], values: values(tensor)? });
        let window = Window {
            x: &x,
            w: &w,
            p: &p,
            steps,
            rows,
            states: inputs.states.iter().map(state).collect::<Result<_>>()?,
            active: pass.active.as_deref(),
            mode: pass.mode,
            draws: pass.draws,
            dropout: &pass.dropout,
        };
        // On a copy: an interrupted pass leaves the running statistics as they were.
        let mut running = pass.statistics.values();
        let record = self.run(window, &mut running)?;
        if pass.mode == Mode::Training {
            pass.statistics.set(&running)?;
        }
        let outputs = (0..steps).flat_map(|now| &record.value(now, self.output).values).copied().collect::<Vec<_>>();
        let output = Tensor::from_vec(outputs, (steps, rows, self.graph.width(self.output)), inputs.x.device())?;
        let state =
            |rows_of: &Rows| Ok(Tensor::from_vec(rows_of.values.clone(), (rows, rows_of.width), inputs.x.device())?);
        let states = record.states.iter().map(state).collect::<Result<_>>()?;
        let tape = wanted.any().then(|| {
            let _guard = pass.guard.clone();
            Box::new(ExactTape { exact: self.clone(), record, wanted, _guard }) as Box<dyn Tape>
        });
        Ok(Forward { output, states, tape })
    }
}

impl RecurrentExecutor for ExactRecurrent {
    /// Every node's values at every time step, and the gradients of one step.
    fn memory(&self, steps: usize, rows: usize, _: &Pass, _: Wanted) -> u64 {
        let widths: usize = self.graph.nodes().map(|node| self.graph.width(node)).sum();
        let numbers = (steps as u128 + 1) * rows as u128 * widths as u128;
        u64::try_from(size_of::<f64>() as u128 * numbers).unwrap_or(u64::MAX)
    }
}

/// A pass's values, for its backward pass.
struct ExactTape {
    exact: ExactRecurrent,
    record: Record,
    wanted: Wanted,
    _guard: Option<Guard>,
}

impl Tape for ExactTape {
    fn backward(self: Box<Self>, inputs: Inputs<'_>, dy: &Tensor) -> Result<Gradients> {
        let found = self.exact.back(&self.record, &values(dy)?)?;
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
