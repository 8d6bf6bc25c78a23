// Pools, applied activations, gathers, global pools, products and upsampling forward; and every light contribution to
// a gradient buffer.

#pragma once

#include "moments.cuh"

// What a step does.
#define MAXIMUM 0
#define AVERAGE 1
#define APPLY 2
#define GATHER 3
#define GLOBAL 4
#define PRODUCT 5
// Contributions only: a sum's gradient times a factor, a stored gradient, and what a factor of one pixel gets from all
// pixels that it was repeated for.
#define TERM 6
#define STORED 7
#define REPEATED 8
// A step again.
#define UPSAMPLE 9

struct Small {
    int kind;
    int raw;                // the input, or a factor: stored tensor, height, width, the norm that it is seen through or
                            // -1
    int height;
    int width;
    int norm;
    int out;                // the output: stored tensor (backward: its gradient), height, width
    int out_height;
    int out_width;
    int kernel;             // a pool's window
    int stride;             // of PRODUCT: 0 where the other factor has one pixel, which is repeated, or 1. Of UPSAMPLE
                            // the factor
    int padding;
    int counts_padding;
    int activation;         // of APPLY
    int lanes;              // of GATHER, in the table; see below. Of APPLY, by block: how many lanes are filled. Of
                            // PRODUCT the other factor
    int moments;            // in the table: where the output's statistics go; 0: nobody needs them, or a later kernel
                            // takes them
};

// The pixels of a pool's window along one axis.
struct Window {
    int from;
    int to;
};

__device__ Window window(const Small* s, int at, int size) {
    Window w;
    w.from = at * s->stride - s->padding;
    w.to = w.from + s->kernel;
    if (w.from < 0) w.from = 0;
    if (w.to > size) w.to = size;
    return w;
}

// The larger of two, NaN where either is.
__device__ float larger(float a, float b) { return a != a || a > b ? a : b; }

__device__ float4 larger4(float4 a, float4 b) {
    return make_float4(larger(a.x, b.x), larger(a.y, b.y), larger(a.z, b.z), larger(a.w, b.w));
}

__device__ float share(const Small* s, int cells) {
    if (s->counts_padding) return 1.0f / (float)(s->kernel * s->kernel);
    return 1.0f / (float)(cells > 1 ? cells : 1);
}

__device__ float4 pooled(const Small* s, const float* plane, int r, int c, int quad) {
    Window rows = window(s, r, s->height), columns = window(s, c, s->width);
    bool is_max = s->kind == MAXIMUM;
    float nothing = is_max ? -1.0f / 0.0f : 0.0f;
    float4 v = make_float4(nothing, nothing, nothing, nothing);
    for (int y = rows.from; y < rows.to; y++)
        for (int x = columns.from; x < columns.to; x++) {
            float4 from = load4(plane + (y * s->width + x) * LANES + 4 * quad);
            v = is_max ? larger4(v, from) : add4(v, from);
        }
    if (is_max) return v;
    float by = share(s, (rows.to - rows.from) * (columns.to - columns.from));
    return make_float4(v.x * by, v.y * by, v.z * by, v.w * by);
}

// Where a pixel of the product finds the other factor. `pixels`: the product's.
__device__ const float* other_factor(const Small* s, const float* region, const Item& item, int pixels, int i,
                                     int quad) {
    int own = s->stride ? pixels : 1;
    return region + s->lanes + (item.block * own + i * s->stride) * LANES + 4 * quad;
}

