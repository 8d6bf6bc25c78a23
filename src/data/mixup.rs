//! Mixup: images and their targets, each laid over another of the batch (H. Zhang, M. Cisse, Y. Dauphin and D.
//! Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018, equation 2).

use crate::random::Rng;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};

/// λ · this + (1 − λ) · another one, λ drawn from Beta(α, α) once for the batch and the others a permutation of it, as
/// the authors' code has it. `images` and `targets` hold `count` rows each.
pub(super) fn mix(images: &mut [f32], targets: &mut [f32], count: usize, alpha: f64, rng: &mut Rng) -> Result<()> {
    let beta = Beta::new(alpha, alpha).map_err(|_| refused(alpha))?;
    let share = beta.sample(rng) as f32;
    let mut others: Vec<usize> = (0..count).collect();
    others.shuffle(rng);
    for rows in [images, targets] {
        let length = rows.len() / count.max(1);
        let alone = rows.to_vec();
        for (row, &other) in rows.chunks_exact_mut(length.max(1)).zip(&others) {
            let other = &alone[other * length..][..length];
            row.iter_mut().zip(other).for_each(|(to, &other)| *to = share * *to + (1.0 - share) * other);
        }
    }
    Ok(())
}

/// Checks α: 0 for none, or a positive number.
///
/// # Errors
/// Any other number.
pub(super) fn check(alpha: f64) -> Result<()> {
    if alpha == 0.0 || (alpha > 0.0 && alpha.is_finite() && Beta::new(alpha, alpha).is_ok()) {
        Ok(())
    } else {
        Err(refused(alpha))
    }
}

fn refused(alpha: f64) -> Error {
    Error::user(format!("mixup draws from Beta(α, α) with α above 0, not {alpha}"))
        .hint("0.1 to 0.4 in the paper; 0 for none")
}
