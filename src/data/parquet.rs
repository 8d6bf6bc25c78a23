//! Parquet in the layout of the Hugging Face hub's image data sets: a column `img` or `image` of {bytes, path}, the
//! bytes an encoded image, and a column of integer labels.
//!
//! candle-datasets reads these transposed (rows for columns), so this reads the columns itself. Columns are read by the
//! parquet crate's own reader; arrow is not needed for two of them.

use super::cifar;
use super::encoded::{Encoded, decode};
use super::folder::display_name;
use super::labels::{check_range, infer_classes};
use super::loaded::Loaded;
use super::options::ImageOptions;
use crate::{Error, Result, interrupt};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::file::metadata::FileMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::File;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DAMAGED: &str = "the parquet file is damaged or cut short: fetch or copy it again";
const IMAGE_COLUMNS: [&str; 2] = ["img", "image"];
const LABEL_COLUMNS: [&str; 2] = ["label", "fine_label"];

/// Reads `train*.parquet` and `test*.parquet`, any number of each, from the folder whose entries are `names`.
pub(super) fn load(folder: &Path, names: &[String], options: &ImageOptions) -> Result<Loaded> {
    let find = |set: &str| -> Result<Vec<PathBuf>> {
        let fits = |name: &&String| name.starts_with(set) && name.ends_with(".parquet");
        let files: Vec<PathBuf> = names.iter().filter(fits).map(|name| folder.join(name)).collect();
        match files.is_empty() {
            false => Ok(files),
            true => Err(Error::user(format!("{}: no {set}-*.parquet", folder.display()))
                .hint(format!("it holds {}; both train-*.parquet and test-*.parquet are needed", names.join(", ")))),
        }
    };
    load_files(&display_name(folder), &find("train")?, &find("test")?, options)
}

/// Reads training and test images from these files.
pub(super) fn load_files(name: &str, train: &[PathBuf], test: &[PathBuf], options: &ImageOptions) -> Result<Loaded> {
    let read = |files: &[PathBuf]| files.iter().map(|file| Table::read(file)).collect::<Result<Vec<_>>>();
    let (train, test) = (read(train)?, read(test)?);
    let named = train.iter().find_map(|table| table.classes.clone());
    let count = match &named {
        Some(classes) => classes.len(),
        None => {
            let parts: Vec<(&Path, &[i64])> = train.iter().map(|table| (&*table.file, &table.labels[..])).collect();
            infer_classes(&parts)?
        }
    };
    let image_column = train.first().map(|table| table.image_column);
    let (train, train_labels) = join(train, count)?;
    let (test, test_labels) = join(test, count)?;
    let decoded = decode((train, train_labels), (test, test_labels), options)?;

    // Files that carry no class names are CIFAR-10's by their form: its column name, ten classes, its shape.
    let form_of_cifar = image_column == Some(cifar::IMAGE_COLUMN) && count == 10 && decoded.stored == cifar::SHAPE;
    let classes = match named {
        Some(classes) => classes,
        None if form_of_cifar => cifar::CLASSES.map(String::from).to_vec(),
        None => (0..count).map(|class| class.to_string()).collect(),
    };
    let is_cifar = form_of_cifar && classes == cifar::CLASSES;
    let name = if is_cifar { cifar::NAME } else { name };
    Ok(Loaded {
        notes: decoded.notes,
        normalisation: is_cifar.then(|| (cifar::MEAN.to_vec(), cifar::STD.to_vec())),
        ..Loaded::new(name, classes, decoded.train, decoded.test)
    })
}

/// All images and labels of several files, the labels checked to name one of `classes` classes.
fn join(tables: Vec<Table>, classes: usize) -> Result<(Vec<Encoded>, Vec<u32>)> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for table in tables {
        labels.extend(check_range(&table.file, &table.labels, classes)?);
        images.extend(table.images);
    }
    Ok((images, labels))
}

/// The rows of one file.
struct Table {
    file: Arc<Path>,
    image_column: &'static str,
    classes: Option<Vec<String>>,
    images: Vec<Encoded>,
    labels: Vec<i64>,
}

impl Table {
    /// The parquet crate asserts some of what a file promises instead of checking it; a damaged file must not end the
    /// program.
    fn read(path: &Path) -> Result<Self> {
        catch_unwind(|| Self::read_columns(path)).unwrap_or_else(|_| {
            Err(Error::user(format!("{}: its metadata contradict one another", path.display())).hint(DAMAGED))
        })
    }

