// Rounds: what one launch does, one kind of item after another, and what must be done before each.
//
// A launch has a block of threads for every item of every round. Each takes the next turn, so whatever it may have to
// wait for is in blocks that have begun before it, and these wait for nothing later: all of them come to an end.

#pragma once

#include "common.cuh"

// As in program/rounds.rs.
#define MOST_ROUNDS 24
#define MOST_SPANS 48

// What the items of a round wait for.
#define NOTHING 0
#define OWN_IMAGE 1         // earlier items of their image
#define EVERYTHING 2        // all earlier items

struct Round {
    int kind;               // of its items
    int first;              // where they begin in the table
    int count;              // how many there are, for each image or at all
    int lag;                // images that they lag behind the first rounds that they run beside
    int waits;              // for which of these:
    int before;             // items of an image in the rounds that come before
    int once;               // and those that are there once
};

// Turns in which the same rounds take part: the items of each for its image, then those for the next images.
struct Span {
    int turns;
    int each;               // turns until the next images
    int first;              // of the rounds
    int image;              // at the beginning, of rounds without a lag
};

struct Rounds {
    int blocks;             // of the launch
    Round of[MOST_ROUNDS];
    Span spans[MOST_SPANS];
};

// Counters: turns taken, items done, and items done of each image. They are zero between launches.
#define TURNS 0
#define DONE 1
#define OF_IMAGE 2

#ifndef COUNTERS
// Counts one more, and says how many there were: who sees that sees what this block wrote. A fence would do, but would
// also make every block of the multiprocessor forget what its cache holds.
__device__ int count_up(int* count) {
    int before;
    asm volatile("atom.release.gpu.global.add.s32 %0, [%1], 1;" : "=r"(before) : "l"(count) : "memory");
    return before;
}

// The count as it is now, whatever a cache holds.
__device__ int glance(const int* count) {
    int now;
    asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];" : "=r"(now) : "l"(count) : "memory");
    return now;
}
#endif

// Until a count is reached. The thread then sees what those wrote who were counted.
__device__ void wait_for(const int* count, int least) {
    while (glance(count) < least) __nanosleep(64);
    __threadfence();
}

// Takes a turn: the item, in shared memory, and its kind.
__device__ int take_turn(const Pass& pass, const Rounds& rounds, Item* item) {
    __shared__ int taken;
    if (threadIdx.x == 0) taken = atomicAdd(pass.counters + TURNS, 1);
    __syncthreads();
    int turn = taken;
    const Span* span = rounds.spans;
    while (turn >= span->turns) turn -= span++->turns;
    int images = turn / span->each, number = span->first;
    turn -= images * span->each;
    while (turn >= rounds.of[number].count) turn -= rounds.of[number++].count;
    const Round& round = rounds.of[number];
    int image = span->image + images - round.lag;
    if (threadIdx.x == 0) {
        const int* words = pass.table + round.first + 4 * turn;
        item->what = words[0];
        item->at = words[1];
        item->block = words[2];
        item->count = words[3];
        item->image = image;
        if (round.waits == OWN_IMAGE) wait_for(pass.counters + OF_IMAGE + image, round.before);
        if (round.waits == EVERYTHING) wait_for(pass.counters + DONE, round.before * pass.batch + round.once);
    }
    __syncthreads();
    return round.kind;
}

// Between the kinds of items in a kernel: the compiler would otherwise share out registers for all of them as one, and
// keep many more of them in memory.
#define APART(kind) asm volatile("" : "+r"(kind))

// Counts an item as done; one that is there once counts for the first image too, for which nothing waits after it. The
// launch's last one leaves the counters as they were.
__device__ void end_turn(const Pass& pass, const Rounds& rounds, const Item& item) {
    __syncthreads();
    if (threadIdx.x) return;
    count_up(pass.counters + OF_IMAGE + item.image);
    if (count_up(pass.counters + DONE) != rounds.blocks - 1) return;
    for (int i = 0; i < OF_IMAGE + pass.batch; i++) pass.counters[i] = 0;
}
