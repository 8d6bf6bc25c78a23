//! Convolutional cells, and networks of a script's own, scored on images.

use super::{key, only, scores, seed, with_common};
use crate::data::{ImageSet, Images};
use crate::graph::{Graph, Shape};
use crate::learn::scratch::{ImageTraining, Task};
use crate::random::Seed;
use crate::script::binding::{Argument, Call, Declaration, Library, List, Mismatch, Options, describe_value};
use crate::script::nouns::graph::Registry;
use crate::script::nouns::network::memory::placed;
use crate::space::{Discrete, DiscreteOptions, Genotype, Network};
use crate::{Error, Result};
use rhai::{Dynamic, Map};
use std::sync::Arc;

pub fn declare(library: &mut Library, registry: &Registry) {
    let defined = registry.clone();
    let cell = library
        .function(
            "train_cell",
            &["genotype", "data", "options"],
            move |call: &Call<'_>, cell: Genotype, data: Pair, options: Options| {
                only(scored(call, &defined, vec![AnyCell::Genotype(cell)], &data, &options)?)
            },
        )
        .doc(
            r#"
            A genotype's score: its network is trained from scratch and evaluated. `data` is a data set, whose training
            images it learns and by whose test images it is judged, or `[train, valid]`, two sets of images: a search
            should not see the test images. SGD with the learning rate on half a cosine, epoch by epoch. Gives a map
            with the `accuracy` and `loss` on the images it is judged by, the network's `parameters` and `macs`
            (multiply-adds per image), and the `cost`, the multiply-adds that the score took: three passes' worth for
            every training image of every epoch, one for every image judged by. The score is kept on the disk, in
            `runs/cell-scores` below the folder where the command was started, by genotype, settings, images, seed and
            version of candlewick, so no cell is trained twice; the environment variable `CANDLEWICK_CELLS` names
            another folder, or with `off` none. A loss that is NaN or infinite ends the script.
            "#,
        );
    with_common(with_training(with_network(cell))).example(
        r#"
        let set   = images("digits").train.take(96);
        let score = train_cell(genotype("DARTS_V2"), set.split(0.5), #{ epochs: 1, channels: 2, layers: 3 });
        assert(score.accuracy >= 0.0 && score.parameters > 0);
        assert(score.cost == score.macs * (3.0 * 48 + 48));
        "#,
    );
    let defined = registry.clone();
    let network = library
        .function(
            "train_cell",
            &["net", "data", "options"],
            move |call: &Call<'_>, net: Network, data: Pair, options: Options| {
                only(scored(call, &defined, vec![AnyCell::Network(net)], &data, &options)?)
            },
        )
        .doc(
            r#"
            The score of a network of any graph, for spaces that are not made of two cells: weights are drawn afresh
            from the seed, those of `net` stay as they are.
            "#,
        );
    with_common(with_training(network)).example(
        r#"
        let set = images("digits").train.take(96);
        let net = network(set, |g, x| g.linear(g.global_pool(g.op("conv_3x3", g.conv(x, 4), 4)), 10));
        assert(train_cell(net, set.split(0.5), #{ epochs: 1 }).loss > 0.0);
        "#,
    );
    let defined = registry.clone();
    let many = library
        .function(
            "score_cells",
            &["cells", "data", "options"],
            move |call: &Call<'_>, cells: List<AnyCell>, data: Pair, options: Options| {
                scored(call, &defined, cells.0, &data, &options).map(List)
            },
        )
        .doc(
            r#"
            The scores of many genotypes or networks, in their order: bit for bit what `train_cell` gives for each, but
            spread over the cores, each cell on one thread, the largest first. What was scored before, and what is given
            twice, is not trained again. Ctrl-C stops it; what was scored by then is kept.
            "#,
        );
    with_common(with_training(with_network(many))).example(
        r#"
        let halves = images("digits").train.take(96).split(0.5);
        let cells  = [random_genotype(), random_genotype()];
        let scores = score_cells(cells, halves, #{ epochs: 1, channels: 2, layers: 3 });
        assert_equal(scores[1], train_cell(cells[1], halves, #{ epochs: 1, channels: 2, layers: 3 }));
        "#,
    );
}

fn with_network(declaration: &mut Declaration) -> &mut Declaration {
    declaration
        .option("channels", 16_usize, "channels of a genotype's first cell; reductions double them")
        .option("layers", 8_usize, "cells of a genotype's network")
        .optional::<List<usize>>(
            "reductions",
            "a third and two thirds of the depth",
            "which cells are reductions, from 0",
        )
        .option("stem_multiplier", 3_usize, "the stem has this many times `channels`")
}

fn with_training(declaration: &mut Declaration) -> &mut Declaration {
    declaration
        .required::<usize>("epochs", "passes over the training images")
        .option("batch", 64_usize, "images per step")
        .option("lr", 0.025, "the first learning rate")
        .option("lr_min", 0.0, "what it falls to")
        .option("momentum", 0.9, "share of the last step that is kept")
        .option("weight_decay", 3e-4, "decay, added to the gradient")
        .option("clip", 5.0, "largest norm of the gradient")
        .option("augment", "standard".to_string(), r#""standard" or "none", as for `batches`"#)
        .option("cutout", 0_usize, "side of the square cut out of training images; 0: none")
        .option("drop_path", 0.0, "probability of dropping a path in the last epoch; it grows from 0")
}

fn training(options: &Options) -> Result<ImageTraining> {
    let training = ImageTraining {
        epochs: options.get("epochs")?,
        batch: options.get("batch")?,
        lr: options.get("lr")?,
        lr_min: options.get("lr_min")?,
        momentum: options.get("momentum")?,
        weight_decay: options.get("weight_decay")?,
        clip: options.get("clip")?,
        cutout: options.get("cutout")?,
        augment: options.get("augment")?,
        drop_path: options.get("drop_path")?,
    };
    training.check()?;
    Ok(training)
}

/// The images that a network learns, and those by which it is judged.
struct Pair {
    train: ImageSet,
    valid: ImageSet,
}

impl Argument for Pair {
    fn describe() -> String {
        "images or [image_set]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(images) = value.read_lock::<Images>() {
            return Ok(Self { train: images.train.clone(), valid: images.test.clone() });
        }
        if !value.is_array() {
            return Err(Mismatch::Found(format!("not {}", describe_value(value))));
        }
        let sets = List::<ImageSet>::read(value)?.0;
        let count = sets.len();
        let Ok([train, valid]) = <[ImageSet; 2]>::try_from(sets) else {
            return Err(Mismatch::Error(
                Error::user(format!("cells are scored on two sets of images, not {count}"))
                    .hint("[train, valid], for example data.train.split(0.5)"),
            ));
        };
        match train.shape() == valid.shape() && train.classes() == valid.classes() {
            true => Ok(Self { train, valid }),
            false => Err(Mismatch::Error(Error::user(
                "the images to learn and those to judge by differ in shape or classes",
            ))),
        }
    }
}

/// A cell with its network.
enum AnyCell {
    Genotype(Genotype),
    Network(Network),
}

impl Argument for AnyCell {
    fn describe() -> String {
        "genotype or network".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(genotype) = value.read_lock::<Genotype>() {
            return Ok(Self::Genotype(genotype.clone()));
        }
        match value.read_lock::<Network>() {
            Some(network) => Ok(Self::Network(network.clone())),
            None => Err(Mismatch::Found(format!("not {}", describe_value(value)))),
        }
    }
}

fn scored(
    call: &Call<'_>,
    registry: &Registry,
    cells: Vec<AnyCell>,
    data: &Pair,
    options: &Options,
) -> Result<Vec<Map>> {
    let (training, seed) = (training(options)?, seed(call, options)?);
    let operations = registry.operations(call)?;
    let mut tasks = Vec::with_capacity(cells.len());
    for cell in cells {
        let (name, graph) = match cell {
            AnyCell::Genotype(genotype) => {
                let network = DiscreteOptions {
                    channels: options.get("channels")?,
                    layers: options.get("layers")?,
                    reductions: options.find::<List<usize>>("reductions")?.map(|list| list.0),
                    stem_multiplier: options.get("stem_multiplier")?,
                    drop_path: training.drop_path > 0.0,
                    ..DiscreteOptions::new(data.train.shape(), data.train.classes().len())
                };
                let built = Discrete::build_with(&genotype, &network, &operations)?;
                (genotype.to_string(), Arc::new(built.graph))
            }
            AnyCell::Network(network) => (network.to_string(), network.shared_graph()),
        };
        tasks.push(task(call, name, graph, data, &training, seed)?);
    }
    scores(call, &tasks, options)
}

fn task<'a>(
    call: &'a Call<'_>,
    cell: String,
    graph: Arc<Graph>,
    data: &'a Pair,
    training: &'a ImageTraining,
    seed: Seed,
) -> Result<Task<'a>> {
    let host = call.host();
    let input: Shape = graph.shape(graph.input());
    if input != data.train.shape() {
        let own = data.train.shape();
        return Err(Error::user(format!("the network is for images of {input:#}, these are {own:#}")));
    }
    host.meter.admit(&[graph.parameters()], host.dtype().size_in_bytes())?;
    let fields = serde_json::json!({
        "cell": cell,
        "graph": graph.fingerprint().to_string(),
        "training": training,
        "train": data.train.fingerprint().to_string(),
        "valid": data.valid.fingerprint().to_string(),
        "seed": seed.0,
    });
    let cost = training.cost(graph.macs(), data.train.len(), data.valid.len());
    let train = move || {
        let network = Network::new((*graph).clone(), seed, host.device())?;
        training.run(&placed(host, network)?, &data.train, &data.valid, seed)
    };
    Ok(Task { cell, key: key(host, fields)?, cost, train: Box::new(train) })
}
