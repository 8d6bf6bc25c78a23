//! What learning moves: a cell that holds the current values of a variable.
//!
//! candle lets a variable be overwritten in place, and then everything that shares its memory changes with it: a
//! detached tensor, a slice, a reshaped view, the tape of a loss. A [`Parameter`] never does that. A move puts another
//! variable into the cell, so whatever was computed before keeps its values, and a loss keeps the weights that it was
//! computed at.

use crate::{Error, Result};
use candle_core::{CpuStorage, DType, Device, Layout, Shape, Storage, Tensor, TensorId, Var, WithDType};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many earlier variables a parameter knows for its own. A loss that is older than that is taken for one that does
/// not depend on it.
const REMEMBERED: usize = 4096;

/// A shared cell with the current variable. Clones are the same parameter: a move shows in all of them. Shape, type and
/// device never change.
#[derive(Clone)]
pub struct Parameter(Arc<Inner>);

struct Inner {
    shape: Shape,
    dtype: DType,
    device: Device,
    state: Mutex<State>,
}

struct State {
    current: Var,
    /// The variables that were current before, the latest last.
    earlier: VecDeque<TensorId>,
}

impl Parameter {
    /// A parameter that starts at a copy of these values.
    ///
    /// # Errors
    /// Those of candle's allocation.
    pub fn new(values: &Tensor) -> Result<Self> {
        Ok(Self::of(Var::from_tensor(&values.detach())?))
    }

    /// A parameter that starts at these values, in row-major order; `values` becomes its memory.
    ///
    /// # Errors
    /// Another number of values than `shape` holds.
    pub fn from_vec<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        Ok(Self::of(Var::from_vec(values, shape, device)?))
    }

    fn of(current: Var) -> Self {
        let (shape, dtype, device) = (current.shape().clone(), current.dtype(), current.device().clone());
        Self(Arc::new(Inner { shape, dtype, device, state: Mutex::new(State { current, earlier: VecDeque::new() }) }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current values, tracked: gradients of what is computed from them can be taken. They never change.
    pub fn tensor(&self) -> Tensor {
        self.lock().current.as_tensor().clone()
    }

    /// The current values, through which no gradient flows. They never change.
    pub fn detached(&self) -> Tensor {
        self.lock().current.as_detached_tensor()
    }

    pub fn dims(&self) -> &[usize] {
        self.0.shape.dims()
    }

    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Whether both are clones of one parameter.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Moves to a copy of `values`.
    ///
    /// # Errors
    /// Another shape, type or device than the parameter's.
    pub fn set(&self, values: &Tensor) -> Result<()> {
        self.check(values)?;
        let moved = Var::from_tensor(&values.detach())?;
        self.lock().replace(moved);
        Ok(())
    }

    /// Moves from w to w − `delta`, in one pass over the values.
    ///
    /// # Errors
    /// Another shape, type or device than the parameter's.
    pub fn subtract(&self, delta: &Tensor) -> Result<()> {
        self.descend(delta, Descent { factor: 1.0, decay: 0.0, rate: 1.0 })
    }

    /// Moves from w to w − rate·(factor·g + decay·w), in one pass over the values.
    ///
    /// # Errors
    /// Another shape, type or device than the parameter's.
    pub fn descend(&self, g: &Tensor, by: Descent) -> Result<()> {
        self.check(g)?;
        let mut state = self.lock();
        let (w, g) = (state.current.as_detached_tensor(), g.detach().contiguous()?);
        let moved = match self.dtype() {
            DType::F32 => descended::<f32>(&w, &g, by)?,
            DType::F64 => descended::<f64>(&w, &g, by)?,
            _ => None,
        };
        let moved = match moved {
            Some(moved) => moved,
            None => {
                let Descent { factor, decay, rate } = by;
                let mut direction = g.affine(factor, 0.0)?;
                if decay != 0.0 {
                    direction = (direction + w.affine(decay, 0.0)?)?;
                }
                Var::from_tensor(&(&w - direction.affine(rate, 0.0)?)?)?
            }
        };
        state.replace(moved);
        Ok(())
    }

    /// Moves down a gradient that momentum carries on, in one pass over the values: g as [`descend`](Self::descend) has
    /// it, then buf ← µ·buf + g and w ← w − rate·buf, or rate·(g + µ·buf) with Nesterov's look-ahead. Gives the new
    /// buffer.
    ///
    /// # Errors
    /// Another shape, type or device than the parameter's, of the gradient or of the buffer.
    pub fn descend_with(&self, g: &Tensor, buffer: &Tensor, by: Descent, momentum: Momentum) -> Result<Tensor> {
        self.check(g)?;
        self.check(buffer)?;
        let mut state = self.lock();
        let (w, g) = (state.current.as_detached_tensor(), g.detach().contiguous()?);
        let moved = match self.dtype() {
            DType::F32 => carried::<f32>(&w, &g, buffer, by, momentum)?,
            DType::F64 => carried::<f64>(&w, &g, buffer, by, momentum)?,
            _ => None,
        };
        let (moved, buffer) = match moved {
            Some(moved) => moved,
            None => {
                let Descent { factor, decay, rate } = by;
                let mut g = g.affine(factor, 0.0)?;
                if decay != 0.0 {
                    g = (g + w.affine(decay, 0.0)?)?;
                }
                let buffer = (buffer.affine(momentum.of, 0.0)? + &g)?;
                let direction =
                    if momentum.nesterov { (g + buffer.affine(momentum.of, 0.0)?)? } else { buffer.clone() };
                (Var::from_tensor(&(&w - direction.affine(rate, 0.0)?)?)?, buffer)
            }
        };
        state.replace(moved);
        Ok(buffer)
    }

    /// Whether a loss was computed before the latest move: `reached` are the variables that it depends on, and one of
    /// them was this parameter's once.
    pub fn has_left(&self, reached: &[&Tensor]) -> bool {
        let state = self.lock();
        let current = state.current.id();
        reached.iter().any(|variable| variable.id() != current && state.earlier.contains(&variable.id()))
    }

    fn check(&self, values: &Tensor) -> Result<()> {
        let misfit = |what: &str, own: String, other: String| {
            Err(Error::user(format!("the parameter's {what} is {own}, that of the new values is {other}")))
        };
        if values.dims() != self.dims() {
            return misfit("shape", format!("{:?}", self.dims()), format!("{:?}", values.dims()));
        }
        if values.dtype() != self.dtype() {
            return misfit("type", format!("{:?}", self.dtype()), format!("{:?}", values.dtype()));
        }
        if !values.device().same_device(self.device()) {
            return misfit("device", format!("{:?}", self.device()), format!("{:?}", values.device()));
        }
        Ok(())
    }
}

impl State {
    fn replace(&mut self, moved: Var) {
        if self.earlier.len() == REMEMBERED {
            self.earlier.pop_front();
        }
        self.earlier.push_back(self.current.id());
        self.current = moved;
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parameter").field(&self.0.shape).field(&self.0.dtype).finish()
    }
}

/// A step down a gradient; see [`Parameter::descend`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    pub factor: f64,
    pub decay: f64,
    pub rate: f64,
}

/// What carries steps on; see [`Parameter::descend_with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// µ.
    pub of: f64,
    pub nesterov: bool,
}

