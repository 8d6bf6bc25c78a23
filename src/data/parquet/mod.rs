//! Parquet in the layout of the Hugging Face hub's image data sets: a column `img` or `image` of {bytes, path}, the
//! bytes an encoded image, and a column of labels, integers or words.
//!
//! candle-datasets reads these transposed (rows for columns), so this reads the columns itself. Columns are read by the
//! parquet crate's own reader; arrow is not needed for two of them.

mod whole;

use super::cifar;
use super::encoded::{Encoded, Files, decode};
use super::folder::display_name;
use super::labels::{check_range, hold_out_by_key, infer_classes};
use super::list::of_tables;
use super::loaded::Loaded;
use super::names::{self, Part};
use super::options::ImageOptions;
use super::parts::Parts;
use crate::random::Seed;
use crate::{Error, Result, interrupt};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::file::metadata::FileMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;
use whole::{Contradiction, Label};

const DAMAGED: &str = "the parquet file is damaged or cut short: fetch or copy it again";
const IMAGE_COLUMNS: [&str; 2] = ["img", "image"];
const LABEL_COLUMNS: [&str; 2] = ["label", "fine_label"];

/// Reads the files of each part, any number of each, from the folder whose entries are `names`: `train-*.parquet`,
/// `test-*.parquet`, `validation-*.parquet`. Without test images the validation images take their place, or a share of
/// each class is held out.
pub(super) fn load(folder: &Path, names: &[String], options: &ImageOptions) -> Result<Loaded> {
    let tables: Vec<&String> = names.iter().filter(|name| name.ends_with(".parquet")).collect();
    let find = |part: Part| -> Vec<PathBuf> {
        let fits = |name: &&&String| part_of(name) == Some(part);
        tables.iter().filter(fits).map(|name| folder.join(name)).collect()
    };
    let (train, mut test, mut valid) = (find(Part::Train), find(Part::Test), Some(find(Part::Valid)));
    let mut notes = missing_shards(&tables);
    let strangers: Vec<&str> = tables.iter().filter(|name| part_of(name).is_none()).map(|name| name.as_str()).collect();
    if !strangers.is_empty() {
        notes.push(format!("not used: {}", strangers.join(", ")));
    }
    if train.is_empty() {
        return Err(Error::user(format!("{}: no train-*.parquet", folder.display()))
            .hint(format!("it holds {}; train-*.parquet is needed", names.join(", "))));
    }
    if test.is_empty() {
        test = valid.take().unwrap_or_default();
        if !test.is_empty() {
            notes.push("the validation images are what the network is judged by: there is no test-*.parquet".into());
        }
    }
    let parts = Parts { train, test, valid: valid.filter(|files| !files.is_empty()) };
    let mut loaded = load_files(&display_name(folder), parts, options)?;
    loaded.notes.splice(0..0, notes);
    Ok(loaded)
}

/// The part that a file's name begins with.
fn part_of(name: &str) -> Option<Part> {
    let word = name.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    names::part(word).map(|(_, part)| part)
}

/// Says which files are not there of a part that is divided into several: `train-00001-of-00003.parquet`.
fn missing_shards(tables: &[&String]) -> Vec<String> {
    let mut sets: BTreeMap<(&str, usize), BTreeSet<usize>> = BTreeMap::new();
    for name in tables {
        let place = || {
            let (rest, of) = name.strip_suffix(".parquet")?.rsplit_once("-of-")?;
            let (set, number) = rest.rsplit_once('-')?;
            // Some names end in a mark of their content.
            let of = of.split('-').next()?;
            Some((set, of.parse().ok()?, number.parse().ok()?))
        };
        if let Some((set, of, number)) = place() {
            sets.entry((set, of)).or_default().insert(number);
        }
    }
    let told = sets.into_iter().filter_map(|((set, of), there)| {
        let gone: Vec<String> = (0..of)
            .filter(|k| !there.contains(k))
            .take(20)
            .map(|k| format!("{set}-{k:05}-of-{of:05}.parquet"))
            .collect();
        (!gone.is_empty()).then(|| format!("the data are not whole, missing: {}", gone.join(", ")))
    });
    told.collect()
}

