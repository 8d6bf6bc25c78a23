//! The noun `graph`: networks and operations of a script's own, made of the engine's primitives.
//!
//! A closure `|g, x| …` is run once, while the network is built; what it describes is compiled like the built-in
//! operations and runs as fast.

mod handle;
mod primitives;
mod registry;

pub use handle::{GraphBuilder, Node, Slots};
pub use registry::Registry;

use crate::script::binding::{Call, Library, List, Options};
use crate::space::cell::{CellKind, SearchCell, check_partial};
use crate::space::{DARTS_OPS, Target};
use crate::{Error, Result};
use rhai::{Dynamic, FnPtr};

/// Declares the noun. `registry` holds the operations that `define_op` adds.
pub fn declare(library: &mut Library, registry: &Registry) {
    library.noun("graph", "Operations and networks of your own, made of the engine's primitives.");
    declare_kinds(library);
    let defined = registry.clone();
    library
        .function(
            "define_op",
            &["name", "build", "about"],
            move |call: &Call<'_>, name: String, build: FnPtr, about: Option<String>| {
                defined.define(call, name, about.unwrap_or_default(), build)
            },
        )
        .doc(
            r#"
            Adds a candidate operation. `build` is a closure |g, x, channels, stride| that gives a node: `channels`
            channels at the size of `x` divided by the stride (1 or 2), rounded up. It runs once for every edge that
            carries the operation. In a supernet its batch norms have no affine parameters.
            "#,
        )
        .example(
            r#"
            define_op("wide_conv", |g, x, channels, stride| {
                let y = g.conv(g.relu(x), channels, #{ kernel: [1, 3], stride: stride });
                g.batch_norm(y)
            });
            let net = supernet(#{ channels: 1, size: 8, classes: 10 },
                #{ channels: 2, layers: 3, nodes: 1, ops: ["none", "skip_connect", "wide_conv"] });
            assert(net.ops[2] == "wide_conv");
            "#,
        );
    primitives::declare(library);
    declare_structure(library);
    declare_search(library, registry);
}

fn declare_kinds(library: &mut Library) {
    library.kind::<GraphBuilder>("A network under construction; it serves inside the closure that was given it.");
    library.kind::<Node>("The output of a primitive: maps of some channels and size, a vector at size 1×1.");
    library.property("channels", |node: Node| Ok(node.shape.channels)).doc("Channels of a node.").example(
        r#"
        network(#{ channels: 3, size: 8, classes: 10 }, |g, x| {
            assert(x.channels == 3);
            g.linear(g.global_pool(x), 10)
        });
        "#,
    );
    library
        .property("size", |node: Node| Ok(List(vec![node.shape.height, node.shape.width])))
        .doc("Height and width of a node.")
        .example(
            r#"
            network(#{ channels: 3, size: 8, classes: 10 }, |g, x| {
                assert(x.size == [8, 8]);
                g.linear(g.global_pool(x), 10)
            });
            "#,
        );
    library.kind::<Slots>("A named matrix of mixing weights in a graph; the network has alphas of its name and shape.");
}

