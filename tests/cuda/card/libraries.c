// Stands in for a library that candle's device opens and that nothing here calls further: LIBRARY is 1 for cuBLAS and 2
// for cuRAND. Handles are made and given back; whatever would compute says that it cannot.
#if LIBRARY == 1
int cublasCreate_v2(void** handle) { return *handle = "cuBLAS", 0; }
int cublasDestroy_v2(void* handle) { return 0; }
int cublasSetStream_v2(void* handle, void* stream) { return 0; }
int cublasDgemmStridedBatched(void) { return 15; }
int cublasGemmStridedBatchedEx(void) { return 15; }
#else
int curandCreateGenerator(void** handle, int kind) { return *handle = "cuRAND", 0; }
int curandDestroyGenerator(void* handle) { return 0; }
int curandSetPseudoRandomGeneratorSeed(void* handle, unsigned long long seed) { return 0; }
int curandSetStream(void* handle, void* stream) { return 0; }
#endif
