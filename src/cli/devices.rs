//! `candlewick devices`: what `--device` can name on this machine, and what is missing for what it cannot.

use super::Outcome;
use super::lines::print_lines;
use crate::bench::{Cell, Line};
use crate::bytes::show_bytes;
use crate::engine::{Isa, cuda};
use serde::Serialize;

#[derive(clap::Args)]
pub struct Arguments {}

/// One device.
#[derive(Serialize)]
struct Row {
    device: String,
    name: String,
    /// Bytes of its own; the processor's is the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    /// The newest CUDA that the driver knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    usable: bool,
    /// Why it cannot be used, and what would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

impl Line for Row {
    fn cells(&self) -> Vec<Cell> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            Cell::word("device", &self.device),
            Cell::word("name", &self.name),
            Cell::word("memory", self.memory.map(show_bytes).unwrap_or_default()),
            Cell::word("driver", text(&self.driver)),
            Cell::word("missing", text(&self.missing)),
        ]
    }
}

pub fn devices(_: Arguments) -> Outcome {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let name = format!("{}, {threads} threads", Isa::choose()?.name());
    let mut rows = vec![Row { device: "cpu".into(), name, memory: None, driver: None, usable: true, missing: None }];
    let absent = |missing: String| Row {
        device: "cuda".into(),
        name: String::new(),
        memory: None,
        driver: None,
        usable: false,
        missing: Some(missing),
    };
    match cuda::inventory() {
        Ok(inventory) if inventory.gpus.is_empty() => rows.push(absent("the driver finds no NVIDIA GPU".into())),
        Ok(inventory) => rows.extend(inventory.gpus.into_iter().map(|gpu| Row {
            device: format!("cuda:{}", gpu.number),
            name: gpu.name,
            memory: Some(gpu.memory),
            driver: Some(format!("CUDA {}.{}", inventory.cuda.0, inventory.cuda.1)),
            usable: gpu.missing.is_none(),
            missing: gpu.missing,
        })),
        Err(error) => rows.push(absent(error.message)),
    }
    print_lines(&rows)
}