fn declare_structure(library: &mut Library) {
    library
        .method("add", &["g", "nodes"], |g: GraphBuilder, nodes: List<Node>| {
            let nodes = g.own_all(&nodes.0)?;
            g.add(|graph| graph.add(&nodes))
        })
        .doc("The sum of nodes of one shape.")
        .example(
            r#"
            network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                let y = g.add([x, g.pointwise(g.relu(x), 4)]);
                g.linear(g.global_pool(y), 2)
            });
            "#,
        );
    library
        .method("multiply", &["g", "nodes"], |g: GraphBuilder, nodes: List<Node>| {
            let nodes = g.own_all(&nodes.0)?;
            let Some((&first, rest)) = nodes.split_first() else {
                return Err(Error::user("multiply: there is nothing to multiply").hint("g.multiply([x, gate])"));
            };
            g.add(|graph| rest.iter().try_fold(first, |product, &node| graph.multiply(product, node)))
        })
        .doc(
            r#"
            The product of nodes with equally many channels, element by element. A node of one pixel is repeated over
            all pixels of the others, so it gates channels, as in squeeze-and-excitation (Hu et al. 2018).
            "#,
        )
        .example(
            r#"
            define_op("squeezed_conv", |g, x, channels, stride| {
                let y = g.batch_norm(g.conv(g.relu(x), channels, #{ stride: stride }));
                let squeezed = g.relu(g.linear(g.global_pool(y), max(channels / 4, 1)));
                g.multiply([y, g.activate(g.linear(squeezed, channels), "sigmoid")])
            });
            let net = supernet(#{ channels: 1, size: 8, classes: 10 },
                #{ channels: 4, layers: 3, nodes: 1, ops: ["none", "skip_connect", "squeezed_conv"] });
            assert_equal(net.forward(normal([2, 1, 8, 8])).shape, [2, 10]);
            "#,
        );
    library
        .method("concat", &["g", "nodes"], |g: GraphBuilder, nodes: List<Node>| {
            let nodes = g.own_all(&nodes.0)?;
            g.add(|graph| graph.concat(&nodes))
        })
        .doc("Nodes of one size, concatenated along the channels.")
        .example(
            r#"
            network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                let y = g.concat([x, g.relu(x)]);
                assert(y.channels == 8);
                g.linear(g.global_pool(y), 2)
            });
            "#,
        );
    library
        .method("slice", &["g", "x", "first", "count"], |g: GraphBuilder, x: Node, first: usize, count: usize| {
            let x = g.own(&x)?;
            g.add(|graph| graph.slice(x, first, count))
        })
        .doc("`count` channels from channel `first` on.")
        .example(
            r#"
            network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                assert(g.slice(x, 1, 2).channels == 2);
                g.linear(g.global_pool(x), 2)
            });
            "#,
        );
    library
        .method("shuffle", &["g", "x", "groups"], |g: GraphBuilder, x: Node, groups: usize| {
            let x = g.own(&x)?;
            g.add(|graph| graph.shuffle(x, groups))
        })
        .doc("Channel shuffle (Zhang et al. 2018): channels of different groups come to lie side by side.")
        .example("network(#{ channels: 4, size: 8, classes: 2 }, |g, x| g.linear(g.global_pool(g.shuffle(x, 2)), 2));");
    library
        .method("noise", &["g", "x", "stride"], |g: GraphBuilder, x: Node, stride: Option<usize>| {
            let x = g.own(&x)?;
            g.add(|graph| graph.noise(x, stride.unwrap_or(1)))
        })
        .doc(
            r#"
            Standard normal noise of the shape of `x`, at a stride of 1 unless given; drawn afresh for every image of
            every pass, in evaluation and in an exported file too. No gradient flows through it.
            "#,
        )
        .example(
            r#"
            network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                g.linear(g.global_pool(g.add([x, g.noise(x)])), 2)
            });
            "#,
        );
    library
        .method("dropout", &["g", "x", "q"], |g: GraphBuilder, x: Node, q: f64| {
            let x = g.own(&x)?;
            g.add(|graph| graph.dropout(x, q))
        })
        .doc(
            r#"
            Dropout (Srivastava et al. 2014): in training every number is 0 with probability `q`, and divided by 1 − q
            otherwise. Evaluation and exported files drop nothing.
            "#,
        )
        .example(
            r#"
            let net = network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                g.linear(g.dropout(g.global_pool(x), 0.5), 2)
            });
            let x = ones([1, 4, 8, 8]);
            assert(!all_close(net.forward(x), net.forward(x)));
            assert(all_close(net.forward(x, #{ training: false }), net.forward(x, #{ training: false })));
            "#,
        );
    library
        .method("drop_path", &["g", "x"], |g: GraphBuilder, x: Node| {
            let x = g.own(&x)?;
            g.add(|graph| graph.drop_path(x))
        })
        .doc(
            r#"
            Drop path (Larsson et al. 2017): in training passes the node of each image is left out with the probability
            `net.drop_path`, and divided by one minus it otherwise.
            "#,
        )
        .example(
            r#"
            let net = network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                let y = g.add([x, g.drop_path(g.pointwise(x, 4))]);
                g.linear(g.global_pool(y), 2)
            });
            net.drop_path = 0.2;
            "#,
        );
    library
        .method("scope", &["g", "name", "build"], |call: &Call<'_>, g: GraphBuilder, name: String, build: FnPtr| {
            g.scope(&name, |g| call.invoke::<Dynamic>(&build, (g.clone(),)))
        })
        .doc("Runs the closure |g| and gives what it gives; the weights made inside are called `name.…`.")
        .example(
            r#"
            let net = network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                let y = g.scope("stem", |g| g.conv(x, 4, #{ name: "first" }));
                g.linear(g.global_pool(y), 2)
            });
            assert(net.weight("stem.first.weight").shape == [4, 3, 3, 3]);
            "#,
        );
}

