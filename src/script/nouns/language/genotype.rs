//! Recurrent genotypes: derived, read, drawn at random.

use super::SMALL;
use crate::script::binding::{Call, Library, List, Options};
use crate::script::nouns::inputs::relaxation;
use crate::script::nouns::json::to_json;
use crate::script::nouns::written::{genotype_of, is_name};
use crate::space::recurrent::{
    FoundCell, LanguageModel, RecurrentGenotype, random_cell, recurrent_cell, recurrent_cells,
};
use crate::{Error, Result};
use rhai::{Array, Dynamic, FnPtr, Map};
use std::any::TypeId;

pub fn declare(library: &mut Library) {
    library
        .function("derive", &["net", "options"], |call: &Call<'_>, net: LanguageModel, options: Options| {
            match relaxation(call, &options)? {
                Some(relax) => net.derive(Some(&relax(net.alphas())?)),
                None => net.derive(None),
            }
        })
        .doc(
            r#"
            The cell that a recurrent supernet's alphas lead to: every node keeps the one state whose best activation
            other than "none" is the most probable, with that activation; ties go to the smaller state (`docs/darts.md`
            B2).
            "#,
        )
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives the map of strengths")
        .example_after(SMALL, "assert(derive(net).nodes.len() == 2);");
    library
        .function("recurrent_genotype", &["source"], |call: &Call<'_>, source: Dynamic| genotype(call, &source))
        .doc(
            r#"
            A recurrent cell by its name in the catalogue (see `recurrent_genotypes`), from the literature's text,
            `Genotype(recurrent=[('tanh', 0), …], concat=range(1, 9))`, from JSON, from a file of either or a search's
            `journal.jsonl` (then the last one logged), or from a map with `recurrent`, for each node [activation,
            state], and `concat`, the states whose mean is the output (all nodes where left out). State 0 combines the
            token vector with the hidden state; nodes are states 1, 2, …. A text or file that holds a tree gives a
            `recurrent_tree`.
            "#,
        )
        .example(
            r#"
            let cell = recurrent_genotype(#{ recurrent: [["tanh", 0], ["relu", 1]] });
            assert(recurrent_genotype(`${cell}`) == cell);
            assert(recurrent_genotype("DARTS_V2").nodes[0] == ["sigmoid", 0]);
            let tree = recurrent_tree("found");
            assert(recurrent_genotype(`${tree}`) == tree);
            "#,
        );
    library
        .function("recurrent_genotypes", &[], || {
            Ok(List(recurrent_cells().iter().map(|published| published.name.clone()).collect()))
        })
        .doc("The names of the published recurrent cells.")
        .example(r#"assert("DARTS_V2" in recurrent_genotypes());"#);
    let host = library.host();
    library
        .function(
            "random_recurrent_genotype",
            &["nodes", "activations"],
            move |nodes: usize, activations: List<String>| {
                random_cell(nodes, &activations.0, &mut host.draw("random recurrent genotype"))
            },
        )
        .doc(
            r#"
            A recurrent cell drawn at random: for each node every state before it and every activation other than
            "none" as likely as any other. Each call draws another, from the run's seed.
            "#,
        )
        .example("assert(random_recurrent_genotype(8, DARTS_ACTIVATIONS).nodes.len() == 8);");
    let pair = [TypeId::of::<RecurrentGenotype>(), TypeId::of::<RecurrentGenotype>()];
    library
        .operator("==", &[&pair], |a: RecurrentGenotype, b: RecurrentGenotype| Ok(a == b))
        .doc("Whether two recurrent genotypes are one cell.")
        .example_after(SMALL, "assert(derive(net) == derive(net));");
    library
        .operator("!=", &[&pair], |a: RecurrentGenotype, b: RecurrentGenotype| Ok(a != b))
        .doc("Whether two recurrent genotypes are different cells.")
        .example_after(SMALL, "assert(!(derive(net) != derive(net)));");
    library
        .property("nodes", |cell: RecurrentGenotype| {
            let pair = |(activation, state): (&str, usize)| {
                Dynamic::from_array(vec![activation.into(), Dynamic::from_int(state as i64)])
            };
            Ok(cell.nodes().map(pair).collect::<Array>())
        })
        .doc("For each node its activation and the state it reads: [activation, state].")
        .example(r#"assert(recurrent_genotype("ENAS").nodes.len() == 11);"#);
    library
        .property("concat", |cell: RecurrentGenotype| Ok(List(cell.concat().to_vec())))
        .doc("The states whose mean is the output.")
        .example(r#"assert(recurrent_genotype("ENAS").concat == [2, 5, 6, 9, 10, 11]);"#);
}

fn genotype(call: &Call<'_>, source: &Dynamic) -> Result<FoundCell> {
    if let Ok(text) = source.clone().into_string() {
        return match is_name(&text) {
            true => recurrent_cell(&text).map(FoundCell::Genotype),
            false => genotype_of(call, &text, FoundCell::parse, FoundCell::from_json),
        };
    }
    match source.as_map_ref() {
        Ok(map) => from_map(&map).map(FoundCell::Genotype),
        Err(_) => Err(Error::user("recurrent_genotype takes a text or a map")
            .hint("recurrent_genotype(#{ recurrent: [[\"tanh\", 0], …] })")),
    }
}

fn from_map(map: &Map) -> Result<RecurrentGenotype> {
    let known = ["recurrent", "concat"];
    if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Error::unknown("part of a recurrent genotype", key, known));
    }
    let fields = map.iter().map(|(name, value)| Ok((name.to_string(), to_json(value)?)));
    RecurrentGenotype::from_json(&fields.collect::<Result<serde_json::Map<_, _>>>()?.into())
}
