//! The noun `text` as scripts meet it: loops over windows, a sandbox that holds, errors that help.

use crate::script::{failure, run};
use std::fs::{create_dir, write};
use tempfile::tempdir;

/// A folder with a small text beside the script.
fn folder() -> tempfile::TempDir {
    let folder = tempdir().unwrap();
    create_dir(folder.path().join("tale")).unwrap();
    for (part, text) in [("train", "a cat sat\nthe cat ran\n"), ("valid", "the cat sat\n"), ("test", "a cat ran\n")] {
        write(folder.path().join("tale").join(format!("{part}.txt")), text).unwrap();
    }
    folder
}

#[test]
fn a_loop_over_an_epoch_s_windows_walks_the_whole_text() {
    let script = r#"
        let data = text("tale");
        let train = data.train.windows(2, #{ length: 2 });
        let run = start_run([train]);
        for epoch in run.epochs(2) {
            let seen = [];
            for window in run.steps(train) {
                assert(window.x.shape == [window.length, 2]);
                seen.push(data.decode(window.x.transpose()));
            }
            print(seen);
        }
        print(train.len());
    "#;
    let printed = run(folder().path(), 0, script).unwrap();
    assert_eq!(printed, "[\"a cat the cat\", \"sat ran\"]\n[\"a cat the cat\", \"sat ran\"]\n2\n");
}

#[test]
fn lengths_follow_from_the_seed_and_each_row_of_windows_has_its_own() {
    let script = r#"
        let data = text("austen");
        for part in [data.train, data.train] {
            let lengths = [];
            for window in part.windows(64, #{ jitter: "evaluation" }).epoch(0) { lengths.push(window.length); }
            print(lengths);
        }
    "#;
    let folder = tempdir().unwrap();
    let printed = |seed| run(folder.path(), seed, script).unwrap();
    assert_eq!(printed(1), printed(1));
    assert_ne!(printed(1), printed(2));
    let text = printed(1);
    let lines: Vec<&str> = text.lines().collect();
    assert_ne!(lines[0], lines[1]);
}

#[test]
fn values_print_as_what_they_are() {
    let script = r#"
        let data = text("tale");
        print(data);
        print(data.valid);
        print(data.train.windows(3, #{ length: 1 }));
        print(data.train.windows(3, #{ length: 1 }).epoch(1));
        print(data.train.windows(3, #{ length: 1 }).next());
    "#;
    let expected = "tale: 8 training, 4 validation and 4 test tokens, 6 words\n\
                    4 tokens of 6 words\n\
                    windows of 1 steps over 3 columns of 2, 2 tokens dropped\n\
                    epoch 1: 1 windows\n\
                    a window of 1 steps by 3 columns\n";
    assert_eq!(run(folder().path(), 0, script).unwrap(), expected);
}

#[test]
fn texts_are_read_from_beside_the_script_and_from_nowhere_else() {
    let (own, elsewhere) = (folder(), folder());
    run(own.path(), 0, r#"assert(text("tale/train.txt", #{ unit: "character" }).name == "train.txt");"#).unwrap();
    let outside = elsewhere.path().join("tale").display().to_string();
    let page = failure(own.path(), &format!("text({outside:?})"));
    assert!(page.contains("may not read") && page.contains("--data"), "{page}");
}

#[test]
fn slips_are_named() {
    let folder = folder();
    let says = |script: &str, part: &str| {
        let text = failure(folder.path(), script);
        assert!(text.contains(part), "{script}: \"{part}\" is missing in: {text}");
    };
    says(r#"text("austin")"#, "did you mean \"austen\"?");
    says(r#"text("tale", #{ unit: "words" })"#, "did you mean \"word\"?");
    says(r#"text("tale", #{ punctuation: "appart" })"#, "did you mean \"apart\"?");
    says(r#"text("tale", #{ vocabulery: 10 })"#, "did you mean `vocabulary`?");
    says(r#"text("tale", #{ vocabulary: 2 })"#, "at least 3");
    says(r#"text("tale").train.windows(2, #{ length: 4 })"#, "a length from 1 to 3 fits");
    says(r#"text("tale").train.windows(5)"#, "1 to 4 columns");
    says(r#"text("tale").train.windows(2, #{ jitter: "serch" })"#, "did you mean \"search\"?");
    says(r#"text("tale").train.columns(5)"#, "1 to 4 columns");
    says(r#"text("tale").encode("a dog")"#, "line 1: \"dog\" is not in the vocabulary");
    says(r#"text("tale").decode([0, 6])"#, "there is no word 6");
    says(r#"text("tale").decode(tensor([0.5]))"#, "0.5 is not an index");
    says(r#"let w = text("tale").train.windows(2, #{ length: 2 }); w.position = [0, 2];"#, "it has 2 windows");
    says(r#"let w = text("tale").train.windows(2, #{ length: 2 }); w.position = [1];"#, "[epoch, window]");
}
