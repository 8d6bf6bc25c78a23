//! The lists of what a run's data were read from: `data/1.csv`, `data/2.csv` …, one for each data set, text or table
//! that lies in files, in the order in which the script read them. They say which images were held out, and a resumed
//! run is compared with them.

use crate::data::{Content, Listed, difference};
use crate::{Error, Result, files};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folder of the lists inside a run's folder.
pub(super) const FOLDER: &str = "data";
const COLUMNS: [&str; 5] = ["part", "class", "file", "bytes", "crc32"];

fn place(run: &Path, number: usize) -> PathBuf {
    run.join(FOLDER).join(format!("{number}.csv"))
}

/// Writes the `number`-th list, counted from 1, into the folder of a run.
///
/// # Errors
/// The folder cannot be written.
pub fn write_data(run: &Path, number: usize, list: &[Listed]) -> Result<()> {
    let path = place(run, number);
    let failed = |error: &dyn std::fmt::Display| Error::run(format!("{}: {error}", path.display()));
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(COLUMNS).map_err(|error| failed(&error))?;
    for Listed { part, class, file, content: Content { bytes, crc32 } } in list {
        let sum = crc32.map(|sum| format!("{sum:08x}")).unwrap_or_default();
        table.write_record([part, class, file, &bytes.to_string(), &sum]).map_err(|error| failed(&error))?;
    }
    let text = table.into_inner().map_err(|error| failed(&error))?;
    std::fs::create_dir_all(run.join(FOLDER)).map_err(|error| failed(&error))?;
    files::replace(&path, &text)
}

/// Reads the `number`-th list of the run in a folder; `None` where it has none.
///
/// # Errors
/// A list that is damaged.
fn read_data(run: &Path, number: usize) -> Result<Option<Vec<Listed>>> {
    let path = place(run, number);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file(&path, &error)),
    };
    let wrong = |error: &dyn std::fmt::Display| {
        Error::user(format!("{}: {error}", path.display()))
            .hint("the run's list of its data is damaged; --force goes on")
    };
    let mut table = csv::Reader::from_reader(text.as_slice());
    let mut list = Vec::new();
    for line in table.records() {
        let line = line.map_err(|error| wrong(&error))?;
        let cell = |column: usize| line.get(column).unwrap_or_default().to_string();
        let bytes = cell(3).parse().map_err(|error| wrong(&error))?;
        let crc32 = Some(cell(4)).filter(|sum| !sum.is_empty());
        let crc32 = crc32.map(|sum| u32::from_str_radix(&sum, 16)).transpose().map_err(|error| wrong(&error))?;
        list.push(Listed { part: cell(0), class: cell(1), file: cell(2), content: Content { bytes, crc32 } });
    }
    Ok(Some(list))
}

/// The lists of a run that goes on, each of which is met once.
#[derive(Default)]
pub struct Recorded(Vec<(Vec<Listed>, bool)>);

impl Recorded {
    /// The lists in the folder of a run.
    ///
    /// # Errors
    /// A list that is damaged.
    pub fn of(run: &Path) -> Result<Self> {
        let lists = (1..).map_while(|number| read_data(run, number).transpose());
        lists.map(|list| Ok((list?, false))).collect::<Result<_>>().map(Self)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Finds what `list` was when the run began, whatever the order of reading: the same list, or else the first of its
    /// kind that was not met yet. Gives its number, counted from 1, and in what they differ.
    pub fn meet(&mut self, list: &[Listed]) -> Option<(usize, Option<String>)> {
        let kind = |list: &[Listed]| {
            list.first().map(|first| match first.part.as_str() {
                part @ ("text" | "table") => part.to_string(),
                _ => "images".into(),
            })
        };
        let mut open = self.0.iter().enumerate().filter(|(_, (_, met))| !met);
        let same = open.clone().find(|(_, (before, _))| difference(before, list).is_none());
        let (at, (before, _)) = same.or_else(|| open.find(|(_, (before, _))| kind(before) == kind(list)))?;
        let told = difference(before, list);
        self.0[at].1 = true;
        Some((at + 1, told))
    }
}
