//! Genotypes: read from text or a map, changed, taken apart.

use super::SMALL;
use crate::script::binding::{Call, Library, List, ScriptType};
use crate::script::nouns::graph::Registry;
use crate::script::nouns::json::to_json;
use crate::script::nouns::written::{genotype_of, is_name};
use crate::space::{CellKind, Edge, Genotype, catalogue};
use crate::{Error, Result};
use rhai::{Array, Dynamic, Map};
use std::any::TypeId;

impl ScriptType for Genotype {
    const NAME: &'static str = "genotype";
}

pub fn declare(library: &mut Library, registry: &Registry) {
    library.kind::<Genotype>("Two discrete cells: the edges into every node, and the states that are concatenated.");
    let defined = registry.clone();
    library
        .function("genotype", &["source"], move |call: &Call<'_>, source: Dynamic| {
            let genotype = genotype(call, &source)?;
            genotype.check_operations(&defined.operations(call)?)?;
            Ok(genotype)
        })
        .doc(
            r#"
            A genotype by its name in the catalogue (see `genotypes`), from text as papers print it,
            `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), …)`, from JSON, from a file of either
            or a search's `journal.jsonl` (then the last one logged), or from a map with `normal`, `reduce`,
            `normal_concat` and `reduce_concat` (all nodes where left out). Edges are [op, input], two for every node,
            or [op, node, input] with any number for a node; nodes are states 2, 3, …, the outputs of the two cells
            before are states 0 and 1.
            "#,
        )
        .example(
            r#"
            let cell = genotype(#{
                normal: [["sep_conv_3x3", 0], ["skip_connect", 1]],
                reduce: [["max_pool_3x3", 0], ["max_pool_3x3", 1]],
            });
            assert(genotype(`${cell}`) == cell);
            assert(genotype("DARTS_V2").normal[7] == ["dil_conv_3x3", 2]);
            assert(cell.reduce[1] == ["max_pool_3x3", 1]);
            "#,
        );
    let pair = [TypeId::of::<Genotype>(), TypeId::of::<Genotype>()];
    library
        .operator("==", &[&pair], |a: Genotype, b: Genotype| Ok(a == b))
        .doc("Whether two genotypes are one network: the order of a node's edges does not count.")
        .example_after(SMALL, "assert(derive(net) == derive(net));");
    library
        .operator("!=", &[&pair], |a: Genotype, b: Genotype| Ok(a != b))
        .doc("Whether two genotypes are different networks.")
        .example_after(SMALL, "assert(!(derive(net) != derive(net)));");
    library
        .method(
            "replaced",
            &["genotype", "cell", "edge", "op", "input"],
            |genotype: Genotype, cell: String, edge: usize, op: String, input: usize| {
                genotype.replaced(kind(&cell)?, edge, &op, input)
            },
        )
        .doc(
            r#"
            The same genotype with another op and input of one edge: `cell` is "normal" or "reduce", `edge` the index in
            its list.
            "#,
        )
        .example(
            r#"
            let cell = genotype("DARTS_V2").replaced("normal", 0, "skip_connect", 1);
            assert(cell.normal[0] == ["skip_connect", 1]);
            "#,
        );
    library
        .property("normal", |cell: Genotype| Ok(edges(&cell, CellKind::Normal)))
        .doc("The normal cell's edges: [op, input], two for every node, or [op, node, input].")
        .example_after(SMALL, "assert(derive(net).normal.len() == 2);");
    library
        .property("reduce", |cell: Genotype| Ok(edges(&cell, CellKind::Reduction)))
        .doc("The reduction cell's edges: [op, input], two for every node, or [op, node, input].")
        .example_after(SMALL, "assert(derive(net).reduce.len() == 2);");
    library
        .property("normal_concat", |cell: Genotype| Ok(List(cell.concat(CellKind::Normal).to_vec())))
        .doc("The states concatenated to the normal cell's output.")
        .example_after(SMALL, "assert(derive(net).normal_concat == [2]);");
    library
        .property("reduce_concat", |cell: Genotype| Ok(List(cell.concat(CellKind::Reduction).to_vec())))
        .doc("The states concatenated to the reduction cell's output.")
        .example_after(SMALL, "assert(derive(net).reduce_concat == [2]);");
}

fn genotype(call: &Call<'_>, source: &Dynamic) -> Result<Genotype> {
    if let Ok(text) = source.clone().into_string() {
        return match is_name(&text) {
            true => catalogue::genotype(&text),
            false => genotype_of(call, &text, Genotype::parse, Genotype::from_json),
        };
    }
    match source.as_map_ref() {
        Ok(map) => from_map(&map),
        Err(_) => Err(Error::user("genotype takes a text or a map")
            .hint("genotype(#{ normal: [[\"sep_conv_3x3\", 0], …], reduce: […] })")),
    }
}

fn kind(name: &str) -> Result<CellKind> {
    let found = CellKind::BOTH.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| Error::unknown("kind of cell", name, CellKind::BOTH.map(CellKind::name)))
}

fn from_map(map: &Map) -> Result<Genotype> {
    let known = ["normal", "normal_concat", "reduce", "reduce_concat"];
    if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Error::unknown("part of a genotype", key, known));
    }
    let fields = map.iter().map(|(name, value)| Ok((name.to_string(), to_json(value)?)));
    Genotype::from_fields(&fields.collect::<Result<serde_json::Map<_, _>>>()?.into())
}

fn edges(cell: &Genotype, kind: CellKind) -> Array {
    let edge = |edge: &Edge| {
        let state = |state: usize| Dynamic::from_int(state as i64);
        let operation = edge.operation.as_str().into();
        Dynamic::from_array(match cell.is_paired(kind) {
            true => vec![operation, state(edge.input)],
            false => vec![operation, state(edge.node), state(edge.input)],
        })
    };
    cell.edges(kind).iter().map(edge).collect()
}
