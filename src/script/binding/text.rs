//! Texts of declarations, as they stand in the source and as readers see them.

/// Lines of a raw string as one paragraph.
pub(super) fn paragraph(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines of a raw string without the empty ones around them and the indentation that all share.
pub(super) fn block(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().skip_while(|line| line.trim().is_empty()).collect();
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let shared = lines.iter().filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    let lines: Vec<&str> = lines.into_iter().map(|line| line.get(shared..).unwrap_or_default()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_s_indentation_is_left_out() {
        assert_eq!(
            block("\n        let f = |x| {\n            x\n        };\n\n        f\n    "),
            "let f = |x| {\n    x\n};\n\nf"
        );
        assert_eq!(block("print(1);"), "print(1);");
        assert_eq!(paragraph("\n    One\n    paragraph.\n    "), "One paragraph.");
    }
}
