//! What the catalogue holds of each thing that scripts can call.

use super::options::Spec;
use super::value::Argument;
use std::any::TypeId;

/// In what way scripts reach a declared thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// `name(a, b)`, or `a.name(b)`.
    Function,
    /// `receiver.name(b)`: a function that reads better behind a dot.
    Method,
    /// `receiver.name`; where `writable`, also `receiver.name = value`.
    Property { writable: bool },
    /// `a + b`.
    Operator,
    /// `receiver[index]`.
    Index,
    /// `NAME`.
    Constant,
}

/// A parameter's type, as read off the closure.
#[derive(Clone, Debug)]
pub struct Kind {
    pub text: String,
    pub optional: bool,
    pub options: bool,
    pub dispatch: TypeId,
}

impl Kind {
    pub(super) fn of<T: Argument>() -> Self {
        Self {
            text: T::describe(),
            optional: T::absent().is_some() || T::is_options(),
            options: T::is_options(),
            dispatch: T::dispatch(),
        }
    }
}

/// A parameter as declared.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
}

/// One declared function, property, operator or constant.
pub struct Entry {
    pub noun: &'static str,
    pub face: Face,
    pub name: String,
    pub parameters: Vec<Parameter>,
    pub returns: String,
    /// One paragraph.
    pub doc: String,
    pub options: Vec<Spec>,
    pub example: String,
}

impl Entry {
    /// The type before the dot, for methods, properties and indexes.
    pub fn receiver(&self) -> Option<&str> {
        match self.face {
            Face::Method | Face::Property { .. } | Face::Index => self.parameters.first().map(|p| p.kind.text.as_str()),
            _ => None,
        }
    }

    /// Its name in messages and headings: `softmax`, `optimizer.step`, `tensor[…]`.
    pub fn title(&self) -> String {
        match (self.face, self.receiver()) {
            (Face::Index, Some(receiver)) => format!("{receiver}[…]"),
            (_, Some(receiver)) => format!("{receiver}.{}", self.name),
            _ => self.name.clone(),
        }
    }

    /// The signature as the documentation writes it: `softmax(t: tensor, axis?: int) -> tensor`.
    pub fn signature(&self) -> String {
        let write = |p: &Parameter| format!("{}{}: {}", p.name, if p.kind.optional { "?" } else { "" }, p.kind.text);
        let list = |parameters: &[Parameter]| parameters.iter().map(write).collect::<Vec<_>>().join(", ");
        let rest = self.parameters.get(1..).unwrap_or_default();
        let call = match self.face {
            Face::Function => format!("{}({})", self.name, list(&self.parameters)),
            Face::Method => format!("{}({})", self.title(), list(rest)),
            Face::Property { .. } => return format!("{}: {}", self.title(), self.returns),
            Face::Constant => return format!("{}: {}", self.name, self.returns),
            Face::Index => {
                let receiver = self.receiver().unwrap_or_default();
                format!("{receiver}[{}]", list(rest))
            }
            Face::Operator => match self.parameters.as_slice() {
                [only] => format!("{}{}", self.name, only.kind.text),
                _ => {
                    let bracketed = |kind: &str| if kind.contains(' ') { format!("({kind})") } else { kind.into() };
                    let kinds: Vec<String> = self.parameters.iter().map(|p| bracketed(&p.kind.text)).collect();
                    kinds.join(&format!(" {} ", self.name))
                }
            },
        };
        if self.returns.is_empty() { call } else { format!("{call} -> {}", self.returns) }
    }

    /// How many arguments it takes, the receiver counted: at least and at most.
    pub fn arity(&self) -> (usize, usize) {
        let optional = self.parameters.iter().rev().take_while(|p| p.kind.optional).count();
        (self.parameters.len() - optional, self.parameters.len())
    }
}
