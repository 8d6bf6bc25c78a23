// Units: activation, depthwise part and dense part in one kernel, strip by strip, and their backward pass in two.

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
    if (s.activation == 0) return v;
    return make_float4(v.x < 0.0f ? 0.0f : v.x, v.y < 0.0f ? 0.0f : v.y, v.z < 0.0f ? 0.0f : v.z,
                       v.w < 0.0f ? 0.0f : v.w);
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
// zero outside of the plane.
template <bool ANY>
__device__ void load_rectangle(const float* plane, int height, int width, int row, int column, int rows, int step,
                               const Seen* seen, float* tile) {
    int quad = threadIdx.x % QUADS, end = rows * step + BEHIND;
    for (Walk w = walk(step); w.i < end;) {
        float4 v[BATCH];
        int to[BATCH];
        bool inside[BATCH];
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            int y = row + w.r, x = column + w.c;
            to[k] = w.i;
            inside[k] = w.r < rows && y >= 0 && x >= 0 && y < height && x < width;
            v[k] = inside[k] ? load4(plane + (y * width + x) * LANES + 4 * quad) : zero4();
            next(&w);
        }
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            if (to[k] >= end) continue;
            if (seen && inside[k]) v[k] = see<ANY>(*seen, v[k]);
            store4(tile + to[k] * LANES + 4 * quad, v[k]);
        }
    }
}

template <bool ANY>
__device__ void load_tile_seen(const Pass& pass, const Unit* u, const float* region, int block, int row, int rows,
                               float* tile) {
    Seen s = seen(pass, u, block, threadIdx.x % QUADS);
    load_rectangle<ANY>(region + u->raw + block * u->height * u->width * LANES, u->height, u->width,
                   row * u->stride_r + u->least_r, u->least_c, (rows - 1) * u->stride_r + u->reach_r, tile_step(u), &s,
                   tile);
}

__device__ OUTLINE void load_any_tile(const Pass& pass, const Unit* u, const float* region, int block, int row, int rows,
                                      float* tile) {
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

// What the depthwise taps make of the tiles of `blocks` blocks, whose weights lie before the tiles.
template <int K, int D, int S>
__device__ void grid_depthwise(const Unit* u, int blocks, int rows, const float* tile, float* to) {
    Share share = share_of(u, rows);
    if (share.of >= blocks) return;
    int lane = threadIdx.x % LANES, step = tile_step(u);
    const float* weights = tile - (u->group - share.of) * K * K * LANES + lane;
    const float* from = tile + share.of * tile_len(u, rows) + lane;
    float* out = to + share.of * rows * u->out_width * LANES + lane;
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
    switch (u->grid) {
    case GRID(3, 1, 1): return grid_depthwise<3, 1, 1>(u, blocks, rows, tile, to);
    case GRID(5, 1, 1): return grid_depthwise<5, 1, 1>(u, blocks, rows, tile, to);
    case GRID(3, 2, 1): return grid_depthwise<3, 2, 1>(u, blocks, rows, tile, to);
    case GRID(5, 2, 1): return grid_depthwise<5, 2, 1>(u, blocks, rows, tile, to);
    case GRID(3, 1, 2): return grid_depthwise<3, 1, 2>(u, blocks, rows, tile, to);
    case GRID(5, 1, 2): return grid_depthwise<5, 1, 2>(u, blocks, rows, tile, to);
    case GRID(3, 2, 2): return grid_depthwise<3, 2, 2>(u, blocks, rows, tile, to);
    case GRID(5, 2, 2): return grid_depthwise<5, 2, 2>(u, blocks, rows, tile, to);
    default: any_depthwise(pass, u, block, rows, tile, to);
    }
}

template <bool ANY>
__device__ void load_tap_seen(const Pass& pass, const Unit* u, const float* region, int block, int tap, int row, int rows,
                         float* to) {
    const int* taps = pass.table + u->tap_at + 2 * tap;
    int quad = threadIdx.x % QUADS;
    Seen s = seen(pass, u, block, quad);
    const float* plane = region + u->raw + block * u->height * u->width * LANES + 4 * quad;
    int end = rows * u->out_width;
    // A strip has at most MOST pixels for each column of threads.
    Walk w = walk(u->out_width);
    float4 v[MOST];
    bool inside[MOST];
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int y = (row + w.r) * u->stride_r + taps[0], x = w.c * u->stride_c + taps[1];
        inside[k] = w.i < end && y >= 0 && x >= 0 && y < u->height && x < u->width;
        v[k] = inside[k] ? load4(plane + (y * u->width + x) * LANES) : zero4();
        next(&w);
    }
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int i = threadIdx.x / QUADS + k * COLUMNS;
        if (i < end) store4(to + i * LANES + 4 * quad, inside[k] ? see<ANY>(s, v[k]) : zero4());
    }
}

