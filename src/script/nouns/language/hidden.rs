//! Hidden states in a script's hands: carried from window to window, kept by checkpoints.

use super::SMALL;
use crate::script::binding::{Library, ScriptType};
use crate::script::nouns::Tensor;
use crate::space::recurrent::{Hidden, LanguageModel};
use crate::{Error, Result};
use rhai::{Array, Dynamic};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The states of all layers after the latest window; none before the first. Clones are one and the same.
#[derive(Clone, Default)]
pub struct HiddenStates(Arc<Mutex<Option<Hidden>>>);

impl HiddenStates {
    /// The states to begin a window of `batch` columns with: zeros at first.
    ///
    /// # Errors
    /// Those of candle's allocation.
    pub fn before(&self, model: &LanguageModel, batch: usize) -> Result<Hidden> {
        match &*self.lock() {
            Some(hidden) => Ok(hidden.clone()),
            None => model.zero_hidden(batch),
        }
    }

    /// Keeps the states after a window.
    pub fn keep(&self, hidden: Hidden) {
        *self.lock() = Some(hidden);
    }

    /// The states by layer and index, for a checkpoint.
    pub fn state(&self) -> Vec<(String, candle_core::Tensor)> {
        let hidden = self.lock().clone().unwrap_or_default();
        let named = hidden.0.into_iter().enumerate().flat_map(|(layer, states)| {
            states.into_iter().enumerate().map(move |(index, state)| (format!("{layer}.{index}"), state))
        });
        named.collect()
    }

    /// Puts back what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// Names of another form.
    pub fn restore(&self, state: &[(String, candle_core::Tensor)]) -> Result<()> {
        let mut layers: Vec<Vec<(usize, candle_core::Tensor)>> = vec![];
        for (name, tensor) in state {
            let place =
                name.split_once('.').and_then(|(layer, index)| Some((layer.parse().ok()?, index.parse().ok()?)));
            let Some((layer, index)) = place.filter(|(layer, _): &(usize, usize)| *layer < 64) else {
                return Err(Error::user(format!("\"{name}\" is not a hidden state's name")));
            };
            layers.resize(layers.len().max(layer + 1), vec![]);
            layers[layer].push((index, tensor.clone()));
        }
        let sorted = layers.into_iter().map(|mut states| {
            states.sort_by_key(|(index, _)| *index);
            states.into_iter().map(|(_, state)| state).collect()
        });
        *self.lock() = if state.is_empty() { None } else { Some(Hidden(sorted.collect())) };
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Hidden>> {
        // Whole whatever a panicking thread was doing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScriptType for HiddenStates {
    const NAME: &'static str = "hidden_states";
}

impl fmt::Display for HiddenStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.lock() {
            Some(Hidden(layers)) => write!(f, "hidden states of {} layers", layers.len()),
            None => f.write_str("hidden states of zeros"),
        }
    }
}

pub fn declare(library: &mut Library) {
    library
        .function("hidden_states", &[], || Ok(HiddenStates::default()))
        .doc(
            r#"
            Hidden states, zeros at first: given as the option `hidden`, a window begins with them and leaves its own
            last ones in them. One for each stream that windows are taken from; list them in `start_run`.
            "#,
        )
        .example_after(
            SMALL,
            r#"
            let carried = hidden_states();
            let first = net.surprise(train.next(), #{ hidden: carried });
            assert(carried.states[0][0].shape == [4, 6]);
            "#,
        );
    let host = library.host();
    library
        .property("states", move |hidden: HiddenStates| {
            let hand = |state: candle_core::Tensor| Dynamic::from(Tensor::new(&host.meter, state));
            let layers = hidden.lock().clone().unwrap_or_default().0;
            let layers = layers.into_iter().map(|states| states.into_iter().map(hand).collect::<Array>());
            Ok(layers.map(Dynamic::from_array).collect::<Array>())
        })
        .doc("For each layer the array of its states, [columns, width] each; empty before the first window.")
        .example("assert(hidden_states().states.len() == 0);");
    library
        .method("reset", &["hidden"], |hidden: HiddenStates| {
            *hidden.lock() = None;
            Ok(())
        })
        .doc("Back to zeros, as before the first window.")
        .example("hidden_states().reset();");
}
