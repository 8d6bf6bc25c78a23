// Weights: into the kernels' order, and zeros into their gradients. Mixing weights: their gradients.

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

struct Slot {
    int slot;               // in p
    int count;              // of runs of lanes, which follow
};

struct Run {
    int g;                  // among the totals
    int gy;
    int norm;               // of the term's value, or -1
    int lane;               // the first, and how many
    int lanes;
};

// Gradients of mixing weights: a thread for each.
extern "C" __global__ void AT_LEAST(4) mixing_gradients(Pass pass, int first, int count) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    const Slot* slot = TABLE(Slot, pass.table[first + i]);
    const Run* runs = (const Run*)(slot + 1);
    double sum = 0.0;
    for (int r = 0; r < slot->count; r++) {
        for (int l = runs[r].lane; l < runs[r].lane + runs[r].lanes; l++) {
            double gy = pass.totals[runs[r].gy + l];
            if (runs[r].norm >= 0) {
                const float* norm = pass.norms + runs[r].norm + l;
                gy = (double)norm[0] * gy + (double)norm[pass.norm_lanes] * pass.totals[runs[r].g + l];
            }
            sum += gy;
        }
    }
    pass.dp[slot->slot] = (float)sum;
}
