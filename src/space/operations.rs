//! The candidate operations: one registry of names, descriptions and what each builds over the graph.
//!
//! The eight of the DARTS space (`docs/darts.md` A1; Liu et al. 2019) come built in, and more that other published
//! cells and spaces use; a script adds its own with the same standing. Weights are named by the position of their layer
//! in the reference's sequence (`1` the depthwise, `2` the pointwise convolution …), which is how published weights and
//! the fixtures know them.

use crate::graph::{Conv, Graph, Node, Pool, PoolKind, Shape};
use crate::{Error, Result};
use std::fmt;
use std::rc::Rc;

/// The candidates of the DARTS space in their index order.
pub const DARTS_OPS: [&str; 8] = [
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
];

/// How batch norms are set in an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormStyle {
    /// Norms without affine parameters, and one after every pool: the scale of a candidate must not hide in a gamma.
    Search,
    /// Affine norms, none after a pool.
    Evaluation,
}

impl NormStyle {
    /// Whether batch norms carry gamma and beta.
    pub fn affine(self) -> bool {
        self == NormStyle::Evaluation
    }
}

/// What an operation has to make of its input: as many channels as flow in, a stride of 1 or 2, which norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub channels: usize,
    pub stride: usize,
    pub norms: NormStyle,
}

type Build<'a> = dyn Fn(&mut Graph, Node, Target) -> Result<Node> + 'a;

/// A named operation: `channels × h × w` in, `channels × ⌈h/stride⌉ × ⌈w/stride⌉` out. It is needed only while graphs
/// are built, so what builds it may borrow (a script's closure and the call that runs it).
#[derive(Clone)]
pub struct Operation<'a> {
    name: Rc<str>,
    about: Rc<str>,
    build: Rc<Build<'a>>,
}

impl<'a> Operation<'a> {
    /// An operation that `build` makes. `build` runs once for every edge that carries it, inside the edge's scope.
    pub fn new(
        name: impl Into<Rc<str>>,
        about: impl Into<Rc<str>>,
        build: impl Fn(&mut Graph, Node, Target) -> Result<Node> + 'a,
    ) -> Self {
        Self { name: name.into(), about: about.into(), build: Rc::new(build) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does, in one line.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Builds the operation on `input` and checks that what comes out has the shape that the target asks for.
    ///
    /// # Errors
    /// Those of `build`; a result of another shape than the target's.
    pub fn apply(&self, graph: &mut Graph, input: Node, target: Target) -> Result<Node> {
        let from = graph.shape(input);
        let node = (self.build)(graph, input, target)?;
        let expected =
            Shape::new(target.channels, from.height.div_ceil(target.stride), from.width.div_ceil(target.stride));
        let got = graph.shape(node);
        if got != expected {
            return Err(Error::user(format!(
                "operation \"{}\" makes {got} where {expected} is needed (stride {})",
                self.name, target.stride
            ))
            .hint("an operation keeps the channels and divides height and width by the stride, rounding up"));
        }
        Ok(node)
    }
}

impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operation({})", self.name)
    }
}

/// The registry: the built-in operations and those that a script defined.
#[derive(Clone, Debug)]
pub struct Operations<'a> {
    known: Vec<Operation<'a>>,
}

