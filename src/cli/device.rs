//! `--device cpu|cuda[:n]`.

use crate::engine::cuda;
use crate::{Error, Result};
use candle_core::Device;
use std::str::FromStr;

/// The device as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    Cpu,
    /// As CUDA counts them, from 0.
    Cuda(u16),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) => {
                number.parse().map(Self::Cuda).map_err(|_| format!("\"{number}\" is not a device number"))
            }
            _ => Err("a device is cpu, cuda or cuda:N".into()),
        }
    }
}

impl DeviceName {
    /// Opens the device.
    ///
    /// # Errors
    /// A build without CUDA tensors, a machine without a usable driver, and a device that is not there or does not
    /// answer.
    pub fn open(self) -> Result<Device> {
        let Self::Cuda(number) = self else { return Ok(Device::Cpu) };
        let gpu = cuda::open(number.into())?;
        if !cfg!(feature = "cuda") {
            return Err(Error::user(format!(
                "cuda:{number} ({}) is there, but networks do not run on it yet",
                gpu.name()
            ))
            .hint("a script's tensors do, in a build with the feature `cuda`; --device cpu always works"));
        }
        Device::new_cuda(number.into()).map_err(|error| {
            Error::user(format!("cuda:{number} cannot be used: {}", Error::from(error)))
                .hint("`nvidia-smi` lists the devices; --device cpu always works")
        })
    }
}
