//! Recurrent cells as trees, as scripts hold them.

use crate::script::binding::{Call, Library, List, ScriptType};
use crate::script::nouns::json::to_json;
use crate::script::nouns::written::genotype_of;
use crate::space::recurrent::{RecurrentTree, TreeStep};
use crate::{Error, Result};
use rhai::Dynamic;
use std::any::TypeId;

impl ScriptType for RecurrentTree {
    const NAME: &'static str = "recurrent_tree";
}

pub fn declare(library: &mut Library) {
    library.kind::<RecurrentTree>("A recurrent cell as a tree of steps with a memory.");
    library
        .function("recurrent_tree", &["source"], |call: &Call<'_>, source: Dynamic| tree(call, &source))
        .doc(
            r#"
            A recurrent cell as NAS writes it (Zoph and Le 2017, section 3.4): a full tree whose steps each combine two
            values ("add" or "multiply") and apply an activation. `tree` lists [combination, activation] for 2n − 1
            steps, n being 1, 2, 4, …: leaf k of 0 to n − 1 combines x·Wₖ and h·Uₖ, step n + k steps 2k and 2k + 1, and
            the last is the new h. There is a memory c besides: `inject`, [step, combination, activation], combines it
            with the output of a step, and what step `memory` combined, before its activation, becomes the new c. From
            such a map, from the text that `print` shows, from JSON, from a file of either or a search's `journal.jsonl`
            (then the last one logged), or "found" for the cell of the paper's figure 8. `run.draw` draws it.
            "#,
        )
        .example(
            r#"
            let cell = recurrent_tree(#{
                tree: [["add", "tanh"], ["multiply", "relu"], ["multiply", "sigmoid"]],
                inject: [0, "add", "relu"], memory: 1,
            });
            assert(recurrent_tree(`${cell}`) == cell);
            assert(recurrent_tree("found").steps.len() == 15);
            let net = language_model(50, #{ cell: cell, hidden: 6, bias: false });
            assert(net.parameters == 50 * 6 + 2 * 2 * 6 * 6);
            "#,
        );
    library
        .property("steps", |tree: RecurrentTree| {
            let pair = |step: &TreeStep| List(vec![step.combination.name().to_string(), step.activation.clone()]);
            Ok(List(tree.steps().iter().map(pair).collect::<Vec<_>>()))
        })
        .doc("For each step [combination, activation].")
        .example(r#"assert(recurrent_tree("found").steps[3] == ["multiply", "relu"]);"#);
    let pair = [TypeId::of::<RecurrentTree>(), TypeId::of::<RecurrentTree>()];
    library
        .operator("==", &[&pair], |a: RecurrentTree, b: RecurrentTree| Ok(a == b))
        .doc("Whether two recurrent trees are one cell, step by step.")
        .example(r#"assert(recurrent_tree("found") == recurrent_tree("found"));"#);
    library
        .operator("!=", &[&pair], |a: RecurrentTree, b: RecurrentTree| Ok(a != b))
        .doc("Whether two recurrent trees differ.")
        .example(r#"assert(!(recurrent_tree("found") != recurrent_tree("found")));"#);
}

fn tree(call: &Call<'_>, source: &Dynamic) -> Result<RecurrentTree> {
    if let Ok(text) = source.clone().into_string() {
        return match text.as_str() {
            "found" => Ok(RecurrentTree::found()),
            text => genotype_of(call, text, RecurrentTree::parse, RecurrentTree::from_json),
        };
    }
    match source.is_map() {
        true => RecurrentTree::from_json(&to_json(source)?),
        false => Err(Error::user("recurrent_tree takes a text or a map")
            .hint("recurrent_tree(#{ tree: [[\"add\", \"tanh\"]], inject: [0, \"add\", \"relu\"], memory: 0 })")),
    }
}
