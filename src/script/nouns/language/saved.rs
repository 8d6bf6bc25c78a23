//! Language models as files, with all that it takes to use them.

use super::SMALL;
use super::activation::Registry;
use super::making::target;
use super::memory::keeper;
use crate::script::binding::{Call, Library, List, Options};
use crate::script::nouns::network::{network_seed, saved::about};
use crate::space::recurrent::{LanguageModel, SavedLanguage};
use crate::{Error, Result};
use rhai::Map;

/// Declares them. `registry` holds the activations that scripts defined.
pub fn declare(library: &mut Library, registry: &Registry) {
    let host = library.host();
    library
        .method("save", &["net", "file", "options"], move |net: LanguageModel, file: String, options: Options| {
            SavedLanguage::write(&host.writable(&file)?, &knowing(net, &options)?, &about(&options)?)
        })
        .doc(
            r#"
            Writes the model into the run folder, as safetensors: all weights by name, running statistics and alphas,
            and what it takes to build and to use it (cell, widths, the vocabulary's words). The file is written under
            another name and renamed, so an older one stays whole until the new one is. What is dropped in training is
            not part of it. `candlewick export` makes an ONNX file of it.
            "#,
        )
        .optional::<List<String>>("words", "those of the text that it was made for", "the vocabulary, by id")
        .optional::<Map>("about", "nothing", "anything worth keeping: epoch, perplexity …")
        .example_after(
            SMALL,
            r#"
            net.save("best.safetensors", #{ about: #{ epoch: 3 } });
            assert(load_language_model("best.safetensors").words == data.words);
            "#,
        );
    let defined = registry.clone();
    library
        .function("load_language_model", &["file"], move |call: &Call<'_>, file: String| {
            let path = call.host().readable(&file)?;
            let size = std::fs::metadata(&path).map_err(|e| Error::file(&path, &e))?.len();
            call.host().meter.admit(&[size as usize], 1)?;
            let target = target(call.host())?;
            let activations = defined.activations(call)?;
            let saved = SavedLanguage::read_with(&path, &activations, network_seed(call.host()), target)?;
            Ok(saved.model.kept_by(keeper(call.host())))
        })
        .doc(
            r#"
            The language model that `net.save` wrote, with its weights, ready for `evaluate`, `predict` and further
            training; nothing is dropped unless `net.dropout` is set. A text is read with its vocabulary by
            `text(source, #{ words: net.words })`. Activations that the script defined must be defined again first.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            net.save("best.safetensors");
            let again = load_language_model("best.safetensors");
            let part = data.valid.take(50);
            assert(evaluate(again, part, #{ batch: 1 }) == evaluate(net, part, #{ batch: 1 }));
            "#,
        );
    let host = library.host();
    library
        .method("load", &["net", "file"], move |net: LanguageModel, file: String| {
            SavedLanguage::load_into(&host.readable(&file)?, &net)
        })
        .doc("Takes over the weights, running statistics and alphas of a saved model with the same cell and widths.")
        .example_after(
            SMALL,
            r#"
            net.save("best.safetensors");
            net.load("best.safetensors");
            "#,
        );
    library
        .property("words", |net: LanguageModel| {
            net.words().map(|words| List(words.to_vec())).ok_or_else(|| {
                Error::user("this model does not know its words").hint("one made for a text does, not for a number")
            })
        })
        .doc("The word of every id: those of the text that it was made for.")
        .example_after(SMALL, "assert(net.words == data.words);");
}

/// The model, with the words that the option `words` gives.
fn knowing(net: LanguageModel, options: &Options) -> Result<LanguageModel> {
    match options.find::<List<String>>("words")? {
        Some(words) => net.with_words(words.0),
        None => Ok(net),
    }
}