/// Reads the images of these files.
pub(super) fn load_files(name: &str, files: Parts<Vec<PathBuf>>, options: &ImageOptions) -> Result<Loaded> {
    let named = files.iter().zip(["train", "test", "valid"]);
    let list = of_tables(named.flat_map(|(files, part)| files.iter().map(move |file| (part, &**file))));
    let wanted = options.labels.as_deref();
    let read = |files: Vec<PathBuf>| files.iter().map(|file| Table::read(file, wanted)).collect::<Result<Vec<_>>>();
    let mut tables = files.try_map(read)?;
    let words = name_words(&mut tables)?;
    let train = &tables.train;
    if words.is_none() {
        same_names(&tables)?;
    }
    let named = words.or_else(|| train.iter().find_map(|table| table.classes.clone()));
    let count = match &named {
        Some(classes) => classes.len(),
        None => {
            let parts: Vec<(&Path, &[i64])> = train.iter().map(|table| (&*table.file, &table.labels[..])).collect();
            infer_classes(&parts)?
        }
    };
    let numbers = || (0..count).map(|class| class.to_string()).collect::<Vec<String>>();
    let image_column = train.first().map(|table| table.image_column);
    let mut parts = tables.try_map(|part| join(part, count))?;
    let held_out = parts.test.0.is_empty();
    match held_out {
        true => parts = hold_out(parts.train, &named.clone().unwrap_or_else(numbers), options)?,
        false => options.no_held_out("this folder")?,
    }
    let decoded = decode(parts, &named.clone().unwrap_or_else(numbers), options)?;

    // Files that carry no class names are CIFAR-10's by their form: its column name, ten classes, its shape.
    let form_of_cifar = image_column == Some(cifar::IMAGE_COLUMN) && count == 10 && decoded.stored == cifar::SHAPE;
    let classes = match named {
        Some(classes) => classes,
        None if form_of_cifar => cifar::CLASSES.map(String::from).to_vec(),
        None => numbers(),
    };
    let is_cifar = form_of_cifar && classes == cifar::CLASSES;
    let name = if is_cifar { cifar::NAME } else { name };
    Ok(Loaded {
        notes: decoded.notes,
        list,
        remarks: if held_out { " held out".into() } else { String::new() },
        normalisation: is_cifar.then(|| (cifar::MEAN.to_vec(), cifar::STD.to_vec())),
        ..Loaded::new(name, classes, decoded.parts)
    })
}

/// All images and labels of several files, the labels checked to name one of `classes` classes.
fn join(tables: Vec<Table>, classes: usize) -> Result<Files> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for table in tables {
        labels.extend(check_range(&table.file, &table.labels, classes)?);
        images.extend(table.images);
    }
    Ok((images, labels))
}

/// Holds out a share of each class. An image's content alone decides, so that none moves when rows come or go.
fn hold_out((images, labels): Files, classes: &[String], options: &ImageOptions) -> Result<Parts<Files>> {
    let key = |image: &Encoded| match image {
        Encoded::Record { bytes, .. } => {
            let content = format!("{:08x} {}", crc32fast::hash(bytes), bytes.len());
            Seed(options.seed).rng(&content, 0).next_u64()
        }
        Encoded::File { .. } => 0,
    };
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes.len()];
    labels.iter().enumerate().for_each(|(row, label)| members[*label as usize].push(row));
    let mut held = vec![false; labels.len()];
    for (class, members) in classes.iter().zip(members).filter(|(_, members)| !members.is_empty()) {
        let keys: Vec<u64> = members.iter().map(|&row| key(&images[row])).collect();
        for (row, out) in members.into_iter().zip(hold_out_by_key(&keys, class, options.held_out())?) {
            held[row] = out;
        }
    }
    let (mut train, mut test) = (Files::default(), Files::default());
    for ((image, label), held) in images.into_iter().zip(labels).zip(held) {
        let part = if held { &mut test } else { &mut train };
        part.0.push(image);
        part.1.push(label);
    }
    Ok(Parts { train, test, valid: None })
}

