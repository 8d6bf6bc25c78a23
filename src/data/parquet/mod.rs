//! Parquet in the layout of the Hugging Face hub's image data sets: a column `img` or `image` of {bytes, path}, the
//! bytes an encoded image, and a column of labels, integers or words.
//!
//! candle-datasets reads these transposed (rows for columns), so this reads the columns itself. Columns are read by the
//! parquet crate's own reader; arrow is not needed for two of them.

mod columns;
mod whole;

use super::cifar;
use super::encoded::{Encoded, Files, decode};
use super::folder::{display_name, entries};
use super::labels::{check_range, hold_out_by_key, infer_classes, known_classes};
use super::list::of_tables;
use super::loaded::Loaded;
use super::names::{self, Part};
use super::options::ImageOptions;
use super::parts::Parts;
use crate::random::Seed;
use crate::{Error, Result, interrupt};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use columns::{Columns, class_names};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;
use whole::{Contradiction, Label};

const DAMAGED: &str = "the parquet file is damaged or cut short: fetch or copy it again";

/// Reads the files of each part, any number of each, from the folder whose entries are `names`: `train-*.parquet`,
/// `test-*.parquet`, `validation-*.parquet`. Without test images the validation images take their place, or a share of
/// each class is held out.
pub(super) fn load(folder: &Path, names: &[String], options: &ImageOptions) -> Result<Loaded> {
    let tables: Vec<&String> = names.iter().filter(|name| is_table(name)).collect();
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
    let below = |file: &PathBuf| file.strip_prefix(folder).unwrap_or(file).display().to_string();
    let paths: Vec<String> = parts.iter().flatten().map(below).collect();
    let mut loaded = load_files(&display_name(folder), parts, options)?;
    loaded.list.iter_mut().zip(paths).for_each(|(listed, path)| listed.file = path);
    loaded.notes.splice(0..0, notes);
    Ok(loaded)
}

/// Whether a file of this name is a table.
pub(super) fn is_table(name: &str) -> bool {
    name.to_lowercase().ends_with(".parquet")
}

/// The tables in folders that are called after parts, as the hub converts data sets: `train/0000.parquet`.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn in_parts(folder: &Path, names: &[String]) -> Result<Option<Vec<String>>> {
    let mut tables = Vec::new();
    for name in names.iter().filter(|name| part_of(name).is_some() && folder.join(name).is_dir()) {
        let inner = entries(&folder.join(name))?;
        tables.extend(inner.iter().filter(|inner| is_table(inner)).map(|inner| format!("{name}/{inner}")));
    }
    Ok((!tables.is_empty()).then_some(tables))
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
                    .hint(known_classes(word, &classes))
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
        let mut head = Vec::new();
        let begun = (&file).take(64).read_to_end(&mut head);
        if begun.is_ok() && head.starts_with(b"version https://git-lfs") {
            return Err(Error::user(format!("{}: it only says where Git LFS keeps the table", path.display()))
                .hint("run `git lfs pull` in its folder"));
        }
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
                ColumnReader::BoolColumnReader(column) => Values::Bytes(read_column(column).map(|column| {
                    let word = |value: bool| ByteArray::from(if value { "true" } else { "false" });
                    column.into_iter().map(|value| value.map(word)).collect()
                })),
                ColumnReader::FloatColumnReader(column) => {
                    Values::Floats(read_column(column).map(|c| c.into_iter().map(|v| v.map(f64::from)).collect()))
                }
                ColumnReader::DoubleColumnReader(column) => Values::Floats(read_column(column)),
                _ => Values::Other,
            };
            let mistyped = |column: &str, want: &str| {
                Error::user(format!("{}: column {column} does not hold {want}", path.display()))
                    .hint("wanted are the bytes of an encoded image and an integer label in each row")
            };
            let null = |column: &str, record: usize| {
                Error::user(format!("{}: record {record} has no {column}", path.display()))
                    .hint("every row needs an image and a label; where it has the path of a file, store the bytes")
            };
            let Values::Bytes(images) = all(group.get_column_reader(columns.image).map_err(damaged)?) else {
                return Err(mistyped(columns.image_name, "bytes"));
            };
            let labels = match all(group.get_column_reader(columns.label).map_err(damaged)?) {
                Values::Floats(labels) => Values::Integers(Ok(whole_numbers(path, first, &labels.map_err(damaged)?)?)),
                labels => labels,
            };
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
                Values::Floats(_) | Values::Other => return Err(mistyped(&columns.label_name, "integers or words")),
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
    Floats(::parquet::errors::Result<Vec<Option<f64>>>),
    Other,
}

/// Labels that are stored as floats, as tables with gaps make of whole numbers; the first is that of record `first`.
fn whole_numbers(path: &Path, first: usize, labels: &[Option<f64>]) -> Result<Vec<Option<i64>>> {
    let odd = |label: &Option<f64>| label.is_some_and(|label| label.fract() != 0.0 || label.abs() > 1e9);
    if let Some((record, label)) = (first..).zip(labels).find(|(_, label)| odd(label)) {
        let label = label.unwrap_or_default();
        return Err(Error::user(format!("{}: record {record} has label {label}", path.display()))
            .hint("labels are whole numbers or words"));
    }
    Ok(labels.iter().map(|label| label.map(|label| label as i64)).collect())
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