__device__ OUTLINE void load_any_tap(const Pass& pass, const Unit* u, const float* region, int block, int tap, int row,
                                     int rows, float* to) {
    load_tap_seen<true>(pass, u, region, block, tap, row, rows, to);
}

// What one tap of a dense part reads of a block, pixel by pixel.
__device__ void load_tap(const Pass& pass, const Unit* u, const float* region, int block, int tap, int row, int rows,
                         float* to) {
    if (u->activation > RELU) load_any_tap(pass, u, region, block, tap, row, rows, to);
    else load_tap_seen<false>(pass, u, region, block, tap, row, rows, to);
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

// sums += `blocks` blocks of a thread's pixels times a matrix whose rows are `row` apart. Pixels behind the last one are
// worked out like it and are not to be used.
__device__ void multiply(float4* sums, const Corner& at, const float* from, int blocks, int pixels, const float* matrix,
                         int row) {
    int places[MOST];
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int pixel = at.column + k * at.columns;
        places[k] = (pixel < pixels ? pixel : pixels - 1) * LANES;
    }
    for (int block = 0; block < blocks; block++) {
#pragma unroll 2
        for (int lane = 0; lane < LANES; lane += 4) {
            const float* m = matrix + lane * row + 4 * at.quad;
            float4 a = load4(m), b = load4(m + row), c = load4(m + 2 * row), d = load4(m + 3 * row);
#pragma unroll
            for (int k = 0; k < MOST; k++) {
                float4 x = load4(from + places[k] + lane);
                sums[k] = scale4(x.w, d, scale4(x.z, c, scale4(x.y, b, scale4(x.x, a, sums[k]))));
            }
        }
        from += pixels * LANES;
        matrix += LANES * row;
    }
}

// The sum over eight neighbouring columns.
__device__ float4 folded(float4 v) {
    for (int o = 4; o < 32; o *= 2) {
        v.x += __shfl_xor_sync(0xffffffffu, v.x, o);
        v.y += __shfl_xor_sync(0xffffffffu, v.y, o);
        v.z += __shfl_xor_sync(0xffffffffu, v.z, o);
        v.w += __shfl_xor_sync(0xffffffffu, v.w, o);
    }
    return v;
}

// Partial sums of a strip for statistics: of each lane its pivot, which is the first pixel's, then the sums of what is
// off it and of the squares of that. `each` blocks from `first` on; `scratch`: 8 * THREADS floats and all lanes' pivots.
__device__ void measure(const Pass& pass, const Unit* u, const Corner& at, const float4* sums, int strip, int first,
                        int each, int pixels, float* scratch) {
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
    long long slot = (long long)u->parts * pass.batch + ((long long)blockIdx.y * u->slots + strip) * 3 * out_lanes;
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

// The dense part of a strip and its statistics.
__device__ void dense_forward(const Pass& pass, const Unit* u, float* region, int strip, int rows, float* middle,
                              float* scratch) {
    int row = strip * u->rows, pixels = rows * u->out_width, out_lanes = u->out_blocks * LANES, each;
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
            multiply(sums, at, middle, u->blocks, pixels, copy_of(scratch) + at.to * LANES, out_lanes);
        } else if (has_middle(u)) {
            multiply(sums, at, middle, u->blocks, pixels, matrix, out_lanes);
        } else {
            for (int tap = 0; tap < u->taps; tap++) {
                __syncthreads();
                for (int from = 0; from < u->blocks; from++)
                    load_tap(pass, u, region, from, tap, row, rows, middle + from * pixels * LANES);
                __syncthreads();
                multiply(sums, at, middle, u->blocks, pixels, matrix + tap * u->blocks * LANES * out_lanes,
                            out_lanes);
            }
        }
        float* out = region + u->out + ((at.to * u->out_height + row) * u->out_width + at.column) * LANES + 4 * at.quad;
#pragma unroll
        for (int k = 0; k < MOST; k++)
            if (at.active && at.column + k * at.columns < pixels) store4(out + k * at.columns * LANES, sums[k]);
        if (u->parts >= 0 && pass.batch_norms) measure(pass, u, at, sums, strip, block, each, pixels, scratch);
    }
}

