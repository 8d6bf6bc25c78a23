//! The table of searches in `scripts/README.md`, made from the scripts themselves.

use crate::{Error, Result};
use std::fmt::Write;
use std::path::Path;

/// Between these lines of `README.md` stands the table.
const MARKS: [&str; 2] = ["<!-- searches: written by candlewick doc --write -->\n", "<!-- end of searches -->"];

/// The lines of a script that are neither blank nor comment only.
pub fn lines_of_code(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// The page `README.md` of the folder `scripts` with its table written again; none where that folder has no such page.
///
/// The table has a row for every script in `scripts/searches`: its lines of code, the first sentence of its head
/// comment, and the picture `plots/searches/NAME.png` beside the folder, where there is one.
///
/// # Errors
/// A page without the two marks; a folder that cannot be read.
pub fn page_with_table(scripts: &Path) -> Result<Option<String>> {
    let (path, folder) = (scripts.join("README.md"), scripts.join("searches"));
    if !path.is_file() || !folder.is_dir() {
        return Ok(None);
    }
    let page = read(&path)?;
    let parts = page.split_once(MARKS[0]).and_then(|(before, rest)| Some((before, rest.split_once(MARKS[1])?.1)));
    let Some((before, after)) = parts else {
        return Err(Error::user(format!("{} has no place for the table of searches", path.display())).hint(format!(
            "it stands between the lines `{}` and `{}`",
            MARKS[0].trim_end(),
            MARKS[1]
        )));
    };
    Ok(Some(format!("{before}{}\n{}{}{after}", MARKS[0], table(scripts, &folder)?, MARKS[1])))
}

fn table(scripts: &Path, folder: &Path) -> Result<String> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, &e))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(|e| Error::file(folder, &e)));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "rhai"));
    paths.sort();
    let mut table = String::from("| script | lines of code | idea | picture |\n| --- | ---: | --- | --- |\n");
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = read(&path)?;
        let picture = format!("../plots/searches/{name}.png");
        let picture = if scripts.join(&picture).is_file() { format!("[chart]({picture})") } else { String::new() };
        let (lines, idea) = (lines_of_code(&text), idea(&text).replace('|', "\\|"));
        let _ = writeln!(table, "| [`{name}`](searches/{name}.rhai) | {lines} | {idea} | {picture} |");
    }
    table.push('\n');
    Ok(table)
}

/// The first sentence of a script's head comment.
fn idea(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//")).map(str::trim);
    let paragraph = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    // Initials and abbreviations do not end a sentence: what follows an end is a capital, what comes before is not.
    let ends = |(at, _): &(usize, &str)| {
        let before = paragraph[..*at].chars().rev().take(2);
        let next = paragraph[*at + 2..].chars().next();
        before.clone().count() == 2
            && before.clone().all(|c| c.is_lowercase() || c.is_numeric() || c == ')')
            && !paragraph[..*at].ends_with("et al")
            && next.is_some_and(char::is_uppercase)
    };
    let end = paragraph.match_indices(". ").find(ends).map_or(paragraph.len(), |(at, _)| at + 1);
    paragraph[..end].to_string()
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::file(path, &e))
}

#[cfg(test)]
mod tests {
    use super::{idea, lines_of_code};

    #[test]
    fn an_idea_is_the_first_sentence_and_only_code_counts() {
        let script =
            "// Cells by chance (Li et al. 2019, 3.1). Nothing\n// is learnt.\n//\n// More.\n\nlet a = 1; // one\n";
        assert_eq!(idea(script), "Cells by chance (Li et al. 2019, 3.1).");
        assert_eq!(idea("// One sentence\n// of two lines.\nlet a = 1;"), "One sentence of two lines.");
        assert_eq!(lines_of_code(script), 1);
    }
}
