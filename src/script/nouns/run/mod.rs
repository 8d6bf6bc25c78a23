//! The noun `runs`: the run folder, the loops over epochs and steps, the journal and its charts, as scripts see them.
//! The work is done in [`crate::run`].

mod charts;
mod lasting;
mod sheet;
mod start;

pub(super) use sheet::save_figure;

use crate::data::Batches;
use crate::data::text::Windows;
use crate::run::{Entry, Run};
use crate::script::binding::{Library, Options, ScriptType, describe_value};
use crate::script::nouns::json::to_json;
use crate::{Error, Result};
use lasting::{kept, restored};
use rhai::{Array, Dynamic, Map};
use std::fmt;

pub fn declare(library: &mut Library) {
    library.noun("runs", "A search while it runs: its folder, its loops, its journal and its charts.");
    library.kind::<Run>("A run: the folder `run.folder` with the script, `run.json`, `journal.jsonl` and `plots/`.");
    declare_start(library);
    declare_loops(library);
    charts::declare(library);
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

fn entry(fields: &Map) -> Result<Entry> {
    fields.iter().map(|(name, value)| Ok((name.to_string(), to_json(value)?))).collect()
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
