//! Launches that come again as they were: recorded once as a CUDA graph, which starts them all with one call.

use cudarc::driver::{DriverError, result, sys};

/// How many graphs are kept: both directions of the few kinds of passes that a search alternates between.
const KEPT: usize = 24;

/// What is known of one key.
struct Entry {
    key: Vec<u8>,
    /// None the first time: launches that never come again are not recorded.
    graph: Option<sys::CUgraphExec>,
}

/// Graphs by key, the latest last.
#[derive(Default)]
pub(super) struct Graphs(Vec<Entry>);

/// What to do with launches.
pub(super) enum Known {
    /// They are new: launch them.
    New,
    /// They come a second time: record them.
    Again,
    Recorded(sys::CUgraphExec),
}

impl Graphs {
    pub fn find(&mut self, key: &[u8]) -> Known {
        match self.0.iter().position(|entry| entry.key == key) {
            Some(at) => {
                self.0[at..].rotate_left(1);
                self.0.last().and_then(|entry| entry.graph).map_or(Known::Again, Known::Recorded)
            }
            None => {
                if self.0.len() >= KEPT {
                    destroy(self.0.remove(0));
                }
                self.0.push(Entry { key: key.to_vec(), graph: None });
                Known::New
            }
        }
    }

    /// Keeps the graph of the key that was looked for last.
    pub fn keep(&mut self, graph: sys::CUgraphExec) {
        if let Some(entry) = self.0.last_mut() {
            entry.graph = Some(graph);
        }
    }
}

impl Drop for Graphs {
    fn drop(&mut self) {
        self.0.drain(..).for_each(destroy);
    }
}

fn destroy(entry: Entry) {
    if let Some(graph) = entry.graph {
        // SAFETY: the graph was made by the driver and is not used any more. A failure leaves nothing to do.
        let _ = unsafe { result::graph::exec_destroy(graph) };
    }
}

/// Records what `launch` launches on a stream.
///
/// # Safety
/// The stream must be the driver's, and nothing else may use it meanwhile.
pub(super) unsafe fn record<E: From<DriverError>>(
    stream: sys::CUstream,
    launch: impl FnOnce() -> Result<(), E>,
) -> Result<sys::CUgraphExec, E> {
    // SAFETY: the caller's promise; the recording is ended whatever became of the launches, and the graph that was
    // recorded is not needed once it is made ready.
    unsafe {
        result::stream::begin_capture(stream, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)?;
        let launched = launch();
        let graph = result::stream::end_capture(stream);
        launched?;
        let graph = graph?;
        let ready = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
        result::graph::destroy(graph)?;
        Ok(ready?)
    }
}
