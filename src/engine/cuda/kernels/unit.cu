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
};

// A quad of the input seen through norm and activation; zero outside.
__device__ float4 view(const Pass& pass, const Unit* u, const float* region, int block, int row, int column, int quad) {
    if (row < 0 || column < 0 || row >= u->height || column >= u->width) return zero4();
    const float* at = region + u->raw + ((block * u->height + row) * u->width + column) * LANES + 4 * quad;
    int filled = u->activation > RELU ? pass.table[u->filled + block] - 4 * quad : LANES;
    return activated(u->activation, normed(pass, at, u->norm, block * LANES + 4 * quad), filled);
}

// The part of one block of the input under a strip, into shared memory.
__device__ void load_tile(const Pass& pass, const Unit* u, const float* region, int block, int row, int rows,
                          float* tile) {
    int columns = (u->out_width - 1) * u->stride_c + u->reach_c;
    int pixels = ((rows - 1) * u->stride_r + u->reach_r) * columns;
    for (int i = threadIdx.x; i < pixels * QUADS; i += THREADS) {
        int pixel = i / QUADS, quad = i % QUADS;
        int r = row * u->stride_r + u->least_r + pixel / columns, c = u->least_c + pixel % columns;
        store4(tile + pixel * LANES + 4 * quad, view(pass, u, region, block, r, c, quad));
    }
}

// What the depthwise taps make of a tile.
__device__ void depthwise(const Pass& pass, const Unit* u, int block, int rows, const float* tile, float* to) {
    int columns = (u->out_width - 1) * u->stride_c + u->reach_c;
    const int* taps = pass.table + u->tap_at;
    const float* weights = pass.packed + u->depthwise + block * LANES;
    for (int i = threadIdx.x; i < rows * u->out_width * QUADS; i += THREADS) {
        int pixel = i / QUADS, quad = i % QUADS;
        int r = pixel / u->out_width * u->stride_r, c = pixel % u->out_width * u->stride_c;
        float4 sum = zero4();
        for (int t = 0; t < u->taps; t++) {
            int at = (r + taps[2 * t] - u->least_r) * columns + c + taps[2 * t + 1] - u->least_c;
            sum = fma4(load4(tile + at * LANES + 4 * quad), load4(weights + t * u->blocks * LANES + 4 * quad), sum);
        }
        store4(to + pixel * LANES + 4 * quad, sum);
    }
}

// What one tap of a dense part reads, pixel by pixel.
__device__ void load_tap(const Pass& pass, const Unit* u, const float* region, int block, int tap, int row, int rows,
                         float* to) {
    const int* taps = pass.table + u->tap_at + 2 * tap;
    for (int i = threadIdx.x; i < rows * u->out_width * QUADS; i += THREADS) {
        int pixel = i / QUADS, quad = i % QUADS;
        int r = (row + pixel / u->out_width) * u->stride_r + taps[0], c = pixel % u->out_width * u->stride_c + taps[1];
        store4(to + pixel * LANES + 4 * quad, view(pass, u, region, block, r, c, quad));
    }
}

// sums += sixteen lanes of each of a thread's pixels times a matrix whose rows are `row` apart.
__device__ void multiply(float4* sums, const float* from, const float* matrix, int row, int pixels) {
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS;
    for (int lane = 0; lane < LANES; lane += 4) {
        float4 a = load4(matrix + (lane + 0) * row + 4 * quad), b = load4(matrix + (lane + 1) * row + 4 * quad);
        float4 c = load4(matrix + (lane + 2) * row + 4 * quad), d = load4(matrix + (lane + 3) * row + 4 * quad);
        for (int k = 0; k < MOST; k++) {
            int pixel = column + k * COLUMNS;
            if (pixel >= pixels) continue;
            float4 x = load4(from + pixel * LANES + lane);
            sums[k] = scale4(x.w, d, scale4(x.z, c, scale4(x.y, b, scale4(x.x, a, sums[k]))));
        }
    }
}

