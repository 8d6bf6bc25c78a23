// NVIDIA's driver library, as much of it as candlewick calls, with one GPU whose kernels run behind the shim. After
// SHIM_FAILS_AFTER launches (an environment variable) the device is lost.
#include "kernels.cpp"

#include <ctime>
#include <string>

#define DRIVER extern "C" __attribute__((visibility("default"))) int

static const int NO_DEVICE = 101, NO_MEMORY = 2, NOT_FOUND = 500, LOST = 719, INVALID = 1;
static const size_t ROOM = size_t(1) << 30;
static size_t taken;
static long launches;

DRIVER cuInit(unsigned) { return 0; }
DRIVER cuDriverGetVersion(int* version) { return *version = 12040, 0; }
DRIVER cuDeviceGetCount(int* count) { return *count = 1, 0; }
DRIVER cuDeviceGet(int* device, int number) { return *device = number, number ? NO_DEVICE : 0; }
DRIVER cuDeviceGetName(char* name, int most, int) { return std::snprintf(name, most, "Shim"), 0; }
DRIVER cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = ROOM, 0; }
DRIVER cuDeviceGetAttribute(int* value, int which, int) { return *value = which == 75 ? 9 : 0, 0; }
DRIVER cuDevicePrimaryCtxRetain(void** context, int) { return *context = &taken, 0; }
DRIVER cuDevicePrimaryCtxRelease_v2(int) { return 0; }
DRIVER cuCtxSetCurrent(void* context) { return context == &taken ? 0 : INVALID; }
DRIVER cuStreamCreate(void** stream, unsigned) { return *stream = &launches, 0; }
DRIVER cuStreamSynchronize(void* stream) { return stream == &launches ? 0 : INVALID; }
DRIVER cuMemGetInfo_v2(size_t* free, size_t* total) { return *free = ROOM - taken, *total = ROOM, 0; }

// The length of an allocation lies before it.
DRIVER cuMemAlloc_v2(unsigned long long* at, size_t bytes) {
    if (taken + bytes > ROOM) return NO_MEMORY;
    char* block = (char*)std::aligned_alloc(256, (bytes + 511) / 256 * 256);
    *(size_t*)block = bytes;
    std::memset(block + 256, 0xff, bytes);
    taken += bytes;
    return *at = (unsigned long long)(block + 256), 0;
}

DRIVER cuMemFree_v2(unsigned long long at) {
    char* block = (char*)at - 256;
    taken -= *(size_t*)block;
    return std::free(block), 0;
}

// Pinned memory: as any other here, but what the device does with it is done at once.
DRIVER cuMemHostAlloc(void** at, size_t bytes, unsigned) { return *at = std::malloc(bytes), 0; }
DRIVER cuMemFreeHost(void* at) { return std::free(at), 0; }

DRIVER cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t bytes, void*) {
    return std::memcpy((void*)to, from, bytes), 0;
}

DRIVER cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t bytes, void*) {
    return std::memcpy(to, (void*)from, bytes), 0;
}

DRIVER cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void*) {
    return std::memcpy((void*)to, (void*)from, bytes), 0;
}

// A module is its text, a function the name of one of its kernels.
DRIVER cuModuleLoadData(void** module, const void* text) { return *module = new std::string((const char*)text), 0; }

DRIVER cuModuleGetFunction(void** function, void* module, const char* name) {
    bool found = ((std::string*)module)->find(std::string(".entry ") + name + "(") != std::string::npos;
    return *function = found ? new std::string(name) : nullptr, found ? 0 : NOT_FOUND;
}

DRIVER cuFuncSetAttribute(void*, int, int) { return 0; }

// A launch as it was recorded: the arguments' bytes, in words.
struct Recorded {
    std::string kernel;
    unsigned x, y, z, threads, shared;
    std::vector<unsigned long long> pass;
    int first, count;
};
static std::vector<Recorded>* recording;

static int run(const char* kernel, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned shared,
               void** arguments) {
    const char* limit = std::getenv("SHIM_FAILS_AFTER");
    if (limit && ++launches > std::atol(limit)) return LOST;
    const char* failure = shim_launch(kernel, x, y, z, threads, shared, arguments, 0);
    if (failure) std::fprintf(stderr, "shim: %s: %s\n", kernel, failure);
    return failure ? LOST : 0;
}

DRIVER cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned,
                      unsigned shared, void*, void** arguments, void**) {
    const std::string& kernel = *(std::string*)function;
    if (!recording) return run(kernel.c_str(), x, y, z, threads, shared, arguments);
    std::vector<unsigned long long> pass((sizeof(Pass) + 7) / 8);
    std::memcpy(pass.data(), arguments[0], sizeof(Pass));
    recording->push_back({kernel, x, y, z, threads, shared, pass, *(int*)arguments[1], *(int*)arguments[2]});
    return 0;
}

DRIVER cuStreamBeginCapture_v2(void*, int) { return recording = new std::vector<Recorded>, 0; }
DRIVER cuStreamEndCapture(void*, void** graph) { return *graph = recording, recording = nullptr, 0; }
DRIVER cuGraphInstantiateWithFlags(void** ready, void* graph, unsigned long long) {
    return *ready = new std::vector<Recorded>(*(std::vector<Recorded>*)graph), 0;
}
DRIVER cuGraphDestroy(void* graph) { return delete (std::vector<Recorded>*)graph, 0; }
DRIVER cuGraphExecDestroy(void* graph) { return delete (std::vector<Recorded>*)graph, 0; }

DRIVER cuGraphLaunch(void* graph, void*) {
    for (Recorded& r : *(std::vector<Recorded>*)graph) {
        void* arguments[] = {r.pass.data(), &r.first, &r.count};
        int code = run(r.kernel.c_str(), r.x, r.y, r.z, r.threads, r.shared, arguments);
        if (code) return code;
    }
    return 0;
}

// Events hold seconds.
DRIVER cuEventCreate(void** event, unsigned) { return *event = new double(0.0), 0; }
DRIVER cuEventRecord(void* event, void*) {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return *(double*)event = now.tv_sec + 1e-9 * now.tv_nsec, 0;
}
DRIVER cuEventElapsedTime(float* milliseconds, void* start, void* end) {
    return *milliseconds = 1e3 * (*(double*)end - *(double*)start), 0;
}
DRIVER cuEventDestroy_v2(void* event) { return delete (double*)event, 0; }

DRIVER cuGetErrorString(int error, const char** text) {
    return *text = error == LOST ? "unspecified launch failure" : "another error", 0;
}

DRIVER cuGetErrorName(int, const char** text) { return *text = "CUDA_ERROR", 0; }
