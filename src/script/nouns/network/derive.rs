//! Genotypes read off a supernet's alphas, or off mixing weights of a network of one's own.

use super::SMALL;
use crate::script::binding::{Call, Library, List, Options};
use crate::script::nouns::inputs::{Blocks, relaxation};
use crate::space::{Candidates, CellKind, Network, Rule, Selection};
use crate::{Error, Result};
use candle_core::DType;
use rhai::{FnPtr, Map};

const RULE: &str = "\"darts\", \"pairs\" (GDAS) or \"threshold\" (FairDARTS)";
const THRESHOLD: &str = "the least strength that the rule \"threshold\" keeps";
const SKIPS: &str = "skip connections that the normal cell may have (P-DARTS); rule \"darts\" only";

pub fn declare(library: &mut Library) {
    library
        .function("derive", &["net", "options"], |call: &Call<'_>, net: Network, options: Options| {
            let selection = selection(&options)?;
            match relaxation(call, &options)? {
                Some(relax) => net.derive_by(Some(&relax(net.alphas())?), selection),
                None => net.derive_by(None, selection),
            }
        })
        .doc(
            r#"
            The genotype that a supernet's alphas lead to. Rule "darts": every node keeps the two edges whose best op
            other than "none" is strongest, each with that op (Liu et al. 2019, section 2.4); edge weights count as
            factors. "pairs": every node keeps the two strongest pairs of op and input, which may share the input (Dong
            and Yang 2019). "threshold": of a node's two strongest inputs those whose op reaches `threshold` stay, so a
            node may have fewer or not exist (Chu et al. 2020). With `skips`, the weakest skip connections of the normal
            cell give way until so many are left (Chen et al. 2019). For a rule of your own read `net.alphas` and call
            `genotype`.
            "#,
        )
        .option("rule", "darts".to_string(), RULE)
        .option("threshold", 0.85, THRESHOLD)
        .optional::<usize>("skips", "any number", SKIPS)
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives the map of strengths")
        .example_after(
            SMALL,
            r#"
            let cell = derive(net);
            assert(cell.normal.len() == 2 && cell.normal_concat == [2]);
            assert(derive(net, #{ skips: 0 }).normal.filter(|edge| edge[0] == "skip_connect").is_empty());
            "#,
        );
    library
        .function("derive", &["strengths", "options"], |strengths: Map, options: Options| {
            let selection = selection(&options)?;
            let known = CellKind::BOTH.map(CellKind::name);
            if let Some(key) = strengths.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(Error::unknown("kind of cell", key, known));
            }
            let rows = |kind: CellKind| -> Result<Vec<Vec<f64>>> {
                let name = kind.name();
                let value = strengths.get(name).ok_or_else(|| {
                    Error::user(format!("there are no strengths for \"{name}\""))
                        .hint("give both: #{ normal: …, reduce: … }, edges × ops each")
                })?;
                let tensor = Blocks::tensor(name, value)?.detach().to_dtype(DType::F64)?;
                match tensor.dims() {
                    [_, _] => Ok(tensor.to_vec2()?),
                    dims => Err(Error::user(format!("strengths \"{name}\" are edges × ops, not {dims:?}"))),
                }
            };
            let [normal, reduce] = CellKind::BOTH.map(rows);
            let operations = options.get::<List<String>>("ops")?.0;
            let candidates = Candidates { operations: &operations, nodes: options.get("nodes")?, masks: [None; 2] };
            candidates.derive([&normal?, &reduce?], selection)
        })
        .doc(
            r#"
            The genotype of strengths that are not a supernet's: `strengths` is a map of tensors, `normal` and `reduce`,
            edges × ops each.
            "#,
        )
        .required::<List<String>>("ops", "the names of the columns")
        .option("nodes", 4_usize, "intermediate nodes per cell; n of them have n(n + 3)/2 edges")
        .option("rule", "darts".to_string(), RULE)
        .option("threshold", 0.85, THRESHOLD)
        .optional::<usize>("skips", "any number", SKIPS)
        .example(
            r#"
            let p = tensor([[0.1, 0.9], [0.6, 0.4]]);
            let cell = derive(#{ normal: p, reduce: p }, #{ ops: ["skip_connect", "sep_conv_3x3"], nodes: 1 });
            assert(cell.normal == [["sep_conv_3x3", 0], ["skip_connect", 1]]);
            "#,
        );
}

fn selection(options: &Options) -> Result<Selection> {
    let rule = match options.get::<String>("rule")?.as_str() {
        "darts" => Rule::Darts,
        "pairs" => Rule::Pairs,
        "threshold" => Rule::Threshold(options.get("threshold")?),
        other => return Err(Error::unknown("rule", other, ["darts", "pairs", "threshold"])),
    };
    Ok(Selection { rule, most_skips: options.find("skips")? })
}
