//! rhai's errors in the user's terms: what was wrong, and what would be right.

use crate::Error;
use crate::error::closest;
use crate::script::binding::{
    ARRAY_SIZE, CALL_DEPTH, Catalogue, Declared, Entry, Face, MAP_SIZE, STRING_SIZE, Sources, carried, simple_type_name,
};
use rhai::{EvalAltResult, LexError, ParseErrorType};
use std::sync::Arc;

/// The message and hint for an error without its call chain.
pub fn explain(error: &EvalAltResult, sources: &Sources, catalogue: &Catalogue) -> Error {
    if let Some(carried) = carried(error) {
        return carried;
    }
    let plain = |message: String| Error::user(message);
    match error {
        EvalAltResult::ErrorParsing(kind, _) => parsing(kind, sources, catalogue),
        EvalAltResult::ErrorRuntime(thrown, _) if thrown.is_unit() => Error::run("the script threw an error"),
        EvalAltResult::ErrorRuntime(thrown, _) => Error::run(thrown.to_string()),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => unknown_call(signature, sources, catalogue),
        EvalAltResult::ErrorDotExpr(text, _) => unknown_property(text, catalogue),
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            let error = suggest(plain(format!("the map has no key `{name}`")), name, &sources.identifiers());
            match error.hint {
                Some(_) => error,
                None => error.hint("where it may be missing: if key in map { map[key] } else { … }"),
            }
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => unknown_variable(name, sources, catalogue),
        EvalAltResult::ErrorIndexingType(text, _) if text.contains("] = ") => {
            let receiver = simple_type_name(text.split(" [").next().unwrap_or(text));
            plain(format!("the elements of a value of type {receiver} cannot be set")).hint(
                "values of this type do not change; make a new one, for a tensor with `where`, `concat` or `stack`",
            )
        }
        EvalAltResult::ErrorIndexingType(text, _) => {
            let receiver = text.split(" [").next().unwrap_or(text);
            plain(format!("a value of type {} cannot be indexed so: {text}", simple_type_name(receiver)))
        }
        EvalAltResult::ErrorMismatchDataType(expected, found, _)
        | EvalAltResult::ErrorMismatchOutputType(expected, found, _) => {
            let (expected, found) = (simple_type_name(expected), simple_type_name(found));
            let error = plain(format!("expected {expected}, found {found}"));
            match (expected.as_str(), found.as_str()) {
                ("bool", "tensor") => {
                    error.hint("comparing tensors gives a tensor; of one number `.item()` takes it: loss.item() < 0.1")
                }
                ("int", "range") => error.hint("a part of an array is `a.extract(1..3)`; a tensor takes `t[1..3]`"),
                _ => error,
            }
        }
        EvalAltResult::ErrorDataRace(text, _) => {
            let name = text.rsplit('\'').nth(1).unwrap_or("f");
            plain(format!("a closure given to a value's `{name}` uses the value itself"))
                .hint(format!("write {name}(value, closure) instead of value.{name}(closure)"))
        }
        EvalAltResult::ErrorFor(_) => plain("a for loop needs something to walk: a range, an array, …".into()),
        EvalAltResult::ErrorStackOverflow(_) => {
            plain(format!("script functions call one another more than {CALL_DEPTH} levels deep"))
                .hint("a recursion without an end? A loop does not nest")
        }
        EvalAltResult::ErrorDataTooLarge(kind, _) => {
            let kind = kind.to_lowercase().replace("size of ", "").replace("length of ", "");
            let hint = match kind.as_str() {
                "string" => format!("a string holds at most {} MiB", STRING_SIZE >> 20),
                "object map" => format!("a map holds at most {MAP_SIZE} keys, nested ones counted"),
                _ => {
                    format!("an array holds at most {ARRAY_SIZE} elements, nested ones counted; use a tensor for more")
                }
            };
            let article = if kind.starts_with(['a', 'o']) { "an" } else { "a" };
            plain(format!("{article} {kind} grew past its limit")).hint(hint)
        }
        other => {
            let text = other.to_string();
            // rhai appends "(line …, position …)", which the page shows in its own way.
            plain(text.rsplit_once(" (line ").map_or(text.as_str(), |(head, _)| head).to_string())
        }
    }
}

