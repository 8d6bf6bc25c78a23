//! The Gamma function's logarithm and its derivatives, draws of the Gamma distribution, and how a draw moves with its
//! concentration.

use super::random::open_unit;
use crate::random::Rng;
use rand_distr::{Distribution, Gamma};

/// ψ(x), the derivative of ln Γ(x), for x > 0: the recurrence ψ(x) = ψ(x + 1) - 1/x up to where the asymptotic series
/// (Abramowitz and Stegun 1964, 6.3.18) holds to the last digits.
pub fn digamma(mut x: f64) -> f64 {
    let mut below = 0.0;
    while x < 10.0 {
        below -= 1.0 / x;
        x += 1.0;
    }
    let s = 1.0 / (x * x);
    let series = s * (1.0 / 12.0 - s * (1.0 / 120.0 - s * (1.0 / 252.0 - s * (1.0 / 240.0 - s * (1.0 / 132.0)))));
    below + x.ln() - 0.5 / x - series
}

/// ψ'(x) for x > 0, the same way (6.4.12).
pub fn trigamma(mut x: f64) -> f64 {
    let mut below = 0.0;
    while x < 10.0 {
        below += 1.0 / (x * x);
        x += 1.0;
    }
    let s = 1.0 / (x * x);
    let series = s * (1.0 / 6.0 - s * (1.0 / 30.0 - s * (1.0 / 42.0 - s * (1.0 / 30.0 - s * (5.0 / 66.0)))));
    below + 1.0 / x + 0.5 * s + series / x
}

/// The logarithm of a draw from Gamma(concentration, 1), which stays finite where the draw itself would be 0: a small
/// concentration's draw is one of concentration + 1 times u^(1 / concentration) (Marsaglia and Tsang 2000, section 6).
pub fn log_draw(concentration: f64, rng: &mut Rng) -> f64 {
    let small = concentration < 1.0;
    let distribution = Gamma::new(if small { concentration + 1.0 } else { concentration }, 1.0);
    let draw: f64 = distribution.expect("the caller checked the concentration").sample(rng);
    if !small {
        return draw.ln();
    }
    draw.ln() + open_unit(rng).ln() / concentration
}

/// d ln z / dα of a draw z of Gamma(α, 1) whose cumulative probability stays as it is: -(∂F/∂α) / (z · density)
/// (Figurnov, Mohamed and Mnih 2018, equation 6), with F as the series Σ zᵅ⁺ⁿ e⁻ᶻ / Γ(α + n + 1).
pub fn log_slope(concentration: f64, log_draw: f64) -> f64 {
    let draw = log_draw.exp();
    let mut term = 1.0 / concentration;
    let mut over = concentration + 1.0;
    let mut psi = digamma(over);
    let mut sum = 0.0;
    loop {
        let added = term * (log_draw - psi);
        sum += added;
        // Past z the terms fall, each faster than the one before.
        if over > draw && added.abs() <= 1e-17 * sum.abs() {
            return -sum;
        }
        term *= draw / over;
        psi += 1.0 / over;
        over += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Seed;

    /// P(α, x), the cumulative probability, as a sum of positive terms.
    fn cumulative(concentration: f64, x: f64) -> f64 {
        let mut term = (concentration * x.ln() - x - libm::lgamma(concentration + 1.0)).exp();
        let (mut sum, mut n) = (0.0, 1.0);
        while term > 1e-18 * sum || n < x {
            sum += term;
            term *= x / (concentration + n);
            n += 1.0;
        }
        sum
    }

    #[test]
    fn the_derivatives_of_ln_gamma_agree_with_differences() {
        for x in [0.01f64, 0.3, 1.0, 2.5, 9.9, 30.0, 1000.0] {
            let h = 1e-5 * x;
            let difference = (libm::lgamma(x + h) - libm::lgamma(x - h)) / (2.0 * h);
            assert!((digamma(x) - difference).abs() < 1e-7 * (1.0 + difference.abs()), "{x}");
            let difference = (digamma(x + h) - digamma(x - h)) / (2.0 * h);
            assert!((trigamma(x) - difference).abs() < 1e-7 * (1.0 + difference.abs()), "{x}");
        }
        assert!((digamma(1.0) + 0.577_215_664_901_532_9).abs() < 1e-13);
        assert!((trigamma(1.0) - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-13);
    }

    #[test]
    fn a_draw_moves_with_its_concentration_so_that_its_probability_stays() {
        for concentration in [0.01, 0.1, 0.7, 1.0, 3.0, 40.0, 1000.0] {
            let mut rng = Seed(3).rng("gamma", 0);
            for _ in 0..30 {
                let log = log_draw(concentration, &mut rng);
                let x = log.exp();
                // Where the draw is tiny, F is xᵅ / Γ(α + 1), and the density is in the same proportion.
                let h = 1e-4 * concentration;
                let moved = (cumulative(concentration + h, x).ln() - cumulative(concentration - h, x).ln()) / (2.0 * h);
                let density = ((concentration - 1.0) * log - x - libm::lgamma(concentration)).exp();
                let expected = -moved * cumulative(concentration, x) / (x * density);
                let slope = log_slope(concentration, log);
                if x > 1e-100 {
                    assert!(
                        (slope - expected).abs() < 1e-5 * (expected.abs() + 1e-3),
                        "{concentration} {x}: {slope} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_slopes_average_to_those_of_the_moments() {
        for concentration in [0.2, 1.5, 20.0] {
            let mut rng = Seed(4).rng("gamma", 0);
            let (mut first, mut second, count) = (0.0, 0.0, 200_000);
            for _ in 0..count {
                let log = log_draw(concentration, &mut rng);
                let slope = log.exp() * log_slope(concentration, log);
                first += slope / count as f64;
                second += 2.0 * log.exp() * slope / count as f64;
            }
            // E[z] = α, E[z²] = α (α + 1).
            assert!((first - 1.0).abs() < 0.02, "{concentration}: {first}");
            assert!((second / (2.0 * concentration + 1.0) - 1.0).abs() < 0.04, "{concentration}: {second}");
        }
    }
}