impl Default for Operations<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Operations<'a> {
    /// The built-in operations.
    pub fn new() -> Self {
        let known = vec![
            Operation::new("none", "zeros: no connection", |g, x, target| g.zero(x, target.stride)),
            Operation::new("max_pool_3x3", "the largest of 3×3 neighbours", |g, x, target| {
                let pooled = g.max_pool_3x3(x, target.stride)?;
                normed_pool(g, pooled, target.norms)
            }),
            Operation::new("avg_pool_3x3", "the mean of 3×3 neighbours, padding not counted", |g, x, target| {
                let pooled = g.avg_pool_3x3(x, target.stride)?;
                normed_pool(g, pooled, target.norms)
            }),
            Operation::new("skip_connect", "identity; at stride 2 a factorized reduction", |g, x, target| match target
                .stride
            {
                1 => Ok(x),
                _ => factorized_reduce(g, x, target.channels, target.norms),
            }),
            separable("sep_conv_3x3", "3×3 depthwise-separable convolution, twice", 3, 1),
            separable("sep_conv_5x5", "5×5 depthwise-separable convolution, twice", 5, 1),
            dilated("dil_conv_3x3", "3×3 depthwise-separable convolution, dilation 2", 3),
            dilated("dil_conv_5x5", "5×5 depthwise-separable convolution, dilation 2", 5),
            separable("sep_conv_7x7", "7×7 depthwise-separable convolution, twice", 7, 1),
            plain("conv_1x1", "1×1 convolution", 1),
            plain("conv_3x3", "3×3 convolution", 3),
            max_pool("max_pool_5x5", "the largest of 5×5 neighbours", 5),
            max_pool("max_pool_7x7", "the largest of 7×7 neighbours", 7),
            crossed("conv_7x1_1x7", "1×7 convolution, then 7×1", 7),
            crossed("conv_3x1_1x3", "1×3 convolution, then 3×1", 3),
            separable("dil_sep_conv_5x5", "5×5 depthwise-separable convolution, dilation 2, twice", 5, 2),
            Operation::new("max_pool_2x2", "the largest of 2×2 neighbours, at stride 2 only", |g, x, target| {
                if target.stride != 2 {
                    return Err(Error::user("max_pool_2x2 halves images and cannot keep their size")
                        .hint("it suits inputs of reduction cells; elsewhere max_pool_3x3"));
                }
                let pooled = g.pool(x, Pool { kind: PoolKind::Max, kernel: 2, stride: 2, padding: 0 })?;
                normed_pool(g, pooled, target.norms)
            }),
            Operation::new(
                "noise",
                "standard normal noise, whatever comes in (RobustDARTS, Zela et al. 2020)",
                |g, x, target| g.noise(x, target.stride),
            ),
        ];
        Self { known }
    }

    /// All operations, the built-in ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Operation<'a>> {
        self.known.iter()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(Operation::name)
    }

    /// The operation of this name.
    ///
    /// # Errors
    /// An unknown name, with the closest one.
    pub fn get(&self, name: &str) -> Result<&Operation<'a>> {
        self.known.iter().find(|op| op.name() == name).ok_or_else(|| Error::unknown("operation", name, self.names()))
    }

    /// Adds an operation.
    ///
    /// # Errors
    /// A name that is taken, or that holds anything but letters, digits and underscores.
    pub fn define(&mut self, operation: Operation<'a>) -> Result<()> {
        let name = operation.name();
        let sound = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !sound {
            return Err(Error::user(format!("\"{name}\" is not a name for an operation"))
                .hint("use letters, digits and underscores, for example \"my_conv_3x3\""));
        }
        if self.names().any(|known| known == name) {
            return Err(Error::user(format!("there is already an operation \"{name}\"")).hint("choose another name"));
        }
        self.known.push(operation);
        Ok(())
    }

    /// The operations of these names, in this order.
    ///
    /// # Errors
    /// An unknown name, with the closest one; a name that comes twice.
    pub fn select<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Vec<Operation<'a>>> {
        let mut chosen: Vec<Operation<'a>> = Vec::new();
        for name in names {
            let operation = self.get(name)?;
            if chosen.iter().any(|op| op.name() == name) {
                return Err(Error::user(format!("operation \"{name}\" is listed twice")));
            }
            chosen.push(operation.clone());
        }
        Ok(chosen)
    }

    /// [`DARTS_OPS`].
    pub fn darts(&self) -> Vec<Operation<'a>> {
        self.known[..DARTS_OPS.len()].to_vec()
    }
}

