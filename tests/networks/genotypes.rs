//! Genotypes survive being written and read, are read as people paste them, and are refused where they describe
//! nothing.

use super::space::failure;
use crate::shared::reference;
use candlewick::space::{CellKind, Edge, Genotype, Operations};
use serde_json::Value;

const DARTS_V2: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), \
    ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], \
    normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), \
    ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], \
    reduce_concat=range(2, 6))";

#[test]
fn a_published_genotype_prints_as_it_was_read() {
    let genotype: Genotype = DARTS_V2.parse().unwrap();
    assert_eq!(genotype.to_string(), DARTS_V2);
    let listed = DARTS_V2.replace("range(2, 6)", "[2, 3, 4, 5]");
    let again: Genotype = listed.parse().unwrap();
    assert_eq!(again.to_string(), listed);
    assert_eq!(again, genotype);
    let one_listed = DARTS_V2.replacen("range(2, 6)", "[2, 3, 4, 5]", 1);
    assert_eq!(one_listed.parse::<Genotype>().unwrap().to_string(), one_listed);
    let json: Genotype = genotype.to_json().to_string().parse().unwrap();
    assert_eq!(json.to_string(), DARTS_V2);
    let serde: Genotype = serde_json::from_str(&serde_json::to_string(&genotype).unwrap()).unwrap();
    assert_eq!(serde, genotype);
    genotype.check_operations(&Operations::new()).unwrap();
}

#[test]
fn a_genotype_is_read_as_repositories_write_it() {
    let source = r#"DARTS = Genotype(
  normal = [  # first order
    ("sep_conv_3x3", 1), ['skip_connect', 0],
  ],
  normal_concat = [2,],
  reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], reduce_concat = range(2, 3))
"#;
    let genotype: Genotype = source.parse().unwrap();
    let edge = |operation: &str, input| Edge { node: 2, operation: operation.into(), input };
    assert_eq!(genotype.edges(CellKind::Normal), [edge("sep_conv_3x3", 1), edge("skip_connect", 0)]);
    assert_eq!(genotype.concat(CellKind::Reduction), [2]);
}

#[test]
fn a_genotype_is_read_as_people_paste_it() {
    let plain: Genotype = "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('max_pool_3x3', 2), \
        ('sep_conv_5x5', 0)], normal_concat=range(2, 4), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], \
        reduce_concat=range(2, 3))"
        .parse()
        .unwrap();
    let text = plain.to_string();
    let nested =
        text.replace("0), ('max_pool_3x3', 2)", "0)], [('max_pool_3x3', 2)").replace("normal=[(", "normal=[[(");
    let nested = nested.replace("('sep_conv_5x5', 0)]", "('sep_conv_5x5', 0)]]");
    let numpy = text.replace("', 1)", "', np.int64(1))").replace("', 0)", "', numpy.int32(0))");
    for pasted in [
        nested.clone(),
        numpy,
        text.replace("range(2, 4)", "list(range(2, 4))").replace("range(2, 3)", "tuple(range(2, 3))"),
        format!("2019-05-01 12:00:01,234 INFO genotype = {text}"),
        format!(
            "PRIMITIVES = ['none']\nGenotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')\n\
                 DARTS_V1 = {text}\n\nDARTS = DARTS_V1\n"
        ),
    ] {
        let read: Genotype = pasted.parse().unwrap_or_else(|error| panic!("{pasted}: {error}"));
        assert_eq!(read, plain, "{pasted}");
    }
    // A state with another number of edges than two makes the list one of triples.
    let three: Genotype = nested.replace("[('max_pool_3x3', 2), ", "[").parse().unwrap();
    let nodes: Vec<_> = three.edges(CellKind::Normal).iter().map(|edge| (edge.node, edge.input)).collect();
    assert_eq!(nodes, [(2, 1), (2, 0), (3, 0)]);
}

#[test]
fn texts_of_another_form_are_refused_by_its_name() {
    let refused = |text: &str| failure(text.parse::<Genotype>());
    let error = refused("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|");
    assert!(error.message.contains("NAS-Bench-201") && error.hint.unwrap().contains("reduction cell"));
    let two = format!("A = {DARTS_V2}\nB = {DARTS_V2}");
    assert!(refused(&two).message.contains("more than one Genotype"));
    let error = refused(&DARTS_V2.replacen("range(2, 6)", "sorted([2, 3])", 1));
    assert!(error.message.contains("in place of sorted("), "{error}");
    assert!(refused(&DARTS_V2.replacen("range(2, 6)", "int(range(2, 6))", 1)).message.contains("what int(…) takes"));
    assert!(refused("PC_DARTS = Genotypes()").message.contains("expected \"Genotype(\""));
}

#[test]
fn the_order_within_a_node_does_not_make_another_genotype() {
    let genotype: Genotype = DARTS_V2.parse().unwrap();
    let swapped =
        DARTS_V2.replacen("('sep_conv_3x3', 0), ('sep_conv_3x3', 1)", "('sep_conv_3x3', 1), ('sep_conv_3x3', 0)", 1);
    let swapped: Genotype = swapped.parse().unwrap();
    assert_eq!(genotype, swapped);
    assert_ne!(genotype.to_string(), swapped.to_string());
    let other: Genotype = DARTS_V2.replacen("dil_conv_3x3", "dil_conv_5x5", 1).parse().unwrap();
    assert_ne!(genotype, other);
}

