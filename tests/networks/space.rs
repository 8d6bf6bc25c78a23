//! The search space: counts equal the published ones, names are the reference's, derivation follows the rule to its
//! ties, and what does not fit is refused with a reason.

use crate::shared::reference;
use candlewick::graph::{Graph, Shape};
use candlewick::space::cell::{edge_count, incoming};
use candlewick::space::derive::derive_cell;
use candlewick::space::{
    Cost, DARTS_OPS, Masks, NormStyle, Operation, Operations, Pair, Space, Supernet, SupernetOptions, Target,
};
use serde_json::Value;

fn cifar() -> SupernetOptions<'static> {
    SupernetOptions::new(Shape::new(3, 32, 32), 10)
}

fn names(ops: &[&str]) -> Vec<String> {
    ops.iter().map(ToString::to_string).collect()
}

pub fn failure<T>(result: candlewick::Result<T>) -> candlewick::Error {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error,
    }
}

#[test]
fn the_search_network_has_the_published_counts() {
    let graph = Supernet::build(&cifar()).unwrap().graph;
    assert_eq!(graph.parameters(), 1_930_618);
    assert_eq!(graph.macs(), 300_255_744);
    assert_eq!(graph.weights().len(), 1399);
    let layers = [
        ("stem", 1392, 1_327_104),
        ("cells.0", 45_888, 46_989_312),
        ("cells.1", 46_144, 47_251_456),
        ("cells.2", 144_000, 40_009_728),
        ("cells.3", 137_856, 35_291_136),
        ("cells.4", 139_904, 35_815_424),
        ("cells.5", 484_608, 34_160_640),
        ("cells.6", 460_032, 29_442_048),
        ("cells.7", 468_224, 29_966_336),
        ("head", 2570, 2560),
    ];
    for (scope, parameters, macs) in layers {
        assert_eq!(graph.parameters_below(scope), parameters, "{scope}");
        // The linear layer's node stands in the root scope: its weights bear the name.
        if scope != "head" {
            assert_eq!(graph.macs_below(scope), macs, "{scope}");
        }
    }
}

#[test]
fn smaller_search_networks_have_the_counted_weights() {
    for (channels, layers, parameters) in
        [(4, 5, 136_182), (8, 5, 394_210), (8, 8, 597_890), (16, 5, 1_275_834), (16, 8, 1_930_618)]
    {
        let options = SupernetOptions { channels, layers, ..cifar() };
        assert_eq!(Supernet::build(&options).unwrap().graph.parameters(), parameters, "C={channels} L={layers}");
    }
}

/// Weights and multiply-adds of one operation alone.
fn counts(operation: &Operation<'_>, channels: usize, size: usize, stride: usize, norms: NormStyle) -> (usize, usize) {
    let mut graph = Graph::new(channels, size, size);
    let input = graph.input();
    operation.apply(&mut graph, input, Target { channels, stride, norms }).unwrap();
    (graph.parameters(), graph.macs())
}

