//! Cells that are codes with their space: read, written, drawn, kept by a run.

use crate::in_scripts::{refused, runs};
use candlewick::space::spaces::{Decision, Part, Sizes};
use candlewick::space::{CellSpace, CodedCell};

fn cell(text: &str) -> CodedCell {
    CodedCell::parse(text).expect(text)
}

fn edges(part: &Part) -> Vec<(&str, usize, usize)> {
    part.edges.iter().map(|edge| (edge.operation.as_str(), edge.input, edge.node)).collect()
}

#[test]
fn a_cell_is_read_as_it_is_written() {
    let texts = [
        "Genotype(space='nasbench201', nodes=4, code=[3, 0, 1, 2, 4, 3])",
        "Genotype(space='blockqnn', nodes=3, code=[2, 0])",
        "Genotype(space='hierarchical', motifs=1, nodes=3, cell_nodes=2, code=[1, 0, 3, 1])",
    ];
    for text in texts {
        let cell = cell(text);
        assert_eq!(cell.to_string(), text);
        assert_eq!(CodedCell::parse(&cell.to_json().to_string()).expect("JSON"), cell);
    }
    let sized = cell("Genotype(space='nasbench201', code=[0, 0, 0, 0, 0, 0])");
    assert_eq!(sized, cell("Genotype(space='nasbench201', nodes=4, code=[0, 0, 0, 0, 0, 0])"));
}

#[test]
fn parts_are_the_graphs_of_the_code() {
    let bench = cell("Genotype(space='nasbench201', code=[3, 0, 1, 2, 0, 0])").parts();
    assert_eq!(edges(&bench[0]), [("conv_3x3", 0, 1), ("skip_connect", 1, 2), ("conv_1x1", 0, 3)]);
    assert_eq!((bench.len(), bench[0].ends.as_slice()), (1, [3].as_slice()));
    let blocks = CellSpace::named("blockqnn", Sizes { nodes: Some(3), ..Sizes::default() }).unwrap();
    let words = ["conv_3 0", "max_3 0", "add 0 1"];
    let choice = |(decision, word): (&Decision, &str)| decision.choices.iter().position(|choice| choice == word);
    let code: Option<Vec<usize>> = blocks.decisions().iter().zip(words).map(choice).collect();
    let block = CodedCell::new(blocks, code.unwrap()).unwrap().parts();
    assert_eq!(edges(&block[0]), [("conv_3", 0, 1), ("max_3", 0, 2), ("add", 0, 3), ("add", 1, 3)]);
    assert_eq!(block[0].ends, [2, 3]);
    let motifs = cell("Genotype(space='hierarchical', motifs=2, nodes=2, cell_nodes=3, code=[2, 3, 1, 0, 2])");
    let motifs = motifs.parts();
    let titles: Vec<&str> = motifs.iter().map(|part| part.title.as_str()).collect();
    assert_eq!(titles, ["Motif 0", "Motif 1", "Cell"]);
    assert_eq!(edges(&motifs[1]), [("depthwise_3x3", 0, 1)]);
    assert_eq!(edges(&motifs[2]), [("motif 0", 0, 1), ("motif 1", 1, 2)]);
}

#[test]
fn what_is_no_cell_is_refused_by_what_it_lacks() {
    let refused = |text: &str| CodedCell::parse(text).expect_err(text).message;
    assert!(refused("Genotype(code=[1])").contains("missing field `space`"));
    assert!(refused("Genotype(space='blockqnn')").contains("missing field `code`"));
    assert!(refused("Genotype(space='blockqnn', depth=3, code=[1])").contains("unknown field `depth`"));
    assert!(refused("Genotype(space='blockqnn', code=[0])").contains("layer 1 cannot be 0"));
    assert!(refused("Genotype(space='darts', code=[0])").contains("are genotypes, not codes"));
    assert!(refused("Genotype(space='blocks', code=[1])").contains("no space \"blocks\""));
}

#[test]
fn cells_are_drawn_whatever_their_code() {
    for text in [
        "Genotype(space='nasbench201', code=[0, 0, 0, 0, 0, 0])",
        "Genotype(space='nasbench201', code=[3, 0, 1, 2, 4, 3])",
        "Genotype(space='blockqnn', nodes=3, code=[2, 0])",
        "Genotype(space='hierarchical', motifs=2, nodes=2, cell_nodes=3, code=[2, 3, 1, 0, 2])",
    ] {
        let cell = cell(text);
        let cells = candlewick::run::cells_from_genotype(&cell.to_json()).unwrap();
        assert_eq!(cells.cells.len(), cell.parts().len());
        for (drawn, part) in cells.layouts().iter().zip(cell.parts()) {
            assert_eq!(drawn.labels.len(), part.edges.len(), "{text}: every op is drawn");
        }
    }
}

#[test]
fn a_run_keeps_logs_and_reads_back_a_code_with_its_space() {
    runs(
        "let cell = space(\"hierarchical\", #{ motifs: 1, nodes: 2, cell_nodes: 2 }).genotype([2, 1]);
        let run = start_run([], #{ keep: #{ best: () } });
        for epoch in run.epochs(1) { run.kept.best = cell; run.draw(cell); }
        assert(run.kept.best == cell);
        assert(coded_genotype(`${run.folder}/journal.jsonl`) == cell);
        assert(mutate(cell, cell.space) == [2, 0] || mutate(cell, cell.space).len() == 2);",
    );
    refused(
        "encode(space(\"blockqnn\", #{ nodes: 2 }).genotype([2, 0]), space(\"blockqnn\", #{ nodes: 3 }));",
        &["this is a cell of the space \"blockqnn\""],
    );
    refused(
        "genotype(`${space(\"blockqnn\").genotype([2, 0])}`);",
        &["a code with its space, not a genotype of two cells", "coded_genotype"],
    );
}
