//! What a language model expects next.

use super::learning::AnyWords;
use super::{HiddenStates, SMALL};
use crate::engine::Mode;
use crate::script::binding::{Library, Options};
use crate::script::nouns::Tensor;
use crate::space::recurrent::{LanguageModel, Weights};

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .method(
            "predict",
            &["net", "words", "options"],
            move |net: LanguageModel, words: AnyWords, options: Options| {
                let words = words.0;
                let (time, columns) = words.dims2()?;
                let carried = options.find::<HiddenStates>("hidden")?;
                let before = match &carried {
                    Some(carried) => carried.before(&net, columns)?,
                    None => net.zero_hidden(columns)?,
                };
                let p = net.relax(net.alphas())?;
                let w = Weights::slices(&net, &net.weights().detached())?;
                let mut passed = net.pass(&words, &before, &w, &p, Mode::Evaluation)?;
                // Only what comes after the last word is asked for.
                passed.output = passed.output.narrow(0, time - 1, 1)?.contiguous()?;
                let found = net.log_probabilities(&passed, &w)?.detach();
                if let Some(carried) = carried {
                    carried.keep(passed.hidden);
                }
                Ok(Tensor::new(&host.meter, found))
            },
        )
        .doc(
            r#"
            The logarithms of the probabilities of the word that comes after `words`, [columns, vocabulary]. `words` are
            ids: an array for one column, or a tensor [time, columns]. Nothing is dropped.
            "#,
        )
        .optional::<HiddenStates>("hidden", "zeros, and not kept", "hidden states that are carried along")
        .example_after(
            SMALL,
            r#"
            let next = net.predict(data.encode("a truth"));
            assert(next.shape == [1, 200] && (sum(exp(next)).item() - 1.0).abs() < 1e-4);
            "#,
        );
}