#[test]
fn every_operation_has_its_counted_weights() {
    // name, non-affine at stride 1, affine at stride 1, non-affine at stride 2; then multiply-adds at strides 1 and 2
    // of 16 channels of 32×32
    let table = [
        ("none", 0, 0, 0, 0, 0),
        ("max_pool_3x3", 0, 0, 0, 0, 0),
        ("avg_pool_3x3", 0, 0, 0, 0, 0),
        ("skip_connect", 0, 0, 256, 0, 65_536),
        ("sep_conv_3x3", 800, 864, 800, 819_200, 204_800),
        ("sep_conv_5x5", 1312, 1376, 1312, 1_343_488, 335_872),
        ("dil_conv_3x3", 400, 432, 400, 409_600, 102_400),
        ("dil_conv_5x5", 656, 688, 656, 671_744, 167_936),
        ("sep_conv_7x7", 2080, 2144, 2080, 2_129_920, 532_480),
        ("conv_1x1", 256, 288, 256, 262_144, 65_536),
        ("conv_3x3", 2304, 2336, 2304, 2_359_296, 589_824),
        ("max_pool_5x5", 0, 0, 0, 0, 0),
        ("max_pool_7x7", 0, 0, 0, 0, 0),
        ("conv_7x1_1x7", 3584, 3616, 3584, 3_670_016, 1_376_256),
        ("conv_3x1_1x3", 1536, 1568, 1536, 1_572_864, 589_824),
        ("dil_sep_conv_5x5", 1312, 1376, 1312, 1_343_488, 335_872),
        ("noise", 0, 0, 0, 0, 0),
    ];
    let registry = Operations::new();
    assert_eq!(registry.names().take(8).collect::<Vec<_>>(), DARTS_OPS);
    // And one that has no stride 1.
    assert_eq!(registry.names().count(), table.len() + 1);
    let pool = registry.get("max_pool_2x2").unwrap();
    assert_eq!(counts(pool, 16, 32, 2, NormStyle::Evaluation), (0, 0));
    let mut graph = Graph::new(16, 32, 32);
    let target = Target { channels: 16, stride: 1, norms: NormStyle::Search };
    let input = graph.input();
    let error = failure(pool.apply(&mut graph, input, target));
    assert!(error.to_string().contains("cannot keep their size"), "{error}");
    for (name, plain, affine, halved, macs, halved_macs) in table {
        let operation = registry.get(name).unwrap();
        assert_eq!(counts(operation, 16, 32, 1, NormStyle::Search), (plain, macs), "{name}");
        assert_eq!(counts(operation, 16, 32, 1, NormStyle::Evaluation), (affine, macs), "{name}");
        assert_eq!(counts(operation, 16, 32, 2, NormStyle::Search), (halved, halved_macs), "{name}");
    }
}

#[test]
fn every_operation_agrees_with_the_reference_tables() {
    let Some(file) = reference("spec/params.json") else { return };
    let spec: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let registry = Operations::new();
    let mut compared = 0;
    for (key, table) in spec["ops_params"].as_object().unwrap() {
        let [channels, stride, affine] = key.split('_').collect::<Vec<_>>()[..] else { panic!("{key}") };
        let channels = channels[1..].parse().unwrap();
        let stride = stride["stride".len()..].parse().unwrap();
        let norms = if affine == "affine" { NormStyle::Evaluation } else { NormStyle::Search };
        for operation in registry.iter() {
            let Some(expected) = table[operation.name()].as_u64().map(|n| n as usize) else { continue };
            assert_eq!(counts(operation, channels, 8, stride, norms).0, expected, "{key} {operation:?}");
            compared += 1;
        }
    }
    for (key, table) in spec["ops_macs"].as_object().unwrap() {
        let [channels, size, stride] = key.split('_').collect::<Vec<_>>()[..] else { panic!("{key}") };
        let channels = channels[1..].parse().unwrap();
        let size = size["in".len()..].split('x').next().unwrap().parse().unwrap();
        let stride = stride["stride".len()..].parse().unwrap();
        for operation in registry.iter() {
            let Some(expected) = table[operation.name()].as_u64().map(|n| n as usize) else { continue };
            assert_eq!(counts(operation, channels, size, stride, NormStyle::Search).1, expected, "{key} {operation:?}");
            compared += 1;
        }
    }
    let search = &spec["search_supernet_C16_L8"];
    let graph = Supernet::build(&cifar()).unwrap().graph;
    assert_eq!(graph.parameters() as u64, search["weights"].as_u64().unwrap());
    assert_eq!(graph.macs() as u64, search["macs"]["total"].as_u64().unwrap());
    assert!(compared > 50);
}

#[test]
fn costs_are_the_share_of_every_candidate_over_all_cells_of_a_kind() {
    let Supernet { graph, space } = Supernet::build(&cifar()).unwrap();
    let macs = space.costs(&graph, Cost::Macs);
    // sep_conv_3x3 on edge 0: two cells of 16 channels, two of 32, two of 64.
    assert_eq!(macs.normal[0][4], 2 * (819_200 + 671_744 + 598_016));
    assert_eq!(macs.normal[0][0], 0);
    // Stride 2 from a cell input, 32 channels of 16×16 and 64 of 8×8 come out.
    assert!(macs.reduce[0][3] > 0 && macs.reduce[2][3] > 0);
    assert_eq!(macs.reduce[4][3], 0, "the skip connection from an inner node is an identity");
    let parameters = space.costs(&graph, Cost::Parameters);
    let total: usize = parameters.normal.iter().chain(&parameters.reduce).flatten().sum();
    assert_eq!(total, 2 * (44_352 + 131_712 + 435_456) + 139_904 + 468_224);
    assert!(failure(Cost::named("mac")).hint.unwrap().contains("macs"));
}

