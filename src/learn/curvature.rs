//! The second derivatives of a loss for the alphas, ∂²L/∂α², and their largest eigenvalue (Zela et al. 2020).
//!
//! A network of ReLUs and max pools is smooth only between kinks. Differences of gradients that step over kinks see the
//! jumps there besides the curvature, and with the steps that single precision needs they see little else. So gradients
//! are taken in double precision, by the exact executor, a millionth apart or less: the step becomes shorter until the
//! slopes on both sides of where the alphas stand agree. What comes out is the derivative of the gradient between
//! kinks, as differentiating the program twice would give it.

use super::bilevel::{self, Order};
use super::classify::{Classification, Way};
use crate::batch::Batch;
use crate::parameter::Parameter;
use crate::random::Seed;
use crate::space::{Alphas, Network};
use crate::{Error, Result, interrupt};
use candle_core::{DType, Device, Tensor};
use rand_distr::{Distribution, StandardNormal};

/// The first and the shortest step, as a vector in the space of alphas.
const STEPS: (f64, f64) = (1e-6, 1e-9);

/// How far slopes on both sides may differ, as a share of the slope.
const AGREE: f64 = 1e-2;

/// The gradient's rounding, as a share of it.
const ROUNDING: f64 = 1e-12;

/// The most products that Lanczos' method takes, and the change of the eigenvalue, as a share of it, at which it stops.
const LANCZOS: (usize, f64) = (40, 1e-4);

/// The mean loss of some batches around where a network's alphas stand.
pub struct Curvature<'a> {
    network: Network,
    batches: Vec<Batch>,
    way: &'a Way<'a>,
    origin: Vec<f64>,
    /// The gradient at the origin.
    gradient: Vec<f64>,
}

impl<'a> Curvature<'a> {
    /// The network and batches in double precision, on the processor; the network itself stays what and where it is.
    ///
    /// # Errors
    /// No alphas, no batches; those of a pass.
    pub fn new(network: &Network, batches: &[Batch], way: &'a Way<'a>) -> Result<Self> {
        if network.alphas().is_empty() {
            return Err(Error::user("this network has no alphas").hint("supernet(…) has, and networks with g.slots(…)"));
        }
        if batches.is_empty() {
            return Err(Error::user("there is no batch to take the loss of"));
        }
        let network = network.doubled()?;
        let wide = |batch: &Batch| -> Result<Batch> {
            let batch = batch.to_device(&Device::Cpu)?;
            let targets = batch.targets.as_ref().map(|targets| targets.to_dtype(DType::F64)).transpose()?;
            let labels = match batch.has_classes() {
                true => batch.labels.clone(),
                false => batch.labels.to_dtype(DType::F64)?,
            };
            Ok(Batch { images: batch.images.to_dtype(DType::F64)?, labels, targets, ..batch })
        };
        let batches = batches.iter().map(wide).collect::<Result<_>>()?;
        let origin = flat(&network.alphas().parameters().iter().map(Parameter::detached).collect::<Vec<_>>())?;
        let mut curvature = Self { network, batches, way, origin, gradient: vec![] };
        curvature.gradient = curvature.gradient_at(&curvature.origin)?;
        Ok(curvature)
    }

    /// How many alphas there are.
    pub fn len(&self) -> usize {
        self.origin.len()
    }

    pub fn is_empty(&self) -> bool {
        self.origin.is_empty()
    }

    fn gradient_at(&self, at: &[f64]) -> Result<Vec<f64>> {
        let mut offset = 0;
        let alphas = self.network.alphas().iter().map(|(name, alpha)| {
            let length = alpha.dims().iter().product::<usize>();
            let values = at[offset..offset + length].to_vec();
            offset += length;
            Ok((name.to_string(), Parameter::from_vec(values, alpha.dims(), &Device::Cpu)?))
        });
        let alphas = Alphas::new(alphas.collect::<Result<_>>()?);
        let mut sum = vec![0.0; at.len()];
        for batch in &self.batches {
            interrupt::check()?;
            // A copy draws what this network would draw next, so each pass draws the same.
            let network = self.network.copy()?;
            let objective = Classification { network: &network, train: batch, valid: Some(batch), way: self.way };
            let relax = |alphas: &_| self.way.relaxed(&network, alphas);
            let (_, parts) = bilevel::alpha_gradient(&objective, network.weights(), &alphas, &relax, &Order::First)?;
            let extra = self.way.extra_gradient(&alphas)?.map(|(_, parts)| flat(&parts)).transpose()?;
            let parts = flat(&parts)?;
            for (index, sum) in sum.iter_mut().enumerate() {
                *sum += (parts[index] + extra.as_ref().map_or(0.0, |extra| extra[index])) / self.batches.len() as f64;
            }
        }
        Ok(sum)
    }

    /// (∂²L/∂α²)·v.
    ///
    /// # Errors
    /// Those of a pass.
    pub fn product(&self, v: &[f64]) -> Result<Vec<f64>> {
        let length = dot(v, v).sqrt();
        if length == 0.0 {
            return Ok(vec![0.0; v.len()]);
        }
        let rounding = ROUNDING * dot(&self.gradient, &self.gradient).sqrt();
        let mut step = STEPS.0;
        loop {
            let r = step / length;
            let at = |sign: f64| self.origin.iter().zip(v).map(|(a, v)| a + sign * r * v).collect::<Vec<_>>();
            let (above, below) = (self.gradient_at(&at(1.0))?, self.gradient_at(&at(-1.0))?);
            let both: Vec<f64> = above.iter().zip(&below).map(|(a, b)| a - b).collect();
            let bend: Vec<f64> =
                above.iter().zip(&below).zip(&self.gradient).map(|((a, b), g)| a + b - 2.0 * g).collect();
            let agree = dot(&bend, &bend).sqrt() <= AGREE * dot(&both, &both).sqrt() + rounding;
            if agree || step <= STEPS.1 {
                return Ok(both.iter().map(|d| d / (2.0 * r)).collect());
            }
            step /= 10.0;
        }
    }

