/* Shared by the two halves of kith-bench. */
#ifndef KITH_BENCH_H
#define KITH_BENCH_H

#include <kith/kith.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINK   "kith-bench/sink"
#define SOURCE "kith-bench/source"
#define ECHO   "kith-bench/echo"

enum { BLOCK = 1 << 18 };

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != 0) {                                                                                             \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, kith_error_last()->text);                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* An endpoint on loopback in a context that the caller drives: one thread does everything, so that one core is one side. */
struct kith_endpoint *bench_bind(const char *const *alpns, struct kith_context **context);

/* One turn of the caller's loop: sleeps until the context wants to run, runs it. With `stdin_too` the end of standard
   input ends it as well; false then. The sleep has the clock's resolution: a loop that rounds it to milliseconds
   stretches every pacing gap. */
bool bench_turn(struct kith_context *context, bool stdin_too);
int bench_serve(void);

#endif
