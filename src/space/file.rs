//! What the files of saved networks have in common: safetensors with f32 tensors by name, and one entry of metadata,
//! `candlewick`, which is JSON with what else it takes to use them.

use crate::{Error, Result, files};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// The metadata's one entry: the order of several would differ from run to run.
const ENTRY: &str = "candlewick";
/// Counts changes that older versions cannot read.
const FORMAT: u32 = 1;

/// What stands beside the tensors: how to build the network (`N`), what its inputs and outputs mean (`L`), the version
/// that wrote it, and whatever the writer had to say.
#[derive(Serialize, Deserialize)]
pub(super) struct Header<N, L> {
    format: u32,
    pub version: String,
    pub network: N,
    #[serde(flatten)]
    pub legend: L,
    #[serde(default)]
    pub about: Map<String, Value>,
}

impl<N, L> Header<N, L> {
    pub fn new(network: N, legend: L, about: Map<String, Value>) -> Self {
        Self { format: FORMAT, version: env!("CARGO_PKG_VERSION").into(), network, legend, about }
    }
}

/// A stretch of a network's numbers as a tensor of the file.
pub(super) struct Part {
    pub name: String,
    pub shape: Vec<usize>,
    /// Where it lies in one vector of all numbers.
    pub range: Range<usize>,
}

/// Writes a new file and renames it to `path`; what stood there is whole until then.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn write<N: Serialize, L: Serialize>(
    path: &Path,
    header: &Header<N, L>,
    parts: &[Part],
    numbers: &[f32],
) -> Result<()> {
    let failed = |error: String| Error::run(format!("{}: {error}", path.display()));
    let header = serde_json::to_string(header).map_err(|e| failed(e.to_string()))?;
    let views = parts.iter().map(|part| {
        let bytes = bytemuck::cast_slice(&numbers[part.range.clone()]);
        let view = TensorView::new(Dtype::F32, part.shape.clone(), bytes);
        view.map(|view| (part.name.as_str(), view)).map_err(|e| failed(format!("{}: {e}", part.name)))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([(ENTRY.to_string(), header)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))?;
    files::replace(path, &bytes)
}

/// A file in memory.
pub(super) struct File<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    tensors: SafeTensors<'a>,
}

impl<'a> File<'a> {
    /// Takes a file's bytes apart.
    ///
    /// # Errors
    /// A file of another form, or a damaged one.
    pub fn open(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
            Error::user(format!("{} is not a saved network: {error}", path.display()))
                .hint("net.save(\"best.safetensors\") writes one")
        })?;
        Ok(Self { path, bytes, tensors })
    }

    /// What kind of network the file says it holds; empty where it does not say.
    ///
    /// # Errors
    /// As [`header`](Self::header).
    pub fn kind(&self) -> Result<String> {
        let value = self.description()?;
        let kind = value.get("network").and_then(|network| network.get("kind")).and_then(Value::as_str);
        Ok(kind.unwrap_or_default().to_string())
    }

    /// The header, whose description of the network says nothing that this version does not know.
    ///
    /// # Errors
    /// A file without a description, one of a later version, another kind of network, a description that is not whole.
    pub fn header<N: Serialize + DeserializeOwned, L: DeserializeOwned>(&self) -> Result<Header<N, L>> {
        known(self.description()?).map_err(|error| self.damaged(&error))
    }

    fn description(&self) -> Result<Value> {
        let none = || {
            Error::user(format!("{} holds tensors, but no description of a network", self.path.display()))
                .hint("net.save(…) writes such a file; load_tensors(…) reads any tensors")
        };
        let (_, metadata) = SafeTensors::read_metadata(self.bytes).map_err(|_| none())?;
        let text = metadata.metadata().as_ref().and_then(|entries| entries.get(ENTRY)).ok_or_else(none)?;
        let value: Value = serde_json::from_str(text).map_err(|error| self.damaged(&error))?;
        match value.get("format").and_then(Value::as_u64) {
            Some(format) if format > u64::from(FORMAT) => {
                let by = value.get("version").and_then(Value::as_str).unwrap_or("a later version");
                Err(Error::user(format!("{} was written by candlewick {by}", self.path.display()))
                    .hint(format!("this is candlewick {}, which does not know its form", env!("CARGO_PKG_VERSION"))))
            }
            _ => Ok(value),
        }
    }

    fn damaged(&self, error: &serde_json::Error) -> Error {
        Error::user(format!("{}: the description of the network cannot be read: {error}", self.path.display()))
    }

    /// Checks that the file holds these parts, and nothing else.
    ///
    /// # Errors
    /// Tensors that are missing, of other shapes or too many.
    pub fn check(&self, parts: &[Part]) -> Result<()> {
        for Part { name, shape, .. } in parts {
            let Ok(view) = self.tensors.tensor(name) else {
                return Err(Error::user(format!("{} has no \"{name}\", which the network needs", self.path.display())));
            };
            if view.shape() != shape || view.dtype() != Dtype::F32 {
                return Err(Error::user(format!(
                    "{}: \"{name}\" is {:?} of type {:?}, but the network's is {shape:?} of type F32",
                    self.path.display(),
                    view.shape(),
                    view.dtype()
                )));
            }
        }
        // As many tensors as parts, and every part among them.
        if self.tensors.len() == parts.len() {
            return Ok(());
        }
        let strange = self.tensors.names().into_iter().filter(|name| parts.iter().all(|part| part.name != *name)).min();
        let strange = strange.unwrap_or_default();
        Err(Error::user(format!("{} holds \"{strange}\", which the network does not have", self.path.display())))
    }

    /// The numbers of all parts, which were checked.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn numbers(&self, parts: &[Part]) -> Result<Vec<f32>> {
        let mut numbers = vec![0f32; parts.iter().map(|part| part.range.end).max().unwrap_or(0)];
        for Part { name, range, .. } in parts {
            let view = self.tensors.tensor(name).map_err(|e| Error::user(format!("{}: {e}", self.path.display())))?;
            let to = &mut numbers[range.clone()];
            // The bytes need not lie on a float's boundary.
            for (to, four) in to.iter_mut().zip(view.data().chunks_exact(4)) {
                *to = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
            if to.iter().any(|value| !value.is_finite()) {
                return Err(Error::user(format!("{}: \"{name}\" holds NaN or infinite values", self.path.display()))
                    .hint("the training had diverged when it was saved, or the file is damaged"));
            }
        }
        Ok(numbers)
    }
}

/// A header whose description of the network says nothing that this version does not know.
fn known<N: Serialize + DeserializeOwned, L: DeserializeOwned>(value: Value) -> serde_json::Result<Header<N, L>> {
    let header: Header<N, L> = serde_json::from_value(value.clone())?;
    let understood = serde_json::to_value(&header.network)?;
    let said = value.get("network").and_then(Value::as_object).into_iter().flatten();
    match said.map(|(name, _)| name).find(|name| understood.get(name.as_str()).is_none()) {
        Some(strange) => Err(serde::de::Error::custom(format!("unknown field `{strange}`"))),
        None => Ok(header),
    }
}
