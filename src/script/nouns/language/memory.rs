//! The limits on what a language model's passes take: the option `memory`, and the script's own.

use crate::Error;
use crate::bytes::show_bytes;
use crate::engine::Guard;
use crate::script::host::{Host, Meter};
use crate::space::recurrent::Keeper;
use std::sync::Arc;

pub const DOC: &str = "the most that training may take, \"2GB\" or \"800MiB\"; a window that would take more is an \
                       error, which says what fits. Counted are values, gradients and scratch of one pass of all \
                       layers, the tensors between them, the decoder's rows, eight vectors as long as the weights, and \
                       32 MB for the program; a text is not";
pub const DEFAULT: &str = "no limit but the script's";

/// The script's memory, which passes are counted in.
struct ScriptMemory(Arc<Meter>);

/// Who counts the passes of this script's models.
pub fn keeper(host: &Host) -> Arc<dyn Keeper> {
    Arc::new(ScriptMemory(host.meter.clone()))
}

impl Keeper for ScriptMemory {
    fn left(&self) -> u64 {
        self.0.left()
    }

    fn hold(&self, bytes: u64) -> Guard {
        Arc::new(self.0.hold(bytes))
    }

    fn full(&self, window: &str, bytes: u64, fits: &str) -> Error {
        Error::user(format!("{window} takes {}, more than is left of the script's memory", show_bytes(bytes))).hint(
            format!(
                "the script's tensors hold {} and may hold {}; {fits}; --memory raises the limit",
                show_bytes(self.0.held()),
                show_bytes(self.0.limit())
            ),
        )
    }
}
