#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void kith__assert_fail(const char *fact, const char *file, int line)
{
    fprintf(stderr, "%s:%d: this must hold, but does not: %s\n", file, line, fact);
    abort();
}
