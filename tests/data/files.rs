//! Small data sets written for a test, and the way to the real ones.

use candlewick::data::{ImageOptions, Images, Source, images};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::{File, create_dir_all};
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;

/// Reads a folder without options.
pub fn open(folder: &Path) -> candlewick::Result<Images> {
    images(&Source::Folder(folder.into()), &ImageOptions::default())
}

/// A colour whose three channels tell row, column and image apart.
pub fn colour(image: usize, row: u32, column: u32) -> [u8; 3] {
    [(10 * row) as u8, (10 * column) as u8, (7 * image) as u8]
}

pub fn colour_image(image: usize, height: u32, width: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| colour(image, y, x).into()).into()
}

pub fn grey_image(height: u32, width: u32) -> DynamicImage {
    GrayImage::from_fn(width, height, |x, y| [(16 * y + x) as u8].into()).into()
}

pub fn png(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    bytes
}

/// Writes `root/CLASS/K.png` for each class and each of its images.
pub fn class_folders(root: &Path, classes: &[(&str, Vec<DynamicImage>)]) {
    for (class, images) in classes {
        create_dir_all(root.join(class)).unwrap();
        for (k, image) in images.iter().enumerate() {
            image.save(root.join(class).join(format!("{k}.png"))).unwrap();
        }
    }
}

/// Writes a parquet file in the hub's layout; a row is an encoded image (or null) and a label.
pub fn parquet(path: &Path, rows: &[(Option<Vec<u8>>, i64)]) {
    let schema = "message schema { optional group img { optional binary bytes; optional binary path (UTF8); } \
                  optional int64 label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
    // Two row groups, as large files have several.
    for rows in rows.chunks(rows.len().div_ceil(2).max(1)) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = 0;
        while let Some(mut values) = group.next_column().unwrap() {
            let present: Vec<ByteArray> = rows.iter().filter_map(|(bytes, _)| bytes.clone().map(Into::into)).collect();
            let levels: Vec<i16> = rows.iter().map(|(bytes, _)| if bytes.is_some() { 2 } else { 0 }).collect();
            match column {
                0 => values.typed::<ByteArrayType>().write_batch(&present, Some(&levels), None).unwrap(),
                1 => values.typed::<ByteArrayType>().write_batch(&[], Some(&vec![1; rows.len()]), None).unwrap(),
                _ => {
                    let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
                    values.typed::<Int64Type>().write_batch(&labels, Some(&vec![1; rows.len()]), None).unwrap()
                }
            };
            values.close().unwrap();
            column += 1;
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Twenty rows of ten classes.
pub fn parquet_rows() -> Vec<(Option<Vec<u8>>, i64)> {
    (0..20).map(|row| (Some(png(&colour_image(row, 8, 8))), row as i64 % 10)).collect()
}

/// Writes both files of a small parquet data set.
pub fn parquet_folder(root: &Path) {
    parquet(&root.join("train-00000-of-00001.parquet"), &parquet_rows());
    parquet(&root.join("test-00000-of-00001.parquet"), &parquet_rows());
}

/// An IDX file's bytes: magic number, sizes, values.
pub fn idx(magic: u32, sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let header = [magic].into_iter().chain(sizes.iter().copied()).flat_map(u32::to_be_bytes);
    header.chain(values.iter().copied()).collect()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes an IDX data set of 6 training and 3 test images of 2×3 in three classes.
pub fn idx_folder(root: &Path) {
    for (set, count) in [("train", 6u32), ("t10k", 3)] {
        let pixels: Vec<u8> = (0..count as u8 * 6).collect();
        let labels: Vec<u8> = (0..count as u8).map(|k| k % 3).collect();
        std::fs::write(root.join(format!("{set}-images-idx3-ubyte")), idx(0x803, &[count, 2, 3], &pixels)).unwrap();
        std::fs::write(root.join(format!("{set}-labels-idx1-ubyte.gz")), gzip(&idx(0x801, &[count], &labels))).unwrap();
    }
}

/// Writes the six CIFAR-10 batches with `records` images each; the pixels of image k start with k.
pub fn cifar_folder(root: &Path, records: usize) {
    let names = (1..=5).map(|k| format!("data_batch_{k}.bin")).chain(["test_batch.bin".to_string()]);
    for (file, name) in names.enumerate() {
        let record = |k: usize| {
            let pixels = (0..3072).map(move |pixel| (k + file + pixel) as u8);
            std::iter::once((k % 10) as u8).chain(pixels)
        };
        std::fs::write(root.join(name), (0..records).flat_map(record).collect::<Vec<u8>>()).unwrap();
    }
}
