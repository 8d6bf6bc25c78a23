// What all kernels share. One source for the GPU and, behind the tests' shim, for a C++ compiler, and the same bits
// from both: a product that is added is written fmaf(), nothing is contracted, every sum has a fixed order, partial
// sums go to places of their own. No functions of a mathematics library, no float atomics.
//
// Channels lie in blocks of sixteen lanes; a thread works on a quad of them, one float4. `table` holds descriptors as
// rows of ints: the structs below, in the order of their fields. A work item says which descriptor and which part of it
// a block of threads works on. Offsets count floats.

#pragma once

#ifndef SHARED
// Dynamic shared memory, as floats; a name of its own in each file.
#define SHARED(name)                       \
    extern __shared__ float4 name##_all[]; \
    float* name = (float*)name##_all;
#endif

// A function that is called, not copied to where it is used: for what is rare and long.
#ifndef OUTLINE
#define OUTLINE __noinline__
#endif

#define THREADS 256
// How many blocks of threads a multiprocessor must be able to hold at once, which bounds a kernel's registers.
#define AT_LEAST(blocks) __launch_bounds__(THREADS, blocks)
#define LANES 16
#define QUADS 4
// Pixels side by side in a block of threads, and the most that one thread takes.
#define COLUMNS (THREADS / QUADS)
#define MOST 4

struct Pass {
    float* arena;           // a region for each image
    const float* x;         // the images, channels first
    float* dx;
    const float* w;         // flat weights, and their gradient
    float* dw;
    const float* p;         // flat mixing weights
    float* dp;
    float* packed;          // weights in the kernels' order
    const int* packing;     // by packed weight: its index in w, or -1
    float* norms;           // six tables by norm lane: scale, shift, mean, inverse, back_y, back_constant
    double* moments;        // mean and variance by norm lane
    float* parts;           // partial sums
    double* totals;         // sums over the batch, for the backward pass
    const float* noise;     // standard normal numbers, channels first
    const float* factors;   // drop path, by path and image; or null
    float* out;             // the output, and its gradient
    const float* dout;
    const int* table;
    int* counters;          // see rounds.cuh
    long long region;       // of an image
    int batch;
    int norm_lanes;
    int batch_norms;        // whether norms use batch statistics
    int unused;             // a whole number of eight bytes
};

struct Item {
    int what;               // its descriptor in the table
    int at;                 // which part: a strip, or the first pixel
    int block;              // which block of lanes
    int count;              // how much: rows, strips or pixels
    int image;              // not in the table: of which image
};

// A value's gradient where it is not a buffer: what its readers' gradients are multiplied by.
struct Term {
    int gradient;           // in the image's region
    int mixing;             // 0: one, 1: p[slot], 2: by lane
    int slot;               // in p, or the lanes' row of the table
    int drop;               // the drop path, or -1
};

struct Stored {
    int raw;                // the stored tensor
    int norm;               // its norm's first lane, or -1
    int count;              // of terms, which follow
};

#define TABLE(T, at) ((const T*)(pass.table + (at)))

__device__ float4 zero4() { return make_float4(0.0f, 0.0f, 0.0f, 0.0f); }
__device__ float4 load4(const float* at) { return *(const float4*)at; }
__device__ void store4(float* at, float4 v) { *(float4*)at = v; }
__device__ float4 add4(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
__device__ float4 sub4(float4 a, float4 b) { return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w); }
__device__ float4 mul4(float4 a, float4 b) { return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }
__device__ float4 fma4(float4 a, float4 b, float4 c) {
    return make_float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w));
}
__device__ float4 scale4(float a, float4 b, float4 c) {
    return make_float4(fmaf(a, b.x, c.x), fmaf(a, b.y, c.y), fmaf(a, b.z, c.z), fmaf(a, b.w, c.w));
}

__device__ float* region_of(const Pass& pass, const Item& item) { return pass.arena + pass.region * item.image; }

__device__ float mixing_of(const Pass& pass, int mixing, int slot, int lane) {
    if (mixing == 0) return 1.0f;
    if (mixing == 1) return pass.p[slot];
    int factor = pass.table[slot + lane % LANES];
    return factor == -1 ? 1.0f : factor < 0 ? 0.0f : pass.p[factor];
}

