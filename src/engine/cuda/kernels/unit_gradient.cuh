// Units backward, first half: an output's gradient through the dense part, and the weights' gradients.

#pragma once

#include "unit.cuh"

// gradient (16 x 16, rows `row` apart) = the products of two sets of pixels' lanes: a thread takes four by four of them
// over a sixteenth of the pixels. `scratch`: 16 * 256 floats.
__device__ void outer_product(float* gradient, int row, const float* x, const float* dy, int pixels, float* scratch) {
    int tile = threadIdx.x % 16, part = threadIdx.x / 16, i = tile / 4 * 4, o = tile % 4 * 4;
    float4 a = zero4(), b = zero4(), c = zero4(), d = zero4();
    for (int pixel = part; pixel < pixels; pixel += 16) {
        float4 from = load4(x + pixel * LANES + i), to = load4(dy + pixel * LANES + o);
        a = scale4(from.x, to, a);
        b = scale4(from.y, to, b);
        c = scale4(from.z, to, c);
        d = scale4(from.w, to, d);
    }
    __syncthreads();
    float* own = scratch + part * LANES * LANES + i * LANES + o;
    store4(own, a);
    store4(own + LANES, b);
    store4(own + 2 * LANES, c);
    store4(own + 3 * LANES, d);
    __syncthreads();
    float sum = 0.0f;
    for (int p = 0; p < 16; p++) sum += scratch[p * LANES * LANES + threadIdx.x];
    gradient[threadIdx.x / LANES * row + threadIdx.x % LANES] = sum;
}

// The same of several blocks: a thread takes four lanes of one side and W quads of the other, over all pixels or, where
// there are few of these, over one of several parts of them, whose sums the first part adds up in `scratch`.
template <int W>
__device__ void outer_tiles(float* gradient, const float* x, int blocks, const float* dy, int out_blocks, int pixels,
                            float* scratch) {
    int row = out_blocks * LANES, across = out_blocks * QUADS / W, tiles = blocks * QUADS * across;
    int parts = tiles < THREADS ? THREADS / tiles : 1, part = threadIdx.x / tiles;
    if (parts == 1) part = 0;
    for (int tile = parts == 1 ? threadIdx.x : threadIdx.x % tiles; tile < tiles; tile += THREADS) {
        int o = tile % across * W, i = tile / across;
        const float* from = x + i / QUADS * pixels * LANES + i % QUADS * 4;
        const float* to[W];
        float4 sums[4][W];
#pragma unroll
        for (int q = 0; q < W; q++) {
            to[q] = dy + (o + q) / QUADS * pixels * LANES + (o + q) % QUADS * 4;
            for (int l = 0; l < 4; l++) sums[l][q] = zero4();
        }
        if (part < parts)
#pragma unroll 2
            for (int pixel = part; pixel < pixels; pixel += parts) {
                float4 own = load4(from + pixel * LANES);
#pragma unroll
                for (int q = 0; q < W; q++) {
                    float4 other = load4(to[q] + pixel * LANES);
                    sums[0][q] = scale4(own.x, other, sums[0][q]);
                    sums[1][q] = scale4(own.y, other, sums[1][q]);
                    sums[2][q] = scale4(own.z, other, sums[2][q]);
                    sums[3][q] = scale4(own.w, other, sums[3][q]);
                }
            }
        if (parts > 1) {
            float* kept = scratch + (part - 1) * tiles * 16 * W + tile * 4;
            __syncthreads();
            if (part > 0 && part < parts)
#pragma unroll
                for (int n = 0; n < 4 * W; n++) store4(kept + n * tiles * 4, sums[n / W][n % W]);
            __syncthreads();
            if (part > 0) continue;
            for (int p = 1; p < parts; p++)
#pragma unroll
                for (int n = 0; n < 4 * W; n++)
                    sums[n / W][n % W] =
                        add4(sums[n / W][n % W], load4(scratch + ((p - 1) * 4 * W + n) * tiles * 4 + tile * 4));
        }
        float* at = gradient + 4 * i * row + 4 * o;
#pragma unroll
        for (int n = 0; n < 4 * W; n++) store4(at + n / W * row + n % W * 4, sums[n / W][n % W]);
    }
}

