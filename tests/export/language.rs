//! Exported language models in onnxruntime against the model's own evaluation: log probabilities and states, over
//! windows of several lengths.

use super::language_models::{Case, OwnStep, WORDS_IN_ALL, cases, own_step, window};
use super::onnxruntime::{Outputs, Run, Session, close, run, values};
use candle_core::{D, Device, Tensor};
use candlewick::engine::recurrent::RecurrentEngine;
use candlewick::engine::{Mode, Pass, RunningStatistics, Target};
use candlewick::export::encode;
use candlewick::export::recurrent::{LOG_PROBABILITIES, LanguageOptions, WORDS, model, state_after, state_before};
use candlewick::space::recurrent::{Hidden, LanguageModel, Weights};

/// Columns of a window.
const COLUMNS: usize = 3;

/// What a window is run on and what it gave.
struct Window {
    words: Tensor,
    before: Hidden,
    /// Time × batch × vocabulary.
    log_probabilities: Tensor,
    after: Hidden,
}

/// The model's own evaluation.
fn evaluate(net: &LanguageModel, words: Tensor, before: &Hidden) -> Window {
    let w = Weights::slices(net, &net.weights().detached()).unwrap();
    let p = net.relax(net.alphas()).unwrap();
    let passed = net.pass(&words, before, &w, &p, Mode::Evaluation).unwrap();
    let (time, batch) = words.dims2().unwrap();
    let log_probabilities = net.log_probabilities(&passed, &w).unwrap().reshape((time, batch, ())).unwrap();
    Window { words, before: before.clone(), log_probabilities, after: passed.hidden }
}

/// Names of the states, layer by layer.
type Names = Vec<Vec<String>>;

fn names(net: &LanguageModel) -> Names {
    let parts = net.parts().unwrap();
    parts.iter().map(|layer| layer.graph.states().iter().map(|state| state.name.clone()).collect()).collect()
}

fn named(names: &Names, call: fn(usize, &str) -> String, hidden: &Hidden) -> Vec<(String, Tensor)> {
    let states = names.iter().zip(&hidden.0).enumerate().flat_map(|(layer, (names, states))| {
        names.iter().zip(states).map(move |(name, state)| (call(layer, name), state.clone()))
    });
    states.collect()
}

fn run_of(names: &Names, window: &Window) -> Run {
    let mut inputs = named(names, state_before, &window.before);
    inputs.push((WORDS.to_string(), window.words.to_dtype(candle_core::DType::I64).unwrap()));
    let after = named(names, state_after, &window.after);
    let mut outputs: Vec<_> = after.into_iter().map(|(name, state)| (name, state.dims().to_vec())).collect();
    outputs.push((LOG_PROBABILITIES.to_string(), window.log_probabilities.dims().to_vec()));
    Run { inputs, outputs }
}

fn same(what: &str, names: &Names, window: &Window, got: &Outputs) {
    close(&format!("{what}, log probabilities"), &values(&window.log_probabilities), &got[LOG_PROBABILITIES]);
    for (name, state) in named(names, state_after, &window.after) {
        close(&format!("{what}, {name}"), &values(&state), &got[&name]);
    }
}