// GATHER's lanes: by output lane the input's, or -1.
__device__ void small_forward(const Pass& pass, const Item& item, float* scratch) {
    const Small* s = TABLE(Small, item.what);
    float* region = region_of(pass, item);
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS, pixels = s->out_height * s->out_width;
    const float* plane = region + s->raw + item.block * s->height * s->width * LANES;
    float* out = region + s->out + item.block * pixels * LANES + 4 * quad;
    if (s->kind == GLOBAL) {
        float4 sum = zero4();
        for (int i = column; i < s->height * s->width; i += COLUMNS)
            sum = add4(sum, load4(plane + i * LANES + 4 * quad));
        sum = column_sum(sum, scratch);
        float n = (float)(s->height * s->width);
        if (threadIdx.x < QUADS) store4(out, make_float4(sum.x / n, sum.y / n, sum.z / n, sum.w / n));
        return;
    }
    for (int i = item.at + column; i < item.at + item.count; i += COLUMNS) {
        float4 v;
        if (s->kind == APPLY) {
            v = normed(pass, plane + i * LANES + 4 * quad, s->norm, item.block * LANES + 4 * quad);
            v = activated(s->activation, v, pass.table[s->lanes + item.block] - 4 * quad);
        } else if (s->kind == GATHER) {
            const int* lanes = pass.table + s->lanes + item.block * LANES + 4 * quad;
            float each[4];
            for (int l = 0; l < 4; l++) {
                int from = lanes[l];
                each[l] = from < 0 ? 0.0f : region[s->raw + (from / LANES * pixels + i) * LANES + from % LANES];
            }
            v = make_float4(each[0], each[1], each[2], each[3]);
        } else if (s->kind == PRODUCT) {
            v = mul4(load4(plane + i * LANES + 4 * quad), load4(other_factor(s, region, item, pixels, i, quad)));
        } else if (s->kind == UPSAMPLE) {
            int row = i / s->out_width / s->stride, from = row * s->width + i % s->out_width / s->stride;
            v = load4(plane + from * LANES + 4 * quad);
        } else {
            v = pooled(s, plane, i / s->out_width, i % s->out_width, quad);
        }
        store4(out + i * LANES, v);
    }
    if (!s->moments || !pass.batch_norms) return;
    // All of the item is written.
    __syncthreads();
    take_moments(pass, TABLE(Moments, s->moments), item, scratch);
}

struct Buffer {
    int gradient;           // the buffer, pixels
    int pixels;
    int begin;              // whether it is written over
    int count;              // of contributions, which follow
};

struct Contribution {
    int kind;
    int what;               // in the table: Small; for TERM a Term, for STORED a Stored
};

// The first window along one axis that a pixel is in.
__device__ int first_window(const Small* s, int at) {
    int from = at + s->padding - s->kernel + s->stride;
    return from < 0 ? 0 : from / s->stride;
}

// The last, or the one before the first.
__device__ int last_window(const Small* s, int at, int windows) {
    int last = (at + s->padding) / s->stride;
    return last < windows ? last : windows - 1;
}

// Which pixel of every window is its maximum, by lane: of all windows that pixels from row `from` to row `to` are in.
// Of several equal ones it is the first, which takes the whole gradient.
__device__ void find_maxima(const Small* s, const float* plane, int from, int to, int4* maxima) {
    int quad = threadIdx.x % QUADS, first = first_window(s, from);
    int count = (last_window(s, to, s->out_height) - first + 1) * s->out_width;
    for (int i = threadIdx.x / QUADS; i < count; i += COLUMNS) {
        Window rows = window(s, first + i / s->out_width, s->height);
        Window columns = window(s, i % s->out_width, s->width);
        int start = rows.from * s->width + columns.from;
        float4 most = load4(plane + start * LANES + 4 * quad);
        int4 where = make_int4(start, start, start, start);
        for (int y = rows.from; y < rows.to; y++)
            for (int x = columns.from; x < columns.to; x++) {
                int at = y * s->width + x;
                float4 v = load4(plane + at * LANES + 4 * quad);
                if (v.x > most.x) most.x = v.x, where.x = at;
                if (v.y > most.y) most.y = v.y, where.y = at;
                if (v.z > most.z) most.z = v.z, where.z = at;
                if (v.w > most.w) most.w = v.w, where.w = at;
            }
        maxima[i * QUADS + quad] = where;
    }
}

