//! Gradients and scores of language models, and their genotypes.

use super::{HiddenStates, SMALL};
use crate::data::text::{Jitter, Stream, Window, WindowOptions, Windows};
use crate::engine::Mode;
use crate::learn::{self, Clip, Excerpt, Order, Penalties, Surprise};
use crate::random::Seed;
use crate::script::binding::{Argument, Call, Library, List, Mismatch, Options, describe_value};
use crate::script::nouns::Tensor;
use crate::script::nouns::inputs::relaxation;
use crate::script::nouns::learn::{Gradient, Optimizer, finite, order};
use crate::space::recurrent::{LanguageModel, Weights};
use crate::{Error, Result};
use rhai::{Dynamic, FnPtr, Map};

pub fn declare(library: &mut Library) {
    declare_surprise(library);
    declare_gradients(library);
    declare_scores(library);
}

const RELAX: (&str, &str, &str) = ("relax", "softmax by row", "a closure |alphas| that gives a map of mixing weights");
const HIDDEN: (&str, &str, &str) = ("hidden", "zeros, and not kept", "hidden states that are carried along");

fn declare_surprise(library: &mut Library) {
    let host = library.host();
    library
        .method(
            "surprise",
            &["net", "window", "options"],
            move |call: &Call<'_>, net: LanguageModel, window: AnyWindow, options: Options| {
                let p = match relaxation(call, &options)? {
                    Some(relax) => relax(net.alphas())?,
                    None => net.relax(net.alphas())?,
                };
                let carried = options.find::<HiddenStates>("hidden")?;
                let excerpt = window.excerpt(&net, carried.as_ref())?;
                let mode = if options.get("training")? { Mode::Training } else { Mode::Evaluation };
                let w = Weights::slices(&net, &net.weights().tensor())?;
                let passed = net.pass(&excerpt.words, &excerpt.hidden, &w, &p, mode)?;
                let loss = net.surprise(&passed, &excerpt.next, &w)?.mean_all()?;
                if let Some(carried) = carried {
                    carried.keep(passed.hidden);
                }
                Ok(Tensor::new(&host.meter, loss))
            },
        )
        .doc(
            r#"
            The mean negative log-likelihood of a window's next words, as a tensor: gradients flow to `net.weights` and
            `net.alphas`. `window` is a window of a text or `#{ x: words, y: next_words }`, ids of [time, columns].
            "#,
        )
        .option("training", true, "drop, and normalise by the batch's statistics, which update the running ones")
        .optional::<HiddenStates>(HIDDEN.0, HIDDEN.1, HIDDEN.2)
        .optional::<FnPtr>(RELAX.0, RELAX.1, RELAX.2)
        .example_after(
            SMALL,
            r#"
            let loss = net.surprise(train.next());
            let slopes = gradient(loss, #{ weights: net.weights, alphas: net.alphas.alphas });
            assert(slopes.alphas.shape == [3, 5]);
            "#,
        );
}