// gradient (all lanes of the input x all of the output) = the same.
__device__ OUTLINE void outer_products(float* gradient, const float* x, int blocks, const float* dy, int out_blocks,
                                       int pixels, float* scratch) {
    if (blocks * out_blocks == 1) return outer_product(gradient, LANES, x, dy, pixels, scratch);
    if (blocks * out_blocks < 9) return outer_tiles<1>(gradient, x, blocks, dy, out_blocks, pixels, scratch);
    outer_tiles<2>(gradient, x, blocks, dy, out_blocks, pixels, scratch);
}

// Gradients of a grid's depthwise weights, of `blocks` blocks whose tiles are there: the products of the tiles' pixels
// under each tap and the gradients of what the taps made. With `again`, that is made once more, in the gradients'
// place. The tiles' place is scratch at the end.
template <int K, int D, int S>
__device__ void grid_weights(const Unit* u, int blocks, int rows, float* tile, float* behind, bool again,
                             float* gradient) {
    Share share = share_of(u, rows);
    int lane = threadIdx.x % LANES, step = tile_step(u), width = u->out_width;
    float sums[K * K];
#pragma unroll
    for (int t = 0; t < K * K; t++) sums[t] = 0.0f;
    const float* from = tile + share.of * tile_len(u, rows) + lane;
    const float* dy = behind + share.of * rows * width * LANES + lane;
    for (int run = share.part; run < share.runs && share.of < blocks; run += share.parts) {
        int r = run % rows, c = run / rows * RUN;
        float d[RUN];
#pragma unroll
        for (int p = 0; p < RUN; p++) d[p] = c + p < width ? dy[(r * width + c + p) * LANES] : 0.0f;
        const float* at = from + (r * S * step + c * S) * LANES;
#pragma unroll
        for (int i = 0; i < K; i++) {
            float window[(RUN - 1) * S + (K - 1) * D + 1];
#pragma unroll
            for (int j = 0; j < (RUN - 1) * S + (K - 1) * D + 1; j++) window[j] = at[(i * D * step + j) * LANES];
#pragma unroll
            for (int k = 0; k < K; k++)
#pragma unroll
                for (int p = 0; p < RUN; p++)
                    sums[i * K + k] = fmaf(window[p * S + k * D], d[p], sums[i * K + k]);
        }
    }
    __syncthreads();
    if (again) grid_depthwise<K, D, S>(u, blocks, rows, tile, behind);
    __syncthreads();
    int warp = threadIdx.x / 32, warps = share.parts / 2;
#pragma unroll
    for (int t = 0; t < K * K; t++) {
        float sum = sums[t] + __shfl_xor_sync(0xffffffffu, sums[t], 16);
        if (threadIdx.x % 32 < LANES) tile[(warp * K * K + t) * LANES + lane] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < blocks * K * K * LANES; i += THREADS) {
        int of = i / LANES / (K * K), t = i / LANES % (K * K);
        float sum = 0.0f;
        for (int w = 0; w < warps; w++) sum += tile[((of * warps + w) * K * K + t) * LANES + i % LANES];
        gradient[(t * u->blocks + of) * LANES + i % LANES] = sum;
    }
}

