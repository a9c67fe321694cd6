/** The real rt: libuv's loop, own UDP code on Linux, the system's clock, files and random numbers. */
#ifndef KITH_RT_UV_UV_H
#define KITH_RT_UV_UV_H

#include "rt/rt.h"

/** Creates a loop. mem NULL: the default. log (may be NULL) is copied. Errors: NOMEM, LIMIT (descriptors), IO. */
KITH_MUST_USE int kith__rt_uv_new(const struct kith_mem *mem, const struct kith_log *log, struct kith_rt **out);

/** The system's random numbers, fit for keys; static. Any thread. */
const struct kith_random *kith__rt_system_random(void);

#endif
