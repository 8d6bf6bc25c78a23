//! Loading a view: from a stored plane through norm and activation into a scratch plane surrounded by zeros.

use super::lanes::{Isa, kernel};
use crate::graph::Activation;

/// One block of a view to load.
#[derive(Clone, Copy)]
pub struct LoadPlane {
    pub size: (usize, usize),
    pub pad: (usize, usize),
    /// The norm's coefficients, sixteen each, or null.
    pub scale: *const f32,
    pub shift: *const f32,
    pub activation: Option<Activation>,
}

impl LoadPlane {
    fn padded_width(&self) -> usize {
        self.size.1 + 2 * self.pad.1
    }
}

kernel! {
    /// Writes the interior and the zeros around it; ReLU is the only activation that it applies.
    ///
    /// # Safety
    /// `src` must be good for the plane's pixels, `dst` for the padded plane's, coefficients for sixteen floats.
    pub fn load_affine(dst: *mut f32, src: *const f32, plane: LoadPlane) work(
        if plane.scale.is_null() { 0 } else { 32 * plane.size.0 * plane.size.1 },
        64 * (plane.size.0 * plane.size.1 + (plane.size.0 + 2 * plane.pad.0) * plane.padded_width())
    ) {
        let (height, width) = plane.size;
        let padded = plane.padded_width();
        let zero = V::splat(0.0);
        let relu = plane.activation == Some(Activation::Relu);
        for i in 0..plane.pad.0 * padded {
            zero.store(dst.add(16 * i));
            zero.store(dst.add(16 * ((plane.pad.0 + height) * padded + i)));
        }
        let normed = !plane.scale.is_null();
        let scale = if normed { V::load(plane.scale) } else { zero };
        let shift = if normed { V::load(plane.shift) } else { zero };
        for r in 0..height {
            let row = dst.add(16 * (plane.pad.0 + r) * padded);
            for i in 0..plane.pad.1 {
                zero.store(row.add(16 * i));
                zero.store(row.add(16 * (plane.pad.1 + width + i)));
            }
            for c in 0..width {
                let mut value = V::load(src.add(16 * (r * width + c)));
                if normed {
                    value = value.fma(scale, shift);
                }
                if relu {
                    // In this order NaN passes through, so that a diverged run shows.
                    value = zero.max(value);
                }
                value.store(row.add(16 * (plane.pad.1 + c)));
            }
        }
    }
}

/// Loads one block; `slopes`, unless null, gets the activation's derivatives (without padding; ReLU needs none, as its
/// loaded values say where it passes).
///
/// # Safety
/// As for [`load_affine`]; `slopes` must be good for the plane's pixels.
pub unsafe fn load(isa: Isa, dst: *mut f32, src: *const f32, slopes: *mut f32, plane: LoadPlane, filled: usize) {
    // SAFETY: the caller's promise; the loop below stays within the interior that was just written.
    unsafe {
        load_affine(isa, dst, src, plane);
        let Some(activation) = plane.activation.filter(|a| *a != Activation::Relu) else { return };
        for r in 0..plane.size.0 {
            for c in 0..plane.size.1 {
                let at = dst.add(16 * ((plane.pad.0 + r) * plane.padded_width() + plane.pad.1 + c));
                // Empty lanes stay zero even where the activation of zero is not.
                for lane in 0..filled {
                    let x = *at.add(lane);
                    *at.add(lane) = activation.value(x);
                    if !slopes.is_null() {
                        *slopes.add(16 * (r * plane.size.1 + c) + lane) = activation.slope(x);
                    }
                }
            }
        }
    }
}
