//! The time step under construction, as the closure of an activation holds it.
//!
//! The step itself travels: it is moved into the handle for as long as the closure runs and moved back afterwards, so a
//! handle that a script keeps for later is empty and says so.

use crate::graph::Node;
use crate::graph::recurrent::RecurrentGraph;
use crate::script::binding::{List, ScriptType};
use crate::{Error, Result};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Numbers the builders, so that a row of one step is not taken for one of another.
static OWNERS: AtomicU64 = AtomicU64::new(0);

/// What `g` is in `|g, x| …`.
#[derive(Clone)]
pub struct StepBuilder {
    /// None before and after the closure.
    step: Arc<Mutex<Option<RecurrentGraph>>>,
    owner: u64,
}

/// What primitives take and give: a row of numbers for each row of the batch.
#[derive(Clone, Copy)]
pub struct Row {
    node: Node,
    width: usize,
    owner: u64,
}

impl ScriptType for StepBuilder {
    const NAME: &'static str = "step_builder";
}

impl ScriptType for Row {
    const NAME: &'static str = "row";
}

impl StepBuilder {
    /// Lends `step` to `build`, which makes a value of `x`.
    pub fn lend(step: &mut RecurrentGraph, x: Node, build: impl FnOnce(&Self, Row) -> Result<Row>) -> Result<Node> {
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        let row = Row { node: x, width: step.width(x), owner };
        let lent = std::mem::replace(step, RecurrentGraph::new(1)?);
        let builder = Self { step: Arc::new(Mutex::new(Some(lent))), owner };
        let made = build(&builder, row);
        *step = builder.lock().take().ok_or_else(finished)?;
        builder.own(&made?)
    }

    /// Adds a primitive of these rows and hands its output to the script.
    pub fn of<const N: usize>(
        &self,
        rows: [Row; N],
        primitive: impl FnOnce(&mut RecurrentGraph, [Node; N]) -> Result<Node>,
    ) -> Result<Row> {
        rows.iter().try_for_each(|row| self.own(row).map(drop))?;
        self.add(|step| primitive(step, rows.map(|row| row.node)))
    }

    /// The sum of these rows.
    pub fn sum(&self, rows: &List<Row>) -> Result<Row> {
        let nodes = rows.0.iter().map(|row| self.own(row)).collect::<Result<Vec<_>>>()?;
        self.add(|step| step.sum(&nodes))
    }

    fn add(&self, primitive: impl FnOnce(&mut RecurrentGraph) -> Result<Node>) -> Result<Row> {
        let mut step = self.lock();
        let step = step.as_mut().ok_or_else(finished)?;
        let node = primitive(step)?;
        Ok(Row { node, width: step.width(node), owner: self.owner })
    }

    fn own(&self, row: &Row) -> Result<Node> {
        match row.owner == self.owner {
            true => Ok(row.node),
            false => Err(Error::user("this row belongs to another place of a cell")
                .hint("use the row that this closure was given and what it made of it itself")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<RecurrentGraph>> {
        // What a panic leaves behind is a whole step or none.
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finished() -> Error {
    Error::user("this time step is finished: a builder serves only inside the closure that was given it")
}

impl fmt::Display for StepBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.lock() {
            Some(step) => write!(f, "time step of {} weights so far", step.parameters()),
            None => f.write_str("finished time step"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row of width {}", self.width)
    }
}