/// SepConv: ReLU, depthwise, pointwise, norm, twice; only the first depthwise has the stride.
fn separable(name: &'static str, about: &'static str, kernel: usize, dilation: usize) -> Operation<'static> {
    Operation::new(name, about, move |g, x, target| {
        let halfway = depthwise_separable(g, x, [1, 2, 3], kernel, dilation, target)?;
        depthwise_separable(g, halfway, [5, 6, 7], kernel, dilation, Target { stride: 1, ..target })
    })
}

/// DilConv: ReLU, depthwise with dilation 2, pointwise, norm, once.
fn dilated(name: &'static str, about: &'static str, kernel: usize) -> Operation<'static> {
    Operation::new(name, about, move |g, x, target| depthwise_separable(g, x, [1, 2, 3], kernel, 2, target))
}

/// ReLU, convolution, norm.
fn plain(name: &'static str, about: &'static str, kernel: usize) -> Operation<'static> {
    Operation::new(name, about, move |g, x, target| {
        let y = g.relu(x);
        let y = g.conv("1", y, Conv::square(target.channels, kernel).stride(target.stride))?;
        g.batch_norm("2", y, target.norms.affine())
    })
}

/// The largest of each window; in a search followed by a norm, as the other pools.
fn max_pool(name: &'static str, about: &'static str, kernel: usize) -> Operation<'static> {
    Operation::new(name, about, move |g, x, target| {
        let pool = Pool { kind: PoolKind::Max, kernel, stride: target.stride, padding: kernel / 2 };
        let pooled = g.pool(x, pool)?;
        normed_pool(g, pooled, target.norms)
    })
}

/// ReLU, a flat convolution with the horizontal stride, a tall one with the vertical stride, norm.
fn crossed(name: &'static str, about: &'static str, kernel: usize) -> Operation<'static> {
    Operation::new(name, about, move |g, x, target| {
        let Target { channels, stride, norms } = target;
        let (reach, one) = (kernel / 2, Conv::square(channels, 1));
        let y = g.relu(x);
        let flat = Conv { kernel: (1, kernel), stride: (1, stride), padding: (0, reach), ..one };
        let y = g.conv("1", y, flat)?;
        let tall = Conv { kernel: (kernel, 1), stride: (stride, 1), padding: (reach, 0), ..one };
        let y = g.conv("2", y, tall)?;
        g.batch_norm("3", y, norms.affine())
    })
}

/// ReLU, depthwise, pointwise, norm; no norm or activation between the two convolutions. `names`: of the depthwise and
/// the pointwise convolution and the norm.
fn depthwise_separable(
    g: &mut Graph,
    x: Node,
    names: [usize; 3],
    kernel: usize,
    dilation: usize,
    target: Target,
) -> Result<Node> {
    let [depthwise, pointwise, norm] = names.map(|n| n.to_string());
    let y = g.relu(x);
    let y = g.depthwise(&depthwise, y, kernel, target.stride, dilation)?;
    let y = g.pointwise(&pointwise, y, target.channels)?;
    g.batch_norm(&norm, y, target.norms.affine())
}

/// ReLU, 1×1 convolution, norm: how a cell brings its inputs to its own channels.
///
/// # Errors
/// Names that the scope holds already; sizes out of bounds.
pub fn relu_conv_norm(g: &mut Graph, x: Node, channels: usize, norms: NormStyle) -> Result<Node> {
    let y = g.relu(x);
    let y = g.pointwise("1", y, channels)?;
    g.batch_norm("2", y, norms.affine())
}

/// FactorizedReduce: ReLU, two offset 1×1 convolutions of stride 2 side by side, norm.
///
/// # Errors
/// An odd height, width or number of channels; names that the scope holds already.
pub fn factorized_reduce(g: &mut Graph, x: Node, channels: usize, norms: NormStyle) -> Result<Node> {
    let y = g.relu(x);
    let y = g.halve(y, channels)?;
    g.batch_norm("bn", y, norms.affine())
}

fn normed_pool(g: &mut Graph, pooled: Node, norms: NormStyle) -> Result<Node> {
    match norms {
        NormStyle::Search => g.batch_norm("1", pooled, false),
        NormStyle::Evaluation => Ok(pooled),
    }
}
