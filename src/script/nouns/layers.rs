//! The noun `layers`: parameters of small networks of a script's own (controllers, predictors), with what is computed
//! from them. They are tensors like any other; networks of images and recurrent supernets run on the engine instead.
//!
//! candle-nn's layers hold plain tensors, which an optimiser's step would leave behind; these read their parameters
//! whenever they are applied.

use super::Tensor;
use super::tensor::arguments::Indices;
use crate::script::binding::{Argument, Library, List, Options, ScriptType, describe_value};
use crate::script::host::Host;
use crate::{Error, Parameter, Result};
use candle_core::Tensor as Candle;
use rand::RngExt;
use rhai::{Array, Dynamic, Map};
use std::fmt;
use std::sync::Arc;

/// A layer in a script's hands.
#[derive(Clone)]
pub struct Layer(Arc<Inner>);

struct Inner {
    kind: Kind,
    /// In the order in which the kind names them.
    parameters: Vec<Tensor>,
}

enum Kind {
    /// Weights [inputs, outputs] and a bias of each map, with the activation between them.
    Mlp { sizes: Vec<usize>, activation: Activation },
    /// Rows [count, width].
    Embedding { count: usize },
    /// Weights [inputs, 4 hidden] and [hidden, 4 hidden], a bias; gates i, f, g, o.
    Lstm { inputs: usize, hidden: usize },
    /// Weights [inputs, 3 hidden] and [hidden, 3 hidden], a bias of each; gates r, z, n.
    Gru { inputs: usize, hidden: usize },
}

#[derive(Clone, Copy)]
enum Activation {
    Relu,
    Tanh,
    Sigmoid,
}

impl Activation {
    fn named(name: &str) -> Result<Self> {
        match name {
            "relu" => Ok(Self::Relu),
            "tanh" => Ok(Self::Tanh),
            "sigmoid" => Ok(Self::Sigmoid),
            _ => Err(Error::unknown("activation of a layer", name, ["relu", "tanh", "sigmoid"])),
        }
    }

    fn apply(self, x: &Candle) -> Result<Candle> {
        match self {
            Self::Relu => Ok(x.relu()?),
            Self::Tanh => Ok(x.tanh()?),
            Self::Sigmoid => sigmoid(x),
        }
    }
}

/// candle-nn's sigmoid has no backward pass for its fused form; this has one, and does not overflow.
fn sigmoid(x: &Candle) -> Result<Candle> {
    Ok((((x * 0.5)?.tanh()? + 1.0)? * 0.5)?)
}

impl Layer {
    /// Parameters of these shapes, uniform between ∓ the bound of each, drawn from the stream `layers`.
    fn new(host: &Host, kind: Kind, shapes: &[(Vec<usize>, f64)]) -> Result<Self> {
        let mut rng = host.draw("script:layers");
        let mut parameters = vec![];
        for (dims, bound) in shapes {
            host.meter.admit(dims, host.dtype().size_in_bytes())?;
            let values =
                (0..dims.iter().product()).map(|_| bound * (2.0 * rng.random::<f64>() - 1.0)).collect::<Vec<_>>();
            let values = Candle::from_vec(values, dims.as_slice(), &candle_core::Device::Cpu)?;
            let values = values.to_dtype(host.dtype())?.to_device(host.device())?;
            parameters.push(Tensor::of_parameter(&host.meter, Parameter::new(&values)?));
        }
        Ok(Self(Arc::new(Inner { kind, parameters })))
    }

    fn parameter(&self, index: usize) -> Candle {
        self.0.parameters[index].candle()
    }

    /// What a map leaves of `x`, whose last axis is its inputs.
    fn map(&self, x: &Candle, weight: usize, bias: usize) -> Result<Candle> {
        let (weight, bias) = (self.parameter(weight), self.parameter(bias));
        let (inputs, outputs) = weight.dims2()?;
        let dims = x.dims();
        if dims.last() != Some(&inputs) {
            return Err(Error::user(format!("{self} does not take a tensor of shape {dims:?}"))
                .hint(format!("its last axis must have {inputs} elements")));
        }
        let rows = x.reshape((dims.iter().product::<usize>() / inputs, inputs))?;
        let out = rows.matmul(&weight)?.broadcast_add(&bias)?;
        let shape: Vec<usize> = dims[..dims.len() - 1].iter().copied().chain([outputs]).collect();
        Ok(out.reshape(shape)?)
    }

