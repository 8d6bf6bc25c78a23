//! Parameters and the gradients with respect to them.

use super::Tensor;
use crate::script::binding::{Library, describe_value};
use crate::{Error, Parameter, Result};
use candle_core::Tensor as Candle;
use candle_core::backprop::GradStore;
use rhai::{Array, Dynamic, Map};

/// The gradients of one loss.
struct Gradients<'a> {
    /// The variables that the loss depends on.
    reached: Vec<&'a Candle>,
    store: GradStore,
}

impl<'a> Gradients<'a> {
    fn of(loss: &'a Candle) -> Result<Self> {
        if loss.elem_count() != 1 {
            return Err(Error::user(format!(
                "a gradient is taken of one number; the loss has shape {:?}",
                loss.dims()
            ))
            .hint("reduce it with `sum` or `mean`"));
        }
        if !loss.track_op() {
            return Err(Error::user("the loss does not depend on any parameter, so it has no gradient").hint(
                "compute it from parameters; no gradient flows through gradients, masks, detach(), array() and item()",
            ));
        }
        let reached = loss.sorted_nodes().into_iter().filter(|node| node.is_variable()).collect();
        Ok(Self { reached, store: loss.backward()? })
    }

    /// The gradients in the shape of what was asked for: a tensor for a tensor, an array for an array, a map for a map.
    fn collect(&self, wanted: &Dynamic, what: &str) -> Result<Dynamic> {
        if let Some(tensor) = wanted.read_lock::<Tensor>() {
            return Ok(Dynamic::from(self.with_respect_to(&tensor, what)?));
        }
        if let Ok(array) = wanted.as_array_ref() {
            let items = array.iter().enumerate().map(|(i, item)| self.collect(item, &format!("element {i}")));
            return Ok(Dynamic::from_array(items.collect::<Result<Array>>()?));
        }
        if let Ok(map) = wanted.as_map_ref() {
            let items = map.iter().map(|(key, item)| Ok((key.clone(), self.collect(item, &format!("`{key}`"))?)));
            return Ok(Dynamic::from_map(items.collect::<Result<Map>>()?));
        }
        Err(Error::user(format!("{what} is not a tensor but {}", describe_value(wanted)))
            .hint("gradient(loss, parameters) takes a parameter, an array or a map of parameters"))
    }

    fn with_respect_to(&self, tensor: &Tensor, what: &str) -> Result<Tensor> {
        let parameter = tensor.parameter().ok_or_else(|| {
            Error::user(format!("{what} is not a parameter but a computed tensor of shape {:?}", tensor.dims()))
                .hint("gradients are taken with respect to what `parameter(t)` made")
        })?;
        if parameter.has_left(&self.reached) {
            return Err(Error::user(format!(
                "{what} has moved since the loss was computed: the gradient would be that of its old values"
            ))
            .hint(
                "take all gradients in one call before the step, gradient(loss, #{ w: w, a: a }), or compute the loss \
                 again",
            ));
        }
        match self.store.get(&parameter.tensor()) {
            Some(gradient) => tensor.with(gradient.detach()),
            // The loss does not depend on it.
            None => tensor.with(parameter.detached().zeros_like()?),
        }
    }
}

/// The same structure of tensors, each as `change` makes it.
fn each(value: &Dynamic, change: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Dynamic> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        return Ok(Dynamic::from(change(&tensor)?));
    }
    if let Ok(array) = value.as_array_ref() {
        return Ok(Dynamic::from_array(array.iter().map(|item| each(item, change)).collect::<Result<Array>>()?));
    }
    if let Ok(map) = value.as_map_ref() {
        let items = map.iter().map(|(key, item)| Ok((key.clone(), each(item, change)?)));
        return Ok(Dynamic::from_map(items.collect::<Result<Map>>()?));
    }
    Err(Error::user(format!("a gradient is a tensor, or an array or a map of tensors, not {}", describe_value(value))))
}

pub fn declare(library: &mut Library) {
    library
        .function("parameter", &["t"], |t: Tensor| Ok(Tensor::of_parameter(t.meter(), Parameter::new(&t.float()?)?)))
        .doc(
            r#"
            A parameter that starts with the values of `t`: gradients are taken with respect to it, optimisers change
            it.
            "#,
        )
        .example("let alphas = parameter(zeros([14, 8]));");
    library
        .function("gradient", &["loss", "parameters"], |loss: Tensor, wanted: Dynamic| {
            Gradients::of(&loss.float()?)?.collect(&wanted, "the second argument")
        })
        .doc(
            r#"
            The gradient of `loss`, which holds one number, with respect to `parameters`: a tensor for a parameter, an
            array for an array of them, a map for a map. Zeros where the loss depends on other parameters only. The
            gradients are plain numbers (not themselves differentiable). All gradients of a loss are taken before its
            parameters move.
            "#,
        )
        .example(
            r#"
            let x = parameter(tensor([1, 2]));
            let loss = sum(x * x);
            assert_equal(gradient(loss, x), tensor([2, 4]));
            assert_equal(gradient(loss, [x])[0], tensor([2, 4]));
            assert_equal(gradient(loss, #{ x: x }).x, tensor([2, 4]));
            "#,
        );
    library
        .function("clip_norm", &["gradient", "limit"], |gradient: Dynamic, limit: f64| {
            if limit.is_nan() || limit <= 0.0 {
                return Err(Error::user(format!("the limit of a norm is above 0, not {limit}")));
            }
            let mut squares = 0.0;
            let _ = each(&gradient, &mut |t| {
                squares += t.values()?.iter().map(|v| v * v).sum::<f64>();
                Ok(t.clone())
            })?;
            let factor = (limit / squares.sqrt()).min(1.0);
            each(&gradient, &mut |t| t.with(t.float()?.affine(factor, 0.0)?))
        })
        .doc(
            r#"
            A gradient (a tensor, or an array or a map of them), scaled down so that the norm of all its numbers
            together is at most `limit`.
            "#,
        )
        .example("assert(all_close(clip_norm([tensor([3.0]), tensor([4.0])], 1.0)[1], tensor([0.8])));");
    library
        .function("detach", &["t"], |t: Tensor| t.with(t.candle().detach()))
        .doc("The same numbers, through which no gradient flows.")
        .example(
            r#"
            let x = parameter(tensor([3]));
            assert_equal(gradient(sum(x * x.detach()), x), tensor([3]));
            "#,
        );
    library
        .function("assign", &["parameter", "values"], |parameter: Tensor, values: Tensor| {
            let moved = parameter.parameter().ok_or_else(|| {
                Error::user("only a parameter's values can be assigned").hint("`parameter(t)` makes one")
            })?;
            if parameter.dims() != values.dims() {
                return Err(Error::user(format!(
                    "cannot assign {:?} to a parameter of shape {:?}",
                    values.dims(),
                    parameter.dims()
                )));
            }
            moved.set(&values.candle().to_dtype(moved.dtype())?)
        })
        .doc("Gives a parameter other values. Tensors computed from it before keep their numbers.")
        .example(
            r#"
            let x = parameter(tensor([1]));
            assign(x, x - 0.5 * gradient(sum(x * x), x));
            assert_equal(x, tensor([0]));
            "#,
        );
}
