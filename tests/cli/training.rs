//! From a cell to a trained network, as a user does it: the shipped scripts on small data, images of one's own, and
//! what is said where the input is wrong.

use crate::binary::{Ended, candlewick, folder_with};
use crate::scripts::{run, run_with, shipped};
use candlewick::run::{Entry, read};
use candlewick::space::SavedNetwork;
use image::{DynamicImage, GrayImage, RgbImage};
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// Runs a shipped script in `folder` with parameters.
pub fn script(folder: &Path, name: &str, out: &str, parameters: &[&str]) -> Ended {
    let path = shipped(name).display().to_string();
    let mut arguments = vec!["run", &path, "--out", out];
    arguments.extend(parameters.iter().flat_map(|parameter| ["--set", parameter]));
    candlewick(folder, &arguments)
}

fn journal(folder: &Path, run: &str) -> Vec<Entry> {
    read(&folder.join(run).join("journal.jsonl")).expect("the journal can be read")
}

fn numbers(journal: &[Entry], field: &str) -> Vec<f64> {
    journal.iter().filter_map(|entry| entry.get(field)?.as_f64()).collect()
}

/// The number that follows `before` in a text.
#[track_caller]
pub fn number_after(text: &str, before: &str) -> f64 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    let number: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    number.parse().unwrap_or_else(|_| panic!("no number after {before:?} in {text}"))
}

/// A bright bar on a dark ground, standing or lying, at a place that `index` chooses.
pub fn bar(upright: bool, index: u32, (width, height): (u32, u32), colour: bool) -> DynamicImage {
    let at = 1 + index % (if upright { width } else { height } - 3);
    let lit = |x, y| (at..at + 2).contains(if upright { &x } else { &y });
    let shade =
        |x: u32, y: u32| if lit(x, y) { 220 - (index % 40) as u8 } else { 20 + ((7 * x + 3 * y + index) % 9) as u8 };
    match colour {
        true => RgbImage::from_fn(width, height, |x, y| [shade(x, y), shade(x, y) / 2, 30].into()).into(),
        false => GrayImage::from_fn(width, height, |x, y| [shade(x, y)].into()).into(),
    }
}

/// Writes `count` images of each class into `folder/lying` and `folder/upright`.
pub fn bars(folder: &Path, counts: (u32, u32), size: (u32, u32), colour: bool) {
    for (class, count, upright) in [("lying", counts.0, false), ("upright", counts.1, true)] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for index in 0..count {
            bar(upright, index, size, colour).save(folder.join(class).join(format!("{index}.png"))).unwrap();
        }
    }
}

/// A network for the digits, saved by the training script after `epochs` epochs.
fn trained(epochs: &str) -> TempDir {
    let folder = tempdir().unwrap();
    let epochs = format!("epochs={epochs}");
    let parameters =
        ["data=digits", "genotype=DARTS_V1", "channels=6", "layers=5", "cutout=2", "auxiliary=0", "batch=32"];
    script(folder.path(), "train.rhai", "run", &[&parameters[..], &[&epochs]].concat()).shows(0, &[]);
    folder
}

