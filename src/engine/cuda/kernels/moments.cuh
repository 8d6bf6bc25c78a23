// Statistics of a tensor from its stored pixels: at the end of the item that wrote them, or in items of their own.

#pragma once

#include "common.cuh"

struct Moments {
    int raw;
    int pixels;
    int each;               // pixels of a slot
    int parts;              // where the partial sums go, times the batch
    int slots;
    int lanes;
};

// Partial sums around a pivot of the pixels of an item. Called by all threads. `scratch`: 144 floats.
__device__ void take_moments(const Pass& pass, const Moments* m, const Item& item, float* scratch) {
    float* pivots = scratch + 128;
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS;
    const float* y = region_of(pass, item) + m->raw + (item.block * m->pixels + item.at) * LANES + 4 * quad;
    if (column == 0) store4(pivots + 4 * quad, load4(y));
    __syncthreads();
    float4 pivot = load4(pivots + 4 * quad), total = zero4(), square = zero4();
    for (int i = column; i < item.count; i += COLUMNS) {
        float4 off = sub4(load4(y + i * LANES), pivot);
        total = add4(total, off);
        square = fma4(off, off, square);
    }
    total = column_sum(total, scratch);
    square = column_sum(square, scratch);
    if (threadIdx.x < QUADS) {
        long long slot = (long long)m->parts * pass.batch +
                         ((long long)item.image * m->slots + item.at / m->each) * 3 * m->lanes;
        float* to = pass.parts + slot + item.block * LANES + 4 * quad;
        store4(to, pivot);
        store4(to + m->lanes, total);
        store4(to + 2 * m->lanes, square);
    }
}
