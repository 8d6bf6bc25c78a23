//! Text is read as it says, and its columns and windows are those of the literature.

use crate::shared::reference;
use candlewick::data::text::*;
use candlewick::random::Seed;
use std::fs::write;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// A folder with these three texts.
fn folder(train: impl AsRef<[u8]>, valid: impl AsRef<[u8]>, test: impl AsRef<[u8]>) -> TempDir {
    let folder = tempdir().unwrap();
    write(folder.path().join("train.txt"), train).unwrap();
    write(folder.path().join("valid.txt"), valid).unwrap();
    write(folder.path().join("test.txt"), test).unwrap();
    folder
}

fn open(path: &Path, options: &TextOptions) -> candlewick::Result<Text> {
    read(&TextSource::Path(path.into()), options)
}

/// The tokens of a training text that stands alone in a folder of three.
fn tokens_with(train: impl AsRef<[u8]>, options: &TextOptions) -> Vec<String> {
    let folder = folder(&train, &train, &train);
    let text = open(folder.path(), options).unwrap();
    text.train.ids().iter().map(|id| text.vocabulary().word(*id as usize).unwrap().to_string()).collect()
}

fn tokens(train: impl AsRef<[u8]>) -> String {
    tokens_with(train, &TextOptions::default()).join(" ")
}

fn characters() -> TextOptions {
    TextOptions { unit: Unit::Character, ..Default::default() }
}

fn apart() -> TextOptions {
    TextOptions { punctuation: Some(Punctuation::Apart), ..Default::default() }
}

/// The message and hint of a refusal, which must be the user's to mend.
#[track_caller]
fn refusal(result: candlewick::Result<Text>) -> String {
    let error = result.expect_err("this should be refused");
    assert_eq!(error.exit_code(), 2, "{error}");
    format!("{} / {}", error.message, error.hint.expect("a hint"))
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is missing in: {text}");
    }
}

#[test]
fn penn_treebank_has_the_counts_of_the_literature() {
    let Some(folder) = reference("data/ptb") else { return };
    let text = open(&folder, &TextOptions::default()).unwrap();
    assert_eq!([text.train.len(), text.valid.len(), text.test.len()], [929_589, 73_760, 82_430]);
    assert_eq!(text.vocabulary().len(), 10_000);
    assert_eq!(text.name(), "ptb");
    let beginning: Vec<usize> = text.train.ids()[25..30].iter().map(|id| *id as usize).collect();
    assert_eq!(text.decode(&beginning).unwrap(), "pierre <unk> N years old");
}

#[test]
fn a_line_gives_its_words_and_one_end() {
    assert_eq!(tokens("a b\nb c\n"), "a b <eos> b c <eos>");
    // Without the last line feed, with carriage returns, with a byte-order mark, with white space of all kinds.
    assert_eq!(tokens("a b\nb c"), "a b <eos> b c <eos>");
    assert_eq!(tokens("a b\r\nb c\r\n"), "a b <eos> b c <eos>");
    assert_eq!(tokens("\u{feff}a b\nb c\n"), "a b <eos> b c <eos>");
    assert_eq!(tokens(" a\t b \n\u{3000}b\u{a0}c\n"), "a b <eos> b c <eos>");
    // Empty lines are line ends, as in WikiText.
    assert_eq!(tokens("a\n\n \nb\n"), "a <eos> <eos> <eos> b <eos>");
    // Text without spaces: a line is a word.
    assert_eq!(tokens("吾輩は猫である。\n名前はまだ無い。\n"), "吾輩は猫である。 <eos> 名前はまだ無い。 <eos>");
}

#[test]
fn characters_are_unicode_s_and_white_space_is_some() {
    let of = |train: &str| tokens_with(train, &characters()).join("|");
    assert_eq!(of("ab c\r\nné"), "a|b| |c|<eos>|n|é|<eos>");
    assert_eq!(of("猫だ\n"), "猫|だ|<eos>");
}

#[test]
fn punctuation_comes_apart_on_demand() {
    let of = |train: &str| tokens_with(train, &apart()).join("|");
    assert_eq!(of("\"Oh! my dear,\" said he--yes."), "\"|Oh|!|my|dear|,|\"|said|he|--|yes|.|<eos>");
    assert_eq!(of("don't well-bred 'tis (so-called)"), "don't|well-bred|'|tis|(|so-called|)|<eos>");
    assert_eq!(of("a <unk>, “b’s” …"), "a|<unk>|,|“|b’s|”|…|<eos>");
    let small = TextOptions { lowercase: true, ..apart() };
    assert_eq!(tokens_with("The END.", &small).join("|"), "the|end|.|<eos>");
}

