//! The noun `language`: recurrent cells and the language models made of them.

pub(in crate::script::nouns) mod activation;
mod found;
mod genotype;
mod hidden;
mod learning;
pub(in crate::script::nouns) mod making;
mod memory;
mod onnx;
mod predict;
mod saved;
mod tree;
mod weights;

pub use hidden::HiddenStates;
pub use onnx::ExportedLanguage;

use crate::script::binding::{Library, ScriptType};
use crate::space::recurrent::{LanguageModel, RecurrentGenotype};

impl ScriptType for LanguageModel {
    const NAME: &'static str = "language_model";
}

impl ScriptType for RecurrentGenotype {
    const NAME: &'static str = "recurrent_genotype";
}

/// Declares the noun. `registry` holds the activations that scripts defined.
pub fn declare(library: &mut Library, registry: &activation::Registry) {
    library.noun("language", "Recurrent cells, and the language models made of them.");
    library.kind::<LanguageModel>("Embedded words, layers of recurrent cells, a decoder tied to the embedding.");
    library.kind::<HiddenStates>("What a model's layers carry from one window to the next.");
    library.kind::<RecurrentGenotype>("A discrete recurrent cell: for each node an activation and the state it reads.");
    making::declare(library, registry);
    activation::declare(library, registry);
    weights::declare(library);
    hidden::declare(library);
    learning::declare(library);
    predict::declare(library);
    saved::declare(library, registry);
    onnx::declare(library);
    genotype::declare(library);
    tree::declare(library);
}

/// What examples with a small model begin with.
const SMALL: &str = r#"let data = text("austen", #{ vocabulary: 200 });
let net = recurrent_supernet(data, #{ hidden: 6, nodes: 2 });
let train = data.train.windows(4, #{ length: 5 });"#;
