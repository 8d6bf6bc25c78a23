//! Charts are written whole as SVG and PNG, whatever the data, and nothing in a cell's drawing lies on anything else.

use candlewick::chart::{
    Alphas, Cell, Cells, Curves, Edge, Figure, Group, Groups, HeatMap, Matrix, Op, Palette, Panel, Rect, Series, Sheet,
    SheetItem, lay_out, png, save, state_name, svg,
};
use candlewick::run::cells_from_genotype;
use candlewick::space::{CellKind, DARTS_OPS, catalogue};
use serde_json::{Value, json};
use std::path::PathBuf;

fn ops() -> Vec<String> {
    DARTS_OPS.map(String::from).to_vec()
}

fn edges(nodes: usize) -> Vec<Edge> {
    let ends = (0..nodes).flat_map(|node| (0..node + 2).map(move |from| (from, node + 2)));
    ends.map(|(from, to)| Edge { from: state_name(from, 2), to: state_name(to, 2) }).collect()
}

/// Mixing weights that drift from even to one op an edge.
fn weights(edges: usize, time: f64) -> Vec<Vec<f64>> {
    let row = |edge: usize| {
        let raw: Vec<f64> = (0..8).map(|op| (time * ((edge * 5 + op * 3) % 8) as f64 / 4.0).exp()).collect();
        let sum: f64 = raw.iter().sum();
        raw.iter().map(|v| v / sum).collect()
    };
    (0..edges).map(row).collect()
}

fn alphas(nodes: usize, times: usize) -> Figure {
    let edges = edges(nodes);
    Figure::Alphas(Alphas {
        title: "Normal cell".into(),
        x: "epoch".into(),
        ops: ops(),
        times: (1..=times).map(|t| t as f64).collect(),
        values: (0..times).map(|t| weights(edges.len(), t as f64 / 50.0)).collect(),
        edges,
    })
}

fn heat_map(nodes: usize) -> Figure {
    let edges = edges(nodes);
    let matrix = Matrix {
        name: "Normal cell".into(),
        ops: ops(),
        values: weights(edges.len(), 1.0),
        chosen: (0..edges.len()).map(|edge| (edge % 2 == 0).then_some(edge % 8)).collect(),
        edges,
    };
    Figure::HeatMap(HeatMap { title: "Mixing weights".into(), matrices: vec![matrix.clone(), matrix] })
}

fn curve(points: Vec<(f64, f64)>) -> Figure {
    let series = Series { name: "train_loss".into(), points };
    let panel = Panel { name: "loss".into(), series: vec![series] };
    Figure::Curves(Curves { title: String::new(), x: "step".into(), counts: true, panels: vec![panel] })
}

fn cells() -> Figure {
    let op = |name: &str, from, to| Op { name: name.into(), from, to };
    let ops = vec![
        op("sep_conv_3x3", 0, 2),
        op("skip_connect", 1, 2),
        op("my_new_op", 2, 3),
        op("my_new_op", 2, 3),
        op("max_pool_3x3", 0, 3),
    ];
    Figure::Cells(Cells { title: "Found".into(), cells: vec![Cell::convolutional("Normal cell", ops, vec![2, 3])] })
}

#[test]
fn every_chart_is_written_as_svg_and_png_of_the_same_size() {
    let folder = tempfile::tempdir().unwrap();
    let figures = [
        ("alphas", alphas(4, 50)),
        ("alphas-2", alphas(2, 50)),
        ("alphas-8", alphas(8, 3)),
        ("heat", heat_map(4)),
        ("heat-5", heat_map(5)),
        ("curves", curve((0..10_000).map(|i| (f64::from(i), 2.0 / f64::from(i + 1))).collect())),
        ("cells", cells()),
    ];
    for (name, figure) in figures {
        let [svg, png] = save(&figure, &folder.path().join("plots").join(name)).unwrap();
        let (width, height) = figure.size();
        let image = image::open(&png).unwrap();
        assert_eq!((image.width(), image.height()), (2 * width as u32, 2 * height as u32), "{name}");
        let text = std::fs::read_to_string(&svg).unwrap();
        assert!(text.starts_with(&format!("<svg width=\"{width}\" height=\"{height}\"")), "{name}");
        assert!(text.trim_end().ends_with("</svg>"), "{name}");
        assert_eq!(text.matches("<text").count(), text.matches("</text>").count(), "{name}");
        assert!(text.len() < 400_000, "{name}: {} bytes of SVG", text.len());
    }
    let left: Vec<PathBuf> =
        std::fs::read_dir(folder.path().join("plots")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left.len(), 14, "nothing but the charts is left behind: {left:?}");
}

