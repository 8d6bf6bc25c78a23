// Units: activation, depthwise part and dense part in one kernel, strip by strip, and their backward pass in two. What
// the three share: descriptors, strips in shared memory, taps that are grids, products with matrices.

#pragma once

#include "common.cuh"

struct Unit {
    int raw;                // the input: stored tensor, blocks, height, width, the norm that it is seen through or -1,
    int blocks;             // activation
    int height;
    int width;
    int norm;
    int activation;
    int out;                // the output: stored tensor, blocks, height, width
    int out_blocks;
    int out_height;
    int out_width;
    int stride_r;
    int stride_c;
    int taps;               // how many, and where in the table: (row, column) from an output pixel's corner
    int tap_at;
    int least_r;            // the reach of the taps
    int least_c;
    int reach_r;
    int reach_c;
    int depthwise;          // packed weights, or -1: taps x lanes
    int dense;              // taps x lanes x output lanes
    int transposed;         // taps x output lanes x lanes
    int bias;
    int parts;              // where partial sums for statistics go, times the batch, or -1
    int slots;              // of an image: the strips
    int rows;               // output rows of a strip
    int plane;              // where the gradient of what the taps made lies in the region
    int weights;            // where partial weight gradients go, times the batch, or -1
    int weight_slots;       // of an image
    int weight_len;         // of a slot: depthwise, dense, bias
    int stored;             // the output's gradient, in the table
    int filled;             // in the table, by block of the input: how many lanes are filled
    int grid;               // GRID of the depthwise taps, or 0: any taps
    int group;              // blocks of the input that are worked on together; a power of two, at most half of TEAMS
};

// A grid of taps that code is compiled for: k x k taps, d apart, s between output pixels.
#define GRID(k, d, s) ((k) * 100 + (d) * 10 + (s))

// Pixels of a row that a thread takes one after another; pixels behind a tile that the last of them may look at.
#define RUN 8
#define BEHIND 16

// Sixteen threads, a lane each.
#define TEAMS (THREADS / LANES)

// How a block of the input is seen through its norm and activation.
struct Seen {
    float4 scale;
    float4 shift;
    int activation;
    int filled;
    bool normed;
};

__device__ Seen seen(const Pass& pass, const Unit* u, int block, int quad) {
    Seen s;
    s.normed = u->norm >= 0;
    const float* at = pass.norms + (s.normed ? u->norm : 0) + block * LANES + 4 * quad;
    s.scale = s.normed ? load4(at) : zero4();
    s.shift = s.normed ? load4(at + pass.norm_lanes) : zero4();
    s.activation = u->activation;
    s.filled = u->activation > RELU ? pass.table[u->filled + block] - 4 * quad : LANES;
    return s;
}

// ANY: every activation; otherwise none or RELU, which takes fewer registers.
template <bool ANY>
__device__ float4 see(const Seen& s, float4 v) {
    if (s.normed) v = fma4(v, s.scale, s.shift);
    if (ANY) return activated(s.activation, v, s.filled);
    return s.activation == RELU ? rectified(v) : v;
}

// Columns from one row of a tile to the next: an odd number, so that neighbouring rows lie in different banks.
__device__ int tile_step(const Unit* u) { return ((u->out_width - 1) * u->stride_c + u->reach_c) | 1; }

// Floats of a tile.
__device__ int tile_len(const Unit* u, int rows) {
    return (((rows - 1) * u->stride_r + u->reach_r) * tile_step(u) + BEHIND) * LANES;
}

// Quads that a thread has under way from memory at a time.
#define BATCH 4

// A walk through the pixels of a rectangle, COLUMNS at a time: divisions only at the beginning.
struct Walk {
    int i;
    int r;
    int c;
    int by_r;
    int by_c;
    int width;
};

__device__ Walk walk(int width) {
    Walk w;
    w.i = threadIdx.x / QUADS;
    w.r = w.i / width;
    w.c = w.i % width;
    w.by_r = COLUMNS / width;
    w.by_c = COLUMNS % width;
    w.width = width;
    return w;
}

__device__ void next(Walk* w) {
    w->i += COLUMNS;
    w->r += w->by_r;
    w->c += w->by_c;
    if (w->c >= w->width) {
        w->c -= w->width;
        w->r++;
    }
}

