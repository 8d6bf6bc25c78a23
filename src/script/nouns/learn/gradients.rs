//! The two gradients of a bilevel search, and Hessian-vector products, as scripts call them.

use super::{Gradient, Optimizer, finite, order};
use crate::Error;
use crate::learn::{self, Loss, With};
use crate::script::binding::{Call, Library, Options};
use crate::script::nouns::Tensor;
use crate::script::nouns::inputs::AnyBatch;
use crate::script::nouns::network::SMALL;
use crate::script::nouns::ways::{Given, LOSS, MASK, PATH, RELAX};
use crate::space::{Genotype, Network};
use rhai::{Dynamic, FnPtr, Map};

pub fn declare(library: &mut Library) {
    declare_weights(library);
    declare_alphas(library);
    declare_products(library);
    declare_parts(library);
}

fn declare_weights(library: &mut Library) {
    library.kind::<Gradient>("A loss and its gradient, as optimisers take it.");
    let host = library.host();
    library
        .function(
            "weight_gradient",
            &["net", "batch", "options"],
            move |call: &Call<'_>, net: Network, batch: AnyBatch, options: Options| {
                let batch = batch.on(net.weights().device())?;
                let given = Given::read(call, &net, &options)?;
                let smoothing: f64 = options.get("label_smoothing")?;
                if smoothing != 0.0 && options.given("loss") {
                    return Err(Error::user("label_smoothing belongs to cross-entropy, but `loss` is another one"));
                }
                let of = Loss { label_smoothing: smoothing, auxiliary: options.find("auxiliary")? };
                let (loss, flat) = learn::weight_gradient_by(&net, &batch, &given.way(of))?;
                let loss = finite(&host, "train_loss", loss)?;
                let gradient = Gradient::new(&host, loss, vec![("weights".into(), flat)]);
                match &given.active {
                    Some(active) => Ok(gradient.of_running(net.weights_running(active)?)),
                    None => Ok(gradient),
                }
            },
        )
        .doc(
            r#"
            The cross-entropy of a batch in training mode, or another loss, and its gradient with respect to the
            network's weights. `batch` is a batch of a data set or `#{ x: images, y: labels }`. With `mask` or `path`
            only some ops run, and the time is theirs. A loss that is NaN or infinite ends the script.
            "#,
        )
        .option("label_smoothing", 0.0, "ε: labels are 1 − ε at the right class plus ε/classes at every class")
        .optional::<f64>("auxiliary", "0.4", "the weight of an auxiliary head's loss, for networks that have one")
        .optional::<FnPtr>("loss", LOSS.0, LOSS.1)
        .optional::<FnPtr>("relax", RELAX.0, RELAX.1)
        .optional::<Map>("mask", MASK.0, MASK.1)
        .optional::<Genotype>("path", PATH.0, PATH.1)
        .example_after(
            SMALL,
            r#"
            let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
            let g = weight_gradient(net, batch);
            assert(g.parts.weights.shape == net.weights.shape);
            let focal = |logits, labels| {
                let p = gather(softmax(logits), labels.unsqueeze(1), 1);
                -mean((1 - p) ** 2 * log(p))
            };
            assert(weight_gradient(net, batch, #{ loss: focal }).loss < g.loss);
            let cell = derive(net);
            let alone = weight_gradient(net, batch, #{ path: cell });
            "#,
        );
}

fn declare_alphas(library: &mut Library) {
    let host = library.host();
    library
        .function(
            "alpha_gradient",
            &["net", "train", "valid", "options"],
            move |call: &Call<'_>, net: Network, train: AnyBatch, valid: AnyBatch, options: Options| {
                let order = order(&options)?;
                let device = net.weights().device();
                let (train, valid) = (train.on(device)?, valid.on(device)?);
                let given = Given::read(call, &net, &options)?;
                let way = given.way(Loss::default());
                let (loss, parts) = learn::alpha_gradient_by(&net, &train, &valid, &order, &way)?;
                let named = net.alphas().names().map(String::from).zip(parts);
                let loss = finite(&host, "valid_loss", loss)?;
                Ok(Gradient::new(&host, loss, named.collect()))
            },
        )
        .doc(
            r#"
            The validation loss and its gradient with respect to the network's alphas (Liu et al. 2019, equations 5 to
            8). Order 1: at the weights as they are. Order 2: at the weights after the coming SGD step on `train`,
            through which it differentiates (momentum buffer and weight decay included, clipping not). All passes run in
            training mode. `loss` is that of both batches; what `extra` gives is part of the loss that is given back.
            A loss that is NaN or infinite ends the script.
            "#,
        )
        .option("order", 1_usize, "1, or 2: one unrolled weight step")
        .optional::<Optimizer>("optimizer", "plain gradient descent", "the weights' SGD, whose step order 2 unrolls")
        .optional::<f64>("eta", "the optimizer's learning rate", "the unrolled step's length")
        .optional::<FnPtr>("loss", LOSS.0, LOSS.1)
        .optional::<FnPtr>("extra", "nothing", "a closure |alphas| whose number is added to the validation loss")
        .optional::<FnPtr>("relax", RELAX.0, RELAX.1)
        .optional::<Map>("mask", MASK.0, MASK.1)
        .example_after(
            SMALL,
            r#"
            let w_opt = sgd(net.weights, #{ lr: 0.025, momentum: 0.9 });
            let train = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
            let valid = #{ x: normal([4, 1, 8, 8]), y: [4, 5, 6, 7] };
            let first = alpha_gradient(net, train, valid);
            let second = alpha_gradient(net, train, valid, #{ order: 2, optimizer: w_opt });
            assert(second.parts.normal.shape == [2, 8]);
            let even = |alphas| 0.1 * sum(alphas.normal ** 2);
            let third = alpha_gradient(net, train, valid, #{ extra: even });
            assert(all_close(third.parts.normal, first.parts.normal + 0.2 * net.alphas.normal, 1e-4));
            "#,
        );
}

fn declare_products(library: &mut Library) {
    let host = library.host();
    library
        .method(
            "hessian_vector",
            &["net", "batch", "v", "options"],
            move |call: &Call<'_>, net: Network, batch: AnyBatch, v: Tensor, options: Options| {
                let with = match options.get::<String>("wrt")?.as_str() {
                    "alphas" => With::Alphas,
                    "weights" => With::Weights,
                    other => return Err(Error::unknown("second derivative", other, ["alphas", "weights"])),
                };
                let batch = batch.on(net.weights().device())?;
                let v = v.float()?.to_dtype(net.weights().dtype())?;
                let given = Given::read(call, &net, &options)?;
                let mut parts = learn::hessian_vector(&net, &batch, &v, with, &given.way(Loss::default()))?;
                let hand = |tensor| Dynamic::from(Tensor::new(&host.meter, tensor));
                match with {
                    With::Weights => parts.pop().map(hand).ok_or_else(|| Error::run("the product came out empty")),
                    With::Alphas => {
                        let named = net.alphas().names().map(Into::into).zip(parts.into_iter().map(hand));
                        Ok(Dynamic::from_map(named.collect::<Map>()))
                    }
                }
            },
        )
        .doc(
            r#"
            A product of the training loss's second derivatives with a vector in weight space, by central differences
            with R = 0.01/‖v‖: (∂²L/∂α∂w)·v as a map by alpha, or (∂²L/∂w²)·v as a flat tensor. Both passes update
            running statistics.
            "#,
        )
        .option("wrt", "alphas".to_string(), r#"the second derivative's: "alphas" or "weights""#)
        .optional::<FnPtr>("loss", LOSS.0, LOSS.1)
        .optional::<FnPtr>("relax", RELAX.0, RELAX.1)
        .optional::<Map>("mask", MASK.0, MASK.1)
        .example_after(
            SMALL,
            r#"
            let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
            let h = net.hessian_vector(batch, net.clone_weights());
            assert(h.normal.shape == net.alphas.normal.shape);
            "#,
        );
}

fn declare_parts(library: &mut Library) {
    library.property("loss", |gradient: Gradient| Ok(gradient.0.loss)).doc("The loss.").example_after(
        SMALL,
        r#"
        let g = weight_gradient(net, #{ x: zeros([2, 1, 8, 8]), y: [0, 1] });
        assert(g.loss > 0.0);
        "#,
    );
    library
        .property("parts", |gradient: Gradient| {
            let parts = gradient.0.parts.iter();
            Ok(parts.map(|(name, part)| (name.as_str().into(), Dynamic::from(part.clone()))).collect::<Map>())
        })
        .doc(r#"The gradient's tensors by name: "weights", or the alphas' names."#)
        .example_after(
            SMALL,
            r#"
            let g = weight_gradient(net, #{ x: zeros([2, 1, 8, 8]), y: [0, 1] });
            let head = net.named(g.parts.weights)["head.bias"];
            assert(head.shape == [10]);
            "#,
        );
}
