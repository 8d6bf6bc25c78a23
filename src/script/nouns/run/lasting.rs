//! What outlasts a script's process: the networks, optimisers, batches, windows and parameters that `start_run` lists,
//! the positions of the random streams, and the plain values that the script keeps.

use crate::data::text::{WindowPosition, Windows};
use crate::data::{Batches, Position};
use crate::run::{Lasting, number, value_of};
use crate::script::binding::describe_value;
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::script::nouns::json::to_json;
use crate::script::nouns::language::HiddenStates;
use crate::script::nouns::learn::Optimizer;
use crate::space::recurrent::{LanguageModel, RecurrentGenotype, RecurrentTree};
use crate::space::{CodedCell, Genotype, Network};
use crate::{Error, Parameter, Result};
use candle_core::Device;
use rhai::{Array, Dynamic, Map};
use serde_json::Value;
use std::sync::Arc;

type State = Vec<(String, candle_core::Tensor)>;

/// What `start_run` lists, and after it the random streams of the host.
///
/// # Errors
/// A value without a state; an optimiser of parameters that are not in the list, which would be lost.
pub fn lasting(host: &Arc<Host>, listed: &[Dynamic]) -> Result<Vec<Box<dyn Lasting>>> {
    let mut all = Vec::new();
    for value in listed {
        add(&mut all, value)?;
    }
    let known: Vec<Parameter> = all.iter().flat_map(Listed::parameters).collect();
    for (index, item) in all.iter().enumerate() {
        let Listed::Optimizer(optimizer) = item else { continue };
        let is_known = |moved: &Parameter| known.iter().any(|known| known.is(moved));
        if !optimizer.parameters().iter().all(is_known) {
            return Err(Error::user(format!(
                "start_run: the optimizer at index {index} of the list moves parameters that the list does not have"
            ))
            .hint("list its network too, or its parameters: start_run([net, w_opt, controller, c_opt])"));
        }
    }
    let streams: Box<dyn Lasting> = Box::new(Streams(host.clone()));
    Ok(all.into_iter().map(|item| Box::new(item) as Box<dyn Lasting>).chain([streams]).collect())
}

/// Adds what `value` is, or what an array or a map of such holds.
fn add(all: &mut Vec<Listed>, value: &Dynamic) -> Result<()> {
    if let Ok(array) = value.as_array_ref() {
        return array.iter().try_for_each(|item| add(all, item));
    }
    if let Ok(map) = value.as_map_ref() {
        return map.values().try_for_each(|item| add(all, item));
    }
    let parameter = value.read_lock::<Tensor>().and_then(|tensor| tensor.parameter().cloned());
    let found = None
        .or_else(|| value.read_lock::<Network>().map(|net| Listed::Network(net.clone())))
        .or_else(|| value.read_lock::<LanguageModel>().map(|model| Listed::LanguageModel(model.clone())))
        .or_else(|| value.read_lock::<HiddenStates>().map(|hidden| Listed::HiddenStates(hidden.clone())))
        .or_else(|| value.read_lock::<Optimizer>().map(|optimizer| Listed::Optimizer(optimizer.clone())))
        .or_else(|| value.read_lock::<Batches>().map(|batches| Listed::Batches(batches.clone())))
        .or_else(|| value.read_lock::<Windows>().map(|windows| Listed::Windows(windows.clone())))
        .or_else(|| parameter.map(Listed::Parameter));
    all.push(found.ok_or_else(|| {
        Error::user(format!("start_run: {} has no state that the loop changes", describe_value(value))).hint(
            "list networks, optimizers, batches, windows and parameters: start_run([net, w_opt, a_opt, train, valid]); \
             plain values are kept with #{ keep: #{ best: 0.0 } }",
        )
    })?);
    Ok(())
}

/// Something that a script lists.
enum Listed {
    Network(Network),
    LanguageModel(LanguageModel),
    HiddenStates(HiddenStates),
    Optimizer(Optimizer),
    Batches(Batches),
    Windows(Windows),
    Parameter(Parameter),
}