fn parsing(kind: &ParseErrorType, sources: &Sources, catalogue: &Catalogue) -> Error {
    match kind {
        ParseErrorType::VariableUndefined(name) => unknown_variable(name, sources, catalogue),
        ParseErrorType::BadInput(LexError::ImproperSymbol(name, text)) if text.contains("disabled") => {
            Error::user(format!("`{name}` is not available in scripts"))
        }
        ParseErrorType::MissingToken(token, _) if token == ";" => {
            Error::user(kind.to_string()).hint("a missing `;` is only noticed where the next statement starts")
        }
        ParseErrorType::MissingToken(token, text) if token == "," && text.contains("function call") => {
            Error::user(kind.to_string())
                .hint("a missing `,` or `)`? A closure out of an array or a call is called so: fs[0].call(3)")
        }
        ParseErrorType::ModuleUndefined(name) => {
            let error = Error::user(format!("there is no module `{name}`"));
            match closest(name, ["global"]) {
                Some(_) => error.hint("did you mean `global`?"),
                None => error.hint(format!("`import \"{name}\" as {name};` before it reads {name}.rhai")),
            }
        }
        ParseErrorType::MissingToken(token, text) if token == "]" && text.contains("index expression") => {
            Error::user(kind.to_string())
                .hint("an index is one position, a range or a list; select(t, [2], 1) takes from another axis")
        }
        ParseErrorType::UnexpectedEOF => {
            Error::user("the script ends in the middle of something").hint("a missing `}` or `)`?")
        }
        _ => Error::user(kind.to_string()),
    }
}

fn suggest(error: Error, name: &str, known: &[String]) -> Error {
    match closest(name, known.iter().map(String::as_str).filter(|k| *k != name)) {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None => error,
    }
}

fn unknown_variable(name: &str, sources: &Sources, catalogue: &Catalogue) -> Error {
    if let Some(constant) = name.strip_prefix("global::") {
        return unknown_constant(constant, sources);
    }
    let mut known = sources.identifiers();
    known.extend(catalogue.entries.iter().filter(|e| e.face == Face::Constant).map(|e| e.name.clone()));
    let error = suggest(Error::user(format!("there is no variable `{name}`")), name, &known);
    if let Some(declared) = sources.declaration(name).filter(|_| sources.has_functions()) {
        // It is there, and yet it is not seen: so it is read inside a function.
        let hint = match declared {
            Declared::Constant => format!("a function sees no variables from outside: read it as `global::{name}`"),
            _ => format!(
                "a function sees no variables from outside: give it `{name}` as an argument, or make it a constant \
                 (`const {name} = …`) and read `global::{name}`"
            ),
        };
        return Error { hint: Some(hint), ..error };
    }
    if error.hint.is_none() && catalogue.functions(name).next().is_some() {
        return error.hint(format!("`{name}` is a function: call it with `{name}(…)`"));
    }
    error
}

/// The error for `global::name`, where no constant of this name is declared outside of all blocks.
pub fn unknown_constant(name: &str, sources: &Sources) -> Error {
    let error = Error::user(format!("there is no constant `{name}` outside of all functions and blocks"));
    if matches!(sources.declaration(name), Some(Declared::Variable | Declared::Closure)) {
        return error.hint(format!("`{name}` is a variable; functions see constants: `const {name} = …`"));
    }
    let known = sources.constants();
    match closest(name, known.iter().map(String::as_str)) {
        Some(close) => error.hint(format!("did you mean `global::{close}`?")),
        None => error.hint(format!("`const {name} = …` at the beginning of a line makes one")),
    }
}

/// `sofmax (tensor, i64)`: unknown by name, or known and called otherwise.
fn unknown_call(signature: &str, sources: &Sources, catalogue: &Catalogue) -> Error {
    let (name, arguments) = signature.split_once(" (").unwrap_or((signature, ")"));
    let arguments = arguments.trim_end_matches(')').replace("&str | ImmutableString | String", "string");
    let given: Vec<String> = arguments.split(", ").filter(|a| !a.is_empty()).map(simple_type_name).collect();
    let is_operator = !name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if is_operator {
        return match given.as_slice() {
            [a, b] => Error::user(format!("`{name}` cannot be applied to {a} and {b}")),
            _ => Error::user(format!("`{name}` cannot be applied to {}", given.join(", "))),
        };
    }
    let known: Vec<&Arc<Entry>> = catalogue.functions(name).collect();
    if known.is_empty() {
        return unknown_function(name, sources, catalogue, &given);
    }
    let error = wrong_arguments(name, &given, &known);
    if sources.declaration(name) == Some(Declared::Closure) {
        return error.hint(format!("the closure that the variable `{name}` holds is called with {name}.call(…)"));
    }
    error
}

