//! What the executor works out once for a plan: places, tables, strips, and how weights are packed.

use crate::engine::cpu::memory::pack::UnitMap;
use crate::engine::cpu::memory::tables::Tables;
use crate::graph::plan::{Id, LANES, NormId, Placement, Plan, RawId, StageId, Table, Unit, UnitId, ValueId, View};
use crate::graph::{Activation, Graph, PoolKind};
use crate::{Error, Result};

/// Threads of a block, and the most pixels of a strip. As in the kernels' common.cuh.
pub(super) const THREADS: usize = 256;
pub(super) const STRIP: usize = 256;

/// Floats of shared memory that a strip's kernels may take before its rows are halved, and at the very most.
const SHARED: usize = 80 << 8;
const MOST_SHARED: usize = 96 << 8;

/// A plan with what its programs look up.
pub(super) struct CudaPlan {
    pub plan: Plan,
    pub tables: Tables,
    pub training: Placement,
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
    /// Floats of the part of an input block under one.
    pub tile: usize,
    pub pixels: usize,
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
            training: plan.placed_by_stage(true),
            inference: plan.placed_by_stage(false),
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
            rows * ((width - 1) * unit.geometry.stride.1 + reach.size.1) * LANES
        };
        let mut rows = (STRIP / width).clamp(1, height);
        loop {
            let (pixels, tile) = (rows * width, if unit.depthwise.is_some() { tile_of(rows) } else { 0 });
            let shared = (input.max(output + 2) * pixels * LANES) + tile + 16 * LANES * LANES + 8 * LANES;
            if pixels <= STRIP && (shared <= SHARED || rows == 1 && shared <= MOST_SHARED) {
                return Ok(Strips { rows, count: height.div_ceil(rows), tile, pixels });
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

    /// What holds a value's gradient: the tensor at the bottom of concatenations, or the value itself behind a norm.
    pub fn gradient_root(&self, value: ValueId) -> usize {
        match self.plan.values[value].norm {
            Some(_) => self.plan.raws.len() + value.index(),
            None => self.plan.root(self.plan.values[value].raw).0.index(),
        }
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