/// The largest difference of two tensors of one shape.
fn apart(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

#[test]
fn language_models_have_the_model_s_log_probabilities_and_states() {
    let (mut sessions, mut expected) = (vec![], vec![]);
    for Case { name, net } in cases() {
        let (names, zeros) = (names(&net), net.zero_hidden(COLUMNS).unwrap());
        let first = evaluate(&net, window(4, COLUMNS, 1), &zeros);
        let second = evaluate(&net, window(3, COLUMNS, 2), &first.after);
        // Both at once: a file takes windows of any length, and states hand on what a longer window has inside.
        let both = evaluate(&net, Tensor::cat(&[&first.words, &second.words], 0).unwrap(), &zeros);
        assert!(apart(&both.log_probabilities.narrow(0, 4, 3).unwrap(), &second.log_probabilities) < 1e-5, "{name}");
        // States and words must count, or whatever the file says would do.
        let forgetful = evaluate(&net, second.words.clone(), &zeros);
        assert!(apart(&forgetful.log_probabilities, &second.log_probabilities) > 1e-2, "{name} forgets");
        let columns = [0, 1].map(|column| first.log_probabilities.narrow(1, column, 1).unwrap());
        assert!(apart(&columns[0], &columns[1]) > 1e-2, "{name} does not read");
        let windows = vec![first, second, both];
        sessions.push(Session {
            file: encode(&super::language_models::onnx(&net)).unwrap(),
            runs: windows.iter().map(|window| run_of(&names, window)).collect(),
        });
        expected.push((name, names, windows));
    }
    let Some(found) = run(&sessions) else { return };
    for ((name, names, windows), found) in expected.iter().zip(found) {
        for (index, (window, got)) in windows.iter().zip(&found).enumerate() {
            same(&format!("{name}, window {index}"), names, window, got);
        }
    }
}

#[test]
fn every_primitive_of_a_time_step_has_the_engine_s_values() {
    let own = own_step();
    let OwnStep { graph, table, weights, statistics, mixing } = &own;
    let engine = RecurrentEngine::compile(graph.clone(), Target::best().unwrap()).unwrap();
    let cell = &weights[table[1].offset..];
    let flat = |values: &[f32]| Tensor::from_vec(values.to_vec(), values.len(), &Device::Cpu).unwrap();
    let running = RunningStatistics::of(graph.norms());
    running.set(&statistics.iter().map(|&value| f64::from(value)).collect::<Vec<_>>()).unwrap();
    let pass = Pass { mode: Mode::Evaluation, statistics: running, ..Pass::default() };

    let words = window(5, COLUMNS, 3);
    let embedding = flat(&weights[table[0].range()]).reshape(table[0].shape.as_slice()).unwrap();
    let width = table[0].shape[1];
    let vectors = embedding.index_select(&words.flatten_all().unwrap(), 0).unwrap();
    let x = vectors.reshape((5, COLUMNS, width)).unwrap();
    let states = graph.states().iter().enumerate().map(|(index, state)| {
        let values = super::networks::noise(70 + index as u64, COLUMNS * state.width);
        Tensor::from_vec(values, (COLUMNS, state.width), &Device::Cpu).unwrap()
    });
    let before = Hidden(vec![states.collect()]);
    let (y, after) = engine.forward(&x, &before.0[0], &flat(cell), &flat(mixing), &pass).unwrap();
    let logits = y.reshape((5 * COLUMNS, width)).unwrap().matmul(&embedding.t().unwrap()).unwrap();
    let log_probabilities = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
    let log_probabilities = log_probabilities.reshape((5, COLUMNS, WORDS_IN_ALL)).unwrap();

    let names: Names = vec![graph.states().iter().map(|state| state.name.clone()).collect()];
    let window = Window { words, before, log_probabilities, after: Hidden(vec![after]) };
    let file = encode(&model(&own.source(), &LanguageOptions::default()).unwrap()).unwrap();
    let Some(found) = run(&[Session { file, runs: vec![run_of(&names, &window)] }]) else { return };
    same("every primitive", &names, &window, &found[0][0]);
}

/// A search cell with an activation of the script's own.
const OWN: &str = r#"
define_activation("swish", |g, x| g.multiply(x, g.sigmoid(g.scale(x, 1.5, -0.25))));
let net = recurrent_supernet(17, #{ hidden: 6, nodes: 3, activations: ["tanh", "swish"] });
net.set_weights(normal([net.parameters]) * 0.7);
net.set_alphas(#{ alphas: normal([6, 2]) });
let words = tensor([[1, 2], [3, 4], [5, 6], [16, 0]]).to("int");
for step in 0..3 { net.surprise(#{ x: words, y: words }); }
save_tensors("expected.safetensors", #{ words: words, last: net.predict(words) });
net.save_onnx("lm.onnx");
"#;

#[test]
fn an_activation_of_a_script_s_own_has_its_values_too() {
    let folder = crate::binary::folder_with(OWN);
    crate::binary::candlewick(folder.path(), &["run", "s.rhai", "--out", "run"]).shows(0, &[]);
    let at = |name: &str| folder.path().join("run").join(name);
    let expected = candle_core::safetensors::load(at("expected.safetensors"), &Device::Cpu).unwrap();
    let words = expected["words"].to_dtype(candle_core::DType::I64).unwrap();
    let zeros = Tensor::zeros((2, 6), candle_core::DType::F32, &Device::Cpu).unwrap();
    let inputs = vec![(WORDS.to_string(), words), (state_before(0, "h"), zeros)];
    let outputs = vec![(LOG_PROBABILITIES.to_string(), vec![4, 2, WORDS_IN_ALL])];
    let session = Session { file: std::fs::read(at("lm.onnx")).unwrap(), runs: vec![Run { inputs, outputs }] };
    let Some(found) = run(&[session]) else { return };
    let last = &found[0][0][LOG_PROBABILITIES][3 * 2 * WORDS_IN_ALL..];
    close("swish", &values(&expected["last"]), last);
}
