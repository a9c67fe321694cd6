/** The error record of the calling thread (kith_error_last), and how calls fill it. */
#ifndef KITH_API_ERROR_H
#define KITH_API_ERROR_H

#include <kith/endpoint.h>

/**
 * Notes an error for kith_error_last and returns `code`. The text follows the format, or is that of the code if format is
 * NULL. Bytes that are not printable ASCII or UTF-8 are escaped: peers choose some of the words.
 */
int kith__fail(int code, int64_t cause, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** The same into a record of the caller's. */
int kith__fail_into(struct kith_error *error, int code, int64_t cause, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** Copies a record to kith_error_last and returns its code. */
int kith__fail_with(const struct kith_error *error);

/** A sentence about how a connection ended, for people: who closed it, with what code and reason, what to do. */
int kith__fail_closed(struct kith_error *error, const struct kith_quic_close_info *info);

#endif
