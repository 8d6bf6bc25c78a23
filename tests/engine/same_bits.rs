//! One seed, one result: journals and weights are equal to the last bit, whatever the number of threads, on every
//! instruction set.

use crate::binary::{command, finish, folder_with};
use crate::simd::simd_paths;
use candle_core::{Device, Var};
use candlewick::engine::{CpuOptions, Engine, Isa, Pass, Target};
use candlewick::graph::Shape;
use candlewick::run::{Entry, difference, read};
use candlewick::space::{Supernet, SupernetOptions};
use std::sync::Arc;

/// A search in which everything that could differ takes part: augmentation, shuffling, a sampled relaxation, the
/// unrolled step, evaluation; with channels that fill no vector and batches that no number of threads divides.
const SEARCH: &str = r#"
let data   = images("digits");
let halves = data.train.take(150).split(0.5);
let train  = halves[0].batches(19, #{ augment: "standard", cutout: 2 });
let valid  = halves[1].batches(23, #{ augment: "standard" });
let net    = supernet(data, #{ channels: 5, layers: 4, nodes: 2 });
let w_opt  = sgd(net.weights, #{ lr: 0.05, momentum: 0.9, weight_decay: 3e-4, clip: 5.0 });
let a_opt  = adam(net.alphas, #{ lr: 1e-2, betas: [0.5, 0.999] });
let sample = |a| softmax((a + gumbel(a.shape)) / 2.0, 1);
let relax  = |alphas| #{ normal: sample.call(alphas.normal), reduce: sample.call(alphas.reduce) };

let run = start_run([net, w_opt, a_opt, train, valid]);
for epoch in run.epochs(2) {
    for batch in run.steps(train) {
        a_opt.step(alpha_gradient(net, batch, valid.next(), #{ relax: relax, order: 2, optimizer: w_opt }));
        run.log(#{ train_loss: w_opt.step(weight_gradient(net, batch, #{ relax: relax })) });
    }
    let score = evaluate(net, data.test.take(100));
    run.log(#{ valid_loss: score.loss, valid_accuracy: score.accuracy, genotype: derive(net) });
}
save_tensors("end.safetensors", #{ weights: net.weights, normal: net.alphas.normal, reduce: net.alphas.reduce });
"#;

/// What a run leaves: its journal, and the file with weights and alphas.
struct Left {
    journal: Vec<Entry>,
    tensors: Vec<u8>,
}

#[track_caller]
fn search(simd: &str, threads: u32, seed: u32) -> Left {
    search_of(SEARCH, simd, threads, seed)
}

#[track_caller]
fn search_of(script: &str, simd: &str, threads: u32, seed: u32) -> Left {
    let folder = folder_with(script);
    let (threads, seed) = (threads.to_string(), seed.to_string());
    let arguments = ["run", "s.rhai", "--out", "run", "--threads", &threads, "--seed", &seed];
    finish(command(folder.path()).env("CANDLEWICK_SIMD", simd).args(arguments)).shows(0, &[]);
    let run = folder.path().join("run");
    Left {
        journal: read(&run.join("journal.jsonl")).expect("a journal"),
        tensors: std::fs::read(run.join("end.safetensors")).expect("the tensors"),
    }
}

#[track_caller]
fn equal(one: &Left, other: &Left, what: &str) {
    assert_eq!(difference(&one.journal, &other.journal), None, "{what}");
    assert!(one.tensors == other.tensors, "{what}: weights or alphas differ");
}

#[test]
fn runs_with_one_seed_are_equal_with_any_number_of_threads() {
    for simd in simd_paths() {
        let one = search(simd, 1, 7);
        assert!(one.journal.len() == 10 && one.tensors.len() > 10_000);
        equal(&one, &search(simd, 1, 7), &format!("{simd}, run again"));
        equal(&one, &search(simd, 2, 7), &format!("{simd}, 1 and 2 threads"));
        equal(&one, &search(simd, 5, 7), &format!("{simd}, 1 and 5 threads"));
    }
}

/// Siblings that share lanes, channels that pass by, and edges with weights.
#[test]
fn runs_with_partial_channels_are_equal_with_any_number_of_threads() {
    let script = SEARCH
        .replace("channels: 5, layers: 4, nodes: 2", "channels: 8, layers: 4, nodes: 3, partial: 2, edge_weights: true")
        .replace(", #{ relax: relax, order: 2, optimizer: w_opt }", "")
        .replace(", #{ relax: relax }", "");
    for simd in simd_paths() {
        let one = search_of(&script, simd, 1, 7);
        equal(&one, &search_of(&script, simd, 2, 7), &format!("{simd}, 1 and 2 threads"));
        equal(&one, &search_of(&script, simd, 5, 7), &format!("{simd}, 1 and 5 threads"));
    }
}

/// Large stages write past the cache and small ones do not: where the line is drawn changes no bit.
#[test]
fn results_are_the_same_whether_a_stage_fits_in_the_cache_or_not() {
    let options =
        SupernetOptions { channels: 5, layers: 3, nodes: 3, ..SupernetOptions::new(Shape::new(3, 12, 12), 10) };
    let graph = Arc::new(Supernet::build(&options).expect("a supernet").graph);
    let noise = |count: usize, scale: f32| -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * scale).collect()
    };
    let var = |values: Vec<f32>, shape: &[usize]| Var::from_vec(values, shape, &Device::Cpu).expect("a variable");
    let x = var(noise(3 * 3 * 144, 1.0), &[3, 3, 12, 12]);
    let w = var(noise(graph.parameters(), 0.3), &[graph.parameters()]);
    let p = var(noise(graph.slot_count(), 0.2), &[graph.slot_count()]);
    let bits = |isa: Isa, cache: usize| -> Vec<u32> {
        let engine = Engine::compile_for(graph.clone(), Target::Cpu(CpuOptions { isa, cache })).expect("it compiles");
        let logits = engine.forward(&x, &w, &p, &Pass::default()).expect("a pass");
        let store = logits.sqr().and_then(|y| y.sum_all()).and_then(|loss| loss.backward()).expect("gradients");
        let gradients = [&x, &w, &p].map(|of| store.get(of).expect("a gradient").clone());
        let values = [logits]
            .into_iter()
            .chain(gradients)
            .flat_map(|t| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values"));
        values.map(f32::to_bits).collect()
    };
    for isa in Isa::available() {
        let never = bits(isa, 0);
        assert!(never.len() > graph.parameters());
        assert!(never == bits(isa, usize::MAX), "{}", isa.name());
    }
}

#[test]
fn runs_with_another_seed_differ() {
    let (one, other) = (search("portable", 2, 7), search("portable", 2, 8));
    assert!(difference(&one.journal, &other.journal).is_some());
    assert!(one.tensors != other.tensors);
}
