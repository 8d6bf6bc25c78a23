//! Copies of networks, and weights that move from one to another.

use super::SMALL;
use crate::script::binding::{Library, Options};
use crate::space::Network;
use rhai::{Dynamic, Map};

pub fn declare(library: &mut Library) {
    library
        .method("copy", &["net"], |net: Network| net.copy())
        .doc(
            r#"
            The same network with weights, running statistics, alphas and draws of its own, which begin at the same
            values: for trial steps. It knows nothing of the first one's optimizers.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            let trial = net.copy();
            trial.set_weights(trial.weights * 0.5);
            assert(all_close(trial.weights * 2.0, net.weights));
            "#,
        );
    library
        .function("transfer", &["from", "to", "options"], |from: Network, to: Network, options: Options| {
            let told = to.take_from(&from, options.get("widen")?)?;
            let list = |names: Vec<String>| Dynamic::from_array(names.into_iter().map(Into::into).collect());
            let parts = [("moved", told.moved), ("missing", told.missing), ("other_shape", told.other_shape)];
            Ok(parts.into_iter().map(|(name, names)| (name.into(), list(names))).collect::<Map>())
        })
        .doc(
            r#"
            Gives `to` the weights and the running statistics that `from` has under the same names, for supernets of
            other depth, ops or width. With `widen`, a weight that is larger in `to` begins with that of `from` along
            every axis and keeps its own numbers beyond. Alphas stay. Gives a map of names of weights and norms: those
            `moved`, and of those that stay the ones `missing` in `from` and the ones of `other_shape` there.
            "#,
        )
        .option("widen", false, "whether larger weights begin with the smaller ones")
        .example(
            r#"
            let digits = #{ channels: 1, size: 8, classes: 10 };
            let narrow = supernet(digits, #{ channels: 4, layers: 3, nodes: 1, partial: 4 });
            let wide   = supernet(digits, #{ channels: 4, layers: 3, nodes: 1, partial: 2 });
            assert(transfer(narrow, wide).other_shape.len() > 0);
            let told = transfer(narrow, wide, #{ widen: true });
            assert(told.missing.len() + told.other_shape.len() == 0);
            "#,
        );
}
