//! The noun `learn`: optimisers, the two gradients of a bilevel search, schedules, and scores.

mod finite;
mod optimizer;
mod scores;

pub(super) use finite::finite;
pub use optimizer::Optimizer;

use super::inputs::{AnyBatch, relaxation};
use super::network::SMALL;
use crate::learn::{self, Loss, Order, Unroll, With, schedule};
use crate::script::binding::{Call, Library, Options, ScriptType};
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::space::Network;
use crate::{Error, Result};
use rhai::{Dynamic, FnPtr, Map};
use std::fmt;
use std::sync::Arc;

pub fn declare(library: &mut Library) {
    library.noun("learn", "Gradients, optimisers, schedules and scores.");
    declare_gradients(library);
    optimizer::declare(library);
    declare_schedules(library);
    scores::declare(library);
}

fn declare_gradients(library: &mut Library) {
    library.kind::<Gradient>("A loss and its gradient, as optimisers take it.");
    let host = library.host();
    library
        .function(
            "weight_gradient",
            &["net", "batch", "options"],
            move |call: &Call<'_>, net: Network, batch: AnyBatch, options: Options| {
                let batch = batch.on(net.weights().device())?;
                let relax = relaxation(call, &options)?;
                let of =
                    Loss { label_smoothing: options.get("label_smoothing")?, auxiliary: options.find("auxiliary")? };
                let (loss, flat) = learn::loss_gradient(&net, &batch, relax.as_deref(), of)?;
                let loss = finite(&host, "train_loss", loss)?;
                Ok(Gradient::new(&host, loss, vec![("weights".into(), flat)]))
            },
        )
        .doc(
            r#"
            The cross-entropy of a batch in training mode and its gradient with respect to the network's weights.
            `batch` is a batch of a data set or `#{ x: images, y: labels }`. A loss that is NaN or infinite ends the
            script.
            "#,
        )
        .option("label_smoothing", 0.0, "ε: labels are 1 − ε at the right class plus ε/classes at every class")
        .optional::<f64>("auxiliary", "0.4", "the weight of an auxiliary head's loss, for networks that have one")
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives a map of mixing weights")
        .example_after(
            SMALL,
            r#"
            let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
            let g = weight_gradient(net, batch);
            assert(g.parts.weights.shape == net.weights.shape);
            "#,
        );
    let host = library.host();
    library
        .function(
            "alpha_gradient",
            &["net", "train", "valid", "options"],
            move |call: &Call<'_>, net: Network, train: AnyBatch, valid: AnyBatch, options: Options| {
                let order = order(&options)?;
                let device = net.weights().device();
                let (train, valid) = (train.on(device)?, valid.on(device)?);
                let relax = relaxation(call, &options)?;
                let (loss, parts) = learn::alpha_gradient(&net, &train, &valid, relax.as_deref(), &order)?;
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
            training mode. A loss that is NaN or infinite ends the script.
            "#,
        )
        .option("order", 1_usize, "1, or 2: one unrolled weight step")
        .optional::<Optimizer>("optimizer", "plain gradient descent", "the weights' SGD, whose step order 2 unrolls")
        .optional::<f64>("eta", "the optimizer's learning rate", "the unrolled step's length")
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives a map of mixing weights")
        .example_after(
            SMALL,
            r#"
            let w_opt = sgd(net.weights, #{ lr: 0.025, momentum: 0.9 });
            let train = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
            let valid = #{ x: normal([4, 1, 8, 8]), y: [4, 5, 6, 7] };
            let first = alpha_gradient(net, train, valid);
            let second = alpha_gradient(net, train, valid, #{ order: 2, optimizer: w_opt });
            assert(second.parts.normal.shape == [2, 8]);
            "#,
        );
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
                let relax = relaxation(call, &options)?;
                let mut parts = learn::hessian_vector(&net, &batch, &v, with, relax.as_deref())?;
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
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives a map of mixing weights")
        .example_after(
            SMALL,
            r#"
            let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
            let h = net.hessian_vector(batch, net.clone_weights());
            assert(h.normal.shape == net.alphas.normal.shape);
            "#,
        );
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

fn declare_schedules(library: &mut Library) {
    library
        .function("cosine", &["first", "last", "epoch", "epochs"], |first: f64, last: f64, epoch: f64, epochs: f64| {
            Ok(schedule::cosine(first, last, epoch, epochs))
        })
        .doc(
            r#"
            Half a cosine from `first` at epoch 0 to `last` at epoch `epochs` (Loshchilov and Hutter 2017); then `last`.
            "#,
        )
        .example("assert(cosine(0.025, 0.001, 0, 50) == 0.025);");
    library
        .function("linear", &["first", "last", "epoch", "epochs"], |first: f64, last: f64, epoch: f64, epochs: f64| {
            Ok(schedule::linear(first, last, epoch, epochs))
        })
        .doc("A straight line from `first` at epoch 0 to `last` at epoch `epochs`; then `last`.")
        .example("assert(linear(0.0, 0.2, 300, 600) == 0.1);");
    library
        .function("step", &["first", "factor", "epoch", "every"], |first: f64, factor: f64, epoch: f64, every: f64| {
            if every > 0.0 {
                return Ok(schedule::step(first, factor, epoch, every));
            }
            Err(Error::user(format!("`every` must be above 0, not {every}")))
        })
        .doc("`first`, multiplied by `factor` once every `every` epochs.")
        .example("assert(step(0.1, 0.5, 7, 4) == 0.05);");
}

/// The options `order`, `optimizer` and `eta` of an alpha gradient.
pub(super) fn order(options: &Options) -> Result<Order> {
    let optimizer = options.find::<Optimizer>("optimizer")?;
    let eta = options.find::<f64>("eta")?;
    match (options.get::<usize>("order")?, optimizer, eta) {
        (1, _, _) => Ok(Order::First),
        (2, Some(optimizer), eta) => Ok(Order::Second(optimizer.unroll(eta)?)),
        (2, None, Some(eta)) => Ok(Order::Second(Unroll::plain(eta))),
        (2, None, None) => Err(Error::user("order 2 unrolls a step of the weights' optimizer, and none is given")
            .hint("add optimizer: w_opt, or eta: 0.025 for plain gradient descent")),
        (order, _, _) => Err(Error::user(format!("`order` is 1 or 2, not {order}"))),
    }
}

/// A loss with its gradient. Clones share it.
#[derive(Clone)]
pub struct Gradient(Arc<Parts>);

struct Parts {
    loss: f64,
    parts: Vec<(String, Tensor)>,
}

impl Gradient {
    pub(super) fn new(host: &Host, loss: f64, parts: Vec<(String, candle_core::Tensor)>) -> Self {
        let hand = |(name, tensor)| (name, Tensor::new(&host.meter, tensor));
        Self(Arc::new(Parts { loss, parts: parts.into_iter().map(hand).collect() }))
    }
}

impl ScriptType for Gradient {
    const NAME: &'static str = "gradient";
}

impl fmt::Display for Gradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.parts.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "gradient for {} of the loss {}", names.join(", "), self.0.loss)
    }
}
