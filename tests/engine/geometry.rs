//! Sizes: convolutions that make their input larger keep within their buffers, and what is out of bounds is refused by
//! name.

use crate::check::check;
use candlewick::graph::bounds::{MOST, MOST_KERNEL};
use candlewick::graph::{Activation, Conv, Graph, Node, Pool, PoolKind};

/// A wide depthwise convolution, padded far beyond its input, that a pointwise one takes in: what lies between the two
/// is larger than any tensor that is stored.
fn padded_beyond(graph: &mut Graph, x: Node, padding: usize, kernel: (usize, usize), stride: (usize, usize)) -> Node {
    let wide = graph.pointwise("wide", x, 48).unwrap();
    let conv = Conv { kernel, stride, padding: (0, padding), groups: 48, ..Conv::square(48, 1) };
    let deep = graph.conv("deep", wide, conv).unwrap();
    graph.pointwise("narrow", deep, 16).unwrap()
}

#[test]
fn a_fused_unit_that_is_larger_between_its_parts_than_outside_keeps_within_its_buffers() {
    for padding in [1, 2, 8, 40, 200] {
        check(&format!("padding {padding}"), 3, (1, 1), 2, |graph, x| padded_beyond(graph, x, padding, (1, 3), (1, 1)));
        check(&format!("padding {padding}, stride 2"), 3, (1, 4), 2, |graph, x| {
            padded_beyond(graph, x, padding, (1, 3), (1, 2))
        });
    }
    // Below sixteen pixels a row, the backward pass goes through a buffer of rows.
    for padding in [3, 7] {
        check(&format!("short rows, padding {padding}"), 3, (5, 3), 3, |graph, x| {
            let relu = graph.relu(x);
            let wide = graph.pointwise("wide", relu, 40).unwrap();
            let conv = Conv { kernel: (3, 3), padding: (padding, padding), groups: 40, ..Conv::square(40, 1) };
            let deep = graph.conv("deep", wide, conv).unwrap();
            graph.pointwise("narrow", deep, 5).unwrap()
        });
    }
}

#[test]
fn every_convolution_padded_beyond_its_kernel_has_the_right_gradients() {
    for (kernel, stride, dilation, padding) in [
        ((1, 1), 1, 1, 3),
        ((3, 3), 1, 1, 5),
        ((3, 1), 2, 1, 4),
        ((5, 5), 3, 1, 9),
        ((3, 3), 1, 3, 8),
        ((2, 4), 5, 2, 6),
    ] {
        for groups in [1, 6] {
            let name = format!("{kernel:?} stride {stride} dilation {dilation} padding {padding} groups {groups}");
            check(&name, 3, (4, 5), 2, |graph, x| {
                let x = graph.pointwise("in", x, 6).unwrap();
                let x = graph.activate(x, Activation::Tanh);
                let conv = Conv {
                    kernel,
                    stride: (stride, stride),
                    dilation: (dilation, dilation),
                    padding: (padding, padding),
                    groups,
                    ..Conv::square(6, 1)
                };
                graph.conv("conv", x, conv).unwrap()
            });
        }
    }
}

#[test]
fn gradient_planes_of_one_size_with_other_halos_keep_their_zeros() {
    // With their halos both planes of gradients are 10 × 10: 6 × 6 and two pixels around, 8 × 8 and one. The second
    // convolution comes first in the backward pass, and one thread has both planes in the same place.
    let conv = |kernel, padding| Conv { padding: (padding, padding), ..Conv::square(4, kernel) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        check("halos 2 and 1", 3, (8, 8), 2, |graph, x| {
            let inner = graph.conv("inner", x, conv(3, 0)).unwrap();
            graph.conv("outer", inner, conv(5, 3)).unwrap()
        });
    });
}

/// The message with which a builder refuses.
fn refused<T>(build: impl FnOnce(&mut Graph, Node) -> candlewick::Result<T>) -> String {
    let mut graph = Graph::new(4, 8, 8);
    let input = graph.input();
    build(&mut graph, input).err().map(|error| error.message).expect("it is out of bounds")
}