// What one pool gives to a pixel of its input: from every window that the pixel is in. `from`: the first row of pixels
// that maxima were found for.
__device__ float4 pool_gradient(const Small* s, const int4* maxima, int from, const float* dy, int r, int c, int quad) {
    float4 sum = zero4();
    int first = first_window(s, from), own = r * s->width + c;
    for (int to_r = first_window(s, r); to_r <= last_window(s, r, s->out_height); to_r++)
        for (int to_c = first_window(s, c); to_c <= last_window(s, c, s->out_width); to_c++) {
            float4 g = load4(dy + (to_r * s->out_width + to_c) * LANES + 4 * quad);
            if (s->kind == AVERAGE) {
                Window rows = window(s, to_r, s->height), columns = window(s, to_c, s->width);
                float by = share(s, (rows.to - rows.from) * (columns.to - columns.from));
                sum = add4(sum, make_float4(g.x * by, g.y * by, g.z * by, g.w * by));
                continue;
            }
            int4 at = maxima[((to_r - first) * s->out_width + to_c) * QUADS + quad];
            sum = add4(sum, make_float4(at.x == own ? g.x : 0.0f, at.y == own ? g.y : 0.0f, at.z == own ? g.z : 0.0f,
                                        at.w == own ? g.w : 0.0f));
        }
    return sum;
}

// all += a sum's gradient times a factor.
__device__ void add_term(const Pass& pass, const Term* term, const float* region, const Item& item, int first,
                         float4* all) {
    int quad = threadIdx.x % QUADS, lane = item.block * LANES + 4 * quad;
    float kept = 1.0f;
    if (term->drop >= 0 && pass.factors) kept = pass.factors[(long long)term->drop * pass.batch + item.image];
    float4 by = make_float4(kept * mixing_of(pass, term->mixing, term->slot, lane),
                            kept * mixing_of(pass, term->mixing, term->slot, lane + 1),
                            kept * mixing_of(pass, term->mixing, term->slot, lane + 2),
                            kept * mixing_of(pass, term->mixing, term->slot, lane + 3));
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int i = threadIdx.x / QUADS + k * COLUMNS;
        if (i < item.count) all[k] = fma4(by, load4(region + term->gradient + (first + i) * LANES + 4 * quad), all[k]);
    }
}

// all += a stored gradient. `rows`: room for its coefficients.
__device__ void add_stored(const Pass& pass, const Stored* stored, const float* region, const Item& item, int first,
                           float* rows, float4* all) {
    __syncthreads();
    stored_coefficients(pass, stored, item.block, 1, rows);
    __syncthreads();
    stored_gradients(all, pass, stored, rows, region, first, item.count);
}

// What one contribution gives to a pixel: `i`, at `at` in the buffer's block. GATHER's lanes are the other way round
// here: by input lane where a list of output lanes begins in the table, and how many there are.
__device__ OUTLINE float4 contribution(const Pass& pass, const Contribution& from, const float* region,
                                       const Item& item, int i, int at, int quad, const int4* maxima) {
    int lane = item.block * LANES + 4 * quad;
    const Small* s = TABLE(Small, from.what);
    int pixels = s->out_height * s->out_width;
    const float* dy = region + s->out + item.block * pixels * LANES;
    if (s->kind == APPLY) {
        float4 value = normed(pass, region + s->raw + at, s->norm, lane);
        return mul4(load4(dy + i * LANES + 4 * quad), slopes(s->activation, value));
    }
    if (s->kind == GATHER) {
        float each[4];
        for (int l = 0; l < 4; l++) {
            const int* list = pass.table + s->lanes + 2 * (lane + l);
            float sum = 0.0f;
            for (int j = 0; j < list[1]; j++) {
                int to = pass.table[list[0] + j];
                sum += region[s->out + (to / LANES * pixels + i) * LANES + to % LANES];
            }
            each[l] = sum;
        }
        return make_float4(each[0], each[1], each[2], each[3]);
    }
    if (s->kind == PRODUCT)
        return mul4(load4(dy + i * LANES + 4 * quad), load4(other_factor(s, region, item, pixels, i, quad)));
    if (s->kind == UPSAMPLE) {
        int row = i / s->width * s->stride, column = i % s->width * s->stride;
        float4 sum = zero4();
        for (int y = row; y < row + s->stride; y++)
            for (int x = column; x < column + s->stride; x++)
                sum = add4(sum, load4(dy + (y * s->out_width + x) * LANES + 4 * quad));
        return sum;
    }
    if (s->kind == GLOBAL) {
        float n = (float)(s->height * s->width);
        float4 g = load4(dy + 4 * quad);
        return make_float4(g.x / n, g.y / n, g.z / n, g.w / n);
    }
    return pool_gradient(s, maxima, item.at / s->width, dy, i / s->width, i % s->width, quad);
}

