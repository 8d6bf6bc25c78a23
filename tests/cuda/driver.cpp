// NVIDIA's driver library, as much of it as candlewick calls, with one GPU whose kernels run behind the shim; with
// CANDLE also as much as candle's device calls, and candle's own kernels.
//
// What is asked of a stream is done no sooner than somebody waits for it, as on a GPU that is far behind: then memory
// that is read before it was written, or given back and still used, shows. Memory that is new or was given back is full
// of NaN. Calls that need a context find out whether their thread has made it its own. After SHIM_FAILS_AFTER launches
// (an environment variable) the device is lost.
#include "kernels.cpp"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <ctime>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#ifdef CANDLE
#include "card/candle.cpp"
#endif

#define DRIVER extern "C" __attribute__((visibility("default"))) int
#define HELD std::lock_guard<std::recursive_mutex> held(all)
#define ENTERED                      \
    HELD;                            \
    if (lost) return LOST;           \
    if (current != &taken) return NO_CONTEXT
typedef unsigned long long Address;

static const int INVALID = 1, NO_MEMORY = 2, NO_DEVICE = 101, NO_CONTEXT = 201, NOT_FOUND = 500, NOT_READY = 600,
                 LOST = 719, NOT_SUPPORTED = 801;
static const size_t ROOM = size_t(1) << 30;
static std::recursive_mutex all;
static size_t taken;
static long launches;
static bool lost;
static thread_local void* current;

static int complain(const char* format, ...) {
    va_list values;
    va_start(values, format);
    std::vfprintf(stderr, format, values);
    va_end(values);
    return lost = true, LOST;
}

// Memory by where it begins: its bytes. Pinned memory likewise.
static std::map<Address, size_t> blocks, pinned;

static bool within(const std::map<Address, size_t>& known, Address at, size_t bytes) {
    auto next = known.upper_bound(at);
    if (next == known.begin()) return false;
    auto& block = *--next;
    return at + bytes <= block.first + block.second;
}

// A launch as it was recorded.
typedef std::function<int()> Work;
struct Stream {
    std::deque<Work> asked;
    std::unique_ptr<std::vector<Work>> recording;
};
static std::vector<Stream*> streams;

static int finish(Stream* stream) {
    while (!stream->asked.empty()) {
        Work work = std::move(stream->asked.front());
        stream->asked.pop_front();
        int code = lost ? LOST : work();
        if (code) return lost = true, LOST;
    }
    return 0;
}

static int finish_all() {
    for (Stream* stream : streams)
        if (int code = finish(stream)) return code;
    return 0;
}

static Stream* known(void* handle) {
    for (Stream* stream : streams)
        if (stream == handle) return stream;
    return nullptr;
}

// What is asked of a stream that is being recorded must be a launch.
static int ask(void* handle, Work work, bool is_launch = false) {
    Stream* stream = known(handle);
    if (!stream || (stream->recording && !is_launch)) return INVALID;
    if (stream->recording)
        stream->recording->push_back(std::move(work));
    else
        stream->asked.push_back(std::move(work));
    return stream->asked.size() > 20000 ? finish(stream) : 0;
}

DRIVER cuInit(unsigned) { return 0; }
DRIVER cuDriverGetVersion(int* version) { return *version = 12040, 0; }
DRIVER cuDeviceGetCount(int* count) { return *count = 1, 0; }
DRIVER cuDeviceGet(int* device, int number) { return *device = number, number ? NO_DEVICE : 0; }
DRIVER cuDeviceGetName(char* name, int most, int) { return std::snprintf(name, most, "Shim"), 0; }
DRIVER cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = ROOM, 0; }
// 75: the compute capability's major number, 115: whether memory can be taken in a stream's order.
DRIVER cuDeviceGetAttribute(int* value, int which, int) { return *value = which == 75 ? 9 : which == 115, 0; }
DRIVER cuDevicePrimaryCtxRetain(void** context, int) { return *context = &taken, 0; }
DRIVER cuDevicePrimaryCtxRelease_v2(int) { return 0; }
DRIVER cuCtxSetCurrent(void* context) { return current = context, context == &taken ? 0 : INVALID; }
DRIVER cuCtxGetCurrent(void** context) { return *context = current, 0; }

DRIVER cuStreamCreate(void** stream, unsigned) {
    ENTERED;
    streams.push_back(new Stream);
    return *stream = streams.back(), 0;
}

DRIVER cuStreamDestroy_v2(void* stream) {
    ENTERED;
    return known(stream) ? finish(known(stream)) : INVALID;
}

DRIVER cuStreamSynchronize(void* stream) {
    ENTERED;
    return known(stream) && !known(stream)->recording ? finish(known(stream)) : INVALID;
}

DRIVER cuCtxSynchronize() {
    ENTERED;
    return finish_all();
}

DRIVER cuMemGetInfo_v2(size_t* free, size_t* total) {
    ENTERED;
    return *free = ROOM - taken, *total = ROOM, 0;
}

