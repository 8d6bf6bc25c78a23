//! Aligned float memory; several threads write to disjoint ranges of it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Bytes: a cache line, which is also the widest register.
const ALIGN: usize = 64;

/// A zeroed block of floats, aligned to cache lines. Untouched pages cost nothing.
pub struct Floats {
    start: *mut f32,
    len: usize,
    /// What the allocator returned, and for which layout. Alignment is done here because the allocator's own aligned
    /// zeroing writes every page at once.
    block: *mut u8,
    layout: Layout,
}

// SAFETY: plain memory; the plan gives each image and each image group a region of its own to write to.
unsafe impl Send for Floats {}
// SAFETY: the same.
unsafe impl Sync for Floats {}

impl Floats {
    /// Aborts where the system does not have that much memory: for benchmarks, which choose their sizes themselves.
    pub fn new(len: usize) -> Self {
        Self::try_new(len).unwrap_or_else(|| handle_alloc_error(Layout::new::<f32>()))
    }

    /// None where the system does not have that much memory, or where the length in bytes overflows.
    pub fn try_new(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<f32>())?.checked_add(ALIGN)?;
        let layout = Layout::from_size_align(bytes, align_of::<f32>()).ok()?;
        // SAFETY: the layout's size is not zero.
        let block = unsafe { alloc_zeroed(layout) };
        if block.is_null() {
            return None;
        }
        // SAFETY: the block is ALIGN bytes longer than the floats.
        let start = unsafe { block.add(block.align_offset(ALIGN)) }.cast::<f32>();
        advise_huge_pages(start, len * size_of::<f32>());
        Some(Self { start, len, block, layout })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the `len` floats from `offset` on, which must lie within; debug builds check that they do. The
    /// pointer may be used for these floats and no others.
    #[inline(always)]
    pub fn at(&self, offset: usize, len: usize) -> *mut f32 {
        debug_assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "floats {offset}..+{len} of {}",
            self.len
        );
        // SAFETY: within the allocation or one past its end: the plan and the tables made with it, in one place, decide
        // both the length and every offset.
        unsafe { self.start.add(offset) }
    }

    /// A pointer to all floats from `offset` on.
    pub fn rest(&self, offset: usize) -> *mut f32 {
        self.at(offset, self.len.saturating_sub(offset))
    }

    pub fn slice_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Floats {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.block, self.layout) }
    }
}

/// Activations are gigabytes, read in many streams: with 4 KiB pages, address translation would cost time of its own.
fn advise_huge_pages(start: *mut f32, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= 1 << 22 {
        let page = 1 << 21;
        let first = (start as usize).next_multiple_of(page);
        let last = (start as usize + bytes) / page * page;
        if first < last {
            // SAFETY: whole pages inside our allocation; advice does not change their contents.
            unsafe { libc::madvise(first as *mut libc::c_void, last - first, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}
