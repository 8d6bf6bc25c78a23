//! Sets the rhai engine up: its limits, its strictness, where it prints, and how Ctrl-C stops it.

use super::caught;
use super::failure::Failure;
use super::imports::{Imports, Sources};
use super::library::{Catalogue, Library};
use crate::error::tell;
use crate::script::host::Host;
use crate::{Error, interrupt};
use rhai::{Dynamic, Engine, EvalAltResult, OptimizationLevel, Position};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Calls of script functions inside one another. A search needs a handful.
pub const CALL_DEPTH: usize = 128;
/// Elements of one array with all that is nested in it. rhai recounts them at each change: larger things are
/// tensors.
pub const ARRAY_SIZE: usize = 1 << 20;
/// Keys of one map with all that is nested in it.
pub const MAP_SIZE: usize = 1 << 17;
/// Bytes of one string.
pub const STRING_SIZE: usize = 16 << 20;
/// Stack of the thread a script runs on: rhai's calls nest, and candle walks and drops its graphs by recursion.
pub const STACK_BYTES: usize = 1 << 30;

/// The engine for one script, with what `declare` declares, and the catalogue of it.
pub fn engine(host: &Arc<Host>, sources: &Sources, declare: fn(&mut Library)) -> (Engine, Catalogue) {
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
    // Code in strings escapes `check`.
    engine.disable_symbol("eval");
    engine.on_progress(|_| interrupt::requested().then(|| Dynamic::from(Failure(Error::interrupted()))));
    let printer = host.clone();
    engine.on_print(move |line| printer.print(line));
    engine.on_debug(|text, source, position| {
        tell(&format!("debug: {}{position:?} {text}", source.map_or(String::new(), |s| format!("{s} "))));
    });
    let leaver = host.clone();
    engine.register_fn("exit", move |code: i64| -> Result<(), Box<EvalAltResult>> {
        leaver.leave(code).map_err(|error| -> Box<EvalAltResult> {
            EvalAltResult::ErrorRuntime(Dynamic::from(Failure(error)), Position::NONE).into()
        })?;
        Err(EvalAltResult::Exit(Dynamic::UNIT, Position::NONE).into())
    });
    caught::install(&mut engine);
    let mut library = Library::new(host.clone());
    declare(&mut library);
    let catalogue = library.install(&mut engine);
    engine.set_module_resolver(Imports::new(host.clone(), sources.clone(), catalogue.scope()));
    resolve_constants(&mut engine, catalogue.constants.clone());
    (engine, catalogue)
}

/// Lets scripts see the declared constants everywhere. As variables of a global module closures could not capture them,
/// and as variables of the scope functions would not see them.
fn resolve_constants(engine: &mut Engine, constants: BTreeMap<String, Dynamic>) {
    // Deprecated only in that rhai may still change it.
    #[allow(deprecated)]
    engine.on_var(move |name, index, context| {
        let own = index > 0 || context.scope().contains(name);
        Ok(if own { None } else { constants.get(name).cloned() })
    });
}
