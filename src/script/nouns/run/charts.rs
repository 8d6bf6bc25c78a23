//! The charts of a run, as scripts ask for them.

use crate::run::{CurvesOver, MixingWeights, Run};
use crate::script::binding::{Argument, Library, List, describe_value};
use crate::script::nouns::json::to_json;
use crate::space::recurrent::LanguageModel;
use crate::space::{NamedMixing, Network};
use crate::{Error, Result};
use rhai::{Dynamic, Map};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn declare(library: &mut Library) {
    library
        .method(
            "plot",
            &["run", "field", "second", "third", "fourth", "fifth"],
            |run: Run, first: String, b: Option<String>, c: Option<String>, d: Option<String>, e: Option<String>| {
                run.plot(&std::iter::once(first).chain([b, c, d, e].into_iter().flatten()).collect::<Vec<String>>())
            },
        )
        .doc(
            r#"
            Draws logged fields over time into `plots/`, as SVG and PNG named after them. Fields whose names end in the
            same word ("loss", "accuracy") share an axis. A chart is redrawn during the run, as long as that takes
            little of its time, and at the end.
            "#,
        )
        .example(
            r#"
            let run = start_run();
            for step in run.steps(10) { run.log(#{ train_loss: 1.0 / (step + 1) }); }
            run.plot("train_loss");
            "#,
        );
    library
        .method("plot_alphas", &["run", "alphas"], |run: Run, alphas: Dynamic| {
            run.plot_alphas(&mixing_weights(&alphas)?)
        })
        .doc(
            r#"
            Logs mixing weights as they are and draws them: `alphas-normal` and `alphas-reduce` over time, a panel an
            edge, and the heat map `alphas`. `alphas` is a supernet (then the softmax of its alphas, and its edge
            weights), or a map with the weights of each kind of cell: `#{ normal: #{ ops: DARTS_OPS, values: p } }`,
            `values` edges × ops, an array or a tensor, and `edges` as pairs of names where they are not those of a
            DARTS cell.
            "#,
        )
        .example(
            r#"
            let run = start_run();
            let p = [[0.7, 0.3], [0.5, 0.5]];
            run.plot_alphas(#{ normal: #{ ops: ["skip_connect", "sep_conv_3x3"], values: p } });
            "#,
        );
    library
        .method("plot_groups", &["run", "name", "groups"], |run: Run, name: String, groups: Map| {
            let group = |(group, values): (&rhai::Identifier, &Dynamic)| {
                let values = List::<f64>::read(values);
                Ok((group.to_string(), values.map_err(|m| m.into_error(&format!("`{group}`"), "[float]"))?.0))
            };
            run.plot_groups(&name, &groups.iter().map(group).collect::<Result<_>>()?)
        })
        .doc(
            r#"
            Logs groups of results, a map of arrays of numbers, and draws them side by side as the chart `name`: every
            result a dot, the mean a line, the standard deviation a band.
            "#,
        )
        .example(
            r#"
            let run = start_run();
            run.plot_groups("test_accuracy", #{ searched: [0.97, 0.96, 0.97], random: [0.95, 0.97, 0.94] });
            "#,
        );
    library
        .method("plot_curves", &["run", "name", "x", "curves"], |run: Run, name: String, x: String, curves: Map| {
            let curve = |(curve, points): (&rhai::Identifier, &Dynamic)| {
                let pairs = to_json(points).ok().as_ref().and_then(pairs);
                let wrong = || Error::user(format!("plot_curves: `{curve}` is not a list of points"));
                Ok((curve.to_string(), pairs.ok_or_else(|| wrong().hint("[[x, y], [x, y], ...]"))?))
            };
            run.plot_curves(&name, &CurvesOver { x, curves: curves.iter().map(curve).collect::<Result<_>>()? })
        })
        .doc(
            r#"
            Logs curves over a quantity of their own, called `x`, and draws them as the chart `name`: a map of lists of
            points `[x, y]` in ascending x. (`plot` draws what was logged, over steps or epochs.)
            "#,
        )
        .example(
            r#"
            let run = start_run();
            run.plot_curves("best_so_far", "cells trained", #{
                random: [[1, 0.91], [4, 0.94], [9, 0.95]],
                ageing_evolution: [[1, 0.90], [6, 0.95]],
            });
            "#,
        );
    library
        .method("draw", &["run", "genotype"], |run: Run, genotype: Dynamic| run.draw(&to_json(&genotype)?))
        .doc(
            r#"
            Draws the cells of a genotype as graphs into `plots/cells`, and marks their ops in the heat map. Logs the
            genotype unless it was the last one logged. `genotype` is a genotype or a map of its fields.
            "#,
        )
        .example(
            r#"
            start_run().draw(#{
                normal: [["sep_conv_3x3", 0], ["skip_connect", 1], ["max_pool_3x3", 0], ["sep_conv_5x5", 2]],
                normal_concat: [2, 3],
            });
            "#,
        );
}

/// The mixing weights of a supernet, or of a map as `plot_alphas` documents it.
fn mixing_weights(alphas: &Dynamic) -> Result<BTreeMap<String, MixingWeights>> {
    if let Some(network) = alphas.read_lock::<Network>() {
        return of_supernet(&network);
    }
    if let Some(model) = alphas.read_lock::<LanguageModel>() {
        return of_recurrent_supernet(&model);
    }
    let kinds = alphas.as_map_ref().map_err(|_| {
        Error::user(format!("plot_alphas takes a supernet or a map, not {}", describe_value(alphas)))
            .hint("for example #{ normal: #{ ops: DARTS_OPS, values: softmax(net.alphas[\"normal\"], 1) } }")
    })?;
    let of_kind = |(kind, value): (&rhai::Identifier, &Dynamic)| {
        let wrong =
            |what: &str| Error::user(format!("plot_alphas: `{kind}` {what}")).hint("#{ ops: [...], values: [[...]] }");
        let map = Map::read(value).map_err(|_| wrong("is not a map"))?;
        if let Some(name) = map.keys().find(|name| !["edges", "ops", "values"].contains(&name.as_str())) {
            return Err(Error::unknown("entry of mixing weights", name, ["edges", "ops", "values"]));
        }
        let read = |name: &str| map.get(name).map(to_json).transpose();
        let ops = read("ops")?.and_then(|ops| serde_json::from_value(ops).ok());
        let ops = ops.ok_or_else(|| wrong("has no list of names as `ops`"))?;
        let values = read("values")?.as_ref().and_then(rows).ok_or_else(|| wrong("has no edges × ops as `values`"))?;
        let weights = match read("edges")? {
            Some(edges) => {
                let edges =
                    serde_json::from_value(edges).map_err(|_| wrong("has `edges` that are not pairs of names"))?;
                MixingWeights::new(edges, ops, values)?
            }
            None => MixingWeights::of_cell(ops, values)?,
        };
        Ok((kind.to_string(), weights))
    };
    kinds.iter().map(of_kind).collect()
}

fn pairs(points: &Value) -> Option<Vec<(f64, f64)>> {
    let pair = |point: Vec<f64>| <[f64; 2]>::try_from(point).ok().map(|[x, y]| (x, y));
    rows(points)?.into_iter().map(pair).collect()
}

fn rows(values: &Value) -> Option<Vec<Vec<f64>>> {
    let row = |row: &Value| row.as_array()?.iter().map(crate::run::value_of).collect::<Option<Vec<f64>>>();
    values.as_array()?.iter().map(row).collect()
}

/// The softmax of the alphas of each kind of cell.
fn of_supernet(network: &Network) -> Result<BTreeMap<String, MixingWeights>> {
    if network.space().is_none() {
        return Err(Error::user("plot_alphas: this network is not a supernet, so the names of its ops are not known")
            .hint("give a map: #{ normal: #{ ops: [...], values: p } }"));
    }
    let weights =
        |NamedMixing { name, columns, rows }| MixingWeights::of_cell(columns, rows).map(|weights| (name, weights));
    network.mixing_by_name()?.into_iter().map(weights).collect()
}

/// The softmax of a recurrent supernet's alphas.
fn of_recurrent_supernet(model: &LanguageModel) -> Result<BTreeMap<String, MixingWeights>> {
    let (_, activations) = model.space()?;
    let of = |p: candle_core::Tensor| -> Result<(String, MixingWeights)> {
        let values = p.to_dtype(candle_core::DType::F64)?.to_vec2::<f64>()?;
        Ok(("recurrent".to_string(), MixingWeights::of_recurrent_cell(activations.to_vec(), values)?))
    };
    model.relax(model.alphas())?.into_iter().map(of).collect()
}