// The same for any taps, of one block: a thread takes a quad of one tap over one of several parts of the pixels.
// `scratch`: THREADS quads.
__device__ void any_weights(const Pass& pass, const Unit* u, int block, int rows, const float* tile, float* behind,
                            bool again, float* gradient, float* scratch) {
    int step = tile_step(u), pixels = rows * u->out_width;
    const int* taps = pass.table + u->tap_at;
    int most = THREADS / QUADS;
    for (int first = 0; first < u->taps; first += most) {
        int count = u->taps - first < most ? u->taps - first : most, parts = most / count;
        int quad = threadIdx.x % QUADS, tap = threadIdx.x / QUADS % count, part = threadIdx.x / QUADS / count;
        float4 sum = zero4();
        if (part < parts) {
            int shift_r = taps[2 * (first + tap)] - u->least_r, shift_c = taps[2 * (first + tap) + 1] - u->least_c;
            for (int pixel = part; pixel < pixels; pixel += parts) {
                int r = pixel / u->out_width * u->stride_r, c = pixel % u->out_width * u->stride_c;
                int at = (r + shift_r) * step + c + shift_c;
                sum = fma4(load4(tile + at * LANES + 4 * quad), load4(behind + pixel * LANES + 4 * quad), sum);
            }
        }
        __syncthreads();
        store4(scratch + 4 * threadIdx.x, sum);
        __syncthreads();
        if ((int)threadIdx.x < count * QUADS) {
            float4 all = zero4();
            for (int p = 0; p < parts; p++)
                all = add4(all, load4(scratch + 4 * (p * count * QUADS + threadIdx.x)));
            store4(gradient + (first + threadIdx.x / QUADS) * u->blocks * LANES + 4 * quad, all);
        }
    }
    __syncthreads();
    if (again) any_depthwise(pass, u, block, rows, tile, behind);
}

__device__ void depthwise_weights(const Pass& pass, const Unit* u, int block, int blocks, int rows, float* tile,
                                  float* behind, bool again, float* gradient) {
    switch (u->grid) {
    case GRID(3, 1, 1): return grid_weights<3, 1, 1>(u, blocks, rows, tile, behind, again, gradient);
    case GRID(5, 1, 1): return grid_weights<5, 1, 1>(u, blocks, rows, tile, behind, again, gradient);
    case GRID(3, 2, 1): return grid_weights<3, 2, 1>(u, blocks, rows, tile, behind, again, gradient);
    case GRID(5, 2, 1): return grid_weights<5, 2, 1>(u, blocks, rows, tile, behind, again, gradient);
    case GRID(3, 1, 2): return grid_weights<3, 1, 2>(u, blocks, rows, tile, behind, again, gradient);
    case GRID(5, 1, 2): return grid_weights<5, 1, 2>(u, blocks, rows, tile, behind, again, gradient);
    case GRID(3, 2, 2): return grid_weights<3, 2, 2>(u, blocks, rows, tile, behind, again, gradient);
    case GRID(5, 2, 2): return grid_weights<5, 2, 2>(u, blocks, rows, tile, behind, again, gradient);
    default:
        any_weights(pass, u, block, rows, tile, behind, again, gradient, tile + tile_len(u, rows));
    }
}

// What is behind the dense part of a strip: the gradient of what the taps made, into the plane too.
__device__ void dense_backward(const Pass& pass, const Unit* u, float* region, int row, int pixels, const float* dy,
                               float* behind, float* scratch) {
    int in_lanes = u->blocks * LANES, each;
    const float* matrix = pass.packed + u->transposed;
    bool copy = has_copy(u->blocks * u->out_blocks, in_lanes);
    if (copy) copy_matrix(matrix, u->blocks * u->out_blocks, scratch);
    for (int block = 0; block < u->blocks; block += each) {
        Corner at = corner(block, u->blocks, pixels, &each);
        float4 sums[MOST];
#pragma unroll
        for (int k = 0; k < MOST; k++) sums[k] = zero4();
        if (copy) multiply(sums, at, dy, u->out_blocks, pixels, copy_of(scratch) + at.to * LANES, in_lanes);
        else multiply(sums, at, dy, u->out_blocks, pixels, matrix + at.to * LANES, in_lanes);
        float* plane = region + u->plane + (at.to * u->out_height + row) * u->out_width * LANES;
#pragma unroll
        for (int k = 0; k < MOST; k++) {
            int i = at.column + k * at.columns;
            if (!at.active || i >= pixels) continue;
            store4(behind + (at.to * pixels + i) * LANES + 4 * at.quad, sums[k]);
            store4(plane + i * LANES + 4 * at.quad, sums[k]);
        }
    }
}

