//! The candidate activations of recurrent cells: one registry of names and what each builds.
//!
//! The five of the DARTS space (`docs/darts.md` B1) come built in; a script adds its own with the same standing. Each
//! is made of the step graph's elementwise primitives.

use crate::error::closest;
use crate::graph::Node;
use crate::graph::recurrent::RecurrentGraph;
use crate::{Error, Result};
use std::fmt;
use std::rc::Rc;

/// The candidates of the DARTS space in their index order.
pub const DARTS_ACTIVATIONS: [&str; 5] = ["none", "tanh", "relu", "sigmoid", "identity"];

type Build<'a> = dyn Fn(&mut RecurrentGraph, Node) -> Result<Option<Node>> + 'a;

/// A named activation f: a row in, a row of the same width out. It is needed only while graphs are built, so what
/// builds it may borrow.
#[derive(Clone)]
pub struct Activation<'a> {
    name: Rc<str>,
    build: Rc<Build<'a>>,
}

impl<'a> Activation<'a> {
    /// An activation that `build` makes; it runs once for every node or edge that carries it.
    pub fn new(name: impl Into<Rc<str>>, build: impl Fn(&mut RecurrentGraph, Node) -> Result<Node> + 'a) -> Self {
        let build = move |graph: &mut RecurrentGraph, input| build(graph, input).map(Some);
        Self { name: name.into(), build: Rc::new(build) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// f(input); nothing for "none", which contributes zero.
    ///
    /// # Errors
    /// Whatever its builder refuses, and a value of another width.
    pub fn apply(&self, graph: &mut RecurrentGraph, input: Node) -> Result<Option<Node>> {
        let Some(node) = (self.build)(graph, input)? else { return Ok(None) };
        let (from, to) = (graph.width(input), graph.width(node));
        match from == to {
            true => Ok(Some(node)),
            false => Err(Error::user(format!("activation \"{}\" makes {to} numbers of {from}", self.name))
                .hint("an activation is elementwise: as wide as its input")),
        }
    }
}

impl fmt::Debug for Activation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Activation({})", self.name)
    }
}

/// The registry: the built-in activations and those that a script defined.
#[derive(Clone, Debug)]
pub struct Activations<'a> {
    known: Vec<Activation<'a>>,
}

impl Default for Activations<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Activations<'a> {
    /// The built-in activations.
    pub fn new() -> Self {
        let none = Activation { name: "none".into(), build: Rc::new(|_: &mut RecurrentGraph, _| Ok(None)) };
        let known = vec![
            none,
            Activation::new("tanh", RecurrentGraph::tanh),
            Activation::new("relu", RecurrentGraph::relu),
            Activation::new("sigmoid", RecurrentGraph::sigmoid),
            Activation::new("identity", |_, x| Ok(x)),
        ];
        Self { known }
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(Activation::name)
    }

    /// The activation of this name.
    ///
    /// # Errors
    /// An unknown name, with the closest one.
    pub fn get(&self, name: &str) -> Result<&Activation<'a>> {
        let found = self.known.iter().find(|activation| activation.name() == name);
        found.ok_or_else(|| match closest(name, self.names()) {
            Some(_) => Error::unknown("activation", name, self.names()),
            None => Error::user(format!("there is no activation \"{name}\"")).hint(format!(
                "one of: {}; define_activation(name, |g, x| …) adds others",
                self.names().collect::<Vec<_>>().join(", ")
            )),
        })
    }

    /// Adds an activation.
    ///
    /// # Errors
    /// A name that is taken, or that holds anything but letters, digits and underscores.
    pub fn define(&mut self, activation: Activation<'a>) -> Result<()> {
        let name = activation.name();
        let sound = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !sound {
            return Err(Error::user(format!("\"{name}\" is not a name for an activation"))
                .hint("use letters, digits and underscores, for example \"my_swish\""));
        }
        if self.names().any(|known| known == name) {
            return Err(Error::user(format!("there is already an activation \"{name}\"")).hint("choose another name"));
        }
        self.known.push(activation);
        Ok(())
    }

    /// The activations of these names, in their order.
    ///
    /// # Errors
    /// An unknown name, a name twice, none at all.
    pub fn select<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Vec<Activation<'a>>> {
        let mut chosen: Vec<Activation<'a>> = Vec::new();
        for name in names {
            let activation = self.get(name)?;
            if chosen.iter().any(|known| known.name() == name) {
                return Err(Error::user(format!("the activation \"{name}\" is listed twice")));
            }
            chosen.push(activation.clone());
        }
        match chosen.iter().any(|activation| activation.name() != "none") {
            true => Ok(chosen),
            false => Err(Error::user("a recurrent cell needs at least one activation besides \"none\"")),
        }
    }
}