    fn apply(&self, x: &Dynamic) -> Result<Tensor> {
        let like = &self.0.parameters[0];
        match &self.0.kind {
            Kind::Embedding { count } => {
                let ids = Indices::read(x).map_err(|m| m.into_error("`x`", "tensor or [int]"))?;
                let ids = ids.resolve(*count, like.device())?;
                let rows = self.parameter(0).index_select(&ids.flatten_all()?, 0)?;
                let shape: Vec<usize> = ids.dims().iter().copied().chain([rows.dim(1)?]).collect();
                like.with(rows.reshape(shape)?)
            }
            Kind::Mlp { sizes, activation } => {
                let mut x = input(x, like)?;
                for index in 0..sizes.len() - 1 {
                    if index > 0 {
                        x = activation.apply(&x)?;
                    }
                    x = self.map(&x, 2 * index, 2 * index + 1)?;
                }
                like.with(x)
            }
            Kind::Lstm { .. } | Kind::Gru { .. } => {
                Err(Error::user("a recurrent cell is applied to an input and a state")
                    .hint("let state = cell.step(x, ()); then cell.step(x, state)"))
            }
        }
    }

    fn step(&self, x: &Dynamic, state: &Dynamic) -> Result<Map> {
        let like = &self.0.parameters[0];
        let (inputs, hidden, names) = match self.0.kind {
            Kind::Lstm { inputs, hidden } => (inputs, hidden, ["h", "c"].as_slice()),
            Kind::Gru { inputs, hidden } => (inputs, hidden, ["h"].as_slice()),
            _ => {
                return Err(Error::user(format!("{self} has no state")).hint("layer.apply(x)"));
            }
        };
        let x = input(x, like)?;
        let &[rows, width] = x.dims() else {
            return Err(Error::user(format!("{self} takes [rows, {inputs}], not {:?}", x.dims())));
        };
        if width != inputs {
            return Err(Error::user(format!("{self} takes [rows, {inputs}], not {:?}", x.dims())));
        }
        let before = names.iter().map(|name| self.state(state, name, rows, hidden)).collect::<Result<Vec<_>>>()?;
        let after = match self.0.kind {
            Kind::Lstm { .. } => self.lstm(&x, &before[0], &before[1], hidden)?,
            _ => self.gru(&x, &before[0], hidden)?,
        };
        let named = names.iter().zip(after).map(|(name, state)| Ok(((*name).into(), Dynamic::from(like.with(state)?))));
        named.collect()
    }

    /// Hochreiter and Schmidhuber 1997, with forget gates.
    fn lstm(&self, x: &Candle, h: &Candle, c: &Candle, hidden: usize) -> Result<Vec<Candle>> {
        let sums =
            (x.matmul(&self.parameter(0))? + h.matmul(&self.parameter(1))?)?.broadcast_add(&self.parameter(2))?;
        let gate = |index: usize| sums.narrow(1, index * hidden, hidden);
        let kept = (sigmoid(&gate(1)?)? * c)?;
        let c = (kept + (sigmoid(&gate(0)?)? * gate(2)?.tanh()?)?)?;
        let h = (sigmoid(&gate(3)?)? * c.tanh()?)?;
        Ok(vec![h, c])
    }

