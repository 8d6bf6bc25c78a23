//! Whole numbers divided among floats: `0.025 * (1 - epoch / epochs)` stays at 0.025, since `epoch / epochs` is 0.
//!
//! What a variable holds is followed as far as its own text tells: literals, parameters' defaults, loops over numbers.

use rhai::{AST, ASTNode, Expr, FnPtr, Position, Stmt};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Whole,
    /// A float, or what is reckoned with as with floats: a tensor.
    Float,
}

/// What is known of variables by name; `None` for those that are given different kinds.
type Kinds = BTreeMap<String, Option<Kind>>;

/// Functions that are asked for floats: a whole number goes into them as well, and says nothing.
const OF_FLOATS: [&str; 9] = ["cos", "exp", "ln", "log", "sin", "sqrt", "tan", "tanh", "to_float"];
/// Properties that are floats, of whatever.
const FLOATS: [&str; 5] = ["accuracy", "elapsed", "loss", "lr", "momentum"];

/// Where two whole numbers are divided, although what becomes of it is reckoned with as a float. `returns` tells what
/// declared functions give.
pub fn divisions(ast: &AST, returns: &dyn Fn(&str) -> Option<Kind>) -> Vec<Position> {
    let mut known = Known {
        returns,
        parameters: ast
            .iter_functions()
            .map(|function| (function.name.to_string(), function.params.iter().map(ToString::to_string).collect()))
            .collect(),
        closures: BTreeMap::new(),
        kinds: Kinds::new(),
        counters: BTreeSet::new(),
        shares: BTreeMap::new(),
    };
    // What one pass finds out about one variable, the next uses for others.
    for _ in 0..3 {
        let mut now = Kinds::new();
        ast.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(stmt)) => known.note(stmt, &mut now),
                Some(ASTNode::Expr(Expr::FnCall(call, _))) => known.note_arguments(&call.name, &call.args, &mut now),
                Some(ASTNode::Expr(Expr::Dot(pair, ..))) => known.note_call(&pair.lhs, &pair.rhs, &mut now),
                _ => {}
            }
            true
        });
        known.kinds = now;
    }
    let mut found = vec![];
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Expr(expr)) => known.visit(expr, &mut found),
            Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => {
                let (target, value) = (&assignment.1.lhs, &assignment.1.rhs);
                if assignment.0.get_op_assignment_info().is_some() && known.kind(target) == Some(Kind::Float) {
                    found.extend(known.lost(value));
                }
            }
            _ => {}
        }
        true
    });
    found.sort();
    found.dedup();
    found
}

struct Known<'a> {
    returns: &'a dyn Fn(&str) -> Option<Kind>,
    /// The names of the parameters of the script's own functions, closures among them: what these capture comes first.
    parameters: BTreeMap<String, Vec<String>>,
    /// The functions behind variables that hold closures.
    closures: BTreeMap<String, String>,
    kinds: Kinds,
    /// Variables that count the turns of a loop.
    counters: BTreeSet<String>,
    /// Variables that hold how far a loop is, as whole numbers say it: never anything but 0. Each with the division.
    shares: BTreeMap<String, Position>,
}

