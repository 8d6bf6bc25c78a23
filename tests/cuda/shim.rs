//! A launcher whose kernels are compiled by the C++ compiler behind `shim.h`.
//!
//! New memory is full of NaN. Before and behind every allocation lies a guard that is looked at after each launch.

use candlewick::engine::cuda::{Address, Launch, Launcher, Room};
use candlewick::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

// SAFETY: a declaration; whoever calls it promises that the arguments are the kernel's.
type Run = unsafe extern "C" fn(
    *const c_char,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    *mut *mut c_void,
    c_uint,
) -> *const c_char;

/// Bytes of a guard, and what is in them.
const GUARD: usize = 256;
const GUARDED: u8 = 0xa5;

/// Memory by address: the whole block with its guards.
type Blocks = BTreeMap<u64, Vec<u128>>;

pub struct Shim {
    run: Run,
    /// The order of threads between two barriers.
    order: u32,
    room: u64,
    blocks: Mutex<Blocks>,
}

/// Compiles a source with these defines into `libraries/NAME`. None without a C++ compiler.
fn compiled(source: &str, name: &str, defines: &[&str]) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libraries").join(name);
    std::fs::create_dir_all(library.parent().expect("a folder")).expect("the folder is made");
    // Another process of the tests may be loading the library at this moment: the finished file takes its place.
    let begun = library.with_extension(std::process::id().to_string());
    let mut compiler = Command::new(std::env::var("CXX").unwrap_or("c++".into()));
    compiler.args(["-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-w", "-ffp-contract=off"]);
    if cfg!(target_arch = "x86_64") {
        compiler.arg("-mfma");
    }
    compiler.args(defines.iter().map(|define| format!("-D{define}")));
    compiler.arg("-I").arg(root.join("src/engine/cuda/kernels")).arg("-o").arg(&begun);
    let output = compiler.arg(root.join("tests/cuda").join(source)).output().ok()?;
    assert!(output.status.success(), "the kernels compile:\n{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&begun, &library).expect("the library takes its place");
    Some(library)
}

fn loaded(library: &Path) -> Run {
    let path = CString::new(library.to_str().expect("a path that is text")).expect("a path without zeros");
    // SAFETY: the library was just compiled and runs nothing when it is loaded; it is never unloaded.
    let symbol = unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!library.is_null(), "the library of the kernels loads");
        libc::dlsym(library, c"shim_launch".as_ptr())
    };
    assert!(!symbol.is_null(), "the library has its function");
    // SAFETY: kernels.cpp declares the function so.
    unsafe { std::mem::transmute::<*mut c_void, Run>(symbol) }
}

/// A driver's library with one GPU, whose kernels run behind the shim. None without a C++ compiler.
#[cfg(all(feature = "gpu", not(feature = "cuda"), target_os = "linux"))]
pub fn driver() -> Option<PathBuf> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| compiled("driver.cpp", "driver/libcuda.so", &[])).clone();
    if library.is_none() {
        crate::require::skipped("there is no C++ compiler");
    }
    library
}

/// The same for a build that links the driver's library and candle's: `.ci/cuda` makes them all before the tests start.
#[cfg(all(feature = "cuda", target_os = "linux"))]
pub fn driver() -> Option<PathBuf> {
    let library = std::env::var_os("CANDLEWICK_STAND_IN").map(PathBuf::from);
    if library.is_none() {
        crate::require::skipped("there is no stand-in for the driver: `bash .ci/cuda` makes one");
    }
    library
}

/// How often this program waited for bytes of the stand-in since it was last asked, and for how many at the
/// most; none on a real GPU.
#[cfg(feature = "cuda")]
pub fn reads() -> Option<(i32, usize)> {
    // SAFETY: the symbol is looked for among the libraries that are loaded.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"shim_reads".as_ptr()) };
    if symbol.is_null() {
        return None;
    }
    // SAFETY: driver.cpp declares the function so.
    let ask = unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut usize) -> i32>(symbol) };
    let mut most = 0;
    // SAFETY: it writes one number.
    let count = unsafe { ask(&mut most) };
    Some((count, most))
}

impl Shim {
    /// The kernels as they are. None without a C++ compiler, which the calling test then says.
    pub fn new(order: u32) -> Option<Self> {
        static RUN: OnceLock<Option<Run>> = OnceLock::new();
        let run = *RUN.get_or_init(|| compiled("kernels.cpp", "plain/kernels.so", &[]).map(|library| loaded(&library)));
        Self::on(run, order)
    }

