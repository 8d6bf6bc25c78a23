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
    /// The class of each image, u32.
    pub labels: Tensor,
    /// The images' indices in the set that they are from; none where they are not from a set.
    pub indices: Vec<usize>,
    /// What training aims at in the labels' place, where classes weigh differently or images are mixed: images ×
    /// classes, each row its image's weight spread over the classes. Scores go by the labels alone.
    pub targets: Option<Tensor>,
}

impl Batch {
    /// A batch of images with their labels, which may come in any type that holds whole numbers.
    ///
    /// # Errors
    /// Images that are not four-dimensional, another number of labels than of images, labels that count no class.
    pub fn new(images: Tensor, labels: Tensor) -> Result<Self> {
        if images.rank() != 4 || labels.dims() != [images.dims()[0]] {
            return Err(Error::user(format!(
                "a batch is images × channels × height × width with one label per image, not {:?} with {:?}",
                images.dims(),
                labels.dims()
            )));
        }
        Ok(Self { images, labels: whole(labels)?, indices: vec![], targets: None })
    }

    /// Images in the batch; the last of an epoch may have fewer than the rest.
    pub fn len(&self) -> usize {
        self.labels.elem_count()
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
        if !device.is_cpu() && self.labels.device().is_cpu() {
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

/// The labels as u32. candle's conversion would saturate negative numbers to class 0 and cut off fractions.
fn whole(labels: Tensor) -> Result<Tensor> {
    if labels.dtype() == DType::U32 {
        return Ok(labels);
    }
    let values = labels.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    match values.into_iter().find(|label| label.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(label)) {
        Some(label) => Err(Error::user(format!("a label is {label}, which counts no class"))
            .hint("labels are whole numbers and count from 0")),
        None => Ok(labels.to_dtype(DType::U32)?),
    }
}
