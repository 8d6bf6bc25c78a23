//! Memory on a GPU: buffers that give themselves back, and all that a pass takes, sized beforehand and kept for the
//! next one.

use super::plan::CudaPlan;
use super::{Address, Arrival, Launcher};
use crate::{Error, Result};
use candle_core::TensorId;
use std::sync::Arc;

/// Some bytes of a launcher's memory.
pub(super) struct Buffer {
    launcher: Arc<dyn Launcher>,
    at: Address,
    bytes: usize,
}

impl Buffer {
    pub fn new(launcher: &Arc<dyn Launcher>, bytes: usize) -> Result<Self> {
        Ok(Self { at: launcher.allocate(bytes)?, launcher: launcher.clone(), bytes })
    }

    /// A buffer that holds these numbers.
    pub fn of<T: bytemuck::NoUninit>(launcher: &Arc<dyn Launcher>, numbers: &[T]) -> Result<Self> {
        let mut buffer = Self::new(launcher, size_of_val(numbers))?;
        buffer.write(numbers)?;
        Ok(buffer)
    }

    pub fn address(&self) -> u64 {
        self.at.0
    }

    /// Copies numbers to its beginning.
    pub fn write<T: bytemuck::NoUninit>(&mut self, numbers: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        if bytes.is_empty() {
            return Ok(());
        }
        assert!(bytes.len() <= self.bytes, "{} bytes into {}", bytes.len(), self.bytes);
        // SAFETY: the buffer is as long.
        unsafe { self.launcher.upload(self.at, bytes) }
    }

    /// Copies numbers from its beginning.
    pub fn read<T: bytemuck::Pod>(&self, numbers: &mut [T]) -> Result<()> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(numbers);
        assert!(bytes.len() <= self.bytes, "{} bytes from {}", bytes.len(), self.bytes);
        // SAFETY: the buffer is as long.
        unsafe { self.launcher.download(self.at, bytes) }
    }

    /// Begins to copy bytes from its beginning, as they are after everything that was asked for before.
    pub fn fetch(&self, bytes: usize) -> Result<Box<dyn Arrival>> {
        assert!(bytes <= self.bytes, "{bytes} bytes from {}", self.bytes);
        // SAFETY: the buffer is as long.
        unsafe { self.launcher.clone().fetch(self.at, bytes) }
    }
}

#[cfg(feature = "cuda")]
impl Buffer {
    /// Copies bytes of the device's memory to its beginning.
    ///
    /// # Safety
    /// `from` must be memory of the launcher's device, good for so many bytes.
    pub unsafe fn copy_from(&mut self, from: Address, bytes: usize) -> Result<()> {
        assert!(bytes <= self.bytes, "{bytes} bytes into {}", self.bytes);
        // SAFETY: the buffer is as long, and its memory is nobody else's; the rest is the caller's promise.
        unsafe { self.launcher.copy(self.at, from, bytes) }
    }

    /// Copies bytes from its beginning to the device's memory.
    ///
    /// # Safety
    /// `to` must be memory of the launcher's device, good for so many bytes.
    pub unsafe fn copy_to(&self, to: Address, bytes: usize) -> Result<()> {
        assert!(bytes <= self.bytes, "{bytes} bytes from {}", self.bytes);
        // SAFETY: the buffer is as long, and its memory is nobody else's; the rest is the caller's promise.
        unsafe { self.launcher.copy(to, self.at, bytes) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it was allocated by this launcher and is not used any more.
        unsafe { self.launcher.release(self.at) };
    }
}

/// What the buffers of a pass are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Arena,
    Images,
    ImagesGradient,
    Weights,
    WeightsGradient,
    Mixing,
    MixingGradient,
    Packed,
    Norms,
    Moments,
    Parts,
    Totals,
    Noise,
    Factors,
    Output,
    OutputGradient,
    Counters,
}

/// How many there are.
const USES: usize = Use::Counters as usize + 1;

/// Counters of a launch beside those of images. As in rounds.cuh.
const OF_IMAGES: usize = 2;

/// How large a pass is beside what its plan says.
#[derive(Clone, Copy, Debug)]
pub(super) struct PassSize {
    pub batch: usize,
    /// Floats of an image's region, and of its partial sums.
    pub region: usize,
    pub parts: usize,
    pub gradients: bool,
    /// Floats of the inputs and the output: an image, all weights, all mixing weights, drop path's factors of an image,
    /// an image's output.
    pub image: usize,
    pub weights: usize,
    pub mixing: usize,
    pub factors: usize,
    /// Floats of an image's noises.
    pub noise: usize,
    pub output: usize,
}

