//! What scripts can call, a file or folder for each noun.

mod cells;
mod data;
mod general;
mod graph;
mod inputs;
mod json;
pub mod language;
mod layers;
mod learn;
pub mod network;
pub mod param;
mod presets;
mod run;
mod table;
mod tensor;
mod text;
mod ways;
mod written;

pub use tensor::Tensor;

use super::binding::{Catalogue, Library, Sources, engine};
use super::host::{Host, Setup};

/// Declares every noun, in the order of the reference.
pub fn declare(library: &mut Library) {
    general::declare(library);
    param::declare(library);
    presets::declare(library);
    tensor::declare(library);
    layers::declare(library);
    data::declare(library);
    text::declare(library);
    let registry = graph::Registry::default();
    network::declare(library, &registry);
    learn::declare(library);
    let activations = language::activation::Registry::default();
    language::declare(library, &activations);
    cells::declare(library, &registry, &activations);
    graph::declare(library, &registry);
    run::declare(library);
    table::declare(library);
}

/// The catalogue of everything scripts can call, without a script.
pub fn catalogue() -> Catalogue {
    engine(&Host::new(Setup::default()), &Sources::default(), declare).1
}
