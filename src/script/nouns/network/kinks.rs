//! What single precision may take for the other side of a kink; part of the noun `network`.

use super::SMALL;
use crate::learn;
use crate::script::binding::{Call, Library, Options};
use crate::script::nouns::Tensor;
use crate::script::nouns::inputs::AnyBatch;
use crate::space::Network;
use crate::{Error, Result};
use rhai::{Dynamic, Map};

pub fn declare(library: &mut Library) {
    library
        .method("kinks", &["net", "batch", "options"], kinks)
        .doc(
            "Which decisions of a pass rounding may turn round, found in double precision: inputs of ReLUs that lie too \
             near to zero (`inputs`) and windows of max pools whose two largest values lie too near to each other \
             (`windows`). `gradients` holds, element by element, the sum of what each changes in the gradient of the \
             batch's cross-entropy: for `weights` and for every alpha. A gradient in single precision may be off by so \
             much, and beyond it not by more than rounding.",
        )
        .option("within", 2e-6, "how near counts, as a share of the largest magnitude in a map")
        .optional::<Tensor>("weights", "the network's own", "flat weights to look at instead")
        .example_after(
            SMALL,
            r#"
            let found = net.kinks(#{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] });
            assert(found.inputs >= 0 && found.gradients.weights.shape == net.weights.shape);
            "#,
        );
}

fn kinks(call: &Call<'_>, net: Network, batch: AnyBatch, options: Options) -> Result<Map> {
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
    let found = learn::kinks(&net, &batch, weights.as_ref(), within)?;
    let meter = &call.host().meter;
    let hand = |tensor| Dynamic::from(Tensor::new(meter, tensor));
    let mut gradients: Map = net.alphas().names().map(Into::into).zip(found.alphas.into_iter().map(hand)).collect();
    gradients.insert("weights".into(), hand(found.weights));
    let count = |count: usize| Dynamic::from(count as i64);
    Ok(Map::from([
        ("inputs".into(), count(found.inputs)),
        ("windows".into(), count(found.windows)),
        ("gradients".into(), Dynamic::from_map(gradients)),
    ]))
}
