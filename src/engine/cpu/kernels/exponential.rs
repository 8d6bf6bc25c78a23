//! The exponential, and the sigmoid and hyperbolic tangent made of it, sixteen lanes at a time.
//!
//! All three are within 4·10⁻⁷ of the true value, relatively, for every argument between −87 and 88; the tests measure
//! it against double precision. NaN stays NaN.

use super::lanes::Lanes;

/// Where eˣ is the smallest normal float; below, the exponential stays at that.
const LEAST: f32 = -87.336;
/// Where the power of two below eˣ is the largest that a float holds; above, the exponential stays at 2.4·10³⁸.
const MOST: f32 = 88.37;

/// Adding and subtracting it rounds to the nearest whole number: 1.5·2²³ leaves no bits behind the point.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts; the first has few enough digits that n times it is exact.
const LN_2: (f32, f32) = (355.0 / 512.0, -2.121_944_4e-4);

/// (eʳ − 1 − r)/r² for |r| ≤ ln 2 / 2, the highest power first (Moshier, Methods and Programs for Mathematical
/// Functions, 1989: expf).
const SERIES: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

/// eˣ as 2ⁿ · (1 + s): 2ⁿ and s. Where x is near 0, n is 0 and s keeps every digit of eˣ − 1.
///
/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
unsafe fn parts<V: Lanes>(x: V) -> (V, V) {
    // SAFETY: the caller's promise.
    unsafe {
        // In this order NaN stays NaN.
        let x = V::splat(LEAST).max(V::splat(MOST).min(x));
        let round = V::splat(ROUND);
        let n = x.fma(V::splat(std::f32::consts::LOG2_E), round).sub(round);
        let r = n.fma(V::splat(-LN_2.1), n.fma(V::splat(-LN_2.0), x));
        let mut series = V::splat(SERIES[0]);
        for &coefficient in &SERIES[1..] {
            series = series.fma(r, V::splat(coefficient));
        }
        (n.power_of_two(), series.fma(r.mul(r), r))
    }
}

/// eˣ, between 10⁻³⁸ and 2.4·10³⁸: what is smaller or larger stays there.
///
/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
pub unsafe fn exp<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let (scale, s) = parts(x);
        s.fma(scale, scale)
    }
}

/// 1 / (1 + e⁻ˣ).
///
/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
pub unsafe fn sigmoid<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let one = V::splat(1.0);
        one.div(exp(V::splat(0.0).sub(x)).add(one))
    }
}

/// tanh x = E / (E + 2) with E = e²ˣ − 1, which is exact near 0.
///
/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
pub unsafe fn tanh<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let (scale, s) = parts(x.add(x));
        let less_one = s.fma(scale, scale.sub(V::splat(1.0)));
        less_one.div(less_one.add(V::splat(2.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::{exp, sigmoid, tanh};
    use crate::engine::cpu::kernels::lanes::{Isa, kernel};
    use rand::RngExt;

    kernel! {
        /// The three functions of sixteen floats, one after another.
        ///
        /// # Safety
        /// `x` must be good for sixteen floats, `values` for 48.
        pub fn all_three(x: *const f32, values: *mut f32) work(0, 0) {
            let x = V::load(x);
            exp(x).store(values);
            sigmoid(x).store(values.add(16));
            tanh(x).store(values.add(32));
        }
    }

    /// exp, sigmoid and tanh of sixteen numbers.
    fn values(isa: Isa, x: &[f32; 16]) -> [[f32; 16]; 3] {
        let mut values = [[0.0; 16]; 3];
        // SAFETY: both are as long as the kernel asks.
        unsafe { all_three(isa, x.as_ptr(), values.as_mut_ptr().cast()) };
        values
    }

    #[test]
    fn values_are_those_of_double_precision() {
        let exact: [fn(f64) -> f64; 3] = [f64::exp, |x| 1.0 / (1.0 + (-x).exp()), f64::tanh];
        for isa in Isa::available() {
            let mut rng = crate::random::Seed(1).rng("exponential", 0);
            for round in 0..40_000 {
                // Evenly, and by size: from 10⁻³⁰ to the ends.
                let draw = |share: f32, sign: bool| match round % 2 {
                    0 => 174.0 * share - 86.5,
                    _ => (-69.0 + 73.4 * share).exp() * if sign { 1.0 } else { -1.0 },
                };
                let x: [f32; 16] = std::array::from_fn(|_| draw(rng.random(), rng.random()));
                for (values, exact) in values(isa, &x).iter().zip(exact) {
                    for (value, x) in values.iter().zip(x) {
                        let error = (f64::from(*value) / exact(x.into()) - 1.0).abs();
                        assert!(error < 4e-7, "{}: {value} at {x} is off by {error}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn ends_are_where_they_belong() {
        for isa in Isa::available() {
            let inputs = [0.0, -1e4, 1e4, f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -0.0, f32::MIN, f32::MAX];
            let mut x = [0.0; 16];
            x[..inputs.len()].copy_from_slice(&inputs);
            let [exp, sigmoid, tanh] = values(isa, &x);
            assert_eq!((exp[0], sigmoid[0], tanh[0]), (1.0, 0.5, 0.0), "{}", isa.name());
            for low in [1, 3, 7] {
                assert!(exp[low] > 0.0 && exp[low] < 1.2e-38 && sigmoid[low] < 1e-38, "{}", isa.name());
                assert_eq!(tanh[low], -1.0, "{}", isa.name());
            }
            for high in [2, 4, 8] {
                assert!(exp[high] > 2.3e38 && exp[high] < f32::INFINITY, "{}", isa.name());
                assert_eq!((sigmoid[high], tanh[high]), (1.0, 1.0), "{}", isa.name());
            }
            assert!(exp[5].is_nan() && sigmoid[5].is_nan() && tanh[5].is_nan(), "{}", isa.name());
        }
    }
}