// Backward, first half: the output's gradient through the dense part into the plane of what the taps made, and the
// weights' gradients. An item is a strip, `block` its place among those that keep weights' gradients. Shared: the
// coefficients of the stored gradient and its strip, in every output block; the strip behind it in every input block
// (of several taps and a dense part, in one); the depthwise weights of a group and its tiles, whose place is scratch
// later.
__device__ void unit_gradient(const Pass& pass, const Item& item, float* shared) {
    const Unit* u = TABLE(Unit, item.what);
    const Stored* stored = TABLE(Stored, u->stored);
    float* region = region_of(pass, item);
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS;
    int in_lanes = u->blocks * LANES, out_lanes = u->out_blocks * LANES, coefficients = (stored->count + 2) * LANES;
    int row = item.at * u->rows, rows = u->out_height - row < u->rows ? u->out_height - row : u->rows;
    int pixels = rows * u->out_width;
    bool middle = has_middle(u);
    float* dy = shared + coefficients * u->out_blocks;
    float* behind = dy + u->out_blocks * pixels * LANES;
    float* taps = behind + (middle ? u->blocks : u->dense >= 0 ? 1 : 0) * pixels * LANES;
    float* tile = taps + (u->grid ? u->group * u->taps * LANES : 0);
    float* weights = 0;
    if (u->weights >= 0) {
        long long slot = (long long)u->weights * pass.batch +
                         ((long long)item.image * u->weight_slots + item.block) * u->weight_len;
        weights = pass.parts + slot;
    }
    float* dense_weights = weights + (u->depthwise >= 0 ? u->taps * in_lanes : 0);
    stored_coefficients(pass, stored, 0, u->out_blocks, shared);
    __syncthreads();
    for (int block = 0; block < u->out_blocks; block++) {
        int plane = (block * u->out_height + row) * u->out_width;
        float4 total = zero4(), v[MOST];
        stored_gradients(v, pass, stored, shared + block * coefficients, region, plane, pixels);
#pragma unroll
        for (int k = 0; k < MOST; k++) {
            int i = column + k * COLUMNS;
            if (i >= pixels) continue;
            store4(dy + (block * pixels + i) * LANES + 4 * quad, v[k]);
            if (!middle) store4(region + u->plane + (plane + i) * LANES + 4 * quad, v[k]);
            total = add4(total, v[k]);
        }
        if (weights && u->bias >= 0) {
            total = column_sum(total, tile);
            int matrices = middle ? 1 : u->taps;
            if (threadIdx.x < QUADS)
                store4(dense_weights + matrices * in_lanes * out_lanes + block * LANES + 4 * quad, total);
        }
    }
    __syncthreads();
    if (middle) {
        dense_backward(pass, u, region, row, pixels, dy, behind, tile);
        __syncthreads();
    }
    if (!weights) return;
    if (u->depthwise >= 0) {
        float* from = middle ? behind : dy;
        for (int block = 0; block < u->blocks; block += u->group) {
            int blocks = u->blocks - block < u->group ? u->blocks - block : u->group;
            if (u->grid && middle) load_weights(pass, u, block, blocks, taps);
            for (int of = 0; of < blocks; of++)
                load_tile(pass, u, region, block + of, row, rows, tile + of * tile_len(u, rows));
            __syncthreads();
            depthwise_weights(pass, u, block, blocks, rows, tile, from + block * pixels * LANES, middle,
                              weights + block * LANES);
            __syncthreads();
        }
        if (middle)
            outer_products(dense_weights, behind, u->blocks, dy, u->out_blocks, pixels, tile);
        return;
    }
    for (int tap = 0; tap < u->taps; tap++)
        for (int block = 0; block < u->blocks; block++) {
            float* to = middle ? behind + block * pixels * LANES : behind;
            __syncthreads();
            load_tap(pass, u, region, block, tap, row, rows, to);
            __syncthreads();
            if (!middle)
                outer_products(dense_weights + (tap * u->blocks + block) * LANES * out_lanes, behind, 1, dy,
                               u->out_blocks, pixels, tile);
        }
    if (middle) outer_products(dense_weights, behind, u->blocks, dy, u->out_blocks, pixels, tile);
}
