//! Recurrent cells as trees (Zoph & Le 2017, section 3.4): each step combines two values and applies an activation.
//!
//! A tree over n leaves has 2n − 1 steps, the leaves 0 to n − 1 first, then level by level: step n + k combines steps
//! 2k and 2k + 1. Leaf k combines x·Wₖ and h·Uₖ; the last step is the new h. Beside h there is a memory c: it is
//! injected into the output of one step, and becomes what another step combined, before its activation.

use super::activations::Activations;
use super::cells::{HIDDEN_MASK, HIDDEN_WEIGHT, INPUT_MASK, MOST_NODES};
use crate::graph::recurrent::RecurrentGraph;
use crate::graph::{Init, Node};
use crate::space::python;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// How two values are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    Add,
    Multiply,
}

impl Combination {
    pub const NAMES: [&'static str; 2] = ["add", "multiply"];

    fn named(name: &str) -> Result<Self> {
        match name {
            "add" => Ok(Self::Add),
            "multiply" => Ok(Self::Multiply),
            _ => Err(Error::unknown("combination", name, Self::NAMES)),
        }
    }

    fn of(self, g: &mut RecurrentGraph, a: Node, b: Node) -> Result<Node> {
        match self {
            Self::Add => g.add(a, b),
            Self::Multiply => g.multiply(a, b),
        }
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// What a step does with its two values: combine them, then apply the activation of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeStep {
    pub combination: Combination,
    pub activation: String,
}

/// A recurrent cell as a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct RecurrentTree {
    steps: Vec<TreeStep>,
    /// The step whose output the memory is injected into, and how.
    inject: (usize, TreeStep),
    /// The step whose combined values, before its activation, become the memory.
    memory: usize,
}

const FORM: &str = "#{ tree: [[\"add\", \"tanh\"], …], inject: [step, \"add\", \"relu\"], memory: step }";

impl RecurrentTree {
    /// # Errors
    /// Another number of steps than a full tree over 1, 2, 4, … leaves has, a step that the tree does not have.
    pub fn new(steps: Vec<TreeStep>, inject: (usize, TreeStep), memory: usize) -> Result<Self> {
        let count = steps.len();
        if !(count + 1).is_power_of_two() || !(1..=MOST_NODES).contains(&count) {
            return Err(Error::user(format!("a recurrent tree cannot have {count} steps"))
                .hint("1, 3, 7, 15, 31 or 63: a full tree over 1, 2, 4, 8, 16 or 32 leaves"));
        }
        for (what, step) in [("inject", inject.0), ("memory", memory)] {
            if step >= count {
                return Err(Error::user(format!("`{what}`: there is no step {step}"))
                    .hint(format!("the tree's steps are 0 to {}", count - 1)));
            }
        }
        Ok(Self { steps, inject, memory })
    }

    /// The cell that reinforcement learning found (Zoph & Le 2017, figure 8).
    pub fn found() -> Self {
        let step = |(combination, activation): (Combination, &str)| TreeStep {
            combination,
            activation: activation.to_string(),
        };
        let (add, multiply) = (Combination::Add, Combination::Multiply);
        let leaves = [
            (add, "sigmoid"),
            (add, "relu"),
            (add, "sigmoid"),
            (multiply, "relu"),
            (add, "tanh"),
            (add, "sigmoid"),
            (add, "tanh"),
            (add, "sigmoid"),
        ];
        let inner = [
            (multiply, "tanh"),
            (add, "tanh"),
            (multiply, "tanh"),
            (add, "sigmoid"),
            (multiply, "identity"),
            (add, "tanh"),
            (multiply, "tanh"),
        ];
        let steps = leaves.into_iter().chain(inner).map(step).collect();
        Self { steps, inject: (8, step((add, "tanh"))), memory: 12 }
    }

    /// Reads the text that [`Display`](fmt::Display) writes, or JSON.
    ///
    /// # Errors
    /// Text of another form, and as [`new`](Self::new).
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_json(&python::parse_genotype(text)?)
    }

