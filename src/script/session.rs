//! One script from file to finish: read, compiled, checked against `--set`, run.

use super::check;
use super::engine::{STACK_BYTES, engine};
use super::host::Host;
use super::imports::{Sources, locate};
use super::library::Catalogue;
use super::page::Page;
use super::param::Listing;
use crate::Error;
use rhai::{AST, ASTNode, Engine, Expr, Scope, Stmt};
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
        let text = std::fs::read_to_string(path).map_err(|e| Page::from(Error::file(path, &e)))?;
        Self::compile(host, text)
    }

    /// Compiles `text` as the host's script.
    pub fn compile(host: Arc<Host>, text: String) -> Result<Self, Box<Page>> {
        let file = host.setup.script.display().to_string();
        let sources = Sources::default();
        sources.add(&file, &text);
        let (engine, catalogue) = engine(&host, &sources);
        match engine.compile_with_scope(&constants(&catalogue), &text) {
            Ok(mut ast) => {
                ast.set_source(file.as_str());
                Ok(Self { host, engine, catalogue, sources, file, text, ast })
            }
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
        for module in self.modules() {
            listing.add(&module);
        }
        listing
    }

    /// The modules that the script imports by literal names, all the way down. What does not load is left out: running
    /// the script says why.
    fn modules(&self) -> Vec<AST> {
        let mut names = imports(&self.ast);
        let mut modules = vec![];
        let mut index = 0;
        while index < names.len() {
            let text = locate(&self.host, &names[index]).ok().and_then(|path| std::fs::read_to_string(path).ok());
            if let Some(ast) = text.and_then(|t| self.engine.compile_with_scope(&constants(&self.catalogue), t).ok()) {
                for name in imports(&ast) {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                modules.push(ast);
            }
            index += 1;
        }
        modules
    }

    /// Runs the script.
    ///
    /// # Errors
    /// Whatever goes wrong, as a page; nothing has run yet where `--set` does not fit the parameters.
    pub fn run(&self) -> Result<(), Box<Page>> {
        self.params().check(&self.host.setup.settings).map_err(Page::from)?;
        self.engine
            .run_ast_with_scope(&mut Scope::new(), &self.ast)
            .map_err(|error| Page::from_rhai(&error, &self.file, &self.sources, &self.catalogue).into())
    }

    /// What reading the script finds wrong, in the order of the text.
    pub fn check(&self) -> Vec<Page> {
        check::check(&self.engine, &self.ast, &self.modules(), &self.file, &self.sources, &self.catalogue)
    }
}

/// The declared constants as the parser wants them, to know their names.
pub(super) fn constants(catalogue: &Catalogue) -> Scope<'static> {
    let mut scope = Scope::new();
    for entry in catalogue.entries.iter().filter(|e| e.face == super::Face::Constant) {
        scope.push_constant(entry.name.as_str(), ());
    }
    scope
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
