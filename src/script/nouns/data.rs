//! The noun `data`: labelled images and batches of them, as scripts see them. The work is done in [`crate::data`]; here
//! are names, options, the sandbox's word on folders, and the way onto the host's device.

use crate::data::{
    self, Augment, Batch, BatchOptions, Batches, Download, ImageOptions, ImageSet, Images, NAMES, Position, Source,
};
use crate::error::closest;
use crate::random::Seed;
use crate::script::binding::{Argument, Library, List, Mismatch, Options, Output, ScriptType};
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::script::nouns::network::saved::expected;
use crate::space::Network;
use crate::{Error, Result};
use rand::Rng;
use rhai::{Dynamic, Map};
use std::fmt;

pub fn declare(library: &mut Library) {
    library.noun("data", "Labelled images, and the batches that training takes from them.");
    declare_images(library);
    declare_sets(library);
    declare_batches(library);
    declare_batch(library);
}

fn declare_images(library: &mut Library) {
    let host = library.host();
    library
        .function("images", &["source", "options"], move |source: String, options: Options| {
            open(&host, &source, &options)
        })
        .doc(
            r#"
            Reads a data set into memory. `source` is "digits" (1,797 handwritten digits of 8×8 inside the binary; the
            last fifth of each class is the test set), "cifar10", "fashion-mnist" or "mnist" (fetched once and kept in
            the Hugging Face cache), or a folder that the script may read, which holds one of these: `train-*.parquet`
            and `test-*.parquet` with an encoded image and a label per row; CIFAR-10's six binary batches; the four IDX
            files of MNIST and its successors, plain or gzipped; or image files in one folder per class, with or without
            `train/` and `test/` around them. Images are normalised by the training images' mean and standard deviation
            per channel (CIFAR-10: by the constants of the DARTS paper's code). Training images that come class by class
            are shuffled once, because `split` cuts by order.
            "#,
        )
        .optional::<Size>(
            "size",
            "the size most training images have",
            "side, or [height, width], to which images are resized",
        )
        .optional::<usize>("channels", "3 if an image is stored in colour", "1 for grey, 3 for colour")
        .optional::<f64>("test", "0.2", "share of each class held out where the data have no test set of their own")
        .option("skip_unreadable", false, "leave out image files that cannot be read, and say so, instead of refusing")
        .optional::<Network>(
            "like",
            "what the images are",
            "a network whose size, channels, classes and normalisation the images get; then `test: 1` holds all out",
        )
        .option("seed", 0_usize, "which images of class folders are held out; independent of the run's seed")
        .example(
            r#"
            let data = images("digits");
            assert(data.train.len() + data.test.len() == 1797);
            let large = images("digits", #{ size: 16, channels: 3 });
            assert(large.channels == 3 && large.size[0] == 16);
            "#,
        );
    let host = library.host();
    library
        .function("survey", &["source", "options"], move |source: String, options: Options| {
            let skip_unreadable = options.get("skip_unreadable")?;
            let settings = ImageOptions { skip_unreadable, ..ImageOptions::default() };
            let survey = data::survey(&find(&host, &source)?, &settings)?;
            let count = |counts: &[usize]| Dynamic::from_array(counts.iter().map(|&n| (n as i64).into()).collect());
            Ok(Map::from([
                ("channels".into(), (survey.shape.channels as i64).into()),
                ("size".into(), count(&[survey.shape.height, survey.shape.width])),
                ("classes".into(), List(survey.classes).into_dynamic()),
                ("train".into(), count(&survey.train)),
                ("test".into(), count(&survey.test)),
            ]))
        })
        .doc(
            r#"
            What a data set is like, to decide how to read it: a map with `channels`, `size` (height and width of most
            training images), `classes`, and the images of each class in `train` and `test`. For class folders only the
            headers of the images are read.
            "#,
        )
        .option("skip_unreadable", false, "skip image files that cannot be read")
        .example(r#"assert(survey("digits").size == [8, 8]);"#);
    library.kind::<Images>("A data set: images to learn from and images to judge by.");
    library
        .property("train", |data: Images| Ok(data.train))
        .doc("The images to learn from.")
        .example(r#"assert(images("digits").train.len() == 1438);"#);
    library
        .property("test", |data: Images| Ok(data.test))
        .doc("The images that no search and no training should see.")
        .example(r#"assert(images("digits").test.len() == 359);"#);
    library
        .property("classes", |data: Images| Ok(List(data.classes().to_vec())))
        .doc("Class names; label k is the k-th.")
        .example(r#"assert(images("digits").classes.len() == 10);"#);
    library
        .property("channels", |data: Images| Ok(data.shape().channels))
        .doc("1 for grey, 3 for colour.")
        .example(r#"assert(images("digits").channels == 1);"#);
    library
        .property("size", |data: Images| Ok(List(vec![data.shape().height, data.shape().width])))
        .doc("Height and width of every image.")
        .example(r#"assert(images("digits").size == [8, 8]);"#);
    library
        .property("name", |data: Images| Ok(data.name().to_string()))
        .doc("The data set's name, for titles: that of the folder, unless the data are recognised.")
        .example(r#"assert(images("digits").name == "digits");"#);
}

fn declare_sets(library: &mut Library) {
    library.kind::<ImageSet>("Labelled images, all of one size. Parts of a set share its memory.");
    library
        .method("len", &["set"], |set: ImageSet| Ok(set.len()))
        .doc("Images in the set.")
        .example(r#"assert(images("digits").train.take(100).len() == 100);"#);
    library
        .method("split", &["set", "fraction"], |set: ImageSet, fraction: f64| {
            set.split(fraction).map(|(first, second)| List(vec![first, second]))
        })
        .doc(
            r#"
            Two sets by order, the first with that fraction of the images; nothing is shuffled (the paper's
            `train_portion`).
            "#,
        )
        .example(
            r#"
            let halves = images("digits").train.split(0.5);
            assert(halves[0].len() == 719 && halves[1].len() == 719);
            "#,
        );
    library
        .method("take", &["set", "count"], |set: ImageSet, count: usize| set.take(count))
        .doc("The first `count` images.")
        .example(r#"assert(images("digits").test.take(10).len() == 10);"#);
    library
        .method("subset", &["set", "indices"], |set: ImageSet, indices: List<usize>| set.subset(&indices.0))
        .doc("The images at these indices, counted from 0, in this order.")
        .example(r#"assert(images("digits").train.subset([3, 1, 4]).len() == 3);"#);
    library
        .property("mirrors", |set: ImageSet| Ok(set.mirrors()))
        .doc("Whether a mirror image keeps its class: assumed, unless class names of one character suggest writing.")
        .example(r#"assert(!images("digits").train.mirrors);"#);
    library
        .method("class_counts", &["set"], |set: ImageSet| Ok(List(set.class_counts())))
        .doc("Images of each class, in the order of `data.classes`.")
        .example(r#"assert(images("digits").test.class_counts()[0] == 36);"#);
}

fn declare_batches(library: &mut Library) {
    let host = library.host();
    library.kind::<Batches>("A set's images in batches, epoch after epoch, prepared ahead on a thread of their own.");
    library
        .method("batches", &["set", "size", "options"], move |set: ImageSet, size: usize, options: Options| {
            // The k-th call of a script has the k-th seed, so two halves of a set never see the same random numbers.
            let seed = Seed(host.draw("batches").next_u64());
            Batches::new(&set, size, &batch_options(&options)?, seed, "batches")
        })
        .doc(
            r#"
            Batches of `size` images (an epoch's last may have fewer). Order and augmentation follow from the run's
            seed, the epoch and the batch's index in it. "standard" pads with black on each side by an eighth of the
            image (4 of 32, 1 of 8), cuts a window of the image's size at random, and mirrors half of the images unless
            class names of one character suggest written characters.
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
        .example(
            r#"
            let train = images("digits").train.batches(64, #{ augment: "standard", cutout: 2 });
            assert(train.len() == 23);
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

/// A named data set, or a folder that the script may read.
fn find(host: &Host, name: &str) -> Result<Source> {
    let source = match Source::parse(name) {
        Source::Folder(_) => {
            let folder = host.readable(name).map_err(|error| match closest(name, NAMES) {
                Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                None => error,
            });
            Source::Folder(folder?)
        }
        known => known,
    };
    if Download::POSSIBLE && matches!(source, Source::Download(_)) {
        eprintln!("{name}: from the Hugging Face cache, or else fetched from the hub");
    }
    Ok(source)
}

/// Reads a data set.
fn open(host: &Host, name: &str, options: &Options) -> Result<Images> {
    let source = find(host, name)?;
    let size = options.find::<Size>("size")?;
    let data = data::images(
        &source,
        &ImageOptions {
            size: size.map(|Size(height, width)| (height, width)),
            channels: options.find("channels")?,
            test: options.find("test")?,
            seed: options.get::<usize>("seed")? as u64,
            skip_unreadable: options.get("skip_unreadable")?,
            like: options.find::<Network>("like")?.as_ref().map(expected).transpose()?,
        },
    )?;
    for note in &data.notes {
        eprintln!("{}: {note}", data.name());
    }
    Ok(data)
}

fn batch_options(options: &Options) -> Result<BatchOptions> {
    Ok(BatchOptions {
        augment: Augment::parse(&options.get::<String>("augment")?)?,
        pad: options.find("pad")?,
        flip: options.find("flip")?,
        cutout: options.get("cutout")?,
        shuffle: options.get("shuffle")?,
        drop_last: options.get("drop_last")?,
    })
}

/// A batch's tensor where the script's tensors are.
pub(super) fn on_device(host: &Host, tensor: &candle_core::Tensor) -> Result<Tensor> {
    let dtype = if tensor.dtype().is_float() { host.dtype() } else { tensor.dtype() };
    host.meter.admit(tensor.dims(), dtype.size_in_bytes())?;
    Ok(Tensor::new(&host.meter, tensor.to_dtype(dtype)?.to_device(host.device())?))
}

/// Height and width: one number for squares, or both.
struct Size(usize, usize);

impl Argument for Size {
    fn describe() -> String {
        "int or [int]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Ok(side) = usize::read(value) {
            return Ok(Self(side, side));
        }
        match List::<usize>::read(value)?.0[..] {
            [height, width] => Ok(Self(height, width)),
            _ => Err(Mismatch::Error(Error::user("a size is one side or [height, width]"))),
        }
    }
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

impl ScriptType for Images {
    const NAME: &'static str = "images";
}

impl ScriptType for ImageSet {
    const NAME: &'static str = "image_set";
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

impl fmt::Display for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (train, test, classes) = (self.train.len(), self.test.len(), self.classes().len());
        write!(f, "{}: {train} training and {test} test images of {:#}, {classes} classes", self.name(), self.shape())
    }
}

impl fmt::Display for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} images of {:#}", self.len(), self.shape())
    }
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
