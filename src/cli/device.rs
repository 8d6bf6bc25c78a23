//! `--device cpu|cuda[:n]`.

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
    /// CUDA in a build without it, and a device that does not answer.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(Error::user("this build of candlewick has no CUDA")
                .hint("build it with `cargo build --release --features cuda`, or run with --device cpu")),
            Self::Cuda(number) => Device::new_cuda(number.into()).map_err(|error| {
                Error::user(format!("cuda:{number} cannot be used: {}", Error::from(error)))
                    .hint("`nvidia-smi` lists the devices; --device cpu always works")
            }),
        }
    }
}
