// All kernels behind the shim, by name.
#include "shim.h"

#include "forward.cu"
#include "backward.cu"
#include "weights.cu"

#define FLAT(name) {#name, [](void** a) { name(*(Pass*)a[0], *(int*)a[1], *(int*)a[2]); }}
#define KERNEL(name) {#name, [](void** a) { name(*(Pass*)a[0], *(Rounds*)a[1]); }}

static const struct {
    const char* name;
    void (*run)(void**);
} KERNELS[] = {
    KERNEL(forward), KERNEL(backward), FLAT(pack), FLAT(clear), FLAT(mixing_gradients),
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
