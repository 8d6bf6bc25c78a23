//! The inner loops of convolutions: a run of output pixels against every `stride`-th input pixel.

/// `to[k] += weight · from[stride · k]`.
pub(super) fn add_scaled(to: &mut [f64], weight: f64, from: &[f64], stride: usize) {
    match stride {
        1 => to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from),
        _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to += weight * from),
    }
}

/// `to[stride · k] += weight · from[k]`: what [`add_scaled`] does to the gradients.
pub(super) fn add_scaled_apart(to: &mut [f64], stride: usize, weight: f64, from: &[f64]) {
    match stride {
        1 => to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from),
        _ => to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to += weight * from),
    }
}

/// `Σ a[k] · b[stride · k]`.
pub(super) fn dot(a: &[f64], b: &[f64], stride: usize) -> f64 {
    match stride {
        1 => a.iter().zip(b).map(|(a, b)| a * b).sum(),
        _ => a.iter().zip(b.iter().step_by(stride)).map(|(a, b)| a * b).sum(),
    }
}