/// Values that one thread moves at a time.
pub(crate) const CHUNK: usize = 1 << 16;

/// The values after a step, as a variable that owns the one vector written; none where the values are not plain ones
/// in the processor's memory.
fn descended<T: WithDType>(w: &Tensor, g: &Tensor, by: Descent) -> Result<Option<Var>> {
    let ((w_storage, w_layout), (g_storage, g_layout)) = (w.storage_and_layout(), g.storage_and_layout());
    let (Some(from), Some(g)) = (plain::<T>(&w_storage, w_layout), plain::<T>(&g_storage, g_layout)) else {
        return Ok(None);
    };
    let [factor, decay, rate] = [by.factor, by.decay, by.rate].map(T::from_f64);
    let mut moved = Vec::new();
    let step = from.par_iter().zip(g).with_min_len(CHUNK).map(|(&w, &g)| {
        // Without decay an infinite weight stays what it is.
        w - (if by.decay == 0.0 { g * factor } else { g * factor + w * decay }) * rate
    });
    step.collect_into_vec(&mut moved);
    Ok(Some(Var::from_vec(moved, w.dims(), w.device())?))
}

/// The same with momentum: the variable and the new buffer.
fn carried<T: WithDType>(
    w: &Tensor,
    g: &Tensor,
    buffer: &Tensor,
    by: Descent,
    Momentum { of, nesterov }: Momentum,
) -> Result<Option<(Var, Tensor)>> {
    let [(w_storage, w_layout), (g_storage, g_layout), (b_storage, b_layout)] =
        [w, g, buffer].map(Tensor::storage_and_layout);
    let [from, g, carried] = [(&w_storage, w_layout), (&g_storage, g_layout), (&b_storage, b_layout)]
        .map(|(storage, layout)| plain::<T>(storage, layout));
    let (Some(from), Some(g), Some(carried)) = (from, g, carried) else { return Ok(None) };
    let [factor, decay, rate, of] = [by.factor, by.decay, by.rate, of].map(T::from_f64);
    let (mut moved, mut kept) = (Vec::new(), Vec::new());
    let given = from.par_iter().zip(g).zip(carried).with_min_len(CHUNK);
    let step = given.map(|((&w, &g), &carried)| {
        // Without decay an infinite weight stays what it is.
        let g = if by.decay == 0.0 { g * factor } else { g * factor + w * decay };
        let kept = carried * of + g;
        (w - (if nesterov { g + kept * of } else { kept }) * rate, kept)
    });
    step.unzip_into_vecs(&mut moved, &mut kept);
    let moved = Var::from_vec(moved, w.dims(), w.device())?;
    Ok(Some((moved, Tensor::from_vec(kept, w.dims(), w.device())?)))
}

