//! Plain data out of a script's values: what the journal and `run.json` can hold.

use crate::run::number;
use crate::script::binding::{describe_value, type_name};
use crate::script::nouns::Tensor;
use crate::space::recurrent::{RecurrentGenotype, RecurrentTree};
use crate::space::{CodedCell, Genotype};
use crate::{Error, Result};
use rhai::Dynamic;
use serde_json::Value;

/// The value as JSON: numbers, strings, bools, `()` as null, arrays and maps of such; a tensor as its value where it
/// has one, else as nested arrays; a genotype by its fields. Floats that are not finite become strings, see [`number`].
///
/// # Errors
/// Something that is not data: a network, a closure.
pub fn to_json(value: &Dynamic) -> Result<Value> {
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(int) = value.as_int() {
        return Ok(int.into());
    }
    if let Ok(float) = value.as_float() {
        return Ok(number(float));
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.into());
    }
    if value.is_string() || value.is_char() {
        return Ok(value.to_string().into());
    }
    if let Ok(array) = value.as_array_ref() {
        return array.iter().map(to_json).collect::<Result<_>>().map(Value::Array);
    }
    if let Ok(map) = value.as_map_ref() {
        let fields = map.iter().map(|(name, value)| Ok((name.to_string(), to_json(value)?)));
        return fields.collect::<Result<_>>().map(Value::Object);
    }
    if let Some(tensor) = value.read_lock::<Tensor>() {
        let values = tensor.values()?;
        return Ok(match values.as_slice() {
            [only] => entry(&tensor, *only),
            _ => nested(&tensor, tensor.dims(), &values),
        });
    }
    if let Some(genotype) = value.read_lock::<Genotype>() {
        return Ok(genotype.to_json());
    }
    if let Some(genotype) = value.read_lock::<RecurrentGenotype>() {
        return Ok(genotype.to_json());
    }
    if let Some(tree) = value.read_lock::<RecurrentTree>() {
        return Ok(tree.to_json());
    }
    if let Some(cell) = value.read_lock::<CodedCell>() {
        return Ok(cell.to_json());
    }
    Err(Error::user(format!("{} is not data that a journal can hold", describe_value(value))).hint(format!(
        "numbers, strings, arrays, maps, tensors and genotypes are; take what you need of the {}",
        type_name(value)
    )))
}

fn entry(tensor: &Tensor, value: f64) -> Value {
    if tensor.is_integer() { (value as i64).into() } else { number(value) }
}

fn nested(tensor: &Tensor, dims: &[usize], values: &[f64]) -> Value {
    match dims.split_first() {
        None => values.first().map_or(Value::Null, |value| entry(tensor, *value)),
        Some((&count, rest)) => {
            let each = rest.iter().product::<usize>();
            Value::Array((0..count).map(|i| nested(tensor, rest, &values[i * each..(i + 1) * each])).collect())
        }
    }
}