impl Known<'_> {
    /// Notes what a statement gives to a variable.
    fn note(&mut self, stmt: &Stmt, now: &mut Kinds) {
        match stmt {
            Stmt::Var(var, ..) => {
                give(now, &var.0.name, self.kind(&var.1));
                if let Some(function) = closure(&var.1) {
                    self.closures.insert(var.0.name.to_string(), function);
                }
                if let Some(position) = self.share(&var.1) {
                    self.shares.insert(var.0.name.to_string(), position);
                }
            }
            Stmt::For(parts, _) => {
                let counts = self.counts(&parts.2.expr);
                give(now, &parts.0.name, if counts { Some(Kind::Whole) } else { None });
                if counts {
                    self.counters.insert(parts.0.name.to_string());
                }
                if let Some(counter) = &parts.1 {
                    give(now, &counter.name, Some(Kind::Whole));
                    self.counters.insert(counter.name.to_string());
                }
            }
            Stmt::Assignment(assignment) => {
                if let Expr::Variable(variable, ..) = &assignment.1.lhs {
                    let value = self.kind(&assignment.1.rhs);
                    // Whatever is multiplied by a whole number stays what it is.
                    let stays = assignment.0.get_op_assignment_info().is_some() && value == Some(Kind::Whole);
                    if !stays {
                        give(now, &variable.1, value);
                    }
                }
            }
            Stmt::FnCall(call, _) => self.note_arguments(&call.name, &call.args, now),
            _ => {}
        }
    }

    /// Notes what `f.call(…)` gives to the parameters of a closure.
    fn note_call(&mut self, callee: &Expr, called: &Expr, now: &mut Kinds) {
        if let (Expr::Variable(variable, ..), Expr::MethodCall(call, _)) = (callee, called)
            && call.name == "call"
            && let Some(function) = self.closures.get(variable.1.as_str()).cloned()
        {
            self.note_arguments(&function, &call.args, now);
        }
    }

    /// Notes what a call gives to the parameters of the script's own function.
    fn note_arguments(&mut self, name: &str, arguments: &[Expr], now: &mut Kinds) {
        let Some(parameters) = self.parameters.get(name) else { return };
        let Some(captured) = parameters.len().checked_sub(arguments.len()) else { return };
        for (parameter, argument) in parameters[captured..].iter().zip(arguments) {
            let name = match argument {
                Expr::Variable(variable, ..) => variable.1.as_str(),
                _ => "",
            };
            // A variable of the parameter's own name says nothing new.
            if name == parameter {
                continue;
            }
            give(now, parameter, self.kind(argument));
            if self.counters.contains(name) {
                self.counters.insert(parameter.clone());
            }
        }
    }

    fn visit(&self, expr: &Expr, found: &mut Vec<Position>) {
        if let Some([left, right]) = reckoned(expr).or_else(|| compared(expr)) {
            for (one, other) in [(left, right), (right, left)] {
                if self.kind(one) == Some(Kind::Float) {
                    found.extend(self.lost(other));
                }
            }
        }
        match expr {
            Expr::FnCall(call, _) if call.name == "/" => {
                // One third as whole numbers is nothing, wherever it is wanted.
                if let [Expr::IntegerConstant(a, _), Expr::IntegerConstant(b, _)] = &call.args[..]
                    && 0 < *a
                    && a < b
                {
                    found.push(expr.position());
                }
            }
            Expr::FnCall(call, _) if OF_FLOATS.contains(&call.name.as_str()) => {
                found.extend(call.args.first().and_then(|first| self.told_share(first)));
            }
            Expr::FnCall(call, _) if call.name == "**" => {
                found.extend(call.args.get(1).and_then(|exponent| self.told_share(exponent)));
            }
            Expr::Dot(pair, ..) => {
                if matches!(&pair.rhs, Expr::MethodCall(call, _) if OF_FLOATS.contains(&call.name.as_str())) {
                    found.extend(self.told_share(&pair.lhs));
                }
            }
            _ => {}
        }
    }

    /// Whether a loop over this counts: a range, or the epochs of a run, or so many of its steps.
    fn counts(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Dot(pair, ..) => match &pair.rhs {
                Expr::MethodCall(call, _) if call.name == "epochs" => true,
                Expr::MethodCall(call, _) if call.name == "steps" => {
                    call.args.first().and_then(|count| self.kind(count)) == Some(Kind::Whole)
                }
                _ => false,
            },
            Expr::FnCall(call, _) => ["..", "..=", "range"].contains(&call.name.as_str()),
            _ => false,
        }
    }

    fn kind(&self, expr: &Expr) -> Option<Kind> {
        if let Some(operands) = reckoned(expr) {
            return match operands.map(|operand| self.kind(operand)) {
                [Some(Kind::Whole), Some(Kind::Whole)] => Some(Kind::Whole),
                [Some(_), Some(_)] => Some(Kind::Float),
                _ => None,
            };
        }
        match expr {
            Expr::IntegerConstant(..) => Some(Kind::Whole),
            Expr::FloatConstant(..) => Some(Kind::Float),
            Expr::Variable(variable, ..) => self.kinds.get(variable.1.as_str()).copied().flatten(),
            Expr::FnCall(call, _) if call.name == "param" => self.kind(call.args.get(1)?),
            Expr::FnCall(call, _) if call.name == "-" => self.kind(call.args.first()?),
            Expr::FnCall(call, _) if self.parameters.contains_key(call.name.as_str()) => None,
            Expr::FnCall(call, _) => (self.returns)(&call.name),
            Expr::Dot(pair, ..) => match &pair.rhs {
                Expr::MethodCall(call, _) if call.name == "len" || call.name == "to_int" => Some(Kind::Whole),
                Expr::MethodCall(call, _) if OF_FLOATS.contains(&call.name.as_str()) => Some(Kind::Float),
                Expr::Property(property, _) if FLOATS.contains(&property.2.as_str()) => Some(Kind::Float),
                _ => None,
            },
            _ => None,
        }
    }

    /// The division whose rest is lost where a float meets `expr`, which stands for a whole number.
    fn lost(&self, expr: &Expr) -> Option<Position> {
        if self.kind(expr) == Some(Kind::Whole) { self.division(expr, false) } else { None }
    }

    /// The division in an expression that says how far a loop is, or behind the variable that holds it.
    fn told_share(&self, expr: &Expr) -> Option<Position> {
        match expr {
            Expr::Variable(..) => self.lost(expr),
            _ => self.share(expr),
        }
    }

    /// The division in an expression that says how far a loop is: its counter by something that has a name.
    fn share(&self, expr: &Expr) -> Option<Position> {
        if self.kind(expr) == Some(Kind::Whole) { self.division(expr, true) } else { None }
    }

    /// A division of whole numbers in a term of whole numbers, unless it is seen to leave no rest. Of a loop's counter
    /// alone, if so asked: `count / size` may well be meant as a whole number, and so may every tenth epoch.
    fn division(&self, expr: &Expr, of_counter: bool) -> Option<Position> {
        if let Expr::Variable(variable, ..) = expr {
            return self.shares.get(variable.1.as_str()).copied();
        }
        let [left, right] = reckoned(expr)?;
        let quotient = matches!(expr, Expr::FnCall(call, _) if call.name == "/");
        let meant = of_counter && (matches!(right, Expr::IntegerConstant(..)) || !self.is_counted(left));
        match (left, right) {
            (Expr::IntegerConstant(a, _), Expr::IntegerConstant(b, _)) if quotient && *b != 0 && a % b == 0 => None,
            _ if quotient && !meant && self.kind(expr) == Some(Kind::Whole) => Some(expr.position()),
            _ => self.division(left, of_counter).or_else(|| self.division(right, of_counter)),
        }
    }

    /// Whether a term holds the counter of a loop.
    fn is_counted(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Variable(variable, ..) => self.counters.contains(variable.1.as_str()),
            Expr::FnCall(call, _) if call.name == "-" && call.args.len() == 1 => self.is_counted(&call.args[0]),
            _ => reckoned(expr).is_some_and(|operands| operands.iter().any(|operand| self.is_counted(operand))),
        }
    }
}

