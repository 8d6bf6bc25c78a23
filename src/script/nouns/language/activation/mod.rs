//! Activations of a script's own for recurrent cells, made of the time step's elementwise primitives.
//!
//! A closure `|g, x| …` is run once for every node or edge of a cell that carries the activation, while the cell is
//! built; what it describes is compiled into the time step like the built-in activations.

mod handle;
mod registry;

pub use handle::{Row, StepBuilder};
pub use registry::Registry;

use crate::script::binding::{Call, Library, List};
use rhai::FnPtr;

/// Declares them. `registry` holds what `define_activation` adds.
pub fn declare(library: &mut Library, registry: &Registry) {
    library.kind::<StepBuilder>("A recurrent cell's time step under construction, as the closure of an activation.");
    library.kind::<Row>("The output of a primitive of a time step: a row of numbers for each column of the text.");
    let defined = registry.clone();
    library
        .function("define_activation", &["name", "build"], move |call: &Call<'_>, name: String, build: FnPtr| {
            defined.define(call, name, build)
        })
        .doc(
            r#"
            Adds an activation for recurrent cells. `build` is a closure |g, x| that makes of the row `x`, element by
            element, a row of the same width, of the builder's primitives: `tanh`, `sigmoid`, `relu`, `scale`,
            `at_most`, `add`, `subtract`, `multiply`, `blend`. It runs once for every edge or node that carries the
            activation. The name may then stand wherever those of the built-in ones may; a script that reads a genotype
            with it, or a saved model, has to define it too.
            "#,
        )
        .example(
            r#"
            define_activation("swish", |g, x| g.multiply(x, g.sigmoid(x)));
            let net = recurrent_supernet(50, #{ hidden: 6, nodes: 2, activations: ["none", "tanh", "swish"] });
            assert(net.activations[2] == "swish");
            let cell = recurrent_genotype(#{ recurrent: [["swish", 0], ["tanh", 1]] });
            language_model(50, #{ cell: cell, hidden: 6 });
            "#,
        );
    declare_functions(library);
    declare_arithmetic(library);
}

fn declare_functions(library: &mut Library) {
    library
        .method("tanh", &["g", "x"], |g: StepBuilder, x: Row| g.of([x], |step, [x]| step.tanh(x)))
        .doc("The hyperbolic tangent.")
        .example(r#"define_activation("softer", |g, x| g.tanh(g.scale(x, 0.5)));"#);
    library
        .method("sigmoid", &["g", "x"], |g: StepBuilder, x: Row| g.of([x], |step, [x]| step.sigmoid(x)))
        .doc("1 / (1 + e⁻ˣ).")
        .example(r#"define_activation("swish", |g, x| g.multiply(x, g.sigmoid(x)));"#);
    library
        .method("relu", &["g", "x"], |g: StepBuilder, x: Row| g.of([x], |step, [x]| step.relu(x)))
        .doc("max(x, 0).")
        .example(
            r#"
            define_activation("leaky_relu", |g, x| g.add([g.scale(x, 0.1), g.scale(g.relu(x), 0.9)]));
            "#,
        );
    library
        .method("scale", &["g", "x", "factor", "shift"], |g: StepBuilder, x: Row, factor: f64, shift: Option<f64>| {
            g.of([x], |step, [x]| step.affine(x, factor, shift.unwrap_or(0.0)))
        })
        .doc("factor · x + shift, both constants; `shift` is 0 unless given.")
        .example(r#"define_activation("negative", |g, x| g.scale(x, -1.0));"#);
    library
        .method("at_most", &["g", "x", "most"], |g: StepBuilder, x: Row, most: f64| {
            g.of([x], |step, [x]| step.at_most(x, most))
        })
        .doc("min(x, most); max(x, least) is `g.scale(g.relu(g.scale(x, 1.0, -least)), 1.0, least)`.")
        .example(r#"define_activation("relu1", |g, x| g.at_most(g.relu(x), 1.0));"#);
}

fn declare_arithmetic(library: &mut Library) {
    library
        .method("add", &["g", "rows"], |g: StepBuilder, rows: List<Row>| g.sum(&rows))
        .doc("The sum of rows.")
        .example(r#"define_activation("skip_tanh", |g, x| g.add([x, g.tanh(x)]));"#);
    library
        .method("subtract", &["g", "a", "b"], |g: StepBuilder, a: Row, b: Row| {
            g.of([a, b], |step, [a, b]| step.subtract(a, b))
        })
        .doc("a − b.")
        .example(r#"define_activation("shrink", |g, x| g.subtract(x, g.tanh(x)));"#);
    library
        .method("multiply", &["g", "a", "b"], |g: StepBuilder, a: Row, b: Row| {
            g.of([a, b], |step, [a, b]| step.multiply(a, b))
        })
        .doc("a · b, element by element.")
        .example(r#"define_activation("square", |g, x| g.multiply(x, x));"#);
    library
        .method("blend", &["g", "from", "to", "gate"], |g: StepBuilder, from: Row, to: Row, gate: Row| {
            g.of([from, to, gate], |step, [from, to, gate]| step.blend(from, to, gate))
        })
        .doc("from + gate · (to − from): `from` where the gate is 0, `to` where it is 1.")
        .example(r#"define_activation("gated", |g, x| g.blend(x, g.tanh(x), g.sigmoid(x)));"#);
}
