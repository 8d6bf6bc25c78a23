//! `--device cpu|auto|cuda[:n]`.

use crate::Result;
use crate::engine::cuda::{self, Launcher};
use candle_core::Device;
use std::str::FromStr;
use std::sync::Arc;

/// The device as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    Cpu,
    /// The first GPU that can be used, or the processor.
    Auto,
    /// As CUDA counts them, from 0.
    Cuda(u16),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) => {
                number.parse().map(Self::Cuda).map_err(|_| format!("\"{number}\" is not a device number"))
            }
            _ => Err("a device is cpu, auto, cuda or cuda:N".into()),
        }
    }
}

/// A device that is ready.
pub struct Opened {
    /// "cpu", "cuda:0".
    pub name: String,
    /// Where a script's tensors live.
    pub tensors: Device,
    /// The GPU that networks run on.
    pub networks: Option<Arc<dyn Launcher>>,
}

impl DeviceName {
    /// Opens the device. What `auto` chose is told on stderr.
    ///
    /// # Errors
    /// A machine without a usable driver, and a device that is not there or does not answer.
    pub fn open(self) -> Result<Opened> {
        let cpu = || Opened { name: "cpu".into(), tensors: Device::Cpu, networks: None };
        match self {
            Self::Cpu => Ok(cpu()),
            Self::Cuda(number) => gpu(number),
            Self::Auto => match first() {
                Ok(number) => {
                    let opened = gpu(number)?;
                    let name = opened.networks.as_ref().map(|gpu| format!(" ({})", gpu.name())).unwrap_or_default();
                    eprintln!("device: {}{name}", opened.name);
                    Ok(opened)
                }
                Err(why) => {
                    eprintln!("device: cpu ({why})");
                    Ok(cpu())
                }
            },
        }
    }
}

/// The first GPU that can be used, or why there is none.
fn first() -> Result<u16, String> {
    let gpus = cuda::inventory().map_err(|error| error.message)?.gpus;
    match gpus.iter().find(|gpu| gpu.missing.is_none()) {
        Some(gpu) => u16::try_from(gpu.number).map_err(|error| error.to_string()),
        None => Err("there is no NVIDIA GPU that can be used".into()),
    }
}

/// Networks run on the GPU. A script's tensors are there too in a build with candle's CUDA, and on the processor in
/// others.
fn gpu(number: u16) -> Result<Opened> {
    let (name, gpu) = (format!("cuda:{number}"), cuda::open(number.into())?);
    Ok(Opened { name, tensors: gpu.tensors(), networks: Some(gpu) })
}
