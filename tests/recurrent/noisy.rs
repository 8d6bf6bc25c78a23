//! What single precision may do to a time step, in double precision: the same step in which every number that it
//! computes is off by a little, each by its own.
//!
//! Moving the inputs is not enough. All rows of a batch see the same weights, so a weight that is off moves them alike,
//! and a batch norm takes that back; what single precision rounds after a product moves every row by itself, and where
//! the rows are nearly equal a norm magnifies just that, up to 1/√ε = 316 times.
//!
//! A number v becomes v + v·δ + c. The δ move the gradients that flow through it too. The c, which do not grow with v,
//! stand for what cancels: the gradient of a factor that a norm takes back is all but zero, a sum of terms that are
//! not, and a step that is off by δ alone has the norm take it back as exactly.

use candlewick::graph::Node;
use candlewick::graph::recurrent::{Bias, Function, RecurrentGraph, RecurrentOp, Weight};
use std::collections::HashMap;

/// The values that are rounded on the way.
pub fn rounded(graph: &RecurrentGraph) -> impl Iterator<Item = Node> + '_ {
    graph.nodes().filter(|&node| is_rounded(graph.op(node)))
}

/// The step in which every rounded value v is v + v·δ + c. The δ of all values and then the c are further columns of
/// the token vectors, so each element has its own at every time step and in every row. Weights, masks, norms, mixing
/// weights and states are those of the step.
pub fn noisy(graph: &RecurrentGraph) -> RecurrentGraph {
    let wide = graph.width(graph.input());
    let offs: usize = rounded(graph).map(|node| graph.width(node)).sum();
    let mut g = RecurrentGraph::new(wide + 2 * offs).expect("a width");
    let states: Vec<Node> =
        graph.states().iter().map(|state| g.state(&state.name, state.width).expect("a state")).collect();
    let weights: Vec<Parameter> = graph.weights().iter().map(|weight| Parameter::again(&mut g, weight)).collect();
    for block in graph.slot_blocks() {
        g.slots(&block.name, block.rows, block.columns).expect("mixing weights");
    }
    let mut made: HashMap<Node, Node> = HashMap::new();
    let mut next_off = wide;
    for node in graph.nodes() {
        let of = |node: &Node| made[node];
        let op = graph.op(node);
        let value = match op {
            RecurrentOp::Input => g.slice(g.input(), 0, wide),
            RecurrentOp::State { state } => Ok(states[*state]),
            RecurrentOp::Product { inputs, weight, bias } => {
                let inputs: Vec<Node> = inputs.iter().map(of).collect();
                g.product(&inputs, weights[*weight].matrix(), bias.map(|bias| weights[bias].row()))
            }
            RecurrentOp::Add { inputs: [a, b] } => g.add(of(a), of(b)),
            RecurrentOp::Subtract { inputs: [a, b] } => g.subtract(of(a), of(b)),
            RecurrentOp::Multiply { inputs: [a, b] } => g.multiply(of(a), of(b)),
            RecurrentOp::Blend { from, to, gate } => g.blend(of(from), of(to), of(gate)),
            RecurrentOp::Apply { input, function } => g.apply(of(input), *function),
            RecurrentOp::Affine { input, scale, shift } => g.affine(of(input), *scale, *shift),
            RecurrentOp::AtMost { input, most } => g.at_most(of(input), *most),
            RecurrentOp::Slice { input, start } => g.slice(of(input), *start, graph.width(node)),
            RecurrentOp::Mask { input, mask } => g.mask(&graph.masks()[*mask].name, of(input)),
            RecurrentOp::Norm { input, norm } => g.norm(&graph.norms()[*norm].name, of(input)),
            RecurrentOp::Sum { terms, scale } => sum(&mut g, terms, *scale, of),
        };
        let mut value = value.expect("what could be built once can be built again");
        if is_rounded(op) {
            let width = graph.width(node);
            let mut columns = |first: usize| g.slice(g.input(), first, width).expect("as many columns");
            let (share, amount) = (columns(next_off), columns(next_off + offs));
            next_off += width;
            let off = g.multiply(value, share).and_then(|off| g.sum(&[value, off, amount]));
            value = off.expect("as wide as the value");
        }
        made.insert(node, value);
    }
    let (output, nexts) = graph.ends().expect("a whole step");
    for (state, next) in states.into_iter().zip(nexts) {
        g.set_next(state, made[&next]).expect("as wide as the state");
    }
    g.set_output(made[&output]);
    g
}

/// What copies or chooses does not round.
fn is_rounded(op: &RecurrentOp) -> bool {
    !matches!(
        op,
        RecurrentOp::Input
            | RecurrentOp::State { .. }
            | RecurrentOp::Slice { .. }
            | RecurrentOp::AtMost { .. }
            | RecurrentOp::Apply { function: Function::Relu, .. }
    )
}

fn sum(
    g: &mut RecurrentGraph,
    terms: &[(Node, Option<candlewick::graph::Slot>)],
    scale: f64,
    of: impl Fn(&Node) -> Node,
) -> candlewick::Result<Node> {
    let nodes: Vec<Node> = terms.iter().map(|(node, _)| of(node)).collect();
    let slots: Option<Vec<_>> = terms.iter().map(|(_, slot)| *slot).collect();
    match slots {
        Some(slots) => g.mixed(&nodes.into_iter().zip(slots).collect::<Vec<_>>()),
        None if scale == 1.0 => g.sum(&nodes),
        None => g.mean(&nodes),
    }
}

/// A weight declared again.
enum Parameter {
    Matrix(Weight),
    Row(Bias),
}

impl Parameter {
    fn again(g: &mut RecurrentGraph, weight: &candlewick::graph::WeightInfo) -> Self {
        match weight.shape[..] {
            [rows, columns] => Self::Matrix(g.weight(&weight.name, rows, columns, weight.init).expect("a matrix")),
            _ => Self::Row(g.bias(&weight.name, weight.len(), weight.init).expect("a bias")),
        }
    }

    fn matrix(&self) -> Weight {
        match self {
            Self::Matrix(weight) => *weight,
            Self::Row(_) => panic!("a product multiplies by a matrix"),
        }
    }

    fn row(&self) -> Bias {
        match self {
            Self::Row(bias) => *bias,
            Self::Matrix(_) => panic!("a product adds a row"),
        }
    }
}
