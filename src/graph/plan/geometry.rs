//! Where a convolution's taps look, forward and backward.

/// The geometry of one convolution over a loaded plane.
///
/// Forward, output (r, c) reads, for each tap, loaded pixel (r·stride + tap row, c·stride + tap column), where the
/// plane already has its padding. In the backward pass, input pixels fall into stride × stride classes, each of which
/// receives gradients from its own subset of taps; within a class, neighbouring input pixels read neighbouring
/// gradients, so the backward pass is one stride-1 convolution per class and never multiplies by an inserted zero.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Input without padding, and the padding of the loaded plane (at least the convolution's own).
    pub input: (usize, usize),
    pub pad: (usize, usize),
    pub output: (usize, usize),
    pub stride: (usize, usize),
    /// Each tap's (row, column) in the loaded plane, from the corner of an output pixel's window.
    pub taps: Vec<(usize, usize)>,
    /// Rows and columns of zeros that the backward pass needs around the output's gradient plane.
    pub halo: (usize, usize),
    /// Taps of input class (row mod stride) · stride + (column mod stride).
    pub backward: Vec<Vec<BackwardTap>>,
}

/// For one tap of one input class: which gradient pixel it reads, relative to (row / stride, column / stride) and
/// counted from the corner of the gradient plane's halo.
#[derive(Clone, Copy, Debug)]
pub struct BackwardTap {
    pub tap: usize,
    pub row: usize,
    pub column: usize,
}

impl Geometry {
    /// `own`: the convolution's padding; `taps`: (row, column) of each tap within the kernel's reach.
    pub fn new(
        input: (usize, usize),
        output: (usize, usize),
        stride: (usize, usize),
        own: (usize, usize),
        taps: Vec<(usize, usize)>,
    ) -> Self {
        Self { input, pad: own, output, stride, taps, halo: (0, 0), backward: Vec::new() }
    }

    /// Sets the loaded plane's padding, once all readers of the view are known.
    pub fn settle(&mut self, pad: (usize, usize)) {
        let shift = (pad.0 - self.pad.0, pad.1 - self.pad.1);
        for tap in &mut self.taps {
            *tap = (tap.0 + shift.0, tap.1 + shift.1);
        }
        self.pad = pad;
        self.find_backward_taps();
    }

    fn find_backward_taps(&mut self) {
        // The gradient row that input row s·i + a receives through tap t: i + (a + pad − t)/s where that divides
        // evenly.
        let reach = |a: usize, pad: usize, tap: usize, stride: usize| {
            let distance = (a + pad) as isize - tap as isize;
            (distance.rem_euclid(stride as isize) == 0).then(|| distance.div_euclid(stride as isize))
        };
        let (mut found, mut halo) = (Vec::new(), (0isize, 0isize));
        for a in 0..self.stride.0 {
            for b in 0..self.stride.1 {
                let mut class = Vec::new();
                for (index, tap) in self.taps.iter().enumerate() {
                    let row = reach(a, self.pad.0, tap.0, self.stride.0);
                    let column = reach(b, self.pad.1, tap.1, self.stride.1);
                    if let (Some(row), Some(column)) = (row, column) {
                        let last = |size: usize, first: usize, stride: usize| {
                            if first >= size { 0 } else { ((size - 1 - first) / stride) as isize }
                        };
                        let below = last(self.input.0, a, self.stride.0) + row - (self.output.0 as isize - 1);
                        let right = last(self.input.1, b, self.stride.1) + column - (self.output.1 as isize - 1);
                        halo = (halo.0.max(-row).max(below), halo.1.max(-column).max(right));
                        class.push((index, row, column));
                    }
                }
                found.push(class);
            }
        }
        self.halo = (halo.0 as usize, halo.1 as usize);
        self.backward = found
            .into_iter()
            .map(|class| {
                class
                    .into_iter()
                    .map(|(tap, row, column)| BackwardTap {
                        tap,
                        row: (row + halo.0) as usize,
                        column: (column + halo.1) as usize,
                    })
                    .collect()
            })
            .collect();
    }

    /// Size of the loaded plane.
    pub fn padded(&self) -> (usize, usize) {
        (self.input.0 + 2 * self.pad.0, self.input.1 + 2 * self.pad.1)
    }

    /// Size of the gradient plane with its halo.
    pub fn with_halo(&self) -> (usize, usize) {
        (self.output.0 + 2 * self.halo.0, self.output.1 + 2 * self.halo.1)
    }
}