#[test]
fn ids_go_back_to_text() {
    let train = "It is so (mostly), my dear.\nWhy? It is!\n";
    let folder = folder(train, train, train);
    for options in [TextOptions::default(), apart(), characters()] {
        let text = open(folder.path(), &options).unwrap();
        let ids: Vec<usize> = text.encode(train).unwrap().into_iter().map(|id| id as usize).collect();
        assert_eq!(ids, text.train.ids().iter().map(|id| *id as usize).collect::<Vec<_>>());
        assert_eq!(text.decode(&ids).unwrap(), train);
    }
    let text = open(folder.path(), &TextOptions::default()).unwrap();
    let error = text.encode("Why? not").unwrap_err();
    says(&error.message, &["the text given, line 1: \"not\" is not in the vocabulary"]);
    says(&text.decode(&[99]).unwrap_err().hint.unwrap(), &["counted from 0"]);
}

#[test]
fn the_most_frequent_words_stay() {
    let train = "a a a b b c d d\n";
    let folder = folder(train, "e a\n", "a\n");
    let words = |options: TextOptions| open(folder.path(), &options).unwrap().vocabulary().words().join(" ");
    let size = |size| TextOptions { vocabulary: Some(size), ..Default::default() };
    // Among equals the first to come.
    assert_eq!(words(size(100)), "<eos> <unk> a b d c");
    assert_eq!(words(size(4)), "<eos> <unk> a b");
    assert_eq!(words(TextOptions { least: Some(2), ..Default::default() }), "<eos> <unk> a b d");
    let text = open(folder.path(), &size(4)).unwrap();
    assert_eq!(text.train.ids(), [2, 2, 2, 3, 3, 1, 1, 1, 0]);
    assert_eq!(text.valid.ids(), [1, 2, 0]);
    // The vocabulary of another text.
    let given = ["<eos>", "a", "<unk>", "d"].map(String::from).to_vec();
    let text = open(folder.path(), &TextOptions { words: Some(given), ..Default::default() }).unwrap();
    assert_eq!(text.train.ids(), [1, 1, 1, 2, 2, 2, 3, 3, 0]);
}

#[test]
fn a_word_that_a_closed_vocabulary_lacks_is_named_with_its_place() {
    let folder = folder("the market rose\n", "the market\nthe markets fell\n", "the\n");
    let text = refusal(open(folder.path(), &TextOptions::default()));
    says(&text, &["valid.txt, line 2: \"markets\" is not in", "the nearest that is: \"market\"", "least: 2"]);
    // An <unk> of the training text does not open it: the text was made with another vocabulary.
    write(folder.path().join("train.txt"), "the <unk> rose\n").unwrap();
    says(&refusal(open(folder.path(), &TextOptions::default())), &["valid.txt, line 1: \"market\""]);
}

#[test]
fn one_file_is_cut_and_the_folder_s_files_are_found_by_name() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("book.txt");
    let lines: String = (0..100).map(|line| format!("w{} x\n", line % 7)).collect();
    write(&file, &lines).unwrap();
    let text = open(&file, &TextOptions::default()).unwrap();
    assert_eq!([text.train.len(), text.valid.len(), text.test.len()], [270, 15, 15]);
    assert_eq!(text.name(), "book.txt");
    says(
        &refusal(open(folder.path(), &TextOptions::default())),
        &["no train text; it holds book.txt", "name the file"],
    );
    for names in
        [["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"], ["a-Training.raw", "a-dev.raw", "a_test"]]
    {
        let folder = tempdir().unwrap();
        names.iter().for_each(|name| write(folder.path().join(name), "a b\n").unwrap());
        write(folder.path().join("readme.md"), "training notes").unwrap();
        assert_eq!(open(folder.path(), &TextOptions::default()).unwrap().train.len(), 3);
        std::fs::remove_file(folder.path().join(names[1])).unwrap();
        says(&refusal(open(folder.path(), &TextOptions::default())), &["there is no valid text", "ptb.train.txt"]);
    }
}

