// The forward pass.

#include "border.cuh"
#include "norm.cuh"
#include "rounds.cuh"
#include "small.cuh"
#include "sum.cuh"
#include "unit_forward.cuh"

// Kinds of items. As in program/rounds.rs.
#define IMPORT 0
#define SUM 1
#define SMALL 2
#define UNIT 3
#define MOMENTS 4
#define STATISTICS 5
#define READ_OUTPUT 6

extern "C" __global__ void AT_LEAST(3) forward(Pass pass, Rounds rounds) {
    SHARED(shared);
    __shared__ Item item;
    int kind = take_turn(pass, rounds, &item);
    if (kind == UNIT) unit_forward(pass, item, shared);
    APART(kind);
    if (kind == SUM) sum_forward(pass, item, shared);
    APART(kind);
    if (kind == SMALL) small_forward(pass, item, shared);
    APART(kind);
    if (kind == MOMENTS) take_moments(pass, TABLE(Moments, item.what), item, shared);
    APART(kind);
    if (kind == STATISTICS) statistics(pass, item, shared);
    APART(kind);
    if (kind == IMPORT) import_images(pass, item);
    APART(kind);
    if (kind == READ_OUTPUT) read_output(pass, item);
    end_turn(pass, rounds, item);
}