impl PassSize {
    /// Bytes by use.
    fn bytes(&self, cuda: &CudaPlan) -> [usize; USES] {
        let float = size_of::<f32>();
        let if_gradients = |floats: usize| if self.gradients { float * floats } else { 0 };
        let batch = self.batch;
        let mut bytes = [0; USES];
        let mut put = |of: Use, count: usize| bytes[of as usize] = count;
        put(Use::Arena, float * batch * self.region);
        put(Use::Images, float * batch * self.image);
        put(Use::ImagesGradient, if_gradients(batch * self.image));
        put(Use::Weights, float * self.weights);
        put(Use::WeightsGradient, if_gradients(self.weights));
        put(Use::Mixing, float * self.mixing);
        put(Use::MixingGradient, if_gradients(self.mixing));
        put(Use::Packed, float * cuda.packing.len());
        put(Use::Norms, float * 6 * cuda.tables.norm_lanes);
        put(Use::Moments, size_of::<f64>() * 2 * cuda.tables.norm_lanes);
        put(Use::Parts, float * batch * self.parts);
        put(Use::Totals, if self.gradients { size_of::<f64>() * cuda.tables.backward_sums } else { 0 });
        put(Use::Noise, float * batch * self.noise);
        put(Use::Factors, float * batch * self.factors);
        put(Use::Output, float * batch * self.output);
        put(Use::OutputGradient, if_gradients(batch * self.output));
        put(Use::Counters, size_of::<i32>() * (OF_IMAGES + batch));
        bytes
    }

    /// Bytes of all.
    pub fn total(&self, cuda: &CudaPlan) -> u64 {
        self.bytes(cuda).iter().map(|bytes| *bytes as u64).sum()
    }
}

/// All buffers of a pass.
#[derive(Default)]
pub(super) struct PassMemory {
    buffers: [Option<Buffer>; USES],
    /// Whose values the weights' buffer holds, packed too.
    pub resident: Option<TensorId>,
}

impl PassMemory {
    /// Makes every buffer large enough.
    ///
    /// # Errors
    /// Too little memory: what `too_little` makes of the bytes that are free.
    pub fn fit(
        &mut self,
        launcher: &Arc<dyn Launcher>,
        cuda: &CudaPlan,
        size: &PassSize,
        too_little: impl FnOnce(u64) -> Error,
    ) -> Result<()> {
        let wanted = size.bytes(cuda);
        let too_small = |buffer: &Option<Buffer>, bytes: usize| buffer.as_ref().is_none_or(|own| own.bytes < bytes);
        let growing = |(buffer, bytes): &(&Option<Buffer>, usize)| too_small(buffer, *bytes);
        let grown: usize = self.buffers.iter().zip(wanted).filter(growing).map(|(_, bytes)| bytes).sum();
        let own = |buffer: &Option<Buffer>| buffer.as_ref().map_or(0, |buffer| buffer.bytes);
        let freed: usize = self.buffers.iter().zip(wanted).filter(growing).map(|(buffer, _)| own(buffer)).sum();
        if grown > 0 {
            let free = launcher.room()?.free + freed as u64;
            if grown as u64 > free {
                return Err(too_little(free));
            }
        }
        for (at, bytes) in wanted.into_iter().enumerate() {
            if too_small(&self.buffers[at], bytes) {
                // First the old one, to make room.
                self.buffers[at] = None;
                self.buffers[at] = Some(Buffer::new(launcher, bytes)?);
                if at == Use::Counters as usize {
                    // Launches leave them as they find them.
                    self.buffer(Use::Counters).write(&vec![0i32; bytes / size_of::<i32>()])?;
                }
                if at == Use::Weights as usize || at == Use::Packed as usize {
                    self.resident = None;
                }
            }
        }
        Ok(())
    }

    pub fn buffer(&mut self, of: Use) -> &mut Buffer {
        match &mut self.buffers[of as usize] {
            Some(buffer) => buffer,
            None => unreachable!("memory is fitted before it is used"),
        }
    }

    pub fn address(&self, of: Use) -> u64 {
        self.buffers[of as usize].as_ref().map_or(0, Buffer::address)
    }
}