// Pixels of a plane of height x width, from a row and column on, into shared memory, as a tile of rows `step` apart;
// zero outside of the plane. A warp takes a row, eight neighbouring columns at a time.
template <bool ANY>
__device__ void load_rectangle(const float* plane, int height, int width, int row, int column, int rows, int step,
                               const Seen* seen, float* tile) {
    int quad = threadIdx.x % QUADS, left = threadIdx.x / QUADS % 8;
    for (int r = threadIdx.x / 32; r < rows; r += THREADS / 32) {
        bool is = (unsigned)(row + r) < (unsigned)height;
        const float* from = plane + ((row + r) * width + column + left) * LANES + 4 * quad;
        float* to = tile + (r * step + left) * LANES + 4 * quad;
        for (int c = left; c < step; c += 8 * BATCH, from += 8 * BATCH * LANES, to += 8 * BATCH * LANES) {
            float4 v[BATCH];
            bool inside[BATCH];
#pragma unroll
            for (int k = 0; k < BATCH; k++) {
                inside[k] = is && (unsigned)(column + c + 8 * k) < (unsigned)width;
                v[k] = inside[k] ? load4(from + 8 * k * LANES) : zero4();
            }
#pragma unroll
            for (int k = 0; k < BATCH; k++) {
                if (c + 8 * k >= step) break;
                if (seen && inside[k]) v[k] = see<ANY>(*seen, v[k]);
                store4(to + 8 * k * LANES, v[k]);
            }
        }
    }
    if (threadIdx.x < BEHIND * QUADS) store4(tile + rows * step * LANES + 4 * threadIdx.x, zero4());
}

template <bool ANY>
__device__ void load_tile_seen(const Pass& pass, const Unit* u, const float* region, int block, int row, int rows,
                               float* tile) {
    Seen s = seen(pass, u, block, threadIdx.x % QUADS);
    load_rectangle<ANY>(region + u->raw + block * u->height * u->width * LANES, u->height, u->width,
                        row * u->stride_r + u->least_r, u->least_c, (rows - 1) * u->stride_r + u->reach_r,
                        tile_step(u), &s, tile);
}

__device__ OUTLINE void load_any_tile(const Pass& pass, const Unit* u, const float* region, int block, int row,
                                      int rows, float* tile) {
    load_tile_seen<true>(pass, u, region, block, row, rows, tile);
}

// The part of one block of the input under a strip.
__device__ void load_tile(const Pass& pass, const Unit* u, const float* region, int block, int row, int rows,
                          float* tile) {
    if (u->activation > RELU) load_any_tile(pass, u, region, block, row, rows, tile);
    else load_tile_seen<false>(pass, u, region, block, row, rows, tile);
}

// Depthwise weights of `blocks` blocks into shared memory: taps x lanes of each.
__device__ void load_weights(const Pass& pass, const Unit* u, int block, int blocks, float* to) {
    const float* from = pass.packed + u->depthwise + block * LANES;
    for (int i = threadIdx.x; i < blocks * u->taps * LANES; i += THREADS) {
        int lane = i % LANES, tap = i / LANES % u->taps, of = i / LANES / u->taps;
        to[i] = from[(tap * u->blocks + of) * LANES + lane];
    }
}

// sums += what a grid of taps makes of RUN pixels of a row. The weights of taps lie APART, which is negative where they
// are read from the last one on.
template <int K, int D, int S, int APART>
__device__ void run_taps(float* sums, const float* weights, const float* from, int step) {
#pragma unroll
    for (int i = 0; i < K; i++) {
        float window[(RUN - 1) * S + (K - 1) * D + 1], row[K];
#pragma unroll
        for (int k = 0; k < K; k++) row[k] = weights[(i * K + k) * APART];
#pragma unroll
        for (int j = 0; j < (RUN - 1) * S + (K - 1) * D + 1; j++) window[j] = from[(i * D * step + j) * LANES];
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int p = 0; p < RUN; p++) sums[p] = fmaf(window[p * S + k * D], row[k], sums[p]);
    }
}

// Which blocks and runs a team works on: teams / group of them take the runs of one block in turn. Neighbouring teams
// take neighbouring rows.
struct Share {
    int of;                 // the block, within the group
    int part;
    int parts;
    int runs;
};

__device__ Share share_of(const Unit* u, int rows) {
    Share s;
    s.parts = TEAMS / u->group;
    s.of = threadIdx.x / LANES / s.parts;
    s.part = threadIdx.x / LANES % s.parts;
    s.runs = rows * ((u->out_width + RUN - 1) / RUN);
    return s;
}

