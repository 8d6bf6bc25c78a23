//! Making language models.

use super::activation::Registry;
use super::memory::{self, keeper};
use crate::data::text::Text;
use crate::engine::Target;
use crate::graph::bounds::MOST;
use crate::script::binding::{Argument, Call, Library, List, Mismatch, Options};
use crate::script::host::Host;
use crate::script::nouns::network::{memory::Bytes, network_seed};
use crate::space::recurrent::{
    CellRecipe, DARTS_ACTIVATIONS, Dropouts, FoundCell, LanguageModel, LanguageRecipe, Memory,
};
use crate::{Error, Result};
use candle_core::DType;
use rhai::{Dynamic, Map};
use std::sync::Arc;

/// Declares them. `registry` holds the activations that scripts defined.
pub fn declare(library: &mut Library, registry: &Registry) {
    library
        .constant("DARTS_ACTIVATIONS", List(DARTS_ACTIVATIONS.map(String::from).to_vec()))
        .doc("The five candidates of DARTS' recurrent space, in index order.")
        .example(r#"assert(DARTS_ACTIVATIONS[0] == "none" && DARTS_ACTIVATIONS.len() == 5);"#);
    let defined = registry.clone();
    library
        .function(
            "recurrent_supernet",
            &["words", "options"],
            move |call: &Call<'_>, words: Words, options: Options| {
                let width: usize = options.get("hidden")?;
                let recipe = LanguageRecipe {
                    vocabulary: words.count(),
                    embedding: width,
                    cell: CellRecipe::Search {
                        nodes: options.get("nodes")?,
                        activations: options.get::<List<String>>("activations")?.0,
                    },
                    widths: vec![width],
                    skip: false,
                    bias: true,
                    experts: 0,
                };
                model(call, &defined, recipe, words, &options)
            },
        )
        .doc(
            r#"
            The language model that DARTS searches recurrent cells with (Liu et al. 2019, section 2.1): every node of
            the cell mixes all activations on the edges from all states before it, one batch norm serves all states,
            and the output is the mean of the nodes. `words` is a text or the number of words in its vocabulary. Alphas
            "alphas" are edges × activations, node i's edges in the rows i(i − 1)/2 + state, and start at 1e-3 · N(0,
            1); weights start uniform in ±0.04, from the run's seed. `dropout` is as for `language_model`.
            "#,
        )
        .option("hidden", 300_usize, "width of the embedding and of all states")
        .option("nodes", 8_usize, "nodes of the cell besides the input's")
        .option("activations", List(DARTS_ACTIVATIONS.map(String::from).to_vec()), "the candidates of every edge")
        .optional::<Map>("dropout", "nothing is dropped", "probabilities by what they drop")
        .optional::<Bytes>("memory", memory::DEFAULT, memory::DOC)
        .example(
            r#"
            let net = recurrent_supernet(10000);
            assert(net.parameters == 4810000);
            assert(net.alphas.alphas.shape == [36, 5]);
            "#,
        );
    let defined = registry.clone();
    library
        .function("language_model", &["words", "options"], move |call: &Call<'_>, words: Words, options: Options| {
            let recipe = recipe(words.count(), &options)?;
            model(call, &defined, recipe, words, &options)
        })
        .doc(
            r#"
            A language model: embedded words, layers of recurrent cells, and a decoder whose matrix is the embedding
            (`docs/darts.md` B2). `cell` is a recurrent genotype, a recurrent tree or one of "lstm" (Hochreiter and
            Schmidhuber 1997), "capped_lstm" (input gate min(1 − f, o); Melis et al. 2018), "highway" (Zilly et al.
            2017) and "nas" (Zoph and Le 2017). `dropout` is a map of probabilities: `words` (whole words of the
            vocabulary), `input` (their vectors, one mask for all time steps), `x` and `hidden` (the token vector and
            the states as the cell's matrices see them, one mask a window), `between` (layers), `weights` (single
            weights between states; LSTM, NAS cell and trees), `output` (what the decoder sees) and `latent` (the
            vectors of mixed softmaxes). With `experts` the probability is a mixture of so many softmaxes (Yang et al.
            2018).
            "#,
        )
        .required::<Cell>("cell", "a recurrent genotype or tree, or the name of a cell")
        .option("hidden", 850_usize, "width of the states")
        .option("layers", 1_usize, "layers of this width")
        .optional::<List<usize>>("widths", "`layers` times `hidden`", "the width of each layer")
        .optional::<usize>("embedding", "the last layer's width", "width of a word's vector")
        .option("depth", 10_usize, "steps in depth of a highway cell")
        .option("skip", false, "the outputs of all layers are added, not only the last one's taken")
        .option("bias", true, "a bias on every word's logit")
        .option("experts", 0_usize, "how many softmaxes are mixed; 0: one")
        .optional::<Map>("dropout", "nothing is dropped", "probabilities by what they drop")
        .optional::<Bytes>("memory", memory::DEFAULT, memory::DOC)
        .example(
            r#"
            let net = language_model(10000, #{ cell: recurrent_genotype("DARTS_V2") });
            assert(net.parameters == 22960000);
            let lstm = language_model(100, #{ cell: "lstm", widths: [12, 8], dropout: #{ output: 0.4 } });
            assert(lstm.dropout.output == 0.4);
            "#,
        );
}

/// The words that there are: a text's vocabulary, or only their number.
enum Words {
    Known(Arc<[String]>),
    Counted(usize),
}

impl Words {
    fn count(&self) -> usize {
        match self {
            Self::Known(words) => words.len(),
            Self::Counted(count) => *count,
        }
    }
}

impl Argument for Words {
    fn describe() -> String {
        "text or int".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        match value.read_lock::<Text>() {
            Some(text) => Ok(Self::Known(text.vocabulary().words().into())),
            None => usize::read(value).map(Self::Counted),
        }
    }
}

/// A cell by its name, or one that was found.
enum Cell {
    Named(String),
    Found(FoundCell),
}

impl Argument for Cell {
    fn describe() -> String {
        "recurrent_genotype, recurrent_tree or string".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if value.is::<crate::space::Genotype>() {
            return Err(Mismatch::Error(
                Error::user("this genotype is of convolutional cells, not of a recurrent one")
                    .hint("recurrent_genotype(…) reads recurrent cells"),
            ));
        }
        match value.clone().into_string() {
            Ok(name) => Ok(Self::Named(name)),
            Err(_) => FoundCell::read(value).map(Self::Found),
        }
    }
}

/// The cells that have names.
const CELLS: [&str; 4] = ["lstm", "capped_lstm", "highway", "nas"];

fn recipe(vocabulary: usize, options: &Options) -> Result<LanguageRecipe> {
    let cell = match options.get("cell")? {
        Cell::Found(cell) => cell.into(),
        Cell::Named(name) => match name.as_str() {
            "lstm" => CellRecipe::Lstm,
            "capped_lstm" => CellRecipe::CappedLstm,
            "highway" => CellRecipe::Highway { depth: options.get("depth")? },
            "nas" => CellRecipe::Nas,
            _ => return Err(Error::unknown("recurrent cell", &name, CELLS)),
        },
    };
    let layers = options.get::<usize>("layers")?;
    let widths = match options.find::<List<usize>>("widths")? {
        Some(widths) => widths.0,
        None if layers <= MOST => vec![options.get("hidden")?; layers.min(65)],
        None => vec![],
    };
    let last = widths.last().copied().unwrap_or(0);
    Ok(LanguageRecipe {
        vocabulary,
        embedding: options.find("embedding")?.unwrap_or(last),
        cell,
        widths,
        skip: options.get("skip")?,
        bias: options.get("bias")?,
        experts: options.get("experts")?,
    })
}

fn model(
    call: &Call<'_>,
    registry: &Registry,
    recipe: LanguageRecipe,
    words: Words,
    options: &Options,
) -> Result<LanguageModel> {
    let host = call.host();
    let target = target(host)?;
    let dropouts = dropouts(&options.find::<Map>("dropout")?.unwrap_or_default(), Dropouts::default())?;
    let embedding = recipe.vocabulary.saturating_mul(recipe.embedding);
    host.meter.admit(&[embedding], host.dtype().size_in_bytes())?;
    let limits = Memory { limit: options.find::<Bytes>("memory")?.map(|bytes| bytes.0), keeper: Some(keeper(host)) };
    let model = LanguageModel::within(recipe, &registry.activations(call)?, network_seed(host), target, limits)?;
    model.set_dropouts(dropouts);
    match words {
        Words::Known(words) => model.with_words(words),
        Words::Counted(_) => Ok(model),
    }
}

/// What a model is to run on.
///
/// # Errors
/// A device that language models do not run on.
pub fn target(host: &Host) -> Result<Target> {
    if !host.device().is_cpu() || host.networks().is_some() {
        return Err(Error::user("language models run on the processor only").hint("run with --device cpu"));
    }
    match host.dtype() {
        DType::F64 => Ok(Target::Exact),
        _ => Target::best(),
    }
}

/// The probabilities of a map, and for what it leaves out those of `others`.
pub fn dropouts(given: &Map, mut others: Dropouts) -> Result<Dropouts> {
    for (name, value) in given {
        let probability = f64::read(value).map_err(|m| m.into_error(&format!("dropout `{name}`"), "float"))?;
        others.set(name, probability)?;
    }
    Ok(others)
}
