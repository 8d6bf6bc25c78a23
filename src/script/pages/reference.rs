//! The documentation made from the declarations: the reference page, the editor definitions, `candlewick doc NAME`.

use crate::script::binding::{Catalogue, Entry, Face};
use std::fmt::Write;

/// `scripts/reference.md`.
pub fn markdown(catalogue: &Catalogue) -> String {
    let mut page = String::from(
        "# What scripts can call\n\n\
         Made by `candlewick doc --write scripts` from the declarations in `src/script`; a test fails when it is \
         stale. Scripts are [Rhai](https://rhai.rs/book); everything of its standard library is there too, except \
         `eval`. A parameter with `?` may be left out. An int is welcome where a float is. `f(a, b)` may be written \
         `a.f(b)`.\n",
    );
    for noun in &catalogue.nouns {
        let _ = write!(page, "\n## {}\n\n{}\n", noun.name, noun.doc);
        for kind in catalogue.types.iter().filter(|t| t.noun == noun.name) {
            let _ = write!(page, "\n**Type `{}`.** {}\n", kind.name, kind.doc);
        }
        for entry in catalogue.entries.iter().filter(|e| e.noun == noun.name) {
            let _ = write!(page, "\n### `{}`\n\n{}\n", entry.signature(), entry.doc);
            if !entry.options.is_empty() {
                page.push_str("\n| option | type | default | meaning |\n| --- | --- | --- | --- |\n");
            }
            for option in &entry.options {
                let cell = |text: &str| text.replace('|', "\\|");
                let _ = writeln!(
                    page,
                    "| `{}` | {} | {} | {} |",
                    option.name,
                    cell(&option.kind),
                    cell(&option.default_text()),
                    cell(option.doc)
                );
            }
            if !entry.example.is_empty() {
                let _ = write!(page, "\n```rhai\n{}\n```\n", entry.example);
            }
        }
    }
    page
}

/// `scripts/candlewick.d.rhai`: definitions for editors.
pub fn definitions(catalogue: &Catalogue) -> String {
    let mut page = String::from("module static;\n");
    for entry in &catalogue.entries {
        let Some(declaration) = definition(entry) else { continue };
        page.push('\n');
        for line in entry.doc.lines() {
            let _ = writeln!(page, "/// {line}");
        }
        for option in &entry.options {
            let _ =
                writeln!(page, "/// * `{}` ({}, {}): {}", option.name, option.kind, option.default_text(), option.doc);
        }
        let _ = writeln!(page, "{declaration}");
    }
    page
}

fn definition(entry: &Entry) -> Option<String> {
    let kind = |text: &str| match text {
        "" => "()".to_string(),
        "any" | "options" => {
            if text == "any" {
                "?".into()
            } else {
                "Map".into()
            }
        }
        "closure" => "Fn".into(),
        _ if text.starts_with('[') => "Array".into(),
        _ if text.contains(' ') => "?".into(),
        _ => text.to_string(),
    };
    let overload = |count: usize| {
        let list = entry.parameters[..count].iter().map(|p| format!("{}: {}", p.name, kind(&p.kind.text)));
        format!("fn {}({}) -> {};", entry.name, list.collect::<Vec<_>>().join(", "), kind(&entry.returns))
    };
    let property =
        |prefix: &str, list: String, returns: &str| format!("fn {prefix} {}({list}) -> {returns};", entry.name);
    match entry.face {
        Face::Function | Face::Method => {
            let (least, most) = entry.arity();
            Some((least..=most).map(overload).collect::<Vec<_>>().join("\n"))
        }
        Face::Property { writable } => {
            let receiver = kind(entry.receiver().unwrap_or_default());
            let get = property("get", format!("self: {receiver}"), &kind(&entry.returns));
            let set = property("set", format!("self: {receiver}, value: {}", kind(&entry.returns)), "()");
            Some(if writable { format!("{get}\n{set}") } else { get })
        }
        Face::Constant => Some(format!("const {}: {};", entry.name, kind(&entry.returns))),
        // The definition language has no operators on new types and no indexes.
        Face::Operator | Face::Index => None,
    }
}

/// What `candlewick doc NAME` prints.
pub fn entry_text(entry: &Entry) -> String {
    let mut text = format!("{}\n\n{}\n", entry.signature(), wrap(&entry.doc, 90, "  "));
    if !entry.options.is_empty() {
        text.push_str("\n  Options:\n");
        for option in &entry.options {
            let head = format!("{} ({}, {})", option.name, option.kind, option.default_text());
            let _ = writeln!(text, "    {head}\n{}", wrap(option.doc, 84, "        "));
        }
    }
    if !entry.example.is_empty() {
        text.push_str("\n  Example:\n");
        for line in entry.example.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// What `candlewick doc` prints: every noun with its signatures.
pub fn overview(catalogue: &Catalogue) -> String {
    let nouns: Vec<String> = catalogue.nouns.iter().map(|noun| noun_text(catalogue, noun.name)).collect();
    format!("{}\ncandlewick doc NAME tells more.\n", nouns.join("\n"))
}

/// A noun with its types and signatures.
pub fn noun_text(catalogue: &Catalogue, name: &str) -> String {
    let mut text = String::new();
    for noun in catalogue.nouns.iter().filter(|n| n.name == name) {
        let _ = writeln!(text, "{}: {}", noun.name, noun.doc);
    }
    for kind in catalogue.types.iter().filter(|t| t.noun == name) {
        let _ = writeln!(text, "  type {}: {}", kind.name, kind.doc);
    }
    for entry in catalogue.entries.iter().filter(|e| e.noun == name) {
        let _ = writeln!(text, "  {}", entry.signature());
    }
    text
}

/// Words in lines of at most `width` characters, each line indented.
fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + word.len() + 1 > width {
            lines.push(word.into());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}
