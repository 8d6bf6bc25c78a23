//! Primitives of the exact executor that look at whole maps: upsampling and layer norm.

use crate::exact::{MODES, differences, graph};
use candlewick::engine::{Draws, Mode};
use candlewick::graph::{Activation, Conv, Graph, Node, Shape};

#[test]
fn upsampling_repeats_pixels_and_has_right_gradients() {
    for factor in [2, 3] {
        let larger = |g: &mut Graph, x: Node| {
            let y = g.upsample(x, factor).unwrap();
            let y = g.batch_norm("n", y, true).unwrap();
            let z = g.upsample(y, factor).unwrap();
            g.conv("a", z, Conv::square(2, 3).stride(2)).unwrap()
        };
        differences("upsampling", graph(2, (2, 3), larger), 2, Mode::Trial, None, Draws::default());
    }
    let mut g = Graph::new(3, 4, 5);
    let x = g.input();
    let larger = g.upsample(x, 3).unwrap();
    assert_eq!(g.shape(larger), Shape::new(3, 12, 15));
    assert_eq!(g.upsample(x, 1).unwrap(), x);
    assert!(g.upsample(x, 0).unwrap_err().message.contains("`factor` must be from 1"));
    assert!(g.upsample(x, 20_000).unwrap_err().message.contains("height"));
    assert!(g.upsample(x, usize::MAX).is_err());
}

#[test]
fn layer_norms_have_right_gradients() {
    for mode in MODES {
        let normed = |g: &mut Graph, x: Node| {
            let y = g.pointwise("a", x, 5).unwrap();
            let y = g.layer_norm("n", y, true).unwrap();
            let z = g.activate(y, Activation::Silu);
            let z = g.layer_norm("m", z, false).unwrap();
            let w = g.batch_norm("o", z, true).unwrap();
            g.multiply(z, w).unwrap()
        };
        differences("layer norms", graph(3, (4, 3), normed), 3, mode, None, Draws::default());
    }
    let mut g = Graph::new(3, 4, 4);
    let x = g.input();
    let one = g.layer_norm("n", x, false).unwrap();
    assert_eq!(g.layer_norm("m", x, false).unwrap(), one, "without weights a node has one");
    g.layer_norm("n", x, true).unwrap();
    assert_eq!(g.parameters(), 6);
    assert!(g.layer_norm("n", x, true).unwrap_err().message.contains("\"n.weight\""));
}
