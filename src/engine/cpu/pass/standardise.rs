//! Each image's numbers less their mean, over their standard deviation (the core of layer norm, Ba et al. 2016).
//!
//! With mean m, inverse deviation s and d numbers, y = s·(x − m), and backward dx = s·(dy − Σ dy/d − y·Σ dy·y/d). Sums
//! are taken around a first mean k, so that nothing cancels; what the mean differs from it is `off`. Empty lanes take
//! no part and stay zero.

use super::{Image, Run};
use crate::engine::cpu::kernels::standardise::{add_centred_dots, add_spread, centred};
use crate::engine::cpu::kernels::sums::Write;
use crate::engine::statistics::NORM_EPSILON;
use crate::graph::plan::{LANES, RawId};
use std::ptr::null;

/// Of one image's numbers.
struct Spread {
    /// k, and m − k.
    centre: f32,
    off: f64,
    /// s.
    inverse: f64,
    /// d.
    count: f64,
}

/// (x − `centre`) · `by_x` + dy · `by_dy` + `constant`.
struct Factors {
    centre: f32,
    by_x: f64,
    by_dy: f64,
    constant: f64,
}

impl Run<'_> {
    pub(super) fn standardise(&self, from: RawId, to: RawId, image: &Image) {
        let Spread { centre, off, inverse, .. } = self.spread(from, image);
        let factors = Factors { centre, by_x: inverse, by_dy: 0.0, constant: -off * inverse };
        self.centred(self.raw(image, to), from, null(), image, &factors, Write::Over);
    }

    /// `dy`: the output's gradient, in the input's layout.
    pub(super) fn standardise_backward(&self, dx: *mut f32, from: RawId, dy: *const f32, image: &Image, write: Write) {
        let Spread { centre, off, inverse, count } = self.spread(from, image);
        let x = self.raw(image, from);
        let [total, product] = self.over_lanes(from, |block, sums| {
            let (at, pixels) = (block * self.plane(from), self.plan().raws[from].pixels());
            // SAFETY: planes of the two tensors.
            unsafe { add_centred_dots(self.isa, dy.add(at), x.add(at), pixels, centre, sums) };
        });
        let (mean, along) = (total / count, inverse * (product - off * total) / count);
        let by_x = -inverse * inverse * along;
        let factors = Factors { centre, by_x, by_dy: inverse, constant: -inverse * mean - by_x * off };
        self.centred(dx, from, dy, image, &factors, write);
    }

    fn spread(&self, raw: RawId, image: &Image) -> Spread {
        let (tensor, x) = (&self.plan().raws[raw], self.raw(image, raw));
        let count = (tensor.layout.channels() * tensor.pixels()) as f64;
        let around = |centre: f32| {
            self.over_lanes(raw, |block, sums| {
                // SAFETY: a plane of the tensor.
                unsafe { add_spread(self.isa, x.add(block * self.plane(raw)), tensor.pixels(), centre, sums) };
            })
        };
        let centre = (around(0.0)[0] / count) as f32;
        let [total, square] = around(centre).map(|sum| sum / count);
        let variance = (square - total * total).max(0.0);
        Spread { centre, off: total, inverse: 1.0 / (variance + NORM_EPSILON).sqrt(), count }
    }

    /// Two sums over all filled lanes of a tensor's blocks, of what `add` leaves in 32 zeros for each block.
    fn over_lanes(&self, raw: RawId, add: impl Fn(usize, *mut f32)) -> [f64; 2] {
        let mut all = [0.0; 2];
        for (block, &filled) in self.plan().raws[raw].layout.filled().iter().enumerate() {
            let mut sums = [0.0f32; 2 * LANES];
            add(block, sums.as_mut_ptr());
            for (all, lanes) in all.iter_mut().zip(sums.chunks_exact(LANES)) {
                *all += lanes[..filled].iter().map(|&sum| f64::from(sum)).sum::<f64>();
            }
        }
        all
    }

    fn centred(&self, to: *mut f32, from: RawId, dy: *const f32, image: &Image, factors: &Factors, write: Write) {
        let (tensor, x) = (&self.plan().raws[from], self.raw(image, from));
        for (block, &filled) in tensor.layout.filled().iter().enumerate() {
            let lanes = |value: f64| -> [f32; LANES] {
                std::array::from_fn(|lane| if lane < filled { value as f32 } else { 0.0 })
            };
            let [by_x, by_dy, constant] = [factors.by_x, factors.by_dy, factors.constant].map(lanes);
            let at = block * self.plane(from);
            // SAFETY: planes of tensors of one layout; the result lies apart from what is read.
            unsafe {
                let dy = if dy.is_null() { dy } else { dy.add(at) };
                let (by_x, by_dy, constant) = (by_x.as_ptr(), by_dy.as_ptr(), constant.as_ptr());
                let (to, x) = (to.add(at), x.add(at));
                centred(self.isa, to, x, dy, tensor.pixels(), factors.centre, by_x, by_dy, constant, write);
            }
        }
    }
}
