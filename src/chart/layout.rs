//! Where the parts of a cell's drawing go, so that nothing lies on anything else.
//!
//! The graph is layered: a column for each depth of nodes and, between two of them, a column for labels. Every edge
//! passes each column between its ends through a slot of its own, one of which is its label's, so that labels, boxes
//! and foreign curves can only meet in the gaps between columns, where there are only curves. Within a column a curve
//! runs level; in a gap it bends from one height to the next.

use super::WIDTH;
use super::canvas::{Point, Rect};
use super::cell::{BEGIN_GAP, Cell, END_GAP, HEAD, Op, label_size, state_size};
use super::order::Layers;
use std::collections::BTreeMap;

/// A cell's drawing as geometry, in logical pixels.
#[derive(Clone, Debug)]
pub struct CellLayout {
    pub size: Point,
    /// The inputs, the nodes that exist, and the output if the cell has one, in this order.
    pub nodes: Vec<Mark>,
    /// One per op that is drawn.
    pub labels: Vec<Mark>,
    pub paths: Vec<Path>,
}

impl CellLayout {
    /// Moves everything.
    pub(super) fn shift(&mut self, dx: f64, dy: f64) {
        for mark in self.nodes.iter_mut().chain(&mut self.labels) {
            mark.area = Rect::moved(&mark.area, dx, dy);
        }
        for path in &mut self.paths {
            path.points.iter_mut().for_each(|p| *p = (p.0 + dx, p.1 + dy));
            path.end = (path.end.0 + dx, path.end.1 + dy);
        }
    }
}

/// A box with a text in it.
#[derive(Clone, Debug)]
pub struct Mark {
    pub area: Rect,
    pub text: String,
    /// The op (an index into the cell's ops) whose label it is.
    pub op: Option<usize>,
}

/// A curve from a state to another.
#[derive(Clone, Debug)]
pub struct Path {
    pub points: Vec<Point>,
    /// Where its arrow's tip is.
    pub end: Point,
    /// The op it carries; none where the value goes on as it is.
    pub op: Option<usize>,
}

/// Something that takes a slot of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    /// A state's or the output's box.
    Box,
    Label,
    /// An edge passing through.
    Bend,
}

struct Vertex {
    slot: Slot,
    column: usize,
    size: (f64, f64),
}

/// An edge as the chain of its slots, ends included.
struct Chain {
    vertices: Vec<usize>,
    op: Option<usize>,
}

/// The layered graph before it has coordinates.
struct Graph {
    vertices: Vec<Vertex>,
    names: Vec<String>,
    chains: Vec<Chain>,
    columns: usize,
}

/// Lays out one cell with its upper left corner at the origin. Nodes that nothing feeds are left out, and what they
/// feed.
pub fn lay_out(cell: &Cell) -> CellLayout {
    let graph = Graph::of(cell);
    let links: Vec<(usize, usize)> =
        graph.chains.iter().flat_map(|c| c.vertices.windows(2).map(|pair| (pair[0], pair[1]))).collect();
    let mut layers = Layers { layers: vec![Vec::new(); graph.columns], links };
    for (index, vertex) in graph.vertices.iter().enumerate() {
        layers.layers[vertex.column].push(index);
    }
    layers.untangle();
    let distance = |a: usize, b: usize| graph.distance(a, b);
    let mut y = layers.heights(distance, |link| graph.straightness(link));
    let slots: Vec<&[usize]> = graph.chains.iter().map(|c| &c.vertices[1..c.vertices.len() - 1]).collect();
    layers.straighten(&mut y, &slots, distance);
    let top = (0..y.len()).map(|v| y[v] - graph.vertices[v].size.1 / 2.0).fold(f64::INFINITY, f64::min);
    let y: Vec<f64> = y.iter().map(|height| height - top).collect();
    graph.placed(cell, &y)
}

/// The depth of every state that exists: inputs 0, a node one more than the deepest state it reads.
fn depths(cell: &Cell) -> BTreeMap<usize, usize> {
    let mut depths: BTreeMap<usize, usize> = (0..cell.inputs.len()).map(|state| (state, 0)).collect();
    let last = cell.ops.iter().map(|op| op.to).max().unwrap_or(0);
    // States are numbered in topological order: each reads only lower ones.
    for state in cell.inputs.len()..=last {
        let read = cell.ops.iter().filter(|op| op.to == state && op.from < state).filter_map(|op| depths.get(&op.from));
        if let Some(deepest) = read.max().copied() {
            depths.insert(state, deepest + 1);
        }
    }
    // What the cell gives stands at its right end.
    let deepest = depths.values().max().copied().unwrap_or(0);
    for end in &cell.ends {
        depths.entry(*end).and_modify(|depth| *depth = deepest);
    }
    depths
}

