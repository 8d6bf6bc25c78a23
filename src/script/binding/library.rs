//! Where everything scripts can call is declared: once, with its documentation, options and an example.
//!
//! A [`Library`] collects declarations; [`Library::install`] registers them with an engine and leaves a [`Catalogue`]:
//! what the documentation, the editor definitions, `check` and "did you mean" are made from.

use super::copies::{self, Sames};
use super::entry::{Entry, Face, Kind, Parameter};
use super::failure;
use super::native::{self, Erased, Native};
use super::options::{self, Spec};
use super::text;
use super::value::{Argument, Output, ScriptType};
use crate::script::host::Host;
use rhai::{Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Module, NativeCallContext, Position};
use rhai::{RhaiFunc, Scope, Shared};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What rhai is to call for an entry.
struct Binding {
    rhai_name: String,
    native: Erased,
    /// The types of the leading arguments by which rhai tells overloads apart; the rest may be anything.
    dispatch: Vec<Vec<TypeId>>,
    mutates: bool,
}

/// A declaration under way; chain what it is and how it is used.
pub struct Declaration {
    entry: Entry,
    bindings: Vec<Binding>,
    constant: Option<Dynamic>,
}

impl Declaration {
    /// One paragraph: what it does, shapes and units, the source of a formula. Line breaks count as spaces.
    pub fn doc(&mut self, text: &str) -> &mut Self {
        self.entry.doc = text::paragraph(text);
        self
    }

    /// A short script that uses it; a test runs it. `assert(…)` is there to show what comes out. The source's
    /// indentation is left out.
    pub fn example(&mut self, script: &str) -> &mut Self {
        self.entry.example = text::block(script);
        self
    }

    /// An [`example`](Self::example) after lines that several examples begin with.
    pub fn example_after(&mut self, beginning: &str, script: &str) -> &mut Self {
        self.entry.example = format!("{}\n{}", text::block(beginning), text::block(script));
        self
    }

    /// An option with a default; its type is the default's.
    pub fn option<T: Argument + Output>(&mut self, name: &'static str, default: T, doc: &'static str) -> &mut Self {
        self.spec(Spec::new::<T>(name, options::value_default(default), doc))
    }

    /// An option that must be given.
    pub fn required<T: Argument>(&mut self, name: &'static str, doc: &'static str) -> &mut Self {
        self.spec(Spec::new::<T>(name, options::Default::Required, doc))
    }

    /// An option whose absence is not a value; `absent` says what it means ("no clipping").
    pub fn optional<T: Argument>(&mut self, name: &'static str, absent: &'static str, doc: &'static str) -> &mut Self {
        self.spec(Spec::new::<T>(name, options::Default::Absent(absent), doc))
    }

    fn spec(&mut self, spec: Spec) -> &mut Self {
        self.entry.options.push(spec);
        self
    }

    /// Restricts a function to arguments of exactly these types, where another declaration has the name too.
    pub fn only(&mut self, types: &[&[TypeId]]) -> &mut Self {
        self.bindings[0].dispatch = types.iter().map(|types| types.to_vec()).collect();
        self
    }

    /// Makes a property writable.
    pub fn writable<M: 'static, N: Native<M>>(&mut self, setter: N) -> &mut Self {
        self.entry.face = Face::Property { writable: true };
        let kinds = N::parameters();
        self.bindings.push(Binding {
            rhai_name: format!("set${}", self.entry.name),
            native: native::erase(setter),
            dispatch: dispatch(&kinds, 2, 2),
            mutates: true,
        });
        self.entry.parameters =
            vec![self.entry.parameters[0].clone(), Parameter { name: "value", kind: kinds[1].clone() }];
        self
    }
}

/// The argument types to register for every number of arguments from `least` to `most`.
fn dispatch(kinds: &[Kind], least: usize, most: usize) -> Vec<Vec<TypeId>> {
    let anything = TypeId::of::<Dynamic>();
    let types =
        |n: usize| kinds[..n].iter().enumerate().map(|(i, k)| if i == 0 { k.dispatch } else { anything }).collect();
    (least..=most).map(types).collect()
}

/// A type that scripts hold, as declared.
pub struct TypeEntry {
    pub noun: &'static str,
    pub name: &'static str,
    pub doc: &'static str,
}

/// A group of declarations under one heading.
pub struct Noun {
    pub name: &'static str,
    pub doc: &'static str,
}

/// Collects declarations; see the module's documentation for how to write one.
pub struct Library {
    host: Arc<Host>,
    nouns: Vec<Noun>,
    types: Vec<TypeEntry>,
    register_types: Vec<fn(&mut Engine, &mut Module)>,
    sames: Sames,
    declarations: Vec<Declaration>,
}

