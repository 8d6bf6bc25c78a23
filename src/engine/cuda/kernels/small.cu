// Pools, applied activations, gathers and global pools forward; and every light contribution to a gradient buffer.

#include "common.cuh"

// What a step does.
#define MAXIMUM 0
#define AVERAGE 1
#define APPLY 2
#define GATHER 3
#define GLOBAL 4
// Contributions only: a sum's gradient times a factor, and a stored gradient.
#define TERM 5
#define STORED 6

struct Small {
    int kind;
    int raw;                // the input: stored tensor, height, width, the norm that it is seen through or -1
    int height;
    int width;
    int norm;
    int out;                // the output: stored tensor (backward: its gradient), height, width
    int out_height;
    int out_width;
    int kernel;             // a pool's window
    int stride;
    int padding;
    int counts_padding;
    int activation;         // of APPLY
    int lanes;              // of GATHER, in the table; see below. Of APPLY, by block: how many lanes are filled
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

// GATHER's lanes: by output lane the input's, or -1.
extern "C" __global__ void AT_LEAST(4) small_forward(Pass pass, int first, int count) {
    __shared__ float scratch[128];
    Item item = ITEM(first);
    const Small* s = TABLE(Small, item.what);
    float* region = region_of(pass);
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
        } else {
            v = pooled(s, plane, i / s->out_width, i % s->out_width, quad);
        }
        store4(out + i * LANES, v);
    }
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

// What one pool gives to a pixel of its input: from every window that the pixel is in.
__device__ float4 pool_gradient(const Small* s, const float* plane, const float* dy, int r, int c, int quad) {
    float4 sum = zero4();
    int least_r = (r + s->padding - s->kernel + s->stride) / s->stride;
    int least_c = (c + s->padding - s->kernel + s->stride) / s->stride;
    if (r + s->padding - s->kernel + s->stride < 0) least_r = 0;
    if (c + s->padding - s->kernel + s->stride < 0) least_c = 0;
    for (int to_r = least_r; to_r < s->out_height && to_r * s->stride - s->padding <= r; to_r++)
        for (int to_c = least_c; to_c < s->out_width && to_c * s->stride - s->padding <= c; to_c++) {
            Window rows = window(s, to_r, s->height), columns = window(s, to_c, s->width);
            float4 g = load4(dy + (to_r * s->out_width + to_c) * LANES + 4 * quad);
            if (s->kind == AVERAGE) {
                float by = share(s, (rows.to - rows.from) * (columns.to - columns.from));
                sum = add4(sum, make_float4(g.x * by, g.y * by, g.z * by, g.w * by));
                continue;
            }
            // The first of several equal maxima takes it all.
            float4 own = load4(plane + (r * s->width + c) * LANES + 4 * quad);
            bool x = true, y = true, z = true, w = true;
            for (int i = rows.from; i < rows.to; i++)
                for (int j = columns.from; j < columns.to; j++) {
                    if (i == r && j == c) continue;
                    float4 other = load4(plane + (i * s->width + j) * LANES + 4 * quad);
                    bool before = i < r || (i == r && j < c);
                    x = x && (before ? own.x > other.x : own.x >= other.x);
                    y = y && (before ? own.y > other.y : own.y >= other.y);
                    z = z && (before ? own.z > other.z : own.z >= other.z);
                    w = w && (before ? own.w > other.w : own.w >= other.w);
                }
            sum = add4(sum, make_float4(x ? g.x : 0.0f, y ? g.y : 0.0f, z ? g.z : 0.0f, w ? g.w : 0.0f));
        }
    return sum;
}

