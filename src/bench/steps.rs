//! What the measurements of steps have in common: their sizes, how they are timed, and the columns that they share.

use super::device_profile::device_profile;
use super::report::{Cell, median};
use super::{Arithmetic, Measured, Profile, Profiled, peak_rss_mb};
use crate::Result;
use crate::engine::cuda::{Card, Launcher, Profiler, predict};
use crate::engine::{Report, Wanted};
use crate::graph::Shape;
use crate::learn::{Adam, AdamOptions, Batch, Sgd, SgdOptions};
use crate::random::Seed;
use crate::space::Network;
use candle_core::{Device, Tensor};
use rand::RngExt;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// The learning rate of the weights at a search's beginning, which is also the unrolled step's.
pub const ETA: f64 = 0.025;

/// The optimisers of a search as the paper has them: SGD on the weights, Adam on the alphas.
pub fn search_optimizers(network: &Network) -> Result<(Sgd, Adam)> {
    let weights = SgdOptions { momentum: 0.9, weight_decay: 3e-4, clip: Some(5.0), ..SgdOptions::new(ETA) };
    let alphas = AdamOptions { betas: (0.5, 0.999), weight_decay: 1e-3, ..AdamOptions::new(3e-4) };
    Ok((Sgd::new(vec![network.weights().clone()], weights)?, Adam::new(network.alphas().parameters(), alphas)?))
}

/// The sizes of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    pub batch: usize,
    pub channels: usize,
    pub layers: usize,
    /// Side of the (square, three-channel) images.
    pub size: usize,
    /// Steps to time, after one that warms up.
    pub steps: usize,
    /// The most bytes that training may take.
    pub memory: Option<u64>,
}

/// Where steps run, and whether it is recorded what takes their time.
pub enum Place {
    Cpu { profile: bool },
    Gpu { gpu: Arc<dyn Launcher>, profiler: Option<Arc<Profiler>> },
}

impl Place {
    pub fn new(gpu: Option<Arc<dyn Launcher>>, profile: bool) -> Self {
        match gpu {
            None => Self::Cpu { profile },
            Some(gpu) if profile => {
                let profiler = Arc::new(Profiler::new(gpu));
                Self::Gpu { gpu: profiler.clone(), profiler: Some(profiler) }
            }
            Some(gpu) => Self::Gpu { gpu, profiler: None },
        }
    }

    /// Where the networks' tensors live.
    pub(super) fn tensors(&self) -> Device {
        match self {
            Self::Cpu { .. } => Device::Cpu,
            Self::Gpu { gpu, .. } => gpu.tensors(),
        }
    }

    /// "cpu", or the GPU's name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Cpu { .. } => "cpu".into(),
            Self::Gpu { gpu, .. } => gpu.name().to_string(),
        }
    }
}

/// The part of a measurement's line that all have; the fields of the PyTorch side.
#[derive(Clone, Debug, Serialize)]
pub struct Timed {
    pub batch: usize,
    pub channels: usize,
    pub layers: usize,
    pub seconds: Vec<f64>,
    /// Of the process, without what lies on a GPU.
    pub peak_rss_mb: u64,
    /// "cpu", or the GPU's name.
    pub device: String,
    #[serde(flatten)]
    pub arithmetic: Arithmetic,
}

impl Timed {
    pub(super) fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::count("batch", self.batch),
            Cell::count("channels", self.channels),
            Cell::count("layers", self.layers),
            Cell::count("threads", self.arithmetic.threads),
            Cell::word("on", if self.device == "cpu" { self.arithmetic.simd } else { &self.device }),
            Cell::number("median s", median(&self.seconds), 4),
            Cell::number("ms per image", 1e3 * median(&self.seconds) / self.batch as f64, 2),
            Cell::number("GFLOP/s", self.arithmetic.gflops, 1),
            Cell::count("peak MB", self.peak_rss_mb),
            Cell::number("training MB", self.arithmetic.training_mb, 1),
        ]
    }
}

impl Steps {
    /// One image.
    pub(super) fn shape(&self) -> Shape {
        Shape::new(3, self.size, self.size)
    }

    /// The network with the limit on memory, which tells what it costs on stderr.
    pub(super) fn limited(&self, network: Network) -> Result<Network> {
        let report: Report = Arc::new(crate::error::tell);
        match self.memory {
            Some(bytes) => network.within(bytes, report),
            None => Ok(network),
        }
    }

    /// The network where it is to run, with the limit on memory.
    pub(super) fn placed(&self, network: Network, place: &Place) -> Result<Network> {
        match place {
            Place::Gpu { gpu, .. } => self.limited(network.on_gpu(gpu)?),
            Place::Cpu { .. } => self.limited(network),
        }
    }

    /// Random images with random labels of ten classes.
    pub(super) fn random_batch(&self, seed: Seed, index: u64, place: &Place) -> Result<Batch> {
        let mut rng = seed.rng("bench", index);
        let dims = (self.batch, 3, self.size, self.size);
        let pixels: Vec<f32> = (0..self.batch * self.shape().len()).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect();
        let labels: Vec<u32> = (0..self.batch).map(|_| rng.random_range(0..10)).collect();
        let labels = Tensor::from_vec(labels, self.batch, &Device::Cpu)?;
        Batch::new(Tensor::from_vec(pixels, dims, &Device::Cpu)?, labels)?.to_device(&place.tensors())
    }

    /// Times the steps; with a profile, as many again while everything is recorded. `units`: how many times a step
    /// computes as much as one forward pass. `passes`: the gradients of each of its passes.
    ///
    /// # Errors
    /// What the steps give.
    pub(super) fn time(
        &self,
        network: &Network,
        units: usize,
        passes: &[Wanted],
        place: &Place,
        mut step: impl FnMut() -> Result<()>,
    ) -> Result<Measured<Timed>> {
        let tensors = place.tensors();
        let mut step = || {
            step()?;
            // A GPU that holds the tensors has only been asked for it so far.
            Ok(tensors.synchronize()?)
        };
        let seconds = timed(self.steps, &mut step)?;
        // Before a profile measures peaks in memory of its own.
        let peak_rss_mb = peak_rss_mb();
        let profile = match place {
            Place::Cpu { profile: true } => Some(Profiled::Cpu(Profile::of(network.graph(), self.steps, &mut step)?)),
            Place::Gpu { profiler: Some(profiler), .. } => {
                let predicted = predict(network.graph(), self.batch, passes, Card::H100)?;
                Some(Profiled::Device(device_profile(profiler, &predicted, self.steps, &mut step)?))
            }
            _ => None,
        };
        let arithmetic = Arithmetic::new(network, self.batch, units, &seconds)?;
        let Self { batch, channels, layers, .. } = *self;
        let device = place.name();
        Ok((Timed { batch, channels, layers, seconds, peak_rss_mb, device, arithmetic }, profile))
    }
}

/// The seconds of each of `steps` runs, to five places, after one that warms up.
pub(super) fn timed(steps: usize, mut step: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut seconds = Vec::new();
    for index in 0..=steps {
        let start = Instant::now();
        step()?;
        if index > 0 {
            seconds.push((start.elapsed().as_secs_f64() * 1e5).round() / 1e5);
        }
    }
    Ok(seconds)
}
