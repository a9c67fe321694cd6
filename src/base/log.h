/** Log lines: a level, a part ("quic", "rt"), printf text. The sink is a value given at creation; there is no global. */
#ifndef KITH_BASE_LOG_H
#define KITH_BASE_LOG_H

#include <kith/types.h>

enum kith_log_level { KITH_LOG_ERROR, KITH_LOG_WARN, KITH_LOG_INFO, KITH_LOG_DEBUG, KITH_LOG_TRACE };

struct kith_log {
    void (*write)(void *ctx, enum kith_log_level level, const char *part, const char *text); /* NULL: no logging */
    void *ctx;
    enum kith_log_level level; /* lines above it are not even formatted */
};

/** Formats (at most 1,023 bytes) and writes, if the level asks for it. log may be NULL. */
void kith__log(const struct kith_log *log, enum kith_log_level level, const char *part, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
