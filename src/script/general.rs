//! The noun `general`: what any script needs and rhai does not bring.

use super::failure::Failure;
use super::library::Library;
use super::native::Call;
use super::tensor::Tensor;
use crate::{Error, Result};
use rhai::Dynamic;

pub fn declare(library: &mut Library) {
    library.noun("general", "What any script needs.");
    library
        .function("assert", &["condition", "message"], |condition: bool, message: Option<String>| {
            if condition {
                Ok(())
            } else {
                Err(Error::run(message.unwrap_or_else(|| "the assertion does not hold".into())))
            }
        })
        .doc("Stops the script with `message` where `condition` is false; the process then exits with code 1.")
        .example("assert(1 + 1 == 2, \"arithmetic broke\");");
    library
        .function("assert_equal", &["left", "right"], |call: &Call, left: Dynamic, right: Dynamic| {
            if same(call, &left, &right)? {
                return Ok(());
            }
            Err(Error::run(format!("{} is not equal to {}", shown(call, &left), shown(call, &right))))
        })
        .doc("Stops the script, showing both values, where they are not equal. Arrays, maps and tensors compare by content.")
        .example("assert_equal([1, 2].map(|x| 2 * x), [2, 4]);");
    library.kind::<Failure>("An error as `catch` gets it.");
    library.property("message", |failure: Failure| Ok(failure.0.message)).doc("What went wrong.").example(
        "try { param(1, 2); } catch (error) { assert_equal(type_of(error), \"failure\"); print(error.message); }",
    );
    library
        .property("hint", |failure: Failure| Ok(failure.0.hint.unwrap_or_default()))
        .doc("What would be right; empty where nobody knows.")
        .example("try { param(1, 2); } catch (error) { print(error.hint); }");
}

/// Whether two values are equal, by content.
fn same(call: &Call, left: &Dynamic, right: &Dynamic) -> Result<bool> {
    if let (Some(a), Some(b)) = (left.read_lock::<Tensor>(), right.read_lock::<Tensor>()) {
        return Ok(a.dims() == b.dims() && a.values()? == b.values()?);
    }
    if let (Ok(a), Ok(b)) = (left.as_array_ref(), right.as_array_ref()) {
        return all(a.len() == b.len(), a.iter().zip(b.iter()), |(x, y)| same(call, x, y));
    }
    if let (Ok(a), Ok(b)) = (left.as_map_ref(), right.as_map_ref()) {
        let keys = a.len() == b.len() && a.keys().eq(b.keys());
        return all(keys, a.values().zip(b.values()), |(x, y)| same(call, x, y));
    }
    if super::value::type_name(left) != super::value::type_name(right) {
        return Ok(false);
    }
    let equal: Dynamic = call
        .context()
        .call_native_fn("==", (left.clone(), right.clone()))
        .map_err(|error| Error::user(format!("these values cannot be compared: {error}")))?;
    Ok(equal.as_bool().unwrap_or(false))
}

fn all<T>(start: bool, mut items: impl Iterator<Item = T>, test: impl Fn(T) -> Result<bool>) -> Result<bool> {
    if !start {
        return Ok(false);
    }
    items.try_fold(true, |so_far, item| Ok(so_far && test(item)?))
}

/// A value as `print` shows it.
fn shown(call: &Call, value: &Dynamic) -> String {
    call.context().call_native_fn::<String>("to_debug", (value.clone(),)).unwrap_or_else(|_| value.to_string())
}
