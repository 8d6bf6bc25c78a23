//! `import "name" as alias`: modules come from the script's own folder and from nowhere else.

use super::caught::compile;
use super::failure::into_rhai;
use crate::Error;
use crate::script::host::{Host, is_inside};
use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The texts of the script and of every module it imported, for error pages.
#[derive(Clone, Default)]
pub struct Sources(Arc<Mutex<BTreeMap<String, Source>>>);

/// A file as it was written.
struct Source {
    text: String,
    /// Where characters were put in before it was parsed, and how many; in the order of the text.
    shifts: Vec<(Position, usize)>,
}

impl Sources {
    pub fn add(&self, file: &str, text: &str) {
        self.lock().insert(file.into(), Source { text: text.into(), shifts: vec![] });
    }

    /// Notes where characters were put into a file before it was parsed: behind each position, so many.
    pub fn shift(&self, file: &str, shifts: Vec<(Position, usize)>) {
        if let Some(source) = self.lock().get_mut(file) {
            source.shifts = shifts;
        }
    }

    /// The column (from 1) of a parsed position in the file as it was written.
    pub fn column(&self, file: &str, position: Position) -> Option<usize> {
        let mut column = position.position()?;
        let sources = self.lock();
        let shifts = sources.get(file).map_or(&[][..], |source| &source.shifts);
        for (from, by) in shifts.iter().filter(|(from, _)| from.line() == position.line()) {
            // Earlier shifts of the line are taken off by now, so both columns are those of the file.
            if column > from.position()? {
                column = column.saturating_sub(*by).max(from.position()?);
            }
        }
        Some(column)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `line`th line (from 1) of a file.
    pub fn line(&self, file: &str, line: usize) -> Option<String> {
        self.lock().get(file)?.text.lines().nth(line.checked_sub(1)?).map(str::to_string)
    }

    /// The head of the function `name` in any of the files, as it is written.
    pub fn function(&self, name: &str) -> Option<String> {
        let start = format!("fn {name}(");
        self.lock().values().find_map(|Source { text, .. }| {
            let from = text.find(&start)?;
            let length = text[from..].find(')')?;
            Some(text[from..=from + length].to_string())
        })
    }

    /// Whether any of the files declares functions.
    pub fn has_functions(&self) -> bool {
        self.lock().values().any(|source| source.text.lines().any(|line| line.trim_start().starts_with("fn ")))
    }

    /// How a variable of this name is declared outside of all functions and blocks in any of the files.
    pub fn declaration(&self, name: &str) -> Option<Declared> {
        let of_text = |text: &str| text.lines().find_map(|line| declared(line, name));
        self.lock().values().find_map(|source| of_text(&source.text))
    }

    /// The constants that are declared outside of all functions and blocks.
    pub fn constants(&self) -> Vec<String> {
        let name = |line: &str| {
            let rest = line.strip_prefix("const ")?.trim_start();
            Some(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?.to_string())
        };
        self.lock().values().flat_map(|source| source.text.lines().filter_map(name)).collect()
    }

    /// Whether a name stands in any of the files as a variable does: as a word that is not called, outside of comments.
    pub fn is_variable(&self, name: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let reads = |line: &str| {
            let code = line.split("//").next().unwrap_or_default();
            code.match_indices(name).any(|(at, _)| {
                let (before, after) = (&code[..at], &code[at + name.len()..]);
                let is_name = !before.ends_with(|c| is_word(c) || ".\"'`$:".contains(c)) && !after.starts_with(is_word);
                is_name && !after.trim_start().starts_with(['(', ':'])
            })
        };
        self.lock().values().any(|source| source.text.lines().any(reads))
    }

    /// Every identifier written in any of the files: what a misspelt name may have meant.
    pub fn identifiers(&self) -> Vec<String> {
        let sources = self.lock();
        let words = sources.values().flat_map(|source| source.text.split(|c: char| !c.is_alphanumeric() && c != '_'));
        let mut words: Vec<String> =
            words.filter(|w| w.starts_with(|c: char| c.is_alphabetic() || c == '_')).map(str::to_string).collect();
        words.retain(|word| rhai::Token::lookup_symbol_from_syntax(word).is_none());
        words.sort();
        words.dedup();
        words
    }
}

/// What a variable is declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    Constant,
    Variable,
    Closure,
}

