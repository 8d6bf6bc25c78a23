//! The images of one step with their labels.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

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
        let targets = self.targets.as_ref().map(|targets| targets.to_device(device)).transpose()?;
        Ok(Self { images, labels, indices: self.indices.clone(), targets })
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
