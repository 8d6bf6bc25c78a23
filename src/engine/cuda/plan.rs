//! What the executor works out once for a plan: places, tables, strips, and how weights are packed.

use crate::engine::cpu::memory::pack::UnitMap;
use crate::engine::cpu::memory::tables::Tables;
use crate::graph::plan::{
    LANES, NormId, Placement, Plan, RawId, StageId, StageOrder, Table, Training, Unit, UnitId, ValueId, View,
};
use crate::graph::{Activation, Graph, PoolKind};
use crate::{Error, Result};
use std::sync::Arc;

/// Threads of a block, and the most pixels of a strip. As in the kernels' common.cuh.
pub(super) const THREADS: usize = 256;
pub(super) const STRIP: usize = 256;

/// Lanes that the threads of a block take side by side. As in the kernels.
const TEAMS: usize = THREADS / LANES;

/// Pixels of a row that a thread takes one after another, and pixels behind a tile. As in unit.cuh.
pub(super) const RUN: usize = 8;
const BEHIND: usize = 16;

/// Floats of shared memory that a strip's kernels may take before its rows are halved: with these two blocks of threads
/// fit on a multiprocessor of an A100; more made nothing faster on an H100. Strips of few pixels may take more.
const SHARED: usize = 72 << 8;
const MOST_SHARED: usize = 96 << 8;
const FEW_PIXELS: usize = 64;

/// Floats that kernels put partial sums into, beside a pivot for each lane: the most are those of products between ten
/// pairs of blocks, which three parts of the threads share.
const SCRATCH: usize = 20 * LANES * LANES;

/// A plan with what its programs look up.
pub(super) struct CudaPlan {
    pub plan: Plan,
    pub tables: Tables,
    /// The pass with gradients that keeps every tensor.
    pub training: Arc<Training>,
    pub inference: Placement,
    /// By raw tensor: whether a norm needs its statistics.
    pub measured: Table<RawId, bool>,
    /// By raw tensor: its value without a norm.
    pub plain: Table<RawId, Option<ValueId>>,
    /// By raw tensor: its parts.
    pub parts: Table<RawId, Vec<RawId>>,
    pub norms_of_stage: Table<StageId, Vec<NormId>>,
    pub strips: Table<UnitId, Strips>,
    /// By packed weight: its index in the flat vector, or −1. Depthwise, dense, transposed, bias.
    pub packing: Vec<i32>,
}

/// How a unit's output is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strips {
    /// Output rows of one, and how many there are.
    pub rows: usize,
    pub count: usize,
    pub pixels: usize,
    /// Blocks of the input that are worked on together.
    pub group: usize,
    /// Floats of the parts of those blocks under a strip, of what is put in their place later, and of their depthwise
    /// weights where their taps are a grid.
    pub tiles: usize,
}

/// An odd number of pixels, so that neighbouring blocks lie in different banks.
fn apart(pixels: usize) -> usize {
    (pixels | 1) * LANES
}

impl Strips {
    /// Floats from one block of the output's gradient to the next, as in unit_gradient.cuh.
    pub fn apart(&self) -> usize {
        apart(self.pixels)
    }
}

/// The reach of a unit's taps: the least row and column, counted from the corner of an output pixel without padding,
/// and rows and columns.
pub(super) struct Reach {
    pub least: (i32, i32),
    pub size: (usize, usize),
}

impl Reach {
    pub fn of(unit: &Unit) -> Self {
        let taps = &unit.geometry.taps;
        let ends = |of: &dyn Fn(&(usize, usize)) -> usize| {
            let all = || taps.iter().map(of);
            (all().min().unwrap_or(0), all().max().unwrap_or(0))
        };
        let (rows, columns) = (ends(&|tap| tap.0), ends(&|tap| tap.1));
        let from = |least: usize, pad: usize| least as i32 - pad as i32;
        Self {
            least: (from(rows.0, unit.geometry.pad.0), from(columns.0, unit.geometry.pad.1)),
            size: (rows.1 - rows.0 + 1, columns.1 - columns.0 + 1),
        }
    }
}

/// Taps that kernels are compiled for: a square grid, so many a side, so far apart, with so much between outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TapGrid {
    side: usize,
    apart: usize,
    stride: usize,
}