// e to the x, from products and sums alone, so that every device gives the same bits.
// (The polynomial and the split of ln 2 are those of Moshier's Cephes library, expf.)
__device__ float exponential(float x) {
    x = x > 88.0f ? 88.0f : x < -87.0f ? -87.0f : x;
    float n = floorf(fmaf(x, 1.44269504f, 0.5f));
    float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, x));
    float sum = 1.9875691500e-4f;
    sum = fmaf(sum, r, 1.3981999507e-3f);
    sum = fmaf(sum, r, 8.3334519073e-3f);
    sum = fmaf(sum, r, 4.1665795894e-2f);
    sum = fmaf(sum, r, 1.6666665459e-1f);
    sum = fmaf(sum, r, 5.0000001201e-1f);
    return (fmaf(sum, r * r, r) + 1.0f) * __int_as_float(((int)n + 127) << 23);
}

__device__ float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

__device__ float tangent(float x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }

// GELU's tangent, in its tanh form.
__device__ float gelu_tangent(float x) { return tangent(0.7978846f * fmaf(0.044715f * x * x, x, x)); }

// Activations by number; 0 is none.
#define RELU 1
#define LEAKY_RELU 2
#define HARD_SWISH 3
#define ELU 4
#define GELU 5
#define SILU 6
#define SIGMOID 7
#define TANH 8

// NaN passes through.
__device__ float activate(int activation, float v) {
    switch (activation) {
    case RELU: return v < 0.0f ? 0.0f : v;
    case LEAKY_RELU: return v > 0.0f ? v : 0.01f * v;
    case HARD_SWISH: {
        float t = v + 3.0f;
        return v * (t < 0.0f ? 0.0f : t > 6.0f ? 6.0f : t) / 6.0f;
    }
    case ELU: return v > 0.0f ? v : exponential(v) - 1.0f;
    case GELU: return 0.5f * v * (1.0f + gelu_tangent(v));
    case SILU: return v * sigmoid(v);
    case SIGMOID: return sigmoid(v);
    case TANH: return tangent(v);
    default: return v;
    }
}

// Its derivative; at a kink from the left.
__device__ float slope(int activation, float v) {
    switch (activation) {
    case RELU: return v > 0.0f ? 1.0f : 0.0f;
    case LEAKY_RELU: return v > 0.0f ? 1.0f : 0.01f;
    case HARD_SWISH: return v <= -3.0f ? 0.0f : v >= 3.0f ? 1.0f : fmaf(2.0f, v, 3.0f) / 6.0f;
    case ELU: return v > 0.0f ? 1.0f : exponential(v);
    case GELU: {
        float t = gelu_tangent(v), inner = 0.7978846f * fmaf(0.134145f * v, v, 1.0f);
        return fmaf(0.5f * v * fmaf(-t, t, 1.0f), inner, 0.5f * (1.0f + t));
    }
    case SILU: {
        float s = sigmoid(v);
        return s * fmaf(v, 1.0f - s, 1.0f);
    }
    case SIGMOID: {
        float s = sigmoid(v);
        return s * (1.0f - s);
    }
    case TANH: {
        float t = tangent(v);
        return fmaf(-t, t, 1.0f);
    }
    default: return 1.0f;
    }
}

// A stored quad seen through its norm (first lane of the norm and lane in it), before any activation.
__device__ float4 normed(const Pass& pass, const float* at, int norm, int lane) {
    float4 v = load4(at);
    if (norm < 0) return v;
    return fma4(v, load4(pass.norms + norm + lane), load4(pass.norms + pass.norm_lanes + norm + lane));
}

__device__ OUTLINE float4 other_activation(int activation, float4 v) {
    return make_float4(activate(activation, v.x), activate(activation, v.y), activate(activation, v.z),
                       activate(activation, v.w));
}

__device__ OUTLINE float4 other_slope(int activation, float4 v) {
    return make_float4(slope(activation, v.x), slope(activation, v.y), slope(activation, v.z), slope(activation, v.w));
}

__device__ float4 rectified(float4 v) {
    return make_float4(v.x < 0.0f ? 0.0f : v.x, v.y < 0.0f ? 0.0f : v.y, v.z < 0.0f ? 0.0f : v.z,
                       v.w < 0.0f ? 0.0f : v.w);
}