/// Numbers the labels that are words, in ascending order (by number where all are numbers); gives the words.
fn name_words(tables: &mut Parts<Vec<Table>>) -> Result<Option<Vec<String>>> {
    let mut classes: Vec<String> =
        tables.train.iter().flat_map(|table| table.words.iter().flatten().cloned()).collect();
    if classes.is_empty() {
        return Ok(None);
    }
    classes.sort_unstable();
    classes.dedup();
    if classes.iter().all(|class| class.parse::<u64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<u64>().ok());
    }
    let numbers: HashMap<&str, i64> = classes.iter().map(String::as_str).zip(0..).collect();
    for table in tables.iter_mut().flatten() {
        let Some(words) = table.words.take() else {
            return Err(Error::user(format!(
                "{}: its labels are numbers, those of other files words",
                table.file.display()
            ))
            .hint("the label column is alike in all files"));
        };
        for (record, word) in words.iter().enumerate() {
            let number = numbers.get(word.as_str()).copied().ok_or_else(|| {
                Error::user(format!("{}: record {record} has the label \"{word}\"", table.file.display()))
                    .hint(format!("no training image has it; labels in training: {}", classes.join(", ")))
            })?;
            table.labels.push(number);
        }
    }
    Ok(Some(classes))
}

/// Checks that files which name their classes name the same ones: a label means its place among them.
fn same_names(tables: &Parts<Vec<Table>>) -> Result<()> {
    let mut named = tables.iter().flatten().filter_map(|table| Some((&table.file, table.classes.as_ref()?)));
    let Some((first, classes)) = named.next() else { return Ok(()) };
    let Some((file, others)) = named.find(|(_, others)| *others != classes) else { return Ok(()) };
    let same = classes.iter().zip(others).take_while(|(one, other)| one == other).count();
    let named = |classes: &[String]| classes.get(same).map_or("missing".into(), |name| format!("{name:?}"));
    Err(Error::user(format!(
        "{}: class {same} is {}, in {} it is {}",
        file.display(),
        named(others),
        first.display(),
        named(classes)
    ))
    .hint("the files belong to different data sets, or to versions of one: fetch them together"))
}

/// The rows of one file.
struct Table {
    file: Arc<Path>,
    image_column: &'static str,
    classes: Option<Vec<String>>,
    images: Vec<Encoded>,
    labels: Vec<i64>,
    /// Labels that are words and have yet to be numbered.
    words: Option<Vec<String>>,
}

impl Table {
    /// The parquet crate asserts some of what a file promises instead of checking it; a damaged file must not end the
    /// program.
    fn read(path: &Path, labels: Option<&str>) -> Result<Self> {
        catch_unwind(|| Self::read_columns(path, labels)).unwrap_or_else(|_| {
            Err(Error::user(format!("{}: its metadata contradict one another", path.display())).hint(DAMAGED))
        })
    }

