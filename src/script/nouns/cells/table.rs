//! Tables of results in files.

use crate::script::binding::{Library, List};
use crate::{Error, Result, files};
use rhai::{Array, Dynamic, Map};
use std::path::Path;

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .function("load_table", &["path"], move |path: String| load(&host.readable(&path)?))
        .doc(
            r#"
            Reads a table from a CSV file whose first line names the columns, such as results of a benchmark: an array
            with a map for each further line, numbers as floats and everything else as strings. A cell that holds a
            comma stands in double quotes.
            "#,
        )
        .example(
            r#"
            save_table("seen.csv", ["cell", "accuracy"], [#{ cell: "|conv_3x3~0|", accuracy: 0.935 }]);
            let seen = load_table("seen.csv");
            assert(seen[0].accuracy == 0.935 && seen[0].cell == "|conv_3x3~0|");
            "#,
        );
    let host = library.host();
    library
        .function(
            "save_table",
            &["path", "columns", "rows"],
            move |path: String, columns: List<String>, rows: Array| {
                files::replace(&host.writable(&path)?, &written(&columns.0, &rows)?)
            },
        )
        .doc(
            r#"
            Writes a table as a CSV file of the run folder: a line with the names of the columns, and one for each row,
            a map that has them all.
            "#,
        )
        .example(r#"save_table("scores.csv", ["cell", "accuracy"], [#{ cell: "a", accuracy: 0.5 }]);"#);
}

fn written(columns: &[String], rows: &[Dynamic]) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| Error::run(format!("the table cannot be written: {error}"));
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(columns).map_err(|error| failed(&error))?;
    for (index, row) in rows.iter().enumerate() {
        let row = row.as_map_ref().map_err(|_| Error::user(format!("row {index} of the table is not a map")))?;
        let cell = |name: &String| {
            let value = row.get(name.as_str()).map(ToString::to_string);
            value.ok_or_else(|| Error::user(format!("row {index} of the table has no \"{name}\"")))
        };
        writer.write_record(columns.iter().map(cell).collect::<Result<Vec<_>>>()?).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}

fn load(path: &Path) -> Result<Array> {
    let failed = |error: csv::Error| Error::user(format!("{} is not a table: {error}", path.display()));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(failed)?;
    let names: Vec<String> = reader.headers().map_err(failed)?.iter().map(String::from).collect();
    if let Some(index) = (1..names.len()).find(|&index| names[..index].contains(&names[index])) {
        return Err(Error::user(format!("{} has two columns \"{}\"", path.display(), names[index])));
    }
    let value = |text: &str| match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Dynamic::from_float(number),
        _ => text.into(),
    };
    let row = |row: csv::Result<csv::StringRecord>| {
        let row = row.map_err(failed)?;
        Ok(Dynamic::from_map(names.iter().zip(&row).map(|(name, text)| (name.into(), value(text))).collect::<Map>()))
    };
    reader.records().map(row).collect()
}
