// What candle's own kernels use of CUDA C beyond what shim.h has, so that the C++ compiler takes their sources, those
// in single and double precision and in whole numbers. Half precision is left out as for old GPUs (no __CUDA_ARCH__).
// Blocks run one after another and threads in turns, so atomic operations are plain ones.
#pragma once
#include "../shim.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <type_traits>

// Not filled with NaN: shared memory of templates cannot lie in one section.
#undef __shared__
#define __shared__ static
#undef __device__
#define __device__
#define __host__
#define __forceinline__ inline
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0

static dim3 block_shape;
#define blockDim block_shape

namespace cuda {
namespace std {
using ::std::numeric_limits;
}
}  // namespace cuda
using std::isnan;
using std::max;
using std::min;
using std::signbit;

template <class To, class From>
static To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
static inline float __uint_as_float(unsigned bits) { return bits_as<float>(bits); }
static inline unsigned __float_as_uint(float value) { return bits_as<unsigned>(value); }
static inline int __float_as_int(float value) { return bits_as<int>(value); }
static inline double __longlong_as_double(long long bits) { return bits_as<double>(bits); }
static inline long long __double_as_longlong(double value) { return bits_as<long long>(value); }
static inline float normcdff(float x) { return 0.5f * std::erfc(-x * 0.70710678f); }
static inline double normcdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752); }

template <class T, class A>
static T atomicAdd(T* at, A by) {
    T old = *at;
    return *at = T(old + by), old;
}
template <class T, class A>
static T atomicMax(T* at, A value) {
    T old = *at;
    return *at = std::max(old, T(value)), old;
}
template <class T, class A>
static T atomicMin(T* at, A value) {
    T old = *at;
    return *at = std::min(old, T(value)), old;
}
template <class T, class A, class B>
static T atomicCAS(T* at, A expected, B value) {
    T old = *at;
    if (old == T(expected)) *at = T(value);
    return old;
}

struct float2 {
    float x, y;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
static inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
static inline float __shfl_xor_sync(unsigned mask, float value, int by, int) {
    return __shfl_xor_sync(mask, value, by);
}
static inline double __shfl_xor_sync(unsigned, double, int, int) { std::abort(); }

// Named in signatures and casts; no value of these is ever made.
struct __half {
    unsigned short bits;
};
static inline unsigned short __half_as_ushort(__half value) { return value.bits; }
static inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
static inline __half __hmax_nan(__half, __half) { std::abort(); }
static inline __half __hmin_nan(__half, __half) { std::abort(); }
static inline float __half2float(__half) { std::abort(); }
static const int __NV_E4M3 = 0;
struct __nv_fp8_e4m3 {
    unsigned char __x;
    __nv_fp8_e4m3() {}
    template <class T>
    explicit __nv_fp8_e4m3(T) {
        std::abort();
    }
};
static inline __half __nv_cvt_fp8_to_halfraw(unsigned char, int) { std::abort(); }