#[test]
fn weights_bear_the_names_and_shapes_of_the_reference() {
    for (file, channels, layers, nodes) in
        [("fixtures/cnn-c4-l3-n2.safetensors", 4, 3, 2), ("fixtures/cnn-c8-l6-n4.safetensors", 8, 6, 4)]
    {
        let Some(path) = reference(file) else { continue };
        let bytes = std::fs::read(path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let input = tensors.tensor("train.x").unwrap().shape().to_vec();
        let options = SupernetOptions {
            channels,
            layers,
            nodes,
            ..SupernetOptions::new(Shape::new(input[1], input[2], input[3]), 10)
        };
        let graph = Supernet::build(&options).unwrap().graph;
        let mut ours: Vec<_> = graph.weights().iter().map(|w| (w.name.clone(), w.shape.clone())).collect();
        let mut theirs: Vec<_> = tensors
            .names()
            .into_iter()
            .filter_map(|name| {
                let weight = name.strip_prefix("param.").filter(|name| !name.starts_with("alpha"))?;
                Some((weight.to_string(), tensors.tensor(name).unwrap().shape().to_vec()))
            })
            .collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{file}");
    }
}

#[test]
fn every_kind_has_one_slot_block_whatever_the_depth() {
    let options = SupernetOptions { layers: 3, nodes: 2, reductions: Some(vec![]), ..cifar() };
    let graph = Supernet::build(&options).unwrap().graph;
    let blocks: Vec<_> = graph.slot_blocks().iter().map(|b| (b.name.as_str(), b.rows, b.columns)).collect();
    assert_eq!(blocks, [("normal", 5, 8), ("reduce", 5, 8)]);
}

#[test]
fn masks_leave_candidates_out_of_the_graph() {
    let mut mask = vec![vec![true; 8]; edge_count(2)];
    mask[0] = vec![false; 8];
    mask[1][5] = false;
    let masks = Masks { normal: Some(mask), reduce: None };
    let base = SupernetOptions { channels: 4, layers: 3, nodes: 2, ..cifar() };
    let whole = Supernet::build(&base).unwrap();
    let masked = Supernet::build(&SupernetOptions { masks: masks.clone(), ..base.clone() }).unwrap();
    assert_eq!(masked.graph.slot_count(), whole.graph.slot_count());
    let costs = masked.space.costs(&masked.graph, Cost::Parameters);
    assert!(costs.normal[0].iter().all(|&cost| cost == 0));
    assert_eq!(costs.normal[1][5], 0);
    assert!(costs.normal[1][4] > 0);
    let node = whole.graph.parameters() - masked.graph.parameters();
    let left_out = whole.space.costs(&whole.graph, Cost::Parameters).normal;
    assert_eq!(node, left_out[0].iter().sum::<usize>() + left_out[1][5]);

    let mut nothing = vec![vec![true; 8]; edge_count(2)];
    nothing[0] = vec![false; 8];
    nothing[1] = vec![false; 8];
    let masks = Masks { normal: Some(nothing), reduce: None };
    let error = failure(Supernet::build(&SupernetOptions { masks, ..base.clone() }));
    assert!(error.message.contains("node 0"), "{error}");
    let masks = Masks { normal: Some(vec![vec![true; 8]; 4]), reduce: None };
    assert!(failure(Supernet::build(&SupernetOptions { masks, ..base })).message.contains("5 edges"));
}

#[test]
fn odd_sizes_name_the_reduction_that_cannot_halve_them() {
    let options = SupernetOptions { ..SupernetOptions::new(Shape::new(1, 14, 14), 10) };
    let error = failure(Supernet::build(&options));
    assert!(error.message.contains("cell 5 (reduction)") && error.message.contains("7×7"), "{error}");
    assert!(error.hint.unwrap().contains("multiples of 4"));
    let options = SupernetOptions { reductions: Some(vec![2]), ..options };
    assert!(Supernet::build(&options).is_ok());
    let error = failure(Supernet::build(&SupernetOptions { reductions: Some(vec![8]), ..options }));
    assert!(error.message.contains("cell 8"), "{error}");
}

#[test]
fn zero_options_are_refused_by_name() {
    let error = failure(Supernet::build(&SupernetOptions { nodes: 0, ..cifar() }));
    assert!(error.message.contains("nodes"), "{error}");
}

#[test]
fn operations_are_found_by_name_and_misspellings_corrected() {
    let registry = Operations::new();
    let error = failure(registry.select(["sep_conv_3x3", "skip_conect"]));
    assert_eq!(error.hint.unwrap(), "did you mean \"skip_connect\"?");
    assert!(failure(registry.select(["none", "none"])).message.contains("twice"));
}

#[test]
fn a_new_operation_stands_beside_the_built_in_ones() {
    let mut registry = Operations::new();
    let wide = Operation::new("conv_1x3", "a wide convolution", |g, x, place| {
        let y = g.relu(x);
        let y = g.depthwise("1", y, 3, place.stride, 1)?;
        g.batch_norm("2", y, place.norms.affine())
    });
    registry.define(wide.clone()).unwrap();
    assert!(failure(registry.define(wide)).message.contains("already"));
    let operations = registry.select(["none", "conv_1x3"]).unwrap();
    let supernet = Supernet::build(&SupernetOptions { operations, channels: 4, layers: 3, ..cifar() }).unwrap();
    assert!(supernet.graph.weight("cells.0.edges.0.ops.1.1.weight").is_some());

    let keeps = Operation::new("keeps_size", "ignores its stride", |_, x, _| Ok(x));
    let error =
        failure(Supernet::build(&SupernetOptions { operations: vec![keeps], channels: 4, layers: 3, ..cifar() }));
    assert!(error.message.contains("keeps_size") && error.message.contains("stride 2"), "{error}");
}

#[test]
fn edges_run_node_by_node() {
    assert_eq!((0..4).map(incoming).collect::<Vec<_>>(), [0..2, 2..5, 5..9, 9..14]);
    assert_eq!(edge_count(4), 14);
}

fn darts_space() -> Space {
    Supernet::build(&SupernetOptions { channels: 2, layers: 3, ..cifar() }).unwrap().space
}

#[test]
fn equal_alphas_give_the_first_predecessors_and_the_first_real_operation() {
    let even = vec![vec![0.125; 8]; 14];
    let genotype = darts_space().derive(&even, &even).unwrap();
    let pair = |input| format!("('max_pool_3x3', {input})");
    let list = [pair(0), pair(1)].join(", ");
    let list = [list.as_str(); 4].join(", ");
    assert_eq!(
        genotype.to_string(),
        format!("Genotype(normal=[{list}], normal_concat=range(2, 6), reduce=[{list}], reduce_concat=range(2, 6))")
    );
}

#[test]
fn none_is_never_chosen_but_weakens_its_edge() {
    let mut rows = vec![vec![0.93, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]; 14];
    // Node 1 (rows 2 to 4): state 2 strongest, then state 1.
    rows[3] = vec![0.7, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0];
    rows[4] = vec![0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.1];
    let pairs = derive_cell(&rows, &names(&DARTS_OPS), 4, None).unwrap();
    assert!(pairs.iter().all(|pair| pair.operation() != "none"));
    assert_eq!(pairs[2..4], [Pair::new("dil_conv_3x3", 2), Pair::new("sep_conv_3x3", 1)]);
}

#[test]
fn the_rule_works_without_none_and_within_masks() {
    let operations = names(&["sep_conv_3x3", "skip_connect"]);
    let rows = vec![vec![0.6, 0.4], vec![0.3, 0.7]];
    let pairs = derive_cell(&rows, &operations, 1, None).unwrap();
    assert_eq!(pairs, [Pair::new("skip_connect", 1), Pair::new("sep_conv_3x3", 0)]);
    let mask = vec![vec![false, true], vec![true, false]];
    let pairs = derive_cell(&rows, &operations, 1, Some(&mask)).unwrap();
    assert_eq!(pairs, [Pair::new("skip_connect", 0), Pair::new("sep_conv_3x3", 1)]);
    let mask = vec![vec![false, true], vec![false, false]];
    assert!(failure(derive_cell(&rows, &operations, 1, Some(&mask))).message.contains("only 1"));
    assert!(failure(derive_cell(&rows, &operations, 2, None)).message.contains("5 edges"));
    let broken = vec![vec![f64::NAN, 0.4], vec![0.3, 0.7]];
    assert!(failure(derive_cell(&broken, &operations, 1, None)).message.contains("not finite"));
}
