//! What scripts see, in rooms that only know those before them: `host/` (the process around a script), `binding/` (from
//! Rust closures to a rhai engine), `pages/` (what is told about a script), `nouns/` (what scripts can call), and
//! `session.rs`, which brings a script from file to finish.
//!
//! # How to add a function
//!
//! Everything scripts can call is declared once, in the file of its noun, through a [`Library`]:
//!
//! ```
//! use candlewick::script::{Library, Options};
//!
//! pub fn declare(library: &mut Library) {
//!     library.noun("schedules", "Learning rates over time.");
//!     library
//!         .function("cosine", &["from", "to", "epoch", "epochs"], |from: f64, to: f64, epoch: f64, epochs: f64| {
//!             Ok(to + (from - to) * (1.0 + (std::f64::consts::PI * epoch / epochs).cos()) / 2.0)
//!         })
//!         .doc("Cosine annealing between two rates (Loshchilov and Hutter 2017, equation 5).")
//!         .example(
//!             r#"
//!             assert(cosine(0.1, 0.0, 0, 10) == 0.1);
//!             assert(cosine(0.1, 0.0, 10, 10) == 0.0);
//!             "#,
//!         );
//! }
//! # declare(&mut Library::new(candlewick::script::Host::new(Default::default())));
//! ```
//!
//! The parameters' types, the return type and which parameters may be left out (`Option<T>`, at the end) are read off
//! the closure ([`Argument`], [`Output`]); only their names are given. From the declaration come the registration with
//! rhai, `candlewick doc`, `scripts/reference.md`, `scripts/candlewick.d.rhai`, what `check` knows, "did you mean", and
//! the test that runs the example. Then name the noun's `declare` in `nouns/mod.rs`.
//!
//! * **Types.** A handle (an `Arc` inside) implements [`ScriptType`] and `Display` and is announced with
//!   `library.kind::<Network>("…")`; then it may stand anywhere in a closure. `library.iterable::<T>()` lets scripts
//!   loop over it.
//! * **Methods and properties.** `library.method("step", &["optimizer", "gradient"], |o: Optimizer, g: Tensor| …)`
//!   reads `optimizer.step(gradient)`; `library.property("lr", |o: Optimizer| Ok(o.lr()))` with
//!   `.writable(|o: Optimizer, lr: f64| …)` reads `optimizer.lr`. The first parameter's type tells overloads apart.
//! * **Options.** A last parameter of type [`Options`] takes `#{ lr: 0.025 }`. Each option is listed with
//!   `.option("lr", 0.025, "…")`, `.required::<f64>("lr", "…")` or `.optional::<f64>("clip", "no clipping", "…")`,
//!   checked before the closure runs, and read with `options.get::<f64>("lr")?` or `options.find::<f64>("clip")?`. For
//!   a map with free keys take a `rhai::Map`.
//! * **The host.** `let host = library.host();` and `move` it into the closure: seed, device, folders, draws. A native
//!   that calls a script's closure takes `call: &Call` first and uses `call.invoke::<Tensor>(&closure, (alphas,))?`; an
//!   error inside the closure keeps its location in the script, whatever it passes through.
//! * **Errors** are [`crate::Error`] with a hint; the position in the script is added on the way out.
//! * **Constants.** `library.constant("DARTS_OPS", List(…))`.
//! * **Texts** of more than a line are raw strings. A `doc` is one paragraph, whatever its line breaks; of an `example`
//!   the source's indentation is left out; `example_after(SMALL, …)` begins with lines that several examples share.

mod binding;
mod host;
mod nouns;
mod pages;
mod session;

pub use binding::{Argument, List, Mismatch, Options, Output, ScriptType, Spec, literal};
pub use binding::{Call, Failure, Native, Sources, engine, quiet_panics};
pub use binding::{Catalogue, Declaration, Entry, Face, Library, Noun, Parameter, TypeEntry};
pub use host::{Held, Host, Meter, ParamValue, Setup};
pub use nouns::language::ExportedLanguage;
pub use nouns::network::{
    onnx::{Exported, PICTURES},
    saved::legend_of,
};
pub use nouns::param::{Listing, Param};
pub use nouns::{Tensor, catalogue, declare};
pub use pages::{Frame, Location, Page, reference, searches};
pub use session::{Script, on_script_thread};
