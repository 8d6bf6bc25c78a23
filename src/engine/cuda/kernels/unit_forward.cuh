// Units forward.

#pragma once

#include "unit.cuh"

// Partial sums of a strip for statistics: of each lane its pivot, which is the first pixel's, then the sums of what is
// off it and of the squares of that. `each` blocks from `first` on; `scratch`: 8 * THREADS floats
// and all lanes' pivots.
__device__ void measure(const Pass& pass, const Unit* u, const Item& item, const Corner& at, const float4* sums,
                        int first, int each, int pixels, float* scratch) {
    int out_lanes = u->out_blocks * LANES, blocks = u->out_blocks - first < each ? u->out_blocks - first : each;
    float* pivots = scratch + 8 * THREADS;
    __syncthreads();
    if (at.active && at.column == 0) store4(pivots + at.to * LANES + 4 * at.quad, sums[0]);
    __syncthreads();
    float4 pivot = load4(pivots + at.to * LANES + 4 * at.quad), total = zero4(), square = zero4();
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        if (!at.active || at.column + k * at.columns >= pixels) continue;
        float4 off = sub4(sums[k], pivot);
        total = add4(total, off);
        square = fma4(off, off, square);
    }
    // Where eight neighbouring columns are of one block of the output, a warp adds them up first.
    int fold = at.columns % 8 ? 1 : 8, quads = blocks * QUADS;
    if (fold == 8) {
        total = folded(total);
        square = folded(square);
    }
    if (at.active && at.column % fold == 0) {
        float* to = scratch + 8 * (at.column / fold * quads + (at.to - first) * QUADS + at.quad);
        store4(to, total);
        store4(to + 4, square);
    }
    __syncthreads();
    long long slot = (long long)u->parts * pass.batch + ((long long)item.image * u->slots + item.at) * 3 * out_lanes;
    float* parts = pass.parts + slot + first * LANES;
    for (int i = threadIdx.x; i < 2 * blocks * LANES; i += THREADS) {
        int lane = i % (blocks * LANES), which = i / (blocks * LANES);
        float sum = 0.0f;
        for (int c = 0; c < at.columns / fold; c++)
            sum += scratch[8 * (c * quads + lane / 4) + 4 * which + lane % 4];
        if (which == 0) parts[lane] = pivots[first * LANES + lane];
        parts[(1 + which) * out_lanes + lane] = sum;
    }
}

// The dense part of a strip and its statistics.
__device__ void dense_forward(const Pass& pass, const Unit* u, float* region, const Item& item, float* middle,
                              float* scratch) {
    int rows = item.count, row = item.at * u->rows, pixels = rows * u->out_width, out_lanes = u->out_blocks * LANES;
    int each;
    const float* all = pass.packed + u->dense;
    bool copy = has_middle(u) && has_copy(u->blocks * u->out_blocks, out_lanes);
    if (copy) copy_matrix(all, u->blocks * u->out_blocks, scratch);
    for (int block = 0; block < u->out_blocks; block += each) {
        Corner at = corner(block, u->out_blocks, pixels, &each);
        float4 sums[MOST];
        float4 bias = u->bias >= 0 ? load4(pass.packed + u->bias + at.to * LANES + 4 * at.quad) : zero4();
#pragma unroll
        for (int k = 0; k < MOST; k++) sums[k] = bias;
        const float* matrix = all + at.to * LANES;
        // Apart, so that the compiler knows which memory it reads.
        if (copy) {
            multiply(sums, at, middle, u->blocks, pixels, pixels * LANES, copy_of(scratch) + at.to * LANES, out_lanes);
        } else if (has_middle(u)) {
            multiply(sums, at, middle, u->blocks, pixels, pixels * LANES, matrix, out_lanes);
        } else {
            for (int tap = 0; tap < u->taps; tap++) {
                __syncthreads();
                load_tap(pass, u, region, 0, u->blocks, tap, row, rows, middle, pixels * LANES);
                __syncthreads();
                multiply(sums, at, middle, u->blocks, pixels, pixels * LANES,
                         matrix + tap * u->blocks * LANES * out_lanes, out_lanes);
            }
        }
        float* out = region + u->out + ((at.to * u->out_height + row) * u->out_width + at.column) * LANES + 4 * at.quad;
#pragma unroll
        for (int k = 0; k < MOST; k++)
            if (at.active && at.column + k * at.columns < pixels) store4(out + k * at.columns * LANES, sums[k]);
        if (u->parts >= 0 && pass.batch_norms) measure(pass, u, item, at, sums, block, each, pixels, scratch);
    }
}

// One strip. Shared: what the dense part reads of every block (without a dense
// part, of a group), then the depthwise weights of a group and its tiles, whose place is scratch later.
__device__ void unit_forward(const Pass& pass, const Item& item, float* shared) {
    const Unit* u = TABLE(Unit, item.what);
    float* region = region_of(pass, item);
    int row = item.at * u->rows, rows = item.count, pixels = rows * u->out_width;
    float* middle = shared;
    float* weights = middle + (u->dense >= 0 ? u->blocks : u->group) * pixels * LANES;
    float* tile = weights + (u->grid ? u->group * u->taps * LANES : 0);
    if (u->depthwise >= 0) {
        for (int block = 0; block < u->blocks; block += u->group) {
            int blocks = u->blocks - block < u->group ? u->blocks - block : u->group;
            if (u->grid) load_weights(pass, u, block, blocks, weights);
            for (int of = 0; of < blocks; of++)
                load_tile(pass, u, region, block + of, row, rows, tile + of * tile_len(u, rows));
#ifndef DROP_BARRIER
            __syncthreads();
#endif
            depthwise(pass, u, block, blocks, rows, tile, middle + (u->dense >= 0 ? block * pixels * LANES : 0));
            __syncthreads();
            if (u->dense >= 0) continue;
            for (int of = 0; of < blocks; of++)
                for (int i = threadIdx.x; i < pixels * QUADS; i += THREADS)
                    store4(region + u->out + ((block + of) * u->out_height + row) * u->out_width * LANES + 4 * i,
                           load4(middle + of * pixels * LANES + 4 * i));
            __syncthreads();
        }
        if (u->dense < 0) return;
    } else if (u->taps == 1) {
        load_tap(pass, u, region, 0, u->blocks, 0, row, rows, middle, pixels * LANES);
        __syncthreads();
    }
    dense_forward(pass, u, region, item, middle, tile);
}
