// Weights: into the kernels' order, and their gradients from partial sums into the flat vector.

#include "common.cuh"

// packed[i] = w[packing[i]], or 0.
extern "C" __global__ void AT_LEAST(4) pack(Pass pass, int first, int count) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    int from = pass.packing[i];
    pass.packed[i] = from < 0 ? 0.0f : pass.w[from];
}

// Zeros into the gradient of the weights (first = 0) or of the mixing weights (1).
extern "C" __global__ void AT_LEAST(4) clear(Pass pass, int first, int count) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < count) (first ? pass.dp : pass.dw)[i] = 0.0f;
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

// Gradients of a block of threads, and the shares that their partial sums are added in.
#define GRADIENTS 64
#define SHARES (THREADS / GRADIENTS)

// dw += the partial sums, in the order of images and strips.
extern "C" __global__ void AT_LEAST(4) add_weights(Pass pass, int first, int count) {
    __shared__ double sums[SHARES][GRADIENTS];
    Item item = ITEM(first);
    const Weights* what = TABLE(Weights, item.what);
    int own = threadIdx.x % GRADIENTS, share = threadIdx.x / GRADIENTS, i = item.at + own;
    bool is = i < what->len;
    const float* from = pass.parts + (long long)what->parts * pass.batch + (is ? i : 0);
    int slots = what->slots * pass.batch;
    int begin = (int)((long long)slots * share / SHARES), end = (int)((long long)slots * (share + 1) / SHARES);
    double sum = 0.0;
#pragma unroll 8
    for (int s = begin; s < end; s++) sum += from[(long long)s * what->len];
    sums[share][own] = sum;
    __syncthreads();
    if (!is || share) return;
    int at = i < what->depthwise_len ? what->depthwise + i : what->dense + i - what->depthwise_len;
    if (i >= what->depthwise_len + what->dense_len) at = what->bias + i - what->depthwise_len - what->dense_len;
    int to = pass.packing[at];
    if (to < 0) return;
    sum = 0.0;
    for (int s = 0; s < SHARES; s++) sum += sums[s][own];
    pass.dw[to] += (float)sum;
}
