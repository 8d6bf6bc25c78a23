//! Language models to export, with weights, alphas and running statistics as training leaves them: nothing is 0 or 1 by
//! luck.

use super::networks::noise;
use candle_core::{Device, Tensor};
use candlewick::engine::{Mode, Target};
use candlewick::export::proto::ModelProto;
use candlewick::export::recurrent::{LanguageSource, LayerSource, Rows};
use candlewick::graph::recurrent::RecurrentGraph;
use candlewick::graph::{Init, WeightInfo};
use candlewick::random::Seed;
use candlewick::script::ExportedLanguage;
use candlewick::space::recurrent::{
    Activations, CellRecipe, DARTS_ACTIVATIONS, LanguageModel, LanguageRecipe, RecurrentTree, Weights, recurrent_cell,
};
use rand::RngExt;
use std::sync::Arc;

/// The vocabulary of all models here.
pub const WORDS_IN_ALL: usize = 17;

/// A model and what it is called.
pub struct Case {
    pub name: &'static str,
    pub net: LanguageModel,
}

/// Words drawn at random, time × columns.
pub fn window(time: usize, columns: usize, seed: u64) -> Tensor {
    let mut rng = Seed(seed).rng("words", 0);
    let words: Vec<u32> = (0..time * columns).map(|_| rng.random_range(0..WORDS_IN_ALL as u32)).collect();
    Tensor::from_vec(words, (time, columns), &Device::Cpu).unwrap()
}

/// A recipe of this cell with layers of these widths.
pub fn recipe(cell: CellRecipe, embedding: usize, widths: &[usize]) -> LanguageRecipe {
    let widths = widths.to_vec();
    LanguageRecipe { vocabulary: WORDS_IN_ALL, embedding, cell, widths, skip: false, bias: true, experts: 0 }
}

/// The model with weights in ±0.7, alphas in ±1, and running statistics that have followed a few windows.
pub fn settled(recipe: LanguageRecipe) -> LanguageModel {
    let net = LanguageModel::new(recipe, &Activations::new(), Seed(6), Target::best().unwrap()).unwrap();
    let length = net.parameters();
    let weights: Vec<f32> = noise(20, length).into_iter().map(|value| 0.7 * value).collect();
    net.set_weights(&Tensor::from_vec(weights, length, &Device::Cpu).unwrap()).unwrap();
    for (index, (_, alpha)) in net.alphas().iter().enumerate() {
        let [rows, columns] = *alpha.dims() else { panic!("alphas are matrices") };
        let values = noise(30 + index as u64, rows * columns);
        alpha.set(&Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()).unwrap();
    }
    let w = Weights::slices(&net, &net.weights().detached()).unwrap();
    let p = net.relax(net.alphas()).unwrap();
    for seed in 0..4 {
        net.pass(&window(5, 6, 40 + seed), &net.zero_hidden(6).unwrap(), &w, &p, Mode::Training).unwrap();
    }
    net
}

fn search(activations: &[&str]) -> CellRecipe {
    CellRecipe::Search { nodes: 3, activations: activations.iter().map(|name| name.to_string()).collect() }
}

const TREE: &str = "Genotype(tree=[('multiply', 'identity'), ('add', 'relu'), ('add', 'tanh')], \
                    inject=(1, 'multiply', 'sigmoid'), memory=2)";

/// Every cell, every shape of layers, every decoder.
pub fn cases() -> Vec<Case> {
    let case = |name, recipe| Case { name, net: settled(recipe) };
    let darts = CellRecipe::Genotype { genotype: recurrent_cell("DARTS_V2").unwrap() };
    let mixture = LanguageRecipe { experts: 3, bias: false, ..recipe(CellRecipe::Lstm, 5, &[8]) };
    let skip = LanguageRecipe { skip: true, ..recipe(CellRecipe::CappedLstm, 6, &[7, 7, 7]) };
    vec![
        case("a search cell", recipe(search(&DARTS_ACTIVATIONS), 8, &[8])),
        case("two search cells", recipe(search(&["tanh", "relu"]), 6, &[6, 6])),
        case("DARTS_V2", recipe(darts, 8, &[8])),
        case("an LSTM of two layers with a projection", recipe(CellRecipe::Lstm, 5, &[9, 6])),
        case("an LSTM of capped gates, layers added", skip),
        case("a highway", recipe(CellRecipe::Highway { depth: 3 }, 7, &[7])),
        case("the NAS cell", recipe(CellRecipe::Nas, 6, &[6])),
        case("a tree", recipe(CellRecipe::Tree { tree: RecurrentTree::parse(TREE).unwrap() }, 6, &[5])),
        case("three softmaxes", mixture.clone()),
        case("three softmaxes with a bias", LanguageRecipe { bias: true, ..mixture }),
    ]
}

