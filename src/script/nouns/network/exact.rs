//! Gradients in double precision, and where single precision may differ; part of the noun `network`.

use super::SMALL;
use crate::learn::{self, Parts};
use crate::script::binding::{Call, Library, Options};
use crate::script::nouns::Tensor;
use crate::script::nouns::inputs::AnyBatch;
use crate::space::Network;
use crate::{Error, Result};
use rhai::{Array, Dynamic, Map};

pub fn declare(library: &mut Library) {
    library
        .method("exact_gradient", &["net", "batch", "options"], exact_gradient)
        .doc(
            r#"
            The gradient of a batch's cross-entropy in double precision, whatever the network runs in: `gradient` is a
            map with `weights` and a tensor for every alpha. `near` lists the decisions that rounding may flip: inputs
            of ReLUs too near to zero, and windows of max pools whose two largest values are too close. Each is such a
            map too, of what the gradient changes by if the decision falls the other way; its `kind` is "kink" or
            "winner". A gradient in single precision differs from the exact one by the changes of some of them, and by
            rounding.
            "#,
        )
        .option("within", 2e-6, "how near counts, as a share of the largest magnitude in a map")
        .optional::<Tensor>("weights", "the network's own", "flat weights to look at instead")
        .example_after(
            SMALL,
            r#"
            let exact = net.exact_gradient(#{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] });
            assert(exact.gradient.weights.shape == net.weights.shape);
            for decision in exact.near { assert(decision.normal.shape == net.alphas.normal.shape); }
            "#,
        );
}

fn exact_gradient(call: &Call<'_>, net: Network, batch: AnyBatch, options: Options) -> Result<Map> {
    let within = options.get::<f64>("within")?;
    if !(0.0..1.0).contains(&within) {
        return Err(Error::user(format!("`within` must be at least 0 and below 1, not {within}")));
    }
    let weights = options.find::<Tensor>("weights")?.map(|weights| weights.float()).transpose()?;
    if let Some(weights) = &weights
        && weights.dims() != net.weights().dims()
    {
        let (own, given) = (net.weights().dims(), weights.dims());
        return Err(Error::user(format!("`weights` must have the shape {own:?} of net.weights, not {given:?}")));
    }
    let batch = batch.on(net.weights().device())?;
    let meter = &call.host().meter;
    let hand = |tensor| Dynamic::from(Tensor::new(meter, tensor));
    let map = |parts: Parts| {
        let mut map: Map = net.alphas().names().map(Into::into).zip(parts.alphas.into_iter().map(hand)).collect();
        map.insert("weights".into(), hand(parts.weights));
        map
    };
    let found = learn::exact(&net, &batch, weights.as_ref(), within)?;
    let near = found.near.into_iter().map(|near| {
        let mut change = map(near.change);
        change.insert("kind".into(), if near.is_winner { "winner" } else { "kink" }.into());
        Dynamic::from_map(change)
    });
    let near: Array = near.collect();
    Ok(Map::from([("gradient".into(), Dynamic::from_map(map(found.gradient))), ("near".into(), near.into())]))
}