// One strip: grid = strips of all units x images. Shared: what the dense part reads of every block (without a dense
// part, of a group), then tiles, whose place is scratch later.
extern "C" __global__ void AT_LEAST(3) unit_forward(Pass pass, int first, int count) {
    SHARED(shared);
    Item item = ITEM(first);
    const Unit* u = TABLE(Unit, item.what);
    float* region = region_of(pass);
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
        for (int block = 0; block < u->blocks; block++)
            load_tap(pass, u, region, block, 0, row, rows, middle + block * pixels * LANES);
        __syncthreads();
    }
    dense_forward(pass, u, region, item.at, rows, middle, tile);
}

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
__device__ OUTLINE void outer_products(float* gradient, const float* x, int blocks, const float* dy, int out_blocks, int pixels,
                               float* scratch) {
    if (blocks * out_blocks == 1) return outer_product(gradient, LANES, x, dy, pixels, scratch);
    if (blocks * out_blocks < 9) return outer_tiles<1>(gradient, x, blocks, dy, out_blocks, pixels, scratch);
    outer_tiles<2>(gradient, x, blocks, dy, out_blocks, pixels, scratch);
}

// Gradients of a grid's depthwise weights, of `blocks` blocks whose tiles are there: the products of the tiles' pixels
// under each tap and the gradients of what the taps made. With `again`, that is made once more, in the gradients' place.
// The tiles' place is scratch at the end.
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
// (of several taps and a dense part, in one); tiles, whose place is scratch later.
extern "C" __global__ void AT_LEAST(3) unit_gradient(Pass pass, int first, int count) {
    SHARED(shared);
    Item item = ITEM(first);
    const Unit* u = TABLE(Unit, item.what);
    const Stored* stored = TABLE(Stored, u->stored);
    float* region = region_of(pass);
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
                         ((long long)blockIdx.y * u->weight_slots + item.block) * u->weight_len;
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

struct Target {
    int gradient;           // the buffer, blocks, height, width
    int blocks;
    int height;
    int width;
    int begin;              // whether it is written over
    int grids;              // how many readers' taps are grids; these come first
    int count;              // of readers, which follow as places in the table
};

struct Reader {
    int unit;
    int classes;            // in the table, by class of input pixels: where its taps begin, and how many there are;
                            // a tap is its number, row and column from (row / stride, column / stride)
};

// Runs of pixels that a thread takes of an item.
#define RUNS 2

__device__ OUTLINE float one_slope(int activation, float v) { return slope(activation, v); }

// A thread's runs: which there are, and where each begins. Neighbouring teams take every other row, so that strides of
// two ask them for the same taps.
struct Stretch {
    bool is;
    int r;
    int c;
};

__device__ Stretch run_of(const Target* target, const Item& item, int n) {
    int number = threadIdx.x / LANES + n * TEAMS, turn = number % item.count, half = (item.count + 1) / 2;
    Stretch run;
    run.is = number < item.count * ((target->width + RUN - 1) / RUN);
    run.r = turn < half ? 2 * turn : 2 * (turn - half) + 1;
    run.c = number / item.count * RUN;
    return run;
}

// Where a thread's runs are above zero, seen through the norm `norm`: a bit for each pixel. One word does for all readers
// that see them so.
struct Above {
    int norm;
    unsigned bits;
};

// Before any reader.
#define UNSEEN -2

__device__ void find_above(const Pass& pass, const Target* target, const float* raw, int norm, const Item& item,
                           Above* above) {
    int lane = threadIdx.x % LANES;
    const float* by = pass.norms + (norm >= 0 ? norm : 0) + item.block * LANES + lane;
    float scale = norm >= 0 ? by[0] : 1.0f, shift = norm >= 0 ? by[pass.norm_lanes] : 0.0f;
    above->norm = norm;
    above->bits = 0;
#pragma unroll
    for (int n = 0; n < RUNS; n++) {
        Stretch run = run_of(target, item, n);
        const float* from = raw + ((item.block * target->height + item.at + run.r) * target->width + run.c) * LANES + lane;
        float v[RUN];
#pragma unroll
        for (int p = 0; p < RUN; p++) v[p] = run.is && run.c + p < target->width ? from[p * LANES] : 0.0f;
#pragma unroll
        for (int p = 0; p < RUN; p++)
            if (fmaf(v[p], scale, shift) > 0.0f) above->bits |= 1u << (n * RUN + p);
    }
}

// Half of a number, towards minus infinity.
__device__ int half_of(int v) { return v >> 1; }

// sums += what K x K taps, D apart, give to RUN pixels of their input, from row r and the even column c on. `from`: the
// plane of outputs, where the run's first tap looks; `weights`: of the first tap.
template <int K, int D, int S>
__device__ void run_back(float* sums, const float* weights, const float* from, int step, int r) {
    if (S == 1) return run_taps<K, D, 1, -LANES>(sums, weights + (K * K - 1) * LANES, from, step);
    const int PAD = (K - 1) * D / 2, LEFT = PAD / 2, ACROSS = (RUN - 1 + PAD) / 2 + LEFT + 1;
#pragma unroll
    for (int i = 0; i < K; i++) {
        if ((r + PAD - i * D) & 1) continue;
        const float* at = from + half_of(r + PAD - i * D) * step * LANES;
        float window[ACROSS], row[K];
#pragma unroll
        for (int k = 0; k < K; k++) row[k] = weights[(i * K + k) * LANES];
#pragma unroll
        for (int j = 0; j < ACROSS; j++) window[j] = at[j * LANES];
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int p = 0; p < RUN; p++)
                if ((p + PAD - k * D) % 2 == 0)
                    sums[p] = fmaf(window[(p + PAD - k * D + 2 * LEFT) / 2], row[k], sums[p]);
    }
}