static int take(Address* at, size_t bytes) {
    if (!bytes) return INVALID;
    if (taken + bytes > ROOM) return NO_MEMORY;
    *at = (Address)std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset((void*)*at, 0xff, bytes);
    taken += bytes, blocks[*at] = bytes;
    return 0;
}

static int give(Address at) {
    auto block = blocks.find(at);
    if (block == blocks.end()) return complain("shim: memory is given back that was not taken\n");
    std::memset((void*)at, 0xff, block->second);
    taken -= block->second, blocks.erase(block);
    return std::free((void*)at), 0;
}

DRIVER cuMemAlloc_v2(Address* at, size_t bytes) {
    ENTERED;
    return take(at, bytes);
}

DRIVER cuMemFree_v2(Address at) {
    ENTERED;
    int code = finish_all();
    return code ? code : give(at);
}

DRIVER cuMemAllocAsync(Address* at, size_t bytes, void* stream) {
    ENTERED;
    return known(stream) && !known(stream)->recording ? take(at, bytes) : INVALID;
}

DRIVER cuMemFreeAsync(Address at, void* stream) {
    ENTERED;
    return ask(stream, [=] { return give(at); });
}

DRIVER cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    ENTERED;
    *at = std::malloc(bytes);
    return pinned[(Address)*at] = bytes, 0;
}

DRIVER cuMemFreeHost(void* at) {
    ENTERED;
    int code = finish_all();
    pinned.erase((Address)at);
    return std::free(at), code;
}

// Pinned memory is read when its turn comes, other memory at once.
DRIVER cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* stream) {
    ENTERED;
    auto copy = [=](const void* from) {
        if (!within(blocks, to, bytes)) return complain("shim: a copy into memory that is not there\n");
        return std::memcpy((void*)to, from, bytes), 0;
    };
    if (within(pinned, (Address)from, bytes)) return ask(stream, [=] { return copy(from); });
    auto now = std::make_shared<std::string>((const char*)from, bytes);
    return ask(stream, [=] { return copy(now->data()); });
}

// How often the processor waited for bytes, and how many it waited for at once at the most, since it was last asked.
static long reads;
static size_t most_read;
DRIVER shim_reads(size_t* most) {
    HELD;
    int since = (int)reads;
    *most = most_read;
    return reads = 0, most_read = 0, since;
}

// Into pinned memory when its turn comes, into other memory before the call returns.
DRIVER cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {
    ENTERED;
    if (!within(pinned, (Address)to, bytes)) reads++, most_read = std::max(most_read, bytes);
    int code = ask(stream, [=] {
        if (!within(blocks, from, bytes)) return complain("shim: a copy of memory that is not there\n");
        return std::memcpy(to, (void*)from, bytes), 0;
    });
    return code || within(pinned, (Address)to, bytes) ? code : finish(known(stream));
}

DRIVER cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void* stream) {
    ENTERED;
    return ask(stream, [=] {
        if (!within(blocks, from, bytes) || !within(blocks, to, bytes))
            return complain("shim: a copy of or into memory that is not there\n");
        return std::memcpy((void*)to, (void*)from, bytes), 0;
    });
}

DRIVER cuMemsetD8Async(Address at, unsigned char value, size_t bytes, void* stream) {
    ENTERED;
    return ask(stream, [=] {
        if (!within(blocks, at, bytes)) return complain("shim: memory is filled that is not there\n");
        return std::memset((void*)at, value, bytes), 0;
    });
}

#ifdef CANDLE
#include "card/products.cpp"
#endif

// A module is its text, a function the name of one of its kernels.
DRIVER cuModuleLoadData(void** module, const void* text) {
    ENTERED;
    return *module = new std::string((const char*)text), 0;
}

DRIVER cuModuleGetFunction(void** function, void* module, const char* name) {
    ENTERED;
    bool found = ((std::string*)module)->find(std::string(".entry ") + name + "(") != std::string::npos;
    return *function = found ? new std::string(name) : nullptr, found ? 0 : NOT_FOUND;
}

DRIVER cuModuleUnload(void*) { return 0; }
DRIVER cuFuncSetAttribute(void*, int, int) { return 0; }

// A kernel of candlewick's with its arguments' bytes.
static Work launch_of(const std::string& kernel, dim3 blocks, unsigned threads, unsigned shared, void** arguments) {
    std::vector<unsigned long long> pass((sizeof(Pass) + 7) / 8);
    std::memcpy(pass.data(), arguments[0], sizeof(Pass));
    // Rounds, or two numbers.
    bool flat = kernel != "forward" && kernel != "backward";
    size_t bytes = flat ? sizeof(int) : sizeof(Rounds);
    std::vector<int> second(bytes / sizeof(int));
    std::memcpy(second.data(), arguments[1], bytes);
    int count = flat ? *(int*)arguments[2] : 0;
    return [=]() mutable {
        void* arguments[] = {pass.data(), second.data(), &count};
        const char* failure =
            shim_launch(kernel.c_str(), blocks.x, blocks.y, blocks.z, threads, shared, arguments, 0);
        return failure ? complain("shim: %s: %s\n", kernel.c_str(), failure) : 0;
    };
}

