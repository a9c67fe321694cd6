/*
 * The error record of a thread, in a file of its own: libkith-server has the rest of the library's insides as its own copy, but
 * a program that calls both asks only once what went wrong.
 */
#include <kith/endpoint.h>

static _Thread_local struct kith_error last_error;

void kith_error_note(const struct kith_error *error)
{
    last_error = *error;
}

const struct kith_error *kith_error_last(void)
{
    return &last_error;
}