// What the depthwise taps make of the tiles of `blocks` blocks, whose weights lie before the tiles; blocks of it lie
// `apart` floats apart.
template <int K, int D, int S>
__device__ void grid_depthwise(const Unit* u, int blocks, int rows, const float* tile, float* to, int apart) {
    Share share = share_of(u, rows);
    if (share.of >= blocks) return;
    int lane = threadIdx.x % LANES, step = tile_step(u);
    const float* weights = tile - (u->group - share.of) * K * K * LANES + lane;
    const float* from = tile + share.of * tile_len(u, rows) + lane;
    float* out = to + share.of * apart + lane;
    for (int run = share.part; run < share.runs; run += share.parts) {
        int r = run % rows, c = run / rows * RUN;
        float sums[RUN] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        run_taps<K, D, S, LANES>(sums, weights, from + (r * S * step + c * S) * LANES, step);
#pragma unroll
        for (int p = 0; p < RUN; p++)
            if (c + p < u->out_width) out[(r * u->out_width + c + p) * LANES] = sums[p];
    }
}

// The same for any taps, of one block.
__device__ void any_depthwise(const Pass& pass, const Unit* u, int block, int rows, const float* tile, float* to) {
    int step = tile_step(u);
    const int* taps = pass.table + u->tap_at;
    const float* weights = pass.packed + u->depthwise + block * LANES;
    for (int i = threadIdx.x; i < rows * u->out_width * QUADS; i += THREADS) {
        int pixel = i / QUADS, quad = i % QUADS;
        int r = pixel / u->out_width * u->stride_r, c = pixel % u->out_width * u->stride_c;
        float4 sum = zero4();
        for (int t = 0; t < u->taps; t++) {
            int at = (r + taps[2 * t] - u->least_r) * step + c + taps[2 * t + 1] - u->least_c;
            sum = fma4(load4(tile + at * LANES + 4 * quad), load4(weights + t * u->blocks * LANES + 4 * quad), sum);
        }
        store4(to + pixel * LANES + 4 * quad, sum);
    }
}

__device__ void depthwise(const Pass& pass, const Unit* u, int block, int blocks, int rows, const float* tile,
                          float* to) {
    int apart = rows * u->out_width * LANES;
    switch (u->grid) {
    case GRID(3, 1, 1): return grid_depthwise<3, 1, 1>(u, blocks, rows, tile, to, apart);
    case GRID(5, 1, 1): return grid_depthwise<5, 1, 1>(u, blocks, rows, tile, to, apart);
    case GRID(3, 2, 1): return grid_depthwise<3, 2, 1>(u, blocks, rows, tile, to, apart);
    case GRID(5, 2, 1): return grid_depthwise<5, 2, 1>(u, blocks, rows, tile, to, apart);
    case GRID(3, 1, 2): return grid_depthwise<3, 1, 2>(u, blocks, rows, tile, to, apart);
    case GRID(5, 1, 2): return grid_depthwise<5, 1, 2>(u, blocks, rows, tile, to, apart);
    case GRID(3, 2, 2): return grid_depthwise<3, 2, 2>(u, blocks, rows, tile, to, apart);
    case GRID(5, 2, 2): return grid_depthwise<5, 2, 2>(u, blocks, rows, tile, to, apart);
    default: any_depthwise(pass, u, block, rows, tile, to);
    }
}

// What one tap of a dense part reads of a block that is seen through an activation other than RELU.
__device__ OUTLINE void load_any_tap(const Pass& pass, const Unit* u, const float* region, int block, int tap, int row,
                                     int rows, float* to) {
    const int* taps = pass.table + u->tap_at + 2 * tap;
    int quad = threadIdx.x % QUADS;
    Seen s = seen(pass, u, block, quad);
    const float* plane = region + u->raw + block * u->height * u->width * LANES + 4 * quad;
    for (Walk w = walk(u->out_width); w.i < rows * u->out_width; next(&w)) {
        int y = (row + w.r) * u->stride_r + taps[0], x = w.c * u->stride_c + taps[1];
        bool inside = y >= 0 && x >= 0 && y < u->height && x < u->width;
        float4 v = inside ? see<true>(s, load4(plane + (y * u->width + x) * LANES)) : zero4();
        store4(to + w.i * LANES + 4 * quad, v);
    }
}

