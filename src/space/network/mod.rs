//! A network that can be trained: a compiled graph with its weights, running statistics and alphas.
//!
//! All weights are one flat parameter, and every slot block of the graph has one parameter of alphas, in the block's
//! shape. How alphas become mixing weights is the caller's choice; without one it is the softmax over the candidates
//! that an edge carries.

mod latency;
mod masks;
mod mixing;
mod moving;
mod outputs;
mod paths;
mod precision;
mod scoring;

pub use mixing::NamedMixing;
pub use moving::Moved;
pub use scoring::Statistics;

use super::alphas::{Alphas, alpha};
use super::cell::CellKind;
use super::chance::Chance;
use super::densenet::{DenseNetOptions, densenet};
use super::discrete::{AUXILIARY, Discrete};
use super::recipe::Recipe;
use super::state::check_state;
use super::supernet::{Cost, Costs, Space, Supernet};
use crate::engine::{Engine, Mode, Pass, RunningStatistics};
use crate::graph::{Graph, Node, Op};
use crate::legend::Legend;
use crate::random::Seed;
use crate::{Error, Parameter, Result};
use candle_core::{DType, Device, Tensor};
use std::fmt;
use std::sync::Arc;

/// A compiled graph with everything that learning changes. Clones share their parameters and statistics.
#[derive(Clone)]
pub struct Network {
    pub(super) engine: Engine,
    weights: Parameter,
    statistics: RunningStatistics,
    alphas: Alphas,
    /// For every slot block, 1 where a candidate exists and 0 where a mask left it out; none where all exist.
    presence: Arc<[Option<Tensor>]>,
    space: Option<Arc<Space>>,
    classes: usize,
    /// The outputs of a pass with batch statistics are followed by an auxiliary head's.
    auxiliary: bool,
    /// Names and widths of the outputs that follow the logits.
    further: Arc<[(String, usize)]>,
    chance: Arc<Chance>,
    recipe: Option<Arc<Recipe>>,
    legend: Option<Arc<Legend>>,
}

impl Network {
    /// A supernet's network, freshly initialised.
    ///
    /// # Errors
    /// A device that networks do not run on.
    pub fn supernet(supernet: Supernet, seed: Seed, device: &Device) -> Result<Self> {
        let mut network = Self::new(supernet.graph, seed, device)?;
        let space = &supernet.space;
        let mut present = Vec::new();
        for kind in CellKind::BOTH {
            present.push(presence(space.masks.of(kind), device)?);
        }
        if space.edge_weights {
            for kind in CellKind::BOTH {
                let edges = (0..space.edges()).map(|edge| vec![space.has_edge(kind, edge)]).collect();
                present.push(presence(space.masks.of(kind).is_some().then_some(&edges), device)?);
            }
        }
        network.presence = present.into();
        network.space = Some(Arc::new(supernet.space));
        Ok(network)
    }

    /// A genotype's network, freshly initialised.
    ///
    /// # Errors
    /// A device that networks do not run on.
    pub fn discrete(discrete: Discrete, seed: Seed, device: &Device) -> Result<Self> {
        let network = Self::new(discrete.graph, seed, device)?;
        let recipe = Some(Arc::new(Recipe::Discrete(discrete.recipe)));
        Ok(Self { classes: discrete.classes, auxiliary: discrete.auxiliary, recipe, ..network })
    }

    /// A DenseNet-BC, freshly initialised.
    ///
    /// # Errors
    /// Options that [`DenseNetOptions`] does not allow; a device that networks do not run on.
    pub fn densenet(options: &DenseNetOptions, seed: Seed, device: &Device) -> Result<Self> {
        let network = Self::new(densenet(options)?, seed, device)?;
        Ok(Self { recipe: Some(Arc::new(Recipe::DenseNet(*options))), ..network })
    }

    /// The same network, knowing what its classes are called and how its images are scaled.
    pub fn with_legend(self, legend: Legend) -> Self {
        Self { legend: Some(Arc::new(legend)), ..self }
    }

