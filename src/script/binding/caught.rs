//! `catch (error)` gives a script one kind of value, whatever went wrong.
//!
//! rhai hands three kinds to a `catch`: the value of an error that the library raised, a map for an error of its own,
//! and whatever a script threw. It offers no place to step in between. So every catch block begins, unseen, with a call
//! that turns errors and thrown text into a [`Failure`]; [`Sources`] keeps the script as it was written and says where
//! a position behind such a call was.

use super::failure::Failure;
use super::imports::Sources;
use crate::Error;
use rhai::{AST, ASTNode, Dynamic, Engine, Expr, ParseError, Position, Scope, Stmt};

/// The function that catch blocks begin with. No script can declare a function of this name by accident.
const CAUGHT: &str = "__caught";

/// Registers what catch blocks call.
pub fn install(engine: &mut Engine) {
    engine.register_fn(CAUGHT, caught);
    engine.register_fn("==", |failure: Failure, text: &str| failure.0.message == text);
    engine.register_fn("!=", |failure: Failure, text: &str| failure.0.message != text);
}

/// Compiles the text of a file, whose errors are then told from `sources`.
///
/// # Errors
/// Whatever the parser finds.
pub fn compile(engine: &Engine, scope: &Scope, sources: &Sources, file: &str, text: &str) -> Result<AST, ParseError> {
    sources.add(file, text);
    let mut ast = engine.compile_with_scope(scope, text)?;
    let blocks = catch_blocks(&ast);
    if !blocks.is_empty() {
        ast = engine.compile_with_scope(scope, with_calls(text, &blocks))?;
        let shift = |(open, name): &(Position, String)| (*open, call(name).chars().count());
        sources.shift(file, blocks.iter().map(shift).collect());
    }
    ast.set_source(file);
    Ok(ast)
}

/// Where the block of every `catch (name)` opens, in the order of the text.
fn catch_blocks(ast: &AST) -> Vec<(Position, String)> {
    let mut found = vec![];
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::TryCatch(parts, _))) = path.last()
            && let Expr::Variable(variable, ..) = &parts.expr
        {
            found.push((parts.branch.position(), variable.1.to_string()));
        }
        true
    });
    found.sort_by_key(|(position, _)| (position.line(), position.position()));
    found.dedup_by_key(|(position, _)| *position);
    found
}

fn call(name: &str) -> String {
    format!("{name}={CAUGHT}({name});")
}

/// The text with a call behind the brace that opens each block.
fn with_calls(text: &str, blocks: &[(Position, String)]) -> String {
    let mut blocks = blocks.iter().peekable();
    let mut changed = String::with_capacity(text.len() + 64 * blocks.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        for (column, character) in line.chars().enumerate() {
            changed.push(character);
            let here = |at: &Position| at.line() == Some(index + 1) && at.position() == Some(column + 1);
            if let Some((_, name)) = blocks.next_if(|(at, _)| here(at)) {
                changed.push_str(&call(name));
            }
        }
    }
    changed
}

/// What a script sees of what was caught: a failure for errors and thrown text; any other thrown value is itself.
fn caught(value: Dynamic) -> Dynamic {
    // What rhai makes of its own errors: their kind as `error`, their text as `message`.
    if let Ok(map) = value.as_map_ref()
        && map.contains_key("error")
        && let Some(message) = map.get("message").and_then(|message| message.clone().into_string().ok())
    {
        return Dynamic::from(Failure(Error::user(message)));
    }
    match value.as_immutable_string_ref().map(|text| text.to_string()) {
        Ok(text) => Dynamic::from(Failure(Error::run(text))),
        Err(_) => value,
    }
}