// The part of a reader's plane that an item needs.
struct Needed {
    int row;                // the first one
    int column;
    int rows;
    int step;
};

template <int K, int D, int S>
__device__ Needed needed(const Target* target, const Unit* u, const Item& item) {
    Needed n;
    if (S == 1) {
        n.row = item.at - u->least_r - (K - 1) * D;
        n.column = -u->least_c - (K - 1) * D;
        n.rows = item.count + (K - 1) * D;
        n.step = (target->width + (K - 1) * D) | 1;
    } else {
        const int PAD = (K - 1) * D / 2;
        n.row = half_of(item.at - PAD);
        n.column = -(PAD / 2);
        n.rows = half_of(item.at + item.count - 1 + PAD) - n.row + 1;
        n.step = (half_of(target->width - 1 + PAD) + PAD / 2 + 1) | 1;
    }
    return n;
}

// A reader's weights and the tile of its plane that an item needs into shared memory; where they end.
template <int K, int D, int S>
__device__ float* load_reader(const Pass& pass, const Target* target, const Unit* u, const float* region,
                              const Item& item, float* to) {
    Needed need = needed<K, D, S>(target, u, item);
    float* tile = to + K * K * LANES;
    load_weights(pass, u, item.block, 1, to);
    load_rectangle<false>(region + u->plane + item.block * u->out_height * u->out_width * LANES, u->out_height,
                          u->out_width, need.row, need.column, need.rows, need.step, 0, tile);
    return tile + (need.rows * need.step + BEHIND) * LANES;
}

