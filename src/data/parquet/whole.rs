//! Whether the rows of a parquet file are those that were written.
//!
//! Where pages carry checksums, the parquet crate compares them. Few do; so what a file says twice is compared: the
//! counts of rows, the range of the labels, and dictionaries with their use. A changed label that contradicts none of
//! this cannot be told from a label.

use ::parquet::basic::Type;
use ::parquet::column::page::Page;
use ::parquet::data_type::ByteArray;
use ::parquet::errors::Result;
use ::parquet::file::reader::RowGroupReader;
use ::parquet::file::statistics::Statistics;
use std::collections::HashSet;

/// What contradicts itself, in words that follow the file's name.
pub(super) type Contradiction = &'static str;

/// The values of a column's dictionary, as bytes.
struct Dictionary {
    kind: Type,
    values: u32,
    bytes: Vec<u8>,
}

/// Checks the images of a row group: as many as it promises, and all that its dictionary holds.
pub(super) fn images(
    group: &dyn RowGroupReader,
    column: usize,
    images: &[Option<ByteArray>],
) -> Result<Option<Contradiction>> {
    if group.metadata().num_rows() != images.len() as i64 {
        return Ok(Some("it has not as many rows as it says"));
    }
    let Some(dictionary) = dictionary(group, column)? else { return Ok(None) };
    let Some(entries) = dictionary.entries() else { return Ok(Some(DICTIONARY)) };
    // Writers put down what they meet, so an image that no row shows is one that another took the place of.
    let shown: HashSet<&[u8]> = images.iter().flatten().map(ByteArray::data).collect();
    Ok(entries.iter().any(|entry| !shown.contains(entry)).then_some("an image of its dictionary belongs to no row"))
}

const DICTIONARY: Contradiction = "a dictionary contradicts itself";

/// Checks the labels of a row group.
pub(super) fn labels(
    group: &dyn RowGroupReader,
    column: usize,
    labels: &[Option<Label>],
) -> Result<Option<Contradiction>> {
    if group.metadata().num_rows() != labels.len() as i64 {
        return Ok(Some("it has not as many rows as it says"));
    }
    if let Some(dictionary) = dictionary(group, column)? {
        // A value that stands twice is one that was something else.
        let mut known = HashSet::new();
        if !dictionary.entries().is_some_and(|entries| entries.into_iter().all(|entry| known.insert(entry))) {
            return Ok(Some(DICTIONARY));
        }
        // Of words there may be more than the rows show: categories that a table was made with.
        let numbers: HashSet<Label> =
            labels.iter().flatten().filter(|l| matches!(l, Label::Number(_))).copied().collect();
        if !numbers.is_empty() && numbers.len() < known.len() {
            return Ok(Some("a label of its dictionary belongs to no row"));
        }
    }
    let statistics = group.metadata().column(column).statistics();
    let (least, greatest) = (labels.iter().flatten().min(), labels.iter().flatten().max());
    let (Some(&least), Some(&greatest), Some(statistics)) = (least, greatest, statistics) else { return Ok(None) };
    let outside = match (statistics, least, greatest) {
        (Statistics::Int32(known), Label::Number(least), Label::Number(greatest)) => {
            let [low, high] = [known.min_opt(), known.max_opt()].map(|bound| bound.copied().map(i64::from));
            low.is_some_and(|low| least < low) || high.is_some_and(|high| greatest > high)
        }
        (Statistics::Int64(known), Label::Number(least), Label::Number(greatest)) => {
            known.min_opt().is_some_and(|low| least < *low) || known.max_opt().is_some_and(|high| greatest > *high)
        }
        // The old form of these bounds is in an order that writers did not agree on.
        (Statistics::ByteArray(known), Label::Word(least), Label::Word(greatest))
            if !statistics.is_min_max_deprecated() =>
        {
            known.min_bytes_opt().is_some_and(|low| least < low)
                || known.max_bytes_opt().is_some_and(|high| greatest > high)
        }
        _ => false,
    };
    Ok(outside.then_some("a label is outside of the range that the file gives"))
}

/// A label as it is stored.
#[derive(Clone, Copy, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label<'a> {
    Number(i64),
    Word(&'a [u8]),
}

/// The dictionary of a column, where it has one.
fn dictionary(group: &dyn RowGroupReader, column: usize) -> Result<Option<Dictionary>> {
    let kind = group.metadata().column(column).column_type();
    Ok(match group.get_column_page_reader(column)?.get_next_page()? {
        Some(Page::DictionaryPage { buf, num_values, .. }) => {
            Some(Dictionary { kind, values: num_values, bytes: buf.to_vec() })
        }
        _ => None,
    })
}

impl Dictionary {
    /// The values one by one; none where the bytes are not those of as many as there should be.
    fn entries(&self) -> Option<Vec<&[u8]>> {
        let bytes = self.bytes.as_slice();
        let entries: Vec<&[u8]> = match self.kind {
            Type::INT32 | Type::FLOAT => bytes.chunks(4).collect(),
            Type::INT64 | Type::DOUBLE => bytes.chunks(8).collect(),
            Type::BYTE_ARRAY => {
                let (mut rest, mut entries) = (bytes, Vec::new());
                while let [a, b, c, d, more @ ..] = rest {
                    let (entry, after) = more.split_at_checked(u32::from_le_bytes([*a, *b, *c, *d]) as usize)?;
                    entries.push(entry);
                    rest = after;
                }
                rest.is_empty().then_some(entries)?
            }
            _ => return None,
        };
        (entries.len() == self.values as usize).then_some(entries)
    }
}
