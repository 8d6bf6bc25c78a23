//! The noun `learn`: optimisers, the two gradients of a bilevel search, schedules, and scores.

use super::inputs::{AnyBatch, relaxation};
use super::network::small;
use super::value::describe_value;
use super::{Argument, Call, Host, Library, List, Mismatch, Options, ScriptType, Tensor};
use crate::data::ImageSet;
use crate::learn::{
    self, Adam, AdamOptions, Batch, Optimizer as Steps, Order, Sgd, SgdOptions, Unroll, evaluate, schedule,
};
use crate::space::Network;
use crate::{Error, Result};
use candle_core::Var;
use rhai::{Dynamic, FnPtr, Map};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub fn declare(library: &mut Library) {
    library.noun("learn", "Gradients, optimisers, schedules and scores.");
    declare_gradients(library);
    declare_optimisers(library);
    declare_schedules(library);
    declare_evaluation(library);
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
                let relax = relaxation(call, &net, &options)?;
                let (loss, flat) = learn::weight_gradient(&net, &batch, relax.as_deref())?;
                Ok(Gradient::new(&host, loss, vec![("weights".into(), flat)]))
            },
        )
        .doc(
            "The cross-entropy of a batch in training mode and its gradient with respect to the network's weights. `batch` is \
             a batch of a data set or `#{ x: images, y: labels }`.",
        )
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives a map of mixing weights")
        .example(small!(
            "let batch = #{ x: randn([4, 1, 8, 8]), y: [0, 1, 2, 3] };\n\
             let g = weight_gradient(net, batch);\n\
             assert(g.parts.weights.shape == net.weights.shape);"
        ));
    let host = library.host();
    library
        .function(
            "alpha_gradient",
            &["net", "train", "valid", "options"],
            move |call: &Call<'_>, net: Network, train: AnyBatch, valid: AnyBatch, options: Options| {
                let order = order(&options)?;
                let device = net.weights().device();
                let (train, valid) = (train.on(device)?, valid.on(device)?);
                let relax = relaxation(call, &net, &options)?;
                let (loss, parts) = learn::alpha_gradient(&net, &train, &valid, relax.as_deref(), &order)?;
                let named = net.alphas().names().map(String::from).zip(parts);
                Ok(Gradient::new(&host, loss, named.collect()))
            },
        )
        .doc(
            "The validation loss and its gradient with respect to the network's alphas (Liu et al. 2019, equations 5 to 8). \
             Order 1: at the weights as they are. Order 2: at the weights after the coming SGD step on `train`, through which \
             it differentiates (momentum buffer and weight decay included, clipping not). All passes run in training mode.",
        )
        .option("order", 1_usize, "1, or 2: one unrolled weight step")
        .optional::<Optimizer>("optimizer", "plain gradient descent", "the weights' SGD, whose step order 2 unrolls")
        .optional::<f64>("eta", "the optimizer's learning rate", "the unrolled step's length")
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives a map of mixing weights")
        .example(small!(
            "let w_opt = sgd(net.weights, #{ lr: 0.025, momentum: 0.9 });\n\
             let train = #{ x: randn([4, 1, 8, 8]), y: [0, 1, 2, 3] };\n\
             let valid = #{ x: randn([4, 1, 8, 8]), y: [4, 5, 6, 7] };\n\
             let first = alpha_gradient(net, train, valid);\n\
             let second = alpha_gradient(net, train, valid, #{ order: 2, optimizer: w_opt });\n\
             assert(second.parts.normal.shape == [2, 8]);"
        ));
    library.property("loss", |gradient: Gradient| Ok(gradient.0.loss)).doc("The loss.").example(small!(
        "let g = weight_gradient(net, #{ x: zeros([2, 1, 8, 8]), y: [0, 1] });\nassert(g.loss > 0.0);"
    ));
    library
        .property("parts", |gradient: Gradient| {
            let parts = gradient.0.parts.iter();
            Ok(parts.map(|(name, part)| (name.as_str().into(), Dynamic::from(part.clone()))).collect::<Map>())
        })
        .doc("The gradient's tensors by name: \"weights\", or the alphas' names.")
        .example(small!(
            "let g = weight_gradient(net, #{ x: zeros([2, 1, 8, 8]), y: [0, 1] });\n\
             let head = net.named(g.parts.weights)[\"head.bias\"];\n\
             assert(head.shape == [10]);"
        ));
}