#[test]
fn whatever_is_out_of_bounds_is_refused_with_the_option_and_the_bound() {
    let conv = |change: &dyn Fn(&mut Conv)| {
        let mut conv = Conv::square(4, 3);
        change(&mut conv);
        refused(|graph, x| graph.conv("conv", x, conv))
    };
    for (option, bound, message) in [
        ("padding", MOST, conv(&|c| c.padding = (usize::MAX, 0))),
        ("padding", MOST, conv(&|c| c.padding = (0, 1 << 62))),
        ("padding", MOST, conv(&|c| c.padding = (MOST + 1, 0))),
        ("kernel", MOST_KERNEL, conv(&|c| c.kernel = (usize::MAX, 3))),
        ("kernel", MOST_KERNEL, conv(&|c| c.kernel = (3, 0))),
        ("stride", MOST, conv(&|c| c.stride = (0, 1))),
        ("stride", MOST, conv(&|c| c.stride = (1, usize::MAX))),
        ("dilation", MOST, conv(&|c| c.dilation = (1, usize::MAX))),
        ("dilation", MOST, conv(&|c| c.dilation = (0, 1))),
        ("groups", MOST, conv(&|c| c.groups = 0)),
        ("groups", MOST, conv(&|c| c.groups = usize::MAX)),
        ("channels", MOST, conv(&|c| c.channels = 0)),
        ("channels", MOST, conv(&|c| c.channels = usize::MAX / 2)),
        ("kernel", MOST_KERNEL, refused(|graph, x| graph.depthwise("deep", x, 1 << 40, 1, 1))),
        ("dilation", MOST, refused(|graph, x| graph.depthwise("deep", x, 3, 1, usize::MAX))),
        ("stride", MOST, refused(|graph, x| graph.depthwise("deep", x, 3, usize::MAX, 1))),
        ("outputs", MOST, {
            refused(|graph, x| {
                let pooled = graph.global_pool(x);
                graph.linear("head", pooled, usize::MAX)
            })
        }),
        ("stride", MOST, refused(|graph, x| graph.zero(x, 0))),
        ("stride", MOST, refused(|graph, x| graph.noise(x, usize::MAX))),
        ("rows", MOST, refused(|graph, _| graph.slots("mix", usize::MAX, 2))),
        ("columns", MOST, refused(|graph, _| graph.slots("mix", 2, 0))),
        ("kernel", MOST_KERNEL, refused(|graph, x| graph.pool(x, pool(usize::MAX, 1, 0)))),
        ("stride", MOST, refused(|graph, x| graph.pool(x, pool(3, 0, 0)))),
        ("padding", MOST, refused(|graph, x| graph.pool(x, pool(3, 1, usize::MAX)))),
    ] {
        assert!(message.contains(&format!("`{option}`")) && message.contains(&bound.to_string()), "{message}");
    }
}

fn pool(kernel: usize, stride: usize, padding: usize) -> Pool {
    Pool { kind: PoolKind::Max, kernel, stride, padding }
}

#[test]
fn sizes_within_each_bound_that_multiply_beyond_all_are_refused() {
    let message = refused(|graph, x| {
        let conv = Conv { padding: (MOST, MOST), stride: (MOST, MOST), ..Conv::square(4, 1) };
        graph.conv("conv", x, conv)
    });
    assert!(message.contains("with the padding") && message.contains("numbers per image"), "{message}");
    let message = refused(|graph, x| {
        let conv = Conv { padding: (4000, 4000), ..Conv::square(4096, 1) };
        graph.conv("conv", x, conv)
    });
    assert!(message.contains("numbers per image"), "{message}");
    let message = refused(|graph, x| {
        let wide = graph.pointwise("wide", x, MOST)?;
        let conv = Conv { kernel: (8, 8), padding: (0, 0), ..Conv::square(MOST, 1) };
        graph.conv("conv", wide, conv)
    });
    assert!(message.contains("weights"), "{message}");
    let message = refused(|graph, x| graph.slice(x, usize::MAX, 2));
    assert!(message.contains("do not lie within"), "{message}");
}

#[test]
fn images_that_are_too_large_are_refused_when_the_graph_is_compiled() {
    for (channels, height, width) in [(usize::MAX, 1, 1), (1, 0, 1), (MOST, MOST, 1)] {
        let mut graph = Graph::new(channels, height, width);
        let pooled = graph.global_pool(graph.input());
        graph.set_output(pooled);
        assert!(candlewick::engine::Engine::compile(graph).is_err(), "{channels} × {height} × {width}");
    }
}
