// The backward pass.

#include "border.cuh"
#include "rounds.cuh"
#include "small.cuh"
#include "sum.cuh"
#include "totals.cuh"
#include "unit_gradient.cuh"
#include "unit_input.cuh"

// Kinds of items. As in program/rounds.rs.
#define SEED 0
#define PLAIN_GRADIENT 1
#define UNIT_GRADIENT 2
#define UNIT_INPUT 3
#define CONTRIBUTE 4
#define DOTS 5
#define ADD_UP 6
#define EXPORT 7

extern "C" __global__ void AT_LEAST(2) backward(Pass pass, Rounds rounds) {
    SHARED(shared);
    __shared__ Item item;
    int kind = take_turn(pass, rounds, &item);
    if (kind == UNIT_GRADIENT) unit_gradient(pass, item, shared);
    APART(kind);
    if (kind == UNIT_INPUT) unit_input(pass, item, shared);
    APART(kind);
    if (kind == CONTRIBUTE) contribute(pass, item, shared);
    APART(kind);
    if (kind == DOTS) dots(pass, item, shared);
    APART(kind);
    if (kind == PLAIN_GRADIENT) plain_gradient(pass, item, shared);
    APART(kind);
    if (kind == ADD_UP) add_up(pass, item, shared);
    APART(kind);
    if (kind == SEED) seed(pass, item);
    APART(kind);
    if (kind == EXPORT) export_images(pass, item);
    end_turn(pass, rounds, item);
}
