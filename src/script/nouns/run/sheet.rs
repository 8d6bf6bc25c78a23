//! Contact sheets of genotypes as scripts see them; part of the noun `runs`.

use crate::chart::{self, Cell, Figure, Sheet, SheetItem};
use crate::script::binding::{Library, List, Options, describe_value};
use crate::script::host::Host;
use crate::space::{Genotype, catalogue};
use crate::{Error, Result, interrupt};
use rhai::{Array, Dynamic};

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .function("draw_all", &["genotypes", "file", "options"], move |all: Array, file: String, options: Options| {
            draw_all(&host, &all, &file, &options)
        })
        .doc(
            r#"
            Draws the cells of many genotypes, small and named, many to a page, into the run folder: `FILE-1.svg`,
            `FILE-1.png` and so on, or `FILE.svg` and `FILE.png` for a single page. `genotypes` holds names of the
            catalogue, or maps with a `name` and (where that is not in the catalogue) a `genotype`. Gives the PNG files.
            "#,
        )
        .option("columns", 4_usize, "genotypes side by side")
        .option("rows", 6_usize, "rows per page")
        .option("title", String::new(), "a heading of every page")
        .example(
            r#"
            let files = draw_all(["DARTS_V1", "DARTS_V2"], "plots/darts");
            assert(files.len() == 1);
            "#,
        );
}

fn draw_all(host: &Host, all: &[Dynamic], file: &str, options: &Options) -> Result<List<String>> {
    let (columns, rows): (usize, usize) = (options.get("columns")?, options.get("rows")?);
    if !(1..=12).contains(&columns) || !(1..=40).contains(&rows) || all.is_empty() {
        return Err(Error::user(format!("{} genotypes in {columns} columns and {rows} rows per page", all.len()))
            .hint("at least one genotype, 1 to 12 columns and 1 to 40 rows"));
    }
    let items = all.iter().map(item).collect::<Result<Vec<SheetItem>>>()?;
    let title: String = options.get("title")?;
    let pages = items.chunks(columns * rows);
    let count = pages.len();
    let mut files = Vec::new();
    for (index, items) in pages.enumerate() {
        interrupt::check()?;
        let (number, of) = match count {
            1 => (String::new(), String::new()),
            _ => (format!("-{}", index + 1), format!(", page {} of {count}", index + 1)),
        };
        let title = if title.is_empty() { String::new() } else { format!("{title}{of}") };
        let figure = Figure::Sheet(Sheet { title, columns, items: items.to_vec() });
        files.push(save_figure(host, &figure, &format!("{file}{number}"))?);
    }
    Ok(List(files))
}

/// Saves a chart in the run folder, as `NAME.svg` and `NAME.png`; the PNG's path.
pub fn save_figure(host: &Host, figure: &Figure, name: &str) -> Result<String> {
    // Both files stand where a script may write: the sandbox looks at each.
    host.writable(&format!("{name}.svg"))?;
    host.writable(&format!("{name}.png"))?;
    let [_, png] = chart::save(figure, &host.run_folder()?.join(name))?;
    Ok(png.display().to_string())
}

/// A genotype's name and cells.
fn item(value: &Dynamic) -> Result<SheetItem> {
    let wrong = || {
        Error::user(format!(
            "a genotype to draw is a name or a map with `name` and `genotype`, not {}",
            describe_value(value)
        ))
        .hint("draw_all(genotypes(), \"plots/catalogue\") draws the catalogue")
    };
    let (name, genotype): (String, Option<Genotype>) = match value.as_map_ref() {
        Ok(map) => (
            map.get("name").and_then(|name| name.clone().into_string().ok()).ok_or_else(wrong)?,
            map.get("genotype").map(|g| g.read_lock::<Genotype>().map(|g| g.clone()).ok_or_else(wrong)).transpose()?,
        ),
        Err(_) => (value.clone().into_string().map_err(|_| wrong())?, None),
    };
    let genotype = match genotype {
        Some(genotype) => genotype,
        None => catalogue::genotype(&name)?,
    };
    Ok(SheetItem { name, cells: genotype.cells().iter().map(Cell::of).collect() })
}
