//! Tables: as a CSV file for other programs, and as aligned text for people.

use crate::script::binding::{Library, List, describe_value};
use crate::{Error, Result, files};
use rhai::{Array, Dynamic};
use unicode_width::UnicodeWidthStr;

/// The widest cell of a table of text.
const WIDEST: usize = 40;

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .function("write_csv", &["file", "header", "rows"], move |file: String, header: List<String>, rows: Array| {
            let path = host.writable(&file)?;
            files::replace(&path, &csv_bytes(&header.0, &rows)?)?;
            Ok(path.display().to_string())
        })
        .doc(
            r#"
            Writes a table into the run folder: a line for the header and one for each row, an array of strings,
            numbers, bools or `()` (an empty cell). Cells with commas, quotes or line breaks are quoted as RFC 4180 has
            it, in UTF-8. Gives the file's path.
            "#,
        )
        .example(r#"print(write_csv("scores.csv", ["name", "score"], [["cat, small", 0.9], ["dog", ()]]));"#);
}

fn csv_bytes(header: &[String], rows: &[Dynamic]) -> Result<Vec<u8>> {
    let failed = |error: csv::Error| Error::run(format!("a table could not be written: {error}"));
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(header).map_err(failed)?;
    for (number, row) in rows.iter().enumerate() {
        let wrong = |what: String| {
            Error::user(format!("write_csv: row {number} {what}"))
                .hint(format!("an array of {} strings, numbers, bools or ()", header.len()))
        };
        let cells = row.as_array_ref().map_err(|_| wrong(format!("must be an array, not {}", describe_value(row))))?;
        if cells.len() != header.len() {
            return Err(wrong(format!("has {} cells where the header has {}", cells.len(), header.len())));
        }
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
        let cells = cells.iter().map(text).collect::<Result<Vec<_>>>()?;
        table.write_record(&cells).map_err(failed)?;
    }
    table.into_inner().map_err(|error| Error::run(format!("a table could not be written: {error}")))
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
