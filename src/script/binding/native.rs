//! From a Rust closure to something rhai can call.
//!
//! A closure over [`Argument`] types that returns `Result<impl Output>` is a native function, with or without a leading
//! `&Call`. The glue here reads every argument (naming it when it does not fit), hands the options over checked, keeps
//! panics from reaching anybody, and carries errors across with their hints.

use super::entry::{Entry, Kind};
use super::failure;
use super::options::Options;
use super::value::{Argument, Mismatch, Output};
use crate::script::host::Host;
use crate::{Error, Result};
use rhai::{Dynamic, EvalAltResult, FnPtr, FuncArgs, Map, NativeCallContext, Position};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// One call from a script, for natives that call back into it or need the host.
pub struct Call<'a> {
    context: &'a NativeCallContext<'a>,
    host: &'a Host,
    /// The error of a closure that failed inside this call; see [`Call::invoke`].
    inner: RefCell<Option<Box<EvalAltResult>>>,
}

impl Call<'_> {
    pub fn host(&self) -> &Host {
        self.host
    }

    pub fn context(&self) -> &NativeCallContext<'_> {
        self.context
    }

    /// Where in the script the call stands.
    pub fn position(&self) -> Position {
        self.context.call_position()
    }

    /// Calls a script's closure and reads its result.
    ///
    /// # Errors
    /// Whatever went wrong inside. The returned error is only its outline; if the native function fails with it
    /// (whatever it passed through on the way), the error page shows the closure's own error, where it happened.
    pub fn invoke<R: Argument>(&self, closure: &FnPtr, arguments: impl FuncArgs) -> Result<R> {
        let value: Dynamic = closure.call_within_context(self.context, arguments).map_err(|error| self.keep(error))?;
        R::read(&value).map_err(|mismatch| mismatch.into_error("the closure's result", &R::describe()))
    }

    fn keep(&self, error: Box<EvalAltResult>) -> Error {
        let outline = failure::carried(&error).unwrap_or_else(|| Error::user(failure::innermost(&error).to_string()));
        *self.inner.borrow_mut() = Some(error);
        outline
    }

    /// The error to give to rhai for `error`: the closure's own where that is what failed.
    fn into_rhai(self, error: Error) -> Box<EvalAltResult> {
        match self.inner.into_inner() {
            Some(inner) if error.message.contains(&outline(&inner)) => inner,
            _ => failure::into_rhai(error),
        }
    }
}

fn outline(error: &EvalAltResult) -> String {
    failure::carried(error).map_or_else(|| failure::innermost(error).to_string(), |error| error.message)
}

/// A closure that scripts can call; `Marker` tells the implementations apart and is inferred.
pub trait Native<Marker>: Send + Sync + 'static {
    fn parameters() -> Vec<Kind>;
    fn returns() -> String;
    fn call(&self, call: &Call<'_>, entry: &Entry, arguments: &[Dynamic]) -> Result<Dynamic>;
}

/// A [`Native`] with its types erased.
pub(super) type Erased = Box<dyn Fn(&Call<'_>, &Entry, &[Dynamic]) -> Result<Dynamic> + Send + Sync>;

pub(super) fn erase<M: 'static>(native: impl Native<M>) -> Erased {
    Box::new(move |call, entry, arguments| native.call(call, entry, arguments))
}

/// Marks closures whose first parameter is the call itself.
pub struct WithCall;

fn read<T: Argument>(entry: &Entry, index: usize, arguments: &[Dynamic]) -> Result<T> {
    let name = entry.parameters.get(index).map_or("argument", |p| p.name);
    let result = match arguments.get(index) {
        given if T::is_options() => checked_options(entry, given).and_then(|options| T::read(&options)),
        Some(value) => T::read(value),
        None => T::absent().ok_or_else(|| Mismatch::Found("and it is missing".into())),
    };
    result.map_err(|mismatch| {
        let error = mismatch.into_error(&format!("`{name}`"), &T::describe());
        let error = Error { message: format!("{}: {}", entry.title(), error.message), ..error };
        if error.hint.is_some() { error } else { error.hint(entry.signature()) }
    })
}

/// The options of a call as [`Options`] hold them: checked against the declaration, with its defaults.
fn checked_options(entry: &Entry, given: Option<&Dynamic>) -> Result<Dynamic, Mismatch> {
    let given = given.map_or(Ok(Map::new()), Map::read)?;
    Options::new(given, &entry.options).map(Dynamic::from).map_err(Mismatch::Error)
}

/// Makes natives of the closures with these arguments, without a leading `&Call` and with one.
macro_rules! natives {
    ($($arg:ident $index:literal),*) => {
        natives!(@one call, [] (Out, $($arg,)*), [Fn($($arg),*) -> Result<Out>], $($arg $index),*);
        natives!(
            @one call, [call] (WithCall, Out, $($arg,)*), [for<'a, 'b> Fn(&'a Call<'b>, $($arg),*) -> Result<Out>],
            $($arg $index),*
        );
    };
    (@one $call:ident, [$($first:ident)?] $marker:ty, [$($closure:tt)*], $($arg:ident $index:literal),*) => {
        impl<Fun, Out, $($arg),*> Native<$marker> for Fun
        where
            Fun: $($closure)* + Send + Sync + 'static,
            Out: Output + 'static,
            $($arg: Argument + 'static,)*
        {
            fn parameters() -> Vec<Kind> {
                vec![$(Kind::of::<$arg>()),*]
            }
            fn returns() -> String {
                Out::describe()
            }
            #[allow(unused_variables)]
            fn call(&self, $call: &Call<'_>, entry: &Entry, arguments: &[Dynamic]) -> Result<Dynamic> {
                self($($first,)? $(read::<$arg>(entry, $index, arguments)?),*).map(Output::into_dynamic)
            }
        }
    };
}

natives!();
natives!(A 0);
natives!(A 0, B 1);
natives!(A 0, B 1, C 2);
natives!(A 0, B 1, C 2, D 3);
natives!(A 0, B 1, C 2, D 3, E 4);
natives!(A 0, B 1, C 2, D 3, E 4, F 5);

/// Where the last panic came from.
static PANICKED_AT: Mutex<Option<String>> = Mutex::new(None);

/// Keeps panics from printing: a native's panic becomes an error page, which tells the same and where in the script.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if let (Some(location), Ok(mut at)) = (panic.location(), PANICKED_AT.lock()) {
            *at = Some(format!("({location})"));
        }
    }));
}

/// Runs one native call for rhai.
pub(super) fn run(
    erased: &Erased,
    entry: &Entry,
    host: &Host,
    context: &NativeCallContext<'_>,
    arguments: &mut [&mut Dynamic],
) -> Result<Dynamic, Box<EvalAltResult>> {
    // Handles are cheap to clone, and a clone leaves no lock on a captured variable while the native calls back.
    let values: Vec<Dynamic> = arguments.iter().map(|value| value.flatten_clone()).collect();
    let call = Call { context, host, inner: RefCell::new(None) };
    let result = crate::interrupt::check().and_then(|()| {
        catch_unwind(AssertUnwindSafe(|| erased(&call, entry, &values))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            let at = PANICKED_AT.lock().ok().and_then(|mut at| at.take()).unwrap_or_default();
            Err(Error::run(format!("{}: an internal check failed: {text} {at}", entry.title()))
                .hint("this is a mistake in candlewick, not in your script; please report it with the script"))
        })
    });
    result.map_err(|error| call.into_rhai(error))
}
