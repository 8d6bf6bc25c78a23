//! The cells of the field as time steps, built by hand from primitives.

use candlewick::Result;
use candlewick::graph::recurrent::{Function, RecurrentGraph};
use candlewick::graph::{Init, Node};

const START: Init = Init::Uniform(0.04);

/// What a candidate does with a gate's other half; none leaves it as it is.
pub type Choice = Option<Function>;
pub const TANH: Choice = Some(Function::Tanh);
pub const RELU: Choice = Some(Function::Relu);
pub const SIGMOID: Choice = Some(Function::Sigmoid);
pub const IDENTITY: Choice = None;

fn choose(g: &mut RecurrentGraph, input: Node, choice: Choice) -> Result<Node> {
    choice.map_or(Ok(input), |function| g.apply(input, function))
}

/// The gate and the candidate of a product that is twice as wide as the hidden state.
fn halves(g: &mut RecurrentGraph, product: Node) -> Result<(Node, Node)> {
    let hidden = g.width(product) / 2;
    let gate = g.slice(product, 0, hidden)?;
    Ok((g.sigmoid(gate)?, g.slice(product, hidden, hidden)?))
}

/// s₀ of `docs/darts.md` B1.
fn first_node(g: &mut RecurrentGraph, h: Node, choice: Choice) -> Result<Node> {
    let (wide, hidden) = (g.width(g.input()), g.width(h));
    let w0 = g.weight("w0", wide + hidden, 2 * hidden, START)?;
    let (x, masked) = (g.mask("x", g.input())?, g.mask("h", h)?);
    let product = g.product(&[x, masked], w0, None)?;
    let (gate, other) = halves(g, product)?;
    let other = choose(g, other, choice)?;
    g.blend(h, other, gate)
}

/// The search cell of `docs/darts.md` B1.
pub fn search(width: usize, hidden: usize, nodes: usize) -> Result<RecurrentGraph> {
    let mut g = RecurrentGraph::new(width)?;
    let h = g.state("h", hidden)?;
    let s0 = first_node(&mut g, h, TANH)?;
    let mut states = vec![g.norm("bn", s0)?];
    let alpha = g.slots("alpha", nodes * (nodes + 1) / 2, 5)?;
    let mut row = 0;
    for node in 0..nodes {
        let weight = g.weight(&format!("ws.{node}"), hidden, 2 * hidden, START)?;
        let mut terms = Vec::new();
        for &from in &states {
            let masked = g.mask("h", from)?;
            let product = g.product(&[masked], weight, None)?;
            let (gate, other) = halves(&mut g, product)?;
            // `none` has no term.
            for (column, choice) in [TANH, RELU, SIGMOID, IDENTITY].into_iter().enumerate() {
                let to = choose(&mut g, other, choice)?;
                terms.push((g.blend(from, to, gate)?, alpha.slot(row, column + 1)));
            }
            row += 1;
        }
        let sum = g.mixed(&terms)?;
        states.push(g.norm("bn", sum)?);
    }
    let out = g.mean(&states[1..])?;
    g.set_next(h, out)?;
    g.set_output(out);
    Ok(g)
}

/// The discrete cell of a genotype: node 0's activation, then each node's activation and predecessor; the output is the
/// mean of the nodes in `concat`.
pub fn discrete(
    width: usize,
    hidden: usize,
    first: Choice,
    genotype: &[(Choice, usize)],
    concat: &[usize],
) -> Result<RecurrentGraph> {
    let mut g = RecurrentGraph::new(width)?;
    let h = g.state("h", hidden)?;
    let mut states = vec![first_node(&mut g, h, first)?];
    for (node, &(choice, from)) in genotype.iter().enumerate() {
        let from = states[from];
        let weight = g.weight(&format!("ws.{node}"), hidden, 2 * hidden, START)?;
        let masked = g.mask("h", from)?;
        let product = g.product(&[masked], weight, None)?;
        let (gate, other) = halves(&mut g, product)?;
        let other = choose(&mut g, other, choice)?;
        states.push(g.blend(from, other, gate)?);
    }
    let ends: Vec<Node> = concat.iter().map(|&node| states[node]).collect();
    let out = g.mean(&ends)?;
    g.set_next(h, out)?;
    g.set_output(out);
    Ok(g)
}

/// DARTS_V2's recurrent cell.
pub fn darts_v2(width: usize, hidden: usize) -> Result<RecurrentGraph> {
    let genotype = [(SIGMOID, 0), (RELU, 1), (RELU, 1), (IDENTITY, 1), (TANH, 2), (SIGMOID, 5), (TANH, 3), (RELU, 5)];
    discrete(width, hidden, TANH, &genotype, &[1, 2, 3, 4, 5, 6, 7, 8])
}