impl Listed {
    /// The parameters whose values are in its state.
    fn parameters(&self) -> Vec<Parameter> {
        match self {
            Self::Network(net) => net.alphas().parameters().into_iter().chain([net.weights().clone()]).collect(),
            Self::LanguageModel(model) => {
                model.alphas().parameters().into_iter().chain([model.weights().clone()]).collect()
            }
            Self::Parameter(parameter) => vec![parameter.clone()],
            Self::HiddenStates(_) | Self::Optimizer(_) | Self::Batches(_) | Self::Windows(_) => vec![],
        }
    }
}

impl Lasting for Listed {
    fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) => "network",
            Self::LanguageModel(_) => "language model",
            Self::HiddenStates(_) => "hidden states",
            Self::Optimizer(_) => "optimizer",
            Self::Batches(_) => "batches",
            Self::Windows(_) => "windows",
            Self::Parameter(_) => "parameter",
        }
    }

    fn state(&self) -> Result<State> {
        match self {
            Self::Network(net) => net.state(),
            Self::LanguageModel(model) => model.state(),
            Self::HiddenStates(hidden) => Ok(hidden.state()),
            Self::Optimizer(optimizer) => optimizer.state(),
            Self::Batches(batches) => {
                let Position { epoch, index } = batches.position();
                Ok(vec![("position".into(), counts(&[epoch, index as u64])?)])
            }
            Self::Windows(windows) => {
                let WindowPosition { epoch, index } = windows.position();
                Ok(vec![("position".into(), counts(&[epoch, index as u64])?)])
            }
            Self::Parameter(parameter) => Ok(vec![("value".into(), parameter.detached())]),
        }
    }

    fn restore(&self, state: &[(String, candle_core::Tensor)]) -> Result<()> {
        match self {
            Self::Network(net) => net.restore(state),
            Self::LanguageModel(model) => model.restore(state),
            Self::HiddenStates(hidden) => hidden.restore(state),
            Self::Optimizer(optimizer) => optimizer.restore(state),
            Self::Batches(batches) => {
                let (epoch, index) = position(state)?;
                batches.set_position(Position { epoch, index })
            }
            Self::Windows(windows) => {
                let (epoch, index) = position(state)?;
                windows.set_position(WindowPosition { epoch, index })
            }
            Self::Parameter(parameter) => parameter.set(&find(state, "value")?.to_device(parameter.device())?),
        }
    }
}

/// The positions of the host's random streams.
struct Streams(Arc<Host>);

impl Lasting for Streams {
    fn kind(&self) -> &'static str {
        "streams"
    }

    fn state(&self) -> Result<State> {
        self.0.draws().into_iter().map(|(name, step)| Ok((name, counts(&[step])?))).collect()
    }

    fn restore(&self, state: &[(String, candle_core::Tensor)]) -> Result<()> {
        let step = |tensor: &candle_core::Tensor| match tensor.to_vec1::<i64>()?[..] {
            [step] => Ok(step as u64),
            _ => Err(Error::user("a stream's position is one number")),
        };
        self.0.set_draws(state.iter().map(|(name, tensor)| Ok((name.clone(), step(tensor)?))).collect::<Result<_>>()?);
        Ok(())
    }
}

/// The epoch and the index in it that a saved position holds.
fn position(state: &[(String, candle_core::Tensor)]) -> Result<(u64, usize)> {
    match find(state, "position")?.to_vec1::<i64>()?[..] {
        [epoch, index] => Ok((epoch as u64, index as usize)),
        _ => Err(Error::user("a position is two numbers")),
    }
}

fn counts(values: &[u64]) -> Result<candle_core::Tensor> {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    Ok(candle_core::Tensor::new(values, &Device::Cpu)?)
}

fn find<'a>(state: &'a [(String, candle_core::Tensor)], name: &str) -> Result<&'a candle_core::Tensor> {
    let found = state.iter().find(|(known, _)| known == name);
    found.map(|(_, tensor)| tensor).ok_or_else(|| Error::user(format!("it has no \"{name}\"")))
}