impl TapGrid {
    /// Of a unit with a depthwise part; None where its taps are not such a grid.
    pub fn of(unit: &Unit) -> Option<Self> {
        let geometry = &unit.geometry;
        let (stride, taps) = (geometry.stride.0, &geometry.taps);
        let fits = |side: usize, apart: usize| {
            let (row, column) = taps[0];
            let wanted = (0..side * side).map(|tap| (row + tap / side * apart, column + tap % side * apart));
            taps.len() == side * side && taps.iter().copied().eq(wanted)
        };
        if unit.depthwise.is_none() || geometry.stride.1 != stride || !(1..=2).contains(&stride) {
            return None;
        }
        let known = [(3, 1), (5, 1), (3, 2), (5, 2)];
        let (side, apart) = known.into_iter().find(|&(side, apart)| fits(side, apart))?;
        Some(Self { side, apart, stride })
    }

    /// The kernels' number of it.
    pub fn code(self) -> usize {
        100 * self.side + 10 * self.apart + self.stride
    }

    /// Rows and columns around a pixel's own.
    pub fn reach(self) -> usize {
        (self.side - 1) * self.apart
    }

    /// Whether kernels are there that take gradients back through it: with outputs two pixels apart they reckon with
    /// the padding that keeps the image's middle.
    pub fn leads_back(self, unit: &Unit) -> bool {
        let middle = -((self.reach() / 2) as i32);
        self.stride == 1 || Reach::of(unit).least == (middle, middle)
    }

    /// Floats of one block's weights.
    pub fn weights(self) -> usize {
        self.side * self.side * LANES
    }
}

/// Floats of a tile of so many rows and columns; a tile's rows have an odd number of places.
pub(super) fn tile_floats(rows: usize, columns: usize) -> usize {
    (rows * (columns | 1) + BEHIND) * LANES
}

impl CudaPlan {
    /// # Errors
    /// A graph whose output is not set or is not a feature vector; what does not run on CUDA yet.
    pub fn new(graph: &Graph) -> Result<Self> {
        let plan = Plan::new(graph)?;
        let mut norms_of_stage = plan.forward.beside(Vec::new());
        let mut measured = plan.raws.beside(false);
        for (id, norm) in plan.norms.pairs() {
            norms_of_stage[plan.raws[norm.raw].level].push(id);
            measured[norm.raw] = true;
        }
        let mut plain = plan.raws.beside(None);
        for (id, value) in plan.values.pairs().filter(|(_, value)| value.norm.is_none()).rev() {
            plain[value.raw] = Some(id);
        }
        let mut parts = plan.raws.beside(Vec::new());
        for (id, raw) in plan.raws.pairs() {
            if let Some((whole, _)) = raw.part_of {
                parts[whole].push(id);
            }
            let mut at = raw.part_of;
            while let Some((whole, _)) = at {
                measured[id] = measured[id] || plan.norms.iter().any(|norm| norm.raw == whole);
                at = plan.raws[whole].part_of;
            }
        }
        let mut this = Self {
            tables: Tables::new(&plan),
            training: Arc::new(plan.training_that_keeps_all(StageOrder::SideBySide)),
            inference: plan.inference_placed(StageOrder::SideBySide),
            measured,
            plain,
            parts,
            norms_of_stage,
            strips: Table::new(),
            packing: Vec::new(),
            plan,
        };
        this.strips = this.plan.units.iter().map(|unit| this.cut(unit)).collect::<Result<_>>()?;
        this.packing = this.pack(graph);
        Ok(this)
    }

    /// Floats of a noise's numbers in an image.
    pub fn noise_len(&self, raw: RawId) -> usize {
        let raw = &self.plan.raws[raw];
        raw.layout.channels() * raw.pixels()
    }

