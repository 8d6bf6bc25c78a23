//! Activations in ONNX's operators: one where there is one, else the formula.

use super::sheet::{Sheet, float};
use crate::graph::Activation;

/// Adds an activation of the value `x`; gives the name of the result, `name` if it is free.
pub(super) fn activate(sheet: &mut Sheet, activation: Activation, x: &str, name: &str) -> String {
    match activation {
        Activation::Relu => sheet.node("Relu", &[x], name, vec![]),
        Activation::LeakyRelu => sheet.node("LeakyRelu", &[x], name, vec![float("alpha", 0.01)]),
        Activation::Elu => sheet.node("Elu", &[x], name, vec![float("alpha", 1.0)]),
        Activation::Sigmoid => sheet.node("Sigmoid", &[x], name, vec![]),
        Activation::Tanh => sheet.node("Tanh", &[x], name, vec![]),
        Activation::Silu => {
            let gate = sheet.node("Sigmoid", &[x], &format!("{name}.gate"), vec![]);
            sheet.node("Mul", &[x, &gate], name, vec![])
        }
        // An operator of its own only from opset 14 on. min(max(x/6 + 1/2, 0), 1) is the gate.
        Activation::HardSwish => {
            let attributes = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
            let gate = sheet.node("HardSigmoid", &[x], &format!("{name}.gate"), attributes);
            sheet.node("Mul", &[x, &gate], name, vec![])
        }
        Activation::Gelu => gelu(sheet, x, name),
    }
}

/// x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))); an operator of its own only from opset 20 on.
fn gelu(sheet: &mut Sheet, x: &str, name: &str) -> String {
    let part = |part: &str| format!("{name}.{part}");
    let [half, one, cubic, scale] = [0.5, 1.0, 0.044_715, 0.797_884_6].map(|value| sheet.constantly(value, &[]));
    let square = sheet.node("Mul", &[x, x], &part("square"), vec![]);
    let cube = sheet.node("Mul", &[&square, x], &part("cube"), vec![]);
    let bend = sheet.node("Mul", &[&cube, &cubic], &part("bend"), vec![]);
    let sum = sheet.node("Add", &[x, &bend], &part("sum"), vec![]);
    let scaled = sheet.node("Mul", &[&sum, &scale], &part("scaled"), vec![]);
    let tanh = sheet.node("Tanh", &[&scaled], &part("tanh"), vec![]);
    let gate = sheet.node("Add", &[&tanh, &one], &part("gate"), vec![]);
    let halved = sheet.node("Mul", &[x, &half], &part("half"), vec![]);
    sheet.node("Mul", &[&halved, &gate], name, vec![])
}
