//! The operations that a script defined, beside the built-in ones.

use super::{GraphBuilder, Node};
use crate::Result;
use crate::script::binding::{Call, frozen};
use crate::space::{Operation, Operations};
use rhai::FnPtr;
use std::sync::{Arc, Mutex, PoisonError};

/// A script's own operations; clones share the list.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Defined>>>);

#[derive(Clone)]
struct Defined {
    name: String,
    about: String,
    build: FnPtr,
}

impl Registry {
    /// Adds an operation.
    ///
    /// # Errors
    /// A name that is taken or is not an identifier.
    pub fn define(&self, call: &Call<'_>, name: String, about: String, build: FnPtr) -> Result<()> {
        let defined = Defined { name, about, build: frozen(build) };
        // A trial run of the list with the new one in it judges the name.
        self.operations(call)?.define(defined.operation(call))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(defined);
        Ok(())
    }

    /// All operations, for as long as `call` can run the script's closures.
    pub fn operations<'a>(&self, call: &'a Call<'_>) -> Result<Operations<'a>> {
        let defined = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut operations = Operations::new();
        for one in defined {
            operations.define(one.operation(call))?;
        }
        Ok(operations)
    }
}

impl Defined {
    fn operation<'a>(&self, call: &'a Call<'_>) -> Operation<'a> {
        let build = self.build.clone();
        Operation::new(self.name.as_str(), self.about.as_str(), move |graph, x, target| {
            GraphBuilder::lend(graph, target.norms, |g| {
                let x = g.add(|_| Ok(x))?;
                let arguments = (g.clone(), x, target.channels as i64, target.stride as i64);
                let result: Node = call.invoke(&build, arguments)?;
                g.own(&result)
            })
        })
    }
}
