/** The error record of the calling thread (kith_error_last), and how calls fill it. */
#ifndef KITH_API_ERROR_H
#define KITH_API_ERROR_H

#include <kith/endpoint.h>

/**
 * Notes an error for kith_error_last and returns `code`. The text follows the format: a whole sentence. Bytes that are not
 * printable ASCII or UTF-8 are escaped: peers choose some of the words.
 */
int kith__fail(int code, int64_t cause, const char *format, ...) __attribute__((format(printf, 3, 4), nonnull(3)));

/** The same into a record of the caller's. */
int kith__fail_into(struct kith_error *error, int code, int64_t cause, const char *format, ...)
    __attribute__((format(printf, 4, 5), nonnull(4)));

/**
 * The same where only the code says why: the format tells what did not work, and the reason and what to do about it follow.
 * Where the system refused it (base/cause.h), the reason is that of its errno, which becomes the cause.
 */
int kith__fail_because(int code, const char *format, ...) __attribute__((format(printf, 2, 3), nonnull(2)));
/** The same into a record of the caller's. */
int kith__fail_into_because(struct kith_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4), nonnull(3)));

/** INVALID: the caller gave NULL where `what` ("a key") is needed. */
int kith__fail_null(const char *what);

/** Copies a record to kith_error_last and returns its code. */
int kith__fail_with(const struct kith_error *error);

/** A sentence about how a connection ended, for people: who closed it, with what code and reason, what to do. */
int kith__fail_closed(struct kith_error *error, const struct kith_quic_close_info *info);

#endif
