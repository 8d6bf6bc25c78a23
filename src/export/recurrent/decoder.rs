//! What stands behind the layers: the decoder that is tied to the embedding, alone or as a mixture of softmaxes.

use super::source::{LanguageSource, Rows};
use crate::export::sheet::{Sheet, int, ints};
use crate::graph::WeightInfo;

/// Adds the decoder behind the layers' output `y`; gives the name of the logarithms of all words' probabilities.
pub(super) fn log_probabilities(sheet: &mut Sheet, source: &LanguageSource<'_>, embedding: &str, y: &str) -> String {
    let matrix = sheet.node("Transpose", &[embedding], "embedding.transposed", vec![ints("perm", &[1, 0])]);
    let bias = source.bias.map(|bias| source.constant(sheet, bias));
    let logits = |sheet: &mut Sheet, rows: &str| {
        let logits = sheet.node("MatMul", &[rows, &matrix], "logits", vec![]);
        match &bias {
            Some(bias) => sheet.node("Add", &[&logits, bias], "logits", vec![]),
            None => logits,
        }
    };
    let product = |sheet: &mut Sheet, weight: &WeightInfo, name: &str| {
        let weight = source.constant(sheet, weight);
        sheet.node("MatMul", &[y, &weight], name, vec![])
    };
    let log_softmax = |sheet: &mut Sheet, logits: &str| sheet.node("LogSoftmax", &[logits], "decoded", vec![]);
    match source.rows {
        Rows::Plain => {
            let logits = logits(sheet, y);
            log_softmax(sheet, &logits)
        }
        Rows::Projected(projection) => {
            let rows = product(sheet, projection, "projected");
            let logits = logits(sheet, &rows);
            log_softmax(sheet, &logits)
        }
        Rows::Mixed { experts, weight, bias, prior, least } => {
            let latent = product(sheet, weight, "latent");
            let bias = source.constant(sheet, bias);
            let latent = sheet.node("Add", &[&latent, &bias], "latent", vec![]);
            let latent = sheet.node("Tanh", &[&latent], "latent", vec![]);
            // Time and batch stay as they are.
            let shape = sheet.integers(&[0, 0, experts as i64, source.embedding.shape[1] as i64]);
            let rows = sheet.node("Reshape", &[&latent, &shape], "latent.rows", vec![]);
            let logits = logits(sheet, &rows);
            let each = sheet.node("Softmax", &[&logits], "experts", vec![]);
            let shares = product(sheet, prior, "prior");
            let shares = sheet.node("Softmax", &[&shares], "shares", vec![]);
            let [last, expert, least] = [sheet.integers(&[3]), sheet.integers(&[2]), sheet.constantly(least, &[])];
            let shares = sheet.node("Unsqueeze", &[&shares, &last], "shares", vec![]);
            let shared = sheet.node("Mul", &[&each, &shares], "experts.shared", vec![]);
            let mixture = sheet.node("ReduceSum", &[&shared, &expert], "mixture", vec![int("keepdims", 0)]);
            let mixture = sheet.node("Add", &[&mixture, &least], "mixture", vec![]);
            sheet.node("Log", &[&mixture], "decoded", vec![])
        }
    }
}