// The gradient of a factor of one pixel that was repeated: a sum over all pixels that it met. Thread q < 4 holds quad
// q's.
__device__ float4 repeated_gradient(const Small* s, const float* region, const Item& item, float* scratch) {
    int quad = threadIdx.x % QUADS, pixels = s->out_height * s->out_width;
    const float* dy = region + s->out + item.block * pixels * LANES + 4 * quad;
    float4 sum = zero4();
    for (int i = threadIdx.x / QUADS; i < pixels; i += COLUMNS)
        sum = fma4(load4(dy + i * LANES), load4(other_factor(s, region, item, pixels, i, quad)), sum);
    return column_sum(sum, scratch);
}

// Adds to gradient buffers; an item is some pixels of one block. Shared: the maxima of a pool's windows, the
// coefficients of a stored gradient, or a sum's scratch.
__device__ void contribute(const Pass& pass, const Item& item, float* found) {
    const Buffer* buffer = TABLE(Buffer, item.what);
    const Contribution* from = (const Contribution*)(buffer + 1);
    float* region = region_of(pass, item);
    int4* maxima = (int4*)found;
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS;
    int first_pixel = item.block * buffer->pixels + item.at;
    float4 all[MOST];
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int i = column + k * COLUMNS, at = (first_pixel + i) * LANES + 4 * quad;
        all[k] = buffer->begin || i >= item.count ? zero4() : load4(region + buffer->gradient + at);
    }
    for (int n = 0; n < buffer->count; n++) {
        if (from[n].kind == TERM) {
            add_term(pass, TABLE(Term, from[n].what), region, item, first_pixel, all);
            continue;
        }
        if (from[n].kind == STORED) {
            add_stored(pass, TABLE(Stored, from[n].what), region, item, first_pixel, found, all);
            continue;
        }
        if (from[n].kind == REPEATED) {
            float4 sum = repeated_gradient(TABLE(Small, from[n].what), region, item, found);
            if (column == 0) all[0] = add4(all[0], sum);
            continue;
        }
        if (from[n].kind == MAXIMUM) {
            const Small* s = TABLE(Small, from[n].what);
            const float* plane = region + s->raw + item.block * s->height * s->width * LANES;
            __syncthreads();
            find_maxima(s, plane, item.at / s->width, (item.at + item.count - 1) / s->width, maxima);
            __syncthreads();
        }
        // Each of a thread's pixels in turn comes to the first place, so that the call, which is long, is there once.
#pragma unroll 1
        for (int k = 0; k < MOST; k++) {
            int i = column + k * COLUMNS, at = (first_pixel + i) * LANES + 4 * quad;
            float4 sum = all[0];
            if (i < item.count)
                sum = add4(sum, contribution(pass, from[n], region, item, item.at + i, at, quad, maxima));
#pragma unroll
            for (int next = 1; next < MOST; next++) all[next - 1] = all[next];
            all[MOST - 1] = sum;
        }
    }
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int i = column + k * COLUMNS, at = (first_pixel + i) * LANES + 4 * quad;
        if (i < item.count) store4(region + buffer->gradient + at, all[k]);
    }
}

struct Plain {
    int out;                // where it goes in the region
    int pixels;
    int stored;             // in the table
};

// The gradient of a step's output, written out for a reader that looks at neighbours.
__device__ void plain_gradient(const Pass& pass, const Item& item, float* rows) {
    const Plain* plain = TABLE(Plain, item.what);
    const Stored* stored = TABLE(Stored, plain->stored);
    float* region = region_of(pass, item);
    stored_coefficients(pass, stored, item.block, 1, rows);
    __syncthreads();
    int quad = threadIdx.x % QUADS, column = threadIdx.x / QUADS, first_pixel = item.block * plain->pixels + item.at;
    float4 v[MOST];
#pragma unroll
    for (int k = 0; k < MOST; k++) v[k] = zero4();
    stored_gradients(v, pass, stored, rows, region, first_pixel, item.count);
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        int i = column + k * COLUMNS;
        if (i < item.count) store4(region + plain->out + (first_pixel + i) * LANES + 4 * quad, v[k]);
    }
}
