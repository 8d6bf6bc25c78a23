//! The README shows the program as it is: the first search, an error page, the commands and their options.

use crate::binary::{candlewick, folder_with};
use crate::files::root;
use std::collections::BTreeSet;

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("a README")
}

/// The text between `from` and `to`.
#[track_caller]
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from:?} in the README"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to:?} behind {from:?}")).0
}

/// The words of a text that are options: `--name`.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || "-".contains(c)));
    words.filter(|word| word.len() > 2 && word.starts_with("--")).map(String::from).collect()
}

fn help(arguments: &[&str]) -> String {
    let ended = candlewick(root(), &[arguments, &["--help"]].concat());
    ended.shows(0, &[]);
    ended.stdout
}

#[test]
fn the_first_search_stands_whole_in_the_readme() {
    let script = std::fs::read_to_string(root().join("scripts/first_search.rhai")).expect("the script");
    assert!(readme().contains(script.trim_end()), "copy scripts/first_search.rhai into the README");
}

#[test]
fn the_error_page_is_what_the_program_says() {
    let text = readme();
    let page = between(&text, "$ candlewick run search.rhai\n", "```");
    let line = between(page, "\n 2 | ", "\n");
    let folder = folder_with("");
    std::fs::write(folder.path().join("search.rhai"), format!("let data = images(\"digits\");\n{line}\n"))
        .expect("the script is written");
    let ended = candlewick(folder.path(), &["run", "search.rhai"]);
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr.trim_end(), page.trim_end(), "copy this page into the README:\n{}", ended.stderr);
}

#[test]
fn the_synopsis_is_what_help_says() {
    let text = readme();
    let synopsis = between(&text, "## The command line", "`run SCRIPT --help`");
    let commands: BTreeSet<&str> = synopsis
        .lines()
        .filter_map(|line| line.trim().strip_prefix("candlewick ")?.split_whitespace().next())
        .collect();
    let help_page = help(&[]);
    let listed: BTreeSet<&str> = between(&help_page, "Commands:\n", "\n\n")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert_eq!(commands, listed);
    let run = between(synopsis, "candlewick run", "candlewick check");
    let wanted: BTreeSet<String> = options(&help(&["run"])).into_iter().filter(|name| name != "--help").collect();
    assert_eq!(options(run), wanted, "the options of candlewick run");
    for command in commands.iter().filter(|name| **name != "run") {
        let of_bench = synopsis.lines().filter(|line| line.contains(&format!("candlewick {command}")));
        let told: BTreeSet<String> = of_bench.flat_map(options).collect();
        let known = options(&help(&[command]));
        assert!(told.is_subset(&known), "{command}: {told:?} of {known:?}");
    }
}

#[test]
fn settings_in_its_commands_are_parameters_of_those_scripts() {
    let text = readme();
    let mut checked = 0;
    for script in crate::files::paths(&["scripts"]).iter().filter(|path| path.ends_with(".rhai")) {
        // A command ends with its line, or with the code that it stands in.
        let mentions = text.split(script.as_str()).skip(1).filter_map(|rest| rest.split(['`', '#', ')']).next());
        let commands = mentions.filter_map(|rest| rest.split("candlewick run").next());
        let settings: BTreeSet<&str> = commands
            .flat_map(|command| command.split("--set ").skip(1))
            .filter_map(|setting| setting.split('=').next())
            .collect();
        if settings.is_empty() {
            continue;
        }
        let page = help(&["run", script]);
        for setting in settings {
            checked += 1;
            let known = page.lines().any(|line| line.trim_start().starts_with(&format!("{setting}=")));
            assert!(known, "{script} has no parameter {setting}:\n{page}");
        }
    }
    assert!(checked > 8, "{checked} settings");
}

/// The crates that a build consists of, this one included.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn crates(features: &[&str]) -> usize {
    let tree = ["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let target = ["--target", "x86_64-unknown-linux-gnu"];
    let mut command = std::process::Command::new(env!("CARGO"));
    let ended = command.args(tree).args(target).args(features).current_dir(root()).output().expect("cargo runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let listed = String::from_utf8(ended.stdout).expect("it prints text");
    let names: BTreeSet<&str> = listed.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    names.iter().filter(|name| !name.is_empty()).count()
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_build_has_as_many_crates_as_it_says() {
    let text = readme();
    let told = between(&text, "The second does without, with ", ",").replace('\n', " ");
    let (all, without) = (crates(&[]), crates(&["--no-default-features"]));
    assert_eq!(told, format!("{without} crates instead of {all}"));
    let gpu = crates(&["--no-default-features", "--features", "gpu"]) - without;
    assert_eq!(gpu, 2, "the README says how many crates the feature `gpu` adds");
}
