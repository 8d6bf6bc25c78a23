//! The images of one step with their labels.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, TensorId};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Labelled images.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Images × channels × height × width, normalised.
    pub images: Tensor,
    /// The class of each image, u32; or real numbers, one or more for each image, for a loss of a script's own.
    pub labels: Tensor,
    /// The images' indices in the set that they are from; none where they are not from a set.
    pub indices: Vec<usize>,
    /// What training aims at in the labels' place, where classes weigh differently or images are mixed: images ×
    /// classes, each row its image's weight spread over the classes. Scores go by the labels alone.
    pub targets: Option<Tensor>,
}

impl Batch {
    /// A batch of images with their labels: one whole number for each, in any type, or floats that are not all whole,
    /// one or more for each.
    ///
    /// # Errors
    /// Images that are not four-dimensional, another number of labels than of images, integers that count no class.
    pub fn new(images: Tensor, labels: Tensor) -> Result<Self> {
        let real = labels.dtype().is_float();
        let fit = images.rank() == 4 && labels.dims().first() == Some(&images.dims()[0]);
        if !fit || (labels.rank() > 1 && !real) {
            return Err(Error::user(format!(
                "a batch is images × channels × height × width with one label per image, not {:?} with {:?}",
                images.dims(),
                labels.dims()
            )));
        }
        let labels = match class_numbers(&labels) {
            Ok(classes) => classes,
            Err(_) if real => labels,
            Err(error) => return Err(error),
        };
        Ok(Self { images, labels, indices: vec![], targets: None })
    }

    /// The class of each image.
    ///
    /// # Errors
    /// Labels that are real numbers.
    pub fn classes(&self) -> Result<Tensor> {
        class_numbers(&self.labels)
    }

    /// Whether the labels are classes.
    pub fn has_classes(&self) -> bool {
        self.labels.dtype() == DType::U32
    }

    /// Images in the batch; the last of an epoch may have fewer than the rest.
    pub fn len(&self) -> usize {
        self.images.dims()[0]
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batch on a device.
    ///
    /// # Errors
    /// What the device reports.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let (images, labels) = (self.images.to_device(device)?, self.labels.to_device(device)?);
        if !device.is_cpu() && self.labels.device().is_cpu() && self.has_classes() {
            remember(&labels, largest_label(&self.labels)?);
        }
        let targets = self.targets.as_ref().map(|targets| targets.to_device(device)).transpose()?;
        Ok(Self { images, labels, indices: self.indices.clone(), targets })
    }
}

/// Largest labels of tensors on a GPU, the latest last, and how many are kept: those of a step's batches.
static LARGEST: Mutex<VecDeque<(TensorId, u32)>> = Mutex::new(VecDeque::new());
const KEPT: usize = 64;

fn remember(labels: &Tensor, largest: u32) {
    let mut known = LARGEST.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() == KEPT {
        known.pop_front();
    }
    known.push_back((labels.id(), largest));
}

/// The largest of some labels, which are u32; 0 where there are none. A tensor's values never change, so of a tensor on
/// a GPU they are read once at most, and not at all where the batch came from the processor.
///
/// # Errors
/// What the device reports.
pub(crate) fn largest_label(labels: &Tensor) -> Result<u32> {
    let read = || Ok(labels.to_vec1::<u32>()?.into_iter().max().unwrap_or(0));
    if labels.device().is_cpu() {
        return read();
    }
    let known = LARGEST.lock().unwrap_or_else(PoisonError::into_inner);
    let found = known.iter().find(|(id, _)| *id == labels.id()).map(|(_, largest)| *largest);
    drop(known);
    match found {
        Some(largest) => Ok(largest),
        None => {
            let largest = read()?;
            remember(labels, largest);
            Ok(largest)
        }
    }
}

/// Labels as u32. candle's conversion would saturate negative numbers to class 0 and cut off fractions.
fn class_numbers(labels: &Tensor) -> Result<Tensor> {
    let hint = "labels are whole numbers and count from 0; real numbers are for a `loss` of your own";
    if labels.rank() != 1 {
        return Err(Error::user(format!("labels of shape {:?} count no classes", labels.dims())).hint(hint));
    }
    if labels.dtype() == DType::U32 {
        return Ok(labels.clone());
    }
    let values = labels.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    match values.into_iter().find(|label| label.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(label)) {
        Some(label) => Err(Error::user(format!("a label is {label}, which counts no class")).hint(hint)),
        None => Ok(labels.to_dtype(DType::U32)?),
    }
}
