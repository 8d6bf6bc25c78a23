//! Search spaces as values: counts, cells drawn at random, mutations, codes, and cells that do not belong.

use crate::in_scripts::{refused, runs};
use candlewick::random::Seed;
use candlewick::space::spaces::{Change, INPUT, NAMES, OP, Sizes};
use candlewick::space::{CellKind, CellSpace, Genotype, catalogue};
use std::collections::BTreeSet;

fn space(name: &str) -> CellSpace {
    CellSpace::named(name, Sizes::default()).unwrap()
}

fn sized(name: &str, nodes: usize) -> CellSpace {
    CellSpace::named(name, Sizes { nodes: Some(nodes), ..Sizes::default() }).unwrap()
}

/// Counts that no float holds exactly agree but for rounding.
#[track_caller]
fn same(count: f64, expected: f64) {
    assert!((count / expected - 1.0).abs() < 1e-12, "{count} {expected}");
}

#[test]
fn counts_are_the_literature_s() {
    // Liu et al. 2019, section 2: Π k(k + 1)/2 · 7² for k = 1 … 4, and two cells.
    let of_darts = 1_037_664_180.0_f64;
    same(space("darts").count(), of_darts * of_darts);
    // Liu et al. 2018 (PNAS), section 3.1: 256 blocks, of which 136 are distinct; 5.6 · 10¹⁴ cells.
    let blocks = sized("pnas", 1);
    assert_eq!(blocks.count(), 256.0);
    let mut distinct: Vec<Genotype> = Vec::new();
    for code in blocks.all(256).unwrap() {
        let cell = blocks.genotype(&code).unwrap();
        if !distinct.contains(&cell) {
            distinct.push(cell);
        }
    }
    assert_eq!(distinct.len(), 136);
    same(space("pnas").count(), 518_400.0 * 8f64.powi(10));
    same(space("amoebanet").count(), space("pnas").count().powi(2));
    same(space("nasnet").count(), (518_400.0 * 13f64.powi(10)).powi(2));
    same(space("enas").count(), (518_400.0 * 5f64.powi(10)).powi(2));
    // Dong and Yang 2020.
    assert_eq!(space("nasbench201").count(), 15_625.0);
    // Six motifs of six edges and ten edges between motifs, seven choices each.
    same(space("hierarchical").count(), 7f64.powi(36) * 7f64.powi(10));
}

#[test]
fn counts_are_those_of_all_cells() {
    let hierarchical = Sizes { nodes: Some(2), motifs: Some(2), cell_nodes: Some(3) };
    let spaces = [
        sized("darts", 1),
        sized("pnas", 1),
        sized("enas", 1),
        sized("nasbench201", 3),
        sized("nasbench201", 4),
        sized("blockqnn", 1),
        sized("blockqnn", 2),
        sized("blockqnn", 3),
        CellSpace::named("hierarchical", hierarchical).unwrap(),
        CellSpace::of_operations(2, vec!["skip_connect".into(), "conv_3x3".into()]).unwrap(),
    ];
    for space in spaces {
        let all: BTreeSet<Vec<usize>> = space.all(100_000).unwrap().into_iter().collect();
        assert_eq!(all.len() as f64, space.count(), "{}", space.name());
        for code in &all {
            space.check(code).unwrap();
        }
    }
    // A block of up to two layers by hand: 8 layers on the input; behind each the end, 8 · 2 layers on one before, and
    // two joins of both.
    assert_eq!(sized("blockqnn", 1).count(), 8.0);
    assert_eq!(sized("blockqnn", 2).count(), 8.0 * (1.0 + 16.0 + 2.0));
}

#[test]
fn cells_drawn_at_random_lie_inside_and_mutations_change_one_thing() {
    for name in NAMES {
        let space = space(name);
        let mut seen = BTreeSet::new();
        for step in 0..60 {
            let mut rng = Seed(1).rng("cells", step);
            let code = space.random(&mut rng);
            space.check(&code).unwrap();
            let mutant = space.mutate(&code, Change::Any, &mut rng).unwrap();
            space.check(&mutant).unwrap();
            let common = code.len().min(mutant.len());
            let changed: Vec<usize> = (0..common).filter(|&index| code[index] != mutant[index]).collect();
            assert_eq!(changed.len(), 1, "{name}: {code:?} {mutant:?}");
            seen.insert(space.decisions()[changed[0]].group);
            if space.cells().is_some() {
                let (one, other) = (space.genotype(&code).unwrap(), space.genotype(&mutant).unwrap());
                assert_eq!(space.code(&one).unwrap(), code);
                let differing = CellKind::BOTH.map(|kind| {
                    let pairs = one.edges(kind).iter().zip(other.edges(kind));
                    pairs.map(|(a, b)| usize::from(a.operation != b.operation) + usize::from(a.input != b.input)).sum()
                });
                let wanted: [usize; 2] = if name == "pnas" { [1, 1] } else { differing.map(|n: usize| n.min(1)) };
                // Of a pair of states that is listed in order, the other may move to the other edge.
                assert!(differing.iter().sum::<usize>() <= 2, "{name}: {one} {other}");
                assert_eq!(wanted.iter().sum::<usize>(), if name == "pnas" { 2 } else { 1 });
            }
        }
        let of_cells = space.cells().map(|cells| if cells.one_cell { 2 } else { 4 });
        assert_eq!(seen.len(), of_cells.unwrap_or(if name == "hierarchical" { 7 } else { 1 }), "{name}: {seen:?}");
    }
}

