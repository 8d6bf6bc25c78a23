//! One script from file to finish: read, compiled, checked against `--set`, run.

use super::check;
use super::engine::{STACK_BYTES, engine};
use super::host::Host;
use super::imports::{Sources, locate};
use super::library::{Catalogue, Library};
use super::page::Page;
use super::param::Listing;
use super::unkept::unkept;
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
    ///
    /// # Errors
    /// Whatever the parser finds.
    pub fn compile(host: Arc<Host>, text: String) -> Result<Self, Box<Page>> {
        Self::compile_with(host, text, super::declare)
    }

    /// Compiles `text` for an engine with other declarations than the usual ones.
    pub fn compile_with(host: Arc<Host>, text: String, declare: fn(&mut Library)) -> Result<Self, Box<Page>> {
        let file = host.setup.script.display().to_string();
        let sources = Sources::default();
        sources.add(&file, &text);
        let (engine, catalogue) = engine(&host, &sources, declare);
        match engine.compile_with_scope(&catalogue.scope(), &text) {
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
        let text = std::fs::read_to_string(&path).map_err(|e| Page::from(Error::file(&path, &e)))?;
        let file = path.display().to_string();
        self.sources.add(&file, &text);
        let ast = self.engine.compile_with_scope(&self.catalogue.scope(), text);
        let mut ast = ast.map_err(|e| Page::from_rhai(&e.into(), &file, &self.sources, &self.catalogue))?;
        ast.set_source(file);
        Ok(ast)
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
                "warning: {}:{line}: `{name}` changes in the loop over epochs: a resumed run would begin it anew, but finds \
                 run.kept.{name} again",
                self.file
            ));
        }
        self.engine
            .run_ast_with_scope(&mut Scope::new(), &self.ast)
            .map_err(|error| Page::from_rhai(&error, &self.file, &self.sources, &self.catalogue).into())
    }

    /// What reading the script and its modules finds wrong, in the order of the text.
    pub fn check(&self) -> Vec<Page> {
        let (modules, broken) = self.modules();
        let mut pages = vec![];
        for ast in std::iter::once(&self.ast).chain(&modules) {
            let file = ast.source().unwrap_or(&self.file);
            pages.extend(check::check(&self.engine, ast, &modules, file, &self.sources, &self.catalogue));
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