impl Graph {
    fn of(cell: &Cell) -> Self {
        let depths = depths(cell);
        let deepest = depths.values().max().copied().unwrap_or(0);
        let drawn = |op: &usize| {
            let op = &cell.ops[*op];
            op.from < op.to
                && op.to >= cell.inputs.len()
                && depths.contains_key(&op.from)
                && depths.contains_key(&op.to)
        };
        let ops: Vec<usize> = (0..cell.ops.len()).filter(drawn).collect();
        let concat: Vec<usize> = cell.concat.iter().copied().filter(|state| depths.contains_key(state)).collect();

        let mut graph = Graph { vertices: Vec::new(), names: Vec::new(), chains: Vec::new(), columns: 2 * deepest + 1 };
        let mut vertex_of = BTreeMap::new();
        for (&state, &depth) in &depths {
            let name = cell.state_name(state);
            let ends = ops.iter().filter(|&&op| cell.ops[op].to == state).count();
            let begins = ops.iter().filter(|&&op| cell.ops[op].from == state).count()
                + concat.iter().filter(|&&s| s == state).count();
            vertex_of.insert(state, graph.vertices.len());
            graph.vertices.push(Vertex { slot: Slot::Box, column: 2 * depth, size: state_size(&name, ends, begins) });
            graph.names.push(name);
        }
        if !concat.is_empty() {
            let name = cell.output.clone();
            graph.columns += 1;
            let size = state_size(&name, concat.len(), 0);
            graph.vertices.push(Vertex { slot: Slot::Box, column: graph.columns - 1, size });
            graph.names.push(name);
        }
        let output = graph.vertices.len() - 1;

        let columns: Vec<(usize, usize)> =
            ops.iter().map(|&op| (2 * depths[&cell.ops[op].from] + 1, 2 * depths[&cell.ops[op].to] - 1)).collect();
        for (&op, label) in ops.iter().zip(label_columns(&columns)) {
            let Op { name, from, to } = &cell.ops[op];
            let label = (!name.is_empty()).then(|| (op, label, label_size(name)));
            graph.connect(vertex_of[from], vertex_of[to], label);
        }
        for state in &concat {
            graph.connect(vertex_of[state], output, None);
        }
        graph
    }

    /// Adds an edge with a slot in each column between its ends; `label` is (op, column, size).
    fn connect(&mut self, from: usize, to: usize, label: Option<(usize, usize, (f64, f64))>) {
        let mut vertices = vec![from];
        for column in self.vertices[from].column + 1..self.vertices[to].column {
            let (slot, size) = match label {
                Some((_, at, size)) if at == column => (Slot::Label, size),
                _ => (Slot::Bend, (0.0, 2.0)),
            };
            vertices.push(self.vertices.len());
            self.vertices.push(Vertex { slot, column, size });
        }
        vertices.push(to);
        self.chains.push(Chain { vertices, op: label.map(|l| l.0) });
    }

    /// What two neighbours in a column need between their centres.
    fn distance(&self, above: usize, below: usize) -> f64 {
        let (above, below) = (&self.vertices[above], &self.vertices[below]);
        let gap = match (above.slot, below.slot) {
            (Slot::Box, Slot::Box) => 30.0,
            (Slot::Box, _) | (_, Slot::Box) => 16.0,
            _ => 9.0,
        };
        (above.size.1 + below.size.1) / 2.0 + gap
    }

    /// A long edge should be straight in its middle; at a box many ends share the wish.
    fn straightness(&self, (from, to): (usize, usize)) -> f64 {
        match (self.vertices[from].slot, self.vertices[to].slot) {
            (Slot::Box, Slot::Box) => 2.0,
            (Slot::Box, _) | (_, Slot::Box) => 1.0,
            _ => 10.0,
        }
    }

    /// Left and right end of every column: gaps grow with the height their curves climb, and fill the picture's width.
    fn column_spans(&self, y: &[f64]) -> Vec<(f64, f64)> {
        let width =
            |column: usize| self.vertices.iter().filter(|v| v.column == column).map(|v| v.size.0).fold(0.0, f64::max);
        let mut gaps = vec![30.0f64; self.columns.saturating_sub(1)];
        for pair in self.chains.iter().flat_map(|c| c.vertices.windows(2)) {
            let gap = &mut gaps[self.vertices[pair[0]].column];
            *gap = gap.max((24.0 + 0.22 * (y[pair[0]] - y[pair[1]]).abs()).min(80.0));
        }
        let taken: f64 = (0..self.columns).map(width).sum();
        let free = WIDTH - 48.0 - taken;
        let stretch = (free / gaps.iter().sum::<f64>().max(1.0)).min(1.8);
        let mut spans = Vec::with_capacity(self.columns);
        let mut left = 0.0;
        for column in 0..self.columns {
            let right = left + width(column);
            spans.push((left, right));
            left = right + gaps.get(column).map_or(0.0, |gap| (gap * stretch).max(26.0));
        }
        spans
    }

