//! The noun `general`: what any script needs and rhai does not bring.

use super::tensor::Tensor;
use crate::script::binding::{Call, Failure, Library, type_name};
use crate::{Error, Result, interrupt};
use rhai::Dynamic;
use std::any::TypeId;
use std::time::{Duration, Instant};

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
        .doc("Stops the script with `message` if `condition` is false; the process then exits with code 1.")
        .example(r#"assert(1 + 1 == 2, "arithmetic broke");"#);
    library
        .function("assert_equal", &["left", "right"], |call: &Call, left: Dynamic, right: Dynamic| {
            if same(call, &left, &right)? {
                return Ok(());
            }
            Err(Error::run(format!("{} is not equal to {}", shown(call, &left), shown(call, &right))))
        })
        .doc(
            r#"
            Stops the script, showing both values, unless they are equal. Arrays, maps and tensors compare by content.
            "#,
        )
        .example("assert_equal([1, 2].map(|x| 2 * x), [2, 4]);");
    library
        .function("sleep", &["seconds"], |seconds: f64| {
            let end = Instant::now() + Duration::try_from_secs_f64(seconds).map_err(|e| Error::user(e.to_string()))?;
            while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                interrupt::check()?;
                std::thread::sleep(left.min(Duration::from_millis(50)));
            }
            Ok(())
        })
        .only(&[&[TypeId::of::<f64>()], &[TypeId::of::<i64>()]])
        .doc("Waits. Ctrl-C ends the wait, unlike that of rhai's own `sleep`.")
        .example("sleep(0.01);");
    library
        .function("refuse", &["message", "hint"], |message: String, hint: Option<String>| -> Result<()> {
            let error = Error::user(message);
            Err(match hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        })
        .doc(
            r#"
            Stops the script because what it was given is wrong (a parameter, a file); the process then exits with code
            2.
            "#,
        )
        .example(
            r#"
            let flip = param("flip", "no", "yes or no");
            if flip != "yes" && flip != "no" { refuse(`flip is "yes" or "no", not "${flip}"`); }
            "#,
        );
    library
        .function("finite", &["number", "what"], |number: f64, what: String| match number.is_finite() {
            true => Ok(number),
            false => Err(Error::user(format!("{what} is {number}, which is not a number to compare or learn from"))
                .hint("look at what it is computed from: a division by zero, log(0), or training that diverged")),
        })
        .doc(
            r#"
            The number itself, as long as it is one: NaN or an infinity stops the script with an error that calls it by
            the name `what`, and the process exits with code 2. For rewards and scores that a script computes, before a
            policy learns from them or a search compares them: every comparison with NaN is false.
            "#,
        )
        .example(
            r#"
            let perplexity = 120.0;
            let reward = finite(80.0 / perplexity ** 2, "the reward");
            assert(reward > 0.0);
            try { finite(0.0 / 0.0, "the reward"); } catch (error) { assert(error.message.contains("reward is NaN")); }
            "#,
        );
    library
        .function("fixed", &["number", "digits"], |number: f64, digits: usize| match digits {
            0..=15 => Ok(format!("{number:.digits$}")),
            _ => Err(Error::user(format!("{digits} digits after the point are more than a float has"))),
        })
        .doc("A number as text, with this many digits after the decimal point.")
        .example(r#"assert(fixed(100.0 / 3, 2) == "33.33" && fixed(5, 1) == "5.0");"#);
    library.kind::<Failure>(
        "What `catch` gives: an error of the library or of the language, or text that a script threw. It can be \
         compared with text. Any other thrown value is caught as it is.",
    );
    library.property("message", |failure: Failure| Ok(failure.0.message)).doc("What went wrong.").example(
        r#"
        try { param(1, 2); } catch (error) { assert_equal(type_of(error), "failure"); print(error.message); }
        try { throw "no progress"; } catch (error) { assert(error.message == "no progress" && error == "no progress"); }
        "#,
    );
    library
        .property("hint", |failure: Failure| Ok(failure.0.hint.unwrap_or_default()))
        .doc("How to fix it; empty if that is not known.")
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
    if type_name(left) != type_name(right) {
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
