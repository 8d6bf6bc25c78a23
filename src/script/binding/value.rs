//! Which Rust types scripts may hand over and receive, and under what names.
//!
//! A declaration's types are read off its Rust closure through these two traits, so what the documentation says and
//! what the function accepts cannot drift apart. Reading is lenient in one way only: an integer is welcome where a
//! float is.

use crate::{Error, Result};
use rhai::{Array, Dynamic, FnPtr, ImmutableString, Map, Variant};
use std::any::TypeId;

/// A Rust type that scripts hold as a value of their own, a cheap handle (an `Arc` inside): rhai clones arguments.
///
/// `NAME` is the struct's name in snake case (`Tensor`: "tensor"); error messages rely on that.
pub trait ScriptType: Variant + Clone {
    const NAME: &'static str;

    /// Whether two values are the same to a script, as far as `print` shows.
    fn same(&self, other: &Self) -> bool
    where
        Self: std::fmt::Display,
    {
        self.to_string() == other.to_string()
    }
}

/// A type that a declared function may take.
pub trait Argument: Sized {
    /// The type as the documentation writes it: `int`, `[float]`, `tensor`.
    fn describe() -> String;

    /// Reads it from a script's value.
    fn read(value: &Dynamic) -> Result<Self, Mismatch>;

    /// The type by which calls are told apart when it comes first. Only script types have one of their own.
    fn dispatch() -> TypeId {
        TypeId::of::<Dynamic>()
    }

    /// Its value where the argument was left out; `None` when it must be given.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether this is the strict options map, which the declaration's option list describes and by which it is checked
    /// before it is read.
    fn is_options() -> bool {
        false
    }
}

/// A type that a declared function may return.
pub trait Output {
    fn describe() -> String;
    fn into_dynamic(self) -> Dynamic;
}

/// Why a value is not what was asked for.
#[derive(Debug)]
pub enum Mismatch {
    /// A value of another type; described in words ("a string", "element 2 is a float").
    Found(String),
    /// The type fits and the value does not; a whole error of its own.
    Error(Error),
}

impl Mismatch {
    pub(super) fn found(value: &Dynamic) -> Self {
        Self::Found(format!("not {}", describe_value(value)))
    }

    /// The error for the value named `what`, which should have been `expected`.
    pub fn into_error(self, what: &str, expected: &str) -> Error {
        match self {
            Self::Found(found) => Error::user(format!("{what} must be {}, {found}", with_article(expected))),
            Self::Error(error) => error,
        }
    }
}

/// "an int", "a tensor", "[float]" as it stands.
fn with_article(kind: &str) -> String {
    match kind.chars().next() {
        _ if kind == "options" => "a map of options".into(),
        Some(c) if "aeiou".contains(c) => format!("an {kind}"),
        Some(c) if c.is_alphabetic() => format!("a {kind}"),
        _ => kind.to_string(),
    }
}

/// The name by which scripts know the type of `value`.
pub fn type_name(value: &Dynamic) -> String {
    simple_type_name(value.type_name())
}