impl Library {
    pub fn new(host: Arc<Host>) -> Self {
        Self {
            host,
            nouns: vec![],
            types: vec![],
            register_types: vec![],
            sames: Sames::default(),
            declarations: vec![],
        }
    }

    /// What natives reach of the process around the script: seed, device, folders.
    pub fn host(&self) -> Arc<Host> {
        self.host.clone()
    }

    /// Opens a noun: a heading under which the declarations that follow are documented.
    pub fn noun(&mut self, name: &'static str, doc: &'static str) {
        self.nouns.push(Noun { name, doc });
    }

    /// Declares a type of values, with what `print` shows for it.
    pub fn kind<T: ScriptType + std::fmt::Display>(&mut self, doc: &'static str) {
        self.types.push(TypeEntry { noun: self.current(), name: T::NAME, doc });
        self.sames.know::<T>();
        self.register_types.push(|engine, _| {
            engine.register_type_with_name::<T>(T::NAME);
            engine.register_fn("to_string", |value: &mut T| value.to_string());
            engine.register_fn("to_debug", |value: &mut T| value.to_string());
        });
    }

    /// Makes values of type `T` walkable: `for item in value`. Items are made one at a time; an error ends the loop.
    pub fn iterable<T: ScriptType + IntoIterator<Item = crate::Result<Dynamic>>>(&mut self)
    where
        T::IntoIter: 'static,
    {
        self.register_types.push(|_, module| {
            module.set_iter_result(TypeId::of::<T>(), |value| match value.try_cast::<T>() {
                Some(value) => Box::new(value.into_iter().map(|item| item.map_err(failure::into_rhai))),
                None => Box::new(std::iter::empty()),
            });
        });
    }

    /// Declares a function: `name(a, b)`, which rhai also lets scripts write `a.name(b)`.
    pub fn function<M: 'static, N: Native<M>>(
        &mut self,
        name: &'static str,
        parameters: &[&'static str],
        native: N,
    ) -> &mut Declaration {
        self.callable(Face::Function, name, parameters, native)
    }

    /// Declares a method: documented as `receiver.name(b)`; the receiver is the first of `parameters`.
    pub fn method<M: 'static, N: Native<M>>(
        &mut self,
        name: &'static str,
        parameters: &[&'static str],
        native: N,
    ) -> &mut Declaration {
        self.callable(Face::Method, name, parameters, native)
    }

    /// Declares a property of the getter's one parameter: `receiver.name`. See [`Declaration::writable`].
    pub fn property<M: 'static, N: Native<M>>(&mut self, name: &'static str, getter: N) -> &mut Declaration {
        self.bind(Face::Property { writable: false }, name, &["self"], format!("get${name}"), getter)
    }

    /// Declares `receiver[index]`.
    pub fn index<M: 'static, N: Native<M>>(&mut self, parameters: &[&'static str], getter: N) -> &mut Declaration {
        self.bind(Face::Index, "[]", parameters, "index$get$".into(), getter)
    }

    /// Declares an operator for operands of exactly the given pairs of types (one type for a unary operator).
    pub fn operator<M: 'static, N: Native<M>>(
        &mut self,
        symbol: &'static str,
        operands: &[&[TypeId]],
        native: N,
    ) -> &mut Declaration {
        let names: &[&'static str] = if N::parameters().len() == 1 { &["a"] } else { &["a", "b"] };
        self.bind(Face::Operator, symbol, names, symbol.into(), native).only(operands)
    }

    /// Declares a constant that every script sees.
    pub fn constant<T: Output>(&mut self, name: &'static str, value: T) -> &mut Declaration {
        let entry = self.entry(Face::Constant, name, vec![], T::describe());
        self.push(Declaration { entry, bindings: vec![], constant: Some(value.into_dynamic()) })
    }

    fn callable<M: 'static, N: Native<M>>(
        &mut self,
        face: Face,
        name: &'static str,
        parameters: &[&'static str],
        native: N,
    ) -> &mut Declaration {
        self.bind(face, name, parameters, name.into(), native)
    }

    fn bind<M: 'static, N: Native<M>>(
        &mut self,
        face: Face,
        name: &'static str,
        parameters: &[&'static str],
        rhai_name: String,
        native: N,
    ) -> &mut Declaration {
        let kinds = N::parameters();
        assert_eq!(kinds.len(), parameters.len(), "the declaration of {name} must name each parameter once");
        let parameters =
            parameters.iter().zip(&kinds).map(|(&name, kind)| Parameter { name, kind: kind.clone() }).collect();
        let entry = self.entry(face, name, parameters, N::returns());
        let (least, most) = entry.arity();
        let dispatch = dispatch(&kinds, least, most);
        let binding = Binding { rhai_name, native: native::erase(native), dispatch, mutates: false };
        self.push(Declaration { entry, bindings: vec![binding], constant: None })
    }

    fn entry(&self, face: Face, name: &str, parameters: Vec<Parameter>, returns: String) -> Entry {
        Entry {
            noun: self.current(),
            face,
            name: name.into(),
            parameters,
            returns,
            doc: String::new(),
            options: vec![],
            example: String::new(),
        }
    }

    fn push(&mut self, declaration: Declaration) -> &mut Declaration {
        let index = self.declarations.len();
        self.declarations.push(declaration);
        &mut self.declarations[index]
    }

    fn current(&self) -> &'static str {
        self.nouns.last().map_or("general", |noun| noun.name)
    }

    /// Registers everything with `engine` and gives the catalogue of it.
    pub fn install(self, engine: &mut Engine) -> Catalogue {
        let mut module = Module::new();
        for register in self.register_types {
            register(engine, &mut module);
        }
        let sames = Arc::new(self.sames);
        let mut constants = BTreeMap::new();
        let mut entries = Vec::with_capacity(self.declarations.len());
        for declaration in self.declarations {
            let entry = Arc::new(declaration.entry);
            if let Some(value) = declaration.constant {
                constants.insert(entry.name.clone(), value);
            }
            if entry.face == Face::Index {
                refuse_names(&mut module, &entry);
            }
            for binding in declaration.bindings {
                let native = register(&mut module, &self.host, &entry, binding);
                if copies::are_given_by(&entry) {
                    copies::refuse_changes(&mut module, &self.host, &entry, native, &sames);
                }
            }
            entries.push(entry);
        }
        engine.register_global_module(module.into());
        Catalogue { nouns: self.nouns, types: self.types, entries, constants }
    }
}