/// A cell as ENAS finds them: node 0's activation is chosen too, the output is the mean of the loose ends.
pub fn enas(width: usize, hidden: usize) -> Result<RecurrentGraph> {
    discrete(width, hidden, RELU, &[(TANH, 0), (RELU, 1), (TANH, 2), (IDENTITY, 2)], &[3, 4])
}

/// Layers of LSTM with two biases each (as PyTorch has them); with `skips` the output is the sum of all layers.
pub fn lstm(width: usize, hidden: usize, layers: usize, skips: bool) -> Result<RecurrentGraph> {
    let mut g = RecurrentGraph::new(width)?;
    let (mut input, mut ends) = (g.input(), Vec::new());
    for layer in 0..layers {
        let (h, c) = (g.state(&format!("h{layer}"), hidden)?, g.state(&format!("c{layer}"), hidden)?);
        let name = |part: &str| format!("rnns.{layer}.{part}");
        let bound = Init::Uniform(1.0 / (hidden as f32).sqrt());
        let w_in = g.weight(&name("weight_ih"), g.width(input), 4 * hidden, bound)?;
        let w_back = g.weight(&name("weight_hh"), hidden, 4 * hidden, bound)?;
        let (b_in, b_back) =
            (g.bias(&name("bias_ih"), 4 * hidden, bound)?, g.bias(&name("bias_hh"), 4 * hidden, bound)?);
        let forward = g.product(&[input], w_in, Some(b_in))?;
        let back = g.product(&[h], w_back, Some(b_back))?;
        let gates = g.add(forward, back)?;
        let mut gate = |at: usize| g.slice(gates, at * hidden, hidden);
        let parts = [gate(0)?, gate(1)?, gate(2)?, gate(3)?];
        let (i, f, o) = (g.sigmoid(parts[0])?, g.sigmoid(parts[1])?, g.sigmoid(parts[3])?);
        let candidate = g.tanh(parts[2])?;
        let (kept, new) = (g.multiply(f, c)?, g.multiply(i, candidate)?);
        let c_next = g.add(kept, new)?;
        let shown = g.tanh(c_next)?;
        let h_next = g.multiply(o, shown)?;
        g.set_next(h, h_next)?;
        g.set_next(c, c_next)?;
        ends.push(h_next);
        input = g.mask("between", h_next)?;
    }
    let out = if skips { g.sum(&ends)? } else { ends[layers - 1] };
    g.set_output(out);
    Ok(g)
}

/// An LSTM with coupled gates, i = 1 − f, and f capped at 0.9.
pub fn coupled_lstm(width: usize, hidden: usize) -> Result<RecurrentGraph> {
    let mut g = RecurrentGraph::new(width)?;
    let (h, c) = (g.state("h", hidden)?, g.state("c", hidden)?);
    let weight = g.weight("weight", width + hidden, 3 * hidden, START)?;
    let bias = g.bias("bias", 3 * hidden, Init::Constant(0.5))?;
    let product = g.product(&[g.input(), h], weight, Some(bias))?;
    let (f, j) = (g.slice(product, 0, hidden)?, g.slice(product, hidden, hidden)?);
    let o = g.slice(product, 2 * hidden, hidden)?;
    let f = g.sigmoid(f)?;
    let f = g.at_most(f, 0.9)?;
    let i = g.affine(f, -1.0, 1.0)?;
    let j = g.tanh(j)?;
    let (kept, new) = (g.multiply(f, c)?, g.multiply(i, j)?);
    let c_next = g.add(kept, new)?;
    let (shown, o) = (g.tanh(c_next)?, g.sigmoid(o)?);
    let out = g.multiply(o, shown)?;
    g.set_next(h, out)?;
    g.set_next(c, c_next)?;
    g.set_output(out);
    Ok(g)
}

/// A recurrent highway network (Zilly et al. 2017).
pub fn highway(width: usize, hidden: usize, depth: usize) -> Result<RecurrentGraph> {
    let mut g = RecurrentGraph::new(width)?;
    let state = g.state("s", hidden)?;
    let mut s = state;
    for layer in 0..depth {
        let masked = g.mask("h", s)?;
        let x = g.mask("x", g.input())?;
        let inputs = if layer == 0 { vec![x, masked] } else { vec![masked] };
        let rows: usize = inputs.iter().map(|&input| g.width(input)).sum();
        let part = |g: &mut RecurrentGraph, name: &str, start: f32| {
            let weight = g.weight(&format!("{name}.{layer}.weight"), rows, hidden, START)?;
            let bias = g.bias(&format!("{name}.{layer}.bias"), hidden, Init::Constant(start))?;
            g.product(&inputs, weight, Some(bias))
        };
        let (h, t) = (part(&mut g, "h", 0.0)?, part(&mut g, "t", -2.0)?);
        let (h, t) = (g.tanh(h)?, g.sigmoid(t)?);
        s = g.blend(s, h, t)?;
    }
    g.set_next(state, s)?;
    g.set_output(s);
    Ok(g)
}

