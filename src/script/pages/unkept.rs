//! Variables that a resumed run would reset: those that carry something from epoch to epoch, or out of the loop,
//! and are not in `run.kept`.

use rhai::{AST, ASTNode, Expr, Position, Stmt};
use std::collections::BTreeSet;

/// Methods that change the array or map before the dot.
const CHANGING: [&str; 8] = ["append", "clear", "insert", "pop", "push", "remove", "shift", "truncate"];

/// The variables that the body of a loop over `….epochs(…)` changes and does not declare, each with its first position.
/// One that every epoch sets before anything else, and that nothing after the loop names, carries nothing.
pub fn unkept(ast: &AST) -> Vec<(String, Position)> {
    let mut found = Found::default();
    ast.walk(&mut |path: &[ASTNode]| {
        found.visit(path);
        true
    });
    let Found { declared, changed, named, set } = found;
    let mut unkept: Vec<(String, Position)> = vec![];
    for Use { loop_at, name, position } in changed {
        let is = |other: &&Use| other.name == name;
        let first = named.iter().filter(is).filter(|other| other.loop_at == loop_at).map(|other| other.position).min();
        let renewed = set.iter().filter(is).any(|set| set.loop_at == loop_at && Some(set.position) == first);
        let leaves = named.iter().filter(is).any(|other| other.loop_at.is_none() && other.position > position);
        let known = unkept.iter().any(|(known, _)| *known == name);
        if !known && !declared.contains(&(loop_at, name.clone())) && (!renewed || leaves) {
            unkept.push((name, position));
        }
    }
    unkept
}

/// A variable in the text: inside of which loop over epochs, and where.
struct Use {
    loop_at: Option<Position>,
    name: String,
    position: Position,
}

#[derive(Default)]
struct Found {
    declared: BTreeSet<(Option<Position>, String)>,
    changed: Vec<Use>,
    named: Vec<Use>,
    /// Variables that statements of the loop's own body set to what does not depend on them.
    set: Vec<Use>,
}

impl Found {
    fn visit(&mut self, path: &[ASTNode]) {
        let Some((node, outside)) = path.split_last() else { return };
        let loop_at = outside.iter().find(|node| is_epochs(node)).map(ASTNode::position);
        let used = |expr: &Expr| match expr {
            Expr::Variable(variable, ..) => {
                Some(Use { loop_at, name: variable.1.to_string(), position: expr.position() })
            }
            _ => None,
        };
        match node {
            ASTNode::Expr(expr @ Expr::Variable(..)) => self.named.extend(used(expr)),
            _ if loop_at.is_none() => {}
            ASTNode::Stmt(Stmt::Var(var, ..)) => _ = self.declared.insert((loop_at, var.0.name.to_string())),
            ASTNode::Stmt(Stmt::For(parts, _)) => {
                let names = std::iter::once(&parts.0).chain(&parts.1);
                self.declared.extend(names.map(|name| (loop_at, name.name.to_string())));
            }
            ASTNode::Stmt(Stmt::Assignment(assignment)) => {
                let (left, right) = (&assignment.1.lhs, &assignment.1.rhs);
                let target = if let Expr::Index(pair, ..) = left { &pair.lhs } else { left };
                self.changed.extend(used(target));
                let plain = assignment.0.get_op_assignment_info().is_none();
                if let (true, true, Some(target)) = (plain, outside.last().is_some_and(is_epochs), used(left))
                    && !mentions(right, &target.name)
                {
                    self.set.push(target);
                }
            }
            ASTNode::Expr(Expr::Dot(pair, ..)) => {
                if let Expr::MethodCall(call, _) = &pair.rhs
                    && CHANGING.contains(&call.name.as_str())
                {
                    self.changed.extend(used(&pair.lhs));
                }
            }
            _ => {}
        }
    }
}

fn mentions(expr: &Expr, name: &str) -> bool {
    let mut found = false;
    expr.walk(&mut vec![], &mut |path: &[ASTNode]| {
        let Some(ASTNode::Expr(Expr::Variable(variable, ..))) = path.last() else { return true };
        found |= variable.1 == name;
        true
    });
    found
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

    #[track_caller]
    fn finds(script: &str, names: &[&str]) {
        let ast = rhai::Engine::new().compile(script).expect("it compiles");
        assert_eq!(unkept(&ast).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{script}");
    }

    #[test]
    fn what_outlasts_an_epoch_is_found() {
        let script = "let best = 0.0; let all = []; let last = 0; let rows = [[0]]; let mean = 0.0;
            for epoch in run.epochs(3) {
                let sum = 0.0;
                for step in run.steps(4) { sum += step; best = sum; w_opt.lr = 0.1; }
                run.kept.best = sum;
                all.push(sum);
                rows[0] = epoch;
                if epoch > 1 { last = epoch; }
                mean = 0.9 * mean + sum;
            }";
        finds(script, &["best", "all", "rows", "last", "mean"]);
    }

    #[test]
    fn what_every_epoch_sets_first_is_not() {
        finds("let t = 1; let f = || t; for e in run.epochs(3) { t = e; print(t); }", &[]);
        finds("let t = 1; for e in run.epochs(3) { print(t); t = e; }", &["t"]);
        finds("let t = 1; for e in run.epochs(3) { t = e; } print(t);", &["t"]);
    }

    #[test]
    fn what_stays_inside_is_not() {
        finds("let sum = 0; for step in run.steps(3) { sum += 1; }", &[]);
        finds("let n = 0; n = 3; for e in run.epochs(n) { let n = e; n += 1; run.kept.all.push(n); }", &[]);
    }
}
