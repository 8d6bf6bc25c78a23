// Sums over the batch at the end of a backward stage, all in one round: of gradients and of gradients times stored
// tensors, of the weights' gradients, and what norms' backward passes make of the former.

#pragma once

#include "norm.cuh"

// What an item does, as its count says.
#define TOTALS 0
#define WEIGHTS 1
#define NORM 2

// Weights' gradients of a block of threads, and the shares that their partial sums are added in.
#define GRADIENTS 64
#define SHARES (THREADS / GRADIENTS)

// One of `shares` equal shares of the sum of `slots` numbers that lie `len` apart.
__device__ double share_of_sum(const float* from, int slots, int len, int share, int shares) {
    int begin = (int)((long long)slots * share / shares), end = (int)((long long)slots * (share + 1) / shares);
    double sum = 0.0;
#pragma unroll 16
    for (int s = begin; s < end; s++) sum += from[(long long)s * len];
    return sum;
}

struct Totals {
    int parts;              // where the partial sums begin, times the batch
    int slots;              // of an image
    int len;                // of a slot
    int totals;             // where the sums over the batch go
};

// Of what `dots` left.
__device__ void add_totals(const Pass& pass, const Item& item, double* sums) {
    const Totals* what = TABLE(Totals, item.what);
    int lane = threadIdx.x % LANES, segment = threadIdx.x / LANES, at = item.block * LANES + lane;
    const float* from = pass.parts + (long long)what->parts * pass.batch + at;
    sums[threadIdx.x] = share_of_sum(from, what->slots * pass.batch, what->len, segment, SEGMENTS);
    __syncthreads();
    if (segment) return;
    double sum = 0.0;
    for (int s = 0; s < SEGMENTS; s++) sum += sums[s * LANES + lane];
    pass.totals[what->totals + at] = sum;
}

struct Weights {
    int parts;              // where its partial sums begin, times the batch
    int slots;              // of an image
    int len;                // of a slot: depthwise, dense, bias
    int depthwise;          // where each lies among the packed weights, and how much of it there is
    int depthwise_len;
    int dense;
    int dense_len;
    int bias;
};

// dw += the partial sums, in the order of images and strips.
__device__ void add_weights(const Pass& pass, const Item& item, double* sums) {
    const Weights* what = TABLE(Weights, item.what);
    int own = threadIdx.x % GRADIENTS, share = threadIdx.x / GRADIENTS, i = item.at + own;
    bool is = i < what->len;
    const float* from = pass.parts + (long long)what->parts * pass.batch + (is ? i : 0);
    sums[threadIdx.x] = share_of_sum(from, what->slots * pass.batch, what->len, share, SHARES);
    __syncthreads();
    if (!is || share) return;
    int at = i < what->depthwise_len ? what->depthwise + i : what->dense + i - what->depthwise_len;
    if (i >= what->depthwise_len + what->dense_len) at = what->bias + i - what->depthwise_len - what->dense_len;
    int to = pass.packing[at];
    if (to < 0) return;
    double sum = 0.0;
    for (int s = 0; s < SHARES; s++) sum += sums[s * GRADIENTS + own];
    pass.dw[to] += (float)sum;
}

struct BackTerm {
    int g;                  // among the totals: the sum of the gradient, and of gradient times the stored tensor
    int gy;
    int mixing;
    int slot;
    int parts;              // where this stage's partial sums of both begin, times the batch; -1: the totals are there
    int slots;              // of an image
    int len;                // of a slot
    int gy_part;            // where those of gy begin in a slot
};

struct Back {
    int norm;
    int pixels;
    int affine;             // as a Norm's, in norm.cuh
    int weights;            // whether gamma and beta get gradients
    int count;              // of terms, which follow
};

// Backward coefficients of a norm, and the gradients of gamma and beta.
__device__ void prepare_norm(const Pass& pass, const Item& item, double* sums, double* others) {
    const Back* back = TABLE(Back, item.what);
    const BackTerm* terms = (const BackTerm*)(back + 1);
    int segment = threadIdx.x / LANES, lane = item.block * LANES + threadIdx.x % LANES;
    double s1 = 0.0, s2 = 0.0;
    for (int t = 0; t < back->count; t++) {
        double p = mixing_of(pass, terms[t].mixing, terms[t].slot, lane);
        if (terms[t].parts >= 0) {
            const float* from = pass.parts + (long long)terms[t].parts * pass.batch + lane;
            int slots = terms[t].slots * pass.batch;
            s1 += p * share_of_sum(from, slots, terms[t].len, segment, SEGMENTS);
            s2 += p * share_of_sum(from + terms[t].gy_part, slots, terms[t].len, segment, SEGMENTS);
        } else if (segment == 0) {
            s1 += p * pass.totals[terms[t].g + lane];
            s2 += p * pass.totals[terms[t].gy + lane];
        }
    }
    sums[threadIdx.x] = s1;
    others[threadIdx.x] = s2;
    __syncthreads();
    if (segment) return;
    s1 = s2 = 0.0;
    for (int s = threadIdx.x; s < THREADS; s += LANES) {
        s1 += sums[s];
        s2 += others[s];
    }
    const float* from = pass.norms + back->norm + lane;
    double n = (double)pass.batch * back->pixels;
    double scale = from[0], mean = from[2 * pass.norm_lanes], inverse = from[3 * pass.norm_lanes];
    double centred = s2 - mean * s1;
    float back_y = (float)(-scale * inverse * inverse * centred / n);
    float* to = pass.norms + back->norm + lane;
    to[4 * pass.norm_lanes] = back_y;
    to[5 * pass.norm_lanes] = (float)(-scale * s1 / n - (double)back_y * mean);
    if (!back->weights) return;
    int gamma = pass.table[back->affine + 2 * lane], beta = pass.table[back->affine + 2 * lane + 1];
    if (gamma >= 0) pass.dw[gamma] += (float)(inverse * centred);
    if (beta >= 0) pass.dw[beta] += (float)s1;
}

__device__ void add_up(const Pass& pass, const Item& item, float* scratch) {
    double *sums = (double*)scratch, *others = sums + THREADS;
    switch (item.count) {
    case TOTALS: return add_totals(pass, item, sums);
    case WEIGHTS: return add_weights(pass, item, sums);
    default: return prepare_norm(pass, item, sums, others);
    }
}
