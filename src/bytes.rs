//! Amounts of memory as people write them: "2GB", "1.5 GiB", "800MB".

use crate::{Error, Result};

const UNITS: [(&str, f64); 8] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("MiB", (1u64 << 20) as f64),
    ("GiB", (1u64 << 30) as f64),
    ("TiB", (1u64 << 40) as f64),
];

/// The bytes that a text such as "2GB" names: powers of 1000 for kB, MB, GB, TB, of 1024 for MiB, GiB, TiB.
///
/// # Errors
/// No number, no unit or an unknown one, or not a positive amount.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let wrong = |what: String| Error::user(what).hint("write a number and a unit: \"2GB\", \"1.5GiB\", \"800MB\"");
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    let Ok(number) = number.parse::<f64>() else {
        return Err(wrong(format!("\"{text}\" is not an amount of memory")));
    };
    if unit.is_empty() {
        return Err(wrong(format!("\"{text}\" lacks a unit")));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        return Err(wrong(format!("\"{unit}\" is not a unit of memory")));
    };
    let bytes = (number * factor).round();
    match (1.0..(1u64 << 60) as f64).contains(&bytes) {
        true => Ok(bytes as u64),
        false => Err(wrong(format!("\"{text}\" is not an amount of memory that a machine could have"))),
    }
}

/// An amount in words that [`parse_bytes`] reads, three digits, rounded up.
pub fn show_bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    let (unit, factor) = if bytes < 999.5e6 { ("MB", 1e6) } else { ("GB", 1e9) };
    let amount = bytes / factor;
    let digits = if amount < 10.0 {
        2
    } else if amount < 100.0 {
        1
    } else {
        0
    };
    let step = 10f64.powi(digits);
    // What lies on a step but for the division's error is not rounded up to the next.
    format!("{:.*} {unit}", digits as usize, (amount * step - 1e-9).ceil() / step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        for (text, bytes) in
            [("2GB", 2_000_000_000), ("1.5 GiB", 3 << 29), ("800mb", 800_000_000), (" 64MiB ", 64 << 20), ("7B", 7)]
        {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_an_error_with_an_example() {
        for text in ["", "2", "GB", "2 GBs", "-2GB", "0GB", "1e3GB", "two GB", "1.2.3GB", "99999999TB"] {
            let error = parse_bytes(text).unwrap_err();
            assert!(error.hint.is_some_and(|hint| hint.contains("\"2GB\"")), "{text}");
        }
    }

    #[test]
    fn shown_amounts_are_never_below() {
        for bytes in
            [1, 999, 1_234_567, 12_345_678, 999_400_000, 999_600_000, 1_000_000_000, 2_500_000_001, 77_123_456_789]
        {
            let read = parse_bytes(&show_bytes(bytes)).unwrap();
            assert!(read >= bytes && read as f64 <= bytes as f64 * 1.011 + 1e4, "{bytes}: {}", show_bytes(bytes));
        }
        assert_eq!(show_bytes(1_500_000_000), "1.50 GB");
    }
}
