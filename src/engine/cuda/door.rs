//! How candle's tensors come to a launcher's buffers and back.
//!
//! The processor's are sent and read. In a build with the feature `cuda`, tensors of the device that the launcher works
//! for are copied within its memory, on its stream. They are not handed to the kernels where they lie: a recorded graph
//! holds its addresses, and candle puts every new tensor somewhere else. A pass's own buffers stay where they are, so
//! the graph that was recorded of it can be launched again; the copies take microseconds.
//!
//! Why no tensor is overwritten or given back too early: candle's operations, these copies and the kernels are asked of
//! one stream, and so they happen in the order in which they were asked for. A tensor whose copy has been asked for may
//! be dropped at once, as candle gives memory back in the stream's order too; one that is received is copied to before
//! anybody who gets it can ask for anything else.

use super::memory::Buffer;
use crate::engine::cpu::floats;
use crate::{Error, Result};
use candle_core::{Device, Shape, Storage, Tensor};

/// Copies a contiguous tensor in single precision to a buffer's beginning.
pub(super) fn send(buffer: &mut Buffer, tensor: &Tensor) -> Result<()> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        #[cfg(feature = "cuda")]
        Storage::Cuda(storage) => card::send(buffer, storage, layout),
        Storage::Cpu(_) => buffer.write(floats(&storage, layout)?),
        _ => Err(elsewhere()),
    }
}

/// A tensor on a device, from a buffer's beginning.
pub(super) fn receive(buffer: &Buffer, shape: &Shape, device: &Device) -> Result<Tensor> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => card::receive(buffer, shape, device),
        Device::Cpu => {
            let mut values = vec![0f32; shape.elem_count()];
            buffer.read(&mut values)?;
            Ok(Tensor::from_vec(values, shape, device)?)
        }
        _ => Err(elsewhere()),
    }
}

fn elsewhere() -> Error {
    Error::run("a network on a GPU takes tensors of the processor or of that GPU")
}

#[cfg(feature = "cuda")]
mod card {
    use super::super::Address;
    use super::super::memory::Buffer;
    use crate::{Error, Result};
    use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DevicePtrMut};
    use candle_core::op::BackpropOp;
    use candle_core::{CudaDevice, CudaStorage, Layout, Shape, Storage, Tensor};

    pub fn send(buffer: &mut Buffer, storage: &CudaStorage, layout: &Layout) -> Result<()> {
        let Some((from, to)) = layout.contiguous_offsets() else {
            return Err(Error::run("the executor takes contiguous tensors"));
        };
        let (values, stream) = (storage.as_cuda_slice::<f32>()?.slice(from..to), storage.device.cuda_stream());
        // The guard tells candle of a read, where it keeps count of them; it goes when the copy has been asked for.
        let (at, _guard) = values.device_ptr(&stream);
        // SAFETY: the view is of so many floats, and lives until the copy has been asked for; what frees the tensor
        // comes later in the stream's order.
        unsafe { buffer.copy_from(Address(at), size_of::<f32>() * (to - from)) }
    }

    pub fn receive(buffer: &Buffer, shape: &Shape, device: &CudaDevice) -> Result<Tensor> {
        let count = shape.elem_count();
        // SAFETY: all of it is copied to before anybody gets it.
        let mut values = unsafe { device.alloc::<f32>(count)? };
        let stream = device.cuda_stream();
        {
            let (at, _guard) = values.device_ptr_mut(&stream);
            // SAFETY: so many floats were just allocated, in the stream's order.
            unsafe { buffer.copy_to(Address(at), size_of::<f32>() * count)? };
        }
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(values, device.clone()));
        Ok(Tensor::from_storage(storage, shape.clone(), BackpropOp::none(), false))
    }
}