    fn placed(&self, cell: &Cell, y: &[f64]) -> CellLayout {
        let spans = self.column_spans(y);
        let area = |vertex: usize| {
            let Vertex { column, size, .. } = self.vertices[vertex];
            Rect::centered(((spans[column].0 + spans[column].1) / 2.0, y[vertex]), size.0, size.1)
        };
        let nodes = self.names.iter().enumerate().map(|(v, name)| Mark { area: area(v), text: name.clone(), op: None });
        let mut labels = Vec::new();
        let mut paths = Vec::new();
        for (number, chain) in self.chains.iter().enumerate() {
            let (first, last) = (chain.vertices[0], chain.vertices[chain.vertices.len() - 1]);
            let start = (area(first).right, y[first] + self.port(number, first, y, false));
            let end = (area(last).left, y[last] + self.port(number, last, y, true));
            let mut corners = vec![start, (spans[self.vertices[first].column].1, start.1)];
            for &vertex in &chain.vertices[1..chain.vertices.len() - 1] {
                let (left, right) = spans[self.vertices[vertex].column];
                corners.extend([(left, y[vertex]), (right, y[vertex])]);
                if let (Slot::Label, Some(op)) = (self.vertices[vertex].slot, chain.op) {
                    labels.push(Mark { area: area(vertex), text: cell.ops[op].name.clone(), op: Some(op) });
                }
            }
            corners.extend([(spans[self.vertices[last].column].0 - HEAD, end.1), (end.0 - HEAD, end.1)]);
            paths.push(Path { points: bent(&corners), end, op: chain.op });
        }
        let nodes: Vec<Mark> = nodes.collect();
        let bottom = nodes.iter().chain(&labels).map(|m| m.area.bottom).chain(y.iter().copied()).fold(0.0, f64::max);
        CellLayout { size: (spans.last().map_or(0.0, |s| s.1), bottom), nodes, labels, paths }
    }

    /// How far from a box's middle a chain ends (or begins): the chains there in the order of where they come from (or
    /// go).
    fn port(&self, chain: usize, vertex: usize, y: &[f64], ends: bool) -> f64 {
        let next = |chain: &Chain| match ends {
            true => chain.vertices[chain.vertices.len() - 2],
            false => chain.vertices[1],
        };
        let at_vertex = |chain: &Chain| match ends {
            true => chain.vertices.last() == Some(&vertex),
            false => chain.vertices.first() == Some(&vertex),
        };
        let mut sharing: Vec<usize> = (0..self.chains.len()).filter(|&c| at_vertex(&self.chains[c])).collect();
        sharing.sort_by(|&a, &b| y[next(&self.chains[a])].total_cmp(&y[next(&self.chains[b])]));
        let place = sharing.iter().position(|&c| c == chain).unwrap_or(0) as f64;
        (place - (sharing.len() - 1) as f64 / 2.0) * if ends { END_GAP } else { BEGIN_GAP }
    }
}

/// A column for each label among the label columns its edge passes (first and last given): the least crowded, of
/// equally crowded ones the last; edges with the least choice choose first.
fn label_columns(spans: &[(usize, usize)]) -> Vec<usize> {
    let mut crowd: BTreeMap<usize, usize> = BTreeMap::new();
    let mut chosen = vec![0; spans.len()];
    let mut by_choice: Vec<usize> = (0..spans.len()).collect();
    by_choice.sort_by_key(|&edge| spans[edge].1 - spans[edge].0);
    for edge in by_choice {
        let (first, last) = spans[edge];
        let load = |column: &usize| crowd.get(column).copied().unwrap_or(0);
        let best = (first..last + 1).step_by(2).rev().min_by_key(load).unwrap_or(last);
        *crowd.entry(best).or_default() += 1;
        chosen[edge] = best;
    }
    chosen
}

/// A smooth curve through pairs of corners: level from the first to the second of a pair, bent to the next pair.
fn bent(corners: &[Point]) -> Vec<Point> {
    let mut points = Vec::new();
    for (index, pair) in corners.windows(2).enumerate() {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let level = index % 2 == 0 || (y1 - y0).abs() < 0.3;
        let steps = if level { 1 } else { 24 };
        for step in 0..steps {
            let t = f64::from(step) / f64::from(steps);
            // A cubic Bézier with level tangents whose handles are half as long as the gap is wide.
            let ease = t * t * (3.0 - 2.0 * t);
            let x = x0 + (x1 - x0) * (1.5 * t * (1.0 - t) + t * t * t);
            points.push((x, y0 + (y1 - y0) * ease));
        }
    }
    points.extend(corners.last());
    points
}
