//! The graph under construction as a script's closure holds it.
//!
//! The graph itself travels: it is moved into the handle for as long as the closure runs and moved back afterwards, so
//! a handle that a script keeps for later is empty and says so.

use crate::graph::{self, Graph, Shape, SlotBlock};
use crate::script::binding::ScriptType;
use crate::space::NormStyle;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Numbers the builders, so that a node of one graph is not taken for one of another.
static OWNERS: AtomicU64 = AtomicU64::new(0);

/// What `g` is in `|g, x| …`.
#[derive(Clone)]
pub struct GraphBuilder {
    state: Arc<Mutex<State>>,
    owner: u64,
    norms: NormStyle,
}

#[derive(Default)]
struct State {
    /// None before and after the closure.
    graph: Option<Graph>,
    /// How many layers of each kind the current scope has, for their names.
    counts: BTreeMap<&'static str, usize>,
}

/// What primitives take and give: the output of one of them.
#[derive(Clone, Copy)]
pub struct Node {
    pub(super) node: graph::Node,
    pub(super) shape: Shape,
    owner: u64,
}

/// A matrix of mixing weights, declared in a graph.
#[derive(Clone)]
pub struct Slots {
    pub(super) block: SlotBlock,
    owner: u64,
}

impl ScriptType for GraphBuilder {
    const NAME: &'static str = "graph_builder";
}

impl ScriptType for Node {
    const NAME: &'static str = "node";
}

impl ScriptType for Slots {
    const NAME: &'static str = "slots";
}

impl GraphBuilder {
    /// Lends `graph` to `build` as a builder whose norms follow `norms` unless told otherwise.
    pub fn lend<R>(graph: &mut Graph, norms: NormStyle, build: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        let builder = Self { state: Arc::default(), owner, norms };
        builder.holding(graph, build)
    }

    /// Runs `build` while this handle holds `graph`, with counts of names that start afresh.
    fn holding<R>(&self, graph: &mut Graph, build: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        let lent = std::mem::replace(graph, Graph::new(1, 1, 1));
        let counts = {
            let mut state = self.lock();
            state.graph = Some(lent);
            std::mem::take(&mut state.counts)
        };
        let result = build(self);
        let mut state = self.lock();
        state.counts = counts;
        *graph = state.graph.take().ok_or_else(finished)?;
        result
    }

    /// Runs `build` inside a name: the layers it makes are called `name.…`.
    pub fn scope<R>(&self, name: &str, build: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        check_name(name)?;
        let mut graph = self.lock().graph.take().ok_or_else(finished)?;
        let result = graph.scope(name, |graph| self.holding(graph, build));
        self.lock().graph = Some(graph);
        result
    }

    /// Changes the graph.
    pub fn edit<R>(&self, change: impl FnOnce(&mut Graph) -> Result<R>) -> Result<R> {
        change(self.lock().graph.as_mut().ok_or_else(finished)?)
    }

    /// Adds a primitive and hands its output to the script.
    pub fn add(&self, build: impl FnOnce(&mut Graph) -> Result<graph::Node>) -> Result<Node> {
        self.edit(|graph| {
            let node = build(graph)?;
            Ok(Node { node, shape: graph.shape(node), owner: self.owner })
        })
    }

    /// The graph's node behind a script's.
    pub fn own(&self, node: &Node) -> Result<graph::Node> {
        if node.owner != self.owner {
            return Err(Error::user("this node belongs to another graph")
                .hint("use the nodes that this closure was given or made itself"));
        }
        Ok(node.node)
    }

    pub fn own_all(&self, nodes: &[Node]) -> Result<Vec<graph::Node>> {
        nodes.iter().map(|node| self.own(node)).collect()
    }

    pub fn slots(&self, name: &str, rows: usize, columns: usize) -> Result<Slots> {
        check_name(name)?;
        let owner = self.owner;
        self.edit(|graph| {
            if graph.slot_blocks().iter().any(|block| block.name == name) {
                return Err(Error::user(format!("there already are mixing weights \"{name}\"")));
            }
            Ok(Slots { block: graph.slots(name, rows, columns)?, owner })
        })
    }

    pub fn own_slots(&self, slots: &Slots) -> Result<SlotBlock> {
        match slots.owner == self.owner {
            true => Ok(slots.block.clone()),
            false => Err(Error::user("these mixing weights belong to another graph")),
        }
    }

    /// A layer's name: the given one, or its kind and a running number.
    pub fn name(&self, given: Option<String>, kind: &'static str) -> Result<String> {
        if let Some(name) = given {
            check_name(&name)?;
            return Ok(name);
        }
        let mut state = self.lock();
        let count = state.counts.entry(kind).or_insert(0);
        *count += 1;
        Ok(format!("{kind}{}", *count - 1))
    }

    /// How norms are set here unless told otherwise.
    pub fn norms(&self) -> NormStyle {
        self.norms
    }

    /// Whether batch norms are affine here unless told otherwise.
    pub fn affine(&self) -> bool {
        self.norms.affine()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic leaves behind is a whole graph or none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_name(name: &str) -> Result<()> {
    let sound = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    match sound {
        true => Ok(()),
        false => Err(Error::user(format!("\"{name}\" is not a name for a part of a network"))
            .hint("use letters, digits and underscores; g.scope(name, |g| …) makes dotted names")),
    }
}

fn finished() -> Error {
    Error::user("this graph is finished: a builder serves only inside the closure that was given it")
}

impl fmt::Display for GraphBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lock().graph {
            Some(graph) => write!(f, "graph of {} weights so far", graph.parameters()),
            None => f.write_str("finished graph"),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node of {}", self.shape)
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mixing weights \"{}\", {} × {}", self.block.name, self.block.rows, self.block.columns)
    }
}