    /// The kernels with a barrier left out.
    pub fn without_a_barrier(order: u32) -> Option<Self> {
        static RUN: OnceLock<Option<Run>> = OnceLock::new();
        let run = *RUN.get_or_init(|| {
            compiled("kernels.cpp", "broken/kernels.so", &["DROP_BARRIER"]).map(|library| loaded(&library))
        });
        Self::on(run, order)
    }

    fn on(run: Option<Run>, order: u32) -> Option<Self> {
        if run.is_none() {
            crate::require::skipped("there is no C++ compiler");
        }
        Some(Self { run: run?, order, room: 4 << 30, blocks: Mutex::default() })
    }

    /// The same with so many bytes of memory.
    pub fn with_room(self, room: u64) -> Self {
        Self { room, ..self }
    }

    fn taken(blocks: &Blocks) -> u64 {
        blocks.values().map(|block| (16 * block.len() - 2 * GUARD) as u64).sum()
    }

    /// Where a range begins in its block; fails where it is not within one.
    fn within(blocks: &mut Blocks, at: Address, len: usize) -> &mut [u8] {
        let (from, block) = blocks.range_mut(..=at.0).next_back().expect("the address was allocated");
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(block);
        let first = GUARD + (at.0 - from) as usize;
        assert!(first + len + GUARD <= bytes.len(), "{len} bytes at {} of a block", at.0 - from);
        &mut bytes[first..first + len]
    }
}

impl Launcher for Shim {
    fn name(&self) -> String {
        "the shim".into()
    }

    fn room(&self) -> Result<Room> {
        let taken = Self::taken(&self.blocks.lock().unwrap());
        Ok(Room { free: self.room.saturating_sub(taken), total: self.room })
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        let mut blocks = self.blocks.lock().unwrap();
        if Self::taken(&blocks) + bytes as u64 > self.room {
            return Err(Error::user("out of memory"));
        }
        let len = bytes.div_ceil(16) + 2 * GUARD / 16;
        let mut block = vec![u128::MAX; len];
        let all: &mut [u8] = bytemuck::cast_slice_mut(&mut block);
        let end = GUARD + bytes;
        all[..GUARD].fill(GUARDED);
        all[end..].fill(GUARDED);
        let at = all.as_ptr() as u64 + GUARD as u64;
        blocks.insert(at, block);
        Ok(Address(at))
    }

    unsafe fn release(&self, at: Address) {
        self.blocks.lock().unwrap().remove(&at.0);
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<()> {
        Self::within(&mut self.blocks.lock().unwrap(), to, bytes.len()).copy_from_slice(bytes);
        Ok(())
    }

    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(Self::within(&mut self.blocks.lock().unwrap(), from, bytes.len()));
        Ok(())
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()> {
        let mut between = vec![0; bytes];
        // SAFETY: the caller's promise, which is looked at too.
        unsafe {
            self.download(from, &mut between)?;
            self.upload(to, &between)
        }
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        let blocks = self.blocks.lock().unwrap();
        let name = CString::new(launch.kernel).expect("a name without zeros");
        // Aligned as the kernels expect it.
        let mut arguments: Vec<Vec<u64>> = launch
            .arguments
            .iter()
            .map(|bytes| {
                let mut words = vec![0u64; bytes.len().div_ceil(8)];
                bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..bytes.len()].copy_from_slice(bytes);
                words
            })
            .collect();
        let mut pointers: Vec<*mut c_void> = arguments.iter_mut().map(|words| words.as_mut_ptr().cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: the caller's promise; kernels.cpp knows the kernels' arguments.
        let failure = unsafe {
            (self.run)(name.as_ptr(), x, y, z, launch.threads, launch.shared, pointers.as_mut_ptr(), self.order)
        };
        if !failure.is_null() {
            // SAFETY: a text that the library holds.
            let text = unsafe { CStr::from_ptr(failure) }.to_string_lossy();
            return Err(Error::run(format!("{}: {text}", launch.kernel)));
        }
        for block in blocks.values() {
            let bytes: &[u8] = bytemuck::cast_slice(block);
            let guards = bytes[..GUARD].iter().chain(&bytes[bytes.len() - GUARD..]);
            if guards.into_iter().any(|byte| *byte != GUARDED) {
                return Err(Error::run(format!("{} wrote past the end of a buffer", launch.kernel)));
            }
        }
        Ok(())
    }
}
