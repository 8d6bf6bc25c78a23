//! One script from file to finish: read, compiled, checked against `--set`, run.

use super::binding::{Catalogue, Library, STACK_BYTES, Sources, compile, engine, locate, read_script, unmarked};
use super::host::Host;
use super::nouns::{self, param::Listing};
use super::pages::{Kind, Page, check, divisions, hidden, shared, unkept};
use crate::Error;
use rhai::{AST, ASTNode, Engine, Expr, Position, Scope, Stmt};
use std::sync::Arc;

/// A script that compiled.
pub struct Script {
    host: Arc<Host>,
    engine: Engine,
    catalogue: Catalogue,
    sources: Sources,
    file: String,
    text: String,
    ast: AST,
}

impl Script {
    /// Reads and compiles the host's script.
    ///
    /// # Errors
    /// A file that cannot be read, and whatever the parser finds.
    pub fn load(host: Arc<Host>) -> Result<Self, Box<Page>> {
        let path = &host.setup.script;
        let text = read_script(path).map_err(Page::from)?;
        Self::compile(host, text)
    }

    /// Compiles `text` as the host's script.
    ///
    /// # Errors
    /// Whatever the parser finds.
    pub fn compile(host: Arc<Host>, text: String) -> Result<Self, Box<Page>> {
        Self::compile_with(host, text, nouns::declare)
    }

    /// Compiles `text` for an engine with other declarations than the usual ones.
    pub fn compile_with(host: Arc<Host>, text: String, declare: fn(&mut Library)) -> Result<Self, Box<Page>> {
        let text = unmarked(text);
        let file = host.setup.script.display().to_string();
        let sources = Sources::default();
        let (engine, catalogue) = engine(&host, &sources, declare);
        match compile(&engine, &catalogue.scope(), &sources, &file, &text) {
            Ok(ast) => Ok(Self { host, engine, catalogue, sources, file, text, ast }),
            Err(error) => Err(Page::from_rhai(&error.into(), &file, &sources, &catalogue).into()),
        }
    }

    /// The comment at the top of the script.
    pub fn about(&self) -> String {
        let lines = self.text.lines().map(str::trim).skip_while(|l| l.is_empty()).take_while(|l| l.starts_with("//"));
        let bare = |line: &str| line.trim_start_matches(['/', '!']).trim_start().to_string();
        lines.map(bare).collect::<Vec<_>>().join("\n")
    }

    /// The parameters of the script and of what it imports.
    pub fn params(&self) -> Listing {
        let mut listing = Listing::default();
        listing.add(&self.ast);
        for module in self.modules().0 {
            listing.add(&module);
        }
        listing
    }

    /// The modules that the script imports by literal names, all the way down, and what is wrong with those that do not
    /// load.
    fn modules(&self) -> (Vec<AST>, Vec<Page>) {
        let mut names = imports(&self.ast);
        let (mut modules, mut pages) = (vec![], vec![]);
        let mut index = 0;
        while index < names.len() {
            match self.module(&names[index]) {
                Ok(ast) => {
                    for name in imports(&ast) {
                        if !names.contains(&name) {
                            names.push(name);
                        }
                    }
                    modules.push(ast);
                }
                Err(page) => pages.push(*page),
            }
            index += 1;
        }
        (modules, pages)
    }

    fn module(&self, name: &str) -> Result<AST, Box<Page>> {
        let path = locate(&self.host, name).map_err(Page::from)?;
        let text = unmarked(read_script(&path).map_err(Page::from)?);
        let file = path.display().to_string();
        compile(&self.engine, &self.catalogue.scope(), &self.sources, &file, &text)
            .map_err(|e| Page::from_rhai(&e.into(), &file, &self.sources, &self.catalogue).into())
    }

