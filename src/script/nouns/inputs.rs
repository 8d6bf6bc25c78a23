//! What the nouns `network` and `learn` take besides handles: data sets and batches in either form, mixing weights by
//! name, masks, and closures that relax alphas.

use crate::batch::Batch;
use crate::data;
use crate::graph::Shape;
use crate::graph::bounds::MOST;
use crate::script::binding::{Argument, Call, List, Mismatch, Options, describe_value};
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::script::nouns::tensor::arguments::Nested;
use crate::space::{Alphas, Legend, Mask, Network};
use crate::{Error, Parameter, Result};
use candle_core::{DType, Device};
use rhai::{Dynamic, FnPtr, Map};
use std::sync::Arc;

/// Reads an array whose elements have one type; `what` names it in the error.
pub fn list_of<T: Argument>(what: &str, value: &Dynamic) -> Result<Vec<T>> {
    List::<T>::read(value).map(|list| list.0).map_err(|m| m.into_error(&format!("`{what}`"), &List::<T>::describe()))
}

/// What one image is and how many classes there are: a data set's, or given as a map.
pub struct Pictures {
    pub shape: Shape,
    pub classes: usize,
    /// A data set's class names and normalisation.
    legend: Option<Legend>,
}

impl Argument for Pictures {
    fn describe() -> String {
        "images or map".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(images) = value.read_lock::<data::Images>() {
            return Ok(Self::of(&images.train));
        }
        if let Some(set) = value.read_lock::<data::ImageSet>() {
            return Ok(Self::of(&set));
        }
        let Ok(map) = value.as_map_ref() else {
            return Err(Mismatch::Found(format!("not {}", describe_value(value))));
        };
        Self::from_map(&map).map_err(Mismatch::Error)
    }
}

impl Pictures {
    fn of(set: &data::ImageSet) -> Self {
        Self { shape: set.shape(), classes: set.classes().len(), legend: Some(set.legend().clone()) }
    }

    /// Tells a network made for these images what its numbers mean.
    pub fn explain(self, network: Network) -> Network {
        match self.legend {
            Some(legend) if legend.classes.len() == network.classes() => network.with_legend(legend),
            _ => network,
        }
    }

    fn from_map(map: &Map) -> Result<Self> {
        let known = ["channels", "size", "classes"];
        if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(Error::unknown("property of images", key, known));
        }
        let form = "#{ channels: 3, size: 32, classes: 10 }, or size: [height, width]";
        let get = |name: &str| map.get(name).ok_or_else(|| Error::user(format!("images need `{name}`")).hint(form));
        let count = |name: &str| {
            usize::read(get(name)?)
                .map_err(|m| m.into_error(&format!("`{name}`"), "int"))
                .and_then(|count| bounded(name, count))
        };
        let size = get("size")?;
        let (height, width) = match usize::read(size) {
            Ok(side) => (side, side),
            Err(_) => match list_of::<usize>("size", size)?[..] {
                [height, width] => (height, width),
                _ => return Err(Error::user("`size` is one side or [height, width]").hint(form)),
            },
        };
        let shape = Shape::new(count("channels")?, bounded("size", height)?, bounded("size", width)?);
        Ok(Self { shape, classes: count("classes")?, legend: None })
    }
}

/// A number from 1 to [`MOST`]: sizes that a network can have.
pub fn bounded(name: &str, count: usize) -> Result<usize> {
    match (1..=MOST).contains(&count) {
        true => Ok(count),
        false => Err(Error::user(format!("`{name}` must be from 1 to {MOST}, not {count}"))),
    }
}

/// Labelled images: a batch of a data set, or `#{ x: tensor, y: labels }`, the labels classes or real numbers.
pub struct AnyBatch(pub Batch);

impl Argument for AnyBatch {
    fn describe() -> String {
        "batch or map".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(batch) = value.read_lock::<Batch>() {
            return Ok(Self(batch.clone()));
        }
        let Ok(map) = value.as_map_ref() else {
            return Err(Mismatch::Found(format!("not {}", describe_value(value))));
        };
        Self::from_map(&map).map_err(Mismatch::Error)
    }
}

impl AnyBatch {
    fn from_map(map: &Map) -> Result<Self> {
        let form = "#{ x: images, y: labels }";
        if let Some(key) = map.keys().find(|key| !["x", "y"].contains(&key.as_str())) {
            return Err(Error::unknown("part of a batch", key, ["x", "y"]));
        }
        let get = |name: &str| map.get(name).ok_or_else(|| Error::user(format!("a batch needs `{name}`")).hint(form));
        let images = Tensor::read(get("x")?).map_err(|m| m.into_error("`x`", "tensor"))?;
        let images = images.float()?;
        let y = get("y")?;
        let labels = match y.read_lock::<Tensor>() {
            Some(labels) => labels.candle(),
            None => {
                let inside = |error: Error| Error { message: format!("`y`: {}", error.message), ..error };
                let Nested { values, dims, integer } = Nested::read(y).map_err(inside)?;
                let labels = candle_core::Tensor::from_vec(values, dims, &Device::Cpu)?;
                labels.to_dtype(if integer { DType::I64 } else { images.dtype() })?
            }
        };
        Batch::new(images, labels).map(Self)
    }

