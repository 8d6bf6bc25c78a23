//! The primitives with weights, norms, activations and pools, as methods of the builder.

use super::{GraphBuilder, Node};
use crate::graph::{Activation, Conv, Pool, PoolKind};
use crate::script::binding::{Declaration, Library, Options};
use crate::script::nouns::tensor::arguments::Pair;
use crate::{Error, Result};

pub fn declare(library: &mut Library) {
    declare_convolutions(library);
    declare_norms(library);
    declare_pools(library);
}

const NAME: &str = "the layer's name in its scope";

fn declare_convolutions(library: &mut Library) {
    library
        .method("conv", &["g", "x", "channels", "options"], convolution)
        .doc("A convolution to `channels` channels. Its weight starts uniform in ±1/√fan_in.")
        .optional::<Pair>("kernel", "3", "side, or [height, width]")
        .optional::<Pair>("stride", "1", "one for both directions, or [vertical, horizontal]")
        .optional::<Pair>("padding", "what keeps the size at stride 1", "zeros on each side")
        .optional::<Pair>("dilation", "1", "distance between neighbouring taps")
        .option("groups", 1_usize, "groups of channels that are convolved separately")
        .option("bias", false, "add a learned number to every channel")
        .optional::<String>("name", "conv0, conv1 …", NAME)
        .example(
            r#"
            let net = network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                let y = g.conv(x, 16, #{ kernel: [7, 1], stride: 2, name: "tall" });
                assert(y.size == [4, 4]);
                g.linear(g.global_pool(y), 2)
            });
            assert(net.weight("tall.weight").shape == [16, 3, 7, 1]);
            "#,
        );
    library
        .method(
            "pointwise",
            &["g", "x", "channels", "options"],
            |g: GraphBuilder, x: Node, channels: usize, o: Options| {
                let (x, name) = (g.own(&x)?, g.name(o.find("name")?, "pointwise")?);
                g.add(|graph| graph.pointwise(&name, x, channels))
            },
        )
        .doc("A 1×1 convolution without bias.")
        .optional::<String>("name", "pointwise0, pointwise1 …", NAME)
        .example(
            "network(#{ channels: 3, size: 8, classes: 2 }, |g, x| g.linear(g.global_pool(g.pointwise(x, 8)), 2));",
        );
    library
        .method("depthwise", &["g", "x", "kernel", "options"], |g: GraphBuilder, x: Node, kernel: usize, o: Options| {
            let (x, name) = (g.own(&x)?, g.name(o.find("name")?, "depthwise")?);
            let (stride, dilation) = (o.get("stride")?, o.get("dilation")?);
            g.add(|graph| graph.depthwise(&name, x, kernel, stride, dilation))
        })
        .doc("One square kernel per channel, padded to keep the size at stride 1.")
        .option("stride", 1_usize, "1 keeps the size")
        .option("dilation", 1_usize, "distance between neighbouring taps")
        .optional::<String>("name", "depthwise0, depthwise1 …", NAME)
        .example(
            r#"
            network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                g.linear(g.global_pool(g.depthwise(x, 5, #{ stride: 2, dilation: 2 })), 2)
            });
            "#,
        );
    library
        .method("halve", &["g", "x", "channels"], |g: GraphBuilder, x: Node, channels: usize| {
            let (x, scope) = (g.own(&x)?, g.name(None, "halve")?);
            g.add(|graph| graph.scope(scope, |graph| graph.halve(x, channels)))
        })
        .doc(
            r#"
            Two 1×1 convolutions of stride 2 side by side, the second one pixel further down and right: DARTS's
            factorized reduction without its ReLU and norm. Height, width and `channels` must be even.
            "#,
        )
        .example("network(#{ channels: 3, size: 8, classes: 2 }, |g, x| g.linear(g.global_pool(g.halve(x, 8)), 2));");
    library
        .method("linear", &["g", "x", "outputs", "options"], |g: GraphBuilder, x: Node, outputs: usize, o: Options| {
            let (x, name) = (g.own(&x)?, g.name(o.find("name")?, "linear")?);
            g.add(|graph| graph.linear(&name, x, outputs))
        })
        .doc("A fully connected layer with bias on a vector, such as a global pool gives.")
        .optional::<String>("name", "linear0, linear1 …", NAME)
        .example(
            r#"
            network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                g.linear(g.global_pool(x), 2, #{ name: "head" })
            });
            "#,
        );
}

/// The options of norms.
fn with_norm_options(declaration: &mut Declaration) -> &mut Declaration {
    declaration
        .optional::<bool>(
            "affine",
            "true, but false for candidates in a supernet",
            "scale and shift by learned numbers",
        )
        .optional::<String>("name", "norm0, norm1 …", NAME)
}