// What one tap of a dense part reads of `blocks` blocks, pixel by pixel; blocks of it lie `apart` floats apart.
__device__ void load_tap(const Pass& pass, const Unit* u, const float* region, int block, int blocks, int tap, int row,
                         int rows, float* to, int apart) {
    if (u->activation > RELU) {
        for (int of = 0; of < blocks; of++) load_any_tap(pass, u, region, block + of, tap, row, rows, to + of * apart);
        return;
    }
    const int* taps = pass.table + u->tap_at + 2 * tap;
    int quad = threadIdx.x % QUADS, end = rows * u->out_width, size = u->height * u->width * LANES;
    // A strip has at most MOST pixels for each column of threads. They lie at the same places in every block.
    int places[MOST];
    Walk w = walk(u->out_width);
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int y = (row + w.r) * u->stride_r + taps[0], x = w.c * u->stride_c + taps[1];
        bool inside = w.i < end && y >= 0 && x >= 0 && y < u->height && x < u->width;
        places[k] = inside ? (y * u->width + x) * LANES : -1;
        next(&w);
    }
    const float* plane = region + u->raw + block * size + 4 * quad;
    to += threadIdx.x * 4;
    for (int of = 0; of < blocks; of++, plane += size, to += apart) {
        Seen s = seen(pass, u, block + of, quad);
        float4 v[MOST];
#pragma unroll
        for (int k = 0; k < MOST; k++) v[k] = places[k] >= 0 ? load4(plane + places[k]) : zero4();
#pragma unroll
        for (int k = 0; k < MOST; k++)
            if ((int)threadIdx.x / QUADS + k * COLUMNS < end)
                store4(to + k * COLUMNS * LANES, places[k] >= 0 ? see<false>(s, v[k]) : zero4());
    }
}

// Whether the dense part reads one number a lane and pixel, which then has a place of its own: what the depthwise taps
// make, or the input under the only tap.
__device__ bool has_middle(const Unit* u) { return u->dense >= 0 && (u->depthwise >= 0 || u->taps == 1); }

// The quads of pixels that a thread works out of a product with a matrix: MOST pixels, `columns` apart.
struct Corner {
    int to;                 // the block of the product
    int quad;
    int column;
    int columns;
    bool active;
};

// Of the blocks from `first` on; `each`: how many of them all threads take together.
__device__ Corner corner(int first, int blocks, int pixels, int* each) {
    Corner c;
    c.columns = (pixels + MOST - 1) / MOST;
    *each = COLUMNS / c.columns;
    c.quad = threadIdx.x % QUADS;
    c.column = threadIdx.x / QUADS % c.columns;
    c.to = first + threadIdx.x / QUADS / c.columns;
    c.active = c.to < blocks && c.to < first + *each;
    if (!c.active) c.to = first;
    return c;
}

// sums += `blocks` blocks of a thread's pixels, `apart` floats apart, times a matrix whose rows are `row` apart. Pixels
// behind the last one are worked out like it and are not to be used.
__device__ void multiply(float4* sums, const Corner& at, const float* from, int blocks, int pixels, int apart,
                         const float* matrix, int row) {
    if (!at.active) return;
    int places[MOST];
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int pixel = at.column + k * at.columns;
        places[k] = (pixel < pixels ? pixel : pixels - 1) * LANES;
    }
    const float* m = matrix + 4 * at.quad;
    float4 a = load4(m), b = load4(m + row), c = load4(m + 2 * row), d = load4(m + 3 * row);
    for (int block = 0; block < blocks; block++, from += apart) {
#pragma unroll
        for (int lane = 0; lane < LANES; lane += 4) {
            // What comes next is under way meanwhile; the last rows are read twice.
            if (lane < LANES - 4 || block < blocks - 1) m += 4 * row;
            float4 next_a = load4(m), next_b = load4(m + row), next_c = load4(m + 2 * row), next_d = load4(m + 3 * row);
#pragma unroll
            for (int k = 0; k < MOST; k++) {
                float4 x = load4(from + places[k] + lane);
                sums[k] = scale4(x.w, d, scale4(x.z, c, scale4(x.y, b, scale4(x.x, a, sums[k]))));
            }
            a = next_a;
            b = next_b;
            c = next_c;
            d = next_d;
        }
    }
}

// The most pairs of blocks whose matrix fits into the scratch, behind what statistics take; and lanes of the output.
#define MATRIX_PAIRS 9
#define MATRIX_LANES 256

__device__ bool has_copy(int pairs, int out_lanes) { return pairs <= MATRIX_PAIRS && out_lanes <= MATRIX_LANES; }

// Where it is then.
__device__ float* copy_of(float* scratch) { return scratch + 8 * THREADS + MATRIX_LANES; }

__device__ void copy_matrix(const float* matrix, int pairs, float* scratch) {
    for (int i = threadIdx.x; i < pairs * LANES * QUADS; i += THREADS)
        store4(copy_of(scratch) + 4 * i, load4(matrix + 4 * i));
    __syncthreads();
}
