//! The values of one node at one time step.

/// Rows × width, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub width: usize,
    pub values: Vec<f64>,
}

impl Rows {
    pub fn zeros(rows: usize, width: usize) -> Self {
        Self { width, values: vec![0.0; rows * width] }
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// The values of one column.
    pub fn column(&self, column: usize) -> impl Iterator<Item = f64> {
        self.values.iter().skip(column).step_by(self.width).copied()
    }

    /// f of every value.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { width: self.width, values: self.values.iter().map(|&value| f(value)).collect() }
    }

    /// f of every value and the other's value there.
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.values.iter().zip(&other.values);
        Self { width: self.width, values: pairs.map(|(&a, &b)| f(a, b)).collect() }
    }

    /// Columns from `start` on.
    pub fn slice(&self, start: usize, width: usize) -> Self {
        Self { width, values: self.rows().flat_map(|row| &row[start..start + width]).copied().collect() }
    }

    /// Adds `other` to the columns from `start` on.
    pub fn add_slice(&mut self, other: &Self, start: usize) {
        for (to, from) in self.values.chunks_exact_mut(self.width).zip(other.rows()) {
            to[start..].iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }

    /// Σ a · b.
    pub fn dot(&self, other: &Self) -> f64 {
        self.values.iter().zip(&other.values).map(|(a, b)| a * b).sum()
    }
}
