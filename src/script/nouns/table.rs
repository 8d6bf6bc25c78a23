//! Tables: as CSV files that other programs write and read, and as aligned text for people.

use crate::data::Listed;
use crate::script::binding::{Library, List, Options, describe_value};
use crate::{Error, Result, files};
use rhai::{Array, Dynamic, Map};
use std::path::Path;
use unicode_width::UnicodeWidthStr;

/// The widest cell of a table of text.
const WIDEST: usize = 40;

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .function("load_table", &["path", "options"], move |path: String, options: Options| {
            let numbers = options.find::<List<String>>("numbers")?.map_or(vec![], |names| names.0);
            let file = host.readable(&path)?;
            let bytes = std::fs::read(&file).map_err(|error| Error::file(&file, &error))?;
            // What the run wrote itself may be another table when it goes on.
            if !host.is_written(&file) {
                host.note_data(&path, &[Listed::whole("table", &file, &bytes)].into())?;
            }
            load(&file, &bytes, &numbers)
        })
        .doc(
            r#"
            Reads a table from a CSV file whose first line names the columns, such as results of a benchmark: an array
            with a map for each further line, numbers as floats and everything else as strings. A cell that holds a
            comma stands in double quotes. A line with more or fewer cells than columns is refused, with its number.
            "#,
        )
        .optional::<List<String>>(
            "numbers",
            "none",
            "columns that must be there, with a finite number in every line; any other cell is refused with its line",
        )
        .example(
            r#"
            save_table("seen.csv", ["cell", "accuracy"], [#{ cell: "|conv_3x3~0|", accuracy: 0.935 }]);
            let seen = load_table("seen.csv", #{ numbers: ["accuracy"] });
            assert(seen[0].accuracy == 0.935 && seen[0].cell == "|conv_3x3~0|");
            "#,
        );
    let host = library.host();
    library
        .function(
            "save_table",
            &["path", "columns", "rows"],
            move |path: String, columns: List<String>, rows: Array| {
                let path = host.writable(&path)?;
                files::replace(&path, &csv_bytes(&columns.0, &rows)?)?;
                Ok(path.display().to_string())
            },
        )
        .doc(
            r#"
            Writes a table as a CSV file of the run folder: a line with the names of the columns, and one for each row,
            an array in their order or a map that has them all. Cells are strings, numbers, bools or `()` (empty); those
            with commas, quotes or line breaks are quoted as RFC 4180 has it, in UTF-8. Gives the file's path.
            "#,
        )
        .example(
            r#"
            let rows = [["cat, small", 0.9], #{ name: "dog", score: () }];
            print(save_table("scores.csv", ["name", "score"], rows));
            "#,
        );
}

fn csv_bytes(columns: &[String], rows: &[Dynamic]) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| Error::run(format!("a table could not be written: {error}"));
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(columns).map_err(|error| failed(&error))?;
    for (number, row) in rows.iter().enumerate() {
        let wrong = |what: String| {
            Error::user(format!("row {number} of the table {what}"))
                .hint(format!("a map, or an array of {} strings, numbers, bools or ()", columns.len()))
        };
        let text = |value: &Dynamic| {
            let plain = value.is_string() || value.is_int() || value.is_float() || value.is_bool() || value.is_char();
            match (plain, value.as_float()) {
                // rhai shows 1e-10 as 0.0000000001; the shortest that reads back is what programs want.
                (_, Ok(number)) => Ok(format!("{number:?}")),
                (true, _) => Ok(value.to_string()),
                _ if value.is_unit() => Ok(String::new()),
                _ => Err(wrong(format!("holds {}", describe_value(value)))),
            }
        };
        let cells = if let Ok(map) = row.as_map_ref() {
            let cell = |name: &String| map.get(name.as_str()).ok_or_else(|| wrong(format!("has no \"{name}\"")));
            columns.iter().map(|name| text(cell(name)?)).collect::<Result<Vec<_>>>()?
        } else {
            let cells = row.as_array_ref().map_err(|_| wrong(format!("is {}", describe_value(row))))?;
            if cells.len() != columns.len() {
                return Err(wrong(format!("has {} cells for {} columns", cells.len(), columns.len())));
            }
            cells.iter().map(text).collect::<Result<Vec<_>>>()?
        };
        table.write_record(&cells).map_err(|error| failed(&error))?;
    }
    table.into_inner().map_err(|error| failed(&error))
}

fn load(path: &Path, bytes: &[u8], numbers: &[String]) -> Result<Array> {
    let failed = |error: csv::Error| Error::user(format!("{} is not a table: {error}", path.display()));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let names: Vec<String> = reader.headers().map_err(failed)?.iter().map(String::from).collect();
    if let Some(index) = (1..names.len()).find(|&index| names[..index].contains(&names[index])) {
        return Err(Error::user(format!("{} has two columns \"{}\"", path.display(), names[index])));
    }
    if let Some(missing) = numbers.iter().find(|name| !names.contains(name)) {
        return Err(Error::user(format!("{} has no column \"{missing}\"", path.display()))
            .hint(format!("its first line names the columns: {}", names.join(", "))));
    }
    let row = |row: csv::Result<csv::StringRecord>| {
        let row = row.map_err(failed)?;
        let cells = names.iter().zip(&row).map(|(name, text)| {
            let value = match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Dynamic::from_float(number),
                _ if numbers.contains(name) => {
                    let line = row.position().map_or(0, csv::Position::line);
                    return Err(Error::user(format!(
                        "{}, line {line}: {name} is \"{text}\", not a finite number",
                        path.display()
                    )));
                }
                _ => text.into(),
            };
            Ok((name.into(), value))
        });
        Ok(Dynamic::from_map(cells.collect::<Result<Map>>()?))
    };
    reader.records().map(row).collect()
}

/// A name as one cell of text: nothing that breaks a line, and not too long.
pub fn cell(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        match c.is_control() {
            true => text.extend(c.escape_default()),
            false => text.push(c),
        }
    }
    if text.width() <= WIDEST {
        return text;
    }
    while text.width() >= WIDEST {
        text.pop();
    }
    text + "…"
}

