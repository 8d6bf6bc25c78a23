// Weighted sums: a node of a cell is one pass over memory, and its backward pass one set of dot products.

#pragma once

#include "common.cuh"

struct Sum {
    int raw;                // the output
    int pixels;
    int count;              // of terms, which follow
};

struct Summand {
    int raw;
    int norm;               // or -1
    int mixing;
    int slot;
    int drop;               // the drop path, or -1
};

// Norms and mixing weights become one coefficient for each term and lane.
__device__ void sum_forward(const Pass& pass, const Item& item, float* rows) {
    const Sum* sum = TABLE(Sum, item.what);
    const Summand* terms = (const Summand*)(sum + 1);
    float* region = region_of(pass, item);
    for (int i = threadIdx.x; i < sum->count * LANES; i += THREADS) {
        const Summand* term = terms + i / LANES;
        int lane = item.block * LANES + i % LANES;
        float v = mixing_of(pass, term->mixing, term->slot, lane);
        if (term->drop >= 0 && pass.factors) v *= pass.factors[(long long)term->drop * pass.batch + item.image];
        if (term->norm >= 0) v *= pass.norms[term->norm + lane];
        rows[LANES + i] = v;
    }
    if (threadIdx.x < LANES) {
        int lane = item.block * LANES + threadIdx.x;
        float bias = 0.0f;
        for (int t = 0; t < sum->count; t++) {
            if (terms[t].norm < 0) continue;
            float v = mixing_of(pass, terms[t].mixing, terms[t].slot, lane);
            if (terms[t].drop >= 0 && pass.factors)
                v *= pass.factors[(long long)terms[t].drop * pass.batch + item.image];
            bias = fmaf(v, pass.norms[pass.norm_lanes + terms[t].norm + lane], bias);
        }
        rows[threadIdx.x] = bias;
    }
    __syncthreads();
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS, at[MOST];
    float4 v[MOST], bias = load4(rows + 4 * quad);
    bool inside[MOST];
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int i = column + k * COLUMNS;
        inside[k] = i < item.count;
        at[k] = (item.block * sum->pixels + item.at + i) * LANES + 4 * quad;
        v[k] = bias;
    }
#pragma unroll 2
    for (int t = 0; t < sum->count; t++) {
        float4 by = load4(rows + (1 + t) * LANES + 4 * quad);
        const float* from = region + terms[t].raw;
#pragma unroll
        for (int k = 0; k < MOST; k++)
            if (inside[k]) v[k] = fma4(by, load4(from + at[k]), v[k]);
    }
#pragma unroll
    for (int k = 0; k < MOST; k++)
        if (inside[k]) store4(region + sum->raw + at[k], v[k]);
}

struct Dots {
    int gradient;
    int pixels;
    int each;               // pixels of a slot
    int parts;              // where the partial sums go, times the batch
    int slots;
    int lanes;
    int count;              // of stored tensors, whose places follow; -1: not needed
};

// Sums that wait for the other warps of a block at a time.
#define WAITING 32

// The sum of a quad over a warp's eight columns, into its place among the warps'.
__device__ void leave(float4 v, int number, float4 (*sums)[THREADS / 32][QUADS]) {
    v = folded(v);
    int lane = threadIdx.x % 32;
    if (lane < QUADS) sums[number][threadIdx.x / 32][lane] = v;
}

// The sum of g, and of g times each stored tensor.
__device__ void dots(const Pass& pass, const Item& item, float* scratch) {
    float4 (*sums)[THREADS / 32][QUADS] = (float4(*)[THREADS / 32][QUADS])scratch;
    const Dots* d = TABLE(Dots, item.what);
    const int* raws = (const int*)(d + 1);
    const float* region = region_of(pass, item);
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS;
    int at = (item.block * d->pixels + item.at) * LANES + 4 * quad;
    float4 g[MOST];
    float4 total = zero4();
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int i = column + k * COLUMNS;
        g[k] = i < item.count ? load4(region + d->gradient + at + i * LANES) : zero4();
        total = add4(total, g[k]);
    }
    long long slot = (long long)d->parts * pass.batch +
                     ((long long)item.image * d->slots + item.at / d->each) * (1 + d->count) * d->lanes;
    float* to = pass.parts + slot + item.block * LANES;
    leave(total, 0, sums);
    // Sum n is of stored tensor n - 1; those of a round wait at n - begin.
    for (int begin = 0; begin <= d->count; begin += WAITING) {
        int end = begin + WAITING < d->count + 1 ? begin + WAITING : d->count + 1;
#pragma unroll 2
        for (int n = begin > 1 ? begin : 1; n < end; n++) {
            total = zero4();
            if (raws[n - 1] >= 0)
#pragma unroll
                for (int k = 0; k < MOST; k++) {
                    int i = column + k * COLUMNS;
                    if (i < item.count) total = fma4(g[k], load4(region + raws[n - 1] + at + i * LANES), total);
                }
            leave(total, n - begin, sums);
        }
        __syncthreads();
        for (int i = threadIdx.x; i < (end - begin) * QUADS; i += THREADS) {
            float4 all = zero4();
            for (int w = 0; w < THREADS / 32; w++) all = add4(all, sums[i / QUADS][w][i % QUADS]);
            store4(to + (begin + i / QUADS) * d->lanes + 4 * (i % QUADS), all);
        }
        __syncthreads();
    }
}