// all += what a unit whose taps are a grid gives to a thread's runs of one block, from what was loaded; where that ends.
template <int K, int D, int S>
__device__ const float* grid_input(const Pass& pass, const Target* target, const Unit* u, const float* region,
                                   const Item& item, const float* taps, const Above& above, float (*all)[RUN]) {
    int lane = threadIdx.x % LANES;
    Needed need = needed<K, D, S>(target, u, item);
    const float* tile = taps + K * K * LANES;
#pragma unroll
    for (int n = 0; n < RUNS; n++) {
        Stretch run = run_of(target, item, n);
        if (!run.is) continue;
        float sums[RUN] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        int row = S == 1 ? run.r : -need.row, column = S == 1 ? run.c : run.c / 2;
        run_back<K, D, S>(sums, taps + lane, tile + (row * need.step + column) * LANES + lane, need.step, item.at + run.r);
        if (u->activation > RELU) {
            const float* norm = pass.norms + (u->norm >= 0 ? u->norm : 0) + item.block * LANES + lane;
            float scale = u->norm >= 0 ? norm[0] : 1.0f, shift = u->norm >= 0 ? norm[pass.norm_lanes] : 0.0f;
            const float* raw = region + u->raw +
                               ((item.block * target->height + item.at + run.r) * target->width + run.c) * LANES + lane;
            for (int p = 0; p < RUN && run.c + p < target->width; p++)
                sums[p] *= one_slope(u->activation, fmaf(raw[p * LANES], scale, shift));
        }
#pragma unroll
        for (int p = 0; p < RUN; p++)
            if (u->activation != RELU || above.bits >> (n * RUN + p) & 1) all[n][p] += sums[p];
    }
    return tile + (need.rows * need.step + BEHIND) * LANES;
}

// Readers whose planes are loaded together.
#define TOGETHER 2

#define EACH_GRID(u, call)                     \
    switch ((u)->grid) {                       \
    case GRID(3, 1, 1): at = call(3, 1, 1); break; \
    case GRID(5, 1, 1): at = call(5, 1, 1); break; \
    case GRID(3, 2, 1): at = call(3, 2, 1); break; \
    case GRID(5, 2, 1): at = call(5, 2, 1); break; \
    case GRID(3, 1, 2): at = call(3, 1, 2); break; \
    case GRID(5, 1, 2): at = call(5, 1, 2); break; \
    case GRID(3, 2, 2): at = call(3, 2, 2); break; \
    default: at = call(5, 2, 2);               \
    }

// The readers of a target whose taps are grids.
__device__ void grid_inputs(const Pass& pass, const Target* target, float* region, const Item& item, float* shared) {
    const Reader* readers = (const Reader*)(target + 1);
    int lane = threadIdx.x % LANES;
    float* gradient = region + target->gradient + (item.block * target->height + item.at) * target->width * LANES + lane;
    float all[RUNS][RUN];
    Above above;
    above.norm = UNSEEN;
#pragma unroll
    for (int n = 0; n < RUNS; n++) {
        Stretch run = run_of(target, item, n);
#pragma unroll
        for (int p = 0; p < RUN; p++) {
            bool there = !target->begin && run.is && run.c + p < target->width;
            all[n][p] = there ? gradient[(run.r * target->width + run.c + p) * LANES] : 0.0f;
        }
    }
#define LOAD(k, d, s) (load_reader<k, d, s>(pass, target, u, region, item, at))
#define ADD(k, d, s) ((float*)grid_input<k, d, s>(pass, target, u, region, item, at, above, all))
    for (int first = 0; first < target->grids; first += TOGETHER) {
        int end = first + TOGETHER < target->grids ? first + TOGETHER : target->grids;
        __syncthreads();
        float* at = shared;
        for (int reader = first; reader < end; reader++) {
            const Unit* u = TABLE(Unit, readers[reader].unit);
            EACH_GRID(u, LOAD)
        }
        __syncthreads();
        at = shared;
        for (int reader = first; reader < end; reader++) {
            const Unit* u = TABLE(Unit, readers[reader].unit);
            if (u->activation == RELU && u->norm != above.norm)
                find_above(pass, target, region + u->raw, u->norm, item, &above);
            EACH_GRID(u, ADD)
        }
    }
#pragma unroll
    for (int n = 0; n < RUNS; n++) {
        Stretch run = run_of(target, item, n);
#pragma unroll
        for (int p = 0; p < RUN; p++)
            if (run.is && run.c + p < target->width)
                gradient[(run.r * target->width + run.c + p) * LANES] = all[n][p];
    }
}

