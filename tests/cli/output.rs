//! What cannot be printed: a reader that has gone away, a disk that is full.

use crate::binary::{candlewick, command, finish, folder_with};
use std::process::Stdio;

const SCRIPT: &str = "// Prints.\nprint(\"result\");\n";

/// Every way of printing results.
const PRINTING: [&[&str]; 10] = [
    &["--help"],
    &["--version"],
    &["bench", "step", "--help"],
    &["doc"],
    &["doc", "softmax"],
    &["check", "s.rhai"],
    &["devices"],
    &["run", "s.rhai"],
    &["run", "s.rhai", "--help"],
    &["run", "--help"],
];

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_the_command_and_panics_nowhere() {
    let folder = folder_with(SCRIPT);
    for arguments in PRINTING {
        let full = std::fs::File::create("/dev/full").expect("Linux has it");
        let child =
            command(folder.path()).args(arguments).stdout(full).stderr(Stdio::piped()).spawn().expect("it runs");
        let ended = child.wait_with_output().expect("it ends");
        let page = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {page}");
        assert!(page.contains("printed") && page.contains("No space left"), "{arguments:?}: {page}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_away_has_read_enough() {
    let folder = folder_with(SCRIPT);
    for arguments in PRINTING {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child =
            command(folder.path()).args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().expect("it runs");
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_told_is_a_failure_and_changes_no_other_exit_code() {
    let wrong = "let x = ;\n";
    let told = "let run = start_run([]);\nfor e in run.epochs(1) { run.log(#{ valid_loss: 1.0 }); }\n";
    for (script, arguments, code) in [
        (wrong, &["run", "s.rhai"][..], 2),
        (wrong, &["check", "s.rhai"], 2),
        // A line that could not be told is a failure.
        (told, &["run", "s.rhai", "--out", "r"], 1),
        (SCRIPT, &["run", "s.rhai", "--threads", "500"], 1),
        (SCRIPT, &["run", "s.rhai"], 0),
        (told, &["run", "s.rhai", "--nonsense"], 2),
        (told, &["bench", "step", "--threads", "0"], 2),
    ] {
        let folder = folder_with(script);
        let full = std::fs::File::create("/dev/full").expect("Linux has it");
        let ended = command(folder.path()).args(arguments).stdout(Stdio::null()).stderr(full).status();
        assert_eq!(ended.expect("it runs").code(), Some(code), "{arguments:?}");
        let folder = folder_with(script);
        assert_eq!(closed(folder.path(), "2>&-", arguments).code, Some(code), "{arguments:?} with stderr closed");
    }
}

/// Runs the binary with a stream closed, as a shell does it.
#[cfg(unix)]
fn closed(folder: &std::path::Path, stream: &str, arguments: &[&str]) -> crate::binary::Ended {
    let mut shell = std::process::Command::new("sh");
    let line = format!("exec \"$0\" \"$@\" {stream}");
    finish(shell.args(["-c", &line, env!("CARGO_BIN_EXE_candlewick")]).args(arguments).current_dir(folder))
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_stdout_fails_the_command_that_has_something_to_print() {
    let folder = folder_with(SCRIPT);
    for arguments in PRINTING {
        closed(folder.path(), ">&-", arguments).shows(1, &["printed", "stdout is closed"]);
    }
    let quiet = folder_with("let x = 1;\n");
    closed(quiet.path(), ">&-", &["run", "s.rhai"]).shows(0, &[]);
    // Both at once: nothing can be told, and the exit code says so.
    assert_eq!(closed(folder.path(), ">&- 2>&-", &["doc"]).code, Some(1));
}

#[test]
fn a_script_ends_with_the_code_that_it_asks_for() {
    for (script, code) in [
        ("exit(3);\n", 3),
        ("fn leave() { exit(4); }\nleave();\nprint(\"never\");\n", 4),
        ("for k in 0..3 { if k == 1 { exit(0); } }\nthrow \"never\";\n", 0),
        ("exit();\n", 0),
        ("exit(300);\n", 2),
        ("3\n", 0),
    ] {
        let folder = folder_with(script);
        let ended = candlewick(folder.path(), &["run", "s.rhai"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{script}: {}", ended.stderr);
    }
}

#[test]
fn numbers_that_cannot_be_get_words_of_their_own() {
    let folder = folder_with(SCRIPT);
    let run = |arguments: &[&str]| candlewick(folder.path(), &[&["run", "s.rhai"], arguments].concat());
    run(&["--seed", "-1"]).shows(2, &["a seed is a whole number from 0"]);
    run(&["--seed", "abc"]).shows(2, &["a seed is a whole number from 0"]);
    run(&["--memory", "1kB"]).shows(2, &["1kB", "at least 1MiB"]);
    run(&["--threads", "500"]).shows(0, &["note: this machine has", "not 500"]);
    run(&["--force"]).shows(2, &["--resume"]);
}

#[test]
fn scripts_in_other_encodings_are_named_and_line_ends_of_any_kind_run() {
    let folder = folder_with("");
    let run = |text: &[u8]| {
        std::fs::write(folder.path().join("s.rhai"), text).expect("a script");
        candlewick(folder.path(), &["run", "s.rhai"])
    };
    let wide: Vec<u8> = "print(1);\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    run(&[&[0xFF, 0xFE], &wide[..]].concat())
        .shows(2, &["a script is text in UTF-8, but it is UTF-16", "save it as UTF-8"]);
    run(b"// one\nprint(\"ni\xf1o\");\n").shows(2, &["line 2 holds a byte that is not UTF-8 (0xF1)"]);
    let ended =
        run(b"\xEF\xBB\xBF// about\r\nlet x = param(\"x\", 2, \"help\");\r\nif x == 2 {\r\n  print(x);\r\n}\r\n");
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "2"), "{}", ended.stderr);
}

#[test]
fn a_caret_stands_under_its_character_however_wide_the_ones_before_are() {
    let folder = folder_with("let s = \"猫猫e\u{301}\"; let y = sofmax(1);\n");
    let ended = candlewick(folder.path(), &["run", "s.rhai"]);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let at = lines.iter().position(|line| line.contains("sofmax(1)")).expect("the line is shown");
    let before = lines[at].split("sofmax").next().expect("a part");
    // Two columns for each of the two wide characters, none for the accent.
    assert_eq!(lines[at + 1].find('^'), Some(before.chars().count() + 2 - 1), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn a_tilde_behind_set_is_the_user_s_folder() {
    let folder = folder_with("print(text(param(\"data\", \"austen\")).vocabulary);\n");
    std::fs::create_dir(folder.path().join("books")).expect("a folder");
    std::fs::write(folder.path().join("books/one.txt"), "to be or not to be ".repeat(500)).expect("a book");
    let mut command = command(folder.path());
    let ended = finish(command.env("HOME", folder.path()).args(["run", "s.rhai", "--set", "data=~/books/one.txt"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
