//! The primitives that graphs are made of.

/// A value in a graph: the output of one primitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub(crate) u32);

impl Node {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The position of one mixing weight in the flat vector `p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A named matrix of mixing weights, for example "normal": edges × candidates. Row-major in `p` from `offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotBlock {
    pub name: String,
    pub offset: usize,
    pub rows: usize,
    pub columns: usize,
}

impl SlotBlock {
    /// Where row and column (from 0) lie in `p`.
    pub fn slot(&self, row: usize, column: usize) -> Slot {
        debug_assert!(row < self.rows && column < self.columns);
        Slot((self.offset + row * self.columns + column) as u32)
    }

    /// How many mixing weights it has.
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A convolution's geometry; pairs are (vertical, horizontal). `groups` counts channel groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Output channels.
    pub channels: usize,
    pub kernel: (usize, usize),
    pub stride: (usize, usize),
    /// Rows and columns of zeros on each side.
    pub padding: (usize, usize),
    /// The distance of neighbouring taps in pixels; 1 is a dense kernel.
    pub dilation: (usize, usize),
    pub groups: usize,
    pub bias: bool,
}

impl Conv {
    /// A square kernel with "same" padding (for odd kernels), stride 1, no bias.
    pub fn square(channels: usize, kernel: usize) -> Self {
        Self {
            channels,
            kernel: (kernel, kernel),
            stride: (1, 1),
            padding: (kernel / 2, kernel / 2),
            dilation: (1, 1),
            groups: 1,
            bias: false,
        }
    }

    /// The same stride both ways.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = (stride, stride);
        self
    }

    /// The same dilation both ways, and the padding that keeps the size at stride 1 (for odd kernels).
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = (dilation, dilation);
        // Saturating: the builder refuses what is out of bounds.
        let keeps = |kernel: usize| dilation.saturating_mul(kernel.saturating_sub(1)) / 2;
        self.padding = (keeps(self.kernel.0), keeps(self.kernel.1));
        self
    }

    /// The same padding on all sides.
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = (padding, padding);
        self
    }

    /// Channel groups; they must divide input and output channels.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Adds a bias per output channel.
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// Whether each channel has a kernel of its own.
    pub fn is_depthwise(&self, input_channels: usize) -> bool {
        self.groups > 1 && self.groups == input_channels && self.channels == input_channels
    }
}

/// What a pool takes from a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest number of a window; padding never is.
    Max,
    /// The mean of a window. `count_padding`: whether padded pixels count in the divisor.
    Average { count_padding: bool },
}

/// A pool with a square window: its side, stride and padding in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    pub kind: PoolKind,
    pub kernel: usize,
    pub stride: usize,
    /// On each side; at most half the kernel.
    pub padding: usize,
}

/// Pointwise non-linearities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    Relu,
    LeakyRelu,
    Elu,
    Gelu,
    Silu,
    HardSwish,
    Sigmoid,
    Tanh,
}

impl Activation {
    /// All activations with the names that scripts use.
    pub const ALL: [(&'static str, Activation); 8] = [
        ("relu", Activation::Relu),
        ("leaky_relu", Activation::LeakyRelu),
        ("elu", Activation::Elu),
        ("gelu", Activation::Gelu),
        ("silu", Activation::Silu),
        ("hard_swish", Activation::HardSwish),
        ("sigmoid", Activation::Sigmoid),
        ("tanh", Activation::Tanh),
    ];

    /// The value at `x`. GELU is the tanh form (Hendrycks & Gimpel 2016); LeakyReLU's slope is 0.01; ELU's alpha is 1.
    pub fn value(self, x: f32) -> f32 {
        match self {
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu => {
                if x > 0.0 {
                    x
                } else {
                    0.01 * x
                }
            }
            Activation::Elu => {
                if x > 0.0 {
                    x
                } else {
                    x.exp_m1()
                }
            }
            Activation::Gelu => 0.5 * x * (1.0 + gelu_inner(x).tanh()),
            Activation::Silu => x * sigmoid(x),
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
        }
    }

    /// The derivative at `x` (at a kink: from the left, as PyTorch's ReLU has it).
    pub fn slope(self, x: f32) -> f32 {
        match self {
            Activation::Relu => {
                if x > 0.0 {
                    1.0
                } else {
                    0.0
                }
            }
            Activation::LeakyRelu => {
                if x > 0.0 {
                    1.0
                } else {
                    0.01
                }
            }
            Activation::Elu => {
                if x > 0.0 {
                    1.0
                } else {
                    x.exp()
                }
            }
            Activation::Gelu => {
                let t = gelu_inner(x).tanh();
                let inner_slope = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * x * x);
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope
            }
            Activation::Silu => sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
            Activation::HardSwish => {
                if x <= -3.0 {
                    0.0
                } else if x >= 3.0 {
                    1.0
                } else {
                    (2.0 * x + 3.0) / 6.0
                }
            }
            Activation::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
            Activation::Tanh => 1.0 - x.tanh() * x.tanh(),
        }
    }
}

