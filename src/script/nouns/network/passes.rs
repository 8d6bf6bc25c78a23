//! Passes of a network as scripts run them: whole, masked, or along one path.

use super::SMALL;
use crate::engine::Mode;
use crate::script::binding::{Call, Declaration, Library, Options};
use crate::script::nouns::Tensor;
use crate::script::nouns::inputs::Blocks;
use crate::script::nouns::ways::{Given, MASK, PATH};
use crate::space::{Genotype, Network};
use crate::{Error, Result};
use rhai::{Dynamic, Map};
use std::sync::Arc;

pub fn declare(library: &mut Library) {
    declare_forward(library);
    declare_paths(library);
    declare_latency(library);
}

fn declare_forward(library: &mut Library) {
    let whole = library.method(
        "forward",
        &["net", "x", "options"],
        |call: &Call<'_>, net: Network, x: Tensor, options: Options| {
            let logits =
                passed(call, &net, &options, |w, p, mode, active| net.forward_at(&x.float()?, w, p, mode, active))?;
            Ok(Tensor::new(&call.host().meter, logits))
        },
    );
    with_mixing(whole)
        .doc(
            r#"
            Logits, [batch, classes], of images [batch, channels, height, width]; in training followed by those of an
            auxiliary head. Mixing weights that are not given are the softmax of the alphas, over the ops that run.
            Gradients flow to weights, mixing weights and images. An op whose mask is 0 is not run, and its mixing
            weight gets no gradient; a weight that is given for it must be 0. With `path` the network is that of one
            genotype.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            let p = softmax(net.alphas.normal, 1);
            let logits = net.forward(zeros([2, 1, 8, 8]), #{ normal: p });
            assert(logits.shape == [2, 10]);
            let slope = gradient(sum(logits), net.alphas);
            "#,
        );
    let several = library.method(
        "outputs",
        &["net", "x", "options"],
        |call: &Call<'_>, net: Network, x: Tensor, options: Options| {
            let outputs =
                passed(call, &net, &options, |w, p, mode, active| net.outputs_at(&x.float()?, w, p, mode, active))?;
            let hand =
                |(name, value): (String, _)| (name.into(), Dynamic::from(Tensor::new(&call.host().meter, value)));
            Ok(outputs.into_iter().map(hand).collect::<Map>())
        },
    );
    with_mixing(several)
        .doc(
            r#"
            All outputs of one pass by name, [batch, numbers] each: `logits`, and what else the closure of `network`
            gave. Gradients flow as in `forward`. What judges by classes (`evaluate`, `weight_gradient`, an exported
            file) goes by the logits alone.
            "#,
        )
        .example(
            r#"
            let net = network(#{ channels: 1, size: 8, classes: 10 }, |g, x| {
                let y = g.global_pool(g.relu(g.conv(x, 8)));
                #{ logits: g.linear(y, 10), angle: g.linear(y, 2), features: y }
            });
            let out = net.outputs(normal([4, 1, 8, 8]));
            assert(out.logits.shape == [4, 10] && out.angle.shape == [4, 2] && out.features.shape == [4, 8]);
            let loss = cross_entropy(out.logits, [0, 1, 2, 3]) + mean((out.angle - 1.0) ** 2);
            sgd(net.weights, #{ lr: 0.1 }).step(gradient(loss, net.weights));
            "#,
        );
}

/// The options of passes whose mixing weights may be given.
fn with_mixing(declaration: &mut Declaration) -> &mut Declaration {
    declaration
        .optional::<Tensor>("normal", "softmax of the alphas", "mixing weights of the normal cells, edges × ops")
        .optional::<Tensor>("reduce", "softmax of the alphas", "mixing weights of the reduction cells, edges × ops")
        .optional::<Map>(
            "mix",
            "softmax of the alphas",
            "mixing weights by name, for slots that a network declared itself",
        )
        .option(
            "training",
            true,
            "norms use the batch's statistics and update the running ones; false: they use the running ones",
        )
        .optional::<Map>("mask", MASK.0, MASK.1)
        .optional::<Genotype>("path", PATH.0, PATH.1)
        .optional::<Tensor>(
            "weights",
            "the network's own",
            "flat weights to use instead; `net.weights.detach()` where no gradient of weights is wanted",
        )
}