/// The error for a function that exists nowhere.
pub fn unknown_function(name: &str, sources: &Sources, catalogue: &Catalogue, given: &[String]) -> Error {
    if name.starts_with("anon$") {
        return Error::user(format!("the closure was called with ({})", given.join(", ")))
            .hint("it takes as many arguments as there are names between its bars");
    }
    if let Some(own) = sources.function(name) {
        return Error::user(format!("`{name}` was called with ({})", given.join(", ")))
            .hint(format!("declared as {own}"));
    }
    if sources.declaration(name) == Some(Declared::Closure) {
        return Error::user(format!("`{name}` holds a closure, which is not called like a function"))
            .hint(format!("write {name}.call(…)"));
    }
    let error = Error::user(format!("there is no function `{name}`"));
    let error = match given {
        [] => error,
        given => Error { message: format!("{} for ({})", error.message, given.join(", ")), ..error },
    };
    let declared: Vec<&str> = catalogue
        .entries
        .iter()
        .filter(|e| matches!(e.face, Face::Function | Face::Method))
        .map(|e| e.name.as_str())
        .collect();
    if sources.is_variable(name) {
        return error.hint(format!("`{name}` is a variable; a closure that it holds is called with {name}.call(…)"));
    }
    if catalogue.properties(None).any(|p| p.name == name) {
        return error.hint(format!("`{name}` is a property: write it without parentheses"));
    }
    if let Some(close) = closest(name, declared.iter().copied()) {
        let hints: Vec<String> = catalogue.functions(close).map(|e| e.signature()).collect();
        return error.hint(format!("did you mean `{close}`? {}", hints.join("; ")));
    }
    suggest(error, name, &sources.identifiers())
}

/// The error for a declared function that was called otherwise than declared.
pub fn wrong_arguments(name: &str, given: &[String], known: &[&Arc<Entry>]) -> Error {
    let signatures: Vec<String> = known.iter().map(|e| e.signature()).collect();
    let fits = known.iter().any(|e| (e.arity().0..=e.arity().1).contains(&given.len()));
    let message = if fits {
        format!("`{name}` does not take ({})", given.join(", "))
    } else {
        let dotted = known.iter().all(|e| e.receiver().is_some());
        let count = if dotted { given.len().saturating_sub(1) } else { given.len() };
        format!("`{name}` was called with {count} argument{}", if count == 1 { "" } else { "s" })
    };
    Error::user(message).hint(format!("declared as {}", signatures.join("; ")))
}

/// rhai's words for a getter or setter that is not there.
fn unknown_property(text: &str, catalogue: &Catalogue) -> Error {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    let (Some(name), Some(kind)) = (quoted.next(), quoted.next()) else {
        return Error::user(text);
    };
    let kind = simple_type_name(kind);
    if text.starts_with("No writable") {
        return match catalogue.properties(Some(&kind)).find(|p| p.name == name) {
            Some(entry) => Error::user(format!("{} cannot be set", entry.title())).hint(entry.signature()),
            None => no_property(name, &kind, catalogue),
        };
    }
    no_property(name, &kind, catalogue)
}

/// The error for a property that a type does not have.
pub fn no_property(name: &str, kind: &str, catalogue: &Catalogue) -> Error {
    let error = Error::user(format!("a value of type {kind} has no property `{name}`"));
    let known: Vec<&str> = catalogue.properties(Some(kind)).map(|p| p.name.as_str()).collect();
    if let Some(close) = closest(name, known.iter().copied()) {
        return error.hint(format!("did you mean `{close}`?"));
    }
    let methods = catalogue.functions(name).find(|e| e.parameters.first().is_some_and(|p| p.kind.text == kind));
    match methods {
        Some(method) => error.hint(format!("it is a function: {}", method.signature())),
        None if known.is_empty() => error,
        None => error.hint(format!("its properties are: {}", known.join(", "))),
    }
}