#[test]
fn a_genotype_is_trained_saved_judged_and_asked() {
    let folder = trained("3");
    let log = journal(folder.path(), "run");
    let accuracies = numbers(&log, "valid_accuracy");
    assert_eq!(
        (accuracies.len(), numbers(&log, "valid_loss").len(), numbers(&log, "train_loss").len()),
        (3, 3, 3 * 45)
    );
    for (accuracy, error) in accuracies.iter().zip(numbers(&log, "test_error")) {
        assert!((1.0 - accuracy - error).abs() < 1e-12);
    }
    assert!(numbers(&log, "test_error_top5").iter().zip(numbers(&log, "test_error")).all(|(five, one)| *five <= one));
    assert_eq!(numbers(&log, "lr")[0], 0.025);
    for chart in ["train_loss-valid_loss-valid_accuracy", "test_error-test_error_top5", "cells"] {
        assert!(folder.path().join(format!("run/plots/{chart}.png")).is_file(), "{chart}");
    }

    // The two files are what the journal says they are.
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    assert!(best > 0.3, "it learns: {accuracies:?}");
    for (file, expected) in [("best", best), ("last", accuracies[2])] {
        let path = format!("run/{file}.safetensors");
        let saved = SavedNetwork::read(&folder.path().join(&path)).unwrap();
        assert_eq!(saved.about["test_accuracy"].as_f64(), Some(expected));
        let network = format!("network={path}");
        let judged = script(folder.path(), "evaluate.rhai", "judged", &[&network, "data=digits"]);
        judged.shows(0, &[]);
        assert_eq!(number_after(&judged.stdout, "accuracy"), expected, "{}", judged.stdout);
        assert!(judged.stdout.contains("on 359 images"), "{}", judged.stdout);
    }

    // A picture of another size and in colour is brought to what the network takes.
    RgbImage::from_fn(20, 24, |x, y| [(9 * x) as u8, (8 * y) as u8, 40].into())
        .save(folder.path().join("a.png"))
        .unwrap();
    bar(true, 3, (8, 8), false).save(folder.path().join("b.png")).unwrap();
    let asked = script(
        folder.path(),
        "predict.rhai",
        "asked",
        &["network=run/best.safetensors", "images=a.png,b.png", "top=3"],
    );
    asked.shows(0, &[]);
    let lines: Vec<&str> = asked.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", asked.stdout);
    assert!(lines[2].starts_with("as a table: ") && lines[2].ends_with("predictions.csv"), "{}", lines[2]);
    for (line, name) in lines.iter().zip(["a.png: ", "b.png: "]) {
        let answer = line.split(name).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
        let pairs: Vec<(&str, f64)> = answer
            .split(", ")
            .map(|pair| pair.split_once(' ').map(|(class, p)| (class, p.parse().unwrap())).unwrap())
            .collect();
        assert_eq!(pairs.len(), 3);
        assert!(pairs.iter().all(|(class, p)| class.len() == 1 && (0.0..=1.0).contains(p)), "{line}");
        assert!(pairs[0].1 >= pairs[1].1 && pairs[1].1 >= pairs[2].1 && pairs.iter().map(|p| p.1).sum::<f64>() <= 1.0);
    }
}

#[test]
fn a_search_s_journal_a_file_and_a_text_give_the_cell() {
    let folder = tempdir().unwrap();
    let text = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat=range(2, 3), \
                reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], reduce_concat=range(2, 3))";
    std::fs::write(folder.path().join("cell.txt"), format!("# mine\nMINE = {text}\n")).unwrap();
    let line = |genotype: &str| format!("{{\"epoch\":0,\"step\":0,\"genotype\":{genotype},\"time\":1.0}}\n");
    let json = r#"{"normal":[["sep_conv_3x3",0],["skip_connect",1]],"normal_concat":[2],
                   "reduce":[["max_pool_3x3",0],["max_pool_3x3",1]],"reduce_concat":[2]}"#
        .replace('\n', "");
    let old = json.replace("sep_conv_3x3", "sep_conv_5x5");
    std::fs::write(folder.path().join("journal.jsonl"), [line(&old), line(&json)].concat()).unwrap();
    std::fs::write(folder.path().join("empty.jsonl"), "{\"epoch\":0,\"step\":0,\"time\":1.0}\n").unwrap();
    let script = format!(
        "let cell = genotype(\"{text}\");\n\
         assert(genotype(\"cell.txt\") == cell);\n\
         assert(genotype(\"journal.jsonl\") == cell);\n\
         try {{ genotype(\"empty.jsonl\"); }} catch (error) {{ print(error.message); }}"
    );
    std::fs::write(folder.path().join("s.rhai"), script).unwrap();
    let ended = candlewick(folder.path(), &["run", "s.rhai"]);
    ended.shows(0, &[]);
    assert!(ended.stdout.contains("empty.jsonl: no genotype was logged in this run"), "{}", ended.stdout);
}

