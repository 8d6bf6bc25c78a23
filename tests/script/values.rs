//! Values never change: what a declared function returned shows the same numbers after every kind of move of a
//! parameter.
//!
//! The calls are generated from the declarations: every function, method, property, operator and index that returns a
//! tensor, or something that may hold one, is called with arguments made by the types of its parameters, parameters of
//! the network and free ones wherever a tensor fits. A new function is covered as soon as it is declared.

use candlewick::script::{self, Catalogue, Entry, Face, Host, Setup, Sources, Tensor};
use rhai::{Dynamic, Engine, Scope};
use std::collections::BTreeSet;
use std::path::Path;

/// Calls that give the parameter itself, not a value computed from it.
const HANDLES: [(&str, &str); 7] = [
    ("parameter", "it makes a parameter"),
    ("network.weights", "the network's parameter"),
    ("network.alphas", "the network's parameters"),
    ("language_model.weights", "the model's parameter"),
    ("language_model.alphas", "the model's parameters"),
    ("layer.parameters", "the layer's parameters"),
    ("param", "it gives back the default that it was given"),
];

/// Calls that the generator cannot make.
const NOT_CALLED: [(&str, &str); 11] = [
    ("derive", "it returns a genotype, which holds names and numbers"),
    (
        "graph_builder.scope",
        "a graph builder lives inside the closure that builds a network; what the scope returns is its closure's",
    ),
    ("predict", "it needs image files and returns numbers and names"),
    ("language_model", "its cell is a required option; the model of `recurrent_supernet` stands for it"),
    ("random_recurrent_genotype", "it takes names and returns names and numbers"),
    ("train_cell", "its epochs are a required option; it returns numbers"),
    ("score_cells", "as train_cell"),
    ("score_recurrent_cells", "as train_cell"),
    ("cell_space.genotype", "it takes a code, numbers, and returns names and numbers"),
    ("tensor_set", "it takes a label for each image; tests/data/tensor_sets.rs moves what it was given"),
    ("load_table", "it needs a file and returns numbers and words"),
];

