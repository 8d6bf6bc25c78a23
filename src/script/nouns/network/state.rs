//! The state of any network as a map of tensors: taken out, kept in a file, put back.

use super::SMALL;
use crate::Result;
use crate::script::binding::Library;
use crate::script::nouns::Tensor;
use crate::script::nouns::inputs::Blocks;
use crate::space::Network;
use rhai::{Dynamic, Map};

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .method("state", &["net"], move |net: Network| {
            let hand = |(name, tensor): (String, _)| (name.into(), Dynamic::from(Tensor::new(&host.meter, tensor)));
            Ok(net.state()?.into_iter().map(hand).collect::<Map>())
        })
        .doc(
            r#"
            All that learning changes in a network, as it is now, as a map of tensors by name: "weights", the running
            "statistics", "alphas.NAME" for each alpha, and "draws" where passes draw at random. `save_tensors` keeps it
            in a file, for networks that `net.save` cannot rebuild.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            save_tensors("net.safetensors", net.state());
            net.set_state(load_tensors("net.safetensors"));
            "#,
        );
    library
        .method("set_state", &["net", "state"], |net: Network, state: Map| {
            let state = state.iter().map(|(name, value)| Ok((name.to_string(), Blocks::tensor(name, value)?)));
            net.restore(&state.collect::<Result<Vec<_>>>()?)
        })
        .doc(
            r#"
            Puts back what `net.state()` gave, of this network or of one made with the same options: it then gives the
            same logits, in evaluation too.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            let before = net.state();
            net.set_alphas(#{ normal: zeros([2, 8]) });
            net.set_state(before);
            "#,
        );
}