#[test]
fn a_trained_network_can_be_trained_on_and_a_file_that_does_not_fit_is_refused() {
    let small = "let data = images(\"digits\");\n\
                 let net = discrete(genotype(\"DARTS_V1\"), #{ images: data, channels: 2, layers: 3 });\n\
                 net.save(\"a/net.safetensors\", #{ about: #{ epoch: 1 } });\n";
    run(&format!(
        "{small}let again = load_network(\"a/net.safetensors\");\n\
         assert(again.genotype == genotype(\"DARTS_V1\") && again.class_names == data.classes);\n\
         let train = data.train.batches(64);\n\
         let w_opt = sgd(again.weights, #{{ lr: 0.05, momentum: 0.9 }});\n\
         for epoch in 0..6 {{ for batch in train.epoch(epoch) {{ w_opt.step(weight_gradient(again, batch)); }} }}\n\
         assert(evaluate(again, data.test).loss < evaluate(net, data.test).loss);\n\
         net.load(\"a/net.safetensors\");"
    ))
    .shows(0, &[]);
    run(&format!(
        "{small}let other = discrete(genotype(\"DARTS_V2\"), #{{ images: data, channels: 2, layers: 3 }});\n\
         other.load(\"a/net.safetensors\");"
    ))
    .shows(2, &["holds another network than this one: DARTS_V1 and DARTS_V2"]);
    run(&format!("{small}net.save(\"../net.safetensors\");")).shows(2, &["may not write"]);
    run(&format!("{small}load_network(\"b.safetensors\");"))
        .shows(2, &["there is no file or folder \"b.safetensors\""]);
    run("let net = supernet(#{ channels: 1, size: 8, classes: 2 }, #{ channels: 2, layers: 3 });\n\
         net.save(\"net.safetensors\");")
    .shows(2, &["only networks that discrete(…) or densenet(…) made", "save_tensors"]);
    run(&format!("{small}net.save(\"b.safetensors\", #{{ classes: [\"one\", \"two\"] }});"))
        .shows(2, &["2 class names for a network of 10 classes"]);
}

#[test]
fn genotypes_that_make_no_cell_are_refused_with_what_would_be_right() {
    let data = ["data=digits", "auxiliary=0", "cutout=0"];
    let train = |genotype: &str| {
        let genotype = format!("genotype={genotype}");
        script(tempdir().unwrap().path(), "train.rhai", "run", &[&data[..], &[&genotype]].concat())
    };
    train("DARTS_V3").shows(2, &["there is no genotype \"DARTS_V3\"", "did you mean \"DARTS_V"]);
    let cell = |pair: &str| {
        format!(
            "Genotype(normal=[{pair}, ('skip_connect', 1)], normal_concat=range(2, 3), reduce=[('max_pool_3x3', 0), \
             ('max_pool_3x3', 1)], reduce_concat=range(2, 3))"
        )
    };
    train(&cell("('sep_conv_3x3', 2)"))
        .shows(2, &["normal: ('sep_conv_3x3', 2) feeds state 2, which can only read states 0 to 1"]);
    train(&cell("('sep_conv_3x4', 0)")).shows(2, &["sep_conv_3x4", "did you mean \"sep_conv_3x3\"?"]);
    train("cell.txt").shows(2, &["there is no file or folder \"cell.txt\""]);
}

#[test]
fn classes_and_sizes_that_do_not_fit_are_refused() {
    run("let data = images(\"digits\");\n\
         let net = discrete(genotype(\"DARTS_V1\"), #{ images: data, classes: 4, channels: 2, layers: 3 });")
    .shows(2, &["the images have 10 classes, but `classes` is 4"]);
    let four = "let data = images(\"digits\");\n\
                let net = discrete(genotype(\"DARTS_V1\"), #{ images: #{ channels: 1, size: 8, classes: 4 }, \
                channels: 2, layers: 3 });\n";
    run(&format!("{four}evaluate(net, data.test);")).shows(2, &["the network has only 4 classes"]);
    run(&format!("{four}weight_gradient(net, data.train.batches(64).next());"))
        .shows(2, &["the network has only 4 classes"]);
    run(&format!("{four}predict(net, \"a.png\");")).shows(2, &["does not know what its classes are called"]);

    // 10 is even, but 5 is not: the second reduction cannot halve it.
    run("let data = images(\"digits\", #{ size: 10 });\n\
         discrete(genotype(\"DARTS_V1\"), #{ images: data, channels: 2, layers: 3 });")
    .shows(2, &["cell 2 (reduction) needs an even height and width to halve, but its input is 5×5", "multiples of 4"]);
    run("let data = images(\"digits\");\n\
         discrete(genotype(\"DARTS_V1\"), #{ images: data, channels: 2, layers: 3, auxiliary: true });")
    .shows(2, &["the auxiliary head takes maps of at least 8×8", "auxiliary: false"]);
}