/// A contiguous tensor's values, where they lie in the processor's memory.
pub(crate) fn plain<'a, T: WithDType>(storage: &'a Storage, layout: &Layout) -> Option<&'a [T]> {
    let Storage::Cpu(storage) = storage else { return None };
    let (from, to) = layout.contiguous_offsets()?;
    CpuStorage::as_slice::<T>(storage).ok().map(|values| &values[from..to])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn what_was_taken_before_a_move_keeps_its_values() {
        let parameter = Parameter::new(&vector(&[1.0, 2.0])).unwrap();
        let taken = [
            parameter.tensor(),
            parameter.detached(),
            parameter.tensor().narrow(0, 0, 2).unwrap(),
            parameter.tensor().reshape((2, 1)).unwrap(),
        ];
        parameter.subtract(&vector(&[0.5, 0.25])).unwrap();
        assert_eq!(values(&parameter.tensor()), [0.5, 1.75]);
        parameter.set(&vector(&[7.0, 8.0])).unwrap();
        assert_eq!(values(&parameter.clone().detached()), [7.0, 8.0]);
        for taken in &taken {
            assert_eq!(values(taken), [1.0, 2.0]);
        }
    }

    #[test]
    fn a_parameter_may_be_set_from_its_own_value_and_owns_a_copy() {
        let given = vector(&[1.0]);
        let parameter = Parameter::new(&given).unwrap();
        let other = Parameter::new(&parameter.tensor()).unwrap();
        other.set(&parameter.tensor()).unwrap();
        parameter.set(&parameter.tensor()).unwrap();
        parameter.subtract(&parameter.tensor()).unwrap();
        assert_eq!(
            (values(&parameter.tensor()), values(&other.tensor()), values(&given)),
            (vec![0.0], vec![1.0], vec![1.0])
        );
        assert!(!parameter.is(&other) && parameter.is(&parameter.clone()));
    }

    #[test]
    fn a_subtracted_view_is_read_in_its_own_order() {
        let parameter = Parameter::new(&vector(&[0.0, 0.0, 0.0, 0.0]).reshape((2, 2)).unwrap()).unwrap();
        let turned = vector(&[1.0, 2.0, 3.0, 4.0]).reshape((2, 2)).unwrap().t().unwrap();
        parameter.subtract(&turned).unwrap();
        assert_eq!(values(&parameter.tensor()), [-1.0, -3.0, -2.0, -4.0]);
        let row = parameter.tensor().get(1).unwrap().unsqueeze(0).unwrap();
        let short = Parameter::new(&vector(&[1.0, 1.0]).reshape((1, 2)).unwrap()).unwrap();
        short.subtract(&row).unwrap();
        assert_eq!(values(&short.tensor()), [3.0, 5.0]);
    }

    #[test]
    fn a_loss_of_earlier_values_is_known() {
        let parameter = Parameter::new(&vector(&[3.0])).unwrap();
        let other = Parameter::new(&vector(&[1.0])).unwrap();
        let loss = (parameter.tensor() * other.tensor()).unwrap();
        let reached: Vec<&Tensor> = loss.sorted_nodes().into_iter().filter(|node| node.is_variable()).collect();
        assert!(!parameter.has_left(&reached));
        parameter.set(&vector(&[4.0])).unwrap();
        assert!(parameter.has_left(&reached) && !other.has_left(&reached));
        let slope = loss.backward().unwrap();
        assert_eq!(values(slope.get(&other.tensor()).unwrap()), [3.0]);
        for _ in 0..REMEMBERED - 1 {
            parameter.set(&vector(&[4.0])).unwrap();
        }
        assert!(parameter.has_left(&reached));
        assert_eq!(parameter.lock().earlier.len(), REMEMBERED);
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let parameter = Parameter::new(&vector(&[1.0, 2.0])).unwrap();
        let long = parameter.set(&vector(&[1.0, 2.0, 3.0])).unwrap_err();
        assert_eq!(long.message, "the parameter's shape is [2], that of the new values is [3]");
        let single = parameter.subtract(&vector(&[1.0, 2.0]).to_dtype(DType::F32).unwrap()).unwrap_err();
        assert_eq!(single.message, "the parameter's type is F64, that of the new values is F32");
        assert_eq!(values(&parameter.tensor()), [1.0, 2.0]);
    }
}
