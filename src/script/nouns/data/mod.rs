//! The noun `data`: labelled images and batches of them, as scripts see them. The work is done in [`crate::data`]; here
//! are names, options, the sandbox's word on folders, and the way onto the host's device.

mod batches;
mod images;
mod tensors;

pub(super) use batches::on_device;
pub(super) use images::{MEGAPIXELS, most_pixels};

use crate::data::{ImageSet, Images};
use crate::script::binding::{Library, List, ScriptType};
use rhai::Dynamic;
use std::fmt;

pub fn declare(library: &mut Library) {
    library.noun("data", "Labelled images, and the batches that training takes from them.");
    images::declare(library);
    declare_data(library);
    declare_sets(library);
    tensors::declare(library);
    batches::declare(library);
}

fn declare_data(library: &mut Library) {
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
        .property("valid", |data: Images| Ok(data.valid.map_or(Dynamic::UNIT, Dynamic::from)))
        .doc("The validation images of data in three parts, or `()`. Without a test part they are `data.test`.")
        .example(r#"assert(images("digits").valid == ());"#);
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
        .doc(
            r#"
            Whether a mirror image keeps its class: assumed, unless class names are single characters (writing), differ
            in a number only (signs, angles), or speak of a side ("left", "clockwise").
            "#,
        )
        .example(r#"assert(!images("digits").train.mirrors);"#);
    library
        .property("mirror_rule", |set: ImageSet| Ok(set.mirror_rule().to_string()))
        .doc("Why `mirrors` is what it is, in words.")
        .example(r#"print(images("digits").train.mirror_rule);"#);
    library
        .method("file", &["set", "index"], |set: ImageSet, index: usize| match index < set.len() {
            true => Ok(set.file(index).map_or(Dynamic::UNIT, |file| file.to_string().into())),
            false => Err(set.beyond(index)),
        })
        .doc(
            r#"
            The file that image `index` was read from, inside the data set's folder, or `()` where files hold many
            images.
            "#,
        )
        .example(r#"assert(images("digits").test.file(0) == ());"#);
    library
        .method("class_counts", &["set"], |set: ImageSet| Ok(List(set.class_counts())))
        .doc("Images of each class, in the order of `data.classes`.")
        .example(r#"assert(images("digits").test.class_counts()[0] == 36);"#);
}

impl ScriptType for Images {
    const NAME: &'static str = "images";
}

impl ScriptType for ImageSet {
    const NAME: &'static str = "image_set";
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