// One strip: grid = strips of all units x images. Shared: a tile, and what the depthwise part makes of every block.
extern "C" __global__ void AT_LEAST(3) unit_forward(Pass pass, int first, int count) {
    __shared__ float scratch[128];
    __shared__ float pivots[LANES];
    SHARED(shared);
    Item item = ITEM(first);
    const Unit* u = TABLE(Unit, item.what);
    float* region = region_of(pass);
    int row = item.at * u->rows, pixels = item.count * u->out_width;
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS, out_lanes = u->out_blocks * LANES;
    float* middle = shared;
    if (u->depthwise >= 0) {
        float* tile = shared + (u->dense >= 0 ? u->blocks : 1) * pixels * LANES;
        for (int block = 0; block < u->blocks; block++) {
            load_tile(pass, u, region, block, row, item.count, tile);
#ifndef DROP_BARRIER
            __syncthreads();
#endif
            depthwise(pass, u, block, item.count, tile, middle + (u->dense >= 0 ? block * pixels * LANES : 0));
            __syncthreads();
            if (u->dense >= 0) continue;
            for (int i = column; i < pixels; i += COLUMNS)
                store4(region + u->out + ((block * u->out_height + row) * u->out_width + i) * LANES + 4 * quad,
                       load4(middle + i * LANES + 4 * quad));
            __syncthreads();
        }
        if (u->dense < 0) return;
    }
    for (int to = 0; to < u->out_blocks; to++) {
        float4 sums[MOST];
        for (int k = 0; k < MOST; k++)
            sums[k] = u->bias >= 0 ? load4(pass.packed + u->bias + to * LANES + 4 * quad) : zero4();
        const float* matrix = pass.packed + u->dense + to * LANES;
        if (u->depthwise >= 0) {
            for (int block = 0; block < u->blocks; block++)
                multiply(sums, middle + block * pixels * LANES, matrix + block * LANES * out_lanes, out_lanes, pixels);
        } else {
            for (int tap = 0; tap < u->taps; tap++)
                for (int block = 0; block < u->blocks; block++) {
                    __syncthreads();
                    load_tap(pass, u, region, block, tap, row, item.count, middle);
                    __syncthreads();
                    multiply(sums, middle, matrix + (tap * u->blocks + block) * LANES * out_lanes, out_lanes, pixels);
                }
        }
        for (int k = 0; k < MOST; k++) {
            int i = column + k * COLUMNS;
            if (i < pixels)
                store4(region + u->out + ((to * u->out_height + row) * u->out_width + i) * LANES + 4 * quad, sums[k]);
        }
        if (u->parts < 0 || !pass.batch_norms) continue;
        __syncthreads();
        if (column == 0) store4(pivots + 4 * quad, sums[0]);
        __syncthreads();
        float4 pivot = load4(pivots + 4 * quad), total = zero4(), square = zero4();
        for (int k = 0; k < MOST; k++) {
            if (column + k * COLUMNS >= pixels) continue;
            float4 off = sub4(sums[k], pivot);
            total = add4(total, off);
            square = fma4(off, off, square);
        }
        total = column_sum(total, scratch);
        square = column_sum(square, scratch);
        if (threadIdx.x < QUADS) {
            long long slot =
                (long long)u->parts * pass.batch + ((long long)blockIdx.y * u->slots + item.at) * 3 * out_lanes;
            float* at = pass.parts + slot + to * LANES + 4 * quad;
            store4(at, pivot);
            store4(at + out_lanes, total);
            store4(at + 2 * out_lanes, square);
        }
    }
}

// gradient (16 x 16, rows `row` apart) += or = the products of two sets of pixels' lanes: a thread takes four by four
// of them over a sixteenth of the pixels. `scratch`: 16 * 256 floats.
__device__ void outer_product(float* gradient, int row, const float* x, const float* dy, int pixels, bool begin,
                              float* scratch) {
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
    float* to = gradient + threadIdx.x / LANES * row + threadIdx.x % LANES;
    *to = begin ? sum : *to + sum;
}

