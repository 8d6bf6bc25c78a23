//! A batch norm as ONNX has it: by running statistics, for maps and for rows.

use super::sheet::{Sheet, float};
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
