//! `candlewick export` of language models, as a user meets it.

use super::language_models::{WORDS_IN_ALL, recipe, settled};
use super::networks::{cifar, discrete};
use crate::binary::{candlewick, folder_with};
use candlewick::engine::Target;
use candlewick::export::encode;
use candlewick::export::proto::ModelProto;
use candlewick::random::Seed;
use candlewick::script::{ExportedLanguage, legend_of};
use candlewick::space::SavedNetwork;
use candlewick::space::recurrent::{
    Activation, Activations, CellRecipe, LanguageModel, RecurrentGenotype, SavedLanguage, recurrent_cell,
};
use prost::Message;
use serde_json::{Map, Value, json};
use std::path::Path;

/// A folder with a run in `runs/rnn_train` whose best weights are those of a model that knows its words.
fn folder() -> (tempfile::TempDir, LanguageModel) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("runs/rnn_train");
    std::fs::create_dir_all(&run).unwrap();
    let cell = CellRecipe::Genotype { genotype: recurrent_cell("DARTS_V2").unwrap() };
    let words: Vec<String> = (0..WORDS_IN_ALL).map(|word| format!("\"{word}\"")).collect();
    let model = settled(recipe(cell, 8, &[8])).with_words(words).unwrap();
    SavedLanguage::write(&run.join("best.safetensors"), &model, &about()).unwrap();
    (folder, model)
}

fn about() -> Map<String, Value> {
    json!({ "epoch": 3 }).as_object().unwrap().clone()
}

fn read(path: &Path) -> ModelProto {
    ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
}

#[test]
fn a_run_s_best_model_is_written_as_a_script_would_write_it() {
    let (folder, model) = folder();
    let ended = candlewick(folder.path(), &["export", "runs/rnn_train", "--onnx", "lm.onnx"]);
    ended.shows(0, &[]);
    for line in [
        "from runs/rnn_train/best.safetensors\n",
        "Genotype(recurrent=[('sigmoid', 0), ",
        "input words: time × batch, ids, whose words the metadata list\n",
        "input hidden.0.h: batch × 8, zeros where a text begins\n",
        "output log_probabilities: time × batch × 17\n",
        "output hidden_out.0.h: batch × 8\n",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in {}", ended.stdout);
    }
    let exported = ExportedLanguage { model: &model, words: model.words(), length: None, about: &about() };
    let expected = exported.onnx("lm".into()).unwrap();
    assert!(std::fs::read(folder.path().join("lm.onnx")).unwrap() == encode(&expected).unwrap());
    assert!(expected.metadata_props.iter().any(|entry| entry.key == "words" && entry.value.contains("16")));
}

#[test]
fn what_a_script_saved_and_what_it_exported_are_one_file() {
    let folder = folder_with(
        r#"
        let data = text("austen", #{ vocabulary: 60 });
        let net = recurrent_supernet(data, #{ hidden: 6, nodes: 2 });
        net.set_alphas(#{ alphas: normal([3, 5]) });
        for step in 0..3 { net.surprise(data.train.windows(4, #{ length: 5 }).at(5 * step)); }
        net.save("best.safetensors");
        net.save_onnx("net.onnx", #{ length: 7 });
        "#,
    );
    candlewick(folder.path(), &["run", "s.rhai", "--out", "run"]).shows(0, &[]);
    candlewick(folder.path(), &["export", "run", "--onnx", "net.onnx", "--length", "7"]).shows(0, &[]);
    let [exported, saved] = ["net.onnx", "run/net.onnx"].map(|path| std::fs::read(folder.path().join(path)).unwrap());
    assert!(exported == saved);
    let model = read(&folder.path().join("net.onnx"));
    assert!(model.metadata_props.iter().any(|entry| entry.key == "words" && entry.value.starts_with("[\"<eos>\"")));
}

#[test]
fn options_of_the_other_kind_of_network_are_told_apart() {
    let (folder, _) = folder();
    let export = |run: &str, option: &[&str]| {
        candlewick(folder.path(), &[&["export", run, "--onnx", "net.onnx"], option].concat())
    };
    let told = ["is for networks of images", "holds a language model", "leave it out"];
    export("runs/rnn_train", &["--normalise"]).shows(2, &[&["--normalise"], &told[..]].concat());
    export("runs/rnn_train", &["--fold-norms"]).shows(2, &[&["--fold-norms"], &told[..]].concat());
    export("runs/rnn_train", &["--length", "0"]).shows(2, &["`length`", "not 0"]);
    let network = discrete("DARTS_V2", &candlewick::space::DiscreteOptions { channels: 4, layers: 3, ..cifar() });
    let path = folder.path().join("images.safetensors");
    SavedNetwork::write(&path, &network, &legend_of(&network), &Map::new()).unwrap();
    export("images.safetensors", &["--length", "35"])
        .shows(2, &["--length is for language models", "images.safetensors holds a network of images"]);
    assert!(!folder.path().join("net.onnx").exists());
}

#[test]
fn tensors_without_a_description_and_activations_of_a_script_are_named() {
    let folder = folder_with(
        "let net = language_model(20, #{ cell: \"lstm\", hidden: 4 });\n\
         save_tensors(\"best.safetensors\", net.state());",
    );
    candlewick(folder.path(), &["run", "s.rhai", "--out", "run"]).shows(0, &[]);
    let export = |run: &str| candlewick(folder.path(), &["export", run, "--onnx", "net.onnx"]);
    export("run").shows(2, &["best.safetensors holds tensors, but no description of a network", "net.save(…)"]);

    let mut activations = Activations::new();
    activations.define(Activation::new("swish", |g, x| g.sigmoid(x).and_then(|gate| g.multiply(x, gate)))).unwrap();
    let cell = CellRecipe::Genotype { genotype: RecurrentGenotype::new(vec![("swish".into(), 0)], None).unwrap() };
    let model = LanguageModel::new(recipe(cell, 6, &[6]), &activations, Seed(1), Target::best().unwrap()).unwrap();
    SavedLanguage::write(&folder.path().join("own.safetensors"), &model, &Map::new()).unwrap();
    export("own.safetensors").shows(2, &["own.safetensors", "activation \"swish\"", "net.save_onnx"]);
    assert!(!folder.path().join("net.onnx").exists());
}
