//! Named options: the trailing `#{ lr: 0.025 }` of a call, read strictly.
//!
//! A declaration lists its options with types, defaults and meanings. By the time the function sees its [`Options`],
//! every key is known, every value has its type and nothing required is missing; what is left is to ask for values by
//! name.

use super::value::{Argument, Mismatch, Output};
use crate::{Error, Result};
use rhai::{Dynamic, Map};

/// One option a declaration lists.
#[derive(Clone)]
pub struct Spec {
    pub name: &'static str,
    /// The type, as the documentation writes it.
    pub kind: String,
    pub default: Default,
    pub doc: &'static str,
    pub(super) check: fn(&Dynamic) -> Result<(), Mismatch>,
}

/// What holds where an option is not given.
#[derive(Clone)]
pub enum Default {
    Value(Dynamic),
    /// It must be given.
    Required,
    /// Something other than a value, in words ("no clipping").
    Absent(&'static str),
}

impl Spec {
    pub(super) fn new<T: Argument>(name: &'static str, default: Default, doc: &'static str) -> Self {
        Self { name, kind: T::describe(), default, doc, check: |value| T::read(value).map(|_| ()) }
    }

    /// The default in words, for the documentation.
    pub fn default_text(&self) -> String {
        match &self.default {
            Default::Value(value) => literal(value),
            Default::Required => "required".into(),
            Default::Absent(words) => (*words).into(),
        }
    }
}

/// A value as a script would write it.
pub fn literal(value: &Dynamic) -> String {
    if let Ok(text) = value.clone().into_string() {
        format!("{text:?}")
    } else if let Ok(items) = value.as_array_ref() {
        format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", "))
    } else {
        value.to_string()
    }
}

/// The options of one call, checked against the declaration.
#[derive(Clone, Debug)]
pub struct Options {
    given: Map,
    defaults: Map,
}

impl Options {
    /// Checks `given` against the `declared` options.
    ///
    /// # Errors
    /// An unknown key (with the closest known one), a value of another type, a required option that is missing.
    pub fn new(given: Map, declared: &[Spec]) -> Result<Self> {
        for (key, value) in &given {
            let spec = declared
                .iter()
                .find(|spec| spec.name == key.as_str())
                .ok_or_else(|| unknown_option(key, declared.iter().map(|s| s.name)))?;
            (spec.check)(value).map_err(|m| m.into_error(&format!("option `{key}`"), &spec.kind))?;
        }
        let mut defaults = Map::new();
        for spec in declared {
            match &spec.default {
                Default::Value(value) => _ = defaults.insert(spec.name.into(), value.clone()),
                Default::Required if !given.contains_key(spec.name) => {
                    return Err(Error::user(format!("option `{}` is missing", spec.name))
                        .hint(format!("{}: {}, {}", spec.name, spec.kind, spec.doc)));
                }
                _ => {}
            }
        }
        Ok(Self { given, defaults })
    }

    /// The option's value: the given one or the declared default.
    ///
    /// # Errors
    /// Where the declaration lists no such option or no default: a slip in the declaration, not in the script.
    pub fn get<T: Argument>(&self, name: &str) -> Result<T> {
        self.find(name)?
            .ok_or_else(|| Error::run(format!("option `{name}` was read but is declared without a default")))
    }

    /// The option's value, `None` where it was not given and has no default.
    pub fn find<T: Argument>(&self, name: &str) -> Result<Option<T>> {
        match self.given.get(name).or_else(|| self.defaults.get(name)) {
            None => Ok(None),
            Some(value) => {
                T::read(value).map(Some).map_err(|m| m.into_error(&format!("option `{name}`"), &T::describe()))
            }
        }
    }

    /// Whether the script itself gave it.
    pub fn given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }
}

/// Read from checked options only: the glue around a native makes them of the call's map.
impl Argument for Options {
    fn describe() -> String {
        "options".into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        value.read_lock::<Self>().map(|options| options.clone()).ok_or_else(|| Mismatch::found(value))
    }
    fn is_options() -> bool {
        true
    }
}

/// The error for an option nobody declared: the closest name, then all of them.
pub fn unknown_option<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let error = Error::user(format!("there is no option `{name}`"));
    let list = known.clone().collect::<Vec<_>>().join(", ");
    match crate::error::closest(name, known) {
        Some(close) => error.hint(format!("did you mean `{close}`? The options are: {list}")),
        None if list.is_empty() => error.hint("this function takes no options"),
        None => error.hint(format!("the options are: {list}")),
    }
}

/// A default given as a plain value.
pub(super) fn value_default<T: Output>(value: T) -> Default {
    Default::Value(value.into_dynamic())
}