// gradient (taps x 16 lanes, rows `row` apart) += or = the products of a tile's pixels under each tap and the
// gradient's pixels. A thread takes a quad of one tap over one of several parts of the pixels. `scratch`: THREADS quads.
__device__ void tap_products(const Pass& pass, const Unit* u, float* gradient, const float* tile, const float* dy,
                             int rows, bool begin, float* scratch) {
    int columns = (u->out_width - 1) * u->stride_c + u->reach_c, pixels = rows * u->out_width;
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
                int at = (r + shift_r) * columns + c + shift_c;
                sum = fma4(load4(tile + at * LANES + 4 * quad), load4(dy + pixel * LANES + 4 * quad), sum);
            }
        }
        __syncthreads();
        store4(scratch + 4 * threadIdx.x, sum);
        __syncthreads();
        if ((int)threadIdx.x < count * QUADS) {
            float4 all = zero4();
            for (int p = 0; p < parts; p++)
                all = add4(all, load4(scratch + 4 * (p * count * QUADS + threadIdx.x)));
            float* to = gradient + (first + threadIdx.x / QUADS) * u->blocks * LANES + 4 * quad;
            store4(to, begin ? all : add4(all, load4(to)));
        }
    }
}

// Backward, first half: the output's gradient through the dense part into the plane of what the taps made, and the
// weights' gradients. An item is a range of strips. Shared: the coefficients of the stored gradient, its strip in every
// output block, the strip behind it, a tile, and scratch.
extern "C" __global__ void AT_LEAST(2) unit_gradient(Pass pass, int first, int count) {
    SHARED(shared);
    Item item = ITEM(first);
    const Unit* u = TABLE(Unit, item.what);
    const Stored* stored = TABLE(Stored, u->stored);
    float* region = region_of(pass);
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS;
    int most = u->rows * u->out_width * LANES, in_lanes = u->blocks * LANES, out_lanes = u->out_blocks * LANES;
    bool fused = u->depthwise >= 0 && u->dense >= 0;
    float* rows = shared;
    float* dy = rows + (stored->count + 2) * LANES;
    float* middle = dy + u->out_blocks * most;
    float* behind = middle + most;
    float* scratch = behind + most;
    float* tile = scratch + 16 * LANES * LANES;
    float* weights = 0;
    if (u->weights >= 0) {
        long long slot = (long long)u->weights * pass.batch +
                         ((long long)blockIdx.y * u->weight_slots + item.block) * u->weight_len;
        weights = pass.parts + slot;
    }
    int depthwise_len = u->depthwise >= 0 ? u->taps * in_lanes : 0;
    int dense_len = u->dense >= 0 ? (fused ? 1 : u->taps) * in_lanes * out_lanes : 0;
    for (int strip = item.at; strip < item.at + item.count; strip++) {
        bool begin = strip == item.at;
        int row = strip * u->rows, count = u->out_height - row < u->rows ? u->out_height - row : u->rows;
        int pixels = count * u->out_width;
        for (int block = 0; block < u->out_blocks; block++) {
            __syncthreads();
            stored_coefficients(pass, stored, block, rows);
            __syncthreads();
            int plane = (block * u->out_height + row) * u->out_width;
            float4 total = zero4();
            for (int i = column; i < pixels; i += COLUMNS) {
                int at = (plane + i) * LANES + 4 * quad;
                float4 v = stored_gradient(pass, stored, rows, region, at, quad);
                store4(dy + (block * pixels + i) * LANES + 4 * quad, v);
                if (!fused) store4(region + u->plane + at, v);
                total = add4(total, v);
            }
            if (weights && u->bias >= 0) {
                total = column_sum(total, scratch);
                float* to = weights + depthwise_len + dense_len + block * LANES + 4 * quad;
                if (threadIdx.x < QUADS) store4(to, begin ? total : add4(total, load4(to)));
            }
        }
        __syncthreads();
        if (u->depthwise < 0) {
            if (!weights) continue;
            for (int tap = 0; tap < u->taps; tap++)
                for (int block = 0; block < u->blocks; block++) {
                    __syncthreads();
                    load_tap(pass, u, region, block, tap, row, count, middle);
                    __syncthreads();
                    for (int to = 0; to < u->out_blocks; to++) {
                        float* at = weights + ((tap * u->blocks + block) * LANES * u->out_blocks + to) * LANES;
                        outer_product(at, out_lanes, middle, dy + to * pixels * LANES, pixels, begin, scratch);
                    }
                }
            continue;
        }
        for (int block = 0; block < u->blocks; block++) {
            const float* plane = fused ? behind : dy + block * pixels * LANES;
            if (fused) {
                float4 sums[MOST];
                for (int k = 0; k < MOST; k++) sums[k] = zero4();
                for (int to = 0; to < u->out_blocks; to++)
                    multiply(sums, dy + to * pixels * LANES,
                             pass.packed + u->transposed + to * LANES * in_lanes + block * LANES, in_lanes, pixels);
                __syncthreads();
                for (int k = 0; k < MOST; k++) {
                    int i = column + k * COLUMNS;
                    if (i >= pixels) continue;
                    int at = (block * u->out_height + row) * u->out_width + i;
                    store4(behind + i * LANES + 4 * quad, sums[k]);
                    store4(region + u->plane + at * LANES + 4 * quad, sums[k]);
                }
            }
            if (!weights) continue;
            __syncthreads();
            load_tile(pass, u, region, block, row, count, tile);
            __syncthreads();
            tap_products(pass, u, weights + block * LANES, tile, plane, count, begin, scratch);
            if (!fused) continue;
            depthwise(pass, u, block, count, tile, middle);
            __syncthreads();
            for (int to = 0; to < u->out_blocks; to++) {
                float* at = weights + depthwise_len + (block * LANES * u->out_blocks + to) * LANES;
                outer_product(at, out_lanes, middle, dy + to * pixels * LANES, pixels, begin, scratch);
            }
        }
    }
}