static bool is_own(const std::string& kernel) {
    for (auto& own : KERNELS)
        if (kernel == own.name) return true;
    return false;
}

DRIVER cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                      unsigned threads_z, unsigned shared, void* stream, void** arguments, void**) {
    ENTERED;
    const std::string& kernel = *(std::string*)function;
    Work work;
    if (is_own(kernel)) work = launch_of(kernel, {x, y, z}, threads, shared, arguments);
#ifdef CANDLE
    else if (auto run = candle_launch(kernel, {x, y, z}, {threads, threads_y, threads_z}, shared, arguments))
        work = [=] {
            const char* failure = run();
            return failure ? complain("shim: %s: %s\n", kernel.c_str(), failure) : 0;
        };
#endif
    if (!work) return complain("shim: there is no kernel %s\n", kernel.c_str());
    Work counted = [=] {
        const char* limit = std::getenv("SHIM_FAILS_AFTER");
        return limit && ++launches > std::atol(limit) ? LOST : work();
    };
    return ask(stream, counted, true);
}

DRIVER cuStreamBeginCapture_v2(void* stream, int) {
    ENTERED;
    if (!known(stream) || known(stream)->recording) return INVALID;
    return known(stream)->recording.reset(new std::vector<Work>), 0;
}

DRIVER cuStreamEndCapture(void* stream, void** graph) {
    ENTERED;
    if (!known(stream) || !known(stream)->recording) return INVALID;
    return *graph = known(stream)->recording.release(), 0;
}

DRIVER cuStreamIsCapturing(void* stream, int* status) {
    HELD;
    return known(stream) ? *status = known(stream)->recording ? 1 : 0, 0 : INVALID;
}

DRIVER cuGraphInstantiateWithFlags(void** ready, void* graph, unsigned long long) {
    return *ready = new std::vector<Work>(*(std::vector<Work>*)graph), 0;
}
DRIVER cuGraphDestroy(void* graph) { return delete (std::vector<Work>*)graph, 0; }

DRIVER cuGraphExecDestroy(void* graph) {
    HELD;
    finish_all();
    return delete (std::vector<Work>*)graph, 0;
}

DRIVER cuGraphLaunch(void* graph, void* stream) {
    ENTERED;
    for (Work& work : *(std::vector<Work>*)graph)
        if (int code = ask(stream, work)) return code;
    return 0;
}

struct Event {
    double seconds;
    Stream* stream;
    bool reached;
};

DRIVER cuEventCreate(void** event, unsigned) {
    ENTERED;
    return *event = new Event{0.0, nullptr, false}, 0;
}

DRIVER cuEventRecord(void* handle, void* stream) {
    ENTERED;
    Event* event = (Event*)handle;
    event->stream = known(stream), event->reached = false;
    return ask(stream, [=] {
        timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        event->seconds = now.tv_sec + 1e-9 * now.tv_nsec;
        return event->reached = true, 0;
    });
}

// Whoever waits for an event has what was asked for before it done, and nothing more.
DRIVER cuEventSynchronize(void* handle) {
    ENTERED;
    Event* event = (Event*)handle;
    while (event->stream && !event->reached && !event->stream->asked.empty()) {
        Work work = std::move(event->stream->asked.front());
        event->stream->asked.pop_front();
        if (int code = work()) return lost = true, code;
    }
    return 0;
}

DRIVER cuStreamWaitEvent(void*, void* event, unsigned) { return cuEventSynchronize(event); }

DRIVER cuEventElapsedTime(float* milliseconds, void* start, void* end) {
    ENTERED;
    if (!((Event*)start)->reached || !((Event*)end)->reached) return NOT_READY;
    return *milliseconds = 1e3 * (((Event*)end)->seconds - ((Event*)start)->seconds), 0;
}

DRIVER cuEventDestroy_v2(void* event) {
    HELD;
    // It may still be asked for.
    if (((Event*)event)->stream) finish(((Event*)event)->stream);
    return delete (Event*)event, 0;
}

DRIVER cuGetErrorString(int error, const char** text) {
    return *text = error == LOST ? "unspecified launch failure" : "another error", 0;
}

DRIVER cuGetErrorName(int, const char** text) { return *text = "CUDA_ERROR", 0; }

// Named by candle's bindings, never called here.
DRIVER cuCtxDestroy_v2(void*) { return NOT_SUPPORTED; }
DRIVER cuModuleLoad(void**, const char*) { return NOT_SUPPORTED; }
DRIVER cuMemcpyPeerAsync(Address, void*, Address, void*, size_t, void*) { return NOT_SUPPORTED; }