fn declare_optimisers(library: &mut Library) {
    library.kind::<Optimizer>("Moves parameters against their gradients, and remembers what it needs for that.");
    library
        .function("sgd", &["parameters", "options"], |parameters: Parameters, options: Options| {
            let clip = options.find("clip")?;
            let settings = SgdOptions {
                lr: options.get("lr")?,
                momentum: options.get("momentum")?,
                nesterov: options.get("nesterov")?,
                weight_decay: options.get("weight_decay")?,
                clip,
            };
            let sgd = Sgd::new(parameters.variables.clone(), settings)?;
            Ok(Optimizer::new(Kind::Sgd(sgd), parameters))
        })
        .doc(
            "Stochastic gradient descent. The gradient is clipped, then weight decay λ·w is added; buf = momentum·buf + g; \
             w = w − lr·buf, or w − lr·(g + momentum·buf) with Nesterov. `parameters`: a parameter, an array or a map of them.",
        )
        .required::<f64>("lr", "learning rate")
        .option("momentum", 0.0, "share of the last step's direction that is kept")
        .option("nesterov", false, "look ahead along the momentum")
        .option("weight_decay", 0.0, "λ")
        .optional::<f64>("clip", "no clipping", "largest norm of all gradients taken together")
        .example(
            "let w = parameter(tensor([1.0]));\n\
             let w_opt = sgd(w, #{ lr: 0.1, momentum: 0.9 });\n\
             w_opt.step(gradient(sum(w * w), w));\n\
             assert(all_close(w, tensor([0.8])));",
        );
    library
        .function("adam", &["parameters", "options"], |parameters: Parameters, options: Options| {
            let [first, second] = options.get::<List<f64>>("betas")?.0[..] else {
                return Err(Error::user("`betas` are two numbers").hint("for example betas: [0.5, 0.999]"));
            };
            let settings = AdamOptions {
                lr: options.get("lr")?,
                betas: (first, second),
                eps: options.get("eps")?,
                weight_decay: options.get("weight_decay")?,
                decoupled: options.get("decoupled")?,
            };
            let adam = Adam::new(parameters.variables.clone(), settings)?;
            Ok(Optimizer::new(Kind::Adam(adam), parameters))
        })
        .doc(
            "Adam (Kingma and Ba 2015). Weight decay is added to the gradient, or with `decoupled` taken off the parameters \
             directly (AdamW; Loshchilov and Hutter 2019). `parameters`: a parameter, an array or a map of them.",
        )
        .required::<f64>("lr", "learning rate")
        .option("betas", List(vec![0.9, 0.999]), "decay of the running means of the gradient and of its square")
        .option("eps", 1e-8, "keeps the step finite where gradients vanish")
        .option("weight_decay", 0.0, "λ")
        .option("decoupled", false, "decay the parameters, not through the gradient")
        .example(
            "let a = parameter(tensor([1.0]));\n\
             let a_opt = adam(a, #{ lr: 0.5, betas: [0.5, 0.999] });\n\
             a_opt.step(gradient(sum(a * a), a));\n\
             assert(all_close(a, tensor([0.5])));",
        );
    library
        .method("step", &["optimizer", "gradient"], |optimizer: Optimizer, gradient: Dynamic| optimizer.step(&gradient))
        .doc(
            "One step. `gradient` comes from `weight_gradient` or `alpha_gradient` (then the loss is given back) or from \
             `gradient`: a tensor, an array or a map as the optimizer's parameters were.",
        )
        .example(small!(
            "let w_opt = sgd(net.weights, #{ lr: 0.1 });\n\
             let batch = #{ x: randn([4, 1, 8, 8]), y: [0, 1, 2, 3] };\n\
             let loss = w_opt.step(weight_gradient(net, batch));\n\
             assert(loss > 0.0);"
        ));
    library
        .property("lr", |optimizer: Optimizer| Ok(optimizer.lock().steps().lr()))
        .writable(|optimizer: Optimizer, lr: f64| optimizer.lock().steps_mut().set_lr(lr))
        .doc("The learning rate of the steps to come.")
        .example(
            "let w_opt = sgd(parameter(zeros([2])), #{ lr: 0.1 });\n\
             w_opt.lr = cosine(0.1, 0.0, 5, 10);\n\
             assert(w_opt.lr < 0.1);",
        );
}

