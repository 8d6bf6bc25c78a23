//! The noun `network`: supernets, networks of a script's own, their weights and alphas, and genotypes.

mod catalogue;
mod derive;
mod discrete;
mod ends;
mod exact;
mod genotype;
pub(in crate::script::nouns) mod memory;
mod moving;
pub mod onnx;
mod passes;
pub mod saved;
mod state;

use super::graph::{GraphBuilder, Node, Registry, op_names};
use super::inputs::{EdgeMask, NewWeights, Pictures, alphas_by_name, set_alphas};
use crate::graph::{Graph, Shape};
use crate::random::Seed;
use crate::script::binding::{Call, Library, List, Options, ScriptType};
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::space::{CellKind, Cost, Masks, Network, NormStyle, Supernet, SupernetOptions};
use crate::{Error, Result};
use ends::Ends;
use rand::Rng;
use rhai::{Dynamic, FnPtr, Map};

impl ScriptType for Network {
    const NAME: &'static str = "network";
}

/// Declares the noun. `registry` holds the operations that scripts defined.
pub fn declare(library: &mut Library, registry: &Registry) {
    library.noun("network", "Supernets and other networks, their weights and alphas, and the cells they lead to.");
    library.kind::<Network>("A compiled network with weights, running statistics and alphas.");
    declare_making(library, registry);
    declare_properties(library);
    declare_weights(library);
    passes::declare(library);
    moving::declare(library);
    derive::declare(library);
    genotype::declare(library, registry);
    catalogue::declare(library);
    discrete::declare(library, registry);
    saved::declare(library, registry);
    state::declare(library);
    onnx::declare(library);
    exact::declare(library);
}