/// The model's file.
pub fn onnx(net: &LanguageModel) -> ModelProto {
    exported(net).onnx("model".into()).unwrap()
}

/// A model with nothing said about it.
pub fn exported(model: &LanguageModel) -> ExportedLanguage<'_> {
    static NOTHING: std::sync::LazyLock<serde_json::Map<String, serde_json::Value>> =
        std::sync::LazyLock::new(serde_json::Map::new);
    ExportedLanguage { model, words: None, length: None, about: &NOTHING }
}

/// A time step of one's own with all numbers that it needs; the first weight of the table is the embedding.
pub struct OwnStep {
    pub graph: Arc<RecurrentGraph>,
    pub table: Vec<WeightInfo>,
    pub weights: Vec<f32>,
    pub statistics: Vec<f32>,
    pub mixing: Vec<f32>,
}

impl OwnStep {
    pub fn source(&self) -> LanguageSource<'_> {
        let layer = LayerSource {
            graph: &self.graph,
            table: &self.table[1..],
            statistics: self.statistics.clone(),
            mixing: self.mixing.clone(),
        };
        let (weights, embedding) = (&self.weights[..], &self.table[0]);
        LanguageSource { weights, embedding, layers: vec![layer], skip: false, rows: Rows::Plain, bias: None }
    }
}

/// Every primitive once at least, states that are named like other things, that stay as they are or follow one another,
/// and a primitive that nothing depends on.
pub fn own_step() -> OwnStep {
    const WIDTH: usize = 6;
    let mut graph = RecurrentGraph::new(WIDTH).unwrap();
    let g = &mut graph;
    let (h, x, kept) = (g.state("h", 4).unwrap(), g.state("x", WIDTH).unwrap(), g.state("words", 3).unwrap());
    let both = g.weight("both", WIDTH + 4, 2 * WIDTH, Init::Uniform(0.5)).unwrap();
    let bias = g.bias("bias", 2 * WIDTH, Init::Uniform(0.5)).unwrap();
    let down = g.weight("down", WIDTH, 4, Init::Uniform(0.5)).unwrap();
    let masked = g.mask("x", g.input()).unwrap();
    let product = g.product(&[masked, h], both, Some(bias)).unwrap();
    let (a, b) = (g.slice(product, 0, WIDTH).unwrap(), g.slice(product, WIDTH, WIDTH).unwrap());
    let (a, b) = (g.norm("bn", a).unwrap(), g.norm("bn", b).unwrap());
    let b = g.norm("other", b).unwrap();
    let gate = g.sigmoid(a).unwrap();
    let capped = g.at_most(gate, 0.6).unwrap();
    let (bent, cut) = (g.tanh(b).unwrap(), g.relu(b).unwrap());
    let moved = g.affine(bent, -1.5, 0.25).unwrap();
    let blended = g.blend(x, moved, capped).unwrap();
    let difference = g.subtract(blended, cut).unwrap();
    let slots = g.slots("first", 1, 2).unwrap();
    let mixed = g.mixed(&[(difference, slots.slot(0, 1)), (cut, slots.slot(0, 0))]).unwrap();
    let more = g.slots("second", 1, 1).unwrap();
    let one = g.mixed(&[(mixed, more.slot(0, 0))]).unwrap();
    let mean = g.mean(&[one, mixed, gate]).unwrap();
    let sum = g.sum(&[mean, bent, bent]).unwrap();
    let gated = g.multiply(sum, gate).unwrap();
    let output = g.add(gated, cut).unwrap();
    let next = g.product(&[output], down, None).unwrap();
    let next = g.tanh(next).unwrap();
    g.tanh(next).unwrap();
    g.set_next(h, next).unwrap();
    g.set_next(x, output).unwrap();
    g.set_next(kept, kept).unwrap();
    g.set_output(output);

    let shape = vec![WORDS_IN_ALL, WIDTH];
    let mut table = vec![WeightInfo { name: "embedding".into(), shape, offset: 0, init: Init::Uniform(0.5) }];
    let start = table[0].len();
    let own = graph.weights().iter();
    table.extend(own.map(|weight| WeightInfo { offset: start + weight.offset, ..weight.clone() }));
    let length = start + graph.parameters();
    // Means in ±1, variances above 0.
    let statistics = noise(60, graph.statistics_len()).into_iter().enumerate();
    let variance = |index: usize| graph.norms().iter().any(|norm| norm.variance().contains(&index));
    let statistics = statistics.map(|(index, value)| if variance(index) { 1.5 + value } else { value }).collect();
    OwnStep { table, weights: noise(61, length), statistics, mixing: vec![0.7, 0.4, -1.3], graph: Arc::new(graph) }
}