#[test]
fn images_are_brought_to_what_a_saved_network_expects() {
    let folder = folder_with(
        "let data = images(\"bars\");\n\
         let net = discrete(genotype(\"DARTS_V1\"), #{ images: data, channels: 2, layers: 3 });\n\
         net.save(\"net.safetensors\");\n\
         let net = load_network(\"net.safetensors\");\n\
         // Only one of the classes, of another size, in colour, all of them to judge by.\n\
         let some = images(\"some\", #{ like: net, test: 1 });\n\
         assert(some.train.len() == 0 && some.test.len() == 3 && some.size == [8, 8] && some.channels == 1);\n\
         assert(some.classes == data.classes && some.test.class_counts() == [0, 3]);\n\
         let score = evaluate(net, some.test);\n\
         assert(score.examples == 3 && score.class_accuracy[0] == () && score.class_accuracy[1] == score.accuracy);\n\
         // A network knows how its images were scaled, whatever the set's own mean is.\n\
         let own = images(\"bars\", #{ like: net });\n\
         assert(evaluate(net, own.test) == evaluate(net, data.test));\n\
         try { evaluate(net, images(\"digits\").test); } catch (error) { print(error.message); print(error.hint); }\n\
         try { images(\"other\", #{ like: net }); } catch (error) { print(error.message); print(error.hint); }\n\
         try { images(\"bars\", #{ like: net, size: 4 }); } catch (error) { print(error.message); }\n",
    );
    bars(&folder.path().join("bars"), (10, 10), (8, 8), false);
    bars(&folder.path().join("some"), (0, 3), (11, 9), true);
    std::fs::remove_dir(folder.path().join("some/lying")).unwrap();
    bars(&folder.path().join("other"), (2, 2), (8, 8), false);
    std::fs::rename(folder.path().join("other/upright"), folder.path().join("other/uprigth")).unwrap();
    let ended = candlewick(folder.path(), &["run", "s.rhai"]);
    ended.shows(0, &[]);
    for text in [
        "the network's 2 classes are lying, upright; these images have 10: 0, 1, 2",
        "images(source, #{ like: net })",
        "other has a class \"uprigth\", which the network does not know",
        "did you mean \"upright\"?",
        "`like` says which size and channels images get",
    ] {
        assert!(ended.stdout.contains(text), "no {text:?} in {}", ended.stdout);
    }
}

#[test]
fn images_that_cannot_be_read_are_named_counted_or_left_out() {
    let folder = tempdir().unwrap();
    bars(&folder.path().join("bars"), (10, 10), (8, 8), false);
    std::fs::write(folder.path().join("bars/lying/3.png"), "no png at all").unwrap();
    std::fs::write(
        folder.path().join("bars/upright/4.png"),
        &std::fs::read(folder.path().join("bars/upright/5.png")).unwrap()[..60],
    )
    .unwrap();
    let script = |options: &str| {
        std::fs::write(
            folder.path().join("s.rhai"),
            format!("let data = images(\"bars\"{options});\nprint(data.train.len() + data.test.len());"),
        )
        .unwrap();
        candlewick(folder.path(), &["run", "s.rhai"])
    };
    script("").shows(2, &["2 of 20 images cannot be read", "lying/3.png", "upright/4.png", "skip_unreadable: true"]);
    let left = script(", #{ skip_unreadable: true }");
    left.shows(0, &["left out: 2 of 20 images cannot be read", "lying/3.png"]);
    assert_eq!(left.stdout.trim(), "18");
    // Where nothing is left of a class there is nothing to go on with.
    for index in 0..10 {
        std::fs::write(folder.path().join(format!("bars/lying/{index}.png")), "no png at all").unwrap();
    }
    script(", #{ skip_unreadable: true }").shows(2, &["class \"lying\" has no training image"]);

    let net = trained("1");
    std::fs::write(net.path().join("broken.png"), "no png at all").unwrap();
    let asked = |images: &str| {
        let images = format!("images={images}");
        self::script(net.path(), "predict.rhai", "asked", &["network=run/best.safetensors", &images])
    };
    asked("broken.png").shows(2, &["broken.png: ", "PNG, JPEG"]);
    asked("none.png").shows(2, &["there is no file or folder \"none.png\""]);
    asked("run").shows(2, &["there is no image file in this folder"]);
}

