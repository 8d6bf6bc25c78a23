//! What is wrong with a script that parsing does not find and running would: unknown functions, properties and options,
//! and wrong numbers of arguments.
//!
//! Types are followed as far as declarations tell: a variable that is only ever given values of one known type has that
//! type. Where nothing is known, nothing is said; a finding is a mistake.

use super::explain::{no_property, unknown_constant, unknown_function, wrong_arguments};
use super::page::{Page, location};
use crate::Error;
use crate::script::binding::{Catalogue, Entry, Face, Sources, type_name, unknown_option};
use rhai::{AST, ASTFlags, ASTNode, Engine, Expr, FnCallExpr, Position, Stmt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The findings in `ast`, in the order of the text.
pub fn check(
    engine: &Engine,
    ast: &AST,
    modules: &[AST],
    file: &str,
    sources: &Sources,
    catalogue: &Catalogue,
) -> Vec<Page> {
    let mut checker = Checker {
        catalogue,
        sources,
        known: Known::collect(engine, ast, modules),
        types: BTreeMap::new(),
        found: vec![],
    };
    // Types settle from the first use on; a second pass sees what the first found out.
    for _ in 0..2 {
        checker.types = checker.variable_types(ast);
    }
    checker.found.clear();
    ast.walk(&mut |path: &[ASTNode]| {
        checker.visit(path);
        true
    });
    let mut found = checker.found;
    found.sort_by_key(|(position, _)| (position.line(), position.position()));
    found.dedup_by_key(|(position, error)| (*position, error.message.clone()));
    found.into_iter().map(|(position, error)| Page::at(error, location(file, position, sources))).collect()
}

/// Names that are not declared by the library and good all the same.
struct Known {
    /// Functions of rhai's own packages and the script's, with the numbers of arguments they take.
    functions: BTreeMap<String, BTreeSet<usize>>,
    /// The script's own functions, with the numbers of their parameters; behind a dot the receiver is `this`.
    scripted: BTreeMap<String, BTreeSet<usize>>,
    /// Keys that maps in the script have: any of them may hold a closure or be read as a property.
    keys: BTreeSet<String>,
    /// Properties of rhai's own types.
    properties: BTreeSet<String>,
}

impl Known {
    fn collect(engine: &Engine, ast: &AST, modules: &[AST]) -> Self {
        let mut known = Self {
            functions: BTreeMap::new(),
            scripted: BTreeMap::new(),
            keys: BTreeSet::new(),
            properties: BTreeSet::new(),
        };
        let signatures = engine.collect_fn_metadata(
            None,
            |info| Some((info.metadata.name.to_string(), info.metadata.num_params)),
            true,
        );
        for (name, count) in signatures {
            match name.strip_prefix("get$") {
                Some(property) => _ = known.properties.insert(property.to_string()),
                None => _ = known.functions.entry(name).or_default().insert(count),
            }
        }
        // What rhai handles in its evaluator.
        for (name, counts) in [
            ("print", &[0, 1][..]),
            ("debug", &[0, 1]),
            ("type_of", &[1]),
            ("Fn", &[1]),
            ("call", &[1, 2, 3, 4, 5, 6, 7, 8]),
            ("is_shared", &[1]),
            ("is_def_var", &[1]),
            ("is_def_fn", &[2, 3]),
        ] {
            known.functions.entry(name.into()).or_default().extend(counts);
        }
        // A closure is curried with every variable that it captures.
        known.functions.entry("curry".into()).or_default().extend(2..=64);
        for tree in std::iter::once(ast).chain(modules) {
            for function in tree.iter_functions() {
                known.scripted.entry(function.name.to_string()).or_default().insert(function.params.len());
            }
            tree.walk(&mut |path: &[ASTNode]| {
                known.note_keys(path);
                true
            });
        }
        known
    }

    fn note_keys(&mut self, path: &[ASTNode]) {
        match path.last() {
            Some(ASTNode::Expr(Expr::Map(map, _))) => {
                self.keys.extend(map.0.iter().map(|(key, _)| key.name.to_string()));
            }
            Some(ASTNode::Expr(Expr::DynamicConstant(value, _))) => {
                if let Ok(map) = value.as_map_ref() {
                    self.keys.extend(map.keys().map(ToString::to_string));
                }
            }
            Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => self.note_target(&assignment.1.lhs),
            _ => {}
        }
    }

    /// `map.key = …` makes the key.
    fn note_target(&mut self, target: &Expr) {
        match target {
            Expr::Property(property, _) => _ = self.keys.insert(property.2.to_string()),
            Expr::Dot(pair, ..) | Expr::Index(pair, ..) => {
                self.note_target(&pair.lhs);
                self.note_target(&pair.rhs);
            }
            _ => {}
        }
    }
}

/// A type by its declared name; `None` where it is not known.
type Type = Option<String>;

struct Checker<'a> {
    catalogue: &'a Catalogue,
    sources: &'a Sources,
    known: Known,
    types: BTreeMap<String, Type>,
    found: Vec<(Position, Error)>,
}