/// Rows in columns as wide as their widest cell on a terminal: the first to the left, the others to the right.
pub fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let cell = |(column, text): (usize, &String)| {
            let space = " ".repeat(widths[column] - text.width());
            if column == 0 { format!("{text}{space}") } else { format!("  {space}{text}") }
        };
        row.iter().enumerate().map(cell).collect::<String>()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let row = |cells: &[&str]| Dynamic::from_array(cells.iter().map(|&cell| cell.into()).collect());
        let rows = [row(&["a, b", "say \"hi\""]), row(&["two\nlines", "猫 🐈"]), row(&["", "'"])];
        let written = String::from_utf8(csv_bytes(&["x".into(), "y".into()], &rows).unwrap()).unwrap();
        assert_eq!(written, "x,y\n\"a, b\",\"say \"\"hi\"\"\"\n\"two\nlines\",猫 🐈\n,'\n");
        let numbers = Dynamic::from_array(vec![Dynamic::from_float(1e-10), Dynamic::from_int(-3)]);
        let written = String::from_utf8(csv_bytes(&["x".into(), "y".into()], &[numbers]).unwrap()).unwrap();
        assert_eq!(written, "x,y\n1e-10,-3\n");
        assert!(csv_bytes(&["x".into()], &[row(&["a", "b"])]).is_err());
        assert!(csv_bytes(&["x".into()], &[Dynamic::TRUE]).is_err());
    }

    #[test]
    fn columns_line_up_whatever_the_script() {
        let rows = [["class", "images"], ["猫", "12"], ["long\nname", "3"]];
        let rows = rows.map(|row| row.map(cell));
        assert_eq!(aligned(&rows), "class       images\n猫              12\nlong\\nname       3");
        assert_eq!(cell(&"x".repeat(300)).width(), WIDEST);
    }
}
