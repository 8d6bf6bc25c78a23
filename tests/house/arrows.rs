//! The arrows of ARCHITECTURE.md: its list of floors is the one place that says which room may import which.

use crate::files::{files, none, root};
use std::collections::HashMap;

/// The rooms by floor, from the top: the first block of ARCHITECTURE.md that is fenced with the word `floors`.
fn floors() -> HashMap<String, usize> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the architecture is written down");
    let block = text.split("```floors\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of floors");
    let of_floor = |(floor, line): (usize, &str)| -> Vec<(String, usize)> {
        line.split_whitespace().map(|room| (room.to_string(), floor)).collect()
    };
    let rooms: Vec<(String, usize)> = block.lines().enumerate().flat_map(of_floor).collect();
    let unique: HashMap<String, usize> = rooms.iter().cloned().collect();
    assert_eq!(unique.len(), rooms.len(), "every room is listed once");
    unique
}

/// Code without comments, strings and characters: what is left of imports and paths is real.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if next == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c: char| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\'") {
            3
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// The length of the raw string that `text` begins with.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let hashes = hashes.len() - hashes.trim_start_matches('#').len();
    let close = format!("\"{}", "#".repeat(hashes));
    let open = 1 + hashes + 1;
    (text.get(1 + hashes..open)? == "\"").then(|| text[open..].find(&close).map(|end| open + end + close.len()))?
}

/// The full paths that code names through `crate::`, `super::` and `self::`, trees of imports opened, as parts.
fn named(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let start = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |end| end + 1);
        // A path begins where no `::` stands before its first part.
        if before[..start].ends_with("::") {
            continue;
        }
        let mut base = match &before[start..] {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            _ => continue,
        };
        let mut rest = &code[at + 2..];
        while let Some(higher) = rest.strip_prefix("super::") {
            base.pop();
            rest = higher;
        }
        open(rest, &base, &mut found);
    }
    found
}

/// Adds the paths of a tree like `a::{b, c::d}` below `base`; what comes after the tree.
fn open<'a>(tree: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let tree = tree.trim_start();
    if let Some(mut rest) = tree.strip_prefix('{') {
        while !rest.trim_start().starts_with('}') {
            rest = open(rest, base, found).trim_start();
            // An alias, or the comma between two branches.
            let next = rest.find([',', '}']).unwrap_or(rest.len());
            rest = rest[next..].strip_prefix(',').unwrap_or(&rest[next..]);
            if rest.is_empty() {
                return rest;
            }
        }
        return &rest.trim_start()[1..];
    }
    let end = tree.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(tree.len());
    let mut path = base.to_vec();
    path.push(tree[..end].to_string());
    match tree[end..].strip_prefix("::") {
        Some(rest) => open(rest, &path, found),
        None => {
            found.push(path);
            &tree[end..]
        }
    }
}

/// The module that a file is, as parts.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(String::from).collect()
}

/// The room that a path lies in: the longest that is listed.
fn room<'a>(path: &[String], floors: &'a HashMap<String, usize>) -> Option<(&'a String, usize)> {
    let lies_in = |room: &str| room.split('/').count() <= path.len() && room.split('/').zip(path).all(|(a, b)| a == b);
    floors.iter().filter(|(room, _)| lies_in(room)).max_by_key(|(room, _)| room.len()).map(|(room, &at)| (room, at))
}

#[test]
fn a_room_imports_only_rooms_on_lower_floors() {
    let floors = floors();
    let mut offenders = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for file in files(&["src"], &[".rs"]) {
        let module = module(&file.path);
        // The roof: it holds the rooms.
        if ["lib", "main"].contains(&module[0].as_str()) {
            continue;
        }
        let Some((own, floor)) = room(&module, &floors) else {
            offenders.push(format!("{}: ARCHITECTURE.md lists no floor for it", file.path));
            continue;
        };
        *seen.entry(own.clone()).or_default() += 1;
        // A room's own tests may look up.
        let text = file.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for mut path in named(&code(text), &module) {
            // What the roof hands on.
            if path.len() == 1 && ["Error", "Result"].contains(&path[0].as_str()) {
                path.insert(0, "error".into());
            }
            match room(&path, &floors) {
                Some((other, below)) if other != own && below <= floor => {
                    offenders.push(format!("{} ({own}) imports {} ({other})", file.path, path.join("::")));
                }
                _ => {}
            }
        }
    }
    offenders.extend(floors.keys().filter(|room| !seen.contains_key(*room)).map(|room| format!("no room {room}")));
    offenders.sort();
    offenders.dedup();
    none(offenders);
}

#[test]
fn imports_are_read_as_rust_reads_them() {
    let text = "//! crate::not::this\nuse crate::{Error, a::{self, b::C as D}, e};\nuse super::super::f::{g, h};\n\
                fn x() { let s = \"crate::nor::this\"; let r = r#\"crate::or \" this\"#; crate::i::j(s, '\"', r) }\n\
                use self::k::l;\n// crate::m\nuse std::crate_like::n;\n";
    let of = |path: &str| path.split("::").map(String::from).collect::<Vec<_>>();
    let found = named(&code(text), &of("p::q::r"));
    let paths = ["Error", "a::self", "a::b::C", "e", "p::f::g", "p::f::h", "i::j", "p::q::r::k::l"];
    assert_eq!(found, paths.map(of));
}