#[test]
fn bad_files_are_named() {
    let all = TextOptions::default();
    says(&refusal(open(Path::new("no/such"), &all)), &["there is no file or folder no/such", "a text file, a folder"]);
    says(&refusal(open(Path::new("austin"), &all)), &["did you mean \"austen\"?"]);
    let empty = tempdir().unwrap();
    says(&refusal(open(empty.path(), &all)), &["there is no train text; it holds no files"]);
    let latin = folder("one\ntwo\nna\u{ef}ve".chars().map(|c| c as u8).collect::<Vec<u8>>(), "one\n", "one\n");
    says(&refusal(open(latin.path(), &all)), &["train.txt: line 3 is not UTF-8 (byte 0xef)", "save it as UTF-8"]);
    let wide = folder([0xff, 0xfe, b'a', 0], "a\n", "a\n");
    says(&refusal(open(wide.path(), &all)), &["train.txt: this is UTF-16"]);
    says(&refusal(open(folder("a\n", "", "a\n").path(), &all)), &["valid.txt: this file is empty"]);
    says(&refusal(open(folder("\u{feff}", "a\n", "a\n").path(), &all)), &["train.txt: this file is empty"]);
    says(&refusal(open(folder("\n \n", "\n", "\n").path(), &all)), &["train.txt: the training text has no words"]);
    let twice = folder("a\n", "a\n", "a\n");
    write(twice.path().join("train.raw"), "a\n").unwrap();
    says(&refusal(open(twice.path(), &all)), &["both train.raw and train.txt could be the train text"]);
    let short = tempdir().unwrap();
    write(short.path().join("short.txt"), "a b c\n").unwrap();
    says(&refusal(open(&short.path().join("short.txt"), &all)), &["4 tokens cannot be cut into three texts"]);
    let options = |options: TextOptions| refusal(read(&TextSource::Austen, &options));
    says(&options(TextOptions { vocabulary: Some(2), ..all.clone() }), &["at least 3"]);
    says(&options(TextOptions { least: Some(0), ..all.clone() }), &["at least once"]);
    says(&options(TextOptions { punctuation: Some(Punctuation::Apart), ..characters() }), &["is about words"]);
    let words = |words: &[&str]| Some(words.iter().map(|word| word.to_string()).collect());
    says(&options(TextOptions { words: words(&["<eos>"]), least: Some(2), ..all.clone() }), &["either `words`"]);
    let twice = read(&TextSource::Austen, &TextOptions { words: words(&["<eos>", "a", "a"]), ..all.clone() });
    says(&twice.unwrap_err().message, &["has \"a\" twice"]);
    let lacks = read(&TextSource::Austen, &TextOptions { words: words(&["a", "<unk>"]), ..all });
    says(&lacks.unwrap_err().message, &["lacks <eos>"]);
}

#[test]
fn the_novel_is_whole() {
    let text = read(&TextSource::Austen, &TextOptions::default()).unwrap();
    let beginning: Vec<usize> = text.train.ids()[..38].iter().map(|id| *id as usize).collect();
    let decoded = text.decode(&beginning).unwrap();
    says(&decoded, &["It is a truth universally acknowledged, that a single man"]);
    assert!((6..9).contains(&(text.train.len() / 20_000)), "{}", text.train.len());
    let unknown = text.valid.ids().iter().filter(|id| **id == 1).count();
    assert!(unknown * 20 < text.valid.len(), "{unknown} unknown words of {}", text.valid.len());
}

/// A stream of the numbers 0, 1, 2 … as words, whose ids are the numbers + 1.
fn numbers(count: usize) -> Stream {
    let folder = tempdir().unwrap();
    let line: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    for part in ["train", "valid", "test"] {
        write(folder.path().join(part), line.join(" ")).unwrap();
    }
    open(folder.path(), &TextOptions::default()).unwrap().train.take(count).unwrap()
}

fn windows(count: usize, batch: usize, length: usize, jitter: Jitter) -> Windows {
    Windows::new(&numbers(count), batch, WindowOptions { length, jitter }, Seed(5), "windows").unwrap()
}

fn values(tensor: &candle_core::Tensor) -> Vec<Vec<u32>> {
    tensor.to_vec2().unwrap()
}

#[test]
fn columns_are_consecutive_parts_of_the_stream() {
    let stream = numbers(11);
    assert_eq!(stream.columns(3).unwrap(), [1, 4, 7, 2, 5, 8, 3, 6, 9]);
    let cut = windows(11, 3, 2, Jitter::None);
    assert_eq!((cut.rows(), cut.dropped()), (3, 2));
    let window = cut.next().unwrap();
    assert_eq!(values(&window.x), [[1, 4, 7], [2, 5, 8]]);
    assert_eq!(values(&window.y), [[2, 5, 8], [3, 6, 9]]);
    let refused = |batch, length| {
        let options = WindowOptions { length, jitter: Jitter::None };
        match Windows::new(&stream, batch, options, Seed(0), "windows") {
            Ok(_) => panic!("accepted"),
            Err(error) => format!("{error} / {}", error.hint.clone().unwrap_or_default()),
        }
    };
    says(
        &refused(3, 3),
        &["a window of 3 tokens, each with the next one, does not fit into columns of 3", "from 1 to 2 fits"],
    );
    says(&refused(3, 0), &["from 1 to 2 fits"]);
    says(&refused(6, 1), &["11 tokens cannot be cut into 6 columns", "1 to 5 columns"]);
    says(&refused(0, 1), &["into 0 columns"]);
    assert!(stream.take(12).is_err() && stream.take(0).is_err());
}