const GELU_SCALE: f32 = 0.797_884_6;
const GELU_CUBIC: f32 = 0.044_715;

fn gelu_inner(x: f32) -> f32 {
    GELU_SCALE * (x + GELU_CUBIC * x * x * x)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// How random numbers are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoiseKind {
    /// Standard normal.
    Normal,
    /// What inverted dropout multiplies by: 0 with a probability q, and 1/(1 − q) otherwise. In a pass that scores it
    /// is 1.
    Kept { dropped: Probability },
}

/// A probability from 0 to below 1, by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probability(u64);

impl Probability {
    /// None where it is not from 0 to below 1.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..1.0).contains(&value).then_some(Self(value.to_bits()))
    }

    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// One summand of a weighted sum: `p[slot] · node`, or the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub node: Node,
    pub slot: Option<Slot>,
    /// Drop path: terms with the same number are dropped together, image by image.
    pub drop: Option<u32>,
}

/// A primitive with its inputs. Weights and statistics are indices into the graph's tables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The batch of images.
    Input,
    /// Any convolution that is not depthwise, or that has a bias. `weight`: out × in/groups × kernel.
    Conv { input: Node, conv: Conv, weight: usize, bias: Option<usize> },
    /// One kernel per channel, without bias. `weight`: channels × 1 × kernel.
    Depthwise { input: Node, conv: Conv, weight: usize },
    /// Two 1×1 convolutions of stride 2, the second one pixel further down and right: each makes half of the output
    /// channels. Weights: out/2 × in each.
    Halve { input: Node, channels: usize, weights: [usize; 2] },
    /// Batch norm; `norm` indexes the statistics, `affine` the weights gamma and beta.
    Norm { input: Node, norm: usize, affine: Option<[usize; 2]> },
    /// An activation, element by element.
    Activate { input: Node, activation: Activation },
    /// A max or average pool.
    Pool { input: Node, pool: Pool },
    /// Zeros of the input's shape, each side divided by the stride and rounded up.
    Zero { input: Node, stride: usize },
    /// Random numbers, the `id`-th of their graph, for every channel and pixel of every image.
    Noise { id: usize, kind: NoiseKind },
    /// Σ factor · node over terms of one shape.
    Sum { terms: Vec<Term> },
    /// The product of two inputs, element by element. The second may have one pixel, which is repeated.
    Product { inputs: [Node; 2] },
    /// The inputs' channels one after another.
    Concat { inputs: Vec<Node> },
    /// Output channel c is input channel `channels[c]`: slices and shuffles.
    Select { input: Node, channels: Vec<u32> },
    /// The mean over all pixels.
    GlobalPool { input: Node },
    /// Each image's numbers, over all channels and pixels, less their mean and over their standard deviation.
    Standardise { input: Node },
    /// Every pixel, `factor` times in both directions.
    Upsample { input: Node, factor: usize },
}

impl Op {
    /// The weights it has, by their place among the graph's.
    pub fn weights(&self) -> Vec<usize> {
        match self {
            Op::Conv { weight, bias, .. } => std::iter::once(*weight).chain(*bias).collect(),
            Op::Depthwise { weight, .. } => vec![*weight],
            Op::Halve { weights, .. } => weights.to_vec(),
            Op::Norm { affine, .. } => affine.iter().flatten().copied().collect(),
            Op::Input
            | Op::Noise { .. }
            | Op::Activate { .. }
            | Op::Pool { .. }
            | Op::Zero { .. }
            | Op::Select { .. }
            | Op::GlobalPool { .. }
            | Op::Standardise { .. }
            | Op::Upsample { .. }
            | Op::Sum { .. }
            | Op::Product { .. }
            | Op::Concat { .. } => vec![],
        }
    }

    /// The nodes that this primitive reads.
    pub fn inputs(&self) -> Vec<Node> {
        match self {
            Op::Input | Op::Noise { .. } => vec![],
            Op::Conv { input, .. }
            | Op::Depthwise { input, .. }
            | Op::Halve { input, .. }
            | Op::Norm { input, .. }
            | Op::Activate { input, .. }
            | Op::Pool { input, .. }
            | Op::Zero { input, .. }
            | Op::Select { input, .. }
            | Op::GlobalPool { input }
            | Op::Standardise { input }
            | Op::Upsample { input, .. } => vec![*input],
            Op::Sum { terms } => terms.iter().map(|t| t.node).collect(),
            Op::Product { inputs } => inputs.to_vec(),
            Op::Concat { inputs } => inputs.clone(),
        }
    }
}
