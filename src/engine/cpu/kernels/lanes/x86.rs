//! Sixteen floats in the registers of x86-64 processors: one of AVX-512, or two of AVX2.

use super::Lanes;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub struct Avx512(__m512);

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every method passes on the promise that its caller makes to the trait"
)]
impl Lanes for Avx512 {
    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self {
        unsafe { Self(_mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, from)) }
    }
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as u16, self.0) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm512_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        unsafe { _mm512_stream_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm512_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { Self(_mm512_fmadd_ps(self.0, a.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(_mm512_div_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(_mm512_max_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { Self(_mm512_min_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        // The exponent's bits alone.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
        }
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> Self {
        unsafe { Self(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a.0, b.0), self.0)) }
    }
    #[inline(always)]
    unsafe fn where_unequal(self, a: Self, b: Self) -> Self {
        unsafe { Self(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a.0, b.0), self.0)) }
    }
    #[inline(always)]
    unsafe fn where_positive(self, a: Self) -> Self {
        unsafe { Self(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a.0, _mm512_setzero_ps()), self.0)) }
    }
    #[inline(always)]
    unsafe fn permuted(self, lanes: &[u32; 16]) -> Self {
        unsafe {
            let lanes = _mm512_loadu_si512(lanes.as_ptr().cast());
            let inside = _mm512_cmplt_epu32_mask(lanes, _mm512_set1_epi32(16));
            Self(_mm512_maskz_permutexvar_ps(inside, lanes, self.0))
        }
    }
}

#[derive(Clone, Copy)]
pub struct Avx2(__m256, __m256);

/// Masks of the first `count` of sixteen lanes.
///
/// # Safety
/// As for [`Lanes`]; at most sixteen.
#[inline(always)]
unsafe fn halves(count: usize) -> [__m256i; 2] {
    static LANES: [i32; 32] = {
        let mut lanes = [0; 32];
        let mut lane = 0;
        while lane < 16 {
            lanes[lane] = -1;
            lane += 1;
        }
        lanes
    };
    // SAFETY: sixteen of the 32 lanes.
    unsafe {
        let first = LANES.as_ptr().add(16 - count);
        [_mm256_loadu_si256(first.cast()), _mm256_loadu_si256(first.add(8).cast())]
    }
}

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every method passes on the promise that its caller makes to the trait"
)]
impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self {
        unsafe {
            let [low, high] = halves(count);
            // What a mask leaves out is not touched.
            Self(_mm256_maskload_ps(from, low), _mm256_maskload_ps(from.wrapping_add(8), high))
        }
    }
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize) {
        // In halves of what is left: masked stores take dozens of cycles on some processors.
        unsafe {
            let (mut to, mut rest) = (to, self.0);
            if count >= 16 {
                return self.store(to);
            }
            if count & 8 != 0 {
                _mm256_storeu_ps(to, rest);
                (to, rest) = (to.add(8), self.1);
            }
            let mut rest = if count & 4 != 0 {
                _mm_storeu_ps(to, _mm256_castps256_ps128(rest));
                to = to.add(4);
                _mm256_extractf128_ps::<1>(rest)
            } else {
                _mm256_castps256_ps128(rest)
            };
            if count & 2 != 0 {
                _mm_storel_pd(to.cast(), _mm_castps_pd(rest));
                to = to.add(2);
                rest = _mm_movehl_ps(rest, rest);
            }
            if count & 1 != 0 {
                _mm_store_ss(to, rest);
            }
        }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        unsafe {
            _mm256_stream_ps(to, self.0);
            _mm256_stream_ps(to.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, a.0, b.0), _mm256_fmadd_ps(self.1, a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { Self(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        #[inline(always)]
        unsafe fn half(n: __m256) -> __m256 {
            unsafe {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            }
        }
        unsafe { Self(half(self.0), half(self.1)) }
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> Self {
        unsafe {
            Self(
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0), self.0),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a.1, b.1), self.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn where_unequal(self, a: Self, b: Self) -> Self {
        unsafe {
            Self(
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(a.0, b.0), self.0),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(a.1, b.1), self.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn where_positive(self, a: Self) -> Self {
        unsafe {
            let zero = _mm256_setzero_ps();
            Self(
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a.0, zero), self.0),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a.1, zero), self.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn permuted(self, lanes: &[u32; 16]) -> Self {
        #[inline(always)]
        unsafe fn half(from: Avx2, lanes: *const u32) -> __m256 {
            unsafe {
                let lanes = _mm256_loadu_si256(lanes.cast());
                // The permutation looks at the lowest three bits; the next says which half, any above that there is
                // none.
                let (low, high) = (_mm256_permutevar8x32_ps(from.0, lanes), _mm256_permutevar8x32_ps(from.1, lanes));
                let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(lanes));
                let above = _mm256_srli_epi32::<4>(lanes);
                let inside = _mm256_castsi256_ps(_mm256_cmpeq_epi32(above, _mm256_setzero_si256()));
                _mm256_and_ps(inside, _mm256_blendv_ps(low, high, upper))
            }
        }
        unsafe { Self(half(self, lanes.as_ptr()), half(self, lanes.as_ptr().add(8))) }
    }
}
