//! What a language model has: weights by name, alphas, dropout, its state.

use super::SMALL;
use super::making::dropouts;
use crate::Result;
use crate::script::binding::{Library, List};
use crate::script::nouns::Tensor;
use crate::script::nouns::inputs::{Blocks, NewWeights, alphas_by_name, set_alphas};
use crate::space::recurrent::{Dropouts, LanguageModel};
use rhai::{Dynamic, Map};

pub fn declare(library: &mut Library) {
    library
        .property("parameters", |net: LanguageModel| Ok(net.parameters()))
        .doc("How many weights it has; the embedding that is the decoder's matrix too counts once, alphas do not.")
        .example_after(SMALL, "assert(net.parameters == net.weights.shape[0]);");
    library
        .property("macs", |net: LanguageModel| Ok(net.macs()))
        .doc("Multiply-adds of one token: the products of the cells and of the decoder.")
        .example_after(SMALL, "assert(net.macs > 0);");
    library
        .property("activations", |net: LanguageModel| Ok(List(net.space()?.1.to_vec())))
        .doc("A recurrent supernet's candidates, in the order of the alphas' columns.")
        .example_after(SMALL, "assert(net.activations == DARTS_ACTIVATIONS);");
    library
        .property("nodes", |net: LanguageModel| Ok(net.space()?.0))
        .doc("A recurrent supernet's nodes besides the input's; n of them have n(n + 1)/2 edges.")
        .example_after(SMALL, "assert(net.nodes == 2);");
    let host = library.host();
    library
        .property("weights", move |net: LanguageModel| Ok(Tensor::of_parameter(&host.meter, net.weights().clone())))
        .doc("All weights as one flat parameter, which always shows the current values.")
        .example_after(SMALL, "assert(net.weights.shape == [net.parameters]);");
    library
        .property("weight_names", |net: LanguageModel| {
            Ok(List(net.table().iter().map(|weight| weight.name.clone()).collect()))
        })
        .doc("The names of the weights, in the order of the flat vector.")
        .example_after(SMALL, r#"assert(net.weight_names == ["embedding", "bias", "w0", "ws.0", "ws.1"]);"#);
    let host = library.host();
    library
        .method("weight", &["net", "name"], move |net: LanguageModel, name: String| {
            Ok(Tensor::new(&host.meter, net.slice_of(&net.weights().tensor(), &name)?))
        })
        .doc("One weight in its own shape; gradients flow through it to `net.weights`.")
        .example_after(SMALL, r#"assert(net.weight("w0").shape == [12, 12]);"#);
    let host = library.host();
    library
        .method("named", &["net", "flat"], move |net: LanguageModel, flat: Tensor| {
            let flat = flat.candle();
            let part =
                |name: &str| Ok((name.into(), Dynamic::from(Tensor::new(&host.meter, net.slice_of(&flat, name)?))));
            net.table().iter().map(|weight| part(&weight.name)).collect::<Result<Map>>()
        })
        .doc("The parts of a flat vector (weights or their gradient) by weight name, each in its weight's shape.")
        .example_after(SMALL, r#"assert(net.named(net.weights).bias.shape == [200]);"#);
    let host = library.host();
    library
        .method("clone_weights", &["net"], move |net: LanguageModel| {
            Ok(Tensor::new(&host.meter, net.weights().detached()))
        })
        .doc("The flat weights as they are now; later steps leave them alone.")
        .example_after(SMALL, "net.set_weights(net.clone_weights());");
    library
        .method("set_weights", &["net", "weights"], |net: LanguageModel, weights: Dynamic| set_weights(&net, &weights))
        .doc("Gives the model other weights: all with a flat tensor, or those in a map of tensors by name.")
        .example_after(SMALL, "net.set_weights(#{ bias: zeros([200]) });");
    let host = library.host();
    library
        .property("alphas", move |net: LanguageModel| Ok(alphas_by_name(&host, net.alphas())))
        .writable(|net: LanguageModel, values: Map| set_alphas(net.alphas(), &values))
        .doc("The architecture parameters of a recurrent supernet: a map with `alphas`, edges × activations.")
        .example_after(
            SMALL,
            r#"
            net.alphas.alphas = zeros([3, 5]);
            assert(net.alphas.alphas.shape == [3, 5]);
            "#,
        );
    library
        .method("set_alphas", &["net", "alphas"], |net: LanguageModel, alphas: Map| set_alphas(net.alphas(), &alphas))
        .doc("Gives the alphas in a map other values, by name.")
        .example_after(SMALL, "net.set_alphas(#{ alphas: net.alphas.alphas * 0.0 });");
    library
        .property("dropout", |net: LanguageModel| {
            let own = net.dropouts();
            let entry = |name: &str| Some((name.into(), Dynamic::from_float(own.get(name)?)));
            Ok(Dropouts::NAMES.into_iter().filter_map(entry).collect::<Map>())
        })
        .writable(|net: LanguageModel, given: Map| {
            net.set_dropouts(dropouts(&given, net.dropouts())?);
            Ok(())
        })
        .doc("How often training passes drop, by what they drop. Setting a map changes what is in it.")
        .example_after(
            SMALL,
            r#"
            net.dropout = #{ output: 0.75, x: 0.75 };
            assert(net.dropout.output == 0.75 && net.dropout.hidden == 0.0);
            "#,
        );
    let host = library.host();
    library
        .method("state", &["net"], move |net: LanguageModel| {
            let entry = |(name, tensor): (String, _)| (name.into(), Dynamic::from(Tensor::new(&host.meter, tensor)));
            Ok(net.state()?.into_iter().map(entry).collect::<Map>())
        })
        .doc("Everything that learning changes, as a map of tensors: to keep the best, or for `save_tensors`.")
        .example_after(SMALL, r#"assert(net.state().weights.shape == net.weights.shape);"#);
    library
        .method("set_state", &["net", "state"], |net: LanguageModel, state: Map| {
            let state = state.iter().map(|(name, value)| Ok((name.to_string(), Blocks::tensor(name, value)?)));
            net.restore(&state.collect::<Result<Vec<_>>>()?)
        })
        .doc("Puts back what `state` gave, also from a file, into a model made with the same options.")
        .example_after(
            SMALL,
            r#"
            let kept = net.state();
            net.set_weights(net.weights * 0.0);
            net.set_state(kept);
            "#,
        );
}

fn set_weights(net: &LanguageModel, weights: &Dynamic) -> Result<()> {
    match NewWeights::read(weights)? {
        NewWeights::Flat(flat) => net.set_weights(&flat),
        NewWeights::Named(named) => net.set_named(&named),
    }
}
