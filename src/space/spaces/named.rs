//! The spaces of the literature by name.

use super::{CellSpace, Cells, Concat, Decision, Inputs, OP};
use crate::space::DARTS_OPS;
use crate::{Error, Result};

/// The names of the spaces.
pub const NAMES: [&str; 8] =
    ["darts", "nasnet", "amoebanet", "pnas", "enas", "nasbench201", "blockqnn", "hierarchical"];

/// What AmoebaNet-A and PNAS choose from (Real et al. 2019, Liu et al. 2018).
const EIGHT: [&str; 8] = [
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
    "conv_7x1_1x7",
];

/// NASNet's (Zoph et al. 2018, section 3).
const THIRTEEN: [&str; 13] = [
    "skip_connect",
    "conv_3x1_1x3",
    "conv_7x1_1x7",
    "dil_conv_3x3",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "conv_1x1",
    "conv_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
];

/// ENAS' (Pham et al. 2018, section 2.4).
const FIVE: [&str; 5] = ["sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect"];

/// NAS-Bench-201's (Dong and Yang 2020, section 2.1).
const BENCH: [&str; 5] = ["none", "skip_connect", "conv_1x1", "conv_3x3", "avg_pool_3x3"];

/// The primitives of hierarchical motifs (Liu et al. 2018, section 2.1), and no connection.
const PRIMITIVES: [&str; 7] =
    ["none", "identity", "conv_1x1", "depthwise_3x3", "separable_3x3", "max_pool_3x3", "avg_pool_3x3"];

/// The layers of a BlockQNN block with one predecessor (Zhong et al. 2018, table 1) …
const LAYERS: [&str; 8] = ["conv_1", "conv_3", "conv_5", "max_1", "max_3", "avg_1", "avg_3", "identity"];
/// … and with two.
const JOINS: [&str; 2] = ["add", "concat"];

/// Bounds that keep every space's list of decisions short.
const MOST: usize = 64;

/// Sizes that differ from the literature's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Nodes of a cell; of a motif in "hierarchical", layers in "blockqnn".
    pub nodes: Option<usize>,
    /// Motifs of "hierarchical".
    pub motifs: Option<usize>,
    /// Nodes of the cell that motifs make in "hierarchical".
    pub cell_nodes: Option<usize>,
}

impl CellSpace {
    /// The space of this name.
    ///
    /// # Errors
    /// An unknown name, with the closest one; a size that the space does not have, or beyond its bounds.
    pub fn named(name: &str, sizes: Sizes) -> Result<CellSpace> {
        let bounded = |what: &str, size: Option<usize>, usual: usize, least: usize| match size.unwrap_or(usual) {
            size if (least..=MOST).contains(&size) => Ok(size),
            size => Err(Error::user(format!("{what} must be from {least} to {MOST}, not {size}"))),
        };
        if name != "hierarchical" && (sizes.motifs.is_some() || sizes.cell_nodes.is_some()) {
            return Err(Error::user(format!("the space \"{name}\" has no motifs"))
                .hint("`motifs` and `cell_nodes` are sizes of \"hierarchical\""));
        }
        let cells = |operations: &[&str], nodes: usize, inputs: Inputs, concat: Concat| -> Result<CellSpace> {
            let nodes = bounded("nodes", sizes.nodes, nodes, 1)?;
            let operations = operations.iter().map(ToString::to_string).collect();
            Ok(of_cells(name, Cells { nodes, operations, inputs, one_cell: name == "pnas", concat }))
        };
        match name {
            "darts" => cells(&DARTS_OPS[1..], 4, Inputs::Distinct, Concat::Nodes),
            "nasnet" => cells(&THIRTEEN, 5, Inputs::Any, Concat::LooseEnds),
            "amoebanet" | "pnas" => cells(&EIGHT, 5, Inputs::Any, Concat::LooseEnds),
            "enas" => cells(&FIVE, 5, Inputs::Any, Concat::LooseEnds),
            "nasbench201" => {
                let nodes = bounded("nodes", sizes.nodes, 4, 2)?;
                let sizes = Sizes { nodes: Some(nodes), ..Sizes::default() };
                Ok(CellSpace { sizes, ..of_codes(name, dag(nodes, "the cell", &BENCH, [0, 0, OP])) })
            }
            "blockqnn" => {
                let layers = bounded("nodes", sizes.nodes, 23, 1)?;
                let sizes = Sizes { nodes: Some(layers), ..Sizes::default() };
                Ok(CellSpace { ends: true, sizes, ..of_codes(name, (0..layers).map(layer).collect()) })
            }
            "hierarchical" => {
                let motifs = bounded("motifs", sizes.motifs, 6, 1)?;
                let nodes = bounded("nodes", sizes.nodes, 4, 2)?;
                let cell_nodes = bounded("cell_nodes", sizes.cell_nodes, 5, 2)?;
                let motif = |motif: usize| dag(nodes, &format!("motif {motif}"), &PRIMITIVES, [0, motif, OP]);
                let choices: Vec<String> =
                    std::iter::once("none".into()).chain((0..motifs).map(|motif| format!("motif {motif}"))).collect();
                let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
                let cell = dag(cell_nodes, "the cell", &choices, [1, 0, OP]);
                let sizes = Sizes { nodes: Some(nodes), motifs: Some(motifs), cell_nodes: Some(cell_nodes) };
                Ok(CellSpace { sizes, ..of_codes(name, (0..motifs).flat_map(motif).chain(cell).collect()) })
            }
            _ => Err(Error::unknown("space", name, NAMES)),
        }
    }

