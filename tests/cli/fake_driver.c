// Stands in for NVIDIA's driver: as much of its library as listing devices calls. GPUS, VERSION and MAJOR say what it
// answers; with ONLY_INIT it has one function, with SILENT it refuses to start.
#include <string.h>

#ifndef GPUS
#define GPUS 2
#endif
#ifndef VERSION
#define VERSION 12040
#endif
#ifndef MAJOR
#define MAJOR 9
#endif

int cuInit(unsigned flags) {
#ifdef SILENT
    return 999;
#else
    return GPUS ? 0 : 100;
#endif
}

#ifndef ONLY_INIT
int cuDriverGetVersion(int* version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int* count) { *count = GPUS; return 0; }
int cuDeviceGet(int* device, int number) { *device = number; return number < GPUS ? 0 : 101; }
int cuDeviceGetName(char* name, int most, int device) { strncpy(name, "Stand-in", most); return 0; }
int cuDeviceTotalMem_v2(unsigned long* bytes, int device) { *bytes = 80ul << 30; return 0; }
int cuDeviceGetAttribute(int* value, int which, int device) { *value = which == 75 ? MAJOR : 0; return 0; }
int cuGetErrorString(int error, const char** text) { *text = "unknown error"; return 0; }
int cuGetErrorName(int error, const char** text) { *text = "CUDA_ERROR"; return 0; }
// Looked for, never called here.
#define ABSENT(name) int name(void) { return 999; }
ABSENT(cuDevicePrimaryCtxRetain)
ABSENT(cuDevicePrimaryCtxRelease_v2)
ABSENT(cuCtxSetCurrent)
ABSENT(cuStreamCreate)
ABSENT(cuStreamSynchronize)
ABSENT(cuMemGetInfo_v2)
ABSENT(cuMemAlloc_v2)
ABSENT(cuMemFree_v2)
ABSENT(cuMemHostAlloc)
ABSENT(cuMemFreeHost)
ABSENT(cuMemcpyHtoDAsync_v2)
ABSENT(cuMemcpyDtoHAsync_v2)
ABSENT(cuMemcpyDtoDAsync_v2)
ABSENT(cuModuleLoadData)
ABSENT(cuModuleGetFunction)
ABSENT(cuFuncSetAttribute)
ABSENT(cuLaunchKernel)
ABSENT(cuEventCreate)
ABSENT(cuEventRecord)
ABSENT(cuEventElapsedTime)
ABSENT(cuEventDestroy_v2)
ABSENT(cuStreamBeginCapture_v2)
ABSENT(cuStreamEndCapture)
ABSENT(cuGraphInstantiateWithFlags)
ABSENT(cuGraphLaunch)
ABSENT(cuGraphDestroy)
ABSENT(cuGraphExecDestroy)
#endif
