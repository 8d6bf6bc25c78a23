//! Batches of a set, and what is in one.

use crate::data::{Augment, Batch, BatchOptions, Batches, ClassWeights, ImageSet, Position, Sampling};
use crate::random::Seed;
use crate::script::binding::{Argument, Library, List, Mismatch, Options, ScriptType, describe_value};
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::{Error, Result};
use rand::Rng;
use rhai::Dynamic;
use std::fmt;

pub(super) fn declare(library: &mut Library) {
    declare_batches(library);
    declare_batch(library);
}

fn declare_batches(library: &mut Library) {
    let host = library.host();
    library.kind::<Batches>("A set's images in batches, epoch after epoch, prepared ahead on a thread of their own.");
    library
        .method("batches", &["set", "size", "options"], move |set: ImageSet, size: usize, options: Options| {
            // The k-th call of a script has the k-th seed, so two halves of a set never see the same random numbers.
            let seed = Seed(host.draw("batches").next_u64());
            let options = batch_options(&options)?;
            if options.augment == Augment::Standard && options.flip.is_none() {
                let mirrored = if set.mirrors() { "mirrored" } else { "not mirrored" };
                host.notes.show_once(&format!("{}: {mirrored}: {}", set.name(), set.mirror_rule()));
            }
            Batches::new(&set, size, &options, seed, "batches")
        })
        .doc(
            r#"
            Batches of `size` images (an epoch's last may have fewer). Order and augmentation follow from the run's
            seed, the epoch and the batch's index in it. "standard" pads with black on each side by an eighth of the
            image (4 of 32, 1 of 8), cuts a window of the image's size at random, and mirrors half of the images where
            `set.mirrors` says that left and right do not matter.
            "#,
        )
        .option("augment", "none".to_string(), r#""standard" or "none""#)
        .optional::<usize>("pad", "as `augment` says", "pixels of padding before the random cut")
        .optional::<bool>("flip", "as `augment` says", "whether to mirror half of the images")
        .option(
            "cutout",
            0_usize,
            "side of a square set to zero at a random place after normalisation (16 for CIFAR-10); 0: none",
        )
        .option("shuffle", true, "a new order in each epoch; false: the order of the set")
        .option("drop_last", false, "leave out a last batch that is smaller than the rest")
        .optional::<Weights>(
            "weights",
            "\"none\"",
            "what an image's loss counts: \"balanced\": N/(K · n), where n of the N images are of its class and K \
             classes have any, so that all classes count the same (King and Zeng 2001); or a number for each class",
        )
        .option(
            "sampling",
            "once".to_string(),
            "\"once\": an epoch has every image once; \"balanced\": as many images of every class, those of rare \
             classes several times (Buda et al. 2018)",
        )
        .option(
            "mixup",
            0.0,
            "α: each image is laid over another of its batch, in a proportion from Beta(α, α), and so are their \
             targets (Zhang et al. 2018); 0: none",
        )
        .example(
            r#"
            let train = images("digits").train.batches(64, #{ augment: "standard", cutout: 2 });
            assert(train.len() == 23);
            let rare = images("digits").train.batches(64, #{ weights: "balanced", mixup: 0.2 });
            assert(rare.next().targets.shape == [64, 10]);
            "#,
        );
    library
        .method("len", &["batches"], |batches: Batches| Ok(batches.len()))
        .doc("Batches in an epoch.")
        .example(r#"assert(images("digits").train.batches(100).len() == 15);"#);
    library
        .method("next", &["batches"], |batches: Batches| batches.next())
        .doc("The next batch; after the last batch of an epoch the next epoch begins.")
        .example(
            r#"
            let valid = images("digits").train.batches(1000);
            assert(valid.next().len() == 1000);
            assert(valid.next().len() == 438);
            assert(valid.next().len() == 1000);
            "#,
        );
    library
        .method("epoch", &["batches", "number"], |batches: Batches, number: usize| {
            Ok(Epoch { batches, number: number as u64 })
        })
        .doc("The batches of epoch `number` (from 0), to loop over. The position of `next` does not change.")
        .example(
            r#"
            let train = images("digits").train.batches(64);
            let seen = 0;
            for batch in train.epoch(0) { seen += batch.len(); }
            assert(seen == 1438);
            "#,
        );
    library
        .property("position", |batches: Batches| {
            let Position { epoch, index } = batches.position();
            Ok(List(vec![epoch as usize, index]))
        })
        .writable(|batches: Batches, position: List<usize>| match position.0[..] {
            [epoch, index] => batches.set_position(Position { epoch: epoch as u64, index }),
            _ => Err(Error::user("a position is [epoch, batch]").hint("for the very first batch: [0, 0]")),
        })
        .doc("The position of `next`: [epoch, batch] of the batch that it will give.")
        .example(
            r#"
            let train = images("digits").train.batches(64);
            let first = train.next();
            assert(train.position == [0, 1]);
            train.position = [0, 0];
            assert(train.next().indices == first.indices);
            "#,
        );
    library
        .property("waited", |batches: Batches| Ok(batches.waited().as_secs_f64()))
        .doc(
            r#"
            Seconds that loops and `next` have waited for these batches so far: what preparing them ahead does not hide.
            Near 0, a faster disk or fewer pixels would not make training faster.
            "#,
        )
        .example(
            r#"
            let train = images("digits").train.batches(64);
            train.next();
            assert(train.waited > 0.0);
            "#,
        );
    library.kind::<Epoch>("The batches of one epoch, for a `for` loop; it may be walked again.");
    library.iterable::<Epoch>();
    library
        .method("len", &["epoch"], |epoch: Epoch| Ok(epoch.batches.len()))
        .doc("Batches in the epoch.")
        .example(r#"assert(images("digits").train.batches(64).epoch(0).len() == 23);"#);
}

fn declare_batch(library: &mut Library) {
    library.kind::<Batch>("The images of one step with their labels.");
    let (x, y) = (library.host(), library.host());
    library
        .property("x", move |batch: Batch| on_device(&x, &batch.images))
        .doc("The normalised images, [batch, channels, height, width].")
        .example(r#"print(images("digits").train.batches(64).next().x);"#);
    library
        .property("y", move |batch: Batch| on_device(&y, &batch.labels))
        .doc("The labels, [batch]: integers from 0.")
        .example(r#"print(images("digits").train.batches(8).next().y);"#);
    let targets = library.host();
    library
        .property("targets", move |batch: Batch| match &batch.targets {
            Some(given) => on_device(&targets, given).map(Dynamic::from),
            None => Ok(Dynamic::UNIT),
        })
        .doc(
            r#"
            What training aims at where classes weigh differently or images are mixed, [batch, classes], or `()` where
            it is `y`: a row is the image's weight at its class, or spread over the classes of a mixed image.
            `weight_gradient` and its like go by it, `evaluate` does not; `cross_entropy` takes it in the labels' place.
            "#,
        )
        .example(
            r#"
            let train = images("digits").train.batches(64, #{ mixup: 0.2 });
            let batch = train.next();
            print(cross_entropy(zeros([64, 10]), batch.targets));
            "#,
        );
    library.property("indices", |batch: Batch| Ok(List(batch.indices))).doc("The images' indices in the set.").example(
        r#"
        let set = images("digits").train;
        assert(set.batches(3, #{ shuffle: false }).next().indices == [0, 1, 2]);
        "#,
    );
    library
        .method("len", &["batch"], |batch: Batch| Ok(batch.len()))
        .doc("Images in the batch.")
        .example(r#"assert(images("digits").train.batches(64).next().len() == 64);"#);
}

fn batch_options(options: &Options) -> Result<BatchOptions> {
    Ok(BatchOptions {
        augment: Augment::parse(&options.get::<String>("augment")?)?,
        pad: options.find("pad")?,
        flip: options.find("flip")?,
        cutout: options.get("cutout")?,
        shuffle: options.get("shuffle")?,
        drop_last: options.get("drop_last")?,
        weights: options.find::<Weights>("weights")?.map_or(ClassWeights::Even, |Weights(weights)| weights),
        sampling: Sampling::parse(&options.get::<String>("sampling")?)?,
        mixup: options.get("mixup")?,
    })
}

/// How much classes count: a name, or a number for each.
struct Weights(ClassWeights);

impl Argument for Weights {
    fn describe() -> String {
        "string or [float]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Ok(name) = String::read(value) {
            return match name.as_str() {
                "none" => Ok(Self(ClassWeights::Even)),
                "balanced" => Ok(Self(ClassWeights::Balanced)),
                _ => Err(Mismatch::Error(Error::unknown("kind of weights", &name, ["none", "balanced"]))),
            };
        }
        match value.is_array() {
            true => List::<f64>::read(value)
                .map(|list| Self(ClassWeights::Given(list.0.into_iter().map(|weight| weight as f32).collect()))),
            false => Err(Mismatch::Found(format!("not {}", describe_value(value)))),
        }
    }
}

/// A batch's tensor where the script's tensors are.
pub(in crate::script::nouns) fn on_device(host: &Host, tensor: &candle_core::Tensor) -> Result<Tensor> {
    let dtype = if tensor.dtype().is_float() { host.dtype() } else { tensor.dtype() };
    host.meter.admit(tensor.dims(), dtype.size_in_bytes())?;
    Ok(Tensor::new(&host.meter, tensor.to_dtype(dtype)?.to_device(host.device())?))
}

/// One epoch's batches: not yet begun, so that a script may walk them twice.
#[derive(Clone)]
pub struct Epoch {
    batches: Batches,
    number: u64,
}

impl IntoIterator for Epoch {
    type Item = Result<Dynamic>;
    type IntoIter = Box<dyn Iterator<Item = Result<Dynamic>>>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.batches.epoch(self.number).map(|batch| batch.map(Dynamic::from)))
    }
}

impl ScriptType for Batches {
    const NAME: &'static str = "batches";
}

impl ScriptType for Epoch {
    const NAME: &'static str = "epoch";
}

impl ScriptType for Batch {
    const NAME: &'static str = "batch";
}

impl fmt::Display for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batches of {} out of {}", self.batch_size(), self.set())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}: {} batches", self.number, self.batches.len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a batch of {} images", self.len())
    }
}
