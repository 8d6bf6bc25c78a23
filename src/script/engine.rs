//! Sets the rhai engine up: its limits, its strictness, where it prints, and how it hears Ctrl-C.

use super::failure::Failure;
use super::host::Host;
use super::imports::{Imports, Sources};
use super::library::{Catalogue, Library};
use crate::{Error, interrupt};
use rhai::{Dynamic, Engine, OptimizationLevel};
use std::collections::BTreeMap;
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
        eprintln!("debug: {}{position:?} {text}", source.map_or(String::new(), |s| format!("{s} ")));
    });
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

#[cfg(test)]
mod tests {
    //! Declarations of every kind, seen from a script.

    use super::*;
    use crate::Result;
    use crate::script::{Call, List, Options, Page, Script, ScriptType, Setup};
    use rhai::FnPtr;
    use std::sync::Mutex;

    #[derive(Clone)]
    struct Counter(Arc<Mutex<f64>>);

    impl ScriptType for Counter {
        const NAME: &'static str = "counter";
    }

    impl std::fmt::Display for Counter {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "counter at {}", self.0.lock().map_err(|_| std::fmt::Error)?)
        }
    }

    impl IntoIterator for Counter {
        type Item = Result<Dynamic>;
        type IntoIter = std::vec::IntoIter<Self::Item>;

        fn into_iter(self) -> Self::IntoIter {
            vec![Ok(1.into()), Err(Error::run("the second is missing"))].into_iter()
        }
    }

    fn value(counter: &Counter) -> Result<f64> {
        counter.0.lock().map(|v| *v).map_err(|_| Error::run("poisoned"))
    }

    fn declare(library: &mut Library) {
        library.constant("LIMITS", List(vec![1i64, 2]));
        library.kind::<Counter>("Counts.");
        library.iterable::<Counter>();
        library
            .function("counter", &["options"], |options: Options| {
                Ok(Counter(Arc::new(Mutex::new(options.get("start")?))))
            })
            .option("start", 0.5, "where it starts");
        library.property("value", |c: Counter| value(&c)).writable(|c: Counter, to: f64| {
            *c.0.lock().map_err(|_| Error::run("poisoned"))? = to;
            Ok(())
        });
        library.method("times", &["counter", "f"], |call: &Call, c: Counter, f: FnPtr| {
            let through_candle = || -> Result<f64, candle_core::Error> { Ok(call.invoke::<f64>(&f, (value(&c)?,))?) };
            Ok(through_candle()?)
        });
        library.function("boom", &[], || -> Result<()> { panic!("by design") });
    }

    fn run(text: &str) -> Result<(), Box<Page>> {
        let host = Host::new(Setup::default());
        crate::script::on_script_thread(|| Script::compile_with(host, text.to_string(), declare)?.run())
            .map_err(Page::from)?
    }

    #[track_caller]
    fn page(text: &str) -> String {
        run(text).expect_err("this fails").render(false)
    }

    fn must(condition: &str) -> String {
        format!("if !({condition}) {{ throw \"not so\"; }}")
    }

    #[test]
    fn constants_are_seen_everywhere_and_stay() {
        let test = must("LIMITS[1] == 2");
        run(&format!("fn f() {{ {test} }}\nf();\nlet g = || {{ {test} }};\ng.call();\n{test}")).expect("it runs");
        assert!(page("LIMITS = 3;").contains("LIMITS"));
    }

    #[test]
    fn properties_read_and_write_and_take_ints_for_floats() {
        let held = must("c.value == 6.0");
        run(&format!("let c = counter(#{{ start: 1 }}); c.value = 2; c.value *= 3; {held}")).expect("it runs");
        run(&format!("let c = counter(); const d = c; {}", must("d.value == 0.5"))).expect("it runs");
        assert!(page("let c = counter(); c.value = \"x\";").contains("`value` must be a float"));
        assert!(page("let c = counter(); c.valu = 3;").contains("did you mean `value`?"));
        assert!(page("let c = counter(); c.time(|x| x);").contains("counter.times(f: closure)"));
    }

    #[test]
    fn a_closure_s_own_error_keeps_its_place_through_the_library() {
        run(&must("counter().times(|x| 2 * x) == 1.0")).expect("it runs");
        let page = page(
            "let c = counter();\nc.times(|x| {\n  x + nothing.here\n});".replace("nothing.here", "#{}.here").as_str(),
        );
        assert!(page.contains("no key `here`") && page.contains(":3:"), "{page}");
    }

    #[test]
    fn a_closure_may_use_the_value_it_is_given_to_only_as_a_function() {
        let captured = "let c = counter(); let f = |x| x + c.value;";
        run(&format!("{captured} {}", must("times(counter(), f) == 1.0"))).expect("it runs");
        run(&format!("{captured} c.value = 1; {}", must("c.value == 1.0"))).expect("captured values work on");
        run(&format!("{captured} {}", must("times(c, f) == 1.0"))).expect("it runs");
        let page = page(&format!("{captured} c.times(f);"));
        assert!(page.contains("uses the value itself") && page.contains("times(value, closure)"), "{page}");
    }

    #[test]
    fn an_error_while_walking_ends_the_loop_with_a_page() {
        assert!(page("for x in counter() { print(x); }").contains("the second is missing"));
    }

    #[test]
    fn a_panic_is_a_page() {
        let page = page("let a = 1;\nboom();");
        assert!(page.contains("boom: an internal check failed: by design") && page.contains(":2:1"), "{page}");
    }
}
