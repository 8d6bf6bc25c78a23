//! The option `memory` of whatever makes a network.

use crate::bytes::parse_bytes;
use crate::script::binding::{Argument, Call, Mismatch, Options, describe_value};
use crate::script::host::Host;
use crate::space::Network;
use crate::{Error, Result};
use candle_core::DType;
use rhai::Dynamic;
use std::sync::Arc;

pub const DOC: &str = "the most that training may take, \"2GB\" or \"800MiB\": outputs that do not fit are \
                       recomputed in the backward pass, and no bit of a result changes. Counted are activations and \
                       gradients of one pass, the engine's tables, the batch's images, eight vectors as long as the \
                       weights, and 32 MB for the program, or on a GPU all that a pass takes there; a data set that \
                       `images` holds is not";
pub const DEFAULT: &str = "only what costs next to nothing is recomputed";

/// The network where the host wants it, and in the host's precision.
pub fn placed(host: &Host, network: Network) -> Result<Network> {
    match (host.dtype(), host.networks()) {
        (DType::F64, _) => network.in_double_precision(),
        (_, Some(gpu)) => network.on_gpu(gpu),
        _ => network.runs_where_it_is().map(|()| network),
    }
}

/// An amount of memory, written "2GB".
pub struct Bytes(pub u64);

impl Argument for Bytes {
    fn describe() -> String {
        "string".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        match value.clone().into_string() {
            Ok(text) => parse_bytes(&text).map(Bytes).map_err(Mismatch::Error),
            Err(_) => Err(Mismatch::Error(
                Error::user(format!("option `memory` must be a string, not {}", describe_value(value)))
                    .hint("write a number and a unit: \"2GB\", \"1.5GiB\", \"800MB\""),
            )),
        }
    }
}

/// The network where the host wants it, in the host's precision and within the memory that the script gives it; what a
/// limit costs is told when it is known.
pub fn settled(call: &Call<'_>, options: &Options, network: Network) -> Result<Network> {
    let network = placed(call.host(), network)?;
    let Some(Bytes(bytes)) = options.find::<Bytes>("memory")? else { return Ok(network) };
    let notes = call.host().notes.clone();
    network.within(bytes, Arc::new(move |line| notes.show(line)))
}
