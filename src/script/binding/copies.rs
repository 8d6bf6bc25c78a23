//! Properties that give copies: arrays, maps and strings that a script may take for the thing itself.
//!
//! rhai lets a script change what a property gave (`net.ops[0] = "none"`, `gradient.parts.weights *= 2`) and then hands
//! the changed value to the property's setter; without a setter the change is lost in silence. So every such property
//! has one that refuses. rhai hands the value over after mere readings too (`net.ops.len()`), which is why it looks for
//! a change.

use super::entry::{Entry, Face};
use super::failure;
use super::native::{self, Erased};
use super::value::ScriptType;
use crate::Error;
use crate::script::host::Host;
use rhai::{Dynamic, FuncRegistration, Module, NativeCallContext, RhaiFunc, Shared};
use std::any::TypeId;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

/// How two values of a script type are compared.
#[derive(Default)]
pub struct Sames(HashMap<TypeId, fn(&Dynamic, &Dynamic) -> bool>);

impl Sames {
    /// Adds a type.
    pub fn know<T: ScriptType + Display>(&mut self) {
        self.0.insert(TypeId::of::<T>(), |a, b| match (a.read_lock::<T>(), b.read_lock::<T>()) {
            (Some(a), Some(b)) => a.same(&b),
            _ => false,
        });
    }

    fn same(&self, a: &Dynamic, b: &Dynamic) -> bool {
        if let (Ok(a), Ok(b)) = (a.as_array_ref(), b.as_array_ref()) {
            return a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| self.same(a, b));
        }
        if let (Ok(a), Ok(b)) = (a.as_map_ref(), b.as_map_ref()) {
            let found = |(name, a): (&_, &Dynamic)| b.get(name).is_some_and(|b| self.same(a, b));
            return a.len() == b.len() && a.iter().all(found);
        }
        match self.0.get(&a.type_id()) {
            Some(same) => same(a, b),
            None => a.type_id() == b.type_id() && a.to_string() == b.to_string(),
        }
    }
}

/// Whether a property cannot be set and gives a copy that a script can change.
pub fn are_given_by(entry: &Entry) -> bool {
    let kind = entry.returns.trim_end_matches(" or ()");
    let changes = kind.starts_with('[') || ["array", "map", "string", "any"].contains(&kind);
    entry.face == Face::Property { writable: false } && changes
}

/// Registers the setter that refuses changed copies; `getter` is what the property calls.
pub fn refuse_changes(
    module: &mut Module,
    host: &Arc<Host>,
    entry: &Arc<Entry>,
    getter: Arc<Erased>,
    sames: &Arc<Sames>,
) {
    let Some(receiver) = entry.parameters.first().map(|parameter| parameter.kind.dispatch) else { return };
    let name = format!("set${}", entry.name);
    let (host, entry, sames) = (host.clone(), entry.clone(), sames.clone());
    let set = move |context: Option<NativeCallContext<'_>>, arguments: &mut [&mut Dynamic]| {
        let ([owner, given], Some(context)) = (arguments, context) else {
            return Err(failure::into_rhai(Error::run("a setter takes an owner and a value")));
        };
        let own = native::run(&getter, &entry, &host, &context, &mut [&mut **owner])?;
        if sames.same(&own, given) {
            return Ok(Dynamic::UNIT);
        }
        Err(failure::into_rhai(Error::user(format!("{} cannot be set", entry.title())).hint(format!(
            "what it gives is a copy ({}); to change that, keep it in a variable of its own",
            entry.signature()
        ))))
    };
    FuncRegistration::new(name.as_str()).in_global_namespace().set_into_module_raw(
        module,
        [receiver, TypeId::of::<Dynamic>()],
        RhaiFunc::Method { func: Shared::new(set), has_context: true, is_pure: true, is_volatile: true },
    );
}
