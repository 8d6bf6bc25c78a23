//! Discrete networks and their manual rival as scripts see them; part of the noun `network`.

use super::{memory, network_seed};
use crate::graph::{Graph, Shape};
use crate::script::binding::{Call, Library, List, Options};
use crate::script::nouns::graph::Registry;
use crate::script::nouns::inputs::{Pictures, bounded};
use crate::space::{DenseNetOptions, Discrete, DiscreteOptions, Genotype, Network, Stem, densenet};
use crate::{Error, Result};

pub fn declare(library: &mut Library, registry: &Registry) {
    declare_making(library, registry);
    declare_training(library);
}

fn declare_making(library: &mut Library, registry: &Registry) {
    let defined = registry.clone();
    library
        .function("discrete", &["genotype", "options"], move |call: &Call<'_>, cell: Genotype, options: Options| {
            discrete(call, &defined, &cell, &options)
        })
        .doc(
            r#"
            The network that is trained from scratch with a genotype's cells (Liu et al. 2019, section 3.1): affine
            batch norms, none after pools. Weights start uniform in ±1/√fan_in, from the run's seed.
            "#,
        )
        .optional::<Pictures>(
            "images",
            r#"colour images of 32×32, or 224×224 with the stem "imagenet""#,
            "a data set, or `#{ channels: 3, size: 32, classes: 10 }`",
        )
        .optional::<usize>("classes", "as many as `images` has, or 10", "number of classes")
        .option("channels", 36_usize, "channels of the first cell; reductions double them")
        .option("layers", 20_usize, "cells")
        .optional::<List<usize>>(
            "reductions",
            "a third and two thirds of the depth",
            "which cells are reductions, from 0",
        )
        .option("stem", "cifar".to_string(), r#""cifar": one convolution; "imagenet": three that halve the size"#)
        .option("stem_multiplier", 3_usize, r#"the stem "cifar" has this many times `channels`"#)
        .option("auxiliary", false, "a second head at two thirds of the depth, for training only")
        .optional::<f64>(
            "drop_path",
            "paths cannot be dropped",
            "the initial probability of dropping a path (may be 0); change it later with `net.drop_path`",
        )
        .optional::<memory::Bytes>("memory", memory::DEFAULT, memory::DOC)
        .example(
            r#"
            let net = discrete(genotype("DARTS_V2"), #{ channels: 4, layers: 5, auxiliary: true, drop_path: 0.0 });
            assert(net.parameters == 11554 && net.auxiliary_parameters > 0);
            net.drop_path = 0.1;
            "#,
        );
    library
        .function("densenet", &["images", "options"], |call: &Call<'_>, images: Pictures, options: Options| {
            let settings = DenseNetOptions {
                input: images.shape,
                classes: images.classes,
                depth: options.get("depth")?,
                growth: options.get("growth")?,
                reduction: options.get("reduction")?,
            };
            admit(call, &densenet(&settings)?)?;
            let network = Network::densenet(&settings, network_seed(call.host()), call.host().device())?;
            memory::settled(call, &options, images.explain(network))
        })
        .doc(
            r#"
            DenseNet-BC (Huang et al. 2017): three blocks in which every layer reads the outputs of all layers before
            it. `images` is a data set, or `#{ channels: 3, size: 32, classes: 10 }`.
            "#,
        )
        .option("depth", 100_usize, "6n + 4 for n layers in each block; 40, 100, 190 and 250 in the papers")
        .option("growth", 12_usize, "channels that every layer adds")
        .option("reduction", 0.5, "the share of channels that is kept between blocks")
        .optional::<memory::Bytes>("memory", memory::DEFAULT, memory::DOC)
        .example(
            r#"
            let net = densenet(#{ channels: 3, size: 32, classes: 10 }, #{ depth: 100, growth: 12 });
            assert(net.parameters == 769162);
            "#,
        );
}

/// What examples with a network that is trained begin with.
const TRAINED: &str = r#"
    let net = discrete(
        genotype("DARTS_V1"),
        #{ channels: 2, layers: 3, auxiliary: true, drop_path: 0.1 }
    );
"#;

fn declare_training(library: &mut Library) {
    library
        .property("auxiliary_parameters", |net: Network| Ok(net.auxiliary_parameters()))
        .doc("How many weights its auxiliary head has; 0 without one.")
        .example_after(TRAINED, "assert(net.parameters + net.auxiliary_parameters == net.weights.shape[0]);");
    library
        .property("drop_path", |net: Network| Ok(net.drop_path()))
        .writable(|net: Network, probability: f64| net.set_drop_path(probability))
        .doc(
            r#"
            The probability with which training passes drop a path of an image (Larsson et al. 2017). Each op's output
            is dropped alone, but never an identity; where a genotype lists edges, all paths of a node together.
            "#,
        )
        .example_after(
            TRAINED,
            r#"
            net.drop_path = linear(0.0, 0.2, 30, 600);
            assert(net.drop_path == 0.01);
            "#,
        );
}

fn discrete(call: &Call<'_>, registry: &Registry, cell: &Genotype, options: &Options) -> Result<Network> {
    let stem = Stem::named(&options.get::<String>("stem")?)?;
    let side = if stem == Stem::Imagenet { 224 } else { 32 };
    let images = options.find::<Pictures>("images")?;
    let classes = options.find::<usize>("classes")?.map(|classes| bounded("classes", classes)).transpose()?;
    if let (Some(images), Some(classes)) = (&images, classes)
        && images.classes > classes
    {
        return Err(Error::user(format!("the images have {} classes, but `classes` is {classes}", images.classes))
            .hint("leave `classes` out to have as many as the images"));
    }
    let (input, held) =
        images.as_ref().map_or((Shape::new(3, side, side), 10), |images| (images.shape, images.classes));
    let drop_path = options.find::<f64>("drop_path")?;
    let built = Discrete::build_with(
        cell,
        &DiscreteOptions {
            input,
            classes: classes.unwrap_or(held),
            channels: options.get("channels")?,
            layers: options.get("layers")?,
            reductions: options.find::<List<usize>>("reductions")?.map(|list| list.0),
            stem,
            stem_multiplier: options.get("stem_multiplier")?,
            auxiliary: options.get("auxiliary")?,
            drop_path: drop_path.is_some(),
        },
        &registry.operations(call)?,
    )?;
    admit(call, &built.graph)?;
    let network = Network::discrete(built, network_seed(call.host()), call.host().device())?;
    if let Some(probability) = drop_path {
        network.set_drop_path(probability)?;
    }
    let network = match images {
        Some(images) => images.explain(network),
        None => network,
    };
    memory::settled(call, options, network)
}

/// Checks that the weights fit into the script's memory.
fn admit(call: &Call<'_>, graph: &Graph) -> Result<()> {
    call.host().meter.admit(&[graph.parameters()], call.host().dtype().size_in_bytes())
}