/// What the arguments are made of.
const BEFORE: &str = r#"
let m = parameter(tensor([[0.5, 2.0], [0.25, 1.5]]));
let one = parameter(tensor([[3.0]]));
let pictures = parameter(uniform([4, 1, 8, 8]));
let places = tensor([[0, 1], [1, 0]]).to("int");
let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 1 });
let set = images("digits").test.take(8);
let batch = #{ x: pictures, y: [0, 1, 2, 3] };
let model = recurrent_supernet(text("austen"), #{ hidden: 3, nodes: 1 });
let carried = hidden_states();
model.surprise(#{ x: places, y: places }, #{ hidden: carried });
let layer = mlp([2, 2]);
let cell = lstm_cell(2, 2);
"#;

/// Every kind of move.
const MOVES: &str = r#"
for moved in [
    m, one, pictures, net.weights, net.alphas.normal, net.alphas.reduce, model.weights, model.alphas.alphas,
    layer.parameters[0], layer.parameters[1], cell.parameters[0], cell.parameters[2],
] {
    let before = moved.detach();
    sgd(moved, #{ lr: 0.5, momentum: 0.9 }).step(ones(moved.shape));
    adam(moved, #{ lr: 0.5, weight_decay: 0.1 }).step(ones(moved.shape));
    adam(moved, #{ lr: 0.5, weight_decay: 0.1, decoupled: true }).step(ones(moved.shape));
    moved.assign(moved * 0.5 + 1.0);
    assert(norm(moved - before).item() > 0.1);
}
net.set_weights(net.weights * 0.5);
net.set_weights(#{ "head.bias": ones([10]) });
net.set_alphas(#{ normal: net.alphas.normal + 1.0 });
net.alphas.reduce = net.alphas.reduce + 1.0;
model.set_weights(model.weights * 0.5);
model.surprise(#{ x: places, y: places }, #{ hidden: carried });
"#;

/// Arguments of a type; `example` gives strings and closures their sense.
fn arguments(kind: &str, example: &str) -> Vec<String> {
    let alternatives: Vec<&str> = kind.split(" or ").flat_map(|part| part.split(", ")).collect();
    if alternatives.len() > 1 {
        return alternatives.into_iter().flat_map(|kind| arguments(kind, example)).collect();
    }
    if let Some(inner) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        let items = arguments(inner, example);
        let pairs = items.iter().flat_map(|a| items.iter().map(move |b| format!("[{a}, {b}]")));
        return items.iter().map(|item| format!("[{item}]")).chain(pairs).collect();
    }
    let quoted = || example.split('"').skip(1).step_by(2).map(|text| format!("{text:?}"));
    let texts = || quoted().chain(["\"Genotype(space='blockqnn', nodes=5, code=[3, 9, 0])\"".to_string()]);
    let all: &[&str] = match kind {
        "tensor" => &["m", "one", "net.weights", "model.weights", "pictures", "sum(m * m)", "places"],
        "float" => &["0.25", "0.75"],
        "int" => &["0", "1", "2"],
        "bool" => &["true"],
        "range" => &["0..1", "0..=1"],
        "any" => {
            let free = ["m", "1", "[m]", "#{ m: m }", "derive(net)", "()"];
            return free.iter().map(ToString::to_string).chain(texts()).collect();
        }
        "array" => &["[m]"],
        "map" => &["#{ m: m }", "batch", "#{ x: places, y: places }", "#{ channels: 1, size: 8, classes: 10 }"],
        "closure" => &["|a| a", "|g, x| g.linear(g.global_pool(x), 10)"],
        "network" => {
            &["net", "discrete(derive(net), #{ images: #{ channels: 1, size: 8, classes: 10 }, channels: 2 })"]
        }
        "genotype" => &["derive(net)"],
        "coded_genotype" => &["space(\"nasbench201\").genotype([3, 0, 1, 2, 4, 3])"],
        "cell_space" => &["space(\"darts\", #{ nodes: 1 })", "space(\"nasbench201\", #{ nodes: 2 })"],
        "language_model" => &["model"],
        "layer" => &["layer", "cell"],
        "hidden_states" => &["carried"],
        "recurrent_genotype" => &["recurrent_genotype(\"ENAS\")"],
        "recurrent_tree" => &["recurrent_tree(\"found\")"],
        "images" => &["images(\"digits\")"],
        "image_set" => &["set"],
        "batches" => &["set.batches(4)"],
        "batch" => &["set.batches(4).next()"],
        "gradient" => &["weight_gradient(net, batch)", "alpha_gradient(net, batch, batch)"],
        "optimizer" => &["sgd(m, #{ lr: 0.1 })"],
        "run" => &["start_run()"],
        "examination" => &["examine(net, set)"],
        "text" => &["text(\"austen\")"],
        "stream" => &["text(\"austen\").valid.take(50)"],
        "windows" => &["text(\"austen\").valid.take(50).windows(2, #{ length: 3 })"],
        "window" => &["text(\"austen\").valid.take(50).windows(2, #{ length: 3 }).next()"],
        "string" => return texts().collect(),
        _ => &[],
    };
    all.iter().map(ToString::to_string).collect()
}

/// The calls of an entry with every combination of arguments.
fn calls(entry: &Entry) -> Vec<String> {
    let (least, most) = entry.arity();
    let mut calls = vec![];
    for count in least..=most {
        let mut lists = vec![vec![]];
        for parameter in &entry.parameters[..count] {
            let choices = match parameter.kind.options {
                true => vec!["#{}".to_string()],
                false => arguments(&parameter.kind.text, &entry.example),
            };
            let longer = |list: &Vec<String>, choice: &String| [list.as_slice(), std::slice::from_ref(choice)].concat();
            lists = lists.iter().flat_map(|list| choices.iter().map(move |choice| longer(list, choice))).collect();
        }
        calls.extend(lists.iter().filter(|list| !list.is_empty() || count == 0).map(|list| call(entry, list)));
    }
    calls
}

fn call(entry: &Entry, arguments: &[String]) -> String {
    let rest = || arguments[1..].join(", ");
    match (entry.face, arguments) {
        (Face::Function, _) => format!("{}({})", entry.name, arguments.join(", ")),
        (Face::Method, _) => format!("{}.{}({})", arguments[0], entry.name, rest()),
        (Face::Property { .. }, _) => format!("{}.{}", arguments[0], entry.name),
        (Face::Index, _) => format!("{}[{}]", arguments[0], rest()),
        (Face::Operator, [a]) => format!("{}{a}", entry.name),
        (Face::Operator, [a, b]) => format!("{a} {} {b}", entry.name),
        (Face::Operator | Face::Constant, _) => unreachable!("operators take one or two, constants are not called"),
    }
}

/// Whether a value of this type may hold a tensor: it is one, or free in what it holds, or has a property that may.
fn may_hold(kind: &str, catalogue: &Catalogue) -> bool {
    let kind = kind.trim_end_matches(" or ()").trim_matches(['[', ']']);
    let held = |entry: &std::sync::Arc<Entry>| !is_listed(&HANDLES, entry) && may_hold(&entry.returns, catalogue);
    ["tensor", "map", "array", "any"].contains(&kind) || catalogue.properties(Some(kind)).any(held)
}

fn is_listed(list: &[(&str, &str)], entry: &Entry) -> bool {
    list.iter().any(|(title, _)| *title == entry.title())
}

/// All numbers that a value shows, exactly. Values of script types show their properties.
fn shown(value: &Dynamic, engine: &Engine, catalogue: &Catalogue) -> String {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        assert!(tensor.parameter().is_none(), "a parameter's handle, which shows every move");
        return format!("{:?}{:?}", tensor.dims(), tensor.values().expect("numbers"));
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(|item| shown(item, engine, catalogue)).collect::<Vec<_>>().join(";");
    }
    if let Ok(map) = value.as_map_ref() {
        let entry = |(name, value)| format!("{name}: {}", shown(value, engine, catalogue));
        return map.iter().map(entry).collect::<Vec<_>>().join(";");
    }
    let mut text = value.to_string();
    for property in catalogue.properties(Some(engine.map_type_name(value.type_name()))) {
        if !is_listed(&HANDLES, property) && may_hold(&property.returns, catalogue) {
            let mut scope = Scope::new();
            scope.push_dynamic("value", value.clone());
            let part: Dynamic = engine
                .eval_with_scope(&mut scope, &format!("value.{}", property.name))
                .unwrap_or_else(|error| error.to_string().into());
            text += &shown(&part, engine, catalogue);
        }
    }
    text
}

/// A script that has made its arguments.
struct Session {
    engine: Engine,
    catalogue: Catalogue,
    scope: Scope<'static>,
}

impl Session {
    fn begin(folder: &Path) -> Self {
        let setup = Setup { script: folder.join("s.rhai"), out: Some(folder.join("run")), ..Setup::default() };
        let host = Host::with_sink(setup, Box::new(std::io::sink()));
        let (engine, catalogue) = script::engine(&host, &Sources::default(), script::declare);
        let mut scope = Scope::new();
        engine.run_with_scope(&mut scope, BEFORE).expect("the arguments can be made");
        Self { engine, catalogue, scope }
    }

    /// What a call gives; none where it is refused.
    fn value(&mut self, call: &str) -> Option<Dynamic> {
        self.engine.eval_with_scope(&mut self.scope, call).ok()
    }

    fn shown(&self, value: &Dynamic) -> String {
        shown(value, &self.engine, &self.catalogue)
    }
}

/// Calls an entry in many ways.
///
/// # Errors
/// A call whose result changed when the parameters moved; an entry that no call fits.
fn try_out(entry: &Entry, folder: &Path) -> Result<(), String> {
    let mut session = Session::begin(folder);
    // Examples write the files that they read; a run of theirs would be in the way of the calls'.
    if entry.noun != "runs" {
        session.engine.run(&entry.example).map_err(|error| format!("{}: {error}", entry.signature()))?;
    }
    let mut worked = 0;
    for call in calls(entry).iter().take(TRIED) {
        let Some(value) = session.value(call) else { continue };
        let before = session.shown(&value);
        session.engine.run_with_scope(&mut session.scope, MOVES).expect("parameters move");
        let after = session.shown(&value);
        if before != after {
            return Err(format!("{call}: {before} became {after}"));
        }
        worked += 1;
        if worked == ENOUGH {
            break;
        }
        session = Session::begin(folder);
    }
    if worked == 0 { Err(format!("{}: no generated call works", entry.signature())) } else { Ok(()) }
}

/// As many calls of an entry as are looked at, and as many that work.
const TRIED: usize = 400;
const ENOUGH: usize = 6;

#[test]
fn whatever_a_declared_function_returned_stays_what_it_was() {
    let catalogue = script::catalogue();
    let (mut wrong, mut seen) = (vec![], BTreeSet::new());
    for entry in &catalogue.entries {
        seen.insert(entry.title());
        let looked_at = entry.face != Face::Constant && may_hold(&entry.returns, &catalogue);
        if !looked_at || is_listed(&HANDLES, entry) || is_listed(&NOT_CALLED, entry) {
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let tried = script::on_script_thread(|| try_out(entry, folder.path()));
        wrong.extend(tried.unwrap_or_else(|error| Err(format!("{}: {error}", entry.signature()))).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let known = |(title, _): &(&str, &str)| seen.contains(*title);
    assert!(HANDLES.iter().chain(&NOT_CALLED).all(known), "a listed function is not declared any more");
}
