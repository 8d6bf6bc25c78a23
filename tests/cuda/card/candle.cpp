// candle's own kernels, compiled from their sources, by name: those that scripts' tensors, losses and optimisers call.
// The include path holds the folder of those sources and one of empty files that are named as CUDA's headers.
#include "language.h"

#include <functional>
#include <string>
#include <tuple>
#include <utility>

// Each brings the same helpers along.
namespace in_affine {
using ::atomicAdd;
#include "affine.cu"
}
namespace in_binary {
using ::atomicAdd;
#include "binary.cu"
}
namespace in_cast {
using ::atomicAdd;
#include "cast.cu"
}
namespace in_fill {
using ::atomicAdd;
#include "fill.cu"
}
namespace in_indexing {
using ::atomicAdd;
#include "indexing.cu"
}
namespace in_reduce {
using ::atomicAdd;
#include "reduce.cu"
}
namespace in_ternary {
using ::atomicAdd;
#include "ternary.cu"
}
namespace in_unary {
using ::atomicAdd;
#include "unary.cu"
}
using namespace in_affine;
using namespace in_binary;
using namespace in_cast;
using namespace in_fill;
using namespace in_indexing;
using namespace in_reduce;
using namespace in_ternary;
using namespace in_unary;

namespace {
std::function<void()>* body;

// A kernel with copies of its arguments.
using Bind = std::function<std::function<void()>(void**)>;

template <class... A, size_t... I>
std::function<void()> bound(void (*kernel)(A...), void** at, std::index_sequence<I...>) {
    std::tuple<std::remove_const_t<A>...> values(*(std::remove_const_t<A>*)at[I]...);
    return [=] { std::apply(kernel, values); };
}

template <class... A>
Bind binder(void (*kernel)(A...)) {
    return [=](void** at) { return bound(kernel, at, std::index_sequence_for<A...>()); };
}

#define ONE(name) {#name, binder(name)}
#define FLOATS(name) ONE(name##_f32), ONE(name##_f64)
#define NUMBERS(name) FLOATS(name), ONE(name##_u8), ONE(name##_u32), ONE(name##_i64)
#define CASTS(from) ONE(cast_##from##_u8), ONE(cast_##from##_u32), ONE(cast_##from##_i64), ONE(cast_##from##_f32), \
    ONE(cast_##from##_f64)

const struct {
    const char* name;
    Bind bind;
} OF_CANDLE[] = {
    NUMBERS(affine), NUMBERS(badd), NUMBERS(bsub), NUMBERS(bmul), NUMBERS(bdiv), NUMBERS(bmaximum), NUMBERS(bminimum),
    NUMBERS(eq), NUMBERS(ne), NUMBERS(lt), NUMBERS(le), NUMBERS(gt), NUMBERS(ge), NUMBERS(const_set), NUMBERS(copy2d),
    CASTS(u8), CASTS(u32), CASTS(i64), CASTS(f32), CASTS(f64), NUMBERS(ucopy), FLOATS(uneg), FLOATS(urecip),
    FLOATS(uexp), FLOATS(ulog), FLOATS(usin), FLOATS(ucos), FLOATS(utanh), FLOATS(uerf), FLOATS(uceil), FLOATS(ufloor),
    FLOATS(uround), FLOATS(uabs), FLOATS(usqr), FLOATS(usqrt), FLOATS(ugelu), FLOATS(ugelu_erf), FLOATS(urelu),
    FLOATS(uelu), FLOATS(usilu), FLOATS(upowf), FLOATS(usign), FLOATS(usigmoid), NUMBERS(fast_sum),
    NUMBERS(fast_sum_small), NUMBERS(fast_max), NUMBERS(fast_min), NUMBERS(fast_argmax), NUMBERS(fast_argmin),
    FLOATS(where_u8), FLOATS(where_u32), FLOATS(where_i64), FLOATS(gather_u32), FLOATS(gather_i64), FLOATS(sa_u32),
    FLOATS(sa_i64), FLOATS(is_u32), FLOATS(is_i64), FLOATS(ia_u32), FLOATS(ia_i64),
};
}  // namespace

// A launch of one of candle's kernels, its arguments copied; empty where there is none of that name.
std::function<const char*()> candle_launch(const std::string& name, dim3 blocks, dim3 threads, size_t shared,
                                           void** arguments) {
    for (auto& kernel : OF_CANDLE)
        if (name == kernel.name) {
            std::function<void()> run = kernel.bind(arguments);
            return [=]() mutable {
                body = &run;
                block_shape = threads;
                if (threads.y != 1 || threads.z != 1) return "a block of more directions than one";
                return shim::launch([](void**) { (*body)(); }, nullptr, blocks, threads.x, shared, 0);
            };
        }
    return nullptr;
}
