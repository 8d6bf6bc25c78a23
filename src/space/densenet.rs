//! DenseNet-BC (Huang et al. 2017), the manual design that searched cells are compared with.
//!
//! Three dense blocks: every layer reads all that the block has made so far and adds `growth` channels to it, through a
//! bottleneck of 4 · `growth`. Between blocks a 1×1 convolution compresses the channels and an average pool halves the
//! size.

use crate::graph::{Conv, Graph, Init, Node, Pool, PoolKind, Shape};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

const BLOCKS: usize = 3;

/// A network's shape; [`DenseNetOptions::new`] gives L = 100, k = 12.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseNetOptions {
    /// One image.
    pub input: Shape,
    pub classes: usize,
    /// L: layers with weights, 6n + 4 for n layers per block.
    pub depth: usize,
    /// k: channels that each layer adds.
    pub growth: usize,
    /// θ: the share of channels that a transition keeps.
    pub reduction: f64,
}

impl DenseNetOptions {
    pub fn new(input: Shape, classes: usize) -> Self {
        Self { input, classes, depth: 100, growth: 12, reduction: 0.5 }
    }
}

/// Builds the network; its weights start as in the authors' code, convolutions normal with deviation √(2/(k²·out)).
///
/// # Errors
/// A depth that is not 6n + 4, a reduction outside of (0, 1], no growth, images that cannot be halved twice.
pub fn densenet(options: &DenseNetOptions) -> Result<Graph> {
    let &DenseNetOptions { input, classes, depth, growth, reduction } = options;
    if depth < 10 || depth % 6 != 4 || depth > 10_000 {
        return Err(Error::user(format!(
            "the depth of a DenseNet-BC must be 6n + 4 for n layers in each block, not {depth}"
        ))
        .hint("the papers' depths are 40, 100, 190 and 250"));
    }
    if !(reduction > 0.0 && reduction <= 1.0) {
        return Err(Error::user(format!("the reduction must be above 0 and at most 1, not {reduction}")));
    }
    if !(1..=1 << 16).contains(&growth) || classes == 0 {
        return Err(Error::user(format!("growth and classes must be at least 1, not {growth} and {classes}")));
    }
    if !input.height.is_multiple_of(4) || !input.width.is_multiple_of(4) {
        return Err(Error::user(format!(
            "a DenseNet halves its images twice, so height and width must be multiples of 4, not {}×{}",
            input.height, input.width
        )));
    }
    let mut graph = Graph::new(input.channels, input.height, input.width);
    let mut x = graph.conv("stem", graph.input(), Conv::square(2 * growth, 3))?;
    for block in 0..BLOCKS {
        for layer in 0..(depth - 4) / 6 {
            let new = graph.scope(format!("blocks.{block}.{layer}"), |g| dense_layer(g, x, growth))?;
            x = graph.concat(&[x, new])?;
        }
        if block + 1 < BLOCKS {
            x = graph.scope(format!("transitions.{block}"), |g| transition(g, x, reduction))?;
        }
    }
    let x = graph.batch_norm("norm", x, true)?;
    let x = graph.relu(x);
    let x = graph.global_pool(x);
    let logits = graph.linear("head", x, classes)?;
    graph.set_output(logits);
    graph.start_weights(|weight| match weight.shape[..] {
        [out, _, height, width] => Some(Init::Normal((2.0 / (height * width * out) as f32).sqrt())),
        _ => None,
    });
    Ok(graph)
}

/// Norm, ReLU, 1×1 convolution to 4k channels, norm, ReLU, 3×3 convolution to k.
fn dense_layer(g: &mut Graph, x: Node, growth: usize) -> Result<Node> {
    let y = g.batch_norm("norm1", x, true)?;
    let y = g.relu(y);
    let y = g.pointwise("conv1", y, 4 * growth)?;
    let y = g.batch_norm("norm2", y, true)?;
    let y = g.relu(y);
    g.conv("conv2", y, Conv::square(growth, 3))
}

/// Norm, ReLU, 1×1 convolution to ⌊θ · channels⌋, 2×2 average pool.
fn transition(g: &mut Graph, x: Node, reduction: f64) -> Result<Node> {
    let channels = (reduction * g.shape(x).channels as f64).floor().max(1.0) as usize;
    let y = g.batch_norm("norm", x, true)?;
    let y = g.relu(y);
    let y = g.pointwise("conv", y, channels)?;
    g.pool(y, Pool { kind: PoolKind::Average { count_padding: false }, kernel: 2, stride: 2, padding: 0 })
}