    /// The whole matrix, row by row; as it comes out, which is symmetric but for errors.
    ///
    /// # Errors
    /// Those of a pass.
    pub fn matrix(&self) -> Result<Vec<Vec<f64>>> {
        let unit = |row: usize| (0..self.len()).map(|column| f64::from(u8::from(row == column))).collect::<Vec<_>>();
        (0..self.len()).map(|row| self.product(&unit(row))).collect()
    }

    /// The largest eigenvalue (the most positive one), by Lanczos' method with every vector kept orthogonal to all
    /// before it.
    ///
    /// # Errors
    /// Those of a pass.
    pub fn largest_eigenvalue(&self) -> Result<f64> {
        let mut rng = Seed(0).rng("lanczos", 0);
        let mut q: Vec<f64> = (0..self.len()).map(|_| StandardNormal.sample(&mut rng)).collect();
        normalise(&mut q);
        let (mut basis, mut diagonal, mut beside) = (vec![q], Vec::new(), Vec::new());
        let mut largest = f64::NAN;
        for count in 1..=LANCZOS.0.min(self.len()) {
            let q = &basis[count - 1];
            let mut next = self.product(q)?;
            diagonal.push(dot(&next, q));
            // Twice, for what the first time leaves.
            for _ in 0..2 {
                for q in &basis {
                    let share = dot(&next, q);
                    next.iter_mut().zip(q).for_each(|(next, q)| *next -= share * q);
                }
            }
            let found = tridiagonal(&diagonal, &beside)?;
            let settled = (found - largest).abs() <= LANCZOS.1 * found.abs();
            largest = found;
            let rest = normalise(&mut next);
            if settled || rest <= 1e-10 * largest.abs() {
                break;
            }
            beside.push(rest);
            basis.push(next);
        }
        Ok(largest)
    }
}

/// The largest eigenvalue of a symmetric matrix; of another, that of its symmetric part. By Jacobi's rotations.
///
/// # Errors
/// Rows that do not make a square, or no rows; numbers that are not finite.
pub fn largest_eigenvalue(matrix: &[Vec<f64>]) -> Result<f64> {
    let n = matrix.len();
    if n == 0 || matrix.iter().any(|row| row.len() != n) {
        let width = matrix.first().map_or(0, Vec::len);
        return Err(Error::user(format!("eigenvalues are those of a square matrix, not of {n} × {width}")));
    }
    if matrix.iter().flatten().any(|x| !x.is_finite()) {
        return Err(Error::user("the matrix holds numbers that are not finite"));
    }
    let half = |row: usize, column: usize| (matrix[row][column] + matrix[column][row]) / 2.0;
    let mut a: Vec<Vec<f64>> = (0..n).map(|row| (0..n).map(|column| half(row, column)).collect()).collect();
    let total: f64 = a.iter().flatten().map(|x| x * x).sum();
    for _ in 0..100 {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j] * a[i][j]).sum();
        if off <= 1e-26 * total {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, p, q);
            }
        }
    }
    Ok((0..n).map(|i| a[i][i]).fold(f64::NEG_INFINITY, f64::max))
}

/// The rotation that makes entries (p, q) and (q, p) zero.
fn rotate(a: &mut [Vec<f64>], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for row in a.iter_mut() {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
    let (above, below) = a.split_at_mut(q);
    for (x, y) in above[p].iter_mut().zip(&mut below[0]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

fn tridiagonal(diagonal: &[f64], beside: &[f64]) -> Result<f64> {
    let n = diagonal.len();
    let mut matrix = vec![vec![0.0; n]; n];
    for i in 0..n {
        matrix[i][i] = diagonal[i];
        if i + 1 < n {
            (matrix[i][i + 1], matrix[i + 1][i]) = (beside[i], beside[i]);
        }
    }
    largest_eigenvalue(&matrix)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Brings a vector to length 1; the length that it had.
fn normalise(v: &mut [f64]) -> f64 {
    let length = dot(v, v).sqrt();
    if length > 0.0 {
        v.iter_mut().for_each(|x| *x /= length);
    }
    length
}

fn flat(tensors: &[Tensor]) -> Result<Vec<f64>> {
    let parts = tensors.iter().map(|t| Ok(t.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?));
    Ok(parts.collect::<Result<Vec<_>>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::largest_eigenvalue;

    #[test]
    fn rotations_find_the_largest_eigenvalue() {
        let of = |rows: &[[f64; 3]; 3]| largest_eigenvalue(&rows.map(|row| row.to_vec())).unwrap();
        assert!((of(&[[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]]) - (2.0 + 2f64.sqrt())).abs() < 1e-12);
        assert!((of(&[[-5.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -3.0]]) + 1.0).abs() < 1e-12);
        assert!(largest_eigenvalue(&[vec![1.0, 2.0]]).unwrap_err().message.contains("1 × 2"));
    }
}
