//! Runs: the folder that holds one, its journal, its checkpoints, its progress on the terminal, and the loop that ties
//! them together.
//!
//! The journal is the one source of truth: every number a chart shows was written there first, so charts can be redrawn
//! from a run folder alone, and two runs are compared by their journals.

mod checkpoint;
mod data;
mod drawing;
mod folder;
mod journal;
mod keeper;
mod live;
mod plots;
mod progress;

pub use checkpoint::Lasting;
pub use data::{Recorded, write_data};
pub use drawing::cells_from_genotype;
pub use folder::{Reopened, RunFolder, RunInfo, claim, is_own, newest};
pub use journal::{Entry, Journal, difference, number, read, value_of};
pub use live::{Epochs, Run, Steps, WeakRun};
pub use plots::{CurvesOver, MixingWeights, Plot, Results, figures};
pub use progress::Progress;
