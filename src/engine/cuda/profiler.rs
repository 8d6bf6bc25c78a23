//! A launcher that measures every launch while it is asked to.

use super::{Address, Arrival, Launch, Launcher, Room};
use crate::Result;
use candle_core::Device;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What the launches of one family took on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    pub launches: usize,
    pub seconds: f64,
}

/// What the launches of each family took, by its name.
pub type Spending = BTreeMap<String, Spent>;

/// A GPU with a record of what ran on it.
pub struct Profiler {
    gpu: Arc<dyn Launcher>,
    /// None: nothing is recorded.
    record: Mutex<Option<Spending>>,
}

impl Profiler {
    pub fn new(gpu: Arc<dyn Launcher>) -> Self {
        Self { gpu, record: Mutex::default() }
    }

    /// Launches are measured from here on, one after another and without graphs.
    pub fn start(&self) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(Spending::new());
    }

    /// Ends that and gives what was measured.
    pub fn finish(&self) -> Spending {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

impl Launcher for Profiler {
    fn name(&self) -> String {
        self.gpu.name()
    }

    fn tensors(&self) -> Device {
        self.gpu.tensors()
    }

    fn room(&self) -> Result<Room> {
        self.gpu.room()
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.gpu.allocate(bytes)
    }

    unsafe fn release(&self, at: Address) {
        // SAFETY: the caller's promise.
        unsafe { self.gpu.release(at) };
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.gpu.upload(to, bytes) }
    }

    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.gpu.download(from, bytes) }
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.gpu.copy(to, from, bytes) }
    }

    unsafe fn fetch(self: Arc<Self>, from: Address, bytes: usize) -> Result<Box<dyn Arrival>> {
        // SAFETY: the caller's promise.
        unsafe { self.gpu.clone().fetch(from, bytes) }
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.gpu.launch(launch) }
    }

    fn measures(&self) -> bool {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    unsafe fn launch_all(&self, key: &[u8], launches: &[Launch<'_>]) -> Result<()> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = &mut *record else {
            // SAFETY: the caller's promise.
            return unsafe { self.gpu.launch_all(key, launches) };
        };
        // SAFETY: the caller's promise.
        let seconds = unsafe { self.gpu.time_all(launches)? };
        for (launch, seconds) in launches.iter().zip(seconds) {
            let spent = record.entry(launch.name.to_string()).or_default();
            spent.launches += 1;
            spent.seconds += seconds;
        }
        Ok(())
    }
}
