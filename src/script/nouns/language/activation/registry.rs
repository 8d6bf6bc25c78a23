//! The activations that a script defined, beside the built-in ones.

use super::StepBuilder;
use crate::Result;
use crate::script::binding::{Call, frozen};
use crate::space::recurrent::{Activation, Activations};
use rhai::FnPtr;
use std::sync::{Arc, Mutex, PoisonError};

/// A script's own activations; clones share the list.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Defined>>>);

#[derive(Clone)]
struct Defined {
    name: String,
    build: FnPtr,
}

impl Registry {
    /// Adds an activation.
    ///
    /// # Errors
    /// A name that is taken or is not an identifier.
    pub fn define(&self, call: &Call<'_>, name: String, build: FnPtr) -> Result<()> {
        let defined = Defined { name, build: frozen(build) };
        // A trial run of the list with the new one in it judges the name.
        self.activations(call)?.define(defined.activation(call))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(defined);
        Ok(())
    }

    /// All activations, for as long as `call` can run the script's closures.
    pub fn activations<'a>(&self, call: &'a Call<'_>) -> Result<Activations<'a>> {
        let defined = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut activations = Activations::new();
        for one in defined {
            activations.define(one.activation(call))?;
        }
        Ok(activations)
    }
}

impl Defined {
    fn activation<'a>(&self, call: &'a Call<'_>) -> Activation<'a> {
        let build = self.build.clone();
        Activation::new(self.name.as_str(), move |step, x| {
            StepBuilder::lend(step, x, |g, x| call.invoke(&build, (g.clone(), x)))
        })
    }
}
