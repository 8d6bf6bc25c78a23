//! Parameters and the gradients with respect to them.

use super::Tensor;
use crate::script::binding::{Library, describe_value};
use crate::{Error, Result};
use candle_core::Var;
use candle_core::backprop::GradStore;
use rhai::{Array, Dynamic, Map};

/// The gradients in the shape of what was asked for: a tensor for a tensor, an array for an array, a map for a map.
fn collect(store: &GradStore, wanted: &Dynamic, place: &str) -> Result<Dynamic> {
    if let Some(tensor) = wanted.read_lock::<Tensor>() {
        return Ok(Dynamic::from(gradient_of(store, &tensor, place)?));
    }
    if let Ok(array) = wanted.as_array_ref() {
        let items = array.iter().enumerate().map(|(i, item)| collect(store, item, &format!("element {i}")));
        return Ok(Dynamic::from_array(items.collect::<Result<Array>>()?));
    }
    if let Ok(map) = wanted.as_map_ref() {
        let items = map.iter().map(|(key, item)| Ok((key.clone(), collect(store, item, &format!("`{key}`"))?)));
        return Ok(Dynamic::from_map(items.collect::<Result<Map>>()?));
    }
    Err(Error::user(format!("{place} is no tensor but {}", describe_value(wanted)))
        .hint("gradient(loss, parameters) takes a parameter, an array or a map of parameters"))
}

fn gradient_of(store: &GradStore, tensor: &Tensor, place: &str) -> Result<Tensor> {
    let variable = tensor.variable().ok_or_else(|| {
        Error::user(format!("{place} is no parameter but a computed tensor of shape {:?}", tensor.dims()))
            .hint("gradients are taken with respect to what `parameter(t)` made")
    })?;
    match store.get(variable.as_tensor()) {
        Some(gradient) => tensor.with(gradient.detach()),
        // The loss does not depend on it.
        None => tensor.with(variable.as_tensor().zeros_like()?),
    }
}

pub fn declare(library: &mut Library) {
    library
        .function("parameter", &["t"], |t: Tensor| Ok(Tensor::parameter(t.meter(), Var::from_tensor(&t.float()?.detach())?)))
        .doc("A parameter that starts with the values of `t`: gradients are taken with respect to it, optimisers change it.")
        .example("let alphas = parameter(zeros([14, 8]));");
    library
        .function("gradient", &["loss", "parameters"], |loss: Tensor, wanted: Dynamic| {
            if loss.candle().elem_count() != 1 {
                return Err(Error::user(format!("the gradient of one number is defined; the loss has shape {:?}", loss.dims()))
                    .hint("reduce it with `sum` or `mean`"));
            }
            // The store of a loss that depends on nothing is empty, and its gradients are zeros.
            collect(&loss.float()?.backward()?, &wanted, "the second argument")
        })
        .doc(
            "The gradient of `loss`, which holds one number, with respect to `parameters`: a tensor for a parameter, an array \
             for an array of them, a map for a map. Zeros where the loss does not depend on one. The gradients are plain numbers \
             (not themselves differentiable).",
        )
        .example("let x = parameter(tensor([1, 2]));\nlet loss = sum(x * x);\nassert_equal(gradient(loss, x), tensor([2, 4]));\nassert_equal(gradient(loss, [x])[0], tensor([2, 4]));\nassert_equal(gradient(loss, #{ x: x }).x, tensor([2, 4]));");
    library
        .function("detach", &["t"], |t: Tensor| t.with(t.candle().detach()))
        .doc("The same numbers, through which no gradient flows.")
        .example("let x = parameter(tensor([3]));\nassert_equal(gradient(sum(x * x.detach()), x), tensor([3]));");
    library
        .function("assign", &["parameter", "values"], |parameter: Tensor, values: Tensor| {
            let variable = parameter.variable().ok_or_else(|| {
                Error::user("only a parameter's values can be assigned").hint("`parameter(t)` makes one")
            })?;
            if parameter.dims() != values.dims() {
                return Err(Error::user(format!("cannot assign {:?} to a parameter of shape {:?}", values.dims(), parameter.dims())));
            }
            // Through a copy: candle cannot set a variable from a view of itself.
            let values = values.candle().detach().to_dtype(variable.dtype())?.copy()?;
            Ok(variable.set(&values)?)
        })
        .doc(
            "Gives a parameter other values. Tensors computed from it before keep their numbers, but their gradients would see \
             the new values: take gradients first.",
        )
        .example("let x = parameter(tensor([1]));\nassign(x, x - 0.5 * gradient(sum(x * x), x));\nassert_equal(x, tensor([0]));");
}
