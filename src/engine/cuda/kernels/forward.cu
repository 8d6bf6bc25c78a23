// The forward pass; and the gradient through an image's own mean and variance, which is rare and would take registers
// from the other gradients.

#include "border.cuh"
#include "norm.cuh"
#include "rounds.cuh"
#include "small.cuh"
#include "standardise.cuh"
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
#define STANDARDISE 7
#define STANDARDISE_GRADIENT 8

extern "C" __global__ void AT_LEAST(2) forward(Pass pass, Rounds rounds) {
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
    APART(kind);
    if (kind == STANDARDISE) standardise(pass, item, shared);
    APART(kind);
    if (kind == STANDARDISE_GRADIENT) standardise_gradient(pass, item, shared);
    end_turn(pass, rounds, item);
}
