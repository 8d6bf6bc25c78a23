//! The noun `learn`: optimisers, the two gradients of a bilevel search, schedules, and scores.

mod curvature;
mod examine;
mod finite;
mod gradients;
mod optimizer;
mod scores;

pub(super) use finite::finite;
pub use optimizer::Optimizer;

use crate::learn::{Order, Unroll, schedule};
use crate::script::binding::{Library, Options, ScriptType};
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::{Error, Result};
use std::fmt;
use std::sync::Arc;

pub fn declare(library: &mut Library) {
    library.noun("learn", "Gradients, optimisers, schedules and scores.");
    gradients::declare(library);
    curvature::declare(library);
    optimizer::declare(library);
    declare_schedules(library);
    scores::declare(library);
    examine::declare(library);
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
    /// 1 for the weights that ran, 0 for the others, where not all did.
    running: Option<candle_core::Tensor>,
}

impl Gradient {
    pub(super) fn new(host: &Host, loss: f64, parts: Vec<(String, candle_core::Tensor)>) -> Self {
        let hand = |(name, tensor)| (name, Tensor::new(&host.meter, tensor));
        Self(Arc::new(Parts { loss, parts: parts.into_iter().map(hand).collect(), running: None }))
    }

    /// The same, of a pass in which only some weights ran.
    fn of_running(self, running: candle_core::Tensor) -> Self {
        let Parts { loss, parts, .. } = &*self.0;
        Self(Arc::new(Parts { loss: *loss, parts: parts.clone(), running: Some(running) }))
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
