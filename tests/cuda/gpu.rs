//! This machine's first GPU, where `CANDLEWICK_CUDA=1` asks for it: the same kernels through NVIDIA's driver.

use candlewick::engine::cuda::{self, Launcher};
use std::sync::{Arc, OnceLock};

/// The GPU, if tests are to run on it; fails where it is asked for and cannot be used.
pub fn asked_for() -> Option<Arc<dyn Launcher>> {
    static GPU: OnceLock<Option<Arc<dyn Launcher>>> = OnceLock::new();
    let open = || {
        std::env::var_os("CANDLEWICK_CUDA").filter(|value| value == "1")?;
        Some(cuda::open(0).unwrap_or_else(|error| panic!("CANDLEWICK_CUDA=1, but {error}")))
    };
    GPU.get_or_init(open).clone()
}