fn declare_search(library: &mut Library, registry: &Registry) {
    library
        .method(
            "slots",
            &["g", "name", "rows", "columns"],
            |g: GraphBuilder, name: String, rows: usize, columns: usize| g.slots(&name, rows, columns),
        )
        .doc("Declares a matrix of mixing weights: the network has alphas of this name and shape, softmaxed by row.")
        .example(
            r#"
            let net = network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                let choice = g.slots("choice", 1, 2);
                let y = g.mixed(choice, [[x, g.relu(x)]]);
                g.linear(g.global_pool(y), 2)
            });
            assert(net.alphas.choice.shape == [1, 2]);
            "#,
        );
    library
        .method("mixed", &["g", "slots", "nodes", "first_row"], mixed)
        .doc(
            r#"
            A weighted sum: Σ p[first_row + i][k] · nodes[i][k], one array of nodes per row; () leaves a candidate out.
            `first_row` is 0 unless given.
            "#,
        )
        .example(
            r#"
            network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                let p = g.slots("edges", 2, 2);
                let y = g.mixed(p, [[x, g.relu(x)], [(), g.batch_norm(x)]]);
                g.linear(g.global_pool(y), 2)
            });
            "#,
        );
    let defined = registry.clone();
    library
        .method(
            "op",
            &["g", "name", "x", "channels", "stride"],
            move |call: &Call<'_>, g: GraphBuilder, name: String, x: Node, channels: usize, stride: Option<usize>| {
                let operations = defined.operations(call)?;
                let operation = operations.get(&name)?;
                let target = Target { channels, stride: stride.unwrap_or(1), norms: g.norms() };
                let x = g.own(&x)?;
                let scope = g.name(None, "op")?;
                g.add(|graph| graph.scope(scope, |graph| operation.apply(graph, x, target)))
            },
        )
        .doc("A candidate operation by its name, at stride 1 unless given. It is named `op0`, `op1` … in its scope.")
        .example(
            r#"
            network(#{ channels: 4, size: 8, classes: 2 }, |g, x| {
                g.linear(g.global_pool(g.op("sep_conv_3x3", x, 4, 2)), 2)
            });
            "#,
        );
    let defined = registry.clone();
    library
        .method(
            "cell",
            &["g", "before_previous", "previous", "options"],
            move |call: &Call<'_>, g: GraphBuilder, before: Node, previous: Node, options: Options| {
                cell(call, &defined, &g, &before, &previous, &options)
            },
        )
        .doc(
            r#"
            A search cell as the supernet has it, on the outputs of the cell before the previous one and of the previous
            one; gives the concatenation of its nodes. Put each in a scope of its own.
            "#,
        )
        .required::<usize>("channels", "channels of every node")
        .required::<Slots>("slots", "mixing weights, edges × ops; cells that share them search one cell")
        .option("nodes", 4_usize, "intermediate nodes; n of them have n(n + 3)/2 edges")
        .option("reduction", false, "edges from the cell's inputs have stride 2")
        .option("after_reduction", false, "the input two cells back has twice the resolution of the previous one")
        .option("ops", op_names(), "the candidates, one per column of `slots`")
        .option("partial", 1_usize, "candidates see channels / partial channels, the others pass by (PC-DARTS: 4)")
        .optional::<Slots>(
            "edge_weights",
            "1",
            "edges × 1: the weights of the channels that pass by; the candidates' weights already hold them as factors",
        )
        .example(
            r#"
            let net = network(#{ channels: 3, size: 8, classes: 2 }, |g, x| {
                let p = g.slots("normal", 2, 8);
                let y = g.scope("cell0", |g| g.cell(x, x, #{ channels: 2, slots: p, nodes: 1 }));
                g.linear(g.global_pool(y), 2)
            });
            assert(net.alphas.normal.shape == [2, 8]);
            "#,
        );
}