// Readers of any taps.
__device__ void other_inputs(const Pass& pass, const Target* target, float* region, const Item& item) {
    const Reader* readers = (const Reader*)(target + 1);
    int quad = threadIdx.x % QUADS, block = item.block;
    for (int i = threadIdx.x / QUADS; i < item.count * target->width; i += COLUMNS) {
        int r = item.at + i / target->width, c = i % target->width;
        int at = ((block * target->height + r) * target->width + c) * LANES + 4 * quad;
        float4 all = target->begin && !target->grids ? zero4() : load4(region + target->gradient + at);
        for (int reader = target->grids; reader < target->count; reader++) {
            const Unit* u = TABLE(Unit, readers[reader].unit);
            int of_class = r % u->stride_r * u->stride_c + c % u->stride_c;
            const int* entry = pass.table + readers[reader].classes + 2 * of_class;
            const int* taps = pass.table + entry[0];
            int from_r = r / u->stride_r, from_c = c / u->stride_c;
            float4 sum = zero4();
            for (int t = 0; t < entry[1]; t++) {
                int tap = taps[3 * t], row = from_r + taps[3 * t + 1], column = from_c + taps[3 * t + 2];
                if (row < 0 || column < 0 || row >= u->out_height || column >= u->out_width) continue;
                if (u->depthwise >= 0 || has_middle(u)) {
                    const float* from =
                        region + u->plane + ((block * u->out_height + row) * u->out_width + column) * LANES + 4 * quad;
                    const float* weight = pass.packed + u->depthwise + (tap * u->blocks + block) * LANES + 4 * quad;
                    sum = u->depthwise >= 0 ? fma4(load4(from), load4(weight), sum) : add4(load4(from), sum);
                    continue;
                }
                for (int to = 0; to < u->out_blocks; to++) {
                    const float* from =
                        region + u->plane + ((to * u->out_height + row) * u->out_width + column) * LANES;
                    int step = u->blocks * LANES;
                    const float* weight = pass.packed + u->transposed +
                                          ((tap * u->out_blocks + to) * LANES * u->blocks + block) * LANES + 4 * quad;
                    for (int lane = 0; lane < LANES; lane += 4) {
                        float4 x = load4(from + lane);
                        sum = scale4(x.x, load4(weight + (lane + 0) * step), sum);
                        sum = scale4(x.y, load4(weight + (lane + 1) * step), sum);
                        sum = scale4(x.z, load4(weight + (lane + 2) * step), sum);
                        sum = scale4(x.w, load4(weight + (lane + 3) * step), sum);
                    }
                }
            }
            if (u->activation) {
                float4 v = normed(pass, region + u->raw + at, u->norm, block * LANES + 4 * quad);
                sum = mul4(sum, slopes(u->activation, v));
            }
            all = add4(all, sum);
        }
        store4(region + target->gradient + at, all);
    }
}

// Backward, second half: through the taps and the activation into the input's gradient, for all units that read it. An
// item is some rows of one block. Shared, where taps are grids: some readers' weights and tiles of their planes.
extern "C" __global__ void AT_LEAST(3) unit_input(Pass pass, int first, int count) {
    SHARED(shared);
    Item item = ITEM(first);
    const Target* target = TABLE(Target, item.what);
    float* region = region_of(pass);
    if (target->grids) grid_inputs(pass, target, region, item, shared);
    if (target->grids == target->count) return;
    __syncthreads();
    other_inputs(pass, target, region, item);
}