/// The function behind a closure, which binds what it captures in a block of its own.
fn closure(expr: &Expr) -> Option<String> {
    match expr {
        Expr::DynamicConstant(value, _) => Some(value.read_lock::<FnPtr>()?.fn_name().to_string()),
        Expr::FnCall(call, _) if call.name == "curry" => closure(call.args.first()?),
        Expr::Stmt(block) => block.iter().find_map(|stmt| match stmt {
            Stmt::Expr(expr) => closure(expr),
            Stmt::FnCall(call, _) if call.name == "curry" => closure(call.args.first()?),
            _ => None,
        }),
        _ => None,
    }
}

fn give(kinds: &mut Kinds, name: &str, kind: Option<Kind>) {
    let known = kinds.entry(name.to_string()).or_insert(kind);
    if *known != kind {
        *known = None;
    }
}

/// The operands of a sum, difference, product or quotient.
fn reckoned(expr: &Expr) -> Option<[&Expr; 2]> {
    operands(expr, &["+", "-", "*", "/"])
}

/// The two sides of a comparison.
fn compared(expr: &Expr) -> Option<[&Expr; 2]> {
    operands(expr, &["<", "<=", ">", ">="])
}

fn operands<'a>(expr: &'a Expr, operators: &[&str]) -> Option<[&'a Expr; 2]> {
    match expr {
        Expr::FnCall(call, _) if operators.contains(&call.name.as_str()) => match &call.args[..] {
            [left, right] => Some([left, right]),
            _ => None,
        },
        _ => None,
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
        let returns = |name: &str| ["cosine", "tensor"].contains(&name).then_some(Kind::Float);
        assert_eq!(divisions(&ast, &returns).len(), count, "{script}");
    }

    #[test]
    fn a_rest_that_is_lost_among_floats_is_found() {
        let loops = "for epoch in run.epochs(epochs)";
        finds(&format!("let epochs = param(\"epochs\", 10); {loops} {{ let lr = 0.025 * (1 - epoch / epochs); }}"), 1);
        finds(&format!("let epochs = 10; let top = 0.1; {loops} {{ opt.lr = top - epoch / epochs; }}"), 1);
        finds("let x = 0.5 + 1 / 3; let y = 2.0 * (7 - 1 / 3);", 2);
        finds("let third = 1 / 3; print(third);", 1);
        finds("let n = 9; for e in 0..n { let lr = cosine(0.1, 0.0, e, n) * (e / n); }", 1);
        finds("let n = 9; for e in 0..n { print(tensor([1.0]) * (1 - e / n)); }", 1);
        finds("let n = 9; for e in 0..n { opt.lr * (1 - e / n); if e / n > 0.5 { print(e); } }", 2);
        finds("let n = 9; let lr = 0.1; for e in 0..n { lr *= 1 - e / n; }", 1);
        finds("for e in run.epochs(4) { for (batch, s) in run.steps(train) { 0.05 * ((e * 5 + s) / (4 * 5)); } }", 1);
        finds("for s in run.steps(20) { let warm = 0.05 * (s / 7); }", 1);
        finds("fn slope(e, n) { 0.1 * (1 - e / n) } for e in 0..9 { print(slope(e, 9)); }", 1);
        finds("let slope = |e, n| 0.1 * (1 - e / n); for e in 0..9 { print(slope.call(e, 9)); }", 1);
        finds("let top = 0.1; let f = |e, n| top * (1 - e / n); for e in 0..9 { let lr = f.call(e, 9); }", 1);
    }

    #[test]
    fn how_far_a_loop_is_is_found_behind_a_variable_and_in_functions_of_floats() {
        finds("let n = 9; for e in 0..n { let t = e / n; let lr = 0.1 * (1.0 - t); }", 1);
        finds("let n = 9; for e in 0..n { let t = e / n; let lr = 0.1 * (1 - t); }", 1);
        finds("let n = 9; for e in 0..n { let left = 1 - e / n; let lr = 0.1 * left; }", 1);
        finds("let n = 9; for e in 0..n { let t = (e / n).to_float(); print((1 - e / n).sqrt() + exp(-e / n)); }", 3);
        finds("let n = 9; for e in 0..n { let t = e / n; print(sqrt(t)); }", 1);
        finds("let n = 9; for e in run.epochs(n) { let t = 5.0 * (0.1 / 5.0) ** (e / (n - 1)); }", 1);
    }

    #[test]
    fn what_is_meant_is_not() {
        finds("let count = 3200; let batch = 16 * (count / 1600);", 0);
        finds("let slope = |e, n| 0.1 * (1 - e / n); for e in 0..9 { print(slope.call(e, 9.0)); }", 0);
        finds("let each = |count, size| count / size; print(each.call(99, 8));", 0);
        finds("let e = 3; let n = 9; let p = 0.3 * e / n; let q = 0.3 * (1.0 * e / n);", 0);
        finds("let e = 3; let n = 9; let p = 0.3 * (1 - e.to_float() / n);", 0);
        finds("let half = 0.5 * (10 / 5); let n = 3; n = 2.5; let x = 0.1 * (n / 2);", 0);
        // Counts, and every tenth epoch.
        finds("let count = 99; let size = 8; let steps = count / size; let warm = 0.1 * steps; sqrt(count / size);", 0);
        finds("for e in 0..30 { let lr = 0.1 * 0.5 ** (e / 10); let stage = e / 10; print(0.1 * stage); }", 0);
        finds("for e in 0..30 { let f = 0.5 ** (e / 10).to_float(); if e / 10 > 2 { print(1.5 * f); } }", 0);
        finds("let lr = 0.1; for e in 0..30 { if e % 10 == 0 { lr /= 10; } lr *= e; }", 0);
        finds("let n = param(\"n\", 9.0); for e in 0..9 { let t = e / n; print(0.1 * (1 - t)); }", 0);
        finds("let n = 9; for e in 0..n { let half = n / 2; print(0.5 * half); let t = 1.0 * e / n; 2.0 * t; }", 0);
        finds("let b = 1024; print(`${123456 / b} kB`); let parts = [8 / 3, 2 * 8 / 3];", 0);
    }
}
