//! Averaged stochastic gradient descent (Polyak and Juditsky 1992), as language models use it: plain descent until
//! somebody says that it goes no further, then a running mean of the weights beside it (NT-ASGD; Merity, Keskar and
//! Socher 2018, algorithm 1, which leaves the saying to a test of the validation loss).

use super::{Optimizer, Sgd, SgdOptions, saved_list, saved_scalar, scalar};
use crate::{Error, Parameter, Result};
use candle_core::Tensor;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AsgdOptions {
    pub lr: f64,
    /// λ of λ·w, added to the gradient after clipping.
    pub weight_decay: f64,
    /// Largest norm of all gradients taken as one vector.
    pub clip: Option<f64>,
}

/// w ← w − lr·(g + λ·w); once averaging, in step n since then also m ← m + (w − m)/n.
pub struct Asgd {
    sgd: Sgd,
    average: Option<Average>,
}

/// The mean of the weights since averaging began.
struct Average {
    steps: u64,
    /// The mean, by parameter; the weights themselves while the mean is in their place.
    aside: Vec<Tensor>,
    swapped: bool,
}

impl Asgd {
    /// # Errors
    /// Options out of range.
    pub fn new(parameters: Vec<Parameter>, options: AsgdOptions) -> Result<Self> {
        let AsgdOptions { lr, weight_decay, clip } = options;
        let sgd = Sgd::new(parameters, SgdOptions { weight_decay, clip, ..SgdOptions::new(lr) })?;
        Ok(Self { sgd, average: None })
    }

    /// The steps of plain descent that it makes.
    pub fn sgd(&self) -> &Sgd {
        &self.sgd
    }

    /// Whether the mean is taken.
    pub fn is_averaging(&self) -> bool {
        self.average.is_some()
    }

    /// Begins to average with the next step, or ends it and forgets the mean. What is so already stays as it is.
    ///
    /// # Errors
    /// An end while the mean is in the weights' place.
    pub fn set_averaging(&mut self, on: bool) -> Result<()> {
        match (&self.average, on) {
            (None, true) => {
                let aside = self.parameters().iter().map(Parameter::detached).collect();
                self.average = Some(Average { steps: 0, aside, swapped: false });
            }
            (Some(average), false) => {
                average.check_weights_in_place()?;
                self.average = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts the mean in the weights' place, or the weights back. Without a mean nothing happens.
    ///
    /// # Errors
    /// What the device reports.
    pub fn swap(&mut self) -> Result<()> {
        let Some(average) = &mut self.average else { return Ok(()) };
        for (parameter, aside) in self.sgd.parameters().iter().zip(&mut average.aside) {
            let current = parameter.detached();
            parameter.set(aside)?;
            *aside = current;
        }
        average.swapped = !average.swapped;
        Ok(())
    }
}

impl Average {
    fn check_weights_in_place(&self) -> Result<()> {
        match self.swapped {
            false => Ok(()),
            true => Err(Error::user("the averaged weights are in the weights' place")
                .hint("swap_average() a second time puts the weights back")),
        }
    }
}

impl Optimizer for Asgd {
    fn step(&mut self, gradients: &[Tensor]) -> Result<()> {
        if let Some(average) = &self.average {
            average.check_weights_in_place()?;
        }
        self.sgd.step(gradients)?;
        let Some(average) = &mut self.average else { return Ok(()) };
        average.steps += 1;
        let share = 1.0 / average.steps as f64;
        for (parameter, mean) in self.sgd.parameters().iter().zip(&mut average.aside) {
            *mean = (&*mean + (parameter.detached() - &*mean)?.affine(share, 0.0)?)?;
        }
        Ok(())
    }

    fn parameters(&self) -> &[Parameter] {
        self.sgd.parameters()
    }

    fn lr(&self) -> f64 {
        self.sgd.lr()
    }

    fn set_lr(&mut self, lr: f64) -> Result<()> {
        self.sgd.set_lr(lr)
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = self.sgd.state()?;
        if let Some(Average { steps, aside, swapped }) = &self.average {
            state.push(("averaged_steps".into(), scalar(*steps as f64)?));
            state.push(("swapped".into(), scalar(f64::from(*swapped))?));
            state.extend(aside.iter().enumerate().map(|(i, aside)| (format!("average.{i}"), aside.clone())));
        }
        Ok(state)
    }

    fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let average = match state.iter().any(|(name, _)| name == "averaged_steps") {
            false => None,
            true => Some(Average {
                steps: saved_scalar(state, "averaged_steps")? as u64,
                aside: saved_list(state, "average", self.parameters())?,
                swapped: saved_scalar(state, "swapped")? != 0.0,
            }),
        };
        self.sgd.restore(state)?;
        self.average = average;
        Ok(())
    }
}
