//! Whole numbers divided among floats: `0.025 * (1 - epoch / epochs)` stays at 0.025, since `epoch / epochs` is 0.
//!
//! What a variable holds is followed as far as its own text tells: literals, parameters' defaults, loops over numbers.

use rhai::{AST, ASTNode, Expr, Position, Stmt};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Whole,
    Float,
}

/// What is known of variables by name; `None` for those that are given different kinds.
type Kinds = BTreeMap<String, Option<Kind>>;

/// Where two whole numbers are divided, although what becomes of it is reckoned with as a float.
pub fn divisions(ast: &AST) -> Vec<Position> {
    let mut kinds = Kinds::new();
    // What the first pass finds out about one variable, the second uses for others.
    for _ in 0..2 {
        let mut now = Kinds::new();
        ast.walk(&mut |path: &[ASTNode]| {
            if let Some(ASTNode::Stmt(stmt)) = path.last() {
                note(stmt, &kinds, &mut now);
            }
            true
        });
        kinds = now;
    }
    let mut found = vec![];
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Expr(expr)) = path.last()
            && let Some([left, right]) = reckoned(expr)
        {
            for (one, other) in [(left, right), (right, left)] {
                if kind(one, &kinds) == Some(Kind::Float) && kind(other, &kinds) == Some(Kind::Whole) {
                    found.extend(division(other, &kinds));
                }
            }
        }
        true
    });
    found.sort();
    found.dedup();
    found
}

/// Notes what a statement gives to a variable.
fn note(stmt: &Stmt, kinds: &Kinds, now: &mut Kinds) {
    let mut give = |name: &str, kind: Option<Kind>| {
        let known = now.entry(name.to_string()).or_insert(kind);
        if *known != kind {
            *known = None;
        }
    };
    match stmt {
        Stmt::Var(var, ..) => give(&var.0.name, kind(&var.1, kinds)),
        Stmt::For(parts, _) => {
            give(&parts.0.name, if counts(&parts.2.expr) { Some(Kind::Whole) } else { None });
        }
        Stmt::Assignment(assignment) => {
            if let Expr::Variable(variable, ..) = &assignment.1.lhs {
                give(&variable.1, kind(&assignment.1.rhs, kinds));
            }
        }
        _ => {}
    }
}

/// Whether a loop over this counts: a range, or the epochs of a run.
fn counts(expr: &Expr) -> bool {
    match expr {
        Expr::Dot(pair, ..) => matches!(&pair.rhs, Expr::MethodCall(call, _) if call.name == "epochs"),
        Expr::FnCall(call, _) => ["..", "..=", "range"].contains(&call.name.as_str()),
        _ => false,
    }
}

/// The operands of a sum, difference, product or quotient.
fn reckoned(expr: &Expr) -> Option<[&Expr; 2]> {
    match expr {
        Expr::FnCall(call, _) if ["+", "-", "*", "/"].contains(&call.name.as_str()) => match &call.args[..] {
            [left, right] => Some([left, right]),
            _ => None,
        },
        _ => None,
    }
}

fn kind(expr: &Expr, kinds: &Kinds) -> Option<Kind> {
    if let Some(operands) = reckoned(expr) {
        return match operands.map(|operand| kind(operand, kinds)) {
            [Some(Kind::Whole), Some(Kind::Whole)] => Some(Kind::Whole),
            [Some(_), Some(_)] => Some(Kind::Float),
            _ => None,
        };
    }
    match expr {
        Expr::IntegerConstant(..) => Some(Kind::Whole),
        Expr::FloatConstant(..) => Some(Kind::Float),
        Expr::Variable(variable, ..) => kinds.get(variable.1.as_str()).copied().flatten(),
        Expr::FnCall(call, _) if call.name == "param" => kind(call.args.get(1)?, kinds),
        Expr::FnCall(call, _) if call.name == "-" => kind(call.args.first()?, kinds),
        Expr::Dot(pair, ..) => match &pair.rhs {
            Expr::MethodCall(call, _) if call.name == "len" || call.name == "to_int" => Some(Kind::Whole),
            Expr::MethodCall(call, _) if call.name == "to_float" => Some(Kind::Float),
            _ => None,
        },
        _ => None,
    }
}

/// A division of whole numbers in a term of whole numbers, unless it is seen to leave no rest.
fn division(expr: &Expr, kinds: &Kinds) -> Option<Position> {
    let [left, right] = reckoned(expr)?;
    let quotient = matches!(expr, Expr::FnCall(call, _) if call.name == "/");
    match (left, right) {
        (Expr::IntegerConstant(a, _), Expr::IntegerConstant(b, _)) if quotient && *b != 0 && a % b == 0 => None,
        _ if quotient && kind(expr, kinds) == Some(Kind::Whole) => Some(expr.position()),
        _ => division(left, kinds).or_else(|| division(right, kinds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(script: &str, count: usize) {
        // As scripts are compiled: nothing is computed beforehand.
        let mut engine = rhai::Engine::new();
        engine.set_optimization_level(rhai::OptimizationLevel::None);
        let ast = engine.compile(script).expect("it compiles");
        assert_eq!(divisions(&ast).len(), count, "{script}");
    }

    #[test]
    fn a_rest_that_is_lost_among_floats_is_found() {
        let loops = "for epoch in run.epochs(epochs)";
        finds(&format!("let epochs = param(\"epochs\", 10); {loops} {{ let lr = 0.025 * (1 - epoch / epochs); }}"), 1);
        finds(&format!("let epochs = 10; let top = 0.1; {loops} {{ opt.lr = top - epoch / epochs; }}"), 1);
        finds("let x = 0.5 + 1 / 3; let y = 2.0 * (7 - 1 / 3);", 2);
    }

    #[test]
    fn what_is_meant_is_not() {
        finds("let count = 3200; let batch = 16 * (count / 1600);", 0);
        finds("let e = 3; let n = 9; let p = 0.3 * e / n; let q = 0.3 * (1.0 * e / n);", 0);
        finds("let e = 3; let n = 9; let p = 0.3 * (1 - e.to_float() / n);", 0);
        finds("let half = 0.5 * (10 / 5); let n = 3; n = 2.5; let x = 0.1 * (n / 2);", 0);
    }
}
