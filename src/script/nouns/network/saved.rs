//! Saved networks as scripts see them: written, read, and asked what an image shows; part of the noun `network`.

use super::network_seed;
use crate::data::{self, Expected, ImageSet};
use crate::engine::Mode;
use crate::graph::Shape;
use crate::script::binding::{Argument, Call, Library, List, Mismatch, Options, describe_value};
use crate::script::nouns::data::{MEGAPIXELS, most_pixels};
use crate::script::nouns::graph::Registry;
use crate::script::nouns::json::to_json;
use crate::space::{Genotype, Legend, Network, SavedNetwork};
use crate::{Error, Result, interrupt};
use candle_core::{D, DType, Device, Tensor};
use rhai::{Array, Dynamic, Map};
use std::path::PathBuf;

/// What examples with a network that can be saved begin with.
const SAVED: &str = r#"
    let data = images("digits");
    let net = discrete(genotype("DARTS_V1"), #{ images: data, channels: 2, layers: 3 });
"#;

pub fn declare(library: &mut Library, registry: &Registry) {
    declare_files(library, registry);
    declare_facts(library);
    declare_prediction(library);
}

fn declare_files(library: &mut Library, registry: &Registry) {
    let host = library.host();
    library
        .method("save", &["net", "file", "options"], move |net: Network, file: String, options: Options| {
            let (legend, about) = (legend(&net, &options)?, about(&options)?);
            SavedNetwork::write(&host.writable(&file)?, &net, &legend, &about)
        })
        .doc(
            r#"
            Writes the network into the run folder, as safetensors: all weights by name, the running statistics, and
            what it takes to build and to use it (genotype or depth, channels, layers, the image's shape, class names,
            normalisation). The file is written under another name and renamed, so an older one stays whole until the
            new one is. Only for networks made by `discrete` or `densenet`. One that was made with a data set knows its
            classes and normalisation.
            "#,
        )
        .optional::<List<String>>("classes", "the data set's, or 0, 1 …", "class names")
        .optional::<List<f64>>("mean", "the data set's, or 0", "what was subtracted from pixels of 0..1, per channel")
        .optional::<List<f64>>("std", "the data set's, or 1", "what they were divided by then, per channel")
        .optional::<Map>("about", "nothing", "anything worth keeping: epoch, accuracy …")
        .example_after(
            SAVED,
            r#"
            net.save("best.safetensors", #{ about: #{ epoch: 3 } });
            assert(load_network("best.safetensors").parameters == net.parameters);
            "#,
        );
    let defined = registry.clone();
    library
        .function("load_network", &["file"], move |call: &Call<'_>, file: String| {
            let path = call.host().readable(&file)?;
            let size = std::fs::metadata(&path).map_err(|e| Error::file(&path, &e))?.len();
            call.host().meter.admit(&[size as usize], 1)?;
            let (seed, device) = (network_seed(call.host()), call.host().device());
            let network = SavedNetwork::read_with(&path, defined.operations(call)?, seed, device)?.network;
            super::memory::placed(call.host(), network)
        })
        .doc(
            r#"
            The network that `net.save` wrote, with its weights, ready for `evaluate`, `predict` and further training.
            Its data are read with `images(source, #{ like: net })`. Operations that the script defined must be defined
            again first.
            "#,
        )
        .example_after(
            SAVED,
            r#"
            net.save("best.safetensors");
            let again = load_network("best.safetensors");
            assert(evaluate(again, data.test) == evaluate(net, data.test));
            "#,
        );
    let host = library.host();
    library
        .method("load", &["net", "file"], move |net: Network, file: String| {
            SavedNetwork::load_into(&host.readable(&file)?, &net)
        })
        .doc("Takes over the weights and running statistics of a saved network with the same genotype and shapes.")
        .example_after(
            SAVED,
            r#"
            net.save("best.safetensors");
            net.load("best.safetensors");
            "#,
        );
}

fn declare_facts(library: &mut Library) {
    library
        .property("genotype", |net: Network| {
            let genotype: Option<Genotype> = net.recipe().and_then(|recipe| recipe.genotype()).cloned();
            genotype.ok_or_else(|| {
                Error::user("this network was not built from a genotype")
                    .hint("derive(net) reads one off a supernet's alphas")
            })
        })
        .doc("The genotype that a discrete network was built from.")
        .example_after(SAVED, r#"assert(net.genotype == genotype("DARTS_V1"));"#);
    library
        .property("class_names", |net: Network| Ok(List(legend_of(&net).classes)))
        .doc("Names of its classes: those of the data set that it was made for, or else 0, 1, 2 …")
        .example_after(SAVED, "assert(net.class_names == data.classes);");
}

fn declare_prediction(library: &mut Library) {
    library
        .function(
            "predict",
            &["net", "images", "options"],
            |call: &Call<'_>, net: Network, what: Pictured, options: Options| {
                let expected = expected(&net)?;
                let most = most_pixels(&options)?;
                let read = |path: &String| call.host().readable(path);
                let skip = options.get::<bool>("skip_unreadable")?;
                let files = match &what {
                    Pictured::One(path) if read(path)?.is_dir() => data::image_files(&read(path)?)?,
                    Pictured::One(path) => {
                        let found = predict(&net, &expected, &[read(path)?], most, None)?;
                        return Ok(Dynamic::from_map(one(found)?));
                    }
                    Pictured::Many(paths) => paths.iter().map(read).collect::<Result<_>>()?,
                };
                let size = options.get::<usize>("batch")?.max(1);
                let (mut all, mut bad) = (Array::new(), vec![]);
                for files in files.chunks(size) {
                    let found = predict(&net, &expected, files, most, skip.then_some(&mut bad))?;
                    all.extend(found.into_iter().map(Dynamic::from_map));
                }
                if !bad.is_empty() {
                    let (count, of) = (bad.len(), files.len());
                    call.host()
                        .notes
                        .show(&format!("left out: {count} of {of} files cannot be read: {}", bad.join("; ")));
                }
                Ok(Dynamic::from_array(all))
            },
        )
        .doc(
            r#"
            What image files show, by a saved network or one made with a data set: for a file a map with its `class`,
            the `probability` of that, `top` (the up to five likeliest classes as [class, probability]), `probabilities`
            in the order of `net.class_names`, and the `file`; for an array of files or a folder of images an array of
            such maps. Images are set upright, put before the background of the network's training images, resized,
            turned grey or coloured and normalised as those were; one that is damaged or cut short is refused.
            "#,
        )
        .option("batch", 64_usize, "images at once")
        .option("max_megapixels", MEGAPIXELS, "larger images are refused")
        .option(
            "skip_unreadable",
            false,
            "leave out files among several that cannot be read, and name them, instead of refusing",
        )
        .example_after(
            SAVED,
            r#"
            try {
                print(predict(net, "three.png").class);
            } catch (error) {
                print(error.message);
            }
            "#,
        );
}

/// What a network's classes are called and how its images are scaled; where it does not know, numbers and as they are.
pub fn legend_of(net: &Network) -> Legend {
    let plain = || Legend::plain(net.classes(), net.graph().shape(net.graph().input()).channels);
    net.legend().cloned().unwrap_or_else(plain)
}

/// The names and numbers to write beside a network: the network's own, and what the script gives in their place.
pub(super) fn legend(net: &Network, options: &Options) -> Result<Legend> {
    let mut legend = legend_of(net);
    if let Some(classes) = options.find::<List<String>>("classes")? {
        legend.classes = classes.0;
    }
    let single = |list: List<f64>| list.0.into_iter().map(|value| value as f32).collect();
    if let Some(mean) = options.find::<List<f64>>("mean")? {
        legend.mean = single(mean);
    }
    if let Some(std) = options.find::<List<f64>>("std")? {
        legend.std = single(std);
    }
    legend.check(net.classes(), net.graph().shape(net.graph().input()).channels)?;
    Ok(legend)
}

/// What the maker of a network noted about it.
pub fn about(options: &Options) -> Result<serde_json::Map<String, serde_json::Value>> {
    let noted = options.find::<Map>("about")?.unwrap_or_default();
    noted.iter().map(|(name, value)| Ok((name.to_string(), to_json(value)?))).collect()
}

/// What a network expects of images.
///
/// # Errors
/// One that does not know its classes' names.
pub fn expected(net: &Network) -> Result<Expected> {
    let Some(legend) = net.legend() else {
        return Err(Error::user("this network does not know what its classes are called and how images are scaled")
            .hint(
                "load_network(file) gives one that does; so does discrete(cell, #{ images: data }) with a data set",
            ));
    };
    Ok(Expected { shape: net.graph().shape(net.graph().input()), legend: legend.clone() })
}

/// The set as the network has to see it, where the network knows that.
///
/// # Errors
/// As [`ImageSet::as_expected`].
pub fn as_seen_by(net: &Network, set: &ImageSet) -> Result<ImageSet> {
    match net.legend() {
        Some(_) => set.as_expected(&expected(net)?),
        None => Ok(set.clone()),
    }
}

/// One map for each file that can be read. Those that cannot are named in `left_out`; without it they are an error.
fn predict(
    net: &Network,
    expected: &Expected,
    files: &[PathBuf],
    most_pixels: u64,
    mut left_out: Option<&mut Vec<String>>,
) -> Result<Vec<Map>> {
    let Shape { channels, height, width } = expected.shape;
    let mut values = Vec::with_capacity(files.len() * expected.shape.len());
    let mut seen = Vec::with_capacity(files.len());
    for file in files {
        interrupt::check()?;
        match (data::single(file, expected, most_pixels), &mut left_out) {
            (Ok(pixels), _) => {
                values.extend(pixels);
                seen.push(file);
            }
            (Err(error), Some(left_out)) => left_out.push(error.message),
            (Err(error), None) => return Err(error),
        }
    }
    if seen.is_empty() {
        return Ok(vec![]);
    }
    let x = Tensor::from_vec(values, (seen.len(), channels, height, width), &Device::Cpu)?;
    let logits = net.forward(&x.to_device(net.weights().device())?, None, Mode::Evaluation, None)?.detach();
    let probabilities = candle_nn::ops::softmax(&logits.to_dtype(DType::F64)?, D::Minus1)?.to_vec2::<f64>()?;
    let describe = |(file, probabilities): (&&PathBuf, Vec<f64>)| {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let name = |class: usize| Dynamic::from(expected.legend.classes[class].clone());
        let pair = |&class: &usize| Dynamic::from_array(vec![name(class), probabilities[class].into()]);
        Map::from([
            ("file".into(), file.display().to_string().into()),
            ("class".into(), name(order[0])),
            ("probability".into(), probabilities[order[0]].into()),
            ("top".into(), order.iter().take(5).map(pair).collect::<Array>().into()),
            ("probabilities".into(), probabilities.iter().map(|&p| p.into()).collect::<Array>().into()),
        ])
    };
    Ok(seen.iter().zip(probabilities).map(describe).collect())
}

fn one(maps: Vec<Map>) -> Result<Map> {
    maps.into_iter().next().ok_or_else(|| Error::run("a prediction came out empty"))
}

/// Image files to be looked at.
enum Pictured {
    One(String),
    Many(Vec<String>),
}

impl Argument for Pictured {
    fn describe() -> String {
        "string or [string]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Ok(path) = String::read(value) {
            return Ok(Self::One(path));
        }
        match value.is_array() {
            true => List::<String>::read(value).map(|list| Self::Many(list.0)),
            false => Err(Mismatch::Found(format!("not {}", describe_value(value)))),
        }
    }
}
