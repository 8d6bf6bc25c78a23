// Stands in for a library that candle's device opens: LIBRARY is 1 for cuBLAS, whose products in single and double
// precision are plain loops in the stream's order, and 2 for cuRAND, of which nothing but its handles is ever used.
#include <stdlib.h>

#if LIBRARY == 1
// In products.cpp. Column by column, as cuBLAS has it: c = alpha * op(a) * op(b) + beta * c.
int shim_product(void* stream, int bytes, const int transposed[2], const int size[3], double alpha, double beta,
                 const void* a, const void* b, void* c, const long long lead[3], const long long stride[3], int batch);

struct Handle {
    void* stream;
};

int cublasCreate_v2(struct Handle** handle) { return *handle = calloc(1, sizeof(struct Handle)), 0; }
int cublasDestroy_v2(struct Handle* handle) { return free(handle), 0; }
int cublasSetStream_v2(struct Handle* handle, void* stream) { return handle->stream = stream, 0; }

int cublasDgemmStridedBatched(struct Handle* handle, int ta, int tb, int m, int n, int k, const double* alpha,
                              const double* a, int lda, long long of_a, const double* b, int ldb, long long of_b,
                              const double* beta, double* c, int ldc, long long of_c, int batch) {
    int transposed[2] = {ta, tb}, size[3] = {m, n, k};
    long long lead[3] = {lda, ldb, ldc}, stride[3] = {of_a, of_b, of_c};
    return shim_product(handle->stream, 8, transposed, size, *alpha, *beta, a, b, c, lead, stride, batch);
}

int cublasGemmStridedBatchedEx(struct Handle* handle, int ta, int tb, int m, int n, int k, const float* alpha,
                               const void* a, int a_type, int lda, long long of_a, const void* b, int b_type, int ldb,
                               long long of_b, const float* beta, void* c, int c_type, int ldc, long long of_c,
                               int batch, int compute, int algorithm) {
    int transposed[2] = {ta, tb}, size[3] = {m, n, k};
    long long lead[3] = {lda, ldb, ldc}, stride[3] = {of_a, of_b, of_c};
    // Single precision only.
    if (a_type || b_type || c_type) return 15;
    return shim_product(handle->stream, 4, transposed, size, *alpha, *beta, a, b, c, lead, stride, batch);
}
#else
int curandCreateGenerator(void** handle, int kind) { return *handle = malloc(1), 0; }
int curandDestroyGenerator(void* handle) { return free(handle), 0; }
int curandSetPseudoRandomGeneratorSeed(void* handle, unsigned long long seed) { return 0; }
int curandSetStream(void* handle, void* stream) { return 0; }
#endif
