//! The noun `cells`: the spaces that discrete cells come from, and cells scored by training them from scratch. The work
//! is done in [`crate::space::spaces`] and [`crate::learn::scratch`].

mod coded;
mod images;
mod spaces;
mod text;

use super::graph::Registry;
use super::language::activation::Registry as Activations;
use crate::learn::scratch::{CellScore, ScoreCache, Scored, Task, score_all};
use crate::random::Seed;
use crate::script::binding::{Call, Declaration, Library, Options};
use crate::script::host::Host;
use crate::{Error, Result};
use rhai::{Dynamic, Map};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Declares the noun. The registries hold the operations and activations that scripts defined.
pub fn declare(library: &mut Library, operations: &Registry, activations: &Activations) {
    library.noun("cells", "Spaces of cells, and cells scored by training them from scratch, none of them twice.");
    spaces::declare(library);
    coded::declare(library);
    images::declare(library, operations);
    text::declare(library, activations);
}

/// How often the scoring of many cells says how far it is.
const TOLD: Duration = Duration::from_secs(10);

/// The options that every kind of cell takes.
fn with_common(declaration: &mut Declaration) -> &mut Declaration {
    declaration.optional::<usize>("seed", "the run's", "what weights, order and augmentation are drawn from").option(
        "cache",
        true,
        "look up and keep scores on the disk",
    )
}

fn seed(call: &Call<'_>, options: &Options) -> Result<Seed> {
    Ok(options.find::<usize>("seed")?.map_or(call.host().seed(), |seed| Seed(seed as u64)))
}

/// A key: which program computes the score and how, and these fields.
fn key(host: &Host, fields: Value) -> Result<Value> {
    let mut key = serde_json::json!({
        "candlewick": env!("CARGO_PKG_VERSION"),
        "device": host.setup.device_name,
        "precision": host.dtype().as_str(),
        "simd": crate::engine::Isa::choose()?.name(),
    });
    if let (Some(key), Value::Object(fields)) = (key.as_object_mut(), fields) {
        key.extend(fields);
    }
    Ok(key)
}

/// The scores of all tasks as scripts see them; says now and then how far it is.
fn scores(call: &Call<'_>, tasks: &[Task<'_>], options: &Options) -> Result<Vec<Map>> {
    let host = call.host();
    let cache = ScoreCache::new(host.setup.cells.clone().filter(|_| options.get("cache").is_ok_and(|on: bool| on)));
    // A GPU runs one network at a time.
    let threads = if host.networks().is_none() && host.device().is_cpu() { host.setup.threads } else { 1 };
    let mut last = Instant::now();
    let told = |Scored { trained, of }: Scored| {
        if last.elapsed() >= TOLD && trained < of {
            last = Instant::now();
            host.notes.show(&format!("{trained} of {of} cells trained"));
        }
    };
    Ok(score_all(tasks, &cache, threads, told)?.iter().map(entries).collect())
}

fn entries(score: &CellScore) -> Map {
    let quality = [("accuracy", score.accuracy), ("perplexity", score.perplexity)];
    let known = quality.into_iter().filter_map(|(name, value)| Some((name, Dynamic::from_float(value?))));
    let others = [
        ("loss", Dynamic::from_float(score.loss)),
        ("parameters", Dynamic::from_int(score.parameters as i64)),
        ("macs", Dynamic::from_int(score.macs as i64)),
        ("cost", Dynamic::from_float(score.cost)),
    ];
    known.chain(others).map(|(name, value)| (name.into(), value)).collect()
}

/// The one score of a list.
fn only(mut scores: Vec<Map>) -> Result<Map> {
    scores.pop().ok_or_else(|| Error::run("the cell was not scored"))
}