fn declare_schedules(library: &mut Library) {
    library
        .function("cosine", &["first", "last", "epoch", "epochs"], |first: f64, last: f64, epoch: f64, epochs: f64| {
            Ok(schedule::cosine(first, last, epoch, epochs))
        })
        .doc("Half a cosine from `first` at epoch 0 to `last` at epoch `epochs` (Loshchilov and Hutter 2017); then `last`.")
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

fn declare_evaluation(library: &mut Library) {
    library
        .function("evaluate", &["net", "data", "options"], |call: &Call<'_>, net: Network, data: Held, options: Options| {
            let device = net.weights().device();
            let p = relaxation(call, &net, &options)?.map(|relax| relax(net.alphas())).transpose()?;
            let batches: Box<dyn Iterator<Item = Result<Batch>>> = match data {
                Held::Set(set) => Box::new(set.batches_in_order(options.get("batch")?)?.map(|batch| {
                    let batch = batch?;
                    Batch::new(batch.x.to_device(device)?, batch.y.to_device(device)?)
                })),
                Held::Batches(batches) => Box::new(batches.into_iter().map(|batch| batch.on(device))),
            };
            let score = evaluate(&net, batches, p.as_deref())?;
            let entries = [
                ("loss", Dynamic::from_float(score.loss)),
                ("accuracy", Dynamic::from_float(score.accuracy)),
                ("top5", Dynamic::from_float(score.top5)),
                ("examples", Dynamic::from_int(score.examples as i64)),
            ];
            Ok(entries.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>())
        })
        .doc(
            "Scores a network on a set of images, in order and not augmented, or on an array of batches: a map with the mean \
             `loss`, the `accuracy` and `top5` (shares from 0 to 1) and the number of `examples`. By running statistics.",
        )
        .option("batch", 256_usize, "images at once, where `data` is a set")
        .optional::<FnPtr>("relax", "softmax by row", "a closure |alphas| that gives a map of mixing weights")
        .example(small!(
            "let score = evaluate(net, images(\"digits\").test.take(32));\n\
             assert(score.examples == 32 && score.accuracy <= 1.0);"
        ));
}