#[test]
fn a_mutation_is_of_the_kind_that_was_asked_for() {
    let space = space("amoebanet");
    for (change, kind) in [(Change::Input, INPUT), (Change::Op, OP)] {
        for step in 0..20 {
            let mut rng = Seed(2).rng("cells", step);
            let code = space.random(&mut rng);
            let mutant = space.mutate(&code, change, &mut rng).unwrap();
            let changed = (0..code.len()).find(|&index| code[index] != mutant[index]).unwrap();
            assert_eq!(space.decisions()[changed].group[2], kind);
        }
    }
}

#[test]
fn published_cells_lie_in_their_spaces() {
    for (name, cell) in [("darts", "DARTS_V1"), ("darts", "DARTS_V2"), ("nasnet", "NASNet"), ("amoebanet", "AmoebaNet")]
    {
        let cell = catalogue::genotype(cell).unwrap();
        let space = space(name);
        let code = space.code(&cell).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = space.genotype(&code).unwrap();
        for kind in CellKind::BOTH {
            let sorted = |genotype: &Genotype| {
                let mut edges = genotype.edges(kind).to_vec();
                edges.sort();
                edges
            };
            assert_eq!(sorted(&again), sorted(&cell));
        }
    }
    space("enas").code(&catalogue::genotype("ENAS_micro_official_arc").unwrap()).unwrap();
}

#[test]
fn one_hot_codes_have_a_one_for_each_decision() {
    runs(
        "let pnas  = space(\"pnas\", #{ nodes: 2 });
        let cells = [];
        for k in 0..5 { cells.push(random_genotype(pnas)); }
        let codes = encode(cells, pnas);
        assert(codes.shape == [5, pnas.width] && pnas.width == 2 + 8 + 2 + 8 + 3 + 8 + 3 + 8);
        assert_equal(sum(codes, 1).array(), [8.0, 8.0, 8.0, 8.0, 8.0]);
        assert_equal(codes[2], encode(cells[2], pnas));
        let block = space(\"blockqnn\", #{ nodes: 3 });
        assert(sum(encode([1, 0], block)).item() == 2.0);
        let short = space(\"darts\", #{ nodes: 2, ops: [\"conv_3x3\", \"noise\"] });
        assert(short.count == 16 * 16 * 9 && mutate(random_genotype(short), short, #{ stay: 1.0 }).normal.len() == 4);",
    );
}

#[test]
fn what_lies_outside_is_refused_by_edge_and_op() {
    let outside = |space: &str, cell: &str, parts: &[&str]| refused(&format!("{space}.code({cell});"), parts);
    outside(
        "space(\"enas\")",
        "genotype(\"NASNet\")",
        &[
            "not a cell of the space \"enas\"",
            "reduce, ('sep_conv_7x7', 0) into state 2",
            "its operations are sep_conv_3x3",
        ],
    );
    outside("space(\"darts\", #{ nodes: 3 })", "genotype(\"DARTS_V2\")", &["normal, (", "into state 5", "3 nodes"]);
    outside("space(\"darts\", #{ nodes: 5 })", "genotype(\"DARTS_V2\")", &["state 6 has 0 edges"]);
    outside("space(\"pnas\", #{ nodes: 4 })", "genotype(\"DARTS_V2\")", &["one cell serves"]);
    let same =
        "genotype(#{ normal: [[\"conv_3x3\", 0], [\"conv_3x3\", 0]], reduce: [[\"conv_3x3\", 0], [\"conv_3x3\", 1]] })";
    outside(
        "space(\"darts\", #{ nodes: 1, ops: [\"conv_3x3\"] })",
        same,
        &["normal, ('conv_3x3', 0) into state 2", "two different states"],
    );
    outside("space(\"nasbench201\")", "[0, 1, 2, 3, 4, 5]", &["from node 2 to node 3 cannot be 5", "0 to 4"]);
    outside("space(\"nasbench201\")", "[0, 1]", &["its code has 2 of 6 numbers"]);
    outside("space(\"blockqnn\")", "[0]", &["layer 1 cannot be 0"]);
    outside("space(\"blockqnn\")", "[1, 0, 1]", &["layer 2 ends it, but its code goes on"]);
    refused("space(\"nasbench\");", &["no space \"nasbench\"", "nasbench201"]);
    refused("space(\"darts\", #{ motifs: 3 });", &["has no motifs"]);
    refused("space(\"enas\", #{ ops: [\"noise\"] });", &["operations of the space \"enas\" are given"]);
    refused("space(\"darts\").all();", &["too many to list"]);
    refused("mutate([1, 0], space(\"blockqnn\"), #{ change: \"input\" });", &["nothing of that kind to change"]);
    refused("space(\"nasbench201\").genotype([0, 0, 0, 0, 0, 5]);", &["from node 2 to node 3 cannot be 5"]);
}

#[test]
fn tables_are_read_and_written() {
    runs(
        "save_table(\"t.csv\", [\"cell\", \"accuracy\"], [
            #{ cell: \"(a, b)\", accuracy: 0.25 }, #{ cell: \"|c~0|\", accuracy: 1 },
        ]);
        let rows = load_table(\"t.csv\");
        assert(rows.len() == 2 && rows[0].cell == \"(a, b)\" && rows[0].accuracy == 0.25 && rows[1].accuracy == 1.0);",
    );
    refused("save_table(\"t.csv\", [\"a\"], [#{ b: 1 }]);", &["row 0 of the table has no \"a\""]);
    refused("save_table(\"t.csv\", [\"a\", \"a\"], [#{ a: 1 }]); load_table(\"t.csv\");", &["has two columns \"a\""]);
}
