//! Norms as ONNX has them: a batch norm by running statistics, for maps and for rows; and by each image's own, spelt
//! out.

use super::sheet::{Sheet, float, int, ints};
use crate::graph::NormInfo;

/// Added to the variance, as the engine does.
pub(super) const EPSILON: f64 = 1e-5;

/// Adds a batch norm of the value `x`; gives the name of the result. `name`: what the norm is called; `statistics`: all
/// running statistics of its graph; `affine`: the names of gamma and beta, where it has them. Norms of one name share
/// their constants.
pub(super) fn batch_norm(
    sheet: &mut Sheet,
    x: &str,
    name: &str,
    info: &NormInfo,
    statistics: &[f32],
    affine: Option<[String; 2]>,
) -> String {
    let channels = [info.channels];
    let [scale, shift] = affine.unwrap_or_else(|| [1.0, 0.0].map(|value| sheet.constantly(value, &channels)));
    let [mean, variance] = [("running_mean", info.mean()), ("running_var", info.variance())].map(|(what, range)| {
        let name = format!("{name}.{what}");
        sheet.share(&format!("{name} at {}", info.offset), |sheet| {
            sheet.floats(&name, &channels, statistics[range].iter().copied())
        })
    });
    let inputs = [x, &scale, &shift, &mean, &variance];
    sheet.node("BatchNormalization", &inputs, name, vec![float("epsilon", EPSILON as f32)])
}

/// Adds what takes each image's numbers, those of the map `x`, less their mean and over their standard deviation; gives
/// the name of the result. (An operator of its own has it only from opset 17 on.)
pub(super) fn standardise(sheet: &mut Sheet, x: &str, name: &str) -> String {
    let mean = |sheet: &mut Sheet, x: &str, name: &str| {
        sheet.node("ReduceMean", &[x], name, vec![ints("axes", &[1, 2, 3]), int("keepdims", 1)])
    };
    let middle = mean(sheet, x, &format!("{name}.mean"));
    let centred = sheet.node("Sub", &[x, &middle], &format!("{name}.centred"), vec![]);
    let square = sheet.node("Mul", &[&centred, &centred], &format!("{name}.square"), vec![]);
    let variance = mean(sheet, &square, &format!("{name}.variance"));
    let epsilon = sheet.constantly(EPSILON as f32, &[]);
    let safe = sheet.node("Add", &[&variance, &epsilon], &format!("{name}.safe"), vec![]);
    let deviation = sheet.node("Sqrt", &[&safe], &format!("{name}.deviation"), vec![]);
    sheet.node("Div", &[&centred, &deviation], name, vec![])
}
