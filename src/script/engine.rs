//! Sets the rhai engine up: its limits, its strictness, where it prints, and how it hears Ctrl-C.

use super::failure::Failure;
use super::host::Host;
use super::imports::{Imports, Sources};
use super::library::{Catalogue, Library};
use crate::{Error, interrupt};
use rhai::{Dynamic, Engine, OptimizationLevel};
use std::sync::Arc;

/// Calls of script functions inside one another. A search needs a handful.
pub const CALL_DEPTH: usize = 128;
/// Elements of one array with all that is nested in it. rhai counts them anew at each change: larger things are tensors.
pub const ARRAY_SIZE: usize = 65_536;
/// Keys of one map with all that is nested in it.
pub const MAP_SIZE: usize = 16_384;
/// Bytes of one string.
pub const STRING_SIZE: usize = 16 << 20;
/// Stack of the thread a script runs on: rhai's calls nest, and candle walks and drops its graphs by recursion.
pub const STACK_BYTES: usize = 1 << 30;

/// The engine for one script, and the catalogue of what it offers.
pub fn engine(host: &Arc<Host>, sources: &Sources) -> (Engine, Catalogue) {
    let mut engine = Engine::new();
    engine
        .set_max_call_levels(CALL_DEPTH)
        .set_max_array_size(ARRAY_SIZE)
        .set_max_map_size(MAP_SIZE)
        .set_max_string_size(STRING_SIZE)
        .set_max_expr_depths(128, 128)
        .set_max_variables(4096)
        .set_max_functions(1024)
        .set_max_modules(256)
        .set_max_operations(0);
    engine.set_strict_variables(true).set_fail_on_invalid_map_property(true);
    // Unoptimised, so that `check` and the parameter list see the script as it was written.
    engine.set_optimization_level(OptimizationLevel::None);
    // Code in strings escapes `check`; rhai's own sleep is deaf to Ctrl-C.
    engine.disable_symbol("eval").disable_symbol("sleep");
    engine.set_module_resolver(Imports::new(host.clone(), sources.clone()));
    engine.on_progress(|_| interrupt::requested().then(|| Dynamic::from(Failure(Error::interrupted()))));
    let printer = host.clone();
    engine.on_print(move |line| printer.print(line));
    engine.on_debug(|text, source, position| {
        eprintln!("debug: {}{position:?} {text}", source.map_or(String::new(), |s| format!("{s} ")));
    });
    let mut library = Library::new(host.clone());
    super::declare(&mut library);
    let catalogue = library.install(&mut engine);
    (engine, catalogue)
}