impl Checker<'_> {
    /// The type of every variable that has one type wherever it is set.
    fn variable_types(&mut self, ast: &AST) -> BTreeMap<String, Type> {
        let mut types: BTreeMap<String, Type> = BTreeMap::new();
        let mut note = |name: &str, kind: Type| {
            types
                .entry(name.into())
                .and_modify(|old| {
                    if *old != kind {
                        *old = None
                    }
                })
                .or_insert(kind);
        };
        for function in ast.iter_functions() {
            function.params.iter().for_each(|name| note(name, None));
        }
        ast.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Var(var, ..))) => note(&var.0.name, self.type_of(&var.1)),
                Some(ASTNode::Stmt(Stmt::For(parts, _))) => {
                    note(&parts.0.name, self.type_of(&parts.2.expr).and_then(|kind| element(&kind)));
                    parts.1.iter().for_each(|counter| note(&counter.name, Some("int".into())));
                }
                Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => {
                    if let Expr::Variable(variable, ..) = &assignment.1.lhs {
                        let plain = assignment.0.get_op_assignment_info().is_none();
                        note(&variable.1, if plain { self.type_of(&assignment.1.rhs) } else { None });
                    }
                }
                Some(ASTNode::Stmt(Stmt::TryCatch(parts, _))) => {
                    if let Expr::Variable(variable, ..) = &parts.expr {
                        note(&variable.1, None);
                    }
                }
                _ => {}
            }
            true
        });
        types
    }

    fn visit(&mut self, path: &[ASTNode]) {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => self.call(call, *position),
            Some(ASTNode::Expr(Expr::FnCall(call, position))) => self.call(call, *position),
            Some(ASTNode::Expr(expr @ Expr::Variable(variable, ..)))
                if !variable.2.is_empty()
                    && variable.2.root() == "global"
                    && !self.sources.constants().contains(&variable.1.to_string()) =>
            {
                self.found.push((expr.position(), unknown_constant(&variable.1, self.sources)));
            }
            Some(ASTNode::Expr(expr @ (Expr::Dot(..) | Expr::Index(..)))) => {
                // The links of a chain are checked from its start.
                let parent = path.len().checked_sub(2).map(|i| &path[i]);
                let inside = match parent {
                    Some(ASTNode::Expr(Expr::Dot(pair, ..) | Expr::Index(pair, ..))) => {
                        std::ptr::eq(&raw const pair.rhs, *expr)
                    }
                    _ => false,
                };
                if !inside {
                    self.type_of(expr);
                }
            }
            _ => {}
        }
    }

    fn type_of(&mut self, expr: &Expr) -> Type {
        match expr {
            Expr::IntegerConstant(..) => Some("int".into()),
            Expr::FloatConstant(..) => Some("float".into()),
            Expr::BoolConstant(..) => Some("bool".into()),
            Expr::StringConstant(..) | Expr::InterpolatedString(..) => Some("string".into()),
            Expr::Array(..) => Some("array".into()),
            Expr::Map(..) => Some("map".into()),
            Expr::DynamicConstant(value, _) => Some(type_name(value)),
            Expr::Variable(variable, ..) if variable.2.is_empty() => {
                let constant =
                    self.catalogue.entries.iter().find(|e| e.face == Face::Constant && *e.name == *variable.1);
                self.types.get(variable.1.as_str()).cloned().unwrap_or_else(|| constant.map(|e| e.returns.clone()))
            }
            Expr::FnCall(call, _) if !call.is_qualified() && !call.is_operator_call() => {
                let first = call.args.first().and_then(|first| self.type_of(first));
                self.returns(&call.name, first.as_deref())
            }
            Expr::Dot(pair, ..) => {
                let receiver = self.type_of(&pair.lhs);
                self.chain(receiver, &pair.rhs)
            }
            Expr::Index(pair, flags, _) => {
                let item = self.type_of(&pair.lhs).and_then(|kind| element(&kind));
                self.indexed(item, &pair.rhs, *flags)
            }
            _ => None,
        }
    }

    /// After `receiver[`: the index, and what follows the bracket.
    fn indexed(&mut self, item: Type, rest: &Expr, flags: ASTFlags) -> Type {
        match rest {
            Expr::Dot(pair, ..) if !flags.contains(ASTFlags::BREAK) => self.chain(item, &pair.rhs),
            Expr::Index(pair, inner, _) if !flags.contains(ASTFlags::BREAK) => {
                self.indexed(item.and_then(|kind| element(&kind)), &pair.rhs, *inner)
            }
            _ => item,
        }
    }

    /// One link after a dot, and what follows.
    fn chain(&mut self, receiver: Type, link: &Expr) -> Type {
        match link {
            Expr::Property(property, position) => self.property(receiver, &property.2, *position),
            Expr::MethodCall(call, position) => self.method(receiver, call, *position),
            Expr::Dot(pair, ..) => {
                let kind = self.chain(receiver, &pair.lhs);
                self.chain(kind, &pair.rhs)
            }
            Expr::Index(pair, flags, _) => {
                let item = self.chain(receiver, &pair.lhs).and_then(|kind| element(&kind));
                self.indexed(item, &pair.rhs, *flags)
            }
            _ => None,
        }
    }

    fn property(&mut self, receiver: Type, name: &str, position: Position) -> Type {
        let kind = receiver?;
        if let Some(entry) = self.catalogue.properties(Some(&kind)).find(|p| p.name == name) {
            return Some(entry.returns.clone());
        }
        let declared = self.catalogue.types.iter().any(|t| t.name == kind);
        let scalar = matches!(kind.as_str(), "int" | "float" | "bool" | "string");
        if declared || (scalar && !self.known.properties.contains(name)) {
            self.found.push((position, no_property(name, &kind, self.catalogue)));
        }
        None
    }

    fn method(&mut self, receiver: Type, call: &FnCallExpr, position: Position) -> Type {
        if self.known.keys.contains(call.name.as_str()) && receiver.as_deref().is_none_or(|kind| kind == "map") {
            return None;
        }
        self.arguments(call, position, 1, receiver.as_deref());
        self.returns(&call.name, receiver.as_deref())
    }

    fn call(&mut self, call: &FnCallExpr, position: Position) {
        if call.is_qualified()
            || call.is_operator_call()
            || !call.name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        {
            return;
        }
        let first = call.args.first().and_then(|first| self.type_of(first));
        self.arguments(call, position, 0, first.as_deref());
    }

    /// Checks a call's name, the number of its arguments (`before` of them stand before the dot) and its options.
    fn arguments(&mut self, call: &FnCallExpr, position: Position, before: usize, first: Option<&str>) {
        let count = call.args.len() + before;
        let catalogue = self.catalogue;
        let declared: Vec<&Arc<Entry>> = catalogue.functions(&call.name).collect();
        let counts = self.known.functions.get(call.name.as_str());
        let scripted = self.known.scripted.get(call.name.as_str());
        if scripted.is_some_and(|counts| counts.contains(&call.args.len())) {
            return;
        }
        if declared.is_empty() && counts.is_none() && scripted.is_none() {
            let error = unknown_function(&call.name, self.sources, catalogue, &[]);
            self.found.push((position, error));
            return;
        }
        let elsewhere = counts.is_some_and(|counts| counts.contains(&count));
        let candidates: Vec<&Arc<Entry>> = declared.iter().copied().filter(|e| takes(e, first)).collect();
        let fitting = candidates.iter().find(|e| (e.arity().0..=e.arity().1).contains(&count));
        match fitting {
            Some(entry) if candidates.len() == 1 => self.options(entry, call, before),
            Some(_) => {}
            None if elsewhere => {}
            None if declared.is_empty() => {
                let count = if scripted.is_some() { call.args.len() } else { count };
                let counts: Vec<String> = scripted.or(counts).into_iter().flatten().map(ToString::to_string).collect();
                let error = Error::user(format!("`{}` was called with {count} arguments", call.name));
                self.found.push((position, error.hint(format!("it takes {}", counts.join(" or ")))));
            }
            None => {
                let mut given = vec!["…".to_string(); count];
                if let (Some(slot), Some(first)) = (given.first_mut(), first) {
                    *slot = first.to_string();
                }
                let shown = if candidates.is_empty() { &declared } else { &candidates };
                let error = wrong_arguments(&call.name, &given, shown);
                self.found.push((position, error));
            }
        }
    }

    /// Checks the keys of a literal options map.
    fn options(&mut self, entry: &Entry, call: &FnCallExpr, before: usize) {
        let Some(index) = entry.parameters.iter().position(|p| p.kind.options) else { return };
        let known = || entry.options.iter().map(|o| o.name);
        let Some(argument) = index.checked_sub(before).and_then(|i| call.args.get(i)) else { return };
        match argument {
            Expr::Map(map, _) => {
                for (key, _) in &map.0 {
                    if known().all(|name| name != key.name.as_str()) {
                        self.found.push((key.pos, unknown_option(&key.name, known())));
                    }
                }
            }
            Expr::DynamicConstant(value, position) => {
                for key in value.as_map_ref().iter().flat_map(|map| map.keys().cloned().collect::<Vec<_>>()) {
                    if known().all(|name| name != key.as_str()) {
                        self.found.push((*position, unknown_option(&key, known())));
                    }
                }
            }
            _ => {}
        }
    }

    /// What a declared function returns, where every candidate agrees.
    fn returns(&self, name: &str, first: Option<&str>) -> Type {
        let mut kinds = self.catalogue.functions(name).filter(|e| takes(e, first)).map(|e| e.returns.clone());
        let kind = kinds.next()?;
        let plain = !kind.is_empty() && kind != "any" && !kind.contains(" or ");
        (plain && kinds.all(|other| other == kind)).then_some(kind)
    }
}

/// Whether an entry may be called with a first argument of this type.
fn takes(entry: &Entry, first: Option<&str>) -> bool {
    let (Some(first), Some(parameter)) = (first, entry.parameters.first()) else { return true };
    let dispatched = parameter.kind.dispatch != std::any::TypeId::of::<rhai::Dynamic>();
    !dispatched || parameter.kind.text == first
}

/// The type of the elements of a type.
fn element(kind: &str) -> Type {
    match kind {
        "tensor" => Some("tensor".into()),
        _ => kind.strip_prefix('[').and_then(|k| k.strip_suffix(']')).map(str::to_string),
    }
}