fn declare_gradients(library: &mut Library) {
    let host = library.host();
    library
        .function(
            "weight_gradient",
            &["net", "window", "options"],
            move |call: &Call<'_>, net: LanguageModel, window: AnyWindow, options: Options| {
                let carried = options.find::<HiddenStates>("hidden")?;
                let excerpt = window.excerpt(&net, carried.as_ref())?;
                let penalties =
                    Penalties { activation: options.get("activation")?, slowness: options.get("slowness")? };
                let relax = relaxation(call, &options)?;
                let (loss, flat, after) = learn::language_gradient(&net, &excerpt, relax.as_deref(), penalties)?;
                let loss = finite(&host, "train_loss", loss)?;
                if let Some(carried) = carried {
                    carried.keep(after);
                }
                Ok(Gradient::new(&host, loss, vec![("weights".into(), flat)]))
            },
        )
        .doc(
            r#"
            The loss of a window in training mode and its gradient with respect to the model's weights: the mean
            negative log-likelihood of the next words, plus `activation` times the mean square of what the decoder sees
            and `slowness` times the mean square of the output's change from one time step to the next (Merity, McCann
            and Socher 2017). Gradients end at the window's first step; hidden states go on through `hidden`. A loss
            that is NaN or infinite ends the script, unless it is caught; the hidden states then stay.
            "#,
        )
        .option("activation", 0.0, "weight of the activations' penalty (AR)")
        .option("slowness", 0.0, "weight of the changes' penalty (TAR)")
        .optional::<HiddenStates>(HIDDEN.0, HIDDEN.1, HIDDEN.2)
        .optional::<FnPtr>(RELAX.0, RELAX.1, RELAX.2)
        .example_after(
            SMALL,
            r#"
            let carried = hidden_states();
            let w_opt = sgd(net.weights, #{ lr: 1.0, clip: 0.25 });
            w_opt.step(weight_gradient(net, train.next(), #{ hidden: carried, slowness: 1e-3 }));
            "#,
        );
    let host = library.host();
    library
        .function(
            "alpha_gradient",
            &["net", "train", "valid", "options"],
            move |call: &Call<'_>, net: LanguageModel, train: AnyWindow, valid: AnyWindow, options: Options| {
                let mut order = order(&options)?;
                if let Order::Second(unroll) = &mut order {
                    let norm = options.find::<f64>("clip")?;
                    unroll.clip = norm.map(|norm| clip(norm, &options)).transpose()?;
                }
                let carried = options.find::<HiddenStates>("valid_hidden")?;
                let train = train.excerpt(&net, options.find::<HiddenStates>("hidden")?.as_ref())?;
                let valid = valid.excerpt(&net, carried.as_ref())?;
                let relax = relaxation(call, &options)?;
                let (loss, parts, after) =
                    learn::language_alpha_gradient(&net, &train, &valid, relax.as_deref(), &order)?;
                let named = net.alphas().names().map(String::from).zip(parts);
                let loss = finite(&host, "valid_loss", loss)?;
                if let Some(carried) = carried {
                    carried.keep(after);
                }
                Ok(Gradient::new(&host, loss, named.collect()))
            },
        )
        .doc(
            r#"
            The validation loss of a recurrent supernet and its gradient with respect to the alphas. Order 1: at the
            weights as they are. Order 2: at the weights after the coming SGD step on `train`, through which it
            differentiates (`docs/darts.md` B2); with `clip` both weight gradients are clipped to that norm first. The
            training window begins with `hidden`, which stays as it is; the validation window begins with `valid_hidden`
            and leaves its last states there. Dropout is on in all passes; penalties take no part.
            "#,
        )
        .option("order", 1_usize, "1, or 2: one unrolled weight step")
        .optional::<Optimizer>("optimizer", "plain gradient descent", "the weights' SGD, whose step order 2 unrolls")
        .optional::<f64>("eta", "the optimizer's learning rate", "the unrolled step's length")
        .optional::<f64>("clip", "no clipping", "the norm to which order 2 clips both weight gradients")
        .option(
            "unbounded",
            false,
            "multiply the second-order term by clip/norm even where that is above 1, as the reference's code does; it \
             is the derivative only up to 1",
        )
        .optional::<HiddenStates>(HIDDEN.0, "zeros", "hidden states before the training window")
        .optional::<HiddenStates>("valid_hidden", HIDDEN.1, "hidden states of the validation stream, carried along")
        .optional::<FnPtr>(RELAX.0, RELAX.1, RELAX.2)
        .example_after(
            SMALL,
            r#"
            let valid = data.valid.windows(4, #{ length: 5 });
            let w_opt = sgd(net.weights, #{ lr: 1.0, clip: 0.25 });
            let g = alpha_gradient(net, train.next(), valid.next(), #{ order: 2, optimizer: w_opt, clip: 0.25 });
            assert(g.parts.alphas.shape == [3, 5]);
            "#,
        );
}

fn declare_scores(library: &mut Library) {
    library
        .function(
            "evaluate",
            &["net", "data", "options"],
            |call: &Call<'_>, net: LanguageModel, data: Scored, options: Options| {
                let p = relaxation(call, &options)?.map(|relax| relax(net.alphas())).transpose()?;
                let windows = data.windows(options.get("batch")?, options.get("length")?)?;
                let pairs = windows.epoch(0).map(|window| window.map(|window| (window.x, window.y)));
                let found: Surprise = learn::evaluate_language(&net, pairs, p.as_deref())?;
                let entries = [
                    ("loss", Dynamic::from_float(found.loss)),
                    ("perplexity", Dynamic::from_float(found.perplexity())),
                    ("tokens", Dynamic::from_int(found.tokens as i64)),
                ];
                Ok(entries.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>())
            },
        )
        .doc(
            r#"
            Scores a language model on a stream of a text, from its beginning, with hidden states carried along and
            nothing dropped: a map with the mean `loss` of a token (nats), the `perplexity` e^loss, and the number of
            `tokens` that were predicted. `data` may be windows too, whose first epoch is taken.
            "#,
        )
        .option("batch", 10_usize, "columns that the stream is cut into, where `data` is a stream")
        .option("length", 35_usize, "time steps of a window, where `data` is a stream")
        .optional::<FnPtr>(RELAX.0, RELAX.1, RELAX.2)
        .example_after(
            SMALL,
            r#"
            let score = evaluate(net, data.valid.take(101), #{ batch: 1 });
            assert(score.tokens == 100 && score.perplexity > 1.0);
            "#,
        );
}

fn clip(norm: f64, options: &Options) -> Result<Clip> {
    match norm > 0.0 && norm.is_finite() {
        true => Ok(Clip { norm, unbounded: options.get("unbounded")? }),
        false => Err(Error::user(format!("`clip` must be above 0, not {norm}"))),
    }
}

/// A window of a text, or `#{ x: words, y: next_words }`.
pub struct AnyWindow {
    words: candle_core::Tensor,
    next: candle_core::Tensor,
}

impl Argument for AnyWindow {
    fn describe() -> String {
        "window or map".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(window) = value.read_lock::<Window>() {
            return Ok(Self { words: window.x.clone(), next: window.y.clone() });
        }
        let Ok(map) = value.as_map_ref() else {
            return Err(Mismatch::Found(format!("not {}", describe_value(value))));
        };
        Self::from_map(&map).map_err(Mismatch::Error)
    }
}

impl AnyWindow {
    fn from_map(map: &Map) -> Result<Self> {
        let form = "#{ x: words, y: next_words }, ids of [time, columns]";
        if let Some(key) = map.keys().find(|key| !["x", "y"].contains(&key.as_str())) {
            return Err(Error::unknown("part of a window", key, ["x", "y"]));
        }
        let ids = |name: &str| -> Result<candle_core::Tensor> {
            let value = map.get(name).ok_or_else(|| Error::user(format!("a window needs `{name}`")).hint(form))?;
            match value.read_lock::<Tensor>() {
                Some(tensor) => tensor.indices(),
                None => {
                    Err(Error::user(format!("`{name}` must be a tensor, not {}", describe_value(value))).hint(form))
                }
            }
        };
        let (words, next) = (ids("x")?, ids("y")?);
        if words.dims() != next.dims() || words.dims().len() != 2 || words.elem_count() == 0 {
            return Err(
                Error::user(format!("a window's x is {:?} and its y {:?}", words.dims(), next.dims())).hint(form)
            );
        }
        Ok(Self { words, next })
    }

    /// The window with the hidden states that it begins with.
    fn excerpt(self, net: &LanguageModel, carried: Option<&HiddenStates>) -> Result<Excerpt> {
        let columns = self.words.dims()[1];
        let hidden = match carried {
            Some(carried) => carried.before(net, columns)?,
            None => net.zero_hidden(columns)?,
        };
        Ok(Excerpt { words: self.words, next: self.next, hidden })
    }
}

/// Ids of words: an array for one column, or a tensor of [time, columns].
pub struct AnyWords(pub candle_core::Tensor);

impl Argument for AnyWords {
    fn describe() -> String {
        "[int] or tensor".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let two_axes = |words: candle_core::Tensor| match *words.dims() {
            [time, columns] if time > 0 && columns > 0 => Ok(Self(words)),
            _ => Err(Error::user(format!("words are ids of [time, columns], not {:?}", words.dims()))),
        };
        if let Some(tensor) = value.read_lock::<Tensor>() {
            return tensor.indices().and_then(two_axes).map_err(Mismatch::Error);
        }
        let ids = List::<usize>::read(value)?.0;
        let narrow = ids.iter().map(|&id| u32::try_from(id)).collect::<std::result::Result<Vec<u32>, _>>();
        let narrow = narrow.map_err(|_| Mismatch::Error(Error::user("an id is beyond every vocabulary")))?;
        let count = narrow.len();
        let words = candle_core::Tensor::from_vec(narrow, (count, 1), &candle_core::Device::Cpu).map_err(Error::from);
        words.and_then(two_axes).map_err(Mismatch::Error)
    }
}

/// What a language model is scored on.
enum Scored {
    Stream(Stream),
    Windows(Windows),
}

impl Argument for Scored {
    fn describe() -> String {
        "stream or windows".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let stream = value.read_lock::<Stream>().map(|stream| Self::Stream(stream.clone()));
        let windows = || value.read_lock::<Windows>().map(|windows| Self::Windows(windows.clone()));
        stream.or_else(windows).ok_or_else(|| Mismatch::Found(format!("not {}", describe_value(value))))
    }
}

impl Scored {
    fn windows(self, batch: usize, length: usize) -> Result<Windows> {
        match self {
            Self::Windows(windows) => Ok(windows),
            Self::Stream(stream) => {
                let options = WindowOptions { length, jitter: Jitter::None };
                // Lengths do not vary, so nothing is drawn.
                Windows::new(&stream, batch, options, Seed(0), "scores")
            }
        }
    }
}
