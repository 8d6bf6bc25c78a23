//! The noun `general`: what any script needs and rhai does not bring.

use super::failure::Failure;
use super::library::Library;
use super::options::literal;
use crate::Error;
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
        .function("assert_equal", &["left", "right"], |left: Dynamic, right: Dynamic| {
            let (left, right) = (literal(&left), literal(&right));
            if left == right { Ok(()) } else { Err(Error::run(format!("{left} is not equal to {right}"))) }
        })
        .doc("Stops the script, showing both values, where they do not print alike; arrays and tensors compare by content.")
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
