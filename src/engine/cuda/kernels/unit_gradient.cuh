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
                            int apart, float* scratch) {
    int row = out_blocks * LANES, across = out_blocks * QUADS / W, tiles = blocks * QUADS * across;
    int parts = tiles < THREADS ? THREADS / tiles : 1, part = threadIdx.x / tiles;
    if (parts == 1) part = 0;
    for (int tile = parts == 1 ? threadIdx.x : threadIdx.x % tiles; tile < tiles; tile += THREADS) {
        int o = tile % across, i = tile / across;
        const float* from = x + i / QUADS * apart + i % QUADS * 4;
        const float* to[W];
        float4 sums[4][W];
#pragma unroll
        for (int q = 0; q < W; q++) {
            int own = o + q * across;
            to[q] = dy + own / QUADS * apart + own % QUADS * 4;
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
        for (int n = 0; n < 4 * W; n++) store4(at + n / W * row + n % W * across * 4, sums[n / W][n % W]);
    }
}

// gradient (all lanes of the input x all of the output) = the same.
__device__ void outer_products(float* gradient, const float* x, int blocks, const float* dy, int out_blocks, int pixels,
                               int apart, float* scratch) {
    if (blocks * out_blocks == 1) return outer_product(gradient, LANES, x, dy, pixels, scratch);
    if (blocks * out_blocks < 9) return outer_tiles<1>(gradient, x, blocks, dy, out_blocks, pixels, apart, scratch);
    outer_tiles<2>(gradient, x, blocks, dy, out_blocks, pixels, apart, scratch);
}

// The strip that a block of threads works on. It lies in shared memory and is read again after every barrier, which
// leaves the registers to the inner loops. Places are in the dynamic shared memory, which begins with the coefficients
// of the stored gradient.
struct Strip {
    long long weights;      // its gradients of weights, in the partial sums, or -1
    int row;
    int rows;
    int pixels;
    int apart;              // floats from one block to the next: no whole number of times all banks
    int dy;                 // the place of its gradient, in every output block
    int behind;             // of that behind the dense part, in every input block; of several taps, in one
    int made;               // of the gradient of what depthwise taps made: one of these two
    int taps;               // of the depthwise weights of a group
    int tile;               // of its tiles, and of scratch later
};

__device__ int apart_of(int pixels) { return (pixels | 1) * LANES; }

__device__ void find_strip(const Pass& pass, const Item& item, Strip* strip) {
    const Unit* u = TABLE(Unit, item.what);
    const Stored* stored = TABLE(Stored, u->stored);
    int row = item.at * u->rows, rows = u->out_height - row < u->rows ? u->out_height - row : u->rows;
    int pixels = rows * u->out_width;
    strip->row = row;
    strip->rows = rows;
    strip->pixels = pixels;
    strip->apart = apart_of(pixels);
    strip->dy = (stored->count + 2) * LANES * u->out_blocks;
    strip->behind = strip->dy + u->out_blocks * strip->apart;
    strip->made = has_middle(u) ? strip->behind : strip->dy;
    strip->taps = strip->behind + (has_middle(u) ? u->blocks : u->dense >= 0 ? 1 : 0) * strip->apart;
    strip->tile = strip->taps + (u->grid ? u->group * u->taps * LANES : 0);
    strip->weights = u->weights < 0 ? -1
                                    : (long long)u->weights * pass.batch +
                                          ((long long)item.image * u->weight_slots + item.block) * u->weight_len;
}

// Where the gradients of a dense part's matrices begin.
__device__ float* dense_weights(const Pass& pass, const Unit* u, const Strip& strip) {
    return pass.parts + strip.weights + (u->depthwise >= 0 ? u->taps * u->blocks * LANES : 0);
}

// Gradients of a grid's depthwise weights, of `blocks` blocks from `block` on, whose tiles are there: the products of
// the tiles' pixels under each tap and the gradients of what the taps made. Before a dense part, that is made once
// more, in the gradients' place. The tiles' place is scratch at the end.
template <int K, int D, int S>
__device__ void grid_weights(const Pass& pass, const Unit* u, const Strip& strip, int block, int blocks,
                             float* shared) {
    float* tile = shared + strip.tile;
    float* made = shared + strip.made + block * strip.apart;
    int rows = strip.rows, lane = threadIdx.x % LANES, step = tile_step(u), width = u->out_width;
    Share share = share_of(u, rows);
    float sums[K * K];
#pragma unroll
    for (int t = 0; t < K * K; t++) sums[t] = 0.0f;
    const float* from = tile + share.of * tile_len(u, rows) + lane;
    const float* dy = made + share.of * strip.apart + lane;
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
    if (u->dense >= 0) grid_depthwise<K, D, S>(u, blocks, rows, tile, made, strip.apart);
    __syncthreads();
    int warp = threadIdx.x / 32, warps = share.parts / 2;
#pragma unroll
    for (int t = 0; t < K * K; t++) {
        float sum = sums[t] + __shfl_xor_sync(0xffffffffu, sums[t], 16);
        if (threadIdx.x % 32 < LANES) tile[(warp * K * K + t) * LANES + lane] = sum;
    }
    __syncthreads();
    float* gradient = pass.parts + strip.weights + block * LANES;
    for (int i = threadIdx.x; i < blocks * K * K * LANES; i += THREADS) {
        int of = i / LANES / (K * K), t = i / LANES % (K * K);
        float sum = 0.0f;
        for (int w = 0; w < warps; w++) sum += tile[((of * warps + w) * K * K + t) * LANES + i % LANES];
        gradient[(t * u->blocks + of) * LANES + i % LANES] = sum;
    }
}

// The same for any taps, of one block: a thread takes a quad of one tap over one of several parts of the pixels.
// Scratch is behind the tile: THREADS quads.
__device__ void any_weights(const Pass& pass, const Unit* u, const Strip& strip, int block, float* shared) {
    const float* tile = shared + strip.tile;
    float* made = shared + strip.made + block * strip.apart;
    float* scratch = shared + strip.tile + tile_len(u, strip.rows);
    int step = tile_step(u);
    const int* taps = pass.table + u->tap_at;
    int most = THREADS / QUADS;
    for (int first = 0; first < u->taps; first += most) {
        int count = u->taps - first < most ? u->taps - first : most, parts = most / count;
        int quad = threadIdx.x % QUADS, tap = threadIdx.x / QUADS % count, part = threadIdx.x / QUADS / count;
        float4 sum = zero4();
        if (part < parts) {
            int shift_r = taps[2 * (first + tap)] - u->least_r, shift_c = taps[2 * (first + tap) + 1] - u->least_c;
            for (int pixel = part; pixel < strip.pixels; pixel += parts) {
                int r = pixel / u->out_width * u->stride_r, c = pixel % u->out_width * u->stride_c;
                int at = (r + shift_r) * step + c + shift_c;
                sum = fma4(load4(tile + at * LANES + 4 * quad), load4(made + pixel * LANES + 4 * quad), sum);
            }
        }
        __syncthreads();
        store4(scratch + 4 * threadIdx.x, sum);
        __syncthreads();
        if ((int)threadIdx.x < count * QUADS) {
            float4 all = zero4();
            for (int p = 0; p < parts; p++)
                all = add4(all, load4(scratch + 4 * (p * count * QUADS + threadIdx.x)));
            float* gradient = pass.parts + strip.weights + block * LANES;
            store4(gradient + (first + threadIdx.x / QUADS) * u->blocks * LANES + 4 * quad, all);
        }
    }
    __syncthreads();
    if (u->dense >= 0) any_depthwise(pass, u, block, strip.rows, tile, made);
}

__device__ void depthwise_weights(const Pass& pass, const Unit* u, const Strip& strip, int block, int blocks,
                                  float* shared) {
    switch (u->grid) {
    case GRID(3, 1, 1): return grid_weights<3, 1, 1>(pass, u, strip, block, blocks, shared);
    case GRID(5, 1, 1): return grid_weights<5, 1, 1>(pass, u, strip, block, blocks, shared);
    case GRID(3, 2, 1): return grid_weights<3, 2, 1>(pass, u, strip, block, blocks, shared);
    case GRID(5, 2, 1): return grid_weights<5, 2, 1>(pass, u, strip, block, blocks, shared);
    case GRID(3, 1, 2): return grid_weights<3, 1, 2>(pass, u, strip, block, blocks, shared);
    case GRID(5, 1, 2): return grid_weights<5, 1, 2>(pass, u, strip, block, blocks, shared);
    case GRID(3, 2, 2): return grid_weights<3, 2, 2>(pass, u, strip, block, blocks, shared);
    case GRID(5, 2, 2): return grid_weights<5, 2, 2>(pass, u, strip, block, blocks, shared);
    default: any_weights(pass, u, strip, block, shared);
    }
}

// The output's gradient into shared memory, with its sum for a bias; into the plane where nothing lies between.
__device__ void strip_gradient(const Pass& pass, const Item& item, const Strip& strip, float* shared) {
    const Unit* u = TABLE(Unit, item.what);
    const Stored* stored = TABLE(Stored, u->stored);
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS;
    for (int block = 0; block < u->out_blocks; block++) {
        float* region = region_of(pass, item);
        int plane = (block * u->out_height + strip.row) * u->out_width;
        float4 total = zero4(), v[MOST];
#pragma unroll
        for (int k = 0; k < MOST; k++) v[k] = zero4();
        stored_gradients(v, pass, stored, shared + block * (stored->count + 2) * LANES, region, plane, strip.pixels);
#pragma unroll
        for (int k = 0; k < MOST; k++) {
            int i = column + k * COLUMNS;
            if (i >= strip.pixels) continue;
            store4(shared + strip.dy + block * strip.apart + i * LANES + 4 * quad, v[k]);
            if (!has_middle(u)) store4(region + u->plane + (plane + i) * LANES + 4 * quad, v[k]);
            total = add4(total, v[k]);
        }
        if (strip.weights >= 0 && u->bias >= 0) {
            total = column_sum(total, shared + strip.tile);
            int matrices = has_middle(u) ? 1 : u->taps;
            if (threadIdx.x < QUADS)
                store4(dense_weights(pass, u, strip) + (matrices * u->blocks * LANES * u->out_blocks + block) * LANES +
                           4 * quad,
                       total);
        }
    }
    __syncthreads();
}

// What is behind the dense part of a strip: the gradient of what the taps made, into the plane too.
template <bool COPY>
__device__ void dense_backward(const Pass& pass, const Item& item, const Strip& strip, float* shared) {
    const Unit* u = TABLE(Unit, item.what);
    int each;
    if (COPY) copy_matrix(pass.packed + u->transposed, u->blocks * u->out_blocks, shared + strip.tile);
    for (int block = 0; block < u->blocks; block += each) {
        int pixels = strip.pixels;
        Corner at = corner(block, u->blocks, pixels, &each);
        float4 sums[MOST];
#pragma unroll
        for (int k = 0; k < MOST; k++) sums[k] = zero4();
        const float* matrix = COPY ? copy_of(shared + strip.tile) : pass.packed + u->transposed;
        multiply(sums, at, shared + strip.dy, u->out_blocks, pixels, strip.apart, matrix + at.to * LANES,
                 u->blocks * LANES);
        float* plane = region_of(pass, item) + u->plane + (at.to * u->out_height + strip.row) * u->out_width * LANES;
#pragma unroll
        for (int k = 0; k < MOST; k++) {
            int i = at.column + k * at.columns;
            if (!at.active || i >= pixels) continue;
            store4(shared + strip.behind + at.to * strip.apart + i * LANES + 4 * at.quad, sums[k]);
            store4(plane + i * LANES + 4 * at.quad, sums[k]);
        }
    }
    __syncthreads();
}

// The gradients of depthwise weights, group by group.
__device__ void strip_depthwise(const Pass& pass, const Item& item, const Strip& strip, float* shared) {
    const Unit* u = TABLE(Unit, item.what);
    for (int block = 0; block < u->blocks; block += u->group) {
        int blocks = u->blocks - block < u->group ? u->blocks - block : u->group;
        if (u->grid && u->dense >= 0) load_weights(pass, u, block, blocks, shared + strip.taps);
        for (int of = 0; of < blocks; of++)
            load_tile(pass, u, region_of(pass, item), block + of, strip.row, strip.rows,
                      shared + strip.tile + of * tile_len(u, strip.rows));
        __syncthreads();
        depthwise_weights(pass, u, strip, block, blocks, shared);
        __syncthreads();
    }
}

// The gradients of a dense part's matrices: of all blocks of the input at once where it reads one number a lane and
// pixel, otherwise tap by tap and block by block.
__device__ void strip_dense(const Pass& pass, const Item& item, const Strip& strip, float* shared) {
    const Unit* u = TABLE(Unit, item.what);
    int together = has_middle(u) ? u->blocks : 1, matrices = u->depthwise >= 0 ? 1 : u->taps;
    for (int n = 0; n < matrices * u->blocks; n += together) {
        __syncthreads();
        if (u->depthwise < 0)
            load_tap(pass, u, region_of(pass, item), n % u->blocks, together, n / u->blocks, strip.row, strip.rows,
                     shared + strip.behind, strip.apart);
        __syncthreads();
        outer_products(dense_weights(pass, u, strip) + n * LANES * u->out_blocks * LANES, shared + strip.behind,
                       together, shared + strip.dy, u->out_blocks, strip.pixels, strip.apart, shared + strip.tile);
    }
}

// Backward, first half: the output's gradient through the dense part into the plane of what the taps made, and the
// weights' gradients. An item is a strip, `block` its place among those that keep weights' gradients.
__device__ void unit_gradient(const Pass& pass, const Item& item, float* shared) {
    __shared__ Strip strip;
    if (threadIdx.x == 0) find_strip(pass, item, &strip);
    const Unit* u = TABLE(Unit, item.what);
    stored_coefficients(pass, TABLE(Stored, u->stored), 0, u->out_blocks, shared);
    __syncthreads();
    strip_gradient(pass, item, strip, shared);
    if (has_middle(u)) {
        if (has_copy(u->blocks * u->out_blocks, u->blocks * LANES)) dense_backward<true>(pass, item, strip, shared);
        else dense_backward<false>(pass, item, strip, shared);
    }
    if (strip.weights < 0) return;
    if (u->depthwise >= 0) strip_depthwise(pass, item, strip, shared);
    if (u->dense >= 0) strip_dense(pass, item, strip, shared);
}
