//! Writes a data set out as PNG files, one folder per class, under `train/` and `test/`: the form in which people have
//! images of their own.
//!
//!     cargo run --release --example class_folders -- ~/fashion-mnist pictures 10000 2000
//!
//! The arguments: a data set by name or folder, the folder to write, and how many training and test images (all of them
//! where left out).

use anyhow::{Context, bail};
use candlewick::data::{ImageOptions, ImageSet, Source, images};
use image::{GrayImage, RgbImage};
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (source, folder, counts) = match &arguments[..] {
        [source, folder, counts @ ..] if counts.len() <= 2 => (source, Path::new(folder), counts),
        _ => bail!("class_folders SOURCE FOLDER [TRAIN [TEST]]"),
    };
    let data = images(&Source::parse(source), &ImageOptions::default())?;
    for (index, (name, set)) in [("train", data.train), ("test", data.test)].into_iter().enumerate() {
        let set = match counts.get(index) {
            Some(count) => set.take(count.parse().with_context(|| format!("{count} is not a number of images"))?)?,
            None => set,
        };
        write(&set, &folder.join(name))?;
        println!("{}: {} images", folder.join(name).display(), set.len());
    }
    Ok(())
}

/// Writes every image of `set` to `folder/CLASS/PLACE.png`.
fn write(set: &ImageSet, folder: &Path) -> anyhow::Result<()> {
    let classes = set.classes();
    for class in classes {
        // Class names are made by people: "T-shirt/top" must not become two folders.
        std::fs::create_dir_all(folder.join(class.replace('/', "-")))?;
    }
    let (height, width) = (set.shape().height, set.shape().width);
    let gain = u16::from(255 / set.levels());
    for place in 0..set.len() {
        let (bytes, label) = set.pixels(place).zip(set.label(place)).context("the set is shorter than it says")?;
        let at = |plane: usize, x: u32, y: u32| {
            (u16::from(bytes[plane * height * width + y as usize * width + x as usize]) * gain) as u8
        };
        let path = folder.join(classes[label as usize].replace('/', "-")).join(format!("{place}.png"));
        match set.shape().channels {
            1 => GrayImage::from_fn(width as u32, height as u32, |x, y| [at(0, x, y)].into()).save(path)?,
            _ => RgbImage::from_fn(width as u32, height as u32, |x, y| [0, 1, 2].map(|c| at(c, x, y)).into())
                .save(path)?,
        }
    }
    Ok(())
}
