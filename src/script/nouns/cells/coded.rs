//! Cells that are codes, with their space: read, written, taken apart.

use crate::Error;
use crate::script::binding::{Call, Library, List, ScriptType};
use crate::script::nouns::written::genotype_of;
use crate::space::{CellSpace, CodedCell};
use rhai::{Dynamic, Map};
use std::any::TypeId;

impl ScriptType for CodedCell {
    const NAME: &'static str = "coded_genotype";
}

pub fn declare(library: &mut Library) {
    library.kind::<CodedCell>("A cell that is a code, with the space that says what the code means.");
    library
        .function("coded_genotype", &["source"], |call: &Call<'_>, source: String| {
            genotype_of(call, &source, CodedCell::parse, CodedCell::from_json)
        })
        .doc(
            r#"
            A cell of a space whose cells are codes, from text as it is printed,
            `Genotype(space='blockqnn', nodes=5, code=[3, 9, 0])`, from JSON, or from a file of either or a search's
            `journal.jsonl` (then the last one logged). `space.genotype(code)` makes one, `run.draw` logs and draws it.
            "#,
        )
        .example(
            r#"
            let cell = space("nasbench201").genotype([3, 0, 1, 2, 4, 3]);
            assert(coded_genotype(`${cell}`) == cell);
            assert(cell.space.name == "nasbench201" && cell.code[4] == 4 && cell.words[0] == "conv_3x3");
            "#,
        );
    const CELL: &str = "let cell = space(\"blockqnn\", #{ nodes: 4 }).genotype([2, 0]);\n";
    library
        .property("space", |cell: CodedCell| Ok::<CellSpace, Error>(cell.space().clone()))
        .doc("The space that it belongs to.")
        .example_after(CELL, r#"assert(cell.space.decisions.len() == 4);"#);
    library
        .property("sizes", |cell: CodedCell| {
            Ok(cell.sizes().map(|(name, size)| (name.into(), Dynamic::from_int(size as i64))).collect::<Map>())
        })
        .doc(
            "The sizes of its space by the names that `space` takes: `nodes`, and of motifs `motifs` and `cell_nodes`.",
        )
        .example_after(CELL, "assert(cell.sizes.nodes == 4);");
    library
        .property("code", |cell: CodedCell| Ok(List(cell.code().to_vec())))
        .doc("The number of the choice for each decision of its space.")
        .example_after(CELL, "assert(cell.code == [2, 0]);");
    library
        .property("words", |cell: CodedCell| {
            Ok(List(cell.space().words(cell.code())?.into_iter().map(String::from).collect()))
        })
        .doc("What its code says, decision by decision.")
        .example_after(CELL, r#"assert(cell.words == ["conv_3 0", "terminal"]);"#);
    let pair = [TypeId::of::<CodedCell>(), TypeId::of::<CodedCell>()];
    library
        .operator("==", &[&pair], |a: CodedCell, b: CodedCell| Ok(a == b))
        .doc("Whether two coded genotypes are one code of one space.")
        .example_after(CELL, "assert(cell == coded_genotype(`${cell}`));");
    library
        .operator("!=", &[&pair], |a: CodedCell, b: CodedCell| Ok(a != b))
        .doc("Whether two coded genotypes differ in code or space.")
        .example_after(CELL, "assert(cell != cell.space.genotype([1, 0]));");
}
