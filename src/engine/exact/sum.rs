//! Weighted sums: mixed operations (Liu et al. 2019), additions, scaling, and drop path (Larsson et al. 2017).
//!
//! ```text
//! y[n] = Σ_t  k_t[n] · p_t · x_t[n]
//! dL/dx_t[n] = k_t[n] · p_t · dL/dy[n]          dL/dp_t = Σ_n k_t[n] · Σ dL/dy[n] · x_t[n]
//! ```
//!
//! All maps have one shape. p_t is the mixing weight of the term's slot, 1 where it has none; terms that share a slot
//! add up in its gradient. k_t is the factor of the term's drop path in that image: 0 where it is dropped, with
//! probability q, and 1/(1 − q) otherwise; 1 where nothing is dropped. A term whose slot is masked off is not run: it
//! adds nothing, and its slot's gradient is 0. A sum without any running term is zeros.

use super::maps::Maps;
use crate::graph::{Shape, Term};

/// Mixing weights, mask and drop path of one pass.
#[derive(Clone, Debug)]
pub(super) struct Mixing {
    pub p: Vec<f64>,
    /// By slot: whether its terms run. None: all.
    pub active: Option<Vec<bool>>,
    /// Paths × images; empty where nothing is dropped.
    pub factors: Vec<f64>,
}

impl Mixing {
    /// Whether a term is run.
    pub fn runs(&self, term: &Term) -> bool {
        let active = |slot: usize| self.active.as_ref().is_none_or(|active| active[slot]);
        term.slot.is_none_or(|slot| active(slot.0 as usize))
    }

    /// p_t.
    fn weight(&self, term: &Term) -> f64 {
        term.slot.map_or(1.0, |slot| self.p[slot.0 as usize])
    }

    /// k_t in one of `batch` images.
    fn kept(&self, term: &Term, image: usize, batch: usize) -> f64 {
        match term.drop {
            Some(path) if !self.factors.is_empty() => self.factors[path as usize * batch + image],
            _ => 1.0,
        }
    }
}

/// y. `terms`: those that run, each with its maps.
pub(super) fn forward(terms: &[(&Term, &Maps)], mixing: &Mixing, batch: usize, to: Shape) -> Maps {
    Maps::from_planes(batch, to, |image, c, y| {
        for (term, x) in terms {
            let factor = mixing.kept(term, image, batch) * mixing.weight(term);
            y.iter_mut().zip(x.plane(image, c)).for_each(|(y, x)| *y += factor * x);
        }
    })
}

/// One term's dL/dx from dL/dy.
pub(super) fn backward_x(term: &Term, dy: &Maps, mixing: &Mixing) -> Maps {
    Maps::from_planes(dy.batch, dy.shape, |image, c, dx| {
        let factor = mixing.kept(term, image, dy.batch) * mixing.weight(term);
        dx.iter_mut().zip(dy.plane(image, c)).for_each(|(dx, dy)| *dx = factor * dy);
    })
}

/// One term's dL/dp.
pub(super) fn backward_p(term: &Term, x: &Maps, dy: &Maps, mixing: &Mixing) -> f64 {
    let (batch, len) = (x.batch, x.values.len() / x.batch);
    let images = x.values.chunks(len).zip(dy.values.chunks(len)).enumerate();
    images
        .map(|(image, (x, dy))| {
            let product: f64 = x.iter().zip(dy).map(|(x, dy)| x * dy).sum();
            mixing.kept(term, image, batch) * product
        })
        .sum()
}