fn declare_paths(library: &mut Library) {
    let host = library.host();
    library
        .method("gates", &["net", "genotype"], move |net: Network, genotype: Genotype| {
            let gates = net.gates(&genotype)?.into_iter().map(|gates| Dynamic::from(Tensor::new(&host.meter, gates)));
            Ok(net.alphas().names().map(Into::into).zip(gates).collect::<Map>())
        })
        .doc(
            r#"
            The mixing weights that make a supernet a genotype's network, by the alphas' names: 1 where the genotype has
            the op on the edge (2 where a node has it there twice), 0 elsewhere. They are a mask, too. A genotype that
            is not in the supernet's space is an error, which names the edge and the op.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            let gates = net.gates(derive(net));
            assert(sum(gates.normal).item() == 2.0);
            let logits = net.forward(zeros([2, 1, 8, 8]), gates + #{ mask: gates });
            "#,
        );
    library
        .method("running_macs", &["net", "options"], |call: &Call<'_>, net: Network, options: Options| {
            let given = Given::read(call, &net, &options)?;
            net.macs_running(given.active.as_deref())
        })
        .doc("Multiply-adds of one image in a pass that runs only some ops, counted on the graph.")
        .optional::<Map>("mask", MASK.0, MASK.1)
        .optional::<Genotype>("path", PATH.0, PATH.1)
        .example_after(
            SMALL,
            r#"
            assert(net.running_macs() == net.macs);
            assert(net.running_macs(#{ path: derive(net) }) < net.macs);
            "#,
        );
}

fn declare_latency(library: &mut Library) {
    library
        .method("latency", &["net", "options"], |call: &Call<'_>, net: Network, options: Options| {
            let given = Given::read(call, &net, &options)?;
            let p = match options.given("path") {
                true => given.mixing(&net)?,
                false => Blocks::complete(&net, &Map::new(), given.active.as_deref())?,
            };
            let (images, from) = (options.get::<usize>("images")?, net.graph().shape(net.graph().input()));
            call.host().meter.admit(&[images, from.channels, from.height, from.width], size_of::<f32>())?;
            net.latency(images, options.get("passes")?, &p, given.active.clone())
        })
        .doc(
            r#"
            Seconds that a forward pass takes here and now, on this machine's device and threads: the median of some
            passes without gradients, after one that warms up. With `path` or `mask` only what runs is measured. No seed
            repeats it.
            "#,
        )
        .option("images", 1_usize, "images of a pass")
        .option("passes", 10_usize, "passes that are timed")
        .optional::<Map>("mask", MASK.0, MASK.1)
        .optional::<Genotype>("path", PATH.0, PATH.1)
        .example_after(
            SMALL,
            r#"
            assert(net.latency() > 0.0);
            let path = net.latency(#{ path: derive(net), images: 4, passes: 5 });
            "#,
        );
}

/// What `pass` makes of the weights, the mixing weights, the mode and the slots that run, as the options say.
fn passed<R>(
    call: &Call<'_>,
    net: &Network,
    options: &Options,
    pass: impl FnOnce(&candle_core::Tensor, &[candle_core::Tensor], Mode, Option<Arc<[bool]>>) -> Result<R>,
) -> Result<R> {
    let mut given = options.find::<Map>("mix")?.unwrap_or_default();
    for name in ["normal", "reduce"] {
        if let Some(p) = options.find::<Tensor>(name)? {
            given.insert(name.into(), Dynamic::from(p));
        }
    }
    let said = Given::read(call, net, options)?;
    let active = said.active.clone();
    let p = match options.given("path") {
        true if !given.is_empty() => {
            return Err(Error::user("a path says what every op weighs: give it without mixing weights"));
        }
        true => said.mixing(net)?,
        false => Blocks::complete(net, &given, active.as_deref())?,
    };
    let mode = if options.get("training")? { Mode::Training } else { Mode::Evaluation };
    let weights = match options.find::<Tensor>("weights")? {
        None => net.weights().tensor(),
        Some(weights) => weights.float()?,
    };
    pass(&weights, &p, mode, active)
}
