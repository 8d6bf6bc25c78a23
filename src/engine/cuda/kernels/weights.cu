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

// dw += the partial sums, in the order of images and strips.
extern "C" __global__ void AT_LEAST(4) add_weights(Pass pass, int first, int count) {
    Item item = ITEM(first);
    const Weights* what = TABLE(Weights, item.what);
    int i = item.at + threadIdx.x;
    if (i >= what->len) return;
    int at = i < what->depthwise_len ? what->depthwise + i : what->dense + i - what->depthwise_len;
    if (i >= what->depthwise_len + what->dense_len) at = what->bias + i - what->depthwise_len - what->dense_len;
    int to = pass.packing[at];
    if (to < 0) return;
    const float* from = pass.parts + (long long)what->parts * pass.batch + i;
    int slots = what->slots * pass.batch;
    double sum = 0.0;
    for (int s = 0; s < slots; s++) sum += from[(long long)s * what->len];
    pass.dw[to] += (float)sum;
}