fn declare_norms(library: &mut Library) {
    let batch = library
        .method("batch_norm", &["g", "x", "options"], |g: GraphBuilder, x: Node, o: Options| {
            let x = g.own(&x)?;
            let affine = o.find("affine")?.unwrap_or(g.affine());
            let name = g.name(o.find("name")?, "norm")?;
            g.add(|graph| graph.batch_norm(&name, x, affine))
        })
        .doc("Batch norm (eps 1e-5, momentum 0.1).");
    with_norm_options(batch).example(
        r#"
            network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                g.linear(g.global_pool(g.batch_norm(x, #{ affine: false })), 2)
            });
            "#,
    );
    let layer = library
        .method("layer_norm", &["g", "x", "options"], |g: GraphBuilder, x: Node, o: Options| {
            let x = g.own(&x)?;
            let affine = o.find("affine")?.unwrap_or(g.affine());
            let name = g.name(o.find("name")?, "norm")?;
            g.add(|graph| graph.layer_norm(&name, x, affine))
        })
        .doc(
            r#"
            Layer norm (Ba et al. 2016; eps 1e-5): each image's numbers less their mean and over their standard
            deviation, over all channels and pixels; the same in training and in evaluation. The learned scale and shift
            are a number each for every channel (a 1×1 convolution of single channels, and counted as one).
            "#,
        );
    with_norm_options(layer).example(
        r#"
            let net = network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                let y = g.layer_norm(g.conv(x, 4), #{ name: "norm" });
                g.linear(g.global_pool(g.relu(y)), 2)
            });
            assert(net.weight("norm.bias").shape == [4]);
            "#,
    );
    library
        .method("relu", &["g", "x"], |g: GraphBuilder, x: Node| {
            let x = g.own(&x)?;
            g.add(|graph| Ok(graph.relu(x)))
        })
        .doc("max(x, 0).")
        .example("network(#{ channels: 3, size: 8, classes: 2 }, |g, x| g.linear(g.global_pool(g.relu(x)), 2));");
    library
        .method("activate", &["g", "x", "name"], |g: GraphBuilder, x: Node, name: String| {
            let x = g.own(&x)?;
            let known = Activation::ALL.iter().map(|(known, _)| *known);
            let found = Activation::ALL.iter().find(|(known, _)| *known == name);
            let (_, activation) = found.ok_or_else(|| Error::unknown("activation", &name, known))?;
            g.add(|graph| Ok(graph.activate(x, *activation)))
        })
        .doc("relu, leaky_relu, elu, gelu, silu, hard_swish, sigmoid or tanh of every number.")
        .example(
            r#"
            network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                g.linear(g.global_pool(g.activate(x, "silu")), 2)
            });
            "#,
        );
}

fn declare_pools(library: &mut Library) {
    library
        .method("max_pool", &["g", "x", "kernel", "options"], |g: GraphBuilder, x: Node, kernel: usize, o: Options| {
            pool(&g, &x, kernel, PoolKind::Max, &o)
        })
        .doc("The largest number under a square window; padding never wins.")
        .option("stride", 1_usize, "distance between windows")
        .optional::<usize>("padding", "what keeps the size at stride 1", "pixels around the map")
        .example(
            "network(#{ channels: 3, size: 8, classes: 2 }, |g, x| g.linear(g.global_pool(g.max_pool(x, 3)), 2));",
        );
    library
        .method("avg_pool", &["g", "x", "kernel", "options"], |g: GraphBuilder, x: Node, kernel: usize, o: Options| {
            let count_padding = o.get("count_padding")?;
            pool(&g, &x, kernel, PoolKind::Average { count_padding }, &o)
        })
        .doc("The mean under a square window.")
        .option("stride", 1_usize, "distance between windows")
        .optional::<usize>("padding", "what keeps the size at stride 1", "pixels around the map")
        .option("count_padding", false, "count padded pixels in the divisor")
        .example(
            r#"
            network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                g.linear(g.global_pool(g.avg_pool(x, 2, #{ stride: 2, padding: 0 })), 2)
            });
            "#,
        );
    library
        .method("upsample", &["g", "x", "factor"], |g: GraphBuilder, x: Node, factor: usize| {
            let x = g.own(&x)?;
            g.add(|graph| graph.upsample(x, factor))
        })
        .doc("Larger by a whole factor in both directions: every pixel is repeated (nearest neighbour).")
        .example(
            r#"
            let net = network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                let coarse = g.conv(x, 8, #{ stride: 2 });
                let y = g.concat([x, g.upsample(coarse, 2)]);
                assert(y.size == [8, 8] && y.channels == 11);
                g.linear(g.global_pool(g.relu(g.conv(y, 4))), 2)
            });
            "#,
        );
    library
        .method("global_pool", &["g", "x"], |g: GraphBuilder, x: Node| {
            let x = g.own(&x)?;
            g.add(|graph| Ok(graph.global_pool(x)))
        })
        .doc("The mean over all pixels of every channel: a vector.")
        .example("network(#{ channels: 3, size: 8, classes: 2 }, |g, x| g.linear(g.global_pool(x), 2));");
}

fn convolution(g: GraphBuilder, x: Node, channels: usize, o: Options) -> Result<Node> {
    let x = g.own(&x)?;
    let pair = |name: &str, default: usize| -> Result<(usize, usize)> {
        let Pair(vertical, horizontal) = o.find(name)?.unwrap_or(Pair(default, default));
        Ok((vertical, horizontal))
    };
    let (kernel, dilation) = (pair("kernel", 3)?, pair("dilation", 1)?);
    let keeps = |kernel: usize, dilation: usize| dilation.saturating_mul(kernel.saturating_sub(1)) / 2;
    let conv = Conv {
        channels,
        kernel,
        stride: pair("stride", 1)?,
        padding: match o.find::<Pair>("padding")? {
            Some(Pair(vertical, horizontal)) => (vertical, horizontal),
            None => (keeps(kernel.0, dilation.0), keeps(kernel.1, dilation.1)),
        },
        dilation,
        groups: o.get("groups")?,
        bias: o.get("bias")?,
    };
    let name = g.name(o.find("name")?, "conv")?;
    g.add(|graph| graph.conv(&name, x, conv))
}

fn pool(g: &GraphBuilder, x: &Node, kernel: usize, kind: PoolKind, o: &Options) -> Result<Node> {
    let x = g.own(x)?;
    let padding = o.find("padding")?.unwrap_or(kernel.saturating_sub(1) / 2);
    let pool = Pool { kind, kernel, stride: o.get("stride")?, padding };
    g.add(|graph| graph.pool(x, pool))
}