    /// Reads the fields `tree`, `inject` and `memory`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_json(value: &Value) -> Result<Self> {
        let bad = |what: &str| Error::user(format!("this is not a recurrent tree: {what}")).hint(FORM);
        let fields = value.as_object().ok_or_else(|| bad("it has no fields"))?;
        if let Some(name) = fields.keys().find(|name| !["tree", "inject", "memory"].contains(&name.as_str())) {
            return Err(bad(&format!("it has a field \"{name}\"")));
        }
        let field = |name: &str| fields.get(name).ok_or_else(|| bad(&format!("missing field `{name}`")));
        let step = |what: String, of: &[Value]| match of {
            [Value::String(combination), Value::String(activation)] => {
                let combination = Combination::named(combination)
                    .map_err(|error| Error { message: format!("{what}: {}", error.message), ..error })?;
                Ok(TreeStep { combination, activation: activation.clone() })
            }
            _ => Err(bad(&format!("{what} is not a combination and an activation"))),
        };
        let number = |name: &str, value: Option<&Value>| {
            let number = value.and_then(Value::as_u64).ok_or_else(|| bad(&format!("`{name}` names no step")))?;
            usize::try_from(number).map_err(|_| bad(&format!("`{name}` names no step")))
        };
        let list = |name: &str| field(name)?.as_array().ok_or_else(|| bad(&format!("`{name}` is not a list")));
        let steps = list("tree")?.iter().enumerate();
        let steps = steps.map(|(at, of)| step(format!("step {at}"), of.as_array().map_or(&[], Vec::as_slice)));
        let inject = list("inject")?;
        Self::new(
            steps.collect::<Result<_>>()?,
            (number("inject", inject.first())?, step("`inject`".into(), inject.get(1..).unwrap_or(&[]))?),
            number("memory", Some(field("memory")?))?,
        )
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> Value {
        let pair = |step: &TreeStep| (step.combination, step.activation.clone());
        let (at, injected) = (self.inject.0, pair(&self.inject.1));
        serde_json::json!({
            "tree": self.steps.iter().map(pair).collect::<Vec<_>>(),
            "inject": (at, injected.0, injected.1),
            "memory": self.memory,
        })
    }

    /// Whether JSON has the form of a tree rather than that of another genotype.
    pub fn is_one(value: &Value) -> bool {
        value.get("tree").is_some()
    }

    /// Combinations with their activations, by step.
    pub fn steps(&self) -> &[TreeStep] {
        &self.steps
    }

    fn leaves(&self) -> usize {
        self.steps.len().div_ceil(2)
    }

    /// The steps that a step combines; none for a leaf.
    pub fn operands(&self, step: usize) -> Option<[usize; 2]> {
        step.checked_sub(self.leaves()).map(|pair| [2 * pair, 2 * pair + 1])
    }

    /// How the memory is combined with the output of a step, where it is injected there.
    pub fn injected(&self, step: usize) -> Option<&TreeStep> {
        (self.inject.0 == step).then_some(&self.inject.1)
    }

    /// The step whose combined values, before its activation, become the memory.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// The names of all its activations.
    pub fn activations(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().chain([&self.inject.1]).map(|step| step.activation.as_str())
    }