    /// The batch where the network's weights are.
    pub fn on(&self, device: &Device) -> Result<Batch> {
        self.0.to_device(device)
    }
}

/// Mixing weights by the names of a network's slot blocks.
pub struct Blocks;

impl Blocks {
    /// A tensor out of a map, as floats.
    pub fn tensor(name: &str, value: &Dynamic) -> Result<candle_core::Tensor> {
        match value.read_lock::<Tensor>() {
            Some(tensor) => tensor.float(),
            None => Err(Error::user(format!("`{name}` must be a tensor, not {}", describe_value(value)))),
        }
    }

    /// One matrix for every block, in order: the given ones, and for the others the default relaxation among the slots
    /// that run (none: all).
    pub fn complete(net: &Network, given: &Map, active: Option<&[bool]>) -> Result<Vec<candle_core::Tensor>> {
        Self::check_names(&Self::names(net), given)?;
        let mut p = net.relax_among(net.alphas(), active)?;
        for (block, p) in net.graph().slot_blocks().iter().zip(&mut p) {
            if let Some(value) = given.get(block.name.as_str()) {
                *p = Self::tensor(&block.name, value)?;
            }
        }
        Ok(p)
    }

    fn names(net: &Network) -> Vec<&str> {
        net.graph().slot_blocks().iter().map(|block| block.name.as_str()).collect()
    }

    /// One matrix for every block of these alphas, in order, all of them given.
    fn all(alphas: &Alphas, given: &Map) -> Result<Vec<candle_core::Tensor>> {
        let names: Vec<&str> = alphas.names().collect();
        Self::check_names(&names, given)?;
        let block = |name: &&str| {
            let value = given.get(*name).ok_or_else(|| {
                let form: Vec<String> = names.iter().map(|name| format!("{name}: …")).collect();
                Error::user(format!("the relaxation gives no mixing weights \"{name}\""))
                    .hint(format!("give all of them: #{{ {} }}", form.join(", ")))
            })?;
            Self::tensor(name, value)
        };
        names.iter().map(block).collect()
    }

    /// Which slots run: those whose entry in the map of masks is not 0, and all of the blocks that are not in it.
    pub fn active(net: &Network, masks: &Map) -> Result<Arc<[bool]>> {
        Self::check_names(&Self::names(net), masks)?;
        let mut active = vec![true; net.graph().slot_count()];
        for block in net.graph().slot_blocks() {
            let Some(value) = masks.get(block.name.as_str()) else { continue };
            let mask = Self::tensor(&block.name, value)?;
            if mask.dims() != [block.rows, block.columns] {
                return Err(Error::user(format!(
                    "the mask \"{}\" must be [{}, {}], not {:?}",
                    block.name,
                    block.rows,
                    block.columns,
                    mask.dims()
                )));
            }
            let runs = mask.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            for (slot, runs) in active[block.offset..].iter_mut().zip(runs) {
                *slot = runs != 0.0;
            }
        }
        Ok(active.into())
    }

    fn check_names(names: &[&str], given: &Map) -> Result<()> {
        match given.keys().find(|key| !names.contains(&key.as_str())) {
            Some(key) if names.is_empty() => {
                Err(Error::user(format!("this network mixes nothing, but mixing weights \"{key}\" are given")))
            }
            Some(key) => Err(Error::unknown("block of mixing weights", key, names.iter().copied())),
            None => Ok(()),
        }
    }
}

/// What a model's weights are to become.
pub enum NewWeights {
    /// All of them, flat.
    Flat(candle_core::Tensor),
    /// Some by name, each in its own shape.
    Named(Vec<(String, candle_core::Tensor)>),
}

impl NewWeights {
    /// What `set_weights` was given.
    ///
    /// # Errors
    /// Neither a tensor nor a map of tensors.
    pub fn read(given: &Dynamic) -> Result<Self> {
        if let Some(flat) = given.read_lock::<Tensor>() {
            return Ok(Self::Flat(flat.float()?));
        }
        let map = given.as_map_ref().map_err(|_| {
            Error::user(format!("set_weights takes a flat tensor or a map by name, not {}", describe_value(given)))
                .hint("clone_weights gives such a tensor, named such a map")
        })?;
        let named = map.iter().map(|(name, value)| Ok((name.to_string(), Blocks::tensor(name, value)?)));
        Ok(Self::Named(named.collect::<Result<_>>()?))
    }
}

/// Alphas as a script sees them: a map of parameters by name, edges × ops each.
pub fn alphas_by_name(host: &Host, alphas: &Alphas) -> Map {
    let hand = |parameter: &Parameter| Dynamic::from(Tensor::of_parameter(&host.meter, parameter.clone()));
    alphas.iter().map(|(name, parameter)| (name.into(), hand(parameter))).collect()
}

/// A relaxation that a script wrote.
pub type Relaxation<'a> = Box<dyn Fn(&Alphas) -> Result<Vec<candle_core::Tensor>> + 'a>;