fn declare_making(library: &mut Library, registry: &Registry) {
    let defined = registry.clone();
    library
        .function("supernet", &["images", "options"], move |call: &Call<'_>, images: Pictures, options: Options| {
            let net = supernet(call, &defined, &images, &options)?;
            Ok(images.explain(net))
        })
        .doc(
            r#"
            The DARTS search network (Liu et al. 2019): stem, cells whose nodes are weighted sums of all candidates on
            all edges, linear head. `images` is a data set, or `#{ channels: 3, size: 32, classes: 10 }`. Alphas
            "normal" and "reduce" are edges × ops and start at 1e-3 · N(0, 1); weights start uniform in ±1/√fan_in, from
            the run's seed. With `edge_weights` every edge is weighted by the softmax of its beta over the edges into
            its node (edges × 1); with `partial` candidates see only the first part of the channels, the others pass by
            unchanged, and all are shuffled (PC-DARTS, Xu et al. 2020).
            "#,
        )
        .option("channels", 16_usize, "channels of the first cell; reductions double them")
        .option("layers", 8_usize, "cells")
        .option("nodes", 4_usize, "intermediate nodes per cell")
        .optional::<List<usize>>("reductions", "a third and two thirds of the depth", "the reduction cells, from 0")
        .option("stem", 3_usize, "the stem has this many times `channels`")
        .option("ops", op_names(), "the candidates of every edge, by name")
        .option("partial", 1_usize, "candidates see channels / partial channels, the others pass by (PC-DARTS: 4)")
        .option("edge_weights", false, r#"weights of the edges into a node, alphas "betas_normal" and "betas_reduce""#)
        .optional::<Map>(
            "mask",
            "every op on every edge",
            "`#{ normal: …, reduce: … }`: for every edge an array of the names of its ops, or a bool for each op; see \
             `net.mask`",
        )
        .optional::<memory::Bytes>("memory", memory::DEFAULT, memory::DOC)
        .example(
            r#"
            let net = supernet(#{ channels: 3, size: 32, classes: 10 }, #{ channels: 4, layers: 5 });
            assert(net.parameters == 136182);
            assert(net.alphas.normal.shape == [14, 8]);
            let digits = #{ channels: 1, size: 8, classes: 10 };
            let net = supernet(digits, #{ channels: 4, layers: 3, partial: 2, edge_weights: true });
            assert(net.alphas.betas_normal.shape == [14, 1]);
            "#,
        );
    library
        .function("network", &["images", "build", "options"], network)
        .doc(
            r#"
            A network of your own: `build` is a closure |g, x| over the graph builder that gives the node of the logits,
            a vector of one number per class, or a map with `logits` and other vectors by name, which `net.outputs`
            gives. `images` is a data set, or `#{ channels: 3, size: 32, classes: 10 }`.
            "#,
        )
        .optional::<memory::Bytes>("memory", memory::DEFAULT, memory::DOC)
        .example(
            r#"
            let net = network(#{ channels: 1, size: 8, classes: 10 }, |g, x| {
                let y = g.relu(g.batch_norm(g.conv(x, 8)));
                g.linear(g.global_pool(y), 10)
            });
            assert(net.parameters == 8 * 9 + 16 + 90);
            "#,
        );
}

/// What examples with a small supernet begin with.
pub const SMALL: &str =
    "let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 1 });";

fn declare_properties(library: &mut Library) {
    library
        .property("parameters", |net: Network| Ok(net.parameters()))
        .doc("How many weights it has; alphas and an auxiliary head do not count.")
        .example_after(SMALL, "assert(net.parameters == net.weights.shape[0]);");
    library
        .property("macs", |net: Network| Ok(net.macs()))
        .doc("Multiply-adds of one image, convolutions and linear layers only; an auxiliary head does not count.")
        .example_after(SMALL, "assert(net.macs > 0);");
    library
        .property("classes", |net: Network| Ok(net.classes()))
        .doc("How many classes it has.")
        .example_after(SMALL, "assert(net.classes == 10);");
    library
        .property("ops", |net: Network| Ok(List(space(&net)?.operations.clone())))
        .doc("A supernet's candidates, in the order of the alphas' columns.")
        .example_after(SMALL, "assert(net.ops == DARTS_OPS);");
    library
        .property("nodes", |net: Network| Ok(space(&net)?.nodes))
        .doc("A supernet's intermediate nodes per cell; n of them have n(n + 3)/2 edges.")
        .example_after(SMALL, "assert(net.nodes == 1);");
    library
        .constant("DARTS_OPS", op_names())
        .doc("The eight candidates of the DARTS space, in index order.")
        .example(r#"assert(DARTS_OPS[0] == "none" && DARTS_OPS.len() == 8);"#);
    let host = library.host();
    library
        .property("alphas", move |net: Network| Ok(alphas_by_name(&host, net.alphas())))
        .writable(|net: Network, values: Map| set_alphas(net.alphas(), &values))
        .doc(
            r#"
            The architecture parameters: a map with one parameter per kind of cell, edges × ops, and with `edge_weights`
            one more per kind, "betas_normal" and "betas_reduce", edges × 1. Setting one, `net.alphas.normal = t`, does
            what `set_alphas` does.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            net.alphas.normal = zeros([2, 8]);
            assert_equal(net.alphas.normal.shape, [2, 8]);
            assert_equal(sum(net.alphas.normal ** 2).item(), 0.0);
            "#,
        );
    let host = library.host();
    library
        .property("mask", move |net: Network| {
            let mask = net.mask()?.into_iter().map(|mask| Dynamic::from(Tensor::new(&host.meter, mask)));
            Ok(net.alphas().names().map(Into::into).zip(mask).collect::<Map>())
        })
        .doc(
            r#"
            By the alphas' names, 1 where there is a candidate and 0 where the option `mask` of `supernet` left it out,
            in the alphas' shapes. A relaxation of your own must give 0 there: `softmax(alphas.normal, 1, #{ mask:
            net.mask.normal })`.
            "#,
        )
        .example(
            r#"
            let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 1,
                mask: #{ normal: [["skip_connect", "sep_conv_3x3"], ["max_pool_3x3"]] } });
            assert(sum(net.mask.normal[0]).item() == 2.0 && sum(net.mask.reduce).item() == 16.0);
            let p = softmax(net.alphas.normal, 1, #{ mask: net.mask.normal });
            let logits = net.forward(zeros([2, 1, 8, 8]), #{ normal: p });
            "#,
        );
    let host = library.host();
    library
        .method("costs", &["net", "what"], move |net: Network, what: String| {
            let costs = net.costs(Cost::named(&what)?)?;
            let matrix = |kind: CellKind| -> Result<Dynamic> {
                let rows = costs.of(kind);
                let flat: Vec<f64> = rows.iter().flatten().map(|&cost| cost as f64).collect();
                let shape = (rows.len(), rows.first().map_or(0, Vec::len));
                let tensor = candle_core::Tensor::from_vec(flat, shape, &candle_core::Device::Cpu)?;
                let tensor = tensor.to_dtype(host.dtype())?.to_device(host.device())?;
                Ok(Dynamic::from(Tensor::new(&host.meter, tensor)))
            };
            CellKind::BOTH.into_iter().map(|kind| Ok((kind.name().into(), matrix(kind)?))).collect::<Result<Map>>()
        })
        .doc(
            r#"
            What every candidate costs: "macs" or "parameters", edges × ops, summed over all cells of a kind. Times the
            mixing weights, it is the expected cost of the network.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            let macs = net.costs("macs");
            assert(macs.normal.shape == net.alphas.normal.shape);
            "#,
        );
}

fn declare_weights(library: &mut Library) {
    let host = library.host();
    library
        .property("weights", move |net: Network| Ok(Tensor::of_parameter(&host.meter, net.weights().clone())))
        .doc(
            r#"
            All weights as one flat parameter, which always shows the current values; `net.weights.detach()` is a
            snapshot of them.
            "#,
        )
        .example_after(SMALL, "assert(net.weights.shape == [net.parameters]);");
    library
        .property("weight_names", |net: Network| {
            Ok(List(net.graph().weights().iter().map(|weight| weight.name.clone()).collect()))
        })
        .doc("The names of the weights, in the order of the flat vector.")
        .example_after(SMALL, r#"assert(net.weight_names[0] == "stem.0.weight");"#);
    let host = library.host();
    library
        .method("weight", &["net", "name"], move |net: Network, name: String| {
            Ok(Tensor::new(&host.meter, net.named_slice(&name)?))
        })
        .doc("One weight in its own shape; gradients flow through it to `net.weights`.")
        .example_after(SMALL, r#"assert(net.weight("stem.0.weight").shape == [6, 1, 3, 3]);"#);
    let host = library.host();
    library
        .method("named", &["net", "flat"], move |net: Network, flat: Tensor| {
            let flat = flat.candle();
            let part = |name: &str| {
                let slice = net.slice_of(&flat, name)?;
                Ok((name.into(), Dynamic::from(Tensor::new(&host.meter, slice))))
            };
            net.graph().weights().iter().map(|weight| part(&weight.name)).collect::<Result<Map>>()
        })
        .doc("The parts of a flat vector (weights or their gradient) by weight name, each in its weight's shape.")
        .example_after(
            SMALL,
            r#"
            let parts = net.named(net.weights);
            assert(parts["head.bias"].shape == [10]);
            "#,
        );
    let host = library.host();
    library
        .method("clone_weights", &["net"], move |net: Network| Ok(Tensor::new(&host.meter, net.weights().detached())))
        .doc("The flat weights as they are now; later steps do not change them.")
        .example_after(
            SMALL,
            r#"
            let kept = net.clone_weights();
            net.set_weights(kept);
            "#,
        );
    library
        .method("set_weights", &["net", "weights"], |net: Network, weights: Dynamic| set_weights(&net, &weights))
        .doc("Gives the network other weights: all with a flat tensor, or those in a map of tensors by name.")
        .example_after(SMALL, r#"net.set_weights(#{ "head.bias": net.weight("head.bias") * 0.0 });"#);
    library
        .method("set_alphas", &["net", "alphas"], |net: Network, alphas: Map| set_alphas(net.alphas(), &alphas))
        .doc("Gives the alphas in a map other values, by name; the others stay.")
        .example_after(SMALL, "net.set_alphas(#{ normal: net.alphas.normal * 0.0 });");
}

/// The space of a supernet, for properties that only supernets have.
fn space(net: &Network) -> Result<&crate::space::Space> {
    net.space().ok_or_else(|| Error::user("only a supernet has candidates").hint("supernet(…) makes one"))
}

fn supernet(call: &Call<'_>, registry: &Registry, images: &Pictures, options: &Options) -> Result<Network> {
    let names = options.get::<List<String>>("ops")?.0;
    let operations = registry.operations(call)?.select(names.iter().map(String::as_str))?;
    let masks = match options.find::<Map>("mask")? {
        Some(given) => Masks {
            normal: EdgeMask::read(&given, "normal", &names)?,
            reduce: EdgeMask::read(&given, "reduce", &names)?,
        },
        None => Masks::default(),
    };
    let supernet = Supernet::build(&SupernetOptions {
        input: images.shape,
        classes: images.classes,
        channels: options.get("channels")?,
        layers: options.get("layers")?,
        nodes: options.get("nodes")?,
        reductions: options.find::<List<usize>>("reductions")?.map(|list| list.0),
        stem_multiplier: options.get("stem")?,
        operations,
        masks,
        partial: options.get("partial")?,
        edge_weights: options.get("edge_weights")?,
    })?;
    let host = call.host();
    host.meter.admit(&[supernet.graph.parameters()], host.dtype().size_in_bytes())?;
    memory::settled(call, options, Network::supernet(supernet, network_seed(host), host.device())?)
}

fn network(call: &Call<'_>, images: Pictures, build: FnPtr, options: Options) -> Result<Network> {
    let Shape { channels, height, width } = images.shape;
    let mut graph = Graph::new(channels, height, width);
    let input = graph.input();
    let Ends { logits, further } = GraphBuilder::lend(&mut graph, NormStyle::Evaluation, |g| {
        let x = g.add(|_| Ok(input))?;
        call.invoke::<Ends<Node>>(&build, (g.clone(), x))?.own(g)
    })?;
    if graph.shape(logits) != Shape::new(images.classes, 1, 1) {
        return Err(Error::user(format!(
            "the closure gives {}, but {classes} classes need a vector of {classes} numbers",
            graph.shape(logits),
            classes = images.classes
        ))
        .hint("end with g.linear(g.global_pool(x), classes)"));
    }
    if let Some((name, node)) = further.iter().find(|(_, node)| graph.shape(*node).pixels() != 1) {
        return Err(Error::user(format!("the output `{name}` is {}, not a vector", graph.shape(*node)))
            .hint("end with g.global_pool(x), or g.linear(g.global_pool(x), count)"));
    }
    let nodes: Vec<_> = std::iter::once(logits).chain(further.iter().map(|(_, node)| *node)).collect();
    let output = graph.concat(&nodes)?;
    graph.set_output(output);
    let further = further.into_iter().map(|(name, node)| (name, graph.shape(node).channels)).collect();
    let host = call.host();
    host.meter.admit(&[graph.parameters()], host.dtype().size_in_bytes())?;
    let net = Network::new(graph, network_seed(host), host.device())?.with_further(images.classes, further);
    memory::settled(call, &options, images.explain(net))
}

/// The k-th network of a script has the k-th seed.
pub(in crate::script::nouns) fn network_seed(host: &Host) -> Seed {
    Seed(host.draw("network").next_u64())
}

fn set_weights(net: &Network, weights: &Dynamic) -> Result<()> {
    match NewWeights::read(weights)? {
        NewWeights::Flat(flat) => net.set_weights(&flat),
        NewWeights::Named(named) => net.set_named(&named),
    }
}