    /// Cho et al. 2014, with the reset gate behind the matrix.
    fn gru(&self, x: &Candle, h: &Candle, hidden: usize) -> Result<Vec<Candle>> {
        let given = x.matmul(&self.parameter(0))?.broadcast_add(&self.parameter(2))?;
        let carried = h.matmul(&self.parameter(1))?.broadcast_add(&self.parameter(3))?;
        let part = |sums: &Candle, index: usize| sums.narrow(1, index * hidden, hidden);
        let reset = sigmoid(&(part(&given, 0)? + part(&carried, 0)?)?)?;
        let update = sigmoid(&(part(&given, 1)? + part(&carried, 1)?)?)?;
        let new = (part(&given, 2)? + (reset * part(&carried, 2)?)?)?.tanh()?;
        Ok(vec![(&new + (update * (h - &new)?)?)?])
    }

    /// A state by name: of a map, or zeros where there is none yet.
    fn state(&self, state: &Dynamic, name: &str, rows: usize, hidden: usize) -> Result<Candle> {
        let like = &self.0.parameters[0];
        if state.is_unit() {
            return Ok(Candle::zeros((rows, hidden), like.dtype(), like.device())?);
        }
        let form = || format!("state is (), or what {} gave", "cell.step(x, state)");
        let map = state
            .as_map_ref()
            .map_err(|_| Error::user(format!("a state is a map, not {}", describe_value(state))).hint(form()))?;
        let held = map.get(name).ok_or_else(|| Error::user(format!("the state has no `{name}`")).hint(form()))?;
        let held = input(held, like)?;
        match held.dims() == [rows, hidden] {
            true => Ok(held),
            false => Err(Error::user(format!("the state `{name}` is {:?}, not [{rows}, {hidden}]", held.dims()))),
        }
    }
}

fn input(x: &Dynamic, like: &Tensor) -> Result<Candle> {
    let tensor = Tensor::read(x).map_err(|m| m.into_error("`x`", "tensor"))?;
    Ok(tensor.float()?.to_dtype(like.dtype())?)
}

impl ScriptType for Layer {
    const NAME: &'static str = "layer";
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Mlp { sizes, .. } => {
                let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
                write!(f, "a layer {}", sizes.join(" → "))
            }
            Kind::Embedding { count } => write!(f, "an embedding of {count}"),
            Kind::Lstm { inputs, hidden } => write!(f, "an LSTM cell {inputs} → {hidden}"),
            Kind::Gru { inputs, hidden } => write!(f, "a GRU cell {inputs} → {hidden}"),
        }
    }
}

fn sized(what: &str, sizes: &[usize]) -> Result<()> {
    match sizes.iter().find(|size| !(1..=65_536).contains(*size)) {
        Some(bad) => Err(Error::user(format!("{what}: a size is from 1 to 65536, not {bad}"))),
        None => Ok(()),
    }
}

/// The bound that the option gives, or 1 / √n.
fn bound(options: &Options, n: usize) -> Result<f64> {
    Ok(options.find::<f64>("init")?.unwrap_or(1.0 / (n as f64).sqrt()))
}

pub fn declare(library: &mut Library) {
    library.noun("layers", "Small networks of a script's own: controllers, predictors.");
    library.kind::<Layer>(
        "Parameters with what is computed from them: `adam(layer.parameters, …)`, `gradient(loss, layer.parameters)`, \
         `start_run([layer.parameters, …])`; several layers' are `a.parameters + b.parameters`.",
    );
    declare_makers(library);
    library
        .property("parameters", |layer: Layer| {
            Ok(layer.0.parameters.iter().cloned().map(Dynamic::from).collect::<Array>())
        })
        .doc("The layer's parameters.")
        .example("assert(mlp([3, 5, 1]).parameters.len() == 4);");
    library
        .method("apply", &["layer", "x"], |layer: Layer, x: Dynamic| layer.apply(&x))
        .doc(
            r#"
            What the layer makes of `x`: [.., inputs] → [.., outputs]; for an embedding, whole numbers [..] →
            [.., width].
            "#,
        )
        .example("assert_equal(mlp([3, 2]).apply(ones([4, 3])).shape, [4, 2]);");
    library
        .method("step", &["layer", "x", "state"], |layer: Layer, x: Dynamic, state: Dynamic| layer.step(&x, &state))
        .doc(
            r#"
            One time step of a recurrent cell. `x`: [rows, inputs]; `state`: () at first, then what the step before
            gave, a map with `h`, and of an LSTM also `c`, of [rows, hidden].
            "#,
        )
        .example(
            r#"
            let cell = lstm_cell(3, 4);
            let state = cell.step(ones([1, 3]), ());
            state = cell.step(ones([1, 3]), state);
            assert_equal(state.h.shape, [1, 4]);
            "#,
        );
}

