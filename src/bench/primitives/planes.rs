//! What is not a convolution: sums over planes, pools, loading.

use super::{Planes, Primitive, filled};
use crate::engine::cpu::kernels::load::{LoadPlane, load_affine};
use crate::engine::cpu::kernels::moments::{Moments, add_moments};
use crate::engine::cpu::kernels::pool::{PoolPlane, pool, pool_backward};
use crate::engine::cpu::kernels::sums::{Shifted, Slope, Write, dots, weighted_sum};
use crate::engine::cpu::memory::Floats;
use crate::graph::plan::LANES;
use crate::graph::{Activation, Pool, PoolKind};
use std::ptr::null;

/// Terms of a cell's node, and planes of its dot products.
const TERMS: usize = 16;

impl Planes {
    /// A cell's node, its backward side, and a norm's statistics.
    pub fn sums(self) -> [Primitive; 3] {
        let isa = self.isa;
        let (len, pixels) = (self.plane(0), self.size * self.size);
        let planes = move |floats: &Floats, block: usize| -> [*const f32; TERMS] {
            std::array::from_fn(|term| floats.rest((block * TERMS + term) * len).cast_const())
        };
        let (x, weights, y) = (filled(TERMS * self.tensor(0)), filled(TERMS * LANES), Floats::new(self.tensor(0)));
        let sum = move || {
            for block in 0..self.blocks() {
                let terms: [Shifted; TERMS] = std::array::from_fn(|term| Shifted {
                    offset: (block * TERMS + term) * len,
                    weight: weights.rest(term * LANES),
                });
                // SAFETY: whole planes of both tensors.
                unsafe {
                    weighted_sum(
                        isa,
                        y.rest(block * len),
                        LANES,
                        x.rest(0),
                        &terms,
                        LANES,
                        pixels,
                        null(),
                        Slope::One,
                        Write::Over,
                    );
                }
            }
        };
        let (x, g, sums) = (filled(TERMS * self.tensor(0)), filled(self.tensor(0)), Floats::new((1 + TERMS) * LANES));
        let products = move || {
            let to: [*mut f32; TERMS] = std::array::from_fn(|term| sums.rest((1 + term) * LANES));
            for block in 0..self.blocks() {
                // SAFETY: as above; sums of sixteen floats each.
                unsafe { dots(isa, g.rest(block * len), pixels, &planes(&x, block), sums.rest(0), &to) };
            }
        };
        let (x, sums) = (filled(self.tensor(0)), Floats::new(3 * LANES));
        let statistics = move || {
            for block in 0..self.blocks() {
                let [pivot, total, square] = [0, 1, 2].map(|which| sums.at(which * LANES, LANES));
                // SAFETY: as above.
                unsafe {
                    add_moments(isa, x.at(block * len, len), pixels, Moments { pivot, total, square, begin: true })
                };
            }
        };
        [
            self.primitive(format!("weighted sum of {TERMS}"), sum),
            self.primitive(format!("dot products with {TERMS}"), products),
            self.primitive("sums for a norm".into(), statistics),
        ]
    }

    /// 3×3, forward and backward.
    pub fn pools(self) -> Vec<Primitive> {
        let Self { isa, size, .. } = self;
        let mut list = Vec::new();
        let kinds = [("max", PoolKind::Max), ("average", PoolKind::Average { count_padding: false })];
        for (name, kind) in kinds {
            for stride in [1, 2] {
                let to = size / stride;
                let plane =
                    PoolPlane { pool: Pool { kind, kernel: 3, stride, padding: 1 }, from: (size, size), to: (to, to) };
                let out = to * to * LANES;
                let (x, y) = (filled(self.tensor(0)), Floats::new(self.blocks() * out));
                let forward = move || {
                    for block in 0..self.blocks() {
                        // SAFETY: planes of the pool's sizes.
                        unsafe { pool(isa, y.rest(block * out), x.rest(block * self.plane(0)), plane) };
                    }
                };
                let (x, dy, dx) = (filled(self.tensor(0)), filled(self.blocks() * out), filled(self.tensor(0)));
                let backward = move || {
                    // Gradients are added, so without this they would grow for ever.
                    // SAFETY: the whole tensor.
                    unsafe { std::slice::from_raw_parts_mut(dx.rest(0), self.tensor(0)).fill(0.0) };
                    for block in 0..self.blocks() {
                        let at = block * self.plane(0);
                        // SAFETY: planes of the pool's sizes.
                        unsafe { pool_backward(isa, dx.rest(at), x.rest(at), dy.rest(block * out), plane) };
                    }
                };
                let name = if stride == 1 { format!("{name} pool") } else { format!("{name} pool stride 2") };
                list.push(self.primitive(format!("{name}, forward"), forward));
                list.push(self.primitive(format!("{name}, backward"), backward));
            }
        }
        list
    }

    /// Through a norm and ReLU into a plane with two pixels of zeros around.
    pub fn load(self) -> Primitive {
        let (x, to, coefficients) = (filled(self.tensor(0)), Floats::new(self.tensor(2)), filled(2 * LANES));
        self.primitive("load, norm and ReLU".into(), move || {
            let plane = LoadPlane {
                size: (self.size, self.size),
                pad: (2, 2),
                scale: coefficients.rest(0),
                shift: coefficients.rest(LANES),
                activation: Some(Activation::Relu),
            };
            for block in 0..self.blocks() {
                // SAFETY: planes of the sizes said.
                unsafe { load_affine(self.isa, to.rest(block * self.plane(2)), x.rest(block * self.plane(0)), plane) };
            }
        })
    }
}
