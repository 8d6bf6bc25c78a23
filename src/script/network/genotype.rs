//! Genotypes: derived from a supernet's alphas, read from text or a map, taken apart.

use super::small;
use crate::script::graph::Registry;
use crate::script::inputs::{list_of, relaxation};
use crate::script::{Call, Library, List, Options, ScriptType};
use crate::space::{CellKind, Genotype, Network, Pair};
use crate::{Error, Result};
use rhai::{Array, Dynamic, FnPtr, Map};
use std::any::TypeId;

impl ScriptType for Genotype {
    const NAME: &'static str = "genotype";
}

pub fn declare(library: &mut Library, registry: &Registry) {
    library.kind::<Genotype>(
        "Two discrete cells: for every node two (op, input) pairs, and the states that are concatenated.",
    );
    library
        .function("derive", &["net", "options"], |call: &Call<'_>, net: Network, options: Options| {
            derive(call, &net, &options)
        })
        .doc(
            "The genotype that a supernet's alphas lead to. Rule \"darts\": every node keeps the two edges whose best op other \
             than \"none\" is strongest, each with that op (Liu et al. 2019, section 2.4). For a rule of your own read \
             `net.alphas` and call `genotype`.",
        )
        .option("rule", "darts".to_string(), "\"darts\"")
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives the map of strengths")
        .example(small!(
            "let cell = derive(net);\n\
             assert(cell.normal.len() == 2 && cell.normal_concat == [2]);"
        ));
    let defined = registry.clone();
    library
        .function("genotype", &["source"], move |call: &Call<'_>, source: Dynamic| {
            let genotype = genotype(&source)?;
            genotype.check_operations(&defined.operations(call)?)?;
            Ok(genotype)
        })
        .doc(
            "A genotype from the literature's text, `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), …)`, \
             from JSON, or from a map with `normal`, `reduce`, `normal_concat` and `reduce_concat` (all nodes where left out).",
        )
        .example(
            "let cell = genotype(#{\n    \
                 normal: [[\"sep_conv_3x3\", 0], [\"skip_connect\", 1]],\n    \
                 reduce: [[\"max_pool_3x3\", 0], [\"max_pool_3x3\", 1]],\n\
             });\n\
             assert(genotype(`${cell}`) == cell);\n\
             assert(cell.reduce[1] == [\"max_pool_3x3\", 1]);",
        );
    let pair = [TypeId::of::<Genotype>(), TypeId::of::<Genotype>()];
    library
        .operator("==", &[&pair], |a: Genotype, b: Genotype| Ok(a == b))
        .doc("Whether two genotypes are one network: the order of a node's two pairs does not count.")
        .example(small!("assert(derive(net) == derive(net));"));
    library
        .operator("!=", &[&pair], |a: Genotype, b: Genotype| Ok(a != b))
        .doc("Whether two genotypes are different networks.")
        .example(small!("assert(!(derive(net) != derive(net)));"));
    library
        .property("normal", |cell: Genotype| Ok(pairs(&cell, CellKind::Normal)))
        .doc("The normal cell's pairs, [op, input], two for every node.")
        .example(small!("assert(derive(net).normal.len() == 2);"));
    library
        .property("reduce", |cell: Genotype| Ok(pairs(&cell, CellKind::Reduction)))
        .doc("The reduction cell's pairs, [op, input], two for every node.")
        .example(small!("assert(derive(net).reduce.len() == 2);"));
    library
        .property("normal_concat", |cell: Genotype| Ok(List(cell.concat(CellKind::Normal).to_vec())))
        .doc("The states concatenated to the normal cell's output.")
        .example(small!("assert(derive(net).normal_concat == [2]);"));
    library
        .property("reduce_concat", |cell: Genotype| Ok(List(cell.concat(CellKind::Reduction).to_vec())))
        .doc("The states concatenated to the reduction cell's output.")
        .example(small!("assert(derive(net).reduce_concat == [2]);"));
}

fn derive(call: &Call<'_>, net: &Network, options: &Options) -> Result<Genotype> {
    let rule = options.get::<String>("rule")?;
    if rule != "darts" {
        return Err(Error::unknown("rule", &rule, ["darts"]));
    }
    match relaxation(call, net, options)? {
        Some(relax) => net.derive(Some(&relax(net.alphas())?)),
        None => net.derive(None),
    }
}

fn genotype(source: &Dynamic) -> Result<Genotype> {
    if let Ok(text) = source.clone().into_string() {
        return Genotype::parse(&text);
    }
    match source.as_map_ref() {
        Ok(map) => from_map(&map),
        Err(_) => Err(Error::user("genotype takes a text or a map")
            .hint("genotype(#{ normal: [[\"sep_conv_3x3\", 0], …], reduce: […] })")),
    }
}

fn from_map(map: &Map) -> Result<Genotype> {
    let known = ["normal", "normal_concat", "reduce", "reduce_concat"];
    if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Error::unknown("part of a genotype", key, known));
    }
    let cell = |name: &str| -> Result<(Vec<Pair>, Vec<usize>)> {
        let form = || Error::user(format!("`{name}` must be an array of [op, input] pairs"));
        let list = map.get(name).ok_or_else(form)?.as_array_ref().map_err(|_| form())?;
        let pair = |value: &Dynamic| {
            let pair = value.as_array_ref().ok()?;
            let [operation, input] = &pair[..] else { return None };
            let input = usize::try_from(input.as_int().ok()?).ok()?;
            Some(Pair::new(&operation.clone().into_string().ok()?, input))
        };
        let pairs: Vec<Pair> = list.iter().map(|value| pair(value).ok_or_else(form)).collect::<Result<_>>()?;
        let concat = match map.get(format!("{name}_concat").as_str()) {
            Some(value) => list_of::<usize>(&format!("{name}_concat"), value)?,
            None => (2..pairs.len() / 2 + 2).collect(),
        };
        Ok((pairs, concat))
    };
    let ((normal, normal_concat), (reduce, reduce_concat)) = (cell("normal")?, cell("reduce")?);
    Genotype::new(normal, normal_concat, reduce, reduce_concat)
}

fn pairs(cell: &Genotype, kind: CellKind) -> Array {
    let pair = |pair: &Pair| Dynamic::from_array(vec![pair.operation().into(), Dynamic::from_int(pair.input() as i64)]);
    cell.pairs(kind).iter().map(pair).collect()
}