// Empty lanes stay zero: `filled` lanes of the block are not, from the quad's first on.
__device__ float4 activated(int activation, float4 v, int filled) {
    if (activation == 0) return v;
    if (activation == RELU) return rectified(v);
    v = other_activation(activation, v);
    return make_float4(filled > 0 ? v.x : 0.0f, filled > 1 ? v.y : 0.0f, filled > 2 ? v.z : 0.0f,
                       filled > 3 ? v.w : 0.0f);
}

__device__ float4 slopes(int activation, float4 v) {
    if (activation == RELU)
        return make_float4(v.x > 0.0f ? 1.0f : 0.0f, v.y > 0.0f ? 1.0f : 0.0f, v.z > 0.0f ? 1.0f : 0.0f,
                           v.w > 0.0f ? 1.0f : 0.0f);
    return other_slope(activation, v);
}

// Coefficients of a stored gradient for the lanes of `blocks` blocks from `first` on, into shared memory: for each
// block a row of sixteen for each term, one for the stored tensor itself and one of constants. Called by all threads;
// a barrier must follow.
__device__ void stored_coefficients(const Pass& pass, const Stored* stored, int first, int blocks, float* rows) {
    const Term* terms = (const Term*)(stored + 1);
    int each = (stored->count + 2) * LANES;
    for (int i = threadIdx.x; i < blocks * each; i += THREADS) {
        int row = i % each / LANES, lane = (first + i / each) * LANES + i % LANES, norm = stored->norm;
        float v = 0.0f;
        if (row < stored->count) {
            v = mixing_of(pass, terms[row].mixing, terms[row].slot, lane);
            if (norm >= 0) v *= pass.norms[norm + lane];
        } else if (norm >= 0 && pass.batch_norms) {
            v = pass.norms[(row == stored->count ? 4 : 5) * pass.norm_lanes + norm + lane];
        }
        rows[i] = v;
    }
}

// v += a stored gradient's quads of every pixel of a strip that is a thread's, from those coefficients: MOST of them,
// COLUMNS apart, from pixel `first` of the tensor on.
__device__ void stored_gradients(float4* v, const Pass& pass, const Stored* stored, const float* rows,
                                 const float* region, int first, int pixels) {
    const Term* terms = (const Term*)(stored + 1);
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS, at[MOST];
    bool centred = stored->norm >= 0 && pass.batch_norms, inside[MOST];
    float4 constant = centred ? load4(rows + (stored->count + 1) * LANES + 4 * quad) : zero4();
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int i = column + k * COLUMNS;
        inside[k] = i < pixels;
        at[k] = (first + (inside[k] ? i : 0)) * LANES + 4 * quad;
        if (inside[k]) v[k] = add4(v[k], constant);
    }
#pragma unroll 2
    for (int t = 0; t < stored->count + (centred ? 1 : 0); t++) {
        const float* from = region + (t < stored->count ? terms[t].gradient : stored->raw);
        float4 by = load4(rows + t * LANES + 4 * quad);
#pragma unroll
        for (int k = 0; k < MOST; k++)
            if (inside[k]) v[k] = fma4(by, load4(from + at[k]), v[k]);
    }
}

// The sum over eight neighbouring columns, which are a warp's.
__device__ float4 folded(float4 v) {
    for (int o = 4; o < 32; o *= 2) {
        v.x += __shfl_xor_sync(0xffffffffu, v.x, o);
        v.y += __shfl_xor_sync(0xffffffffu, v.y, o);
        v.z += __shfl_xor_sync(0xffffffffu, v.z, o);
        v.w += __shfl_xor_sync(0xffffffffu, v.w, o);
    }
    return v;
}

// The sum over the 64 columns of a block of threads, by quad; thread q < 4 holds quad q's. `scratch`: 32 quads.
__device__ float4 column_sum(float4 v, float* scratch) {
    v = folded(v);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    __syncthreads();
    if (lane < QUADS) store4(scratch + 4 * (warp * QUADS + lane), v);
    __syncthreads();
    v = zero4();
    if (threadIdx.x < QUADS)
        for (int w = 0; w < THREADS / 32; w++) v = add4(v, load4(scratch + 4 * (w * QUADS + threadIdx.x)));
    return v;
}