    fn read_columns(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::file(path, &error))?;
        let damaged =
            |error: ::parquet::errors::ParquetError| Error::user(format!("{}: {error}", path.display())).hint(DAMAGED);
        let reader = SerializedFileReader::new(file).map_err(damaged)?;
        let facts = reader.metadata().file_metadata();
        let columns = Columns::find(path, facts)?;
        let file: Arc<Path> = path.into();
        let mut table = Self {
            file: file.clone(),
            image_column: columns.image_name,
            classes: class_names(facts, columns.label_name),
            images: Vec::new(),
            labels: Vec::new(),
        };
        for group in 0..reader.num_row_groups() {
            interrupt::check()?;
            let group = reader.get_row_group(group).map_err(damaged)?;
            let first = table.labels.len();
            let whole = |column: ColumnReader| match column {
                ColumnReader::ByteArrayColumnReader(column) => Values::Bytes(read_column(column)),
                ColumnReader::Int64ColumnReader(column) => Values::Integers(read_column(column)),
                ColumnReader::Int32ColumnReader(column) => {
                    Values::Integers(read_column(column).map(|c| c.into_iter().map(|v| v.map(i64::from)).collect()))
                }
                _ => Values::Other,
            };
            let mistyped = |column: &str, want: &str| {
                Error::user(format!("{}: column {column} does not hold {want}", path.display()))
                    .hint("wanted are the bytes of an encoded image and an integer label in each row")
            };
            let null = |column: &str, record: usize| {
                Error::user(format!("{}: record {record} has no {column}", path.display()))
                    .hint("every row needs an image and a label")
            };
            let Values::Bytes(images) = whole(group.get_column_reader(columns.image).map_err(damaged)?) else {
                return Err(mistyped(columns.image_name, "bytes"));
            };
            let Values::Integers(labels) = whole(group.get_column_reader(columns.label).map_err(damaged)?) else {
                return Err(mistyped(columns.label_name, "integers"));
            };
            for (record, image) in (first..).zip(images.map_err(damaged)?) {
                let bytes = image.ok_or_else(|| null(columns.image_name, record))?.data().to_vec();
                table.images.push(Encoded::Record { file: file.clone(), record, bytes });
            }
            for (record, label) in (first..).zip(labels.map_err(damaged)?) {
                table.labels.push(label.ok_or_else(|| null(columns.label_name, record))?);
            }
            if table.images.len() != table.labels.len() {
                let (images, labels) = (table.images.len(), table.labels.len());
                return Err(
                    Error::user(format!("{}: {images} images but {labels} labels", path.display())).hint(DAMAGED)
                );
            }
        }
        match table.labels.is_empty() {
            false => Ok(table),
            true => Err(Error::user(format!("{}: no rows", path.display())).hint("the file holds no images at all")),
        }
    }
}

/// A column chunk's values, a `None` for each null.
enum Values {
    Bytes(::parquet::errors::Result<Vec<Option<ByteArray>>>),
    Integers(::parquet::errors::Result<Vec<Option<i64>>>),
    Other,
}

fn read_column<T: DataType>(mut column: ColumnReaderImpl<T>) -> ::parquet::errors::Result<Vec<Option<T::T>>> {
    let (mut rows, mut levels, mut values) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        levels.clear();
        values.clear();
        let (records, _, _) = column.read_records(4096, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Ok(rows);
        }
        // A column that cannot be null has no definition levels.
        if levels.is_empty() {
            rows.extend(values.drain(..).map(Some));
        } else {
            let highest = levels.iter().copied().max().unwrap_or_default();
            let mut present = values.drain(..);
            rows.extend(levels.iter().map(|&level| if level == highest { present.next() } else { None }));
        }
    }
}

/// Which leaf columns hold the image bytes and the labels.
struct Columns {
    image: usize,
    image_name: &'static str,
    label: usize,
    label_name: &'static str,
}

impl Columns {
    fn find(path: &Path, facts: &FileMetaData) -> Result<Self> {
        let schema = facts.schema_descr();
        let leaves: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let place = |name: &str| leaves.iter().position(|leaf| leaf == name);
        let image = IMAGE_COLUMNS.iter().find_map(|name| Some((place(&format!("{name}.bytes"))?, *name)));
        let label = LABEL_COLUMNS.iter().find_map(|name| Some((place(name)?, *name)));
        let (Some((image, image_name)), Some((label, label_name))) = (image, label) else {
            return Err(Error::user(format!("{}: no column of images with a column of labels", path.display())).hint(
                format!("its columns are {}; wanted are img.bytes or image.bytes, and label", leaves.join(", ")),
            ));
        };
        for leaf in [image, label] {
            if schema.column(leaf).max_rep_level() > 0 {
                return Err(Error::user(format!("{}: column {} holds lists", path.display(), leaves[leaf]))
                    .hint("each row needs one image and one label"));
            }
        }
        Ok(Self { image, image_name, label, label_name })
    }
}

/// The class names that the `datasets` library writes beside the schema, as JSON.
fn class_names(facts: &FileMetaData, label: &str) -> Option<Vec<String>> {
    let text = facts.key_value_metadata()?.iter().find(|entry| entry.key == "huggingface")?.value.as_ref()?;
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let names = json.pointer(&format!("/info/features/{label}/names"))?.as_array()?;
    names.iter().map(|name| name.as_str().map(String::from)).collect()
}