#[test]
fn searched_cells_meet_random_ones_of_the_same_size() {
    let folder = tempdir().unwrap();
    let ended = script(
        folder.path(),
        "darts_against_random.rhai",
        "run",
        &[
            "data=digits",
            "limit=200",
            "trials=2",
            "search_epochs=1",
            "search_channels=2",
            "search_layers=3",
            "train_epochs=2",
            "channels=4",
            "layers=3",
        ],
    );
    ended.shows(0, &[]);
    let log = journal(folder.path(), "run");
    let of = |kind: &str, field: &str| -> Vec<f64> {
        let named = |entry: &&Entry| entry.get("kind").and_then(|k| k.as_str()) == Some(kind);
        log.iter().filter(named).filter_map(|entry| entry.get(field)?.as_f64()).collect()
    };
    let (ours, chance) = (of("searched", "parameters"), of("random", "parameters"));
    assert_eq!((ours.len(), chance.len()), (2, 2));
    assert!(ours.iter().zip(&chance).all(|(a, b)| (a - b).abs() <= 0.1 * a), "{ours:?} {chance:?}");
    let results = of("searched", "test_accuracy");
    let mean = (results[0] + results[1]) / 2.0;
    let deviation = (results[0] - results[1]).abs() / 2f64.sqrt();
    assert!(ended.stdout.contains(&format!("mean     {mean:.4} ± {deviation:.4}")), "{}", ended.stdout);
    assert!(folder.path().join("run/plots/test_accuracy.png").is_file());
    assert!(folder.path().join("run/searched-1.safetensors").is_file());
}

#[test]
fn random_cells_are_cells_of_the_space_and_differ() {
    run_with(
        "let seen = [];\n\
         let inputs = [];\n\
         for i in 0..200 {\n\
         \x20   let cell = random_genotype();\n\
         \x20   for list in [cell.normal, cell.reduce] {\n\
         \x20       assert(list.len() == 8);\n\
         \x20       for (pair, k) in list {\n\
         \x20           assert(pair[0] != \"none\" && pair[1] < k / 2 + 2);\n\
         \x20           if k % 2 == 1 { assert(list[k - 1][1] != pair[1]); }\n\
         \x20           if !seen.contains(pair[0]) { seen.push(pair[0]); }\n\
         \x20           if k > 5 && !inputs.contains(pair[1]) { inputs.push(pair[1]); }\n\
         \x20       }\n\
         \x20   }\n\
         }\n\
         assert(seen.len() == 7 && inputs.len() == 5);\n\
         assert(random_genotype(#{ nodes: 1 }).normal.len() == 2);\n\
         print(random_genotype());",
        &["--seed", "3"],
    )
    .shows(0, &[]);
    run("random_genotype(#{ ops: [\"none\"] });").shows(2, &["cannot be drawn"]);
    let cell = |seed| run_with("print(random_genotype());", &["--seed", seed]).stdout;
    assert!(cell("1") == cell("1") && cell("1") != cell("2"));
}

#[test]
fn a_contact_sheet_shows_every_genotype_by_name() {
    let folder = tempdir().unwrap();
    script(folder.path(), "contact_sheet.rhai", "run", &[]).shows(0, &[]);
    let mut text = String::new();
    for entry in std::fs::read_dir(folder.path().join("run/plots")).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("svg") => text.push_str(&std::fs::read_to_string(&path).unwrap()),
            _ => assert!(image::open(&path).unwrap().width() > 2000),
        }
    }
    for published in candlewick::space::catalogue::published() {
        assert!(text.contains(&format!(">\n{}\n<", published.name)), "{}", published.name);
    }
    run("draw_all([\"DARTS_V3\"], \"plots/x\");").shows(2, &["there is no genotype \"DARTS_V3\""]);
    run("draw_all([\"DARTS_V2\"], \"../x\");").shows(2, &["may not write"]);
    run("let run = start_run();\nrun.plot_groups(\"../x\", #{ a: [1.0] });")
        .shows(2, &["is not a name for a chart's file"]);
}
