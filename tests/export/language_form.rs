//! A language model's file, read back: inputs and outputs, names, metadata; and what is refused.

use super::language_models::{cases, exported, onnx, own_step, recipe, settled};
use super::networks::noise;
use super::read_back::{count, described, numbers, read_back};
use crate::binary::{candlewick, folder_with};
use candlewick::export::proto::{ModelProto, NodeProto, ValueInfoProto};
use candlewick::export::recurrent::{LanguageOptions, LanguageSource, Rows, model};
use candlewick::script::ExportedLanguage;
use candlewick::space::recurrent::{CellRecipe, recurrent_cell};
use prost::Message;

fn lines(values: &[ValueInfoProto]) -> Vec<String> {
    let line = |(name, kind, dims): (String, i32, Vec<String>)| format!("{name}: {kind} {}", dims.join(" × "));
    values.iter().map(|value| line(described(value))).collect()
}

fn metadata<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    model.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

#[test]
fn a_file_holds_every_weight_once_by_its_name() {
    for case in cases() {
        let file = read_back(&onnx(&case.net));
        let graph = file.graph.unwrap();
        let flat = case.net.weights().detached().to_vec1::<f32>().unwrap();
        for weight in case.net.table() {
            let find = |tensor: &&candlewick::export::proto::TensorProto| tensor.name == weight.name;
            let tensor = graph.initializer.iter().find(find).unwrap_or_else(|| panic!("{} is missing", weight.name));
            assert_eq!(tensor.dims, weight.shape.iter().map(|&dim| dim as i64).collect::<Vec<_>>(), "{}", weight.name);
            assert_eq!(numbers(tensor), flat[weight.range()], "{}", weight.name);
        }
        // Nothing else of that size: a norm's statistics, shapes and single constants.
        let large = graph.initializer.iter().filter(|tensor| tensor.dims.len() > 1).count();
        assert_eq!(large, case.net.table().iter().filter(|weight| weight.shape.len() > 1).count(), "{}", case.name);
    }
}

#[test]
fn inputs_and_outputs_are_named_by_layer_and_state() {
    let net = settled(recipe(CellRecipe::Lstm, 5, &[9, 6]));
    let file = read_back(&onnx(&net)).graph.unwrap();
    let states = |name: &str| {
        [(0, "h", 9), (0, "c", 9), (1, "h", 6), (1, "c", 6)]
            .map(|(layer, state, width)| format!("{name}.{layer}.{state}: 1 batch × {width}"))
    };
    assert_eq!(lines(&file.input), [&["words: 7 time × batch".to_string()][..], &states("hidden")].concat());
    let log_probabilities = "log_probabilities: 1 time × batch × 17".to_string();
    assert_eq!(lines(&file.output), [&[log_probabilities][..], &states("hidden_out")].concat());
    assert_eq!((count(&file, "Scan"), count(&file, "Tanh"), file.name.as_str()), (2, 4, "model"));

    let fixed = ExportedLanguage { length: Some(35), ..exported(&net) }.onnx("fixed".into()).unwrap();
    let fixed = read_back(&fixed).graph.unwrap();
    assert_eq!(lines(&fixed.input)[0], "words: 7 35 × batch");
    assert_eq!(lines(&fixed.output)[0], "log_probabilities: 1 35 × batch × 17");
    let refused = ExportedLanguage { length: Some(0), ..exported(&net) }.onnx("none".into()).unwrap_err();
    assert!(refused.message.contains("`length`"), "{}", refused.message);
}

#[test]
fn a_step_has_nothing_that_nobody_needs_and_no_name_twice() {
    let own = own_step();
    let file = read_back(&model(&own.source(), &LanguageOptions::default()).unwrap()).graph.unwrap();
    assert_eq!(file.name, "language_model");
    // Of the three tanh the one that nothing depends on is left out.
    assert_eq!(count(&file, "Tanh"), 2);
    // Two norms of one name have one set of statistics.
    let means: Vec<_> = file.initializer.iter().filter(|tensor| tensor.name.contains("running_mean")).collect();
    assert_eq!((count(&file, "BatchNormalization"), means.len()), (3, 2));
    let own_mean = own.graph.norms()[0].mean();
    assert_eq!(numbers(means[0]), own.statistics[own_mean]);
    let scan: Vec<&NodeProto> = file.node.iter().filter(|node| node.op_type == "Scan").collect();
    assert_eq!(scan[0].input, ["hidden.0.h", "hidden.0.x", "hidden.0.words", "vectors"]);
    assert_eq!(scan[0].output[..3], ["hidden_out.0.h", "hidden_out.0.x", "hidden_out.0.words"]);
}

