// Where a pass meets what is around it: images in, the output out, and their gradients.

#pragma once

#include "common.cuh"

struct Border {
    int place;              // in the region: the tensor, or the gradient
    int pixels;
    int blocks;
    int channels;
    int lanes;              // in the table, by lane: its channel, or -1
    int noise;              // where the noise begins that is imported, times the batch; -1: the images
};

// Images (or noise), channels first, into blocks; empty lanes are zero.
__device__ void import_images(const Pass& pass, const Item& item) {
    const Border* b = TABLE(Border, item.what);
    float* region = region_of(pass, item);
    const float* from = b->noise < 0 ? pass.x : pass.noise + (long long)b->noise * pass.batch;
    for (int i = item.at * LANES + threadIdx.x; i < (item.at + item.count) * LANES; i += THREADS) {
        int pixel = i / LANES, lane = i % LANES, channel = pass.table[b->lanes + item.block * LANES + lane];
        float v = 0.0f;
        if (channel >= 0) v = from[((long long)item.image * b->channels + channel) * b->pixels + pixel];
        region[b->place + (item.block * b->pixels + pixel) * LANES + lane] = v;
    }
}

// The images' gradient, back to channels first.
__device__ void export_images(const Pass& pass, const Item& item) {
    const Border* b = TABLE(Border, item.what);
    const float* region = region_of(pass, item);
    for (int i = item.at * LANES + threadIdx.x; i < (item.at + item.count) * LANES; i += THREADS) {
        int pixel = i / LANES, lane = i % LANES, channel = pass.table[b->lanes + item.block * LANES + lane];
        if (channel >= 0)
            pass.dx[((long long)item.image * b->channels + channel) * b->pixels + pixel] =
                region[b->place + (item.block * b->pixels + pixel) * LANES + lane];
    }
}

// The output, one pixel, into a row for each image.
__device__ void read_output(const Pass& pass, const Item& item) {
    const Border* b = TABLE(Border, item.what);
    for (int lane = threadIdx.x; lane < b->blocks * LANES; lane += THREADS) {
        int channel = pass.table[b->lanes + lane];
        float* to = pass.out + (long long)item.image * b->channels;
        if (channel >= 0) to[channel] = region_of(pass, item)[b->place + lane];
    }
}

// The output's gradient into its buffer.
__device__ void seed(const Pass& pass, const Item& item) {
    const Border* b = TABLE(Border, item.what);
    for (int lane = threadIdx.x; lane < b->blocks * LANES; lane += THREADS) {
        int channel = pass.table[b->lanes + lane];
        region_of(pass, item)[b->place + lane] =
            channel < 0 ? 0.0f : pass.dout[(long long)item.image * b->channels + channel];
    }
}