    fn read_columns(path: &Path, labels: Option<&str>) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::file(path, &error))?;
        let damaged =
            |error: ::parquet::errors::ParquetError| Error::user(format!("{}: {error}", path.display())).hint(DAMAGED);
        let contradicts = |what: Contradiction| Error::user(format!("{}: {what}", path.display())).hint(DAMAGED);
        let whole = |found: ::parquet::errors::Result<Option<Contradiction>>| match found.map_err(damaged)? {
            Some(what) => Err(contradicts(what)),
            None => Ok(()),
        };
        let reader = SerializedFileReader::new(file).map_err(damaged)?;
        let facts = reader.metadata().file_metadata();
        let columns = Columns::find(path, facts, labels)?;
        let file: Arc<Path> = path.into();
        let mut table = Self {
            file: file.clone(),
            image_column: columns.image_name,
            classes: class_names(facts, &columns.label_name).map_err(contradicts)?,
            images: Vec::new(),
            labels: Vec::new(),
            words: None,
        };
        for group in 0..reader.num_row_groups() {
            interrupt::check()?;
            let group = reader.get_row_group(group).map_err(damaged)?;
            let first = table.images.len();
            let all = |column: ColumnReader| match column {
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
            let Values::Bytes(images) = all(group.get_column_reader(columns.image).map_err(damaged)?) else {
                return Err(mistyped(columns.image_name, "bytes"));
            };
            let labels = all(group.get_column_reader(columns.label).map_err(damaged)?);
            let images = images.map_err(damaged)?;
            whole(whole::images(&*group, columns.image, &images))?;
            for (record, image) in (first..).zip(images) {
                let bytes = image.ok_or_else(|| null(columns.image_name, record))?.data().into();
                table.images.push(Encoded::Record { file: file.clone(), record, bytes });
            }
            match labels {
                Values::Integers(labels) => {
                    let labels = labels.map_err(damaged)?;
                    let stored: Vec<Option<Label>> = labels.iter().map(|label| label.map(Label::Number)).collect();
                    whole(whole::labels(&*group, columns.label, &stored))?;
                    for (record, label) in (first..).zip(labels) {
                        table.labels.push(label.ok_or_else(|| null(&columns.label_name, record))?);
                    }
                }
                Values::Bytes(labels) => {
                    let words = table.words.get_or_insert_default();
                    let labels = labels.map_err(damaged)?;
                    let stored: Vec<Option<Label>> =
                        labels.iter().map(|label| label.as_ref().map(|label| Label::Word(label.data()))).collect();
                    whole(whole::labels(&*group, columns.label, &stored))?;
                    for (record, label) in (first..).zip(labels) {
                        let word = label.ok_or_else(|| null(&columns.label_name, record))?;
                        words.push(String::from_utf8_lossy(word.data()).nfc().collect());
                    }
                }
                Values::Other => return Err(mistyped(&columns.label_name, "integers or words")),
            }
        }
        match table.images.is_empty() {
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
    label_name: String,
}

impl Columns {
    fn find(path: &Path, facts: &FileMetaData, labels: Option<&str>) -> Result<Self> {
        let schema = facts.schema_descr();
        let leaves: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let place = |name: &str| leaves.iter().position(|leaf| leaf == name);
        let image = IMAGE_COLUMNS
            .iter()
            .find_map(|name| Some((place(&format!("{name}.bytes")).or_else(|| place(name))?, *name)));
        let label = match labels {
            // "coarse" is short for "coarse_label".
            Some(name) => [name.to_string(), format!("{name}_label")].into_iter().find_map(|n| Some((place(&n)?, n))),
            None => LABEL_COLUMNS.iter().find_map(|name| Some((place(name)?, name.to_string()))),
        };
        let (Some((image, image_name)), Some((label, label_name))) = (image, label) else {
            return Err(Error::user(format!("{}: no column of images with a column of labels", path.display())).hint(
                format!(
                    "its columns are {}; wanted are img.bytes or image.bytes, and {}",
                    leaves.join(", "),
                    labels.unwrap_or("label (or another that the option labels names)")
                ),
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
fn class_names(facts: &FileMetaData, label: &str) -> Result<Option<Vec<String>>, Contradiction> {
    let mut entries = facts.key_value_metadata().into_iter().flatten();
    let holds_zeros = |text: &String| text.contains('\0');
    if entries.clone().any(|entry| holds_zeros(&entry.key) || entry.value.as_ref().is_some_and(holds_zeros)) {
        return Err("a text in its metadata holds zeros");
    }
    let Some(text) = entries.find(|entry| entry.key == "huggingface").and_then(|entry| entry.value.as_ref()) else {
        return Ok(None);
    };
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "what it says of its features cannot be read")?;
    let names = json.pointer(&format!("/info/features/{label}/names")).and_then(serde_json::Value::as_array);
    Ok(names.and_then(|names| names.iter().map(|name| name.as_str().map(String::from)).collect()))
}
