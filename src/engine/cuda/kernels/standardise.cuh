// Each image's numbers, over all channels and pixels, less their mean and over their standard deviation. An item is a
// whole image. Sums are taken around a first mean, so that nothing cancels.

#pragma once

#include "common.cuh"

struct Standardise {
    int raw;                // the input: stored tensor, pixels, blocks, channels
    int pixels;
    int blocks;
    int channels;
    int filled;             // in the table, by block: how many lanes are filled
    int out;                // the output (backward: its gradient, whose place the input's takes)
};

// Of one image's n numbers: what is around the first mean.
struct Spread {
    float n;
    float centre;
    float off;              // of the mean from the first one
    float inverse;          // 1 / standard deviation
};

// The sum of all lanes of all threads' quads; every thread has it. `scratch`: 32 quads.
__device__ float whole_sum(float4 v, float* scratch) {
    v = column_sum(v, scratch);
    __syncthreads();
    if (threadIdx.x < QUADS) store4(scratch + 4 * threadIdx.x, v);
    __syncthreads();
    float sum = 0.0f;
    for (int l = 0; l < LANES; l++) sum += scratch[l];
    return sum;
}

// The lanes that are filled; the others are zero.
__device__ float4 filled_lanes(const Pass& pass, const Standardise* s, float4 v, int i) {
    int filled = pass.table[s->filled + i / s->pixels] - 4 * (threadIdx.x % QUADS);
    return make_float4(filled > 0 ? v.x : 0.0f, filled > 1 ? v.y : 0.0f, filled > 2 ? v.z : 0.0f,
                       filled > 3 ? v.w : 0.0f);
}

// Pixel i's quad, pixels counted through all blocks, less the first mean.
__device__ float4 off_centre(const Pass& pass, const Standardise* s, const float* x, float centre, int i) {
    float4 v = sub4(load4(x + i * LANES + 4 * (threadIdx.x % QUADS)), make_float4(centre, centre, centre, centre));
    return filled_lanes(pass, s, v, i);
}

__device__ Spread spread_of(const Pass& pass, const Standardise* s, const float* x, float* scratch) {
    int quad = threadIdx.x % QUADS, all = s->blocks * s->pixels;
    Spread spread;
    spread.n = (float)s->pixels * (float)s->channels;
    float4 total = zero4(), square = zero4();
    for (int i = threadIdx.x / QUADS; i < all; i += COLUMNS)
        total = add4(total, filled_lanes(pass, s, load4(x + i * LANES + 4 * quad), i));
    spread.centre = whole_sum(total, scratch) / spread.n;
    total = zero4();
    for (int i = threadIdx.x / QUADS; i < all; i += COLUMNS) {
        float4 off = off_centre(pass, s, x, spread.centre, i);
        total = add4(total, off);
        square = fma4(off, off, square);
    }
    spread.off = whole_sum(total, scratch) / spread.n;
    float variance = fmaf(-spread.off, spread.off, whole_sum(square, scratch) / spread.n);
    spread.inverse = (float)(1.0 / sqrt((double)(variance < 0.0f ? 0.0f : variance) + 1e-5));
    return spread;
}

__device__ void standardise(const Pass& pass, const Item& item, float* scratch) {
    const Standardise* s = TABLE(Standardise, item.what);
    float* region = region_of(pass, item);
    const float* x = region + s->raw;
    Spread of = spread_of(pass, s, x, scratch);
    float shift = -(of.off * of.inverse);
    for (int i = threadIdx.x / QUADS; i < s->blocks * s->pixels; i += COLUMNS) {
        float4 v = scale4(of.inverse, off_centre(pass, s, x, of.centre, i), make_float4(shift, shift, shift, shift));
        store4(region + s->out + i * LANES + 4 * (threadIdx.x % QUADS), filled_lanes(pass, s, v, i));
    }
}

// The input's gradient in the place of the output's.
__device__ void standardise_gradient(const Pass& pass, const Item& item, float* scratch) {
    const Standardise* s = TABLE(Standardise, item.what);
    float* region = region_of(pass, item);
    const float* x = region + s->raw;
    float* dy = region + s->out + 4 * (threadIdx.x % QUADS);
    Spread of = spread_of(pass, s, x, scratch);
    float4 total = zero4(), product = zero4();
    for (int i = threadIdx.x / QUADS; i < s->blocks * s->pixels; i += COLUMNS) {
        float4 g = filled_lanes(pass, s, load4(dy + i * LANES), i);
        total = add4(total, g);
        product = fma4(g, off_centre(pass, s, x, of.centre, i), product);
    }
    float sum = whole_sum(total, scratch), along = fmaf(-of.off, sum, whole_sum(product, scratch));
    float by_x = -(of.inverse * of.inverse * (of.inverse * along / of.n));
    float shift = fmaf(-by_x, of.off, -(of.inverse * (sum / of.n)));
    for (int i = threadIdx.x / QUADS; i < s->blocks * s->pixels; i += COLUMNS) {
        float4 v = scale4(of.inverse, load4(dy + i * LANES), make_float4(shift, shift, shift, shift));
        v = scale4(by_x, off_centre(pass, s, x, of.centre, i), v);
        store4(dy + i * LANES, filled_lanes(pass, s, v, i));
    }
}
