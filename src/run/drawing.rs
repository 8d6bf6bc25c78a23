//! From genotypes to drawings of their cells.

use crate::cell_form::{CellForm, Edge, NORMAL, RECURRENT, REDUCE};
use crate::chart::{Cell, Cells, Op};
use crate::space::CodedCell;
use crate::space::recurrent::{Combination, RecurrentTree};
use crate::space::spaces::Part;
use crate::{Error, Result};
use serde_json::Value;

/// The cells of a genotype as JSON: `normal` and `reduce` with `normal_concat` and `reduce_concat`, or `recurrent` with
/// `concat`, see [`cell_form`](crate::cell_form); a code with its space, see [`CodedCell`]; or a [`RecurrentTree`].
///
/// # Errors
/// None of these, or as [`CellForm::read`], [`CodedCell::from_json`] and [`RecurrentTree::from_json`].
pub fn cells_from_genotype(genotype: &Value) -> Result<Cells> {
    let cells = if CodedCell::is_one(genotype) {
        CodedCell::from_json(genotype)?.parts().into_iter().map(coded).collect()
    } else if RecurrentTree::is_one(genotype) {
        vec![tree(&RecurrentTree::from_json(genotype)?)]
    } else {
        forms(genotype)?.iter().map(Cell::of).collect()
    };
    Ok(Cells { title: String::new(), cells })
}

/// The cells of a genotype that lists edges.
///
/// # Errors
/// A genotype of another form, and as [`CellForm::read`].
pub(super) fn forms(genotype: &Value) -> Result<Vec<CellForm>> {
    let mut forms = Vec::new();
    for fields in [&NORMAL, &REDUCE, &RECURRENT] {
        forms.extend(CellForm::read(genotype, fields)?);
    }
    if forms.is_empty() {
        let message = "this is not a genotype: it has neither `normal` nor `reduce` nor `recurrent` nor `tree`";
        return Err(Error::user(message).hint(
            "one looks like #{ normal: [[\"sep_conv_3x3\", 0], [\"skip_connect\", 1]], normal_concat: [2], \
             reduce: [...], reduce_concat: [...] }",
        ));
    }
    Ok(forms)
}

fn coded(part: Part) -> Cell {
    let op = |edge: Edge| Op { name: edge.operation, from: edge.input, to: edge.node };
    Cell {
        title: part.title,
        inputs: vec!["in".into()],
        output: "out".into(),
        ops: part.edges.into_iter().map(op).collect(),
        concat: part.ends,
        ..Cell::default()
    }
}

/// A box is a combination, with the number of its step; the curve from there carries the step's activation, but for the
/// one to the new memory, which is taken before it. The box without a number is the injection.
fn tree(tree: &RecurrentTree) -> Cell {
    let symbol = |combination| match combination {
        Combination::Add => "+",
        Combination::Multiply => "×",
    };
    let curve = |name: &str, from, to| Op { name: name.to_string(), from, to };
    const READ: usize = 0;
    const MEMORY: usize = 1;
    let inputs = vec!["x_{t}, h_{t-1}".to_string(), "c_{t-1}".to_string()];
    let (mut nodes, mut ops) = (Vec::new(), Vec::new());
    let (mut boxes, mut values) = (Vec::new(), Vec::new());
    for (index, step) in tree.steps().iter().enumerate() {
        let state = inputs.len() + nodes.len();
        nodes.push(format!("{}_{{{index}}}", symbol(step.combination)));
        match tree.operands(index) {
            None => ops.push(curve("", READ, state)),
            Some(pair) => ops.extend(pair.map(|from| {
                let (from, activation): (usize, &str) = values[from];
                curve(activation, from, state)
            })),
        }
        boxes.push(state);
        values.push((state, step.activation.as_str()));
        if let Some(injected) = tree.injected(index) {
            nodes.push(symbol(injected.combination).to_string());
            ops.extend([curve(&step.activation, state, state + 1), curve("", MEMORY, state + 1)]);
            values[index] = (state + 1, injected.activation.as_str());
        }
    }
    let h = inputs.len() + nodes.len();
    ops.extend(values.last().map(|(last, activation)| curve(activation, *last, h)));
    ops.push(curve("", boxes[tree.memory()], h + 1));
    nodes.extend(["h_{t}", "c_{t}"].map(String::from));
    Cell { title: "Recurrent cell".into(), inputs, nodes, ops, ends: vec![h, h + 1], ..Cell::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn_with_its_injection_and_the_memory_before_its_activation() {
        let text = "Genotype(tree=[('add', 'tanh'), ('multiply', 'relu'), ('multiply', 'sigmoid')], \
             inject=(0, 'add', 'identity'), memory=1)";
        let json = RecurrentTree::parse(text).expect("a tree").to_json();
        let cells = cells_from_genotype(&json).expect("it is drawn").cells;
        let [cell] = &cells[..] else { panic!("one cell, not {}", cells.len()) };
        let drawn: Vec<String> = cell
            .ops
            .iter()
            .map(|op| format!("{} {} {}", cell.state_name(op.from), op.name, cell.state_name(op.to)))
            .collect();
        let expected = [
            "x_{t}, h_{t-1}  +_{0}",
            "+_{0} tanh +",
            "c_{t-1}  +",
            "x_{t}, h_{t-1}  ×_{1}",
            "+ identity ×_{2}",
            "×_{1} relu ×_{2}",
            "×_{2} sigmoid h_{t}",
            "×_{1}  c_{t}",
        ];
        assert_eq!(drawn, expected);
        assert_eq!(cell.ends.iter().map(|&end| cell.state_name(end)).collect::<Vec<_>>(), ["h_{t}", "c_{t}"]);
        let layout = crate::chart::lay_out(cell);
        assert_eq!(layout.labels.len(), 4, "four activations");
        let right = |name: &str| {
            let mark = layout.nodes.iter().find(|mark| mark.text == name).expect("a box");
            mark.area.center().0
        };
        assert_eq!(right("h_{t}"), right("c_{t}"));
    }

    #[test]
    fn a_tree_that_is_none_is_refused_before_it_is_drawn() {
        let json = serde_json::json!({ "tree": [["add", "tanh"]], "inject": [3, "add", "relu"], "memory": 0 });
        let error = cells_from_genotype(&json).expect_err("there is no step 3");
        assert!(error.message.contains("there is no step 3"), "{}", error.message);
    }
}