    /// The time step. The matrices hold those of all leaves side by side, without biases, and start uniform in ±0.04.
    ///
    /// # Errors
    /// Sizes beyond their bounds, unknown activations, the activation "none".
    pub fn cell(&self, inputs: usize, width: usize, activations: &Activations<'_>) -> Result<RecurrentGraph> {
        let mut graph = RecurrentGraph::new(inputs)?;
        let g = &mut graph;
        let (h, c) = (g.state("h", width)?, g.state("c", width)?);
        let columns = self.leaves().saturating_mul(width);
        let from_x = g.weight("input.weight", inputs, columns, BOUND)?;
        let from_h = g.weight(HIDDEN_WEIGHT, width, columns, BOUND)?;
        let (x, hidden) = (g.mask(INPUT_MASK, g.input())?, g.mask(HIDDEN_MASK, h)?);
        let (x, hidden) = (g.product(&[x], from_x, None)?, g.product(&[hidden], from_h, None)?);
        let apply = |g: &mut RecurrentGraph, what: &str, step: &TreeStep, value: Node| {
            activations.get(&step.activation)?.apply(g, value)?.ok_or_else(|| {
                Error::user(format!("{what} has the activation \"none\": it would be zero"))
                    .hint("a tree's steps have an activation each, such as tanh or identity")
            })
        };
        let (mut combined, mut values) = (Vec::new(), Vec::<Node>::new());
        for (index, step) in self.steps.iter().enumerate() {
            let (a, b) = match self.operands(index) {
                None => (g.slice(x, index * width, width)?, g.slice(hidden, index * width, width)?),
                Some([a, b]) => (values[a], values[b]),
            };
            let both = step.combination.of(g, a, b)?;
            combined.push(both);
            let mut value = apply(g, &format!("step {index}"), step, both)?;
            if let Some(injected) = self.injected(index) {
                let with_memory = injected.combination.of(g, value, c)?;
                value = apply(g, "the injection", injected, with_memory)?;
            }
            values.push(value);
        }
        let output = values[self.steps.len() - 1];
        g.set_next(c, combined[self.memory])?;
        g.set_next(h, output)?;
        g.set_output(output);
        Ok(graph)
    }
}

/// Weights of the published cell's kind start uniform within this bound, as those of DARTS' cells.
const BOUND: Init = Init::Uniform(0.04);

impl fmt::Display for RecurrentTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |step: &TreeStep| format!("'{}', '{}'", step.combination.name(), step.activation);
        let steps: Vec<String> = self.steps.iter().map(|step| format!("({})", pair(step))).collect();
        let (at, injected) = &self.inject;
        write!(f, "Genotype(tree=[{}], inject=({at}, {}), memory={})", steps.join(", "), pair(injected), self.memory)
    }
}

impl TryFrom<Value> for RecurrentTree {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        Self::from_json(&value)
    }
}

impl From<RecurrentTree> for Value {
    fn from(tree: RecurrentTree) -> Self {
        tree.to_json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "Genotype(tree=[('add', 'tanh'), ('multiply', 'relu'), ('multiply', 'sigmoid')], \
         inject=(0, 'add', 'relu'), \
         memory=1)";

    #[test]
    fn a_tree_is_read_and_written_as_text_and_as_json() {
        let tree = RecurrentTree::parse(SMALL).expect("it is a tree");
        assert_eq!(tree.to_string(), SMALL);
        assert_eq!(RecurrentTree::parse(&tree.to_json().to_string()).expect("JSON"), tree);
        assert_eq!(RecurrentTree::parse(&RecurrentTree::found().to_string()).expect("a tree"), RecurrentTree::found());
    }

    #[test]
    fn what_is_no_tree_is_refused_by_what_is_wrong() {
        let refused = |from: &str, to: &str| {
            let text = SMALL.replace(from, to);
            assert_ne!(text, SMALL, "{from}");
            RecurrentTree::parse(&text).expect_err("it is not a tree").message
        };
        assert!(refused("('multiply', 'relu'), ", "").contains("cannot have 2 steps"));
        assert!(refused("memory=1", "memory=3").contains("`memory`: there is no step 3"));
        assert!(refused("inject=(0,", "inject=(7,").contains("`inject`: there is no step 7"));
        assert!(refused("inject=(0,", "inject=('0',").contains("`inject` names no step"));
        assert!(refused("('multiply', 'relu')", "('times', 'relu')").contains("step 1"));
        assert!(refused("('multiply', 'relu')", "('relu')").contains("step 1 is not a combination"));
        assert!(refused(", memory=1", "").contains("missing field `memory`"));
        assert!(refused("memory", "concat").contains("a field \"concat\""));
    }
}
