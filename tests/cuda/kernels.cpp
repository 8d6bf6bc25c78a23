// All kernels behind the shim, by name.
#include "shim.h"

#include "border.cu"
#include "norm.cu"
#include "small.cu"
#include "sum.cu"
#include "totals.cu"
#include "unit_forward.cu"
#include "unit_gradient.cu"
#include "unit_input.cu"
#include "weights.cu"

#define KERNEL(name) {#name, [](void** a) { name(*(Pass*)a[0], *(int*)a[1], *(int*)a[2]); }}

static const struct {
    const char* name;
    void (*run)(void**);
} KERNELS[] = {
    KERNEL(import_images), KERNEL(export_images), KERNEL(read_output),
    KERNEL(seed), KERNEL(statistics), KERNEL(moments),
    KERNEL(add_up), KERNEL(mixing_gradients), KERNEL(dots),
    KERNEL(sum_forward), KERNEL(unit_forward), KERNEL(unit_gradient),
    KERNEL(unit_input), KERNEL(small_forward), KERNEL(contribute),
    KERNEL(pack), KERNEL(plain_gradient), KERNEL(clear),
};

// Runs a kernel and returns what was wrong, or null.
extern "C" __attribute__((visibility("default"))) const char* shim_launch(const char* name, unsigned x, unsigned y,
                                                                          unsigned z, unsigned threads, unsigned shared,
                                                                          void** arguments, unsigned order) {
    for (auto& kernel : KERNELS)
        if (!std::strcmp(kernel.name, name))
            return shim::launch(kernel.run, arguments, {x, y, z}, threads, shared, order);
    return "there is no such kernel";
}
