#include "base/cause.h"

static _Thread_local struct {
    int err, number;
} last;

int kith__cause_note(int err, int number)
{
    last.err = err;
    last.number = number;
    return err;
}

int64_t kith__cause_take(int err)
{
    int64_t number = err != 0 && err == last.err ? last.number : 0;

    last.err = last.number = 0;
    return number;
}