/// The cell that Zoph and Le's search found.
pub fn nas(width: usize, hidden: usize) -> Result<RecurrentGraph> {
    let mut g = RecurrentGraph::new(width)?;
    let (h, c) = (g.state("h", hidden)?, g.state("c", hidden)?);
    let w = g.weight("w", width, 8 * hidden, START)?;
    let u = g.weight("u", hidden, 8 * hidden, START)?;
    let (a, b) = (g.product(&[g.input()], w, None)?, g.product(&[h], u, None)?);
    let mut leaves = Vec::new();
    for (at, choice) in [SIGMOID, RELU, SIGMOID, RELU, TANH, SIGMOID, TANH, SIGMOID].into_iter().enumerate() {
        let (a, b) = (g.slice(a, at * hidden, hidden)?, g.slice(b, at * hidden, hidden)?);
        let both = if at == 3 { g.multiply(a, b)? } else { g.add(a, b)? };
        leaves.push(choose(&mut g, both, choice)?);
    }
    let p0 = g.multiply(leaves[0], leaves[1])?;
    let p1 = g.add(leaves[2], leaves[3])?;
    let p2 = g.multiply(leaves[4], leaves[5])?;
    let p3 = g.add(leaves[6], leaves[7])?;
    let (p0, p1, p2, p3) = (g.tanh(p0)?, g.tanh(p1)?, g.tanh(p2)?, g.sigmoid(p3)?);
    let with_c = g.add(p0, c)?;
    let with_c = g.tanh(with_c)?;
    let c_next = g.multiply(with_c, p1)?;
    let q = g.add(p2, p3)?;
    let q = g.tanh(q)?;
    let both = g.multiply(c_next, q)?;
    let out = g.tanh(both)?;
    g.set_next(h, out)?;
    g.set_next(c, c_next)?;
    g.set_output(out);
    Ok(g)
}

/// A step that holds every primitive, a weight that two products share, both a product and a norm of the input alone,
/// a norm that two places share, a state that is read at a later point of the step, a slice of something computed.
pub fn everything(width: usize, hidden: usize) -> Result<RecurrentGraph> {
    let mut g = RecurrentGraph::new(width)?;
    let (h, c) = (g.state("h", hidden)?, g.state("c", hidden)?);
    let wide = Init::Uniform(0.7);
    let w = g.weight("w", width + hidden, 2 * hidden, wide)?;
    let b = g.bias("b", 2 * hidden, wide)?;
    let u = g.weight("u", hidden, hidden, wide)?;
    let v = g.weight("v", width, hidden, wide)?;
    let slots = g.slots("mix", 2, 3)?;
    let x = g.mask("x", g.input())?;
    let alone = g.product(&[x], v, None)?;
    let alone = g.tanh(alone)?;
    let again = g.product(&[alone], u, None)?;
    let masked = g.mask("h", h)?;
    let both = g.product(&[x, masked], w, Some(b))?;
    let (gate, other) = halves(&mut g, both)?;
    let s = g.blend(h, other, gate)?;
    let s = g.norm("bn", s)?;
    let masked_s = g.mask("h", s)?;
    let first = g.product(&[masked_s], u, None)?;
    let second = g.product(&[c], u, None)?;
    let relu = g.relu(first)?;
    let less = g.subtract(relu, again)?;
    let capped = g.at_most(less, 0.4)?;
    let bent = g.affine(second, -0.5, 0.25)?;
    let mixed = g.mixed(&[(capped, slots.slot(0, 1)), (bent, slots.slot(0, 2)), (s, slots.slot(1, 0))])?;
    let normed = g.norm("bn", mixed)?;
    let third_bias = g.bias("third", hidden, wide)?;
    let third = g.product(&[normed], u, Some(third_bias))?;
    let tall = g.multiply(both, both)?;
    let tail = g.slice(tall, 1, hidden)?;
    let tail = g.tanh(tail)?;
    let later = g.multiply(c, third)?;
    let out = g.mean(&[later, tail, normed])?;
    let out = g.tanh(out)?;
    let c_next = g.sum(&[capped, third, gate])?;
    let c_next = g.sigmoid(c_next)?;
    g.set_next(h, out)?;
    g.set_next(c, c_next)?;
    g.set_output(out);
    Ok(g)
}

/// All of them, small, with their names.
pub fn all() -> Vec<(&'static str, RecurrentGraph)> {
    let cells = [
        ("everything", everything(3, 5)),
        ("search", search(3, 4, 3)),
        ("darts v2", darts_v2(5, 6)),
        ("enas", enas(3, 7)),
        ("lstm", lstm(3, 5, 2, false)),
        ("lstm with skips", lstm(4, 3, 3, true)),
        ("coupled lstm", coupled_lstm(3, 5)),
        ("highway", highway(4, 5, 3)),
        ("nas", nas(3, 4)),
    ];
    cells.into_iter().map(|(name, cell)| (name, cell.expect("the cell fits together"))).collect()
}
