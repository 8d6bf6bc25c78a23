//! Tensors in safetensors files.

use super::Tensor;
use crate::script::binding::{Library, Options, describe_value};
use crate::script::host::Host;
use crate::{Error, Result};
use candle_core::{DType, Device};
use rhai::{Dynamic, Map};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use std::collections::HashMap;
use std::path::Path;

fn bytes(tensor: &Tensor) -> Result<(Dtype, Vec<u8>)> {
    let flat = tensor.candle().to_device(&Device::Cpu)?.flatten_all()?;
    match flat.dtype() {
        DType::F64 => Ok((Dtype::F64, bytemuck::cast_slice(&flat.to_vec1::<f64>()?).to_vec())),
        DType::F32 => Ok((Dtype::F32, bytemuck::cast_slice(&flat.to_vec1::<f32>()?).to_vec())),
        _ => Ok((Dtype::U32, bytemuck::cast_slice(&flat.to_dtype(DType::U32)?.to_vec1::<u32>()?).to_vec())),
    }
}

fn save(path: &Path, tensors: &Map, metadata: Option<Map>) -> Result<()> {
    let mut parts = Vec::with_capacity(tensors.len());
    for (name, value) in tensors {
        let tensor = value
            .read_lock::<Tensor>()
            .ok_or_else(|| Error::user(format!("`{name}` is not a tensor but {}", describe_value(value))))?;
        let (dtype, data) = bytes(&tensor)?;
        parts.push((name.to_string(), dtype, tensor.dims().to_vec(), data));
    }
    let views = parts.iter().map(|(name, dtype, dims, data)| {
        let view = TensorView::new(*dtype, dims.clone(), data).map_err(|e| Error::run(format!("{name}: {e}")))?;
        Ok((name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let metadata = metadata.map(|m| m.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<HashMap<_, _>>());
    let data = serialize(views, metadata).map_err(|e| Error::run(format!("{}: {e}", path.display())))?;
    std::fs::write(path, data).map_err(|e| Error::file(path, &e))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::file(path, &e))
}

fn no_safetensors(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::user(format!("{} is not a safetensors file: {error}", path.display()))
}

fn load(host: &Host, path: &Path) -> Result<Map> {
    let data = read(path)?;
    let file = SafeTensors::deserialize(&data).map_err(|e| no_safetensors(path, e))?;
    let mut tensors = Map::new();
    for (name, view) in file.tensors() {
        let dtype = match view.dtype() {
            Dtype::F64 => DType::F64,
            // In the scripts' own precision, if that is wider.
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => host.dtype(),
            Dtype::U8 | Dtype::U32 | Dtype::I64 => DType::U32,
            other => {
                return Err(Error::user(format!("{}: \"{name}\" holds numbers of type {other:?}", path.display()))
                    .hint("f64, f32, f16, bf16, u8, u32 and i64 can be loaded"));
            }
        };
        host.meter.admit(view.shape(), dtype.size_in_bytes())?;
        let raw = candle_core::safetensors::Load::load(&view, &Device::Cpu)?;
        let value = Tensor::new(&host.meter, raw);
        let value = if dtype == DType::U32 { value.indices()? } else { value.candle().to_dtype(dtype)? };
        tensors.insert(name.as_str().into(), Dynamic::from(Tensor::new(&host.meter, value.to_device(host.device())?)));
    }
    Ok(tensors)
}

fn metadata(path: &Path) -> Result<Map> {
    let data = read(path)?;
    let (_, header) = SafeTensors::read_metadata(&data).map_err(|e| no_safetensors(path, e))?;
    let pairs = header.metadata().iter().flatten();
    Ok(pairs.map(|(key, value)| (key.as_str().into(), Dynamic::from(value.clone()))).collect())
}

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .function(
            "save_tensors",
            &["path", "tensors", "options"],
            move |path: String, tensors: Map, options: Options| {
                save(&host.writable(&path)?, &tensors, options.find("metadata")?)
            },
        )
        .doc("Writes a map of tensors as a safetensors file inside the run folder.")
        .optional::<Map>("metadata", "none", "a map of texts kept in the file")
        .example(
            r#"
            save_tensors("alphas.safetensors", #{ normal: zeros([14, 8]) }, #{ metadata: #{ epoch: "3" } });
            assert_equal(load_tensors("alphas.safetensors").normal.shape, [14, 8]);
            "#,
        );
    let host = library.host();
    library
        .function("load_tensors", &["path"], move |path: String| load(&host, &host.readable(&path)?))
        .doc("The tensors of a safetensors file by their names.")
        .example(
            r#"
            save_tensors("x.safetensors", #{ x: ones([2]) });
            assert_equal(load_tensors("x.safetensors").x, ones([2]));
            "#,
        );
    let host = library.host();
    library
        .function("load_metadata", &["path"], move |path: String| metadata(&host.readable(&path)?))
        .doc("The texts kept beside the tensors of a safetensors file.")
        .example(
            r#"
            save_tensors("y.safetensors", #{ y: ones([2]) }, #{ metadata: #{ by: "me" } });
            assert_equal(load_metadata("y.safetensors").by, "me");
            "#,
        );
}