/// The options `order`, `optimizer` and `eta` of an alpha gradient.
fn order(options: &Options) -> Result<Order> {
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
    fn new(host: &Host, loss: f64, parts: Vec<(String, candle_core::Tensor)>) -> Self {
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

/// What an optimiser is to move: a parameter, an array of parameters, or a map of them.
struct Parameters {
    variables: Vec<Var>,
    /// The keys, where they came in a map.
    names: Option<Vec<String>>,
}

impl Argument for Parameters {
    fn describe() -> String {
        "tensor, [tensor] or map".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let variable = |place: &str, value: &Dynamic| {
            let tensor = Tensor::read(value).map_err(|m| Mismatch::Error(m.into_error(place, "tensor")))?;
            tensor.variable().cloned().ok_or_else(|| {
                Mismatch::Error(
                    Error::user(format!("{place} is no parameter but a computed tensor of shape {:?}", tensor.dims()))
                        .hint("optimisers move net.weights, net.alphas, and what `parameter(t)` made"),
                )
            })
        };
        if let Ok(array) = value.as_array_ref() {
            let variables = array.iter().enumerate().map(|(index, item)| variable(&format!("element {index}"), item));
            return Ok(Self { variables: variables.collect::<Result<_, _>>()?, names: None });
        }
        if let Ok(map) = value.as_map_ref() {
            let variables = map.iter().map(|(key, item)| variable(&format!("`{key}`"), item));
            let names = map.keys().map(ToString::to_string).collect();
            return Ok(Self { variables: variables.collect::<Result<_, _>>()?, names: Some(names) });
        }
        match value.read_lock::<Tensor>() {
            Some(_) => Ok(Self { variables: vec![variable("the first argument", value)?], names: None }),
            None => Err(Mismatch::Found(format!("not {}", describe_value(value)))),
        }
    }
}

/// An optimiser in a script's hands. Clones share its memory.
#[derive(Clone)]
pub struct Optimizer(Arc<Mutex<Inner>>);

struct Inner {
    kind: Kind,
    /// The parameters' names, where they were given by name.
    names: Option<Vec<String>>,
}

enum Kind {
    Sgd(Sgd),
    Adam(Adam),
}

impl Inner {
    fn steps(&self) -> &dyn Steps {
        match &self.kind {
            Kind::Sgd(sgd) => sgd,
            Kind::Adam(adam) => adam,
        }
    }

    fn steps_mut(&mut self) -> &mut dyn Steps {
        match &mut self.kind {
            Kind::Sgd(sgd) => sgd,
            Kind::Adam(adam) => adam,
        }
    }
}

impl Optimizer {
    fn new(kind: Kind, parameters: Parameters) -> Self {
        Self(Arc::new(Mutex::new(Inner { kind, names: parameters.names })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coming SGD step at rate `eta` (none: the learning rate).
    fn unroll(&self, eta: Option<f64>) -> Result<Unroll> {
        let inner = self.lock();
        match &inner.kind {
            Kind::Sgd(sgd) => sgd.unroll(eta.unwrap_or(sgd.lr())),
            Kind::Adam(_) => Err(Error::user("order 2 unrolls a step of SGD, but the optimizer is adam")
                .hint("give eta: 0.025 alone to unroll plain gradient descent")),
        }
    }

    /// One step; the loss, where the gradient knows it.
    fn step(&self, gradient: &Dynamic) -> Result<Option<f64>> {
        let mut inner = self.lock();
        let (loss, tensors) = match gradient.read_lock::<Gradient>() {
            Some(gradient) => (Some(gradient.0.loss), self.arrange(&inner, &gradient.0.parts)?),
            None => (None, tensors(gradient, inner.names.as_deref())?),
        };
        let typed = tensors
            .iter()
            .zip(inner.steps().variables())
            .map(|(gradient, variable)| Ok(gradient.candle().to_dtype(variable.dtype())?));
        let mut typed = typed.collect::<Result<Vec<_>>>()?;
        // More gradients than parameters are for the optimiser to refuse.
        typed.extend(tensors.iter().skip(typed.len()).map(|extra| extra.candle().clone()));
        inner.steps_mut().step(&typed)?;
        Ok(loss)
    }

    /// A gradient's parts in the order of the optimiser's parameters.
    fn arrange(&self, inner: &Inner, parts: &[(String, Tensor)]) -> Result<Vec<Tensor>> {
        let Some(names) = &inner.names else { return Ok(parts.iter().map(|(_, part)| part.clone()).collect()) };
        let part = |name: &String| {
            let found = parts.iter().find(|(known, _)| known == name);
            found.map(|(_, part)| part.clone()).ok_or_else(|| {
                Error::user(format!("the optimizer moves \"{name}\", for which this gradient has no part"))
            })
        };
        names.iter().map(part).collect()
    }

    /// Its memory as named tensors.
    pub fn state(&self) -> Result<Vec<(String, candle_core::Tensor)>> {
        self.lock().steps().state()
    }

    /// Puts back what [`state`](Self::state) gave.
    pub fn restore(&self, state: &[(String, candle_core::Tensor)]) -> Result<()> {
        self.lock().steps_mut().restore(state)
    }
}

impl ScriptType for Optimizer {
    const NAME: &'static str = "optimizer";
}

impl fmt::Display for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let kind = match inner.kind {
            Kind::Sgd(_) => "sgd",
            Kind::Adam(_) => "adam",
        };
        write!(f, "{kind} with learning rate {}", inner.steps().lr())
    }
}

/// The tensors of a gradient given as a tensor, an array or a map, in the parameters' order.
fn tensors(gradient: &Dynamic, names: Option<&[String]>) -> Result<Vec<Tensor>> {
    let tensor = |place: &str, value: &Dynamic| Tensor::read(value).map_err(|m| m.into_error(place, "tensor"));
    if let Ok(array) = gradient.as_array_ref() {
        return array.iter().enumerate().map(|(index, item)| tensor(&format!("element {index}"), item)).collect();
    }
    if let Ok(map) = gradient.as_map_ref() {
        let Some(names) = names else {
            return Err(Error::user("this optimizer's parameters have no names, but the gradient is a map")
                .hint("give the gradient as a tensor or an array, or the parameters as a map"));
        };
        if let Some(stranger) = map.keys().find(|key| names.iter().all(|name| name != key.as_str())) {
            return Err(Error::unknown("parameter in this optimizer", stranger, names.iter().map(String::as_str)));
        }
        let part = |name: &String| match map.get(name.as_str()) {
            Some(value) => tensor(&format!("`{name}`"), value),
            None => Err(Error::user(format!("the gradient has no `{name}`, which the optimizer moves"))),
        };
        return names.iter().map(part).collect();
    }
    Ok(vec![tensor("the gradient", gradient)?])
}

/// What a network is scored on.
enum Held {
    Set(ImageSet),
    Batches(Vec<AnyBatch>),
}

impl Argument for Held {
    fn describe() -> String {
        "image_set, batch or [batch]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(set) = value.read_lock::<ImageSet>() {
            return Ok(Self::Set(set.clone()));
        }
        if value.is_array() {
            return List::<AnyBatch>::read(value).map(|list| Self::Batches(list.0));
        }
        AnyBatch::read(value).map(|batch| Self::Batches(vec![batch]))
    }
}
