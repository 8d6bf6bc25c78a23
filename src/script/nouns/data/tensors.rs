//! Data sets of a script's own numbers: `tensor_set`.

use crate::data::{Given, ImageSet};
use crate::script::binding::{Argument, Library, List, Mismatch, Options};
use crate::script::nouns::Tensor;
use crate::script::nouns::tensor::arguments::Numbers;
use crate::shape::Shape;
use crate::{Error, Result};
use candle_core::{DType, Device};
use rhai::Dynamic;

pub(super) fn declare(library: &mut Library) {
    library
        .function("tensor_set", &["x", "y", "options"], |x: Tensor, y: Numbers, options: Options| {
            tensor_set(&x, y, &options)
        })
        .doc(
            r#"
            A set of the images in a tensor `x`, [images, channels, height, width], with their labels `y`, a whole
            number from 0 for each: for whatever takes a set of images. It keeps the values that `x` has now, as 32-bit
            floats. Networks see them as they are, whatever they were trained on; with `normalise` less their mean, over
            their standard deviation, channel by channel (or as the network's own images, where `evaluate` and its like
            score one that was made for others). For "standard" augmentation black is 0, before the normalisation.
            "#,
        )
        .optional::<Classes>("classes", "as many as the largest label needs", "their number, or their names")
        .option("normalise", false, "scale by the mean and the standard deviation of these images")
        .optional::<ImageSet>(
            "like",
            "its own",
            "a set whose classes and scaling these images get; if it was read from files, x goes from 0 to 1",
        )
        .option("name", "tensors".to_string(), "for titles and notes")
        .example(
            r#"
            let x = normal([40, 1, 8, 8]);
            let set = tensor_set(x, sum(x, [1, 2, 3]) > 0, #{ classes: ["dark", "bright"] });
            let halves = set.split(0.5);
            let net = network(set, |g, x| g.linear(g.global_pool(x), 2));
            for batch in halves[0].batches(10).epoch(0) { weight_gradient(net, batch); }
            assert(evaluate(net, halves[1]).accuracy <= 1.0);
            "#,
        );
}

fn tensor_set(x: &Tensor, y: Numbers, options: &Options) -> Result<ImageSet> {
    let &[images, channels, height, width] = x.dims() else {
        return Err(Error::user(format!("tensor_set takes images of four axes, not {:?}", x.dims()))
            .hint("[images, channels, height, width]; x.reshape(…) makes them so"));
    };
    if y.dims != [images] {
        return Err(Error::user(format!("tensor_set: x is {:?}, but y is {:?}", x.dims(), y.dims))
            .hint(format!("one label for each image: [{images}]")));
    }
    let like = options.find::<ImageSet>("like")?;
    let (classes, normalise) = (options.find::<Classes>("classes")?, options.get("normalise")?);
    if like.is_some() && (classes.is_some() || normalise) {
        return Err(Error::user("tensor_set: `like` settles the classes and the scaling")
            .hint("without `classes` and `normalise`, or without `like`"));
    }
    // The set's own copy.
    x.meter().admit(x.dims(), DType::F32.size_in_bytes())?;
    let numbers = x.float()?.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let given = Given {
        name: options.get("name")?,
        numbers,
        shape: Shape::new(channels, height, width),
        labels: y.values,
        classes: classes.map(|classes| classes.0),
        normalise,
        like,
    };
    let real = given.labels.iter().any(|label| label.fract() != 0.0);
    given.set().map_err(|error| match real {
        true => error.hint("real numbers go into batches, #{ x: images, y: numbers }, with a `loss` of your own"),
        false => error,
    })
}

/// Class names, or their number: then they are called 0, 1, 2 ….
struct Classes(Vec<String>);

impl Argument for Classes {
    fn describe() -> String {
        "int or [string]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let classes = match usize::read(value) {
            Ok(count @ 0..=65_536) => (0..count).map(|class| class.to_string()).collect(),
            Ok(count) => return Err(Mismatch::Error(Error::user(format!("{count} classes are too many")))),
            Err(_) => List::<String>::read(value)?.0,
        };
        Ok(Self(classes))
    }
}