    /// Cuts a unit's output into strips whose parts fit into shared memory.
    fn cut(&self, unit: &Unit) -> Result<Strips> {
        let (height, width) = unit.geometry.output;
        let reach = Reach::of(unit);
        let (input, output) = (self.input_blocks(unit), self.plan.raws[unit.output].layout.blocks());
        let tile_of = |rows: usize| {
            let rows = (rows - 1) * unit.geometry.stride.0 + reach.size.0;
            tile_floats(rows, (width - 1) * unit.geometry.stride.1 + reach.size.1)
        };
        let scratch = SCRATCH + output * LANES;
        let mut rows = (STRIP / width).clamp(1, height);
        loop {
            let pixels = rows * width;
            let (group, tiles) = match TapGrid::of(unit) {
                // As many blocks as give every team a run.
                Some(_) => {
                    let most = input.next_power_of_two().min(TEAMS / 2);
                    let group = TEAMS.div_ceil(rows * width.div_ceil(RUN)).next_power_of_two().min(most);
                    let weights = group * unit.geometry.taps.len() * LANES;
                    (group, weights + scratch.max(group * tile_of(rows)))
                }
                None if unit.depthwise.is_some() => (1, tile_of(rows) + scratch),
                None => (1, scratch),
            };
            let middle = if self.has_middle(unit) { input } else { input.saturating_sub(output).max(1) };
            let shared = (middle + output) * apart(pixels) + tiles + 4 * output * LANES;
            let fits = shared <= SHARED || (rows == 1 || pixels <= FEW_PIXELS) && shared <= MOST_SHARED;
            if pixels <= STRIP && fits {
                return Ok(Strips { rows, count: height.div_ceil(rows), pixels, group, tiles });
            }
            if rows == 1 {
                return Err(Error::user(format!(
                    "this network has a convolution over rows of {width} pixels and {} channels, which does not run on \
                     CUDA yet",
                    self.plan.raws[unit.output].layout.channels()
                ))
                .hint("--device cpu runs every network"));
            }
            rows = rows.div_ceil(2);
        }
    }

    pub fn input_blocks(&self, unit: &Unit) -> usize {
        self.plan.raws[self.input_of(unit).1].layout.blocks()
    }

    /// A unit's view and the tensor below it.
    pub fn input_of(&self, unit: &Unit) -> (&View, RawId) {
        let view = &self.plan.views[unit.input];
        (view, self.plan.values[view.value].raw)
    }

    /// Whether a unit's dense part reads one number a lane and pixel: what its depthwise taps make, or the input under
    /// its only tap. That number's gradient is worked out together with the output's.
    pub fn has_middle(&self, unit: &Unit) -> bool {
        unit.dense.is_some() && (unit.depthwise.is_some() || unit.geometry.taps.len() == 1)
    }

    /// Where each kind of packed weight begins.
    pub fn dense_at(&self) -> usize {
        self.tables.packed_depthwise
    }

    pub fn transposed_at(&self) -> usize {
        self.dense_at() + self.tables.packed_dense
    }

    pub fn bias_at(&self) -> usize {
        self.transposed_at() + self.tables.packed_dense
    }

    fn pack(&self, graph: &Graph) -> Vec<i32> {
        let mut packing = vec![-1; self.bias_at() + self.tables.packed_bias];
        for (id, unit) in self.plan.units.pairs() {
            let at = &self.tables.packing[id];
            let map = UnitMap::new(&self.plan, graph, unit);
            let (dense, transposed) = (self.dense_at() + at.dense, self.transposed_at() + at.dense);
            map.each_depthwise(|entry, flat| packing[at.depthwise + entry] = flat as i32);
            map.each_dense(|entry, back, flat| {
                packing[dense + entry] = flat as i32;
                packing[transposed + back] = flat as i32;
            });
            map.each_bias(|entry, flat| packing[self.bias_at() + at.bias + entry] = flat as i32);
        }
        packing
    }

    /// Whether two values' gradients share memory: they are one, or one is a part of the other. Behind a norm a value
    /// has a gradient of its own.
    pub fn gradients_overlap(&self, one: ValueId, other: ValueId) -> bool {
        let [a, b] = [one, other].map(|value| &self.plan.values[value]);
        if a.norm.is_some() || b.norm.is_some() {
            return one == other;
        }
        self.is_part(a.raw, b.raw) || self.is_part(b.raw, a.raw)
    }

    /// Whether a tensor is another or a part of it.
    fn is_part(&self, part: RawId, whole: RawId) -> bool {
        let mut at = Some(part);
        while let Some(raw) = at {
            if raw == whole {
                return true;
            }
            at = self.plan.raws[raw].part_of.map(|(whole, _)| whole);
        }
        false
    }
}

/// The kernels' number of an activation.
pub(super) fn activation_code(activation: Activation) -> i32 {
    match activation {
        Activation::Relu => 1,
        Activation::LeakyRelu => 2,
        Activation::HardSwish => 3,
        Activation::Elu => 4,
        Activation::Gelu => 5,
        Activation::Silu => 6,
        Activation::Sigmoid => 7,
        Activation::Tanh => 8,
    }
}

/// The kernels' number of a kind of pool.
pub(super) fn pool_code(kind: PoolKind) -> i32 {
    match kind {
        PoolKind::Max => 0,
        PoolKind::Average { .. } => 1,
    }
}
