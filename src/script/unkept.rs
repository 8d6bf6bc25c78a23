//! Variables that a resumed run would begin anew: those that outlast an epoch and are not in `run.kept`.

use rhai::{AST, ASTNode, Expr, Position, Stmt};
use std::collections::BTreeSet;

/// Methods that change the array or map before the dot.
const CHANGING: [&str; 8] = ["append", "clear", "insert", "pop", "push", "remove", "shift", "truncate"];

/// The variables that the body of a loop over `….epochs(…)` changes and does not declare, each with the first place.
pub fn unkept(ast: &AST) -> Vec<(String, Position)> {
    let mut declared = BTreeSet::new();
    let mut changed: Vec<(String, Position)> = Vec::new();
    ast.walk(&mut |path: &[ASTNode]| {
        let Some((node, outside)) = path.split_last() else { return true };
        let Some(place) = outside.iter().position(is_epochs) else { return true };
        // Two loops may use one name; to each its own.
        let line = outside[place].position();
        match node {
            ASTNode::Stmt(Stmt::Var(var, ..)) => _ = declared.insert((line, var.0.name.to_string())),
            ASTNode::Stmt(Stmt::For(parts, _)) => {
                let names = std::iter::once(&parts.0).chain(&parts.1);
                declared.extend(names.map(|name| (line, name.name.to_string())));
            }
            ASTNode::Stmt(Stmt::Assignment(assignment)) => match &assignment.1.lhs {
                Expr::Index(pair, ..) => note(&mut changed, &pair.lhs, &declared, line),
                whole => note(&mut changed, whole, &declared, line),
            },
            ASTNode::Expr(Expr::Dot(pair, ..)) => {
                if let Expr::MethodCall(call, _) = &pair.rhs
                    && CHANGING.contains(&call.name.as_str())
                {
                    note(&mut changed, &pair.lhs, &declared, line);
                }
            }
            _ => {}
        }
        true
    });
    changed
}

fn note(changed: &mut Vec<(String, Position)>, target: &Expr, declared: &BTreeSet<(Position, String)>, line: Position) {
    if let Expr::Variable(variable, ..) = target {
        let name = variable.1.to_string();
        let known = changed.iter().any(|(known, _)| *known == name);
        if !known && !declared.contains(&(line, name.clone())) {
            changed.push((name, target.position()));
        }
    }
}

/// Whether a node is a loop `for … in ….epochs(…)`.
fn is_epochs(node: &ASTNode) -> bool {
    let ASTNode::Stmt(Stmt::For(parts, _)) = node else { return false };
    match &parts.2.expr {
        Expr::Dot(pair, ..) => matches!(&pair.rhs, Expr::MethodCall(call, _) if call.name == "epochs"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(script: &str) -> Vec<String> {
        let ast = rhai::Engine::new().compile(script).expect("it compiles");
        unkept(&ast).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_outlasts_an_epoch_is_found() {
        let script = "let best = 0.0; let all = []; let last = 0; let rows = [[0]];
            for epoch in run.epochs(3) {
                let sum = 0.0;
                for step in run.steps(4) { sum += step; best = sum; w_opt.lr = 0.1; }
                run.kept.best = sum;
                all.push(sum);
                rows[0] = epoch;
                if epoch > 1 { last = epoch; }
            }";
        assert_eq!(names(script), ["best", "all", "rows", "last"]);
    }

    #[test]
    fn what_does_not_is_not() {
        assert_eq!(names("let sum = 0; for step in run.steps(3) { sum += 1; }"), [""; 0]);
        assert_eq!(
            names("let n = 0; n = 3; for e in run.epochs(n) { let n = e; n += 1; run.kept.all.push(n); }"),
            [""; 0]
        );
    }
}
