// cuBLAS's products as plain loops, in the order of the stream that they are asked of: a part of driver.cpp.

template <class T>
static void product(std::array<int, 2> transposed, std::array<int, 3> size, double alpha, double beta, const T* a,
                    const T* b, T* c, std::array<long long, 3> lead) {
    auto at = [](const T* of, int transposed, long long lead, int row, int column) {
        return of[transposed ? row * lead + column : column * lead + row];
    };
    for (int column = 0; column < size[1]; column++)
        for (int row = 0; row < size[0]; row++) {
            double sum = 0.0;
            for (int k = 0; k < size[2]; k++)
                sum += double(at(a, transposed[0], lead[0], row, k)) * at(b, transposed[1], lead[1], k, column);
            T& to = c[column * lead[2] + row];
            to = T(alpha * sum + (beta == 0.0 ? 0.0 : beta * to));
        }
}

// See card/libraries.c.
DRIVER shim_product(void* stream, int bytes, const int transposed[2], const int size[3], double alpha, double beta,
                    const char* a, const char* b, char* c, const long long lead[3], const long long stride[3],
                    int batch) {
    ENTERED;
    std::array<int, 2> t{transposed[0], transposed[1]};
    std::array<int, 3> s{size[0], size[1], size[2]};
    std::array<long long, 3> leads{lead[0], lead[1], lead[2]}, strides{stride[0], stride[1], stride[2]};
    return ask(stream, [=] {
        for (long long i = 0; i < batch; i++) {
            const char *from_a = a + i * strides[0] * bytes, *from_b = b + i * strides[1] * bytes;
            char* to = c + i * strides[2] * bytes;
            if (bytes == 4)
                product<float>(t, s, alpha, beta, (float*)from_a, (float*)from_b, (float*)to, leads);
            else
                product<double>(t, s, alpha, beta, (double*)from_a, (double*)from_b, (double*)to, leads);
        }
        return 0;
    });
}
