//! Methods that a function of the script hides: where there is a `fn linear(x, n)`, `g.linear(x, 10)` runs that, with
//! `g` as `this`, and not the builder's.

use rhai::{AST, ASTNode, Expr, Position};
use std::collections::BTreeSet;

/// The calls behind a dot that run a function of the script although `is_method` knows one of this name that takes as
/// many arguments, the receiver counted. A function that uses `this` is meant to be called so.
pub fn hidden(ast: &AST, is_method: impl Fn(&str, usize) -> bool) -> Vec<(String, Position)> {
    let (mut calls, mut keys, mut receivers) = (vec![], BTreeSet::new(), vec![]);
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Expr(Expr::MethodCall(call, position))) => {
                calls.push((call.name.to_string(), call.args.len(), *position));
            }
            Some(ASTNode::Expr(Expr::Map(map, _))) => keys.extend(map.0.iter().map(|(key, _)| key.name.to_string())),
            Some(ASTNode::Expr(Expr::ThisPtr(position))) => receivers.push(*position),
            _ => {}
        }
        true
    });
    calls.retain(|(name, count, _)| {
        let Some(own) = ast.shared_lib().get_script_fn(name, *count) else { return false };
        let within =
            |position: &Position| own.body.start_position() <= *position && *position <= own.body.end_position();
        is_method(name, count + 1) && !keys.contains(name) && !receivers.iter().any(within)
    });
    calls.sort_by_key(|(_, _, position)| *position);
    calls.into_iter().map(|(name, _, position)| (name, position)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(script: &str, names: &[&str]) {
        // As scripts are compiled: nothing is computed beforehand.
        let mut engine = rhai::Engine::new();
        engine.set_optimization_level(rhai::OptimizationLevel::None);
        let ast = engine.compile(script).expect("it compiles");
        let is_method = |name: &str, count| name == "linear" && count == 3;
        let found = hidden(&ast, is_method);
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{script}");
    }

    #[test]
    fn a_method_that_a_function_hides_is_found() {
        finds("fn linear(x, n) { x * n } let f = |g, x| g.linear(x, 10);", &["linear"]);
        finds("fn linear(x, n) { x * n } fn f(g) { g.pool().linear(g, 10) } let k = 3; k.f();", &["linear"]);
    }

    #[test]
    fn what_is_called_as_it_is_meant_is_not() {
        finds("fn linear(g, x, n) { x * n } let f = |g, x| g.linear(x, 10);", &[]);
        finds("fn linear(x, n) { this.w * x + n } let f = |g, x| g.linear(x, 10);", &[]);
        finds("fn linear(x, n) { x * n } print(linear(2, 3));", &[]);
        finds("fn linear(x, n) { x * n } let m = #{ linear: |a, b| a }; m.linear(1, 2);", &[]);
    }
}