#[test]
fn lists_of_edges_have_any_number_of_them_into_a_node() {
    let text = "Genotype(normal=[('sep_conv_3x3', 2, 0), ('max_pool_3x3', 2, 0), ('skip_connect', 4, 3), \
                ('none', 5, 1)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 2, 1)], reduce_concat=[2])";
    let genotype: Genotype = text.parse().unwrap();
    assert_eq!(genotype.to_string(), text);
    assert_eq!(genotype.nodes(CellKind::Normal), [2, 5], "state 3 has no edge, so 4 has none that exists");
    assert!(!genotype.is_paired(CellKind::Normal));
    let json: Genotype = genotype.to_json().to_string().parse().unwrap();
    assert_eq!(json, genotype);
    let other = "Genotype(normal=[('none', 5, 1), ('max_pool_3x3', 2, 0), ('sep_conv_3x3', 2, 0)], \
                 normal_concat=[2, 5], reduce=[('max_pool_3x3', 2, 1)], reduce_concat=range(2, 3))";
    assert_eq!(other.parse::<Genotype>().unwrap(), genotype, "the order of edges and edges from nowhere do not count");
    let pairs: Genotype = DARTS_V2.parse().unwrap();
    let triples = |kind| {
        let edge = |e: &Edge| format!("('{}', {}, {})", e.operation, e.node, e.input);
        pairs.edges(kind).iter().map(edge).collect::<Vec<_>>().join(", ")
    };
    let spelt = format!(
        "Genotype(normal=[{}], normal_concat=range(2, 6), reduce=[{}], reduce_concat=range(2, 6))",
        triples(CellKind::Normal),
        triples(CellKind::Reduction)
    );
    let spelt: Genotype = spelt.parse().unwrap();
    assert_eq!(spelt, pairs);
    assert_ne!(spelt.to_string(), pairs.to_string());

    let refused = |from: &str, to: &str| failure(text.replacen(from, to, 1).parse::<Genotype>());
    assert!(refused("2, 0)", "2, 2)").message.contains("feeds state 2"));
    assert!(refused("2, 0)", "1, 0)").message.contains("feeds an input"));
    assert!(refused("2, 0)", "0)").message.contains("mixes"));
    assert!(refused("reduce_concat=[2]", "reduce_concat=[3]").message.contains("no state of reduce_concat"));
    assert!(refused("5, 1)", "5000000, 1)").message.contains("more than"));
    assert!(refused("('none', 5, 1)", "('none', 5, 1, 1)").message.contains("an edge is"));
}

#[test]
fn genotypes_that_describe_no_network_are_refused() {
    let refused = |from: &str, to: &str| failure(DARTS_V2.replacen(from, to, 1).parse::<Genotype>());
    assert!(refused("('sep_conv_3x3', 0), ", "").message.contains("7 pairs"));
    let error = refused("('sep_conv_3x3', 0)", "('sep_conv_3x3', 2)");
    assert!(error.message.contains("feeds state 2"), "{error}");
    assert!(refused("range(2, 6)", "range(2, 7)").message.contains("state 6"));
    assert!(refused("range(2, 6)", "[2, 2]").message.contains("twice"));
    assert!(refused("range(2, 6)", "[]").message.contains("empty"));
    assert!(refused("reduce_concat", "reduce_concatenation").message.contains("reduce_concat"));
    assert!(refused("), (", ") (").message.contains("expected"));
    for text in ["", "Genotype", "{", "Genotype(normal=", "Genotype(normal=['a", &"[".repeat(100_000)] {
        assert!(text.parse::<Genotype>().is_err(), "{text:.20}");
    }
    let nested = format!("Genotype(normal={}", "[".repeat(100_000));
    assert!(failure(nested.parse::<Genotype>()).message.contains("nested"));
    let misspelt: Genotype = DARTS_V2.replacen("skip_connect", "skip_conect", 1).parse().unwrap();
    let error = failure(misspelt.check_operations(&Operations::new()));
    assert_eq!(error.hint.unwrap(), "did you mean \"skip_connect\"?");
}

#[test]
fn every_published_genotype_makes_the_round_trip() {
    let Some(file) = reference("spec/genotypes.json") else { return };
    let spec: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let entries = |section: &str| spec[section].as_object().unwrap().clone();
    assert!(entries("cnn").len() > 100);
    for (name, entry) in &entries("cnn").into_iter().chain(entries("cnn_edge_lists")).collect::<Vec<_>>() {
        let genotype: Genotype = entry.to_string().parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        let printed = genotype.to_string();
        let again: Genotype = printed.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(again, genotype, "{name}");
        assert_eq!(again.to_string(), printed, "{name}");
        for field in ["normal", "normal_concat", "reduce", "reduce_concat"] {
            assert_eq!(genotype.to_json()[field], entry[field], "{name} {field}");
        }
    }
}
