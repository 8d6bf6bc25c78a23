//! What a network's passes would take on a GPU, worked out without one: bytes and operations of every item, and from
//! them the time by roofline.

use super::plan::CudaPlan;
use super::program::{Program, Round, Step, Stretch, When, Work};
use crate::Result;
use crate::engine::Wanted;
use crate::graph::Graph;
use std::collections::{BTreeMap, BTreeSet};

/// A card by its limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    pub name: &'static str,
    /// Bytes a second between its memory and its multiprocessors, as a copy of a large buffer shows it.
    pub bandwidth: f64,
    /// Operations a second in single precision without tensor cores; a multiply-add is two.
    pub arithmetic: f64,
    /// Seconds from one launch to the next, in a graph; until all blocks have been waited for it is as many.
    pub launch: f64,
    /// Bytes that its cache holds for all multiprocessors.
    pub cache: f64,
}

impl Card {
    /// Its cache of 50 MB is two halves, and what either half of the multiprocessors reads is kept in its own.
    pub const H100: Self = Self { name: "H100", bandwidth: 3.0e12, arithmetic: 60e12, launch: 1e-6, cache: 25e6 };
}

/// What the items of one family take together. Two more are what launches cost of themselves: "launching", and
/// "waiting" of items for all that come before them within a launch, each time as long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicted {
    pub kernel: &'static str,
    /// Launches that it has a part in; of "waiting", how often that is.
    pub launches: usize,
    pub bytes: u64,
    pub flops: u64,
    pub seconds: f64,
}

/// Training passes over batches of a graph's images, each with the gradients that it is asked for: by family, in
/// alphabetical order.
///
/// # Errors
/// A graph that does not run on CUDA yet.
pub fn predict(graph: &Graph, batch: usize, passes: &[Wanted], card: Card) -> Result<Vec<Predicted>> {
    let cuda = CudaPlan::new(graph)?;
    let mut kernels: BTreeMap<&'static str, Predicted> = BTreeMap::new();
    let (mut launches, mut waits) = (0, 0);
    for wanted in passes {
        let program = Program::new(&cuda, graph, &cuda.training, None, *wanted);
        for step in program.forward.iter().chain(&program.backward) {
            let rounds: Vec<&Round> = match step {
                Step::Rounds(rounds) => rounds.iter().filter(|round| round.when != When::Running).collect(),
                Step::Flat { .. } => {
                    launches += 1;
                    continue;
                }
            };
            launches += usize::from(!rounds.is_empty());
            for family in rounds.iter().map(|round| round.family.name()).collect::<BTreeSet<_>>() {
                kernels.entry(family).or_default().launches += 1;
            }
            for (number, stretch) in Stretch::all(&rounds).enumerate() {
                waits += usize::from(number > 0);
                let work = work_of(&stretch, batch, card);
                let time = |work: &Work| [work.bytes as f64 / card.bandwidth, work.flops as f64 / card.arithmetic];
                let mut all = Work::default();
                work.iter().for_each(|work| all += *work);
                // The limit that they meet together, and each one's share of it.
                let limit = usize::from(time(&all)[1] > time(&all)[0]);
                for (round, work) in stretch.rounds.iter().zip(work) {
                    let kernel = kernels.entry(round.family.name()).or_default();
                    kernel.bytes += work.bytes;
                    kernel.flops += work.flops;
                    kernel.seconds += time(&work)[limit];
                }
            }
        }
    }
    for (name, launches) in [("launching", launches), ("waiting", waits)] {
        let seconds = launches as f64 * card.launch;
        kernels.insert(name, Predicted { launches, seconds, ..Predicted::default() });
    }
    Ok(kernels.into_iter().map(|(kernel, predicted)| Predicted { kernel, ..predicted }).collect())
}

/// By round of a stretch: what it takes for a batch. A tensor that an earlier round of it has read or written comes
/// from the cache, if that holds what all of them touch until a later wave comes to the same image.
fn work_of(stretch: &Stretch<'_>, batch: usize, card: Card) -> Vec<Work> {
    let work = |cached: &mut dyn FnMut(&Round) -> u64| -> Vec<Work> {
        let all = |round: &&Round| Work { bytes: round.work.bytes + cached(round), ..round.work };
        stretch.rounds.iter().map(all).collect()
    };
    let nothing = BTreeMap::new();
    let apart = work(&mut |round| round.tensors.fetched(&nothing));
    let mut cached = BTreeMap::new();
    let together = work(&mut |round| {
        let fetched = round.tensors.fetched(&cached);
        round.tensors.cache(&mut cached);
        fetched
    });
    let touched: u64 = together.iter().map(|work| work.bytes).sum();
    let fits = (touched as usize * stretch.lag(batch)) as f64 <= card.cache;
    (if fits { together } else { apart }).into_iter().map(|work| work.times(batch)).collect()
}