/// In kept JSON, a map of this one key is a float that JSON has no number for …
const FLOAT: &str = "$float";
/// … and of this one a genotype.
const GENOTYPE: &str = "$genotype";
const RECURRENT_GENOTYPE: &str = "$recurrent_genotype";
const RECURRENT_TREE: &str = "$recurrent_tree";
const CODED_GENOTYPE: &str = "$coded_genotype";

/// A script's values as a checkpoint holds them: [`restored`] gives the very same back.
///
/// # Errors
/// Values that are not plain data.
pub fn kept(values: &Map) -> Result<serde_json::Map<String, Value>> {
    values.iter().map(|(name, value)| Ok((name.to_string(), keep(name, value)?))).collect()
}

fn keep(name: &str, value: &Dynamic) -> Result<Value> {
    if let Ok(float) = value.as_float() {
        return Ok(if float.is_finite() { float.into() } else { tagged(FLOAT, number(float)) });
    }
    if let Ok(array) = value.as_array_ref() {
        return array.iter().map(|item| keep(name, item)).collect::<Result<_>>().map(Value::Array);
    }
    if let Ok(map) = value.as_map_ref() {
        return kept(&map).map(Value::Object);
    }
    if let Some(genotype) = value.read_lock::<Genotype>() {
        return Ok(tagged(GENOTYPE, genotype.to_json()));
    }
    if let Some(genotype) = value.read_lock::<RecurrentGenotype>() {
        return Ok(tagged(RECURRENT_GENOTYPE, genotype.to_json()));
    }
    if let Some(tree) = value.read_lock::<RecurrentTree>() {
        return Ok(tagged(RECURRENT_TREE, tree.to_json()));
    }
    if let Some(cell) = value.read_lock::<CodedCell>() {
        return Ok(tagged(CODED_GENOTYPE, cell.to_json()));
    }
    let plain = value.is_unit() || value.is_int() || value.is_bool() || value.is_string() || value.is_char();
    match plain {
        true => to_json(value),
        false => Err(Error::user(format!("`{name}`: {} cannot be kept", describe_value(value))).hint(
            "numbers, strings, genotypes, arrays and maps can; networks, optimizers, batches, windows and parameters \
             go into start_run's list",
        )),
    }
}

fn tagged(tag: &str, value: Value) -> Value {
    Value::Object([(tag.to_string(), value)].into_iter().collect())
}

/// What [`kept`] made, as a script's values again.
pub fn restored(values: serde_json::Map<String, Value>) -> Result<Map> {
    values.into_iter().map(|(name, value)| Ok((name.into(), restore(value)?))).collect()
}

fn restore(value: Value) -> Result<Dynamic> {
    match value {
        Value::Array(items) => items.into_iter().map(restore).collect::<Result<Array>>().map(Dynamic::from_array),
        Value::Object(fields) => {
            let single = if fields.len() == 1 { fields.iter().next() } else { None };
            match single {
                Some((tag, value)) if tag == FLOAT => Ok(value_of(value).unwrap_or(f64::NAN).into()),
                Some((tag, value)) if tag == GENOTYPE => Ok(Dynamic::from(Genotype::from_json(value)?)),
                Some((tag, value)) if tag == RECURRENT_GENOTYPE => {
                    Ok(Dynamic::from(RecurrentGenotype::from_json(value)?))
                }
                Some((tag, value)) if tag == RECURRENT_TREE => Ok(Dynamic::from(RecurrentTree::from_json(value)?)),
                Some((tag, value)) if tag == CODED_GENOTYPE => Ok(Dynamic::from(CodedCell::from_json(value)?)),
                _ => restored(fields).map(Dynamic::from_map),
            }
        }
        plain => rhai::serde::to_dynamic(plain).map_err(|error| Error::run(format!("kept values: {error}"))),
    }
}