// Adds to gradient buffers; an item is some pixels of one block. GATHER's lanes are the other way round here: by input
// lane where a list of output lanes begins in the table, and how many there are.
extern "C" __global__ void AT_LEAST(3) contribute(Pass pass, int first, int count) {
    Item item = ITEM(first);
    const Buffer* buffer = TABLE(Buffer, item.what);
    const Contribution* from = (const Contribution*)(buffer + 1);
    float* region = region_of(pass);
    int quad = threadIdx.x % QUADS, lane = item.block * LANES + 4 * quad;
    for (int i = item.at + threadIdx.x / QUADS; i < item.at + item.count; i += COLUMNS) {
        int at = (item.block * buffer->pixels + i) * LANES + 4 * quad;
        float4 all = buffer->begin ? zero4() : load4(region + buffer->gradient + at);
        for (int k = 0; k < buffer->count; k++) {
            float4 v = zero4();
            if (from[k].kind == TERM) {
                const Term* term = TABLE(Term, from[k].what);
                float kept = 1.0f;
                if (term->drop >= 0 && pass.factors)
                    kept = pass.factors[(long long)term->drop * pass.batch + blockIdx.y];
                float4 by = make_float4(kept * mixing_of(pass, term->mixing, term->slot, lane),
                                        kept * mixing_of(pass, term->mixing, term->slot, lane + 1),
                                        kept * mixing_of(pass, term->mixing, term->slot, lane + 2),
                                        kept * mixing_of(pass, term->mixing, term->slot, lane + 3));
                v = mul4(by, load4(region + term->gradient + at));
            } else if (from[k].kind == STORED) {
                const Stored* stored = TABLE(Stored, from[k].what);
                const Term* terms = (const Term*)(stored + 1);
                const float* norm = pass.norms + stored->norm + lane;
                if (stored->norm >= 0 && pass.batch_norms)
                    v = fma4(load4(norm + 4 * pass.norm_lanes), load4(region + stored->raw + at),
                             load4(norm + 5 * pass.norm_lanes));
                for (int t = 0; t < stored->count; t++) {
                    float4 by = make_float4(mixing_of(pass, terms[t].mixing, terms[t].slot, lane),
                                            mixing_of(pass, terms[t].mixing, terms[t].slot, lane + 1),
                                            mixing_of(pass, terms[t].mixing, terms[t].slot, lane + 2),
                                            mixing_of(pass, terms[t].mixing, terms[t].slot, lane + 3));
                    if (stored->norm >= 0) by = mul4(by, load4(norm));
                    v = fma4(by, load4(region + terms[t].gradient + at), v);
                }
            } else {
                const Small* s = TABLE(Small, from[k].what);
                int pixels = s->out_height * s->out_width;
                const float* dy = region + s->out + item.block * pixels * LANES;
                if (s->kind == APPLY) {
                    float4 value = normed(pass, region + s->raw + at, s->norm, lane);
                    v = mul4(load4(dy + i * LANES + 4 * quad), slopes(s->activation, value));
                } else if (s->kind == GATHER) {
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
                    v = make_float4(each[0], each[1], each[2], each[3]);
                } else if (s->kind == GLOBAL) {
                    float n = (float)(s->height * s->width);
                    float4 g = load4(dy + 4 * quad);
                    v = make_float4(g.x / n, g.y / n, g.z / n, g.w / n);
                } else {
                    const float* plane = region + s->raw + item.block * s->height * s->width * LANES;
                    v = pool_gradient(s, plane, dy, i / s->width, i % s->width, quad);
                }
            }
            all = add4(all, v);
        }
        store4(region + buffer->gradient + at, all);
    }
}

struct Plain {
    int out;                // where it goes in the region
    int pixels;
    int stored;             // in the table
};

// The gradient of a step's output, written out for a reader that looks at neighbours.
extern "C" __global__ void AT_LEAST(3) plain_gradient(Pass pass, int first, int count) {
    SHARED(rows);
    Item item = ITEM(first);
    const Plain* plain = TABLE(Plain, item.what);
    const Stored* stored = TABLE(Stored, plain->stored);
    float* region = region_of(pass);
    stored_coefficients(pass, stored, item.block, rows);
    __syncthreads();
    int quad = threadIdx.x % QUADS;
    for (int i = item.at + threadIdx.x / QUADS; i < item.at + item.count; i += COLUMNS) {
        int at = (item.block * plain->pixels + i) * LANES + 4 * quad;
        store4(region + plain->out + at, stored_gradient(pass, stored, rows, region, at, quad));
    }
}
