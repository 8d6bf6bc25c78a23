//! Optimisers in a script's hands.

use super::finite::at_step;
use super::{Gradient, Parts};
use crate::learn::{Adam, AdamOptions, Asgd, AsgdOptions, Optimizer as Steps, Sgd, SgdOptions, Unroll};
use crate::script::binding::{Argument, Library, List, Mismatch, Options, ScriptType, describe_value};
use crate::script::nouns::Tensor;
use crate::script::nouns::network::SMALL;
use crate::{Error, Parameter, Result};
use rhai::Dynamic;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub fn declare(library: &mut Library) {
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
            let sgd = Sgd::new(parameters.list.clone(), settings)?;
            let idle_stays = match options.get::<String>("idle")?.as_str() {
                "move" => false,
                "stay" => true,
                other => return Err(Error::unknown("choice for `idle`", other, ["move", "stay"])),
            };
            Ok(Optimizer::new(Kind::Sgd(sgd), parameters).with_idle(idle_stays))
        })
        .doc(
            r#"
            Stochastic gradient descent. The gradient is clipped, then weight decay λ·w is added; buf = momentum·buf +
            g; w = w − lr·buf, or w − lr·(g + momentum·buf) with Nesterov. `parameters`: a parameter, an array or a map
            of them.
            "#,
        )
        .required::<f64>("lr", "learning rate")
        .option("momentum", 0.0, "share of the last step's direction that is kept")
        .option("nesterov", false, "look ahead along the momentum")
        .option("weight_decay", 0.0, "λ")
        .optional::<f64>("clip", "no clipping", "largest norm of all gradients taken together")
        .option(
            "idle",
            "move".to_string(),
            "weights of ops that did not run in `weight_gradient` with a mask or a path: \"move\" by momentum and \
             decay, or \"stay\", their momentum too",
        )
        .example(
            r#"
            let w = parameter(tensor([1.0]));
            let w_opt = sgd(w, #{ lr: 0.1, momentum: 0.9 });
            w_opt.step(gradient(sum(w * w), w));
            assert(all_close(w, tensor([0.8])));
            "#,
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
                clip: options.find("clip")?,
            };
            let adam = Adam::new(parameters.list.clone(), settings)?;
            Ok(Optimizer::new(Kind::Adam(adam), parameters))
        })
        .doc(
            r#"
            Adam (Kingma and Ba 2015). Weight decay is added to the gradient, or with `decoupled` taken off the
            parameters directly (AdamW; Loshchilov and Hutter 2019). `parameters`: a parameter, an array or a map of
            them.
            "#,
        )
        .required::<f64>("lr", "learning rate")
        .option("betas", List(vec![0.9, 0.999]), "decay of the running means of the gradient and of its square")
        .option("eps", 1e-8, "keeps the step finite where gradients vanish")
        .option("weight_decay", 0.0, "λ")
        .option("decoupled", false, "decay the parameters, not through the gradient")
        .optional::<f64>("clip", "no clipping", "largest norm of all gradients taken together")
        .example(
            r#"
            let a = parameter(tensor([1.0]));
            let a_opt = adam(a, #{ lr: 0.5, betas: [0.5, 0.999] });
            a_opt.step(gradient(sum(a * a), a));
            assert(all_close(a, tensor([0.5])));
            "#,
        );
    declare_averages(library);
    let host = library.host();
    library
        .method("step", &["optimizer", "gradient"], move |optimizer: Optimizer, gradient: Dynamic| {
            optimizer.step(&gradient).map_err(|error| at_step(&host, error))
        })
        .doc(
            r#"
            One step. `gradient` comes from `weight_gradient` or `alpha_gradient` (then the loss is given back) or from
            `gradient`: a tensor, an array or a map as the optimizer's parameters were. A gradient that is NaN or
            infinite ends the script.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            let w_opt = sgd(net.weights, #{ lr: 0.1 });
            let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
            let loss = w_opt.step(weight_gradient(net, batch));
            assert(loss > 0.0);
            "#,
        );
    library
        .property("lr", |optimizer: Optimizer| Ok(optimizer.lock().steps().lr()))
        .writable(|optimizer: Optimizer, lr: f64| optimizer.lock().steps_mut().set_lr(lr))
        .doc("The learning rate of the next steps.")
        .example(
            r#"
            let w_opt = sgd(parameter(zeros([2])), #{ lr: 0.1 });
            w_opt.lr = cosine(0.1, 0.0, 5, 10);
            assert(w_opt.lr < 0.1);
            "#,
        );
}

fn declare_averages(library: &mut Library) {
    library
        .function("asgd", &["parameters", "options"], |parameters: Parameters, options: Options| {
            let settings = AsgdOptions {
                lr: options.get("lr")?,
                weight_decay: options.get("weight_decay")?,
                clip: options.find("clip")?,
            };
            let asgd = Asgd::new(parameters.list.clone(), settings)?;
            Ok(Optimizer::new(Kind::Asgd(asgd), parameters))
        })
        .doc(
            r#"
            Averaged stochastic gradient descent (Polyak and Juditsky 1992): steps of `sgd`, and from `averaging = true`
            on a running mean of the weights beside them. NT-ASGD (Merity, Keskar and Socher 2018) begins it when the
            validation loss is above the least of all but the latest five.
            "#,
        )
        .required::<f64>("lr", "learning rate")
        .option("weight_decay", 0.0, "λ")
        .optional::<f64>("clip", "no clipping", "largest norm of all gradients taken together")
        .example(
            r#"
            let w = parameter(tensor([1.0]));
            let w_opt = asgd(w, #{ lr: 0.25 });
            w_opt.step(gradient(sum(w * w), w));
            assert(all_close(w, tensor([0.5])));
            "#,
        );
    library
        .property("averaging", |optimizer: Optimizer| optimizer.asgd(|asgd| Ok(asgd.is_averaging())))
        .writable(|optimizer: Optimizer, on: bool| optimizer.asgd(|asgd| asgd.set_averaging(on)))
        .doc("Whether `asgd` takes the mean of the weights; true begins with the next step, false forgets the mean.")
        .example(
            r#"
            let w_opt = asgd(parameter(zeros([2])), #{ lr: 0.1 });
            w_opt.averaging = true;
            assert(w_opt.averaging);
            "#,
        );
    library
        .method("swap_average", &["optimizer"], |optimizer: Optimizer| optimizer.asgd(Asgd::swap))
        .doc(
            r#"
            Puts the mean in the weights' place, for an evaluation; a second time puts the weights back. Nothing happens
            where `asgd` is not averaging.
            "#,
        )
        .example(
            r#"
            let w = parameter(tensor([1.0]));
            let w_opt = asgd(w, #{ lr: 0.25 });
            w_opt.averaging = true;
            for step in 0..2 { w_opt.step(gradient(sum(w * w), w)); }
            w_opt.swap_average();
            assert(all_close(w, tensor([(0.5 + 0.25) / 2.0])));
            w_opt.swap_average();
            assert(all_close(w, tensor([0.25])));
            "#,
        );
}

/// What an optimiser is to move: a parameter, an array of parameters, or a map of them.
struct Parameters {
    list: Vec<Parameter>,
    /// The keys, where they came in a map.
    names: Option<Vec<String>>,
}

impl Argument for Parameters {
    fn describe() -> String {
        "tensor, [tensor] or map".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let parameter = |what: &str, value: &Dynamic| {
            let tensor = Tensor::read(value).map_err(|m| Mismatch::Error(m.into_error(what, "tensor")))?;
            tensor.parameter().cloned().ok_or_else(|| {
                Mismatch::Error(
                    Error::user(format!(
                        "{what} is not a parameter but a computed tensor of shape {:?}",
                        tensor.dims()
                    ))
                    .hint("optimisers move net.weights, net.alphas, and what `parameter(t)` made"),
                )
            })
        };
        if let Ok(array) = value.as_array_ref() {
            let list = array.iter().enumerate().map(|(index, item)| parameter(&format!("element {index}"), item));
            return Ok(Self { list: list.collect::<Result<_, _>>()?, names: None });
        }
        if let Ok(map) = value.as_map_ref() {
            let list = map.iter().map(|(key, item)| parameter(&format!("`{key}`"), item));
            let names = map.keys().map(ToString::to_string).collect();
            return Ok(Self { list: list.collect::<Result<_, _>>()?, names: Some(names) });
        }
        match value.read_lock::<Tensor>() {
            Some(_) => Ok(Self { list: vec![parameter("the first argument", value)?], names: None }),
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
    /// Whether weights that did not run stay as they are.
    idle_stays: bool,
}

enum Kind {
    Sgd(Sgd),
    Adam(Adam),
    Asgd(Asgd),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::Sgd(_) => "sgd",
            Kind::Adam(_) => "adam",
            Kind::Asgd(_) => "asgd",
        }
    }
}

impl Inner {
    fn steps(&self) -> &dyn Steps {
        match &self.kind {
            Kind::Sgd(sgd) => sgd,
            Kind::Adam(adam) => adam,
            Kind::Asgd(asgd) => asgd,
        }
    }

    fn steps_mut(&mut self) -> &mut dyn Steps {
        match &mut self.kind {
            Kind::Sgd(sgd) => sgd,
            Kind::Adam(adam) => adam,
            Kind::Asgd(asgd) => asgd,
        }
    }
}

impl Optimizer {
    fn new(kind: Kind, parameters: Parameters) -> Self {
        Self(Arc::new(Mutex::new(Inner { kind, names: parameters.names, idle_stays: false })))
    }

    fn with_idle(self, stays: bool) -> Self {
        self.lock().idle_stays = stays;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done with an optimiser that can average.
    fn asgd<T>(&self, act: impl FnOnce(&mut Asgd) -> Result<T>) -> Result<T> {
        match &mut self.lock().kind {
            Kind::Asgd(asgd) => act(asgd),
            other => Err(Error::user(format!("{} takes no average of the weights", other.name()))
                .hint("asgd(net.weights, #{ lr: 20.0 }) does")),
        }
    }

    /// The coming SGD step at rate `eta` (none: the learning rate).
    pub(super) fn unroll(&self, eta: Option<f64>) -> Result<Unroll> {
        let inner = self.lock();
        match &inner.kind {
            Kind::Sgd(sgd) => sgd.unroll(eta.unwrap_or(sgd.lr())),
            Kind::Asgd(asgd) => asgd.sgd().unroll(eta.unwrap_or(asgd.lr())),
            Kind::Adam(_) => Err(Error::user("order 2 unrolls a step of SGD, but the optimizer is adam")
                .hint("give eta: 0.025 alone to unroll plain gradient descent")),
        }
    }

    /// One step; the loss, where the gradient knows it.
    fn step(&self, gradient: &Dynamic) -> Result<Option<f64>> {
        let mut inner = self.lock();
        let (loss, tensors, running) = match gradient.read_lock::<Gradient>() {
            Some(gradient) => {
                let Parts { loss, parts, running } = &*gradient.0;
                (Some(*loss), self.arrange(&inner, parts)?, running.clone().filter(|_| inner.idle_stays))
            }
            None => (None, tensors(gradient, inner.names.as_deref())?, None),
        };
        let typed = tensors
            .iter()
            .zip(inner.steps().parameters())
            .map(|(gradient, parameter)| Ok(gradient.candle().to_dtype(parameter.dtype())?));
        let mut typed = typed.collect::<Result<Vec<_>>>()?;
        // More gradients than parameters are for the optimiser to refuse.
        typed.extend(tensors.iter().skip(typed.len()).map(|extra| extra.candle()));
        match (&mut inner.kind, running) {
            (Kind::Sgd(sgd), Some(running)) => sgd.step_among(&typed, &running)?,
            _ => inner.steps_mut().step(&typed)?,
        }
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

    /// The parameters that it moves.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.lock().steps().parameters().to_vec()
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
        let kind = inner.kind.name();
        write!(f, "{kind} with learning rate {}", inner.steps().lr())
    }
}

/// The tensors of a gradient given as a tensor, an array or a map, in the parameters' order.
fn tensors(gradient: &Dynamic, names: Option<&[String]>) -> Result<Vec<Tensor>> {
    let tensor = |what: &str, value: &Dynamic| Tensor::read(value).map_err(|m| m.into_error(what, "tensor"));
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