/// Where a type has an index and no property of some name, rhai tries the index with the name. That is not an index but
/// a misspelt property, unless the index takes strings.
fn refuse_names(module: &mut Module, entry: &Entry) {
    let [receiver, index] = entry.parameters.as_slice() else { return };
    if index.kind.text.contains("string") {
        return;
    }
    let kind = receiver.kind.text.clone();
    let refuse = move |_: Option<NativeCallContext<'_>>, arguments: &mut [&mut Dynamic]| {
        let name = arguments.get(1).map(ToString::to_string).unwrap_or_default();
        let text = format!("Unknown property '{name}' - a getter is not registered for type '{kind}'");
        Err(EvalAltResult::ErrorDotExpr(text, Position::NONE).into())
    };
    FuncRegistration::new_index_getter().set_into_module_raw(
        module,
        [receiver.kind.dispatch, TypeId::of::<ImmutableString>()],
        RhaiFunc::Method { func: Shared::new(refuse), has_context: false, is_pure: true, is_volatile: true },
    );
}

/// Registers a binding under all types that it is dispatched by; what it calls.
fn register(module: &mut Module, host: &Arc<Host>, entry: &Arc<Entry>, binding: Binding) -> Arc<Erased> {
    let native = Arc::new(binding.native);
    for types in binding.dispatch {
        let (native, entry, host) = (native.clone(), entry.clone(), host.clone());
        let call = move |context: Option<NativeCallContext<'_>>, arguments: &mut [&mut Dynamic]| {
            let context = context.ok_or_else(|| failure::into_rhai(crate::Error::run("no call context")))?;
            native::run(&native, &entry, &host, &context, arguments)
        };
        FuncRegistration::new(binding.rhai_name.as_str()).in_global_namespace().set_into_module_raw(
            module,
            types,
            RhaiFunc::Method {
                func: Shared::new(call),
                has_context: true,
                is_pure: !binding.mutates,
                is_volatile: true,
            },
        );
    }
    native
}

/// Everything declared, without the functions themselves.
pub struct Catalogue {
    pub nouns: Vec<Noun>,
    pub types: Vec<TypeEntry>,
    pub entries: Vec<Arc<Entry>>,
    /// The declared constants and their values.
    pub constants: BTreeMap<String, Dynamic>,
}

impl Catalogue {
    /// The declared functions and methods called `name`.
    pub fn functions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.entries.iter().filter(move |e| e.name == name && matches!(e.face, Face::Function | Face::Method))
    }

    /// The declared constants as the parser wants them, to know their names.
    pub fn scope(&self) -> Scope<'static> {
        let mut scope = Scope::new();
        for (name, value) in &self.constants {
            scope.push_constant_dynamic(name.as_str(), value.clone());
        }
        scope
    }

    /// The properties, of any type or of `receiver` only.
    pub fn properties<'a>(&'a self, receiver: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Entry>> + Clone {
        self.entries.iter().filter(move |e| {
            matches!(e.face, Face::Property { .. }) && receiver.is_none_or(|r| e.receiver() == Some(r))
        })
    }
}