/// The option `relax`: a closure from the map of alphas to the map of mixing weights.
pub fn relaxation<'a>(call: &'a Call<'_>, options: &Options) -> Result<Option<Relaxation<'a>>> {
    let Some(closure) = options.find::<FnPtr>("relax")? else { return Ok(None) };
    Ok(Some(Box::new(move |alphas: &Alphas| {
        let relaxed: Map = call.invoke(&closure, (alphas_by_name(call.host(), alphas),))?;
        Blocks::all(alphas, &relaxed)
    })))
}

/// Moves the alphas named in a map: all of them or, where one does not fit, none.
///
/// # Errors
/// An unknown name, with the closest one; another shape.
pub fn set_alphas(alphas: &Alphas, values: &Map) -> Result<()> {
    let mut moves = Vec::new();
    for (name, value) in values {
        let parameter = alphas.get(name)?;
        let given = value.read_lock::<Tensor>();
        if given.is_some_and(|given| given.parameter().is_some_and(|given| given.is(parameter))) {
            // Its own handle, as setting one entry of `net.alphas` gives back the others.
            continue;
        }
        let value = Blocks::tensor(name, value)?;
        if value.dims() != parameter.dims() {
            return Err(Error::user(format!("alphas \"{name}\" are {:?}, not {:?}", parameter.dims(), value.dims())));
        }
        moves.push((parameter, value.to_dtype(parameter.dtype())?));
    }
    moves.into_iter().try_for_each(|(parameter, value)| parameter.set(&value))
}

/// Which ops the edges of one kind of cell carry.
pub struct EdgeMask;

impl EdgeMask {
    /// The entry `kind` of a map of masks: for every edge the names of its ops, or a bool for each op.
    pub fn read(masks: &Map, kind: &str, operations: &[String]) -> Result<Option<Mask>> {
        if let Some(key) = masks.keys().find(|key| !["normal", "reduce"].contains(&key.as_str())) {
            return Err(Error::unknown("kind of cell", key, ["normal", "reduce"]));
        }
        let Some(value) = masks.get(kind) else { return Ok(None) };
        let edges = value.as_array_ref().map_err(|_| {
            Error::user(format!("the mask `{kind}` must be an array, not {}", describe_value(value)))
                .hint("one array of op names, or of bools, for every edge")
        })?;
        edges
            .iter()
            .enumerate()
            .map(|(edge, row)| Self::row(kind, edge, row, operations))
            .collect::<Result<_>>()
            .map(Some)
    }

    fn row(kind: &str, edge: usize, row: &Dynamic, operations: &[String]) -> Result<Vec<bool>> {
        if let Ok(flags) = List::<bool>::read(row)
            && !flags.0.is_empty()
        {
            return Ok(flags.0);
        }
        let names = list_of::<String>(&format!("{kind}[{edge}]"), row)?;
        if let Some(stranger) = names.iter().find(|name| !operations.contains(name)) {
            return Err(Error::unknown("op in this supernet", stranger, operations.iter().map(String::as_str)));
        }
        Ok(operations.iter().map(|operation| names.contains(operation)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Library, Script, Setup, on_script_thread};

    /// `probe(net, #{ relax: … })`: relaxes copies of the alphas that are one larger; the network's own stay.
    fn declare(library: &mut Library) {
        crate::script::declare(library);
        library
            .function("probe", &["net", "options"], |call: &Call<'_>, net: Network, options: Options| {
                let relax = relaxation(call, &options)?.ok_or_else(|| Error::user("give relax"))?;
                let larger = net
                    .alphas()
                    .iter()
                    .map(|(name, alpha)| Ok((name.to_string(), Parameter::new(&alpha.detached().affine(1.0, 1.0)?)?)));
                let larger = Alphas::new(larger.collect::<Result<_>>()?);
                let p = relax(&larger)?;
                let slopes = p[0].sum_all()?.backward()?;
                assert!(slopes.get(&larger.tensors()[0]).is_some(), "gradients flow to the copies");
                assert!(slopes.get(&net.alphas().tensors()[0]).is_none(), "and not to the network's own");
                Ok(Tensor::new(&call.host().meter, p[0].detach()))
            })
            .optional::<FnPtr>("relax", "none", "a closure |alphas| that gives a map of mixing weights");
    }

    #[test]
    fn a_relaxation_is_of_the_alphas_that_it_is_given() {
        let script = "let net = supernet(#{ channels: 1, size: 8, classes: 10 }, \
                          #{ channels: 2, layers: 3, nodes: 1 });\n\
                      let twice = |alphas| #{ normal: alphas.normal * 2.0, reduce: alphas.reduce };\n\
                      let p = probe(net, #{ relax: twice });\n\
                      assert(all_close(p, net.alphas.normal * 2.0 + 2.0));";
        let host = Host::new(Setup::default());
        let ran = on_script_thread(|| Script::compile_with(host, script.to_string(), declare)?.run());
        if let Err(page) = ran.expect("the thread runs") {
            panic!("{}", page.render(false));
        }
    }
}