    /// A network of any graph: weights by the framework's default rule, alphas 1e-3 · N(0, 1), running mean 0 and
    /// variance 1, all keyed by `seed`.
    ///
    /// # Errors
    /// A device that networks do not run on, a graph without output, or one whose output is a map and not a vector.
    pub fn new(graph: Graph, seed: Seed, device: &Device) -> Result<Self> {
        let engine = Engine::compile(graph)?;
        // Tensors on a GPU wait for `on_gpu`.
        if !(cfg!(feature = "cuda") && device.is_cuda()) {
            engine.runs_on(device)?;
        }
        let graph = engine.graph();
        let classes = graph.output().map_or(0, |output| graph.shape(output).channels);
        let mut flat = vec![0f32; graph.parameters()];
        for weight in graph.weights() {
            weight.initialise(seed, &mut flat[weight.range()]);
        }
        let weights = Parameter::from_vec(flat, graph.parameters(), device)?;
        let alphas = graph.slot_blocks().iter().map(|block| alpha(block, seed, device)).collect::<Result<Vec<_>>>()?;
        let statistics = RunningStatistics::new(graph);
        let presence = vec![None; alphas.len()].into();
        Ok(Self {
            engine,
            weights,
            statistics,
            alphas: Alphas::new(alphas),
            presence,
            space: None,
            classes,
            auxiliary: false,
            further: Arc::default(),
            chance: Arc::new(Chance::new(seed)),
            recipe: None,
            legend: None,
        })
    }

    pub fn graph(&self) -> &Graph {
        self.engine.graph()
    }

    /// The search space, where the network is a supernet.
    pub fn space(&self) -> Option<&Space> {
        self.space.as_deref()
    }

