//! What an exported network promises: the file's form, the same logits (of a language model: log probabilities and
//! states) in onnxruntime, and a word for whoever names a run or a file that will not do.

mod command;
mod form;
mod language;
mod language_command;
mod language_form;
mod language_models;
mod networks;
mod onnxruntime;
mod read_back;
mod runtime;

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/require.rs"]
mod require;
