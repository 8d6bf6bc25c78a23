// Weights: into the kernels' order, and zeros into their gradients.

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