    /// How it was built, for networks that can be rebuilt from a description.
    pub fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_deref()
    }

    /// What its classes are called and how its images are scaled, where that is known.
    pub fn legend(&self) -> Option<&Legend> {
        self.legend.as_deref()
    }

    /// All weights, flat: shape `[parameters]`.
    pub fn weights(&self) -> &Parameter {
        &self.weights
    }

    pub fn alphas(&self) -> &Alphas {
        &self.alphas
    }

    pub fn statistics(&self) -> &RunningStatistics {
        &self.statistics
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of weights; alphas and an auxiliary head do not count.
    pub fn parameters(&self) -> usize {
        self.graph().parameters() - self.auxiliary_parameters()
    }

    /// The number of an auxiliary head's weights; 0 without one.
    pub fn auxiliary_parameters(&self) -> usize {
        if self.auxiliary { self.graph().parameters_below(AUXILIARY) } else { 0 }
    }

    /// Whether training passes give an auxiliary head's logits too.
    pub fn has_auxiliary(&self) -> bool {
        self.auxiliary
    }

    /// Multiply-adds of one image in convolutions and linear layers; an auxiliary head's do not count.
    pub fn macs(&self) -> usize {
        self.graph().macs() - if self.auxiliary { self.graph().macs_below(AUXILIARY) } else { 0 }
    }

    /// The node whose channels are the classes' logits: the graph's output without an auxiliary head's part.
    pub fn logits(&self) -> Option<Node> {
        let output = self.graph().output()?;
        match self.graph().op(output) {
            Op::Concat { inputs } if self.has_auxiliary() || !self.further.is_empty() => inputs.first().copied(),
            _ => Some(output),
        }
    }

    /// The probability with which training passes drop a path.
    pub fn drop_path(&self) -> f64 {
        self.chance.drop_path()
    }

    /// Sets the probability of drop path.
    ///
    /// # Errors
    /// A probability outside of [0, 1); a network whose paths cannot be dropped.
    pub fn set_drop_path(&self, probability: f64) -> Result<()> {
        if self.graph().drop_count() == 0 && probability != 0.0 {
            return Err(Error::user("this network has no paths to drop")
                .hint("build it with drop_path: 0.0, or with g.drop_path(…) in a network of your own"));
        }
        self.chance.set_drop_path(probability)
    }

    /// Logits, images × classes; with an auxiliary head images × 2 · classes, except in evaluation. `x`: images ×
    /// channels × height × width. `p`: the mixing weights of every block, in order (none: the default relaxation of the
    /// network's alphas). `active`: which slots run (none: all).
    ///
    /// # Errors
    /// As [`forward_at`](Self::forward_at); without `p` as [`relax_among`](Self::relax_among).
    pub fn forward(&self, x: &Tensor, p: Option<&[Tensor]>, mode: Mode, active: Option<Arc<[bool]>>) -> Result<Tensor> {
        match p {
            Some(p) => self.forward_at(x, &self.weights.tensor(), p, mode, active),
            None => {
                let p = self.relax_among(&self.alphas, active.as_deref())?;
                self.forward_at(x, &self.weights.tensor(), &p, mode, active)
            }
        }
    }

    /// [`forward`](Self::forward) at other weights than the network's own, in the network's precision. Gradients flow
    /// to whichever of `x`, `w` and `p` candle tracks.
    ///
    /// # Errors
    /// Images, weights or mixing weights of another shape than the network's, or on another device; mixing weights
    /// other than 0 for what a mask leaves out; a mask that leaves nothing to run; a batch that does not fit into
    /// memory; an interruption.
    pub fn forward_at(
        &self,
        x: &Tensor,
        w: &Tensor,
        p: &[Tensor],
        mode: Mode,
        active: Option<Arc<[bool]>>,
    ) -> Result<Tensor> {
        let output = self.output_at(x, w, p, mode, active)?;
        match self.auxiliary && mode == Mode::Evaluation {
            true => Ok(output.narrow(1, 0, self.classes)?.contiguous()?),
            false => self.logits_of(&output),
        }
    }

    /// All that the engine gives, images × numbers.
    fn output_at(
        &self,
        x: &Tensor,
        w: &Tensor,
        p: &[Tensor],
        mode: Mode,
        active: Option<Arc<[bool]>>,
    ) -> Result<Tensor> {
        let p = self.flat_mixing(p, active.as_deref())?;
        let pass = Pass {
            mode,
            statistics: self.statistics.clone(),
            active,
            draws: self.chance.draws(mode),
            ..Pass::default()
        };
        let dtype = self.engine.dtype();
        let (x, w, p) = (x.to_dtype(dtype)?, w.to_dtype(dtype)?, p.to_dtype(dtype)?);
        self.engine.forward(&x, &w, &p, &pass)
    }

    /// One weight in its own shape, tracked: gradients flow back into the flat vector.
    ///
    /// # Errors
    /// An unknown name, with the closest one.
    pub fn named_slice(&self, name: &str) -> Result<Tensor> {
        self.slice_of(&self.weights.tensor(), name)
    }

    /// The part of a flat vector (weights, a gradient, a momentum buffer) that belongs to one weight, in its shape.
    ///
    /// # Errors
    /// An unknown name, with the closest one; a vector that is not `[parameters]`.
    pub fn slice_of(&self, flat: &Tensor, name: &str) -> Result<Tensor> {
        let Some(info) = self.graph().weight(name) else {
            return Err(Error::unknown("weight", name, self.graph().weights().iter().map(|w| w.name.as_str())));
        };
        if flat.dims() != self.weights.dims() {
            return Err(Error::user(format!(
                "a flat vector of this network has shape {:?}, not {:?}",
                self.weights.dims(),
                flat.dims()
            )));
        }
        Ok(flat.narrow(0, info.offset, info.len())?.reshape(info.shape.as_slice())?)
    }

    /// Moves all weights to the values of a flat vector of shape `[parameters]`.
    ///
    /// # Errors
    /// Another length.
    pub fn set_weights(&self, flat: &Tensor) -> Result<()> {
        if flat.dims() != self.weights.dims() {
            return Err(Error::user(format!("weights have shape {:?}, not {:?}", self.weights.dims(), flat.dims())));
        }
        self.weights.set(&flat.detach().to_dtype(self.weights.dtype())?.to_device(self.weights.device())?)
    }

    /// Moves the named weights, each given in its own shape; the others stay.
    ///
    /// # Errors
    /// An unknown name, with the closest one; another shape than the weight's.
    pub fn set_named(&self, named: &[(String, Tensor)]) -> Result<()> {
        let mut flat = self.weights.detached().to_dtype(DType::F64)?.to_vec1::<f64>()?;
        for (name, value) in named {
            let Some(info) = self.graph().weight(name) else {
                return Err(Error::unknown("weight", name, self.graph().weights().iter().map(|w| w.name.as_str())));
            };
            if value.dims() != info.shape {
                return Err(Error::user(format!("weight \"{name}\" is {:?}, not {:?}", info.shape, value.dims())));
            }
            let values = value.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
            flat[info.range()].copy_from_slice(&values);
        }
        let flat = Tensor::from_vec(flat, self.weights.dims(), self.weights.device())?;
        self.weights.set(&flat.to_dtype(self.weights.dtype())?)
    }

    /// What each candidate costs, edges × operations of each kind of cell.
    ///
    /// # Errors
    /// A network that is not a supernet.
    pub fn costs(&self, cost: Cost) -> Result<Costs> {
        Ok(self.needs_space("costs")?.costs(self.graph(), cost))
    }

    fn needs_space(&self, what: &str) -> Result<&Space> {
        self.space().ok_or_else(|| {
            Error::user(format!("{what} needs a supernet; this network has no cells to choose operations in"))
                .hint("make the network with supernet(…)")
        })
    }

    /// Everything that learning changes, by name: "weights", "statistics", "alphas.NAME", and "draws" where passes draw
    /// at random.
    ///
    /// # Errors
    /// Those of the device.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let statistics = self.statistics.values();
        let length = statistics.len();
        let statistics = Tensor::from_vec(statistics, length, &Device::Cpu)?.to_dtype(self.weights.dtype())?;
        let mut state = vec![("weights".to_string(), self.weights.detached()), ("statistics".to_string(), statistics)];
        for (name, alpha) in self.alphas.iter() {
            state.push((format!("alphas.{name}"), alpha.detached()));
        }
        if self.draws_at_random() {
            state.push(("draws".to_string(), self.chance.state()?));
        }
        Ok(state)
    }

    /// Puts back what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// The state of another network; this one is unchanged then.
    pub fn restore(&self, state: &[(String, Tensor)]) -> Result<()> {
        let find = |name: &str| {
            let found = state.iter().find(|(known, _)| known == name);
            found.map(|(_, tensor)| tensor).ok_or_else(|| Error::user(format!("the saved network has no \"{name}\"")))
        };
        check_state("network", &self.state()?, state)?;
        let statistics = find("statistics")?;
        self.set_weights(find("weights")?)?;
        self.statistics.set(&statistics.to_dtype(DType::F64)?.to_vec1()?)?;
        for (name, alpha) in self.alphas.iter() {
            alpha.set(&find(&format!("alphas.{name}"))?.to_dtype(alpha.dtype())?.to_device(alpha.device())?)?;
        }
        match self.draws_at_random() {
            true => self.chance.restore(find("draws")?),
            false => Ok(()),
        }
    }

    fn draws_at_random(&self) -> bool {
        self.graph().drop_count() + self.graph().noise_count() > 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network of {} weights and {} multiply-adds per image", self.parameters(), self.macs())
    }
}

/// A mask as a matrix of ones and zeros.
fn presence(mask: Option<&Vec<Vec<bool>>>, device: &Device) -> Result<Option<Tensor>> {
    let Some(mask) = mask else { return Ok(None) };
    let columns = mask.first().map_or(0, Vec::len);
    let values: Vec<f32> = mask.iter().flatten().map(|&present| f32::from(present)).collect();
    Ok(Some(Tensor::from_vec(values, (mask.len(), columns), device)?))
}