    /// A space of genotypes with these operations, for what the literature has no name for: nodes read two different
    /// states, all are concatenated.
    ///
    /// # Errors
    /// No operation, or one twice; nodes out of bounds.
    pub fn of_operations(nodes: usize, operations: Vec<String>) -> Result<CellSpace> {
        let twice = (1..operations.len()).find(|&index| operations[..index].contains(&operations[index]));
        if let Some(index) = twice {
            return Err(Error::user(format!("operation \"{}\" is listed twice", operations[index])));
        }
        if operations.is_empty() || !(1..=MOST).contains(&nodes) {
            return Err(Error::user(format!("a space of {nodes} nodes and {} operations is empty", operations.len()))
                .hint(format!("it takes from 1 to {MOST} nodes and at least one operation")));
        }
        let inputs = Inputs::Distinct;
        Ok(of_cells("own", Cells { nodes, operations, inputs, one_cell: false, concat: Concat::Nodes }))
    }
}

fn of_cells(name: &str, cells: Cells) -> CellSpace {
    CellSpace { decisions: cells.decisions(), cells: Some(cells), ..of_codes(name, vec![]) }
}

fn of_codes(name: &str, decisions: Vec<Decision>) -> CellSpace {
    CellSpace { name: name.to_string(), decisions, ends: false, sizes: Sizes::default(), cells: None }
}

/// One decision for every edge of a graph in which each node may read all nodes before it: by node, then by what it
/// reads.
fn dag(nodes: usize, place: &str, choices: &[&str], group: [usize; 3]) -> Vec<Decision> {
    let edges = (1..nodes).flat_map(|node| (0..node).map(move |input| (input, node)));
    let choices: Vec<String> = choices.iter().map(ToString::to_string).collect();
    let decision = |(input, node)| Decision {
        name: format!("{place}, the edge from node {input} to node {node}"),
        choices: choices.clone(),
        group,
    };
    edges.map(decision).collect()
}

/// What a block's layer can be: the end; a layer on any one before it, 0 being the block's input; a join of two.
fn layer(index: usize) -> Decision {
    let before = index + 1;
    let single = LAYERS.iter().flat_map(|layer| (0..before).map(move |input| format!("{layer} {input}")));
    let two = (0..before).flat_map(|first| (first + 1..before).map(move |second| (first, second)));
    let joins = two.flat_map(|(first, second)| JOINS.map(|join| format!("{join} {first} {second}")));
    let choices = std::iter::once("terminal".to_string()).chain(single).chain(joins).collect();
    Decision { name: format!("layer {}", index + 1), choices, group: [0, 0, OP] }
}