/// What a line that is not indented declares under a name.
fn declared(line: &str, name: &str) -> Option<Declared> {
    let (kind, rest) = match (line.strip_prefix("const "), line.strip_prefix("let ")) {
        (Some(rest), _) => (Declared::Constant, rest),
        (None, rest) => (Declared::Variable, rest?),
    };
    let value = rest.trim_start().strip_prefix(name)?.trim_start().strip_prefix('=')?.trim_start();
    Some(if value.starts_with('|') { Declared::Closure } else { kind })
}

/// Reads a script.
///
/// # Errors
/// A file that cannot be read, or is not UTF-8; what it is instead is named where its first bytes tell.
pub fn read_script(path: &Path) -> crate::Result<String> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let (bytes, place) = (error.as_bytes(), error.utf8_error().valid_up_to());
        let what = match bytes {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "it is UTF-16".to_string(),
            _ if bytes.contains(&0) => "it is not text".to_string(),
            _ => {
                let line = 1 + bytes[..place].iter().filter(|byte| **byte == b'\n').count();
                format!("line {line} holds a byte that is not UTF-8 (0x{:02X})", bytes[place])
            }
        };
        Error::user(format!("{}: a script is text in UTF-8, but {what}", path.display()))
            .hint("save it as UTF-8 in your editor")
    })
}

/// A script's text without the byte-order mark that some editors put before it.
pub fn unmarked(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    }
}

/// Where `import` looks.
pub struct Imports {
    host: Arc<Host>,
    sources: Sources,
    constants: Scope<'static>,
    loaded: Mutex<BTreeMap<PathBuf, State>>,
}

enum State {
    Loading,
    Ready(Shared<Module>),
}

impl Imports {
    /// `constants` are the declared ones, whose names modules may use.
    pub fn new(host: Arc<Host>, sources: Sources, constants: Scope<'static>) -> Self {
        Self { host, sources, constants, loaded: Mutex::default() }
    }
}

/// The file that `import "name"` means.
///
/// # Errors
/// For absolute names, names with `..`, links that lead out of the script's folder, and files that are not there.
pub fn locate(host: &Host, name: &str) -> crate::Result<PathBuf> {
    let folder = host.script_folder();
    let refused = || {
        Error::user(format!("the script may not import \"{name}\""))
            .hint("imports come from the script's own folder: give a relative name without \"..\"")
    };
    if name.is_empty() || !is_inside(Path::new(name)) {
        return Err(refused());
    }
    let mut path = folder.join(name);
    if path.extension().is_none_or(|e| e != "rhai") {
        path.as_mut_os_string().push(".rhai");
    }
    let Ok(real) = path.canonicalize() else {
        return Err(
            Error::user(format!("there is no module \"{name}\"")).hint(format!("looked for {}", path.display()))
        );
    };
    let root = folder.canonicalize().map_err(|e| Error::file(folder, &e))?;
    if real.starts_with(root) { Ok(path) } else { Err(refused()) }
}

impl ModuleResolver for Imports {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        name: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let fail = |error: Error| {
            let mut error = into_rhai(error);
            error.set_position(position);
            error
        };
        let path = locate(&self.host, name).map_err(fail)?;
        let lock = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match lock().get(&path) {
            Some(State::Ready(module)) => return Ok(module.clone()),
            Some(State::Loading) => {
                return Err(fail(Error::user(format!(
                    "the module \"{name}\" imports itself, directly or in a circle"
                ))));
            }
            None => {}
        }
        lock().insert(path.clone(), State::Loading);
        let file = path.display().to_string();
        let load = || -> Result<Shared<Module>, Box<EvalAltResult>> {
            let text = read_script(&path).map_err(fail)?;
            let text = unmarked(text);
            let within = |error| EvalAltResult::ErrorInModule(file.clone(), error, position);
            let ast = compile(engine, &self.constants, &self.sources, &file, &text).map_err(|e| within(e.into()))?;
            Module::eval_ast_as_new(Scope::new(), &ast, engine).map(Shared::new).map_err(|e| within(e).into())
        };
        match load() {
            Ok(module) => {
                lock().insert(path, State::Ready(module.clone()));
                Ok(module)
            }
            Err(error) => {
                lock().remove(&path);
                Err(error)
            }
        }
    }
}
