// Units backward, second half: through the taps and the activation into their inputs' gradients.

#pragma once

#include "unit.cuh"

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

// Where a thread's runs are above zero, seen through the norm `norm`: a bit for each pixel. One word does for all
// readers that see them so.
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
        int pixel = (item.block * target->height + item.at + run.r) * target->width + run.c;
        const float* from = raw + pixel * LANES + lane;
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

// all += what a unit whose taps are a grid gives to a thread's runs of one block.
template <int K, int D, int S>
__device__ void grid_input(const Pass& pass, const Target* target, const Unit* u, const float* region, const Item& item,
                           float* taps, Above* above, float (*all)[RUN]) {
    int lane = threadIdx.x % LANES;
    Needed need = needed<K, D, S>(target, u, item);
    float* tile = taps + K * K * LANES;
    __syncthreads();
    load_weights(pass, u, item.block, 1, taps);
    load_rectangle<false>(region + u->plane + item.block * u->out_height * u->out_width * LANES, u->out_height,
                          u->out_width, need.row, need.column, need.rows, need.step, 0, tile);
    if (u->activation == RELU && u->norm != above->norm)
        find_above(pass, target, region + u->raw, u->norm, item, above);
    __syncthreads();
#pragma unroll
    for (int n = 0; n < RUNS; n++) {
        Stretch run = run_of(target, item, n);
        if (!run.is) continue;
        float sums[RUN] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        int row = S == 1 ? run.r : -need.row, column = S == 1 ? run.c : run.c / 2;
        const float* from = tile + (row * need.step + column) * LANES + lane;
        run_back<K, D, S>(sums, taps + lane, from, need.step, item.at + run.r);
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
            if (u->activation != RELU || above->bits >> (n * RUN + p) & 1) all[n][p] += sums[p];
    }
}

// The readers of a target whose taps are grids.
__device__ void grid_inputs(const Pass& pass, const Target* target, float* region, const Item& item, float* shared) {
    const Reader* readers = (const Reader*)(target + 1);
    int lane = threadIdx.x % LANES;
    int first = (item.block * target->height + item.at) * target->width;
    float* gradient = region + target->gradient + first * LANES + lane;
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
    for (int reader = 0; reader < target->grids; reader++) {
        const Unit* u = TABLE(Unit, readers[reader].unit);
        switch (u->grid) {
        case GRID(3, 1, 1): grid_input<3, 1, 1>(pass, target, u, region, item, shared, &above, all); break;
        case GRID(5, 1, 1): grid_input<5, 1, 1>(pass, target, u, region, item, shared, &above, all); break;
        case GRID(3, 2, 1): grid_input<3, 2, 1>(pass, target, u, region, item, shared, &above, all); break;
        case GRID(5, 2, 1): grid_input<5, 2, 1>(pass, target, u, region, item, shared, &above, all); break;
        case GRID(3, 1, 2): grid_input<3, 1, 2>(pass, target, u, region, item, shared, &above, all); break;
        case GRID(5, 1, 2): grid_input<5, 1, 2>(pass, target, u, region, item, shared, &above, all); break;
        case GRID(3, 2, 2): grid_input<3, 2, 2>(pass, target, u, region, item, shared, &above, all); break;
        default: grid_input<5, 2, 2>(pass, target, u, region, item, shared, &above, all);
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
// item is some rows of one block. Shared, where taps are grids: a reader's weights and a tile of its plane.
__device__ void unit_input(const Pass& pass, const Item& item, float* shared) {
    const Target* target = TABLE(Target, item.what);
    float* region = region_of(pass, item);
    if (target->grids) grid_inputs(pass, target, region, item, shared);
    if (target->grids == target->count) return;
    __syncthreads();
    other_inputs(pass, target, region, item);
}
