//! The noun `runs`: the run folder, the loops over epochs and steps, the journal and its charts, as scripts see them.
//! The work is done in [`crate::run`].

mod lasting;
mod sheet;
mod start;

pub(super) use sheet::save_figure;

use crate::data::Batches;
use crate::data::text::Windows;
use crate::run::{Entry, MixingWeights, Run};
use crate::script::binding::{Argument, Library, List, Options, ScriptType, describe_value};
use crate::script::nouns::json::to_json;
use crate::space::recurrent::LanguageModel;
use crate::space::{NamedMixing, Network};
use crate::{Error, Result};
use lasting::{kept, restored};
use rhai::{Array, Dynamic, Map};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

pub fn declare(library: &mut Library) {
    library.noun("runs", "A search while it runs: its folder, its loops, its journal and its charts.");
    library.kind::<Run>("A run: the folder `run.folder` with the script, `run.json`, `journal.jsonl` and `plots/`.");
    declare_start(library);
    declare_loops(library);
    declare_charts(library);
    sheet::declare(library);
}

fn declare_start(library: &mut Library) {
    let host = library.host();
    library
        .function("start_run", &["state", "options"], move |state: Option<Array>, options: Options| {
            start::start(&host, &state.unwrap_or_default(), &options.find("keep")?.unwrap_or_default())
        })
        .doc(
            r#"
            Begins a run: makes its folder (`--out`, or the first free one of `runs/SCRIPT`, `runs/SCRIPT-2` …) and
            keeps in it the script as it runs and `run.json` with parameters, seed, device, threads and versions.
            `state` lists the networks, optimizers, batches, windows and parameters that the loop changes: `candlewick
            run SCRIPT --resume` continues an interrupted run from the beginning of the epoch that was running, bit for
            bit as if it had never stopped. The script runs again up to its first loop over `run.epochs`; there the
            state is restored. The script's own variables that outlast an epoch belong in `run.kept`.
            "#,
        )
        .optional::<Map>("keep", "nothing", "first values of `run.kept`")
        .example(
            r#"
            let data = images("digits");
            let train = data.train.batches(512);
            let run = start_run([train]);
            for epoch in run.epochs(2) {
                for batch in run.steps(train) { run.log(#{ train_loss: 1.0 / batch.len() }); }
                run.log(#{ valid_accuracy: 0.5 });
            }
            "#,
        );
    library
        .property("kept", |run: Run| restored(run.kept()))
        .writable(|run: Run, values: Map| kept(&values).map(|values| run.keep(values)))
        .doc(
            r#"
            A map of values that a resumed run gets back: numbers, strings, genotypes, arrays and maps. Change its
            entries in place.
            "#,
        )
        .example(
            r#"
            let run = start_run([], #{ keep: #{ best: 0.0, scores: [] } });
            for epoch in run.epochs(3) {
                let score = 0.5 + 0.1 * epoch;
                run.kept.scores.push(score);
                if score > run.kept.best { run.kept.best = score; }
            }
            assert_equal(run.kept.scores.len(), 3);
            assert(run.kept.best > 0.6);
            "#,
        );
    library
        .property("folder", |run: Run| Ok(run.folder().display().to_string()))
        .doc("The run's folder.")
        .example("print(start_run().folder);");
    library
        .property("epoch", |run: Run| Ok(run.epoch() as i64))
        .doc("The epoch that is running, from 0.")
        .example("assert_equal(start_run().epoch, 0);");
    library
        .property("step", |run: Run| Ok(run.step() as i64))
        .doc("The step that is running or ran last, from 0 over the whole run.")
        .example(
            r#"
            let run = start_run();
            for epoch in run.epochs(2) { for step in run.steps(3) {} }
            assert_equal(run.step, 5);
            "#,
        );
}

fn declare_loops(library: &mut Library) {
    library.kind::<Epochs>("The epochs of a run, for a `for` loop.");
    library.iterable::<Epochs>();
    library
        .method("epochs", &["run", "count"], |run: Run, count: usize| Ok(Epochs { run, count: count as u64 }))
        .doc("The numbers 0 to `count` − 1, one per epoch; progress and the journal follow the loop.")
        .example("for epoch in start_run().epochs(3) { print(epoch); }");
    library.kind::<Steps>("The steps of an epoch, for a `for` loop.");
    library.iterable::<Steps>();
    library
        .method("steps", &["run", "items"], |run: Run, items: Dynamic| {
            Items::of(&items).map(|items| Steps { run, items })
        })
        .doc(
            r#"
            One step for each item: the batches or windows of the running epoch, the elements of an array, or the
            numbers 0 to n − 1 where `items` is an int. Each step shows in the progress bar and has its number in the
            journal.
            "#,
        )
        .example(
            r#"
            let run = start_run();
            let losses = [];
            for step in run.steps(4) { losses.push(1.0 / (step + 1)); run.log(#{ train_loss: losses[step] }); }
            assert_equal(losses.len(), 4);
            "#,
        );
    library
        .method("log", &["run", "fields"], |run: Run, fields: Map| run.log(&entry(&fields)?))
        .doc(
            r#"
            Writes one line into `journal.jsonl`: `epoch`, `step`, the fields, `time`. Numbers, strings, arrays, maps,
            tensors and genotypes may be logged; within a step the numbers show in the progress bar, after the epoch's
            steps they sum it up. A field whose name ends in "loss" must be finite, or the run stops here.
            "#,
        )
        .example(r#"start_run().log(#{ valid_loss: 0.7, valid_accuracy: 0.8, note: "good" });"#);
}

fn declare_charts(library: &mut Library) {
    library
        .method(
            "plot",
            &["run", "field", "second", "third", "fourth", "fifth"],
            |run: Run, first: String, b: Option<String>, c: Option<String>, d: Option<String>, e: Option<String>| {
                run.plot(&std::iter::once(first).chain([b, c, d, e].into_iter().flatten()).collect::<Vec<String>>())
            },
        )
        .doc(
            r#"
            Draws logged fields over time into `plots/`, as SVG and PNG named after them. Fields whose names end in the
            same word ("loss", "accuracy") share an axis. A chart is redrawn during the run, as long as that takes
            little of its time, and at the end.
            "#,
        )
        .example(
            r#"
            let run = start_run();
            for step in run.steps(10) { run.log(#{ train_loss: 1.0 / (step + 1) }); }
            run.plot("train_loss");
            "#,
        );
    library
        .method("plot_alphas", &["run", "alphas"], |run: Run, alphas: Dynamic| {
            run.plot_alphas(&mixing_weights(&alphas)?)
        })
        .doc(
            r#"
            Logs mixing weights as they are and draws them: `alphas-normal` and `alphas-reduce` over time, a panel an
            edge, and the heat map `alphas`. `alphas` is a supernet (then the softmax of its alphas, and its edge
            weights), or a map with the weights of each kind of cell: `#{ normal: #{ ops: DARTS_OPS, values: p } }`,
            `values` edges × ops, an array or a tensor, and `edges` as pairs of names where they are not those of a
            DARTS cell.
            "#,
        )
        .example(
            r#"
            let run = start_run();
            let p = [[0.7, 0.3], [0.5, 0.5]];
            run.plot_alphas(#{ normal: #{ ops: ["skip_connect", "sep_conv_3x3"], values: p } });
            "#,
        );
    library
        .method("plot_groups", &["run", "name", "groups"], |run: Run, name: String, groups: Map| {
            let group = |(group, values): (&rhai::Identifier, &Dynamic)| {
                let values = List::<f64>::read(values);
                Ok((group.to_string(), values.map_err(|m| m.into_error(&format!("`{group}`"), "[float]"))?.0))
            };
            run.plot_groups(&name, &groups.iter().map(group).collect::<Result<_>>()?)
        })
        .doc(
            r#"
            Logs groups of results, a map of arrays of numbers, and draws them side by side as the chart `name`: every
            result a dot, the mean a line, the standard deviation a band.
            "#,
        )
        .example(
            r#"
            let run = start_run();
            run.plot_groups("test_accuracy", #{ searched: [0.97, 0.96, 0.97], random: [0.95, 0.97, 0.94] });
            "#,
        );
    library
        .method("draw", &["run", "genotype"], |run: Run, genotype: Dynamic| run.draw(&to_json(&genotype)?))
        .doc(
            r#"
            Draws the cells of a genotype as graphs into `plots/cells`, and marks their ops in the heat map. Logs the
            genotype unless it was the last one logged. `genotype` is a genotype or a map of its fields.
            "#,
        )
        .example(
            r#"
            start_run().draw(#{
                normal: [["sep_conv_3x3", 0], ["skip_connect", 1], ["max_pool_3x3", 0], ["sep_conv_5x5", 2]],
                normal_concat: [2, 3],
            });
            "#,
        );
}

fn entry(fields: &Map) -> Result<Entry> {
    fields.iter().map(|(name, value)| Ok((name.to_string(), to_json(value)?))).collect()
}

/// The mixing weights of a supernet, or of a map as [`declare_charts`] documents it.
fn mixing_weights(alphas: &Dynamic) -> Result<BTreeMap<String, MixingWeights>> {
    if let Some(network) = alphas.read_lock::<Network>() {
        return of_supernet(&network);
    }
    if let Some(model) = alphas.read_lock::<LanguageModel>() {
        return of_recurrent_supernet(&model);
    }
    let kinds = alphas.as_map_ref().map_err(|_| {
        Error::user(format!("plot_alphas takes a supernet or a map, not {}", describe_value(alphas)))
            .hint("for example #{ normal: #{ ops: DARTS_OPS, values: softmax(net.alphas[\"normal\"], 1) } }")
    })?;
    let of_kind = |(kind, value): (&rhai::Identifier, &Dynamic)| {
        let wrong =
            |what: &str| Error::user(format!("plot_alphas: `{kind}` {what}")).hint("#{ ops: [...], values: [[...]] }");
        let map = Map::read(value).map_err(|_| wrong("is not a map"))?;
        if let Some(name) = map.keys().find(|name| !["edges", "ops", "values"].contains(&name.as_str())) {
            return Err(Error::unknown("entry of mixing weights", name, ["edges", "ops", "values"]));
        }
        let read = |name: &str| map.get(name).map(to_json).transpose();
        let ops = read("ops")?.and_then(|ops| serde_json::from_value(ops).ok());
        let ops = ops.ok_or_else(|| wrong("has no list of names as `ops`"))?;
        let values = read("values")?.as_ref().and_then(rows).ok_or_else(|| wrong("has no edges × ops as `values`"))?;
        let weights = match read("edges")? {
            Some(edges) => {
                let edges =
                    serde_json::from_value(edges).map_err(|_| wrong("has `edges` that are not pairs of names"))?;
                MixingWeights::new(edges, ops, values)?
            }
            None => MixingWeights::of_cell(ops, values)?,
        };
        Ok((kind.to_string(), weights))
    };
    kinds.iter().map(of_kind).collect()
}

fn rows(values: &Value) -> Option<Vec<Vec<f64>>> {
    let row = |row: &Value| row.as_array()?.iter().map(crate::run::value_of).collect::<Option<Vec<f64>>>();
    values.as_array()?.iter().map(row).collect()
}

/// The softmax of the alphas of each kind of cell.
fn of_supernet(network: &Network) -> Result<BTreeMap<String, MixingWeights>> {
    if network.space().is_none() {
        return Err(Error::user("plot_alphas: this network is not a supernet, so the names of its ops are not known")
            .hint("give a map: #{ normal: #{ ops: [...], values: p } }"));
    }
    let weights =
        |NamedMixing { name, columns, rows }| MixingWeights::of_cell(columns, rows).map(|weights| (name, weights));
    network.mixing_by_name()?.into_iter().map(weights).collect()
}

/// The softmax of a recurrent supernet's alphas.
fn of_recurrent_supernet(model: &LanguageModel) -> Result<BTreeMap<String, MixingWeights>> {
    let (_, activations) = model.space()?;
    let of = |p: candle_core::Tensor| -> Result<(String, MixingWeights)> {
        let values = p.to_dtype(candle_core::DType::F64)?.to_vec2::<f64>()?;
        Ok(("recurrent".to_string(), MixingWeights::of_recurrent_cell(activations.to_vec(), values)?))
    };
    model.relax(model.alphas())?.into_iter().map(of).collect()
}

/// A loop over a run's epochs, not yet begun.
#[derive(Clone)]
pub struct Epochs {
    run: Run,
    count: u64,
}

impl IntoIterator for Epochs {
    type Item = Result<Dynamic>;
    type IntoIter = Box<dyn Iterator<Item = Result<Dynamic>>>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.run.epochs(self.count).map(|epoch| epoch.map(|epoch| Dynamic::from_int(epoch as i64))))
    }
}

/// A loop over the steps of an epoch, not yet begun.
#[derive(Clone)]
pub struct Steps {
    run: Run,
    items: Items,
}

/// What a loop over steps walks.
#[derive(Clone)]
enum Items {
    Count(u64),
    Values(Array),
    Batches(Batches),
    Windows(Windows),
}

impl Items {
    fn of(value: &Dynamic) -> Result<Self> {
        if let Some(batches) = value.read_lock::<Batches>() {
            return Ok(Self::Batches(batches.clone()));
        }
        if let Some(windows) = value.read_lock::<Windows>() {
            return Ok(Self::Windows(windows.clone()));
        }
        if let Ok(array) = value.as_array_ref() {
            return Ok(Self::Values(array.clone()));
        }
        match value.as_int().ok().and_then(|count| u64::try_from(count).ok()) {
            Some(count) => Ok(Self::Count(count)),
            None => Err(Error::user(format!(
                "run.steps takes batches, windows, an array or a count, not {}",
                describe_value(value)
            ))
            .hint("for batch in run.steps(train), with train = data.train.batches(64)")),
        }
    }
}

impl IntoIterator for Steps {
    type Item = Result<Dynamic>;
    type IntoIter = Box<dyn Iterator<Item = Result<Dynamic>>>;

    fn into_iter(self) -> Self::IntoIter {
        match self.items {
            Items::Count(count) => {
                let numbers = (0..count).map(|number| Ok(Dynamic::from_int(number as i64)));
                Box::new(self.run.steps(numbers, Some(count)))
            }
            Items::Values(values) => {
                let count = values.len() as u64;
                Box::new(self.run.steps(values.into_iter().map(Ok), Some(count)))
            }
            Items::Batches(batches) => {
                let epoch = batches.epoch(self.run.epoch()).map(|batch| batch.map(Dynamic::from));
                Box::new(self.run.steps(epoch, Some(batches.len() as u64)))
            }
            Items::Windows(windows) => {
                let number = self.run.epoch();
                let epoch = windows.epoch(number).map(|window| window.map(Dynamic::from));
                Box::new(self.run.steps(epoch, Some(windows.len(number) as u64)))
            }
        }
    }
}

impl ScriptType for Run {
    const NAME: &'static str = "run";
}

impl ScriptType for Epochs {
    const NAME: &'static str = "epochs";
}

impl ScriptType for Steps {
    const NAME: &'static str = "steps";
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run in {}", self.folder().display())
    }
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} epochs of the {}", self.count, self.run)
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "steps of the {}", self.run)
    }
}