#[test]
fn a_chart_is_drawn_from_no_data_one_point_and_gaps() {
    let nan = f64::NAN;
    let mut one_edge = Alphas { title: "One edge".into(), x: "epoch".into(), ops: ops(), ..Alphas::default() };
    one_edge.edges = edges(1)[..1].to_vec();
    one_edge.times = vec![1.0, 2.0];
    one_edge.values = vec![weights(1, 0.1), vec![vec![nan; 8]]];
    let figures = [
        curve(vec![]),
        curve(vec![(0.0, 2.3)]),
        curve(vec![(0.0, nan), (1.0, nan)]),
        curve(vec![(0.0, 2.3), (1.0, nan), (2.0, f64::INFINITY), (3.0, 1.1)]),
        curve((0..1000).map(|i| (f64::from(i), if i % 100 < 30 { nan } else { 1.0 })).collect()),
        Figure::Curves(Curves::default()),
        alphas(4, 1),
        alphas(4, 0),
        Figure::Alphas(one_edge),
        Figure::HeatMap(HeatMap::default()),
        Figure::Cells(Cells::default()),
        Figure::Cells(Cells { cells: vec![Cell::convolutional("Empty", vec![], vec![])], ..Cells::default() }),
    ];
    for figure in &figures {
        assert!(image::load_from_memory(&png(figure).unwrap()).is_ok());
        assert!(!svg(figure).unwrap().contains("NaN"));
    }
}

#[test]
fn text_in_charts_may_hold_any_characters() {
    let mut figure = cells();
    if let Figure::Cells(cells) = &mut figure {
        cells.title = "a < b & \"c\"".into();
    }
    assert!(svg(&figure).unwrap().contains("a\u{a0}&lt;\u{a0}b\u{a0}&amp;\u{a0}&quot;c&quot;"));
}

#[test]
fn a_chart_replaces_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lr-0.025");
    let [first, _] = save(&curve(vec![(0.0, 1.0)]), &path).unwrap();
    let before = std::fs::read(&first).unwrap();
    let [second, _] = save(&alphas(1, 2), &path).unwrap();
    assert_eq!(first, folder.path().join("lr-0.025.svg"));
    assert_eq!(first, second);
    assert_ne!(before, std::fs::read(&second).unwrap());
}

/// Every published cell, with whether all of its operations are reached: those of the catalogue, and recurrent ones
/// (one in any case, a list where it is at hand).
fn genotypes() -> Vec<(String, Value, bool)> {
    let published = catalogue::published().iter().map(|entry| {
        let paired = CellKind::BOTH.iter().all(|&kind| entry.genotype.is_paired(kind));
        (entry.name.clone(), entry.genotype.to_json(), paired)
    });
    let recurrent = json!({
        "recurrent": [["sigmoid", 0], ["relu", 1], ["relu", 1], ["identity", 1], ["tanh", 2], ["sigmoid", 5],
                      ["tanh", 3], ["relu", 5]],
        "concat": [1, 2, 3, 4, 5, 6, 7, 8],
    });
    let mut all: Vec<(String, Value, bool)> = published.collect();
    all.push(("recurrent DARTS_V2".into(), recurrent, true));
    if let Some(file) = crate::shared::reference("spec/genotypes.json") {
        let spec: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let listed = spec["rnn"].as_object().expect("a map of recurrent cells");
        all.extend(listed.iter().map(|(name, genotype)| (name.clone(), genotype.clone(), true)));
    }
    assert!(all.len() > 100);
    all
}

/// What lies on what in a cell's drawing.
fn overlaps(name: &str, cell: &Cell) {
    let layout = lay_out(cell);
    let boxes: Vec<(&str, Rect)> =
        layout.nodes.iter().chain(&layout.labels).map(|mark| (mark.text.as_str(), mark.area)).collect();
    for (index, (one, area)) in boxes.iter().enumerate() {
        assert!(area.left >= -0.5 && area.top >= -0.5, "{name}: {one} is outside");
        assert!(area.right <= layout.size.0 + 0.5 && area.bottom <= layout.size.1 + 0.5, "{name}: {one} is outside");
        for (other, other_area) in &boxes[..index] {
            assert!(!area.grown(2.0).overlaps(other_area), "{name}: {one} and {other} overlap");
        }
    }
    for path in &layout.paths {
        let own = layout.labels.iter().find(|label| path.op.is_some() && label.op == path.op).map(|label| label.area);
        // Ends touch their boxes from outside.
        for point in path.points.iter().skip(1) {
            for (text, area) in &boxes {
                let through = area.grown(-0.5).contains(*point);
                assert!(!through || Some(*area) == own, "{name}: the curve of {:?} runs through {text}", path.op);
            }
        }
    }
}

