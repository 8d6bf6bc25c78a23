//! What scripts may be and hold: names that the language has not taken, values of some size, texts from any editor.

use crate::scripts::run;
use candlewick::script::{self, Face, Host, Script, Setup};

#[test]
fn no_declared_name_is_a_word_of_the_language() {
    let catalogue = script::catalogue();
    let mut uses = Vec::new();
    for entry in &catalogue.entries {
        uses.push(match entry.face {
            Face::Function => format!("{}();", entry.name),
            Face::Method => format!("#{{}}.{}();", entry.name),
            Face::Property { .. } => format!("#{{}}.{};", entry.name),
            Face::Constant => format!("{};", entry.name),
            Face::Operator | Face::Index => continue,
        });
        uses.extend(entry.options.iter().map(|option| format!("#{{ {}: 1 }};", option.name)));
    }
    assert!(uses.len() > 300, "{}", uses.len());
    for text in uses {
        if let Err(page) = Script::compile(Host::new(Setup::default()), format!("let a = {text}")) {
            panic!("{text}\n{}", page.render(false));
        }
    }
    let reserved = Script::compile(Host::new(Setup::default()), "let a = #{ with: 1 };".into());
    assert!(reserved.is_err(), "this test notices a reserved word");
}

#[test]
fn tables_of_a_hundred_thousand_numbers_fit_into_arrays_and_maps() {
    let ended = run("let a = [0]; for i in 0..17 { a += a; } print(a.len());
        let m = #{}; for i in 0..100000 { m[`k${i}`] = i; } print(m.len());");
    assert_eq!(ended.stdout, "131072\n100000\n", "{}", ended.stderr);
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(run("\u{feff}print(\"it runs\");").stdout, "it runs\n");
    run("\u{feff}print(1 / 0);").shows(2, &["s.rhai:1:9"]);
}
