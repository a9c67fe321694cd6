/** Random numbers and date of the C library in the simulator's programs: see entropy.c. */
#ifndef KITH_SIM_ENTROPY_H
#define KITH_SIM_ENTROPY_H

#include <stdint.h>

/** Begins again from this seed. */
void kith__entropy_seed(uint64_t seed);

#endif