#[test]
fn nothing_lies_on_anything_else_in_any_published_cell() {
    for (name, genotype, reached) in genotypes() {
        for cell in cells_from_genotype(&genotype).unwrap().cells {
            let drawn = lay_out(&cell);
            assert!(drawn.labels.len() <= cell.ops.len());
            if reached {
                assert_eq!(drawn.labels.len(), cell.ops.len(), "{name}: every op has its label");
            }
            overlaps(&format!("{name}, {}", cell.title), &cell);
        }
    }
}

#[test]
fn dense_and_deep_cells_are_laid_out_too() {
    let op = |from, to| Op { name: "sep_conv_3x3".into(), from, to };
    let dense: Vec<Op> = (2..6).flat_map(|to| (0..to).map(move |from| op(from, to))).collect();
    overlaps("all 14 edges", &Cell::convolutional("Dense", dense, vec![2, 3, 4, 5]));
    let chain: Vec<Op> = (2..10).map(|to| op(to - 1, to)).collect();
    overlaps("a chain of 8", &Cell::convolutional("Deep", chain, vec![9]));
}

#[test]
fn nodes_that_nothing_feeds_are_left_out() {
    let op = |from, to| Op { name: "skip_connect".into(), from, to };
    let cell = Cell::convolutional("Sparse", vec![op(0, 2), op(3, 4), op(2, 5)], vec![2, 3, 4, 5]);
    let names: Vec<String> = lay_out(&cell).nodes.into_iter().map(|mark| mark.text).collect();
    assert_eq!(names, ["c_{k-2}", "c_{k-1}", "0", "3", "c_{k}"]);
}

#[test]
fn the_candidates_colours_stay_apart_for_every_eye() {
    // Machado, Oliveira, Fernandes (2009), severity 1: protanopia, deuteranopia, tritanopia.
    let eyes = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ];
    let linear = |c: u8| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    let times = |m: &[[f64; 3]; 3], v: [f64; 3]| m.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>());
    // Oklab (Ottosson 2020), in which distances are differences that people see.
    let oklab = |rgb: [f64; 3]| {
        let cones = times(
            &[[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]],
            rgb.map(|v| v.clamp(0.0, 1.0)),
        );
        times(
            &[[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]],
            cones.map(f64::cbrt),
        )
    };
    let palette = Palette::of(DARTS_OPS);
    for eye in &eyes {
        let seen = DARTS_OPS.map(|op| {
            let color = palette.color(op);
            oklab(times(eye, [linear(color.0), linear(color.1), linear(color.2)]))
        });
        for (index, one) in seen.iter().enumerate() {
            for (other, place) in seen[..index].iter().zip(DARTS_OPS) {
                let distance = one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                assert!(distance > 0.08, "{} and {place} are {distance:.3} apart", DARTS_OPS[index]);
            }
        }
    }
}

#[test]
fn an_op_keeps_its_colour_and_new_ops_get_different_ones() {
    let alone = Palette::of(["sep_conv_3x3"]);
    let among = Palette::of(["mine", "yours", "sep_conv_3x3", "theirs"]);
    assert_eq!(alone.color("sep_conv_3x3"), among.color("sep_conv_3x3"));
    let colors = ["mine", "yours", "theirs"].map(|op| among.color(op));
    assert!(colors[0] != colors[1] && colors[1] != colors[2] && colors[0] != colors[2]);
}

#[test]
fn groups_and_sheets_are_drawn_whatever_they_hold() {
    let group = |name: &str, values: &[f64]| Group { name: name.into(), values: values.to_vec() };
    assert_eq!(group("", &[]).moments(), None);
    assert_eq!(group("", &[0.5]).moments(), Some((0.5, 0.0)));
    assert_eq!(group("", &[1.0, 3.0, f64::NAN]).moments(), Some((2.0, 2f64.sqrt())));
    let long = "a name that is far longer than the room that a sheet has for it, on any page whatsoever";
    let some = vec![group("searched", &[0.9, 0.9, 0.9, 0.9, 0.9, 0.9]), group(long, &[]), group("c", &[0.1])];
    let cells = lay_out(&Cell::default()).nodes.len();
    assert_eq!(cells, 0);
    for figure in [
        Figure::Groups(Groups::default()),
        Figure::Groups(Groups { title: "Results".into(), x: "accuracy".into(), groups: some }),
        Figure::Sheet(Sheet::default()),
        Figure::Sheet(Sheet {
            title: String::new(),
            columns: 3,
            items: vec![SheetItem { name: long.into(), cells: vec![Cell::default()] }, SheetItem::default()],
        }),
    ] {
        let text = svg(&figure).expect("it is drawn");
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        assert!(!png(&figure).expect("it is drawn").is_empty());
    }
}
