//! One GPU behind NVIDIA's driver, with one stream: what is asked for happens in that order. In a build with the
//! feature `cuda` it is candle's stream (`card.rs`).

#[cfg(feature = "cuda")]
use super::card::{Card, Pinned};
use super::events::Event;
use super::graphs::{Graphs, Known, record};
use super::reported;
use super::staging::{LONG, Staging};
use crate::bytes::show_bytes;
#[cfg(feature = "cuda")]
use crate::engine::cuda::Arrival;
use crate::engine::cuda::{Address, Gpu, Launch, Launcher, Room};
use crate::{Error, Result};
use cudarc::driver::{DriverError, result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
#[cfg(feature = "cuda")]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The kernels' files as PTX, by name.
const FILES: [(&str, &str); 3] = [
    ("backward", include_str!("../kernels/backward.ptx")),
    ("forward", include_str!("../kernels/forward.ptx")),
    ("weights", include_str!("../kernels/weights.ptx")),
];

/// A GPU that is ready.
pub(super) struct DriverGpu {
    name: String,
    device: sys::CUdevice,
    context: sys::CUcontext,
    /// What has been loaded: files, and kernels by file and name.
    loaded: Mutex<Loaded>,
    /// Held for everything that is asked of the stream: what another thread asks for meanwhile would become part of a
    /// recording, and be done again with every replay.
    stream: Mutex<Stream>,
    #[cfg(feature = "cuda")]
    pub card: Card,
}

/// The stream, and what was recorded of it.
struct Stream {
    handle: sys::CUstream,
    /// Where launches are recorded. Nobody but this GPU asks anything of it, whoever else has the stream's handle.
    recorder: sys::CUstream,
    graphs: Graphs,
    /// None where no pinned memory is to be had.
    staging: Option<Staging>,
}

#[derive(Default)]
struct Loaded {
    files: HashMap<String, sys::CUmodule>,
    kernels: HashMap<(String, String), Kernel>,
}

#[derive(Clone, Copy)]
struct Kernel {
    function: sys::CUfunction,
    /// Bytes of shared memory that it has been allowed.
    shared: u32,
}

// SAFETY: the driver's handles may be used from any thread; each call makes the context its thread's own first.
unsafe impl Send for DriverGpu {}
// SAFETY: the same.
unsafe impl Sync for DriverGpu {}

/// Bytes of shared memory that every kernel may have without asking.
const SHARED: u32 = 48 << 10;

impl DriverGpu {
    pub(super) fn open(gpu: &Gpu) -> Result<Self, Failure> {
        let device = result::device::get(gpu.number as i32)?;
        // SAFETY: the device was just given by the driver; the context stays retained until the drop.
        let context = unsafe { result::primary_ctx::retain(device)? };
        // SAFETY: the context was just given by the driver.
        unsafe { result::ctx::set_current(context)? };
        let recorder = result::stream::create(result::stream::StreamKind::NonBlocking)?;
        #[cfg(not(feature = "cuda"))]
        let handle = recorder;
        #[cfg(feature = "cuda")]
        let (card, handle) = {
            let card = Card::open(gpu.number)?;
            let handle = card.stream();
            (card, handle)
        };
        let stream = Mutex::new(Stream { handle, recorder, graphs: Graphs::default(), staging: Staging::new() });
        Ok(Self {
            name: gpu.name.clone(),
            device,
            context,
            loaded: Mutex::default(),
            stream,
            #[cfg(feature = "cuda")]
            card,
        })
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the context this thread's own.
    pub(super) fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained as long as the GPU is held.
        unsafe { result::ctx::set_current(self.context) }.map_err(reported)
    }

    /// Runs a kernel on the stream, which the caller holds.
    ///
    /// # Safety
    /// As for [`launch`](Launcher::launch).
    unsafe fn launch_on(&self, stream: sys::CUstream, launch: &Launch<'_>) -> Result<()> {
        let function = self.kernel(launch)?;
        let mut arguments: Vec<*mut c_void> =
            launch.arguments.iter().map(|bytes| bytes.as_ptr().cast_mut().cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: the caller's promise; the driver copies the arguments before it returns.
        let launched = unsafe {
            let threads = (launch.threads, 1, 1);
            result::launch_kernel(function, (x, y, z), threads, launch.shared, stream, &mut arguments)
        };
        launched.map_err(reported)
    }

    /// A kernel, loaded when it is first asked for, allowed so much shared memory.
    fn kernel(&self, launch: &Launch<'_>) -> Result<sys::CUfunction> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let Loaded { files, kernels } = &mut *loaded;
        let key = (launch.file.to_string(), launch.kernel.to_string());
        let kernel = match kernels.get_mut(&key) {
            Some(kernel) => kernel,
            None => {
                let module = match files.get(launch.file) {
                    Some(module) => *module,
                    None => {
                        let module = load(launch.file)?;
                        files.insert(launch.file.to_string(), module);
                        module
                    }
                };
                let name = CString::new(launch.kernel).map_err(|_| Error::run("a kernel's name holds a zero"))?;
                // SAFETY: the module was loaded in this context and is never unloaded.
                let function = unsafe { result::module::get_function(module, name) }.map_err(reported)?;
                kernels.entry(key).or_insert(Kernel { function, shared: SHARED })
            }
        };
        if launch.shared > kernel.shared {
            use sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MOST;
            // SAFETY: the function was given by the driver.
            let allowed =
                unsafe { result::function::set_function_attribute(kernel.function, MOST, launch.shared as i32) };
            allowed.map_err(|_| {
                Error::user(format!(
                    "{} has less shared memory than the kernel {} needs, {}",
                    self.name,
                    launch.name,
                    show_bytes(launch.shared.into())
                ))
                .hint("--device cpu runs the network")
            })?;
            kernel.shared = launch.shared;
        }
        Ok(kernel.function)
    }
}

/// Loads a file of kernels into the current context.
fn load(file: &str) -> Result<sys::CUmodule> {
    let Some((_, ptx)) = FILES.iter().find(|(name, _)| *name == file) else {
        return Err(Error::run(format!("there are no kernels {file}")));
    };
    let text = CString::new(*ptx).map_err(|_| Error::run(format!("the kernels {file} hold a zero")))?;
    // SAFETY: PTX as text that ends in a zero.
    unsafe { result::module::load_data(text.as_ptr().cast()) }.map_err(reported)
}

impl Drop for DriverGpu {
    fn drop(&mut self) {
        // Graphs and memory go before the context that they live in.
        let entered = self.enter().is_ok();
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.graphs = Graphs::default();
        #[cfg(feature = "cuda")]
        if entered {
            self.card.free();
        }
        if let Some(staging) = stream.staging.take().filter(|_| entered) {
            // SAFETY: the stream is this GPU's, whose context is the current one; once it has come to an end nothing
            // uses the memory.
            unsafe {
                let _ = result::stream::synchronize(stream.handle);
                staging.free();
            }
        }
        // SAFETY: the context was retained once. A failure leaves nothing to do.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

impl Launcher for DriverGpu {
    fn name(&self) -> String {
        self.name.clone()
    }

    #[cfg(feature = "cuda")]
    fn tensors(&self) -> candle_core::Device {
        self.card.tensors()
    }

    fn room(&self) -> Result<Room> {
        self.enter()?;
        // What candle gave back is free once the stream has come to an end.
        #[cfg(feature = "cuda")]
        // SAFETY: the stream is this GPU's.
        unsafe { result::stream::synchronize(self.stream().handle) }.map_err(reported)?;
        let (free, total) = result::mem_get_info().map_err(reported)?;
        Ok(Room { free: free as u64, total: total as u64 })
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.enter()?;
        // SAFETY: what the memory holds is not read before it is written.
        let at = unsafe { result::malloc_sync(bytes.max(1)) };
        at.map(Address).map_err(|error| match error {
            DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
                let free = self.room().map_or(0, |room| room.free);
                Error::user(format!(
                    "{} has too little memory: {} are needed, {} are free",
                    self.name,
                    show_bytes(bytes as u64),
                    show_bytes(free)
                ))
                .hint("take smaller batches")
            }
            error => reported(error),
        })
    }

    unsafe fn release(&self, at: Address) {
        if self.enter().is_ok() {
            // SAFETY: the caller's promise; freeing waits for what still runs. A failure leaves nothing to do.
            let _ = unsafe { result::free_sync(at.0) };
        }
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<()> {
        self.enter()?;
        let mut stream = self.stream();
        let Stream { handle, staging, .. } = &mut *stream;
        let copied = match staging {
            // SAFETY: the caller's promise, and the stream's lock.
            Some(staging) if bytes.len() >= LONG => unsafe { staging.upload(to.0, bytes, *handle) },
            // SAFETY: the caller's promise. From memory that is not pinned, the driver has taken the bytes when it
            // returns.
            _ => unsafe { result::memcpy_htod_async(to.0, bytes, *handle) },
        };
        copied.map_err(reported)
    }

    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.enter()?;
        let mut stream = self.stream();
        let Stream { handle, staging, .. } = &mut *stream;
        if let Some(staging) = staging.as_mut().filter(|_| bytes.len() >= LONG) {
            // SAFETY: the caller's promise, and the stream's lock.
            return unsafe { staging.download(from.0, bytes, *handle) }.map_err(reported);
        }
        // SAFETY: the caller's promise; the bytes are borrowed until the stream has come to an end.
        unsafe {
            result::memcpy_dtoh_async(bytes, from.0, *handle).map_err(reported)?;
            result::stream::synchronize(*handle).map_err(reported)
        }
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_dtod_async(to.0, from.0, bytes, self.stream().handle) }.map_err(reported)
    }

    #[cfg(feature = "cuda")]
    unsafe fn fetch(self: Arc<Self>, from: Address, bytes: usize) -> Result<Box<dyn Arrival>> {
        self.enter()?;
        let handle = self.stream().handle;
        // SAFETY: the caller's promise; the stream is this GPU's, whose context is the current one.
        Ok(Box::new(unsafe { Pinned::fetch(self, from.0, bytes, handle)? }))
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's promise.
        unsafe { self.launch_on(self.stream().handle, launch) }
    }

    unsafe fn launch_all(&self, key: &[u8], launches: &[Launch<'_>]) -> Result<()> {
        self.enter()?;
        let mut stream = self.stream();
        let Stream { handle, recorder, graphs, .. } = &mut *stream;
        let each = |on: sys::CUstream| {
            // SAFETY: the caller's promise.
            launches.iter().try_for_each(|launch| unsafe { self.launch_on(on, launch) })
        };
        let graph = match graphs.find(key) {
            Known::New => return each(*handle),
            Known::Recorded(graph) => graph,
            Known::Again => {
                // SAFETY: the recorder is this GPU's alone, and the lock keeps other threads from it meanwhile.
                let graph = unsafe { record::<Failure>(*recorder, || each(*recorder).map_err(Failure)) };
                let graph = graph.map_err(|Failure(error)| error)?;
                graphs.keep(graph);
                graph
            }
        };
        // SAFETY: the graph was recorded of the same launches; what they need is still there, as the key says.
        unsafe { result::graph::launch(graph, *handle) }.map_err(reported)
    }

    unsafe fn time_all(&self, launches: &[Launch<'_>]) -> Result<Vec<f64>> {
        self.enter()?;
        let held = self.stream();
        let stream = held.handle;
        // SAFETY: the stream is this GPU's, and its context is the current one.
        let event = || unsafe { Event::record(stream) }.map_err(reported);
        let mut events = vec![event()?];
        for launch in launches {
            // SAFETY: the caller's promise.
            unsafe { self.launch_on(stream, launch)? };
            events.push(event()?);
        }
        // SAFETY: the stream is this GPU's.
        unsafe { result::stream::synchronize(stream) }.map_err(reported)?;
        events.windows(2).map(|pair| pair[0].until(&pair[1]).map_err(reported)).collect()
    }
}

/// An error of this library or the driver's.
pub(super) struct Failure(pub Error);

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self(reported(error))
    }
}