/// The scripts' name for the type that rhai or Rust calls `name`: a script type's is the last segment in snake case.
pub fn simple_type_name(name: &str) -> String {
    match name {
        "i64" => "int".into(),
        "f64" => "float".into(),
        "()" => "nothing".into(),
        "Fn" => "closure".into(),
        "map" | "array" | "string" | "bool" | "char" | "range" | "blob" | "timestamp" => name.into(),
        _ if name.contains("FnPtr") => "closure".into(),
        _ if name.contains("ImmutableString") || name.ends_with("String") || name == "&str" => "string".into(),
        _ if name.contains("Range") => "range".into(),
        _ if name.contains("Vec<rhai") || name.contains("::Array") => "array".into(),
        _ if name.contains("BTreeMap") || name.contains("::Map") => "map".into(),
        _ => snake_case(name.rsplit("::").next().unwrap_or(name)),
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// A value in words for messages: "the string \"abc\"", "the float 0.5", "a tensor".
pub fn describe_value(value: &Dynamic) -> String {
    let kind = type_name(value);
    match kind.as_str() {
        "int" | "float" | "bool" => format!("the {kind} {value}"),
        "string" => {
            let text = value.to_string();
            if text.chars().count() <= 40 { format!("the string \"{text}\"") } else { "a string".into() }
        }
        "nothing" => "nothing, ()".into(),
        _ => with_article(&kind),
    }
}

impl<T: ScriptType> Argument for T {
    fn describe() -> String {
        T::NAME.into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        value.read_lock::<T>().map(|v| v.clone()).ok_or_else(|| Mismatch::found(value))
    }
    fn dispatch() -> TypeId {
        TypeId::of::<T>()
    }
}

impl<T: ScriptType> Output for T {
    fn describe() -> String {
        T::NAME.into()
    }
    fn into_dynamic(self) -> Dynamic {
        Dynamic::from(self)
    }
}

/// Both traits for a type that rhai holds natively.
macro_rules! plain {
    ($type:ty, $name:literal, $read:expr, $write:expr) => {
        impl Argument for $type {
            fn describe() -> String {
                $name.into()
            }
            fn read(value: &Dynamic) -> Result<Self, Mismatch> {
                let read: fn(&Dynamic) -> Option<$type> = $read;
                read(value).ok_or_else(|| Mismatch::found(value))
            }
        }
        impl Output for $type {
            fn describe() -> String {
                $name.into()
            }
            fn into_dynamic(self) -> Dynamic {
                let write: fn($type) -> Dynamic = $write;
                write(self)
            }
        }
    };
}

plain!(i64, "int", |v| v.as_int().ok(), Dynamic::from_int);
plain!(f64, "float", |v| v.as_float().ok().or_else(|| v.as_int().ok().map(|i| i as f64)), Dynamic::from_float);
plain!(bool, "bool", |v| v.as_bool().ok(), Dynamic::from_bool);
plain!(String, "string", |v| v.clone().into_string().ok(), Dynamic::from);
plain!(ImmutableString, "string", |v| v.clone().into_immutable_string().ok(), Dynamic::from);
plain!(Array, "array", |v| v.clone().flatten().into_array().ok(), Dynamic::from_array);
plain!(Map, "map", |v| v.as_map_ref().ok().map(|m| m.clone()), Dynamic::from_map);
plain!(FnPtr, "closure", |v| v.read_lock::<FnPtr>().map(|f| f.clone()), Dynamic::from);
plain!(Dynamic, "any", |v| Some(v.flatten_clone()), |v| v);

impl Argument for usize {
    fn describe() -> String {
        "int".into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let int = i64::read(value)?;
        usize::try_from(int).map_err(|_| Mismatch::Found(format!("at least 0, not {int}")))
    }
}

impl Output for usize {
    fn describe() -> String {
        "int".into()
    }
    fn into_dynamic(self) -> Dynamic {
        Dynamic::from_int(self as i64)
    }
}

impl Output for () {
    fn describe() -> String {
        String::new()
    }
    fn into_dynamic(self) -> Dynamic {
        Dynamic::UNIT
    }
}

/// A uniform array. `Array` itself is `Vec<Dynamic>`, so the element type here is any but `Dynamic`.
#[derive(Clone, Debug)]
pub struct List<T>(pub Vec<T>);

impl<T: Argument> Argument for List<T> {
    fn describe() -> String {
        format!("[{}]", T::describe())
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let array = value.as_array_ref().map_err(|_| Mismatch::found(value))?;
        let items = array.iter().enumerate().map(|(index, item)| {
            T::read(item).map_err(|mismatch| match mismatch {
                Mismatch::Found(found) => Mismatch::Found(of_element(index, &found)),
                error => error,
            })
        });
        Ok(Self(items.collect::<Result<_, _>>()?))
    }
}

/// What [`Mismatch::Found`] says of an element: "element 2 is a float".
fn of_element(index: usize, found: &str) -> String {
    match found.strip_prefix("not ") {
        Some(found) => format!("element {index} is {found}"),
        None if found.starts_with("element ") => format!("in element {index}, {found}"),
        None => format!("element {index} must be {found}"),
    }
}

impl<T: Output> Output for List<T> {
    fn describe() -> String {
        format!("[{}]", T::describe())
    }
    fn into_dynamic(self) -> Dynamic {
        Dynamic::from_array(self.0.into_iter().map(Output::into_dynamic).collect())
    }
}

/// An argument that may be left out, at the end of the list; `()` counts as left out.
impl<T: Argument> Argument for Option<T> {
    fn describe() -> String {
        T::describe()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if value.is_unit() { Ok(None) } else { T::read(value).map(Some) }
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Output> Output for Option<T> {
    fn describe() -> String {
        format!("{} or ()", T::describe())
    }
    fn into_dynamic(self) -> Dynamic {
        self.map_or(Dynamic::UNIT, Output::into_dynamic)
    }
}

/// A closure that keeps the values its variables have now. One that is called long after it was given would otherwise
/// see what became of them: closures made in a loop share its variable.
pub fn frozen(mut closure: FnPtr) -> FnPtr {
    closure.iter_curry_mut().for_each(|value| *value = value.flatten_clone());
    closure
}
