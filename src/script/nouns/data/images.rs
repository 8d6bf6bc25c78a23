//! Reading images: `images` and `survey`.

use crate::data::{self, Download, ImageOptions, Images, NAMES, Nested, Source};
use crate::error::closest;
use crate::script::binding::{Argument, Library, List, Mismatch, Options, Output};
use crate::script::host::Host;
use crate::script::nouns::network::saved::expected;
use crate::space::Network;
use crate::{Error, Result};
use rhai::{Dynamic, Map};

/// The largest image that is read unless more is asked for.
pub(in crate::script::nouns) const MEGAPIXELS: f64 = ImageOptions::MOST_PIXELS as f64 / 1e6;
const NESTED: &str = "folders in class folders: \"top\" takes all that lies in a class, \"path\" names classes by path";

pub(super) fn declare(library: &mut Library) {
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
            and `test-*.parquet` (or `train/*.parquet` and `test/*.parquet`) with an encoded image and a label per row;
            CIFAR-10's six binary batches; the four IDX files of MNIST and its successors (EMNIST's, too), plain or
            gzipped; CIFAR-100's two binary files; or image files in one folder per class, with all folders inside it,
            with or without `train/`, `test/` and `val/` around them, or inside every one of them (`cat/train`,
            `cat/test`). What a viewer shows is what is learnt: images are set upright by their orientation tag, and put
            before `background` where they are transparent; colour profiles are not applied, numbers are taken as sRGB.
            An image that is damaged or cut short is refused by name. Without a test part, an image is held out or not
            by its path within the class alone (in parquet: by its content), so that others stay where they are when one
            is added. Images are normalised by the training images' mean and standard deviation
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
        .option("seed", 0_usize, "which images are held out; independent of the run's seed")
        .optional::<Colour>("background", "white, or that of `like`", "grey or [red, green, blue] behind transparency")
        .option("max_megapixels", MEGAPIXELS, "larger images are refused")
        .option("nested", "auto".to_string(), NESTED)
        .optional::<String>(
            "labels",
            "the fine ones",
            "\"fine\", \"coarse\" or a parquet column, where there are several",
        )
        .optional::<bool>("transpose", "EMNIST only", "turn the images of IDX files over their diagonal")
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
            let settings = ImageOptions { skip_unreadable, ..looked_at(&options)? };
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
        .option("skip_unreadable", false, "do not count images that cannot be read; all are decoded to find out")
        .optional::<Colour>("background", "white", "grey or [red, green, blue] behind transparency")
        .option("max_megapixels", MEGAPIXELS, "larger images are refused")
        .option("nested", "auto".to_string(), NESTED)
        .example(r#"assert(survey("digits").size == [8, 8]);"#);
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
        host.notes.show_once(&format!("{name}: from the Hugging Face cache, or else fetched from the hub"));
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
            labels: options.find("labels")?,
            transpose: options.find("transpose")?,
            ..looked_at(options)?
        },
    )?;
    host.note_data(name, &data.list)?;
    for note in &data.notes {
        host.notes.show_once(&format!("{}: {note}", data.name()));
    }
    Ok(data)
}

/// The options that images and what is only looked over have in common.
fn looked_at(options: &Options) -> Result<ImageOptions> {
    Ok(ImageOptions {
        background: options.find::<Colour>("background")?.map(|Colour(colour)| colour),
        most_pixels: Some(most_pixels(options)?),
        nested: Nested::parse(&options.get::<String>("nested")?)?,
        ..ImageOptions::default()
    })
}

/// The option `max_megapixels` as pixels.
pub(in crate::script::nouns) fn most_pixels(options: &Options) -> Result<u64> {
    match options.get::<f64>("max_megapixels")? {
        millions if millions > 0.0 => Ok((millions * 1e6) as u64),
        other => Err(Error::user(format!("max_megapixels must be above 0, not {other}"))),
    }
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

/// A colour: one number for greys, or red, green and blue.
struct Colour([u8; 3]);

impl Argument for Colour {
    fn describe() -> String {
        "int or [int]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let wrong = || Mismatch::Error(Error::user("a colour is a grey or [red, green, blue], each from 0 to 255"));
        let parts = match usize::read(value) {
            Ok(grey) => vec![grey; 3],
            Err(_) => List::<usize>::read(value)?.0,
        };
        let parts: Vec<u8> = parts.into_iter().map(u8::try_from).collect::<Result<_, _>>().map_err(|_| wrong())?;
        parts.try_into().map(Self).map_err(|_| wrong())
    }
}
