// The CUDA C that kernels are written in, for a C++ compiler. The threads of a block are fibers of one thread of the
// system, so that a run can be repeated exactly; blocks run one after another. A block finds shared memory full of
// NaN, and behind its dynamic part lies a guard. The order in which threads run between two barriers is the caller's,
// so a barrier that is missing shows as other results.
//
// Not here: transactions, clusters, asynchronous copies, shuffles of a part of a warp. Kernels do without them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#define __global__
#define OUTLINE
#define __device__ static inline
// Static shared memory lies in a section of its own, so that all of it can be filled before a block begins.
#define __shared__ static __attribute__((section("shared")))
#define __launch_bounds__(...)
extern "C" __attribute__((visibility("hidden"))) char __start_shared[], __stop_shared[];

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
using std::fmaf;

namespace shim {
enum State { Ready, AtBarrier, AtShuffle, Done };

struct Fiber {
    void* stack_top;
    std::vector<char> stack;
    State state;
    dim3 index;
    unsigned number;
};

static std::mutex lock;
static std::vector<Fiber> fibers;
static void* scheduler;
static Fiber* self;
static dim3 block_index, grid;
static unsigned slots[32][32];
static void (*body)(void**);
static void** arguments;
static std::vector<char> dynamic_memory;
static float* dynamic;
static const char* failure;
// Bytes behind dynamic shared memory that no kernel may write.
static const size_t GUARD = 4096;

#if defined(__x86_64__)
// Switches stacks: saves what a call must keep, stores the stack's top in *save, goes on where `load` was left.
extern "C" void shim_switch(void** save, void* load);
asm(R"(
.text
.globl shim_switch
.hidden shim_switch
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static const size_t SAVED = 6, RETURN = 6;
#elif defined(__aarch64__)
extern "C" void shim_switch(void** save, void* load);
asm(R"(
.text
.globl shim_switch
.hidden shim_switch
shim_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
static const size_t SAVED = 20, RETURN = 11;
#else
#error "no way to switch stacks on this processor"
#endif

static void leave(State state) {
    self->state = state;
    shim_switch(&self->stack_top, scheduler);
}

static void entry() {
    body(arguments);
    leave(Done);
    std::abort();
}

// A barrier opens when all of its threads stand at it.
static void open(State at, size_t from, size_t to, const char* divergence) {
    size_t here = 0, done = 0;
    for (size_t i = from; i < to; i++) {
        here += fibers[i].state == at;
        done += fibers[i].state == Done;
    }
    if (!here || here + done != to - from) return;
    if (done) failure = divergence;
    for (size_t i = from; i < to; i++)
        if (fibers[i].state == at) fibers[i].state = Ready;
}

static void fill(char* from, char* to, int byte) {
    std::memset(from, byte, size_t(to - from));
}

// Runs a kernel; `order` (from 0) is that of threads between barriers. Returns what was wrong, or null.
static const char* launch(void (*kernel)(void**), void** with, dim3 blocks, unsigned threads, size_t shared,
                          unsigned order) {
    std::lock_guard<std::mutex> held(lock);
    body = kernel, arguments = with, grid = blocks, failure = nullptr;
    fibers.resize(threads);
    dynamic_memory.resize(shared + GUARD + 64);
    dynamic = (float*)((uintptr_t(dynamic_memory.data()) + 63) & ~uintptr_t(63));
    char* guard = (char*)dynamic + shared;
    fill(guard, guard + GUARD, 0x5a);
    for (block_index.z = 0; block_index.z < grid.z; block_index.z++)
        for (block_index.y = 0; block_index.y < grid.y; block_index.y++)
            for (block_index.x = 0; block_index.x < grid.x; block_index.x++) {
                // All bits set are a NaN.
                fill(__start_shared, __stop_shared, 0xff);
                fill((char*)dynamic, guard, 0xff);
                for (unsigned i = 0; i < threads; i++) {
                    Fiber& fiber = fibers[i];
                    if (fiber.stack.empty()) fiber.stack.resize(1 << 16);
                    fiber.index.x = i, fiber.number = i, fiber.state = Ready;
                    void** top = (void**)((uintptr_t(fiber.stack.data() + fiber.stack.size()) & ~uintptr_t(15)) - 16);
#if defined(__x86_64__)
                    // As after a call: the stack is eight bytes off a multiple of sixteen.
                    top++;
                    *--top = (void*)entry;
                    top -= SAVED;
#else
                    top -= SAVED;
                    top[RETURN] = (void*)entry;
#endif
                    fiber.stack_top = top;
                }
                for (size_t left = threads; left && !failure;) {
                    size_t ran = 0;
                    for (unsigned k = 0; k < threads; k++) {
                        size_t i = order ? (k * (2 * size_t(order) + 1) + order * 7) % threads : k;
                        if (fibers[i].state != Ready) continue;
                        self = &fibers[i];
                        ran++;
                        shim_switch(&scheduler, self->stack_top);
                    }
                    for (size_t warp = 0; warp < threads; warp += 32)
                        open(AtShuffle, warp, warp + 32 < threads ? warp + 32 : threads,
                             "a thread of a warp left before a shuffle of all");
                    open(AtBarrier, 0, threads, "a thread left before __syncthreads()");
                    left = 0;
                    for (auto& fiber : fibers) left += fiber.state != Done;
                    if (left && !ran && !failure) {
                        bool ready = false;
                        for (auto& fiber : fibers) ready = ready || fiber.state == Ready;
                        if (!ready) failure = "threads wait at different barriers";
                    }
                }
                for (size_t i = 0; i < GUARD && !failure; i++)
                    if (guard[i] != 0x5a) failure = "dynamic shared memory was written past its end";
                if (failure) return failure;
            }
    return nullptr;
}

static unsigned shuffle(unsigned bits, unsigned from) {
    unsigned warp = self->number / 32, lane = self->number % 32;
    slots[warp][lane] = bits;
    leave(AtShuffle);
    bits = slots[warp][from % 32];
    leave(AtShuffle);
    return bits;
}
}  // namespace shim

#define threadIdx (shim::self->index)
#define blockIdx (shim::block_index)
#define gridDim (shim::grid)
#define SHARED(name) float* name = shim::dynamic;

static inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

static inline void __syncthreads() { shim::leave(shim::AtBarrier); }

// Blocks run one after another, so what a block waits for has happened, or never will.
static inline void __nanosleep(unsigned) {
    shim::failure = "a block waits for one that comes later";
    shim::leave(shim::Ready);
}
static inline void __threadfence() {}
static inline int atomicAdd(int* at, int by) { return (*at += by) - by; }

// In place of instructions for memory's order, which the kernels write themselves.
#define COUNTERS
static inline int count_up(int* count) { return (*count)++; }
static inline int glance(const int* count) { return *count; }

static inline float __shfl_xor_sync(unsigned mask, float value, int by) {
    if (mask != 0xffffffffu) shim::failure = "a shuffle of a part of a warp";
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    bits = shim::shuffle(bits, (shim::self->number % 32) ^ unsigned(by));
    std::memcpy(&value, &bits, 4);
    return value;
}