#[test]
fn fixed_windows_predict_every_token_but_the_first() {
    let cut = windows(101, 2, 7, Jitter::None);
    let mut expected = 1;
    let lengths: Vec<usize> = (cut.epoch(3).map(Result::unwrap))
        .map(|window| {
            assert_eq!(window.start + 1, expected as usize);
            for (x, y) in values(&window.x).iter().zip(values(&window.y)) {
                assert_eq!((x[0], x[1], y[0], y[1]), (expected, expected + 50, expected + 1, expected + 51));
                expected += 1;
            }
            window.length()
        })
        .collect();
    assert_eq!(lengths, [7, 7, 7, 7, 7, 7, 7]);
    assert_eq!((expected, cut.len(3)), (50, 7));
    // One step is left.
    let lengths: Vec<usize> = windows(51, 1, 7, Jitter::None).epoch(0).map(|w| w.unwrap().length()).collect();
    assert_eq!(lengths, [7, 7, 7, 7, 7, 7, 7, 1]);
}

#[test]
fn jittered_lengths_are_those_of_darts() {
    let lengths = |jitter, epochs: u64| -> Vec<usize> {
        let cut = windows(20_000, 1, 35, jitter);
        // The last one of an epoch is cut short by the text's end.
        let of_epoch = |epoch| {
            let all: Vec<usize> = cut.epoch(epoch).map(|window| window.unwrap().length()).collect();
            assert_eq!(all.len(), cut.len(epoch));
            assert!(all.iter().all(|length| *length > 1));
            all[..all.len() - 1].to_vec()
        };
        (0..epochs).flat_map(of_epoch).collect()
    };
    let search = lengths(Jitter::Search, 20);
    let halves = search.iter().filter(|length| **length == 17).count();
    assert_eq!(search.iter().filter(|length| **length == 35).count() + halves, search.len());
    // One in twenty of some 11,700.
    let share = halves as f64 / search.len() as f64;
    assert!((share - 0.05).abs() < 0.01, "{share}");
    let evaluation = lengths(Jitter::Evaluation, 20);
    assert!(evaluation.iter().all(|length| (5..=55).contains(length)));
    // Of normal numbers around 35 (in one of twenty around 17.5), cut to whole ones: 0.95 · 34.5 + 0.05 · 17.
    let mean = evaluation.iter().sum::<usize>() as f64 / evaluation.len() as f64;
    assert!((mean - 33.6).abs() < 0.3, "{mean}");
    let spread = |length: &usize| (*length as f64 - mean).powi(2);
    let deviation = (evaluation.iter().map(spread).sum::<f64>() / evaluation.len() as f64).sqrt();
    // √(25 + 0.95 · 0.05 · 17.5²)
    assert!((deviation - 6.3).abs() < 0.3, "{deviation}");
}

#[test]
fn windows_are_a_function_of_seed_and_position() {
    let cut = || windows(3000, 4, 20, Jitter::Evaluation);
    let taken = cut();
    let mut seen = vec![];
    for _ in 0..100 {
        let position = taken.position();
        let window = taken.next().unwrap();
        seen.push((position, window.start, values(&window.x)));
    }
    assert!(seen.last().unwrap().0.epoch >= 2);
    for (position, start, x) in seen.iter().rev() {
        let again = cut();
        again.set_position(*position).unwrap();
        let window = again.next().unwrap();
        assert_eq!((window.start, &values(&window.x)), (*start, x));
    }
    let first: Vec<usize> = cut().epoch(0).map(|window| window.unwrap().length()).collect();
    let second: Vec<usize> = cut().epoch(1).map(|window| window.unwrap().length()).collect();
    assert_ne!(first, second);
    assert_eq!(first, cut().epoch(0).map(|window| window.unwrap().length()).collect::<Vec<_>>());
    let error = cut().set_position(WindowPosition { epoch: 0, index: 9999 }).unwrap_err();
    says(&error.message, &["there is no window 9999 in epoch 0"]);
    says(&error.hint.unwrap(), &[&format!("it has {} windows", first.len())]);
}

#[test]
fn a_search_s_validation_window_stands_where_training_does() {
    let valid = windows(100, 2, 35, Jitter::None);
    // 50 rows: places are taken mod 49, and the last windows are short.
    for (start, own, length) in [(0, 0, 35), (48, 48, 1), (49, 0, 35), (20, 20, 29), (49 * 7 + 14, 14, 35)] {
        let window = valid.at(start).unwrap();
        assert_eq!((window.start, window.length()), (own, length), "at {start}");
        assert_eq!(values(&window.x)[0][1], own as u32 + 51);
    }
    assert_eq!(valid.position(), WindowPosition::default());
}
