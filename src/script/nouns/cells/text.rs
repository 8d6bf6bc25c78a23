//! Recurrent cells scored on text.

use super::{key, only, scores, seed, with_common};
use crate::data::text::{Stream, Text};
use crate::fingerprint::Fingerprint;
use crate::learn::scratch::{Task, TextTraining};
use crate::script::binding::{Argument, Call, Declaration, Library, List, Mismatch, Options, describe_value};
use crate::script::nouns::language::activation::Registry;
use crate::script::nouns::language::making::{dropouts, target};
use crate::space::recurrent::{
    CellRecipe, Dropouts, FoundCell, LanguageModel, LanguageRecipe, RecurrentGenotype, RecurrentTree,
};
use crate::{Error, Result};
use rhai::{Dynamic, Map};

pub fn declare(library: &mut Library, registry: &Registry) {
    let defined = registry.clone();
    let cell = library
        .function(
            "train_cell",
            &["genotype", "text", "options"],
            move |call: &Call<'_>, cell: RecurrentGenotype, data: Pair, options: Options| {
                only(scored(call, &defined, vec![cell.into()], &data, &options)?)
            },
        )
        .doc(
            r#"
            A recurrent genotype's score: a language model of this cell is trained from scratch and evaluated. `text` is
            a text, of which it learns the training part and is judged by the validation part, or `[train, valid]`, two
            streams of one text. SGD on windows of varying length, hidden states carried along. Gives a map with the
            `perplexity` and `loss` on the validation text, `parameters`, `macs` (multiply-adds of a token) and the
            `cost`, and keeps it on the disk as for other genotypes.
            "#,
        );
    with_common(with_options(cell)).example(
        r#"
        let data  = text("austen", #{ vocabulary: 50 });
        let parts = [data.train.take(400), data.valid.take(200)];
        let cell  = recurrent_genotype(#{ recurrent: [["tanh", 0]] });
        let score = train_cell(cell, parts, #{ epochs: 1, hidden: 4, batch: 4, length: 5 });
        assert(score.perplexity > 1.0);
        "#,
    );
    let defined = registry.clone();
    let tree = library.function(
        "train_cell",
        &["tree", "text", "options"],
        move |call: &Call<'_>, tree: RecurrentTree, data: Pair, options: Options| {
            only(scored(call, &defined, vec![tree.into()], &data, &options)?)
        },
    );
    with_common(with_options(tree.doc("A recurrent tree's score, as that of a recurrent genotype."))).example(
        r#"
        let data  = text("austen", #{ vocabulary: 50 });
        let parts = [data.train.take(400), data.valid.take(200)];
        let score = train_cell(recurrent_tree("found"), parts, #{ epochs: 1, hidden: 4, batch: 4, length: 5 });
        assert(score.parameters == 50 * 5 + 16 * 4 * 4);
        "#,
    );
    let defined = registry.clone();
    let many = library
        .function(
            "score_recurrent_cells",
            &["cells", "text", "options"],
            move |call: &Call<'_>, cells: List<FoundCell>, data: Pair, options: Options| {
                scored(call, &defined, cells.0.into_iter().map(CellRecipe::from).collect(), &data, &options).map(List)
            },
        )
        .doc("The scores of many recurrent genotypes and trees, as `score_cells` gives those of other genotypes.");
    with_common(with_options(many)).example(
        r#"
        let data   = text("austen", #{ vocabulary: 50 });
        let parts  = [data.train.take(400), data.valid.take(200)];
        let cells  = [random_recurrent_genotype(2, ["tanh"]), random_recurrent_genotype(3, ["relu"])];
        let scores = score_recurrent_cells(cells, parts, #{ epochs: 1, hidden: 4, batch: 4, length: 5 });
        assert(scores.len() == 2);
        "#,
    );
}

fn with_options(declaration: &mut Declaration) -> &mut Declaration {
    declaration
        .required::<usize>("epochs", "passes over the training text")
        .option("hidden", 850_usize, "width of the embedding and of the states")
        .optional::<Map>("dropout", "nothing is dropped", "probabilities by what they drop, as for `language_model`")
        .option("batch", 64_usize, "columns that the training text is cut into")
        .option("length", 35_usize, "time steps of a window on average")
        .option("lr", 20.0, "the learning rate, for a window of full length")
        .option("weight_decay", 8e-7, "decay, added to the clipped gradient")
        .option("clip", 0.25, "largest norm of the gradient")
        .option("slowness", 1e-3, "weight of the penalty on changes from one time step to the next")
}

/// The text that a model learns, and the text by which it is judged.
struct Pair {
    train: Stream,
    valid: Stream,
}

impl Argument for Pair {
    fn describe() -> String {
        "text or [stream]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(text) = value.read_lock::<Text>() {
            return Ok(Self { train: text.train.clone(), valid: text.valid.clone() });
        }
        if !value.is_array() {
            return Err(Mismatch::Found(format!("not {}", describe_value(value))));
        }
        let streams = List::<Stream>::read(value)?.0;
        let count = streams.len();
        let Ok([train, valid]) = <[Stream; 2]>::try_from(streams) else {
            return Err(Mismatch::Error(
                Error::user(format!("cells are scored on two streams of a text, not {count}")).hint("[train, valid]"),
            ));
        };
        match train.vocabulary().words() == valid.vocabulary().words() {
            true => Ok(Self { train, valid }),
            false => Err(Mismatch::Error(Error::user("the two streams have different vocabularies"))),
        }
    }
}

fn training(options: &Options) -> Result<TextTraining> {
    let training = TextTraining {
        epochs: options.get("epochs")?,
        batch: options.get("batch")?,
        length: options.get("length")?,
        lr: options.get("lr")?,
        weight_decay: options.get("weight_decay")?,
        clip: options.get("clip")?,
        slowness: options.get("slowness")?,
    };
    training.check()?;
    Ok(training)
}

fn scored(
    call: &Call<'_>,
    registry: &Registry,
    cells: Vec<CellRecipe>,
    data: &Pair,
    options: &Options,
) -> Result<Vec<Map>> {
    let (host, training, seed) = (call.host(), training(options)?, seed(call, options)?);
    let (hidden, target) = (options.get::<usize>("hidden")?, target(host)?);
    let dropped = dropouts(&options.find::<Map>("dropout")?.unwrap_or_default(), Dropouts::default())?;
    let activations = registry.activations(call)?;
    let fingerprint = |stream: &Stream| Fingerprint::default().and_numbers(stream.ids()).to_string();
    let (train, valid) = (fingerprint(&data.train), fingerprint(&data.valid));
    let mut tasks = Vec::with_capacity(cells.len());
    for cell in cells {
        let text = cell.to_string();
        let recipe = LanguageRecipe {
            vocabulary: data.train.vocabulary().words().len(),
            embedding: hidden,
            cell,
            widths: vec![hidden],
            skip: false,
            bias: true,
            experts: 0,
        };
        host.meter.admit(&[recipe.vocabulary.saturating_mul(hidden)], host.dtype().size_in_bytes())?;
        // Fresh for each cell, and made here, where a script's own activations can be called.
        let model = LanguageModel::new(recipe.clone(), &activations, seed, target)?;
        model.set_dropouts(dropped);
        let fields = serde_json::json!({
            "cell": text,
            "activations": activation_fingerprint(&model),
            "vocabulary": recipe.vocabulary,
            "hidden": hidden,
            "dropout": format!("{dropped:?}"),
            "training": training,
            "train": train,
            "valid": valid,
            "seed": seed.0,
        });
        let cost = training.cost(model.macs(), data.train.len(), data.valid.len());
        let training = &training;
        let train = move || training.run(&model, &data.train, &data.valid, seed);
        tasks.push(Task { cell: text, key: key(host, fields)?, cost, train: Box::new(train) });
    }
    scores(call, &tasks, options)
}

/// That of a model's time steps, which hold what a script's own activations are made of.
fn activation_fingerprint(model: &LanguageModel) -> String {
    model.steps().fold(Fingerprint::default(), |hash, step| hash.and_text(&format!("{step:?}"))).to_string()
}