fn declare_makers(library: &mut Library) {
    let host = library.host();
    library
        .function("mlp", &["sizes", "options"], move |sizes: List<usize>, options: Options| {
            let sizes = sizes.0;
            if sizes.len() < 2 {
                return Err(Error::user("a layer has inputs and outputs").hint("mlp([8, 4]), mlp([8, 32, 1])"));
            }
            sized("mlp", &sizes)?;
            let activation = Activation::named(&options.get::<String>("activation")?)?;
            let mut shapes = vec![];
            for pair in sizes.windows(2) {
                let bound = bound(&options, pair[0])?;
                shapes.extend([(pair.to_vec(), bound), (vec![pair[1]], bound)]);
            }
            Layer::new(&host, Kind::Mlp { sizes, activation }, &shapes)
        })
        .doc("Linear maps with biases from size to size, with an activation between them; two sizes are a linear map.")
        .option("activation", "relu".to_string(), "relu, tanh or sigmoid")
        .optional::<f64>("init", "1 / √inputs", "parameters start uniform between minus this and this")
        .example("assert_equal(mlp([3, 16, 1], #{ activation: \"tanh\" }).apply(ones([4, 3])).shape, [4, 1]);");
    let host = library.host();
    library
        .function("embedding", &["count", "width", "options"], move |count: usize, width: usize, options: Options| {
            sized("embedding", &[count, width])?;
            let bound = options.get::<f64>("init")?;
            Layer::new(&host, Kind::Embedding { count }, &[(vec![count, width], bound)])
        })
        .doc("A vector of `width` numbers for each of the whole numbers from 0 to `count` - 1.")
        .option("init", 0.1, "parameters start uniform between minus this and this")
        .example("assert_equal(embedding(5, 8).apply([0, 4]).shape, [2, 8]);");
    let host = library.host();
    library
        .function(
            "lstm_cell",
            &["inputs", "hidden", "options"],
            move |inputs: usize, hidden: usize, options: Options| {
                sized("lstm_cell", &[inputs, hidden])?;
                let bound = bound(&options, hidden)?;
                let shapes =
                    [vec![inputs, 4 * hidden], vec![hidden, 4 * hidden], vec![4 * hidden]].map(|dims| (dims, bound));
                Layer::new(&host, Kind::Lstm { inputs, hidden }, &shapes)
            },
        )
        .doc("A cell with long short-term memory (Hochreiter and Schmidhuber 1997), for `step`.")
        .optional::<f64>("init", "1 / √hidden", "parameters start uniform between minus this and this")
        .example("assert_equal(lstm_cell(3, 4).step(ones([1, 3]), ()).c.shape, [1, 4]);");
    let host = library.host();
    library
        .function(
            "gru_cell",
            &["inputs", "hidden", "options"],
            move |inputs: usize, hidden: usize, options: Options| {
                sized("gru_cell", &[inputs, hidden])?;
                let bound = bound(&options, hidden)?;
                let shapes = [vec![inputs, 3 * hidden], vec![hidden, 3 * hidden], vec![3 * hidden], vec![3 * hidden]];
                Layer::new(&host, Kind::Gru { inputs, hidden }, &shapes.map(|dims| (dims, bound)))
            },
        )
        .doc("A gated recurrent cell (Cho et al. 2014), for `step`.")
        .optional::<f64>("init", "1 / √hidden", "parameters start uniform between minus this and this")
        .example("assert_equal(gru_cell(3, 4).step(ones([1, 3]), ()).h.shape, [1, 4]);");
}
