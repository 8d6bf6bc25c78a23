//! Closures that a loop keeps and that share its variable: all of them see the value that it has in the end.

use rhai::{AST, ASTNode, Expr, Position, Stmt};

/// Methods that put a value into an array or a map.
const KEEPING: [&str; 4] = ["append", "insert", "push", "set"];

/// The loop variables that closures share although they are kept beyond their turn, each with the closure's position.
/// One that the loop's body declares itself (`let k = k;`) is another in every turn.
pub fn shared(ast: &AST) -> Vec<(String, Position)> {
    let mut found = vec![];
    ast.walk(&mut |path: &[ASTNode]| {
        let Some((ASTNode::Stmt(Stmt::Share(names)), outside)) = path.split_last() else { return true };
        for (variable, ..) in names.iter() {
            let name = variable.name.as_str();
            let at = outside.iter().rposition(|node| varies(node, name));
            if let Some((ASTNode::Stmt(turn), inside)) = at.map(|at| (&outside[at], &outside[at + 1..]))
                && !declares(turn, name)
                && is_kept(turn, inside)
            {
                found.push((name.to_string(), variable.pos));
            }
        }
        true
    });
    found.sort_by_key(|(_, position)| *position);
    found.dedup();
    found
}

/// Whether a node is a loop over `name`, or one whose body sets it.
fn varies(node: &ASTNode, name: &str) -> bool {
    let sets = |turn: &Stmt| {
        any(turn, &|path| {
            let Some(ASTNode::Stmt(Stmt::Assignment(assignment))) = path.last() else { return false };
            is(&assignment.1.lhs, name)
        })
    };
    match node {
        ASTNode::Stmt(turn @ Stmt::For(parts, _)) => {
            parts.0.name == name || parts.1.as_ref().is_some_and(|counter| counter.name == name) || sets(turn)
        }
        ASTNode::Stmt(turn @ (Stmt::While(..) | Stmt::Do(..))) => sets(turn),
        _ => false,
    }
}

fn declares(turn: &Stmt, name: &str) -> bool {
    any(turn, &|path| matches!(path, [.., ASTNode::Stmt(Stmt::Var(var, ..))] if var.0.name == name))
}

/// Whether what lies at the end of `inside` is kept, by itself or as the value of a variable that the loop keeps.
fn is_kept(turn: &Stmt, inside: &[ASTNode]) -> bool {
    match inside.iter().rposition(|node| !holds(node)).map(|at| &inside[at]) {
        Some(ASTNode::Stmt(Stmt::Var(var, ..))) => any(turn, &|path| {
            let Some((ASTNode::Expr(expr), outside)) = path.split_last() else { return false };
            is(expr, &var.0.name) && outside.iter().rfind(|node| !holds(node)).is_some_and(keeps)
        }),
        // The one that was best, say: the loop goes on, and with it the variable.
        Some(ASTNode::Stmt(Stmt::Assignment(assignment))) if assignment.0.get_op_assignment_info().is_none() => {
            match &assignment.1.lhs {
                Expr::Variable(variable, ..) => {
                    !declares(turn, &variable.1)
                        && inside.iter().any(|node| matches!(node, ASTNode::Stmt(Stmt::If(..) | Stmt::Switch(..))))
                }
                _ => true,
            }
        }
        Some(node) => keeps(node),
        None => false,
    }
}

/// Whether a node is an array, a map, or the block around a closure.
fn holds(node: &ASTNode) -> bool {
    matches!(node, ASTNode::Expr(Expr::Array(..) | Expr::Map(..) | Expr::Stmt(_)))
}

/// Whether a node puts a value into an array or a map.
fn keeps(node: &ASTNode) -> bool {
    match node {
        ASTNode::Expr(Expr::MethodCall(call, _)) => KEEPING.contains(&call.name.as_str()),
        ASTNode::Stmt(Stmt::Assignment(assignment)) => {
            let part = matches!(assignment.1.lhs, Expr::Index(..) | Expr::Dot(..));
            part || assignment.0.get_op_assignment_info().is_some()
        }
        _ => false,
    }
}

fn is(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Variable(variable, ..) if variable.1 == name)
}

/// Whether a path within a statement is one of those looked for.
fn any(stmt: &Stmt, wanted: &dyn Fn(&[ASTNode]) -> bool) -> bool {
    let mut found = false;
    stmt.walk(&mut vec![], &mut |path: &[ASTNode]| {
        found |= wanted(path);
        true
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(script: &str, names: &[&str]) {
        let mut engine = rhai::Engine::new();
        engine.set_optimization_level(rhai::OptimizationLevel::None);
        let ast = engine.compile(script).expect("it compiles");
        assert_eq!(shared(&ast).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{script}");
    }

    #[test]
    fn closures_kept_beyond_their_turn_are_found() {
        for body in [
            "fs.push(|x| x * k);",
            "fs.push(#{ name: `by ${k}`, f: |x| x * k });",
            "fs += |x| x * k;",
            "ops[`by ${k}`] = |x| x * k;",
            "ops.last = [|x| x * k];",
            "let f = |x| x * k; fs.push(f);",
            "if k > 3 { fs.insert(0, |x| x * k); }",
        ] {
            finds(&format!("let fs = []; let ops = #{{}}; for k in [3, 5] {{ {body} }}"), &["k"]);
        }
        finds("let fs = []; for (v, at) in [3, 5] { fs.push(|x| x * at); }", &["at"]);
        finds("let fs = []; let k = 0; while k < 3 { fs.push(|| k); k += 1; }", &["k"]);
        finds("let fs = []; let k = 0; loop { fs.push(|| k); k += 1; if k > 3 { break; } }", &["k"]);
        finds("let fs = []; let k = 0; do { fs.push(|| k); k += 1; } while k < 3;", &["k"]);
        finds("let fs = []; let all = 0; for k in [3, 5] { all += k; fs.push(|| all); }", &["all"]);
        finds("let best = (); for k in [3, 5] { if k < 4 { best = |x| x * k; } }", &["k"]);
        finds("let fs = []; for i in 0..2 { for j in 0..2 { fs.push(|| i + j); } }", &["i", "j"]);
        finds("fn all() { let fs = []; for k in [3, 5] { fs.push(|x| x * k); } fs }", &["k"]);
    }

    #[test]
    fn what_has_a_variable_of_its_own_or_is_used_at_once_is_not() {
        for body in [
            "let k = k; fs.push(|x| x * k);",
            "let by = 2 * k; fs.push(|x| x * by);",
            "fs.push([1, 2].map(|x| x * k));",
            "let f = |x| x * k; fs.push(f.call(1));",
            "fs.push(|x| x * n); fs.push(k);",
            "let f = (); if k > 3 { f = |x| x * k; fs.push(f.call(1)); }",
            "let by = 2; by += k; fs.push(|x| x * by);",
            "fs.sort(|a, b| a * k - b * k);",
        ] {
            finds(&format!("let fs = []; let n = 2; for k in [3, 5] {{ {body} }}"), &[]);
        }
    }
}
