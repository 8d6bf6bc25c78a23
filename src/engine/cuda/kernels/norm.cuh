// Batch norms: statistics, and the forward coefficients that come of them.

#pragma once

#include "moments.cuh"

// Sixteen lanes, sixteen segments of the partial sums each.
#define SEGMENTS (THREADS / LANES)

// A tensor whose partial sums are pivot, sum of y - pivot and sum of its squares.
struct Part {
    int parts;              // where they begin, times the batch
    int slots;              // of an image
    int pixels;             // of an image
    int each;               // pixels of a slot; the last may have fewer
    int lane;               // the tensor's first lane in the norm
    int lanes;
};

struct Norm {
    int norm;               // its first lane
    int pixels;             // of an image
    int affine;             // in the table: gamma's and beta's index in w by lane, -1 where there is none, -2 where the
                            // lane is empty
    int count;              // of parts, which follow
};

// Mean and variance of a batch (or those given), and from them what readers multiply by and add.
__device__ void statistics(const Pass& pass, const Item& item, float* scratch) {
    double (*combined)[LANES][3] = (double(*)[LANES][3])scratch;
    const Norm* norm = TABLE(Norm, item.what);
    int lane = threadIdx.x % LANES, segment = threadIdx.x / LANES, at = item.block * LANES + lane;
    if (pass.batch_norms) {
        const Part* part = (const Part*)(norm + 1);
        while (at >= part->lane + part->lanes) part++;
        const float* from = pass.parts + (long long)part->parts * pass.batch + (at - part->lane);
        int slots = part->slots * pass.batch;
        int begin = (int)((long long)slots * segment / SEGMENTS);
        int end = (int)((long long)slots * (segment + 1) / SEGMENTS);
        // Around one pivot for all, the first slot's: sums in double precision need no other care.
        double around = from[0], total = 0.0, squares = 0.0;
        int in_image = begin % part->slots;
#pragma unroll 8
        for (int s = begin; s < end; s++) {
            const float* slot = from + (long long)s * 3 * part->lanes;
            int left = part->pixels - in_image * part->each;
            double count = left < part->each ? left : part->each;
            double off = (double)slot[0] - around, own = slot[part->lanes], square = slot[2 * part->lanes];
            total += own + count * off;
            squares += square + off * (2.0 * own + count * off);
            in_image = in_image + 1 == part->slots ? 0 : in_image + 1;
        }
        combined[segment][lane][0] = total;
        combined[segment][lane][1] = squares;
        if (segment == 0) combined[0][lane][2] = around;
    }
    __syncthreads();
    if (segment) return;
    double mean = pass.moments[norm->norm + at], variance = pass.moments[pass.norm_lanes + norm->norm + at];
    if (pass.batch_norms) {
        double n = (double)norm->pixels * pass.batch, total = 0.0, squares = 0.0;
        for (int s = 0; s < SEGMENTS; s++) {
            total += combined[s][lane][0];
            squares += combined[s][lane][1];
        }
        mean = combined[0][lane][2] + total / n;
        variance = (squares - total * total / n) / n;
        if (variance < 0.0) variance = 0.0;
        pass.moments[norm->norm + at] = mean;
        pass.moments[pass.norm_lanes + norm->norm + at] = variance;
    }
    int gamma = pass.table[norm->affine + 2 * at], beta = pass.table[norm->affine + 2 * at + 1];
    double inverse = 1.0 / sqrt(variance + 1e-5);
    float scale = (float)((gamma >= 0 ? (double)pass.w[gamma] : 1.0) * inverse);
    // From the rounded scale: otherwise its rounding error would show, multiplied by a large mean.
    float shift = (float)((beta >= 0 ? (double)pass.w[beta] : 0.0) - (double)scale * mean);
    bool empty = gamma == -2;
    float* to = pass.norms + norm->norm + at;
    to[0] = empty ? 0.0f : scale;
    to[pass.norm_lanes] = empty ? 0.0f : shift;
    to[2 * pass.norm_lanes] = empty ? 0.0f : (float)mean;
    to[3 * pass.norm_lanes] = empty ? 0.0f : (float)inverse;
}
