//! Charts of a network's answers: a confusion matrix that stays legible, names in any script, contact sheets.

use candlewick::chart::{Confusion, Figure, Picture, Pictures, png, save_png, svg};
use tempfile::tempdir;

fn matrix(names: &[&str]) -> Confusion {
    let counts =
        |row: usize| (0..names.len()).map(|column| if row == column { 9 } else { (row + column) % 3 }).collect();
    Confusion {
        title: "pets: what is taken for what".into(),
        classes: names.iter().map(ToString::to_string).collect(),
        counts: (0..names.len()).map(counts).collect(),
    }
}

#[test]
fn names_that_the_embedded_font_lacks_are_told_apart_in_a_png() {
    let drawn = |names: &[&str]| png(&Figure::Confusion(matrix(names))).unwrap();
    assert_ne!(drawn(&["猫", "犬"]), drawn(&["犬", "猫"]), "two boxes would be alike");
    assert_ne!(drawn(&["고양이", "ネコ"]), drawn(&["고양아", "ネコ"]));
}

#[test]
fn odd_names_neither_break_an_svg_nor_leave_it() {
    let long = "x".repeat(300);
    let names = ["say \"hi\"", "R&D <b>", "two\nlines", "🐈", "خط", &long, "\u{202e}turned", ""];
    let document = svg(&Figure::Confusion(matrix(&names))).unwrap();
    let parts = ["&quot;", "&amp;", "&lt;", "R&D <b>", &long];
    let found = parts.map(|part| document.contains(part));
    assert!(found[1] && found[2] && !found[3] && !found[4], "{found:?}");
    assert!(!png(&Figure::Confusion(matrix(&names))).unwrap().is_empty());
}

#[test]
fn of_many_classes_those_with_the_most_mistakes_are_shown() {
    let names: Vec<String> = (0..300).map(|class| format!("class {class}")).collect();
    let mut counts = vec![vec![0; 300]; 300];
    counts.iter_mut().enumerate().for_each(|(class, row)| row[class] = 5);
    // Those from 100 to 139 are taken for one another.
    (100..140).for_each(|class| counts[class][if class == 139 { 100 } else { class + 1 }] = 3);
    let shown = Confusion { title: "many".into(), classes: names, counts }.legible();
    let expected: Vec<String> = (100..140).map(|class| format!("class {class}")).collect();
    assert_eq!(shown.classes, expected);
    assert_eq!((shown.counts.len(), shown.counts[0][1], shown.counts[39][0]), (40, 3, 3));
    assert!(shown.title.contains("40 of 300"), "{}", shown.title);
}

#[test]
fn a_contact_sheet_shows_each_pixel_where_it_is() {
    let folder = tempdir().unwrap();
    let picture = |pixels: Vec<[u8; 3]>| Picture { width: 2, height: 1, pixels, lines: vec!["cat".into()] };
    let items = vec![picture(vec![[250, 0, 0], [0, 0, 250]]), picture(vec![[0, 250, 0], [9, 9, 9]])];
    let path = folder.path().join("plots/sheet.png");
    save_png(Pictures { title: String::new(), columns: 5, items }, &path).unwrap();
    let sheet = image::open(&path).unwrap().into_rgb8();
    let row = sheet.rows().nth(sheet.height() as usize / 2 - 40).unwrap();
    let mut seen: Vec<[u8; 3]> = row.map(|pixel| pixel.0).filter(|p| p.iter().any(|v| *v < 200)).collect();
    seen.dedup();
    assert_eq!(seen, [[250, 0, 0], [0, 0, 250], [0, 250, 0], [9, 9, 9]]);
}