struct Target {
    int gradient;           // the buffer, blocks, height, width
    int blocks;
    int height;
    int width;
    int begin;              // whether it is written over
    int count;              // of units, which follow as places in the table
};

struct Reader {
    int unit;
    int classes;            // in the table, by class of input pixels: where its taps begin, and how many there are;
                            // a tap is its number, row and column from (row / stride, column / stride)
};

// Backward, second half: through the taps and the activation into the input's gradient, for all units that read it. An
// item is some rows of one block.
extern "C" __global__ void AT_LEAST(3) unit_input(Pass pass, int first, int count) {
    Item item = ITEM(first);
    const Target* target = TABLE(Target, item.what);
    const Reader* readers = (const Reader*)(target + 1);
    float* region = region_of(pass);
    int quad = threadIdx.x % QUADS, block = item.block;
    for (int i = threadIdx.x / QUADS; i < item.count * target->width; i += COLUMNS) {
        int r = item.at + i / target->width, c = i % target->width;
        int at = ((block * target->height + r) * target->width + c) * LANES + 4 * quad;
        float4 all = target->begin ? zero4() : load4(region + target->gradient + at);
        for (int reader = 0; reader < target->count; reader++) {
            const Unit* u = TABLE(Unit, readers[reader].unit);
            int of_class = r % u->stride_r * u->stride_c + c % u->stride_c;
            const int* entry = pass.table + readers[reader].classes + 2 * of_class;
            const int* taps = pass.table + entry[0];
            int from_r = r / u->stride_r, from_c = c / u->stride_c;
            float4 sum = zero4();
            for (int t = 0; t < entry[1]; t++) {
                int tap = taps[3 * t], row = from_r + taps[3 * t + 1], column = from_c + taps[3 * t + 2];
                if (row < 0 || column < 0 || row >= u->out_height || column >= u->out_width) continue;
                if (u->depthwise >= 0) {
                    const float* from =
                        region + u->plane + ((block * u->out_height + row) * u->out_width + column) * LANES + 4 * quad;
                    const float* weight = pass.packed + u->depthwise + (tap * u->blocks + block) * LANES + 4 * quad;
                    sum = fma4(load4(from), load4(weight), sum);
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