    /// Runs the script.
    ///
    /// # Errors
    /// Whatever goes wrong, as a page; nothing has run yet where `--set` does not fit the parameters.
    pub fn run(&self) -> Result<(), Box<Page>> {
        self.params().check(&self.host.setup.settings).map_err(Page::from)?;
        for (name, position) in unkept(&self.ast) {
            let line = position.line().unwrap_or_default();
            self.host.notes.show(&format!(
                "warning: {}:{line}: `{name}` changes in the loop over epochs: a resumed run would reset it, but \
                 finds run.kept.{name} again",
                self.file
            ));
        }
        self.warnings().iter().for_each(|warning| self.host.notes.show(warning));
        match self.engine.run_ast_with_scope(&mut Scope::new(), &self.ast) {
            // The language reports an `exit` inside a function as an error.
            Err(_) if self.host.left().is_some() => Ok(()),
            ended => ended.map_err(|error| Page::from_rhai(&error, &self.file, &self.sources, &self.catalogue).into()),
        }
    }

    /// What the script does that it most likely does not mean.
    pub fn warnings(&self) -> Vec<String> {
        let told = |position: Position| {
            let line = position.line().unwrap_or_default();
            let text = self.sources.line(&self.file, line).unwrap_or_default();
            format!(
                "warning: {}:{line}: whole numbers are divided among floats, and the rest is lost: `{}`; write \
                 `1.0 * a / b` or `a.to_float() / b` for a share",
                self.file,
                text.trim()
            )
        };
        let sharing = |(name, position): (String, Position)| {
            let line = position.line().unwrap_or_default();
            format!(
                "warning: {}:{line}: closures of every turn of the loop share `{name}`, and all of them will see its \
                 last value; `let {name} = {name};` before the closure gives each its own",
                self.file
            )
        };
        let returns = |name: &str| {
            let mut kinds = self.catalogue.functions(name).map(|entry| match entry.returns.as_str() {
                "float" | "tensor" => Some(Kind::Float),
                "int" => Some(Kind::Whole),
                _ => None,
            });
            let first = kinds.next()?;
            kinds.all(|kind| kind == first).then_some(first)?
        };
        let is_method = |name: &str, count: usize| {
            self.catalogue.functions(name).any(|entry| (entry.arity().0..=entry.arity().1).contains(&count))
        };
        let hiding = |(name, position): (String, Position)| {
            let line = position.line().unwrap_or_default();
            format!(
                "warning: {}:{line}: `.{name}(…)` runs this script's own function `{name}`, not the method; give the \
                 function another name",
                self.file
            )
        };
        let divided = divisions(&self.ast, &returns).into_iter().map(told);
        let shared = shared(&self.ast).into_iter().map(sharing);
        divided.chain(shared).chain(hidden(&self.ast, is_method).into_iter().map(hiding)).collect()
    }

    /// What reading the script and its modules finds wrong, in the order of the text.
    pub fn check(&self) -> Vec<Page> {
        let (modules, broken) = self.modules();
        let mut pages = vec![];
        for ast in std::iter::once(&self.ast).chain(&modules) {
            let file = ast.source().unwrap_or(&self.file);
            pages.extend(check(&self.engine, ast, &modules, file, &self.sources, &self.catalogue));
        }
        pages.extend(broken);
        pages
    }
}

fn imports(ast: &AST) -> Vec<String> {
    let mut names = vec![];
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last()
            && let Expr::StringConstant(name, _) = &import.0
        {
            names.push(name.to_string());
        }
        true
    });
    names
}

/// Runs `work` on a thread with the stack that scripts need.
///
/// # Errors
/// Where the thread cannot be had, or a panic got past everything.
pub fn on_script_thread<T: Send>(work: impl FnOnce() -> T + Send) -> crate::Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("script".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| Error::run(format!("no thread for the script: {error}")))?
            .join()
            .map_err(|_| Error::run("the script's thread broke off").hint("a mistake in candlewick; please report it"))
    })
}

#[cfg(test)]
mod tests {
    //! Declarations of every kind, seen from a script.

    use super::*;
    use crate::Result;
    use crate::script::binding::{Call, List, Options, ScriptType};
    use crate::script::host::Setup;
    use rhai::{Dynamic, FnPtr};
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
        on_script_thread(|| Script::compile_with(host, text.to_string(), declare)?.run()).map_err(Page::from)?
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