/// [`DARTS_OPS`] as scripts hold it.
pub fn op_names() -> List<String> {
    List(DARTS_OPS.map(String::from).to_vec())
}

fn mixed(g: GraphBuilder, slots: Slots, nodes: List<List<Option<Node>>>, first_row: Option<usize>) -> Result<Node> {
    let block = g.own_slots(&slots)?;
    let first = first_row.unwrap_or(0);
    let mut terms = Vec::new();
    for (row, nodes) in nodes.0.iter().enumerate() {
        for (column, node) in nodes.0.iter().enumerate() {
            let Some(node) = node else { continue };
            if first + row >= block.rows || column >= block.columns {
                return Err(Error::user(format!(
                    "\"{}\" has {} rows and {} columns; there is no weight for a node at row {}, column {column}",
                    block.name,
                    block.rows,
                    block.columns,
                    first + row
                )));
            }
            terms.push((g.own(node)?, block.slot(first + row, column)));
        }
    }
    g.add(|graph| graph.mixed(&terms))
}

fn cell(
    call: &Call<'_>,
    defined: &Registry,
    g: &GraphBuilder,
    before: &Node,
    previous: &Node,
    options: &Options,
) -> Result<Node> {
    let (before, previous) = (g.own(before)?, g.own(previous)?);
    let names = options.get::<List<String>>("ops")?.0;
    let operations = defined.operations(call)?.select(names.iter().map(String::as_str))?;
    let slots = g.own_slots(&options.get("slots")?)?;
    let nodes = options.get::<usize>("nodes")?;
    let edges = crate::space::cell::edge_count(nodes);
    if (slots.rows, slots.columns) != (edges, operations.len()) {
        return Err(Error::user(format!(
            "a cell of {nodes} nodes and {} ops needs {edges} × {} mixing weights, but \"{}\" is {} × {}",
            operations.len(),
            operations.len(),
            slots.name,
            slots.rows,
            slots.columns
        )));
    }
    let (channels, partial) = (options.get::<usize>("channels")?, options.get::<usize>("partial")?);
    check_partial(channels, partial)?;
    let edge_weights = options.find::<Slots>("edge_weights")?.map(|block| g.own_slots(&block)).transpose()?;
    if let Some(block) = edge_weights.as_ref().filter(|block| (block.rows, block.columns) != (edges, 1)) {
        return Err(Error::user(format!(
            "a cell of {nodes} nodes needs {edges} × 1 edge weights, but \"{}\" is {} × {}",
            block.name, block.rows, block.columns
        )));
    }
    let plan = SearchCell {
        nodes,
        channels,
        kind: if options.get("reduction")? { CellKind::Reduction } else { CellKind::Normal },
        after_reduction: options.get("after_reduction")?,
        operations: &operations,
        mask: None,
        slots: &slots,
        partial,
        edge_weights: edge_weights.as_ref(),
    };
    g.add(|graph| plan.build(graph, before, previous))
}
