//! Scores of networks, and the running statistics that they go by.

use crate::Result;
use crate::batch::Batch;
use crate::data::ImageSet;
use crate::learn::evaluate_by;
use crate::script::binding::{Argument, Call, Library, List, Mismatch, Options};
use crate::script::nouns::inputs::AnyBatch;
use crate::script::nouns::network::SMALL;
use crate::script::nouns::network::saved::as_seen_by;
use crate::script::nouns::ways::{Given, LOSS, MASK, PATH, RELAX};
use crate::space::{Genotype, Network, Statistics};
use rhai::{Dynamic, FnPtr, Map};

pub fn declare(library: &mut Library) {
    library
        .function(
            "evaluate",
            &["net", "data", "options"],
            |call: &Call<'_>, net: Network, data: Scored, options: Options| {
                let given = Given::read(call, &net, &options)?;
                let p = given.mixing(&net)?;
                let statistics = Statistics::named(&options.get::<String>("statistics")?)?;
                let batches = data.batches(&net, options.get("batch")?)?;
                let score = evaluate_by(&net, batches, Some(&p), given.active.clone(), statistics, given.score())?;
                let mut entries = vec![
                    ("loss", Dynamic::from_float(score.loss)),
                    ("examples", Dynamic::from_int(score.examples as i64)),
                ];
                if let Some(hits) = score.hits {
                    let share = |&(all, right): &(usize, usize)| match all {
                        0 => Dynamic::UNIT,
                        _ => Dynamic::from_float(right as f64 / all as f64),
                    };
                    let classes = hits.classes.iter().map(share).collect();
                    entries.extend([
                        ("accuracy", Dynamic::from_float(hits.accuracy)),
                        ("top5", Dynamic::from_float(hits.top5)),
                        ("class_accuracy", Dynamic::from_array(classes)),
                    ]);
                }
                Ok(entries.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>())
            },
        )
        .doc(
            r#"
            Scores a network on a set of images, in order and not augmented, or on an array of batches: a map with the
            mean `loss`, the `accuracy` and `top5` (shares from 0 to 1), the number of `examples`, and `class_accuracy`,
            the accuracy on each class's examples (`()` where it has none). Where `y` of the batches holds real numbers,
            `loss` says how far the outputs are from them, and the map has `loss` and `examples` alone. Nothing is
            dropped; noise is redrawn in every pass. A set is scaled as the images that the network was made for.
            Running statistics are those of the mixing weights that training used: for others, such as one path of a
            supernet, take each batch's own (which makes the score depend on the batches), or call `recalibrate` first.
            "#,
        )
        .option("batch", 256_usize, "images at once, where `data` is a set")
        .option(
            "statistics",
            "running".to_string(),
            "what batch norms use: \"running\" statistics, or those of each \"batch\"",
        )
        .optional::<FnPtr>("loss", LOSS.0, LOSS.1)
        .optional::<FnPtr>("relax", RELAX.0, RELAX.1)
        .optional::<Map>("mask", MASK.0, MASK.1)
        .optional::<Genotype>("path", PATH.0, PATH.1)
        .example_after(
            SMALL,
            r#"
            let score = evaluate(net, images("digits").test.take(32));
            assert(score.examples == 32 && score.accuracy <= 1.0);
            // A network of real numbers: how bright an image is.
            let ink = network(#{ channels: 1, size: 8, classes: 1 }, |g, x| g.linear(g.global_pool(x), 1));
            let batches = [];
            for batch in images("digits").test.take(32).batches(16).epoch(0) {
                batches.push(#{ x: batch.x, y: mean(batch.x, [1, 2, 3]) });
            }
            let loss = |outputs, y| mse(outputs, y);
            let w_opt = sgd(ink.weights, #{ lr: 0.1 });
            let before = evaluate(ink, batches, #{ loss: loss });
            for batch in batches { w_opt.step(weight_gradient(ink, batch, #{ loss: loss })); }
            assert(evaluate(ink, batches, #{ loss: loss }).loss < before.loss);
            "#,
        );
    library
        .function(
            "recalibrate",
            &["net", "data", "options"],
            |call: &Call<'_>, net: Network, data: Scored, options: Options| {
                let given = Given::read(call, &net, &options)?;
                let p = given.mixing(&net)?;
                let batches = data.batches(&net, options.get("batch")?)?;
                net.recalibrate(batches.map(|batch| Ok(batch?.images)), &p, given.active.clone())
            },
        )
        .doc(
            r#"
            Replaces a network's running statistics by those of a set of images, in order and not augmented, or of an
            array of batches, at the mixing weights that `relax` or `path` gives; weights stay. Gives the number of
            images. For mixing weights that training did not use, such as one path of a supernet, before `evaluate`;
            `net.state()` keeps the old ones.
            "#,
        )
        .option("batch", 256_usize, "images at once, where `data` is a set")
        .optional::<FnPtr>("relax", RELAX.0, RELAX.1)
        .optional::<Map>("mask", MASK.0, MASK.1)
        .optional::<Genotype>("path", PATH.0, PATH.1)
        .example_after(
            SMALL,
            r#"
            let data = images("digits");
            let cell = derive(net);
            recalibrate(net, data.train.take(64), #{ path: cell });
            let score = evaluate(net, data.test.take(32), #{ path: cell });
            "#,
        );
}

/// What a network is scored on.
enum Scored {
    Set(ImageSet),
    Batches(Vec<AnyBatch>),
}

impl Scored {
    /// The batches where the network's weights are; a set in order, `size` images at once.
    ///
    /// # Errors
    /// A set of other classes or shapes than the network's.
    fn batches<'a>(self, net: &'a Network, size: usize) -> Result<Box<dyn Iterator<Item = Result<Batch>> + 'a>> {
        let device = net.weights().device();
        Ok(match self {
            Self::Set(set) => {
                let batches = as_seen_by(net, &set)?.batches_in_order(size)?;
                Box::new(batches.map(move |batch| batch?.to_device(device)))
            }
            Self::Batches(batches) => Box::new(batches.into_iter().map(move |batch| batch.on(device))),
        })
    }
}

impl Argument for Scored {
    fn describe() -> String {
        "image_set, batch or [batch]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(set) = value.read_lock::<ImageSet>() {
            return Ok(Self::Set(set.clone()));
        }
        if value.is_array() {
            return List::<AnyBatch>::read(value).map(|list| Self::Batches(list.0));
        }
        AnyBatch::read(value).map(|batch| Self::Batches(vec![batch]))
    }
}