#[test]
fn metadata_say_what_the_model_is_and_what_its_words_are() {
    let genotype = recurrent_cell("DARTS_V2").unwrap();
    let net = settled(recipe(CellRecipe::Genotype { genotype: genotype.clone() }, 8, &[8]));
    let words: Vec<String> = (0..17).map(|word| format!("\"{word}\"")).collect();
    let about = serde_json::json!({ "epoch": 3 }).as_object().unwrap().clone();
    let exported_with = ExportedLanguage { words: Some(&words), about: &about, ..exported(&net) };
    let file = read_back(&exported_with.onnx("model".into()).unwrap());
    assert_eq!(metadata(&file, "genotype"), Some(genotype.to_string().as_str()));
    assert_eq!(metadata(&file, "network"), Some(net.recipe().to_string().as_str()));
    assert_eq!(metadata(&file, "candlewick_version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(metadata(&file, "about"), Some("{\"epoch\":3}"));
    assert!(metadata(&file, "input").unwrap().contains("hidden_out"));
    assert_eq!(serde_json::from_str::<Vec<String>>(metadata(&file, "words").unwrap()).unwrap(), words);

    let plain = read_back(&onnx(&settled(recipe(CellRecipe::Nas, 6, &[6]))));
    assert_eq!(["genotype", "words", "about"].map(|key| metadata(&plain, key)), [None; 3]);
}

#[test]
fn the_same_model_is_the_same_file() {
    let file = || candlewick::export::encode(&onnx(&settled(recipe(CellRecipe::Lstm, 5, &[9, 6])))).unwrap();
    assert!(file() == file());
}

#[test]
fn parts_that_do_not_fit_together_are_told() {
    let own = own_step();
    let told = |change: &dyn Fn(&mut LanguageSource<'_>)| {
        let mut source = own.source();
        change(&mut source);
        model(&source, &LanguageOptions::default()).unwrap_err().message
    };
    let others = noise(1, 3);
    assert!(told(&|source| source.weights = &source.weights[1..]).contains("weights, not"));
    assert!(told(&|source| source.layers[0].statistics.clear()).contains("running statistics, not 0"));
    assert!(told(&|source| source.layers[0].mixing.extend(&others)).contains("3 mixing weights, not 6"));
    assert!(told(&|source| source.layers[0].table = &[]).contains("3 named weights, not 0"));
    assert!(told(&|source| source.bias = Some(source.embedding)).contains("[17, 6], not [17]"));
    assert!(told(&|source| source.rows = Rows::Projected(source.embedding)).contains("[17, 6], not [6, 6]"));
    assert!(told(&|source| source.embedding = &source.layers[0].table[0]).contains("reads vectors of width 6, not 12"));
    assert!(told(&|source| source.layers.clear()).contains("no layers"));
}

/// A search in a script, its model as a file.
const SCRIPT: &str = r#"
let data = text("austen", #{ vocabulary: 60 });
let net = recurrent_supernet(data, #{ hidden: 6, nodes: 2 });
net.save_onnx("lm.onnx", #{ words: data.words, length: 35, about: #{ epoch: 3 } });
"#;

#[test]
fn a_script_writes_its_model_into_the_run_folder() {
    let folder = folder_with(SCRIPT);
    candlewick(folder.path(), &["run", "s.rhai", "--out", "run"]).shows(0, &[]);
    let bytes = std::fs::read(folder.path().join("run/lm.onnx")).unwrap();
    let file = read_back(&ModelProto::decode(bytes.as_slice()).unwrap());
    let words: Vec<String> = serde_json::from_str(metadata(&file, "words").unwrap()).unwrap();
    assert_eq!((words.len(), words[0].as_str()), (60, "<eos>"));
    assert!(metadata(&file, "network").unwrap().contains("a search cell of 2 nodes"));
    let graph = file.graph.unwrap();
    assert_eq!((graph.name.as_str(), lines(&graph.input)[0].as_str()), ("lm", "words: 7 35 × batch"));
}

#[test]
fn what_a_script_asks_for_must_fit_its_model() {
    let refused = |arguments: &str, texts: &[&str]| {
        let net = "let net = language_model(20, #{ cell: \"lstm\", hidden: 4 });";
        let folder = folder_with(&format!("{net}\nnet.save_onnx({arguments});"));
        candlewick(folder.path(), &["run", "s.rhai"]).shows(2, &[texts, &["s.rhai:2"]].concat());
    };
    refused(r#""lm.onnx", #{ words: ["a", "b"] }"#, &["2 words were given for a model with a vocabulary of 20"]);
    refused(r#""lm.onnx", #{ length: 0 }"#, &["`length`", "from 1 to 65536, not 0"]);
    refused(r#""lm.onnx", #{ lenght: 3 }"#, &["did you mean `length`"]);
    refused(r#""../lm.onnx""#, &["../lm.onnx"]);
}
