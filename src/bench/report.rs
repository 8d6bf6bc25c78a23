//! What a benchmark reports: lines that are JSON objects for programs and rows of a table for people.

use serde::Serialize;

/// One line of a report. Its JSON form is what it serialises to.
pub trait Line: Serialize {
    /// Its row in a table, in the order of the columns.
    fn cells(&self) -> Vec<Cell>;
}

/// One entry of a table's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    pub head: &'static str,
    pub text: String,
    /// Words stand to the left of their column, numbers to the right.
    pub is_word: bool,
}

impl Cell {
    pub fn word(head: &'static str, text: impl Into<String>) -> Self {
        Self { head, text: text.into(), is_word: true }
    }

    pub fn count(head: &'static str, value: impl std::fmt::Display) -> Self {
        Self { head, text: value.to_string(), is_word: false }
    }

    /// A number to so many places.
    pub fn number(head: &'static str, value: f64, places: usize) -> Self {
        Self { head, text: format!("{value:.places$}"), is_word: false }
    }

    /// A share of one as percent.
    pub fn percent(head: &'static str, share: f64) -> Self {
        Self { head, text: format!("{:.1}", 100.0 * share), is_word: false }
    }
}

/// Lines as a table with a row of heads.
pub fn table(rows: &[Vec<Cell>]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0);
        widest.max(first[column].head.chars().count())
    };
    let widths: Vec<usize> = (0..first.len()).map(width).collect();
    let mut text = String::new();
    let mut put = |entries: Vec<(&str, bool)>| {
        let padded: Vec<String> = entries
            .iter()
            .zip(&widths)
            .map(|(&(entry, left), &width)| if left { format!("{entry:<width$}") } else { format!("{entry:>width$}") })
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    };
    put(first.iter().map(|cell| (cell.head, cell.is_word)).collect());
    for row in rows {
        put(row.iter().map(|cell| (cell.text.as_str(), cell.is_word)).collect());
    }
    text
}

/// The middle of some seconds.
pub fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// To so many significant digits: what is measured has no more.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10f64.powi(digits - 1 - value.abs().log10().floor() as i32);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let row = |name: &str, value: f64| vec![Cell::word("name", name), Cell::number("s", value, 1)];
        assert_eq!(table(&[row("a", 1.0), row("longer", 10.25)]), "name       s\na        1.0\nlonger  10.2\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn rounding_keeps_digits_whatever_the_size() {
        assert_eq!(rounded(123.456, 4), 123.5);
        assert_eq!(rounded(0.000_123_456, 4), 0.000_123_5);
        assert_eq!(rounded(0.0, 4), 0.0);
    }
}
