#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_SIZE = 1024 };

void kith__log(const struct kith_log *log, enum kith_log_level level, const char *part, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;

    if (log == NULL || log->write == NULL || level > log->level)
        return;
    va_start(arguments, format);
    if (vsnprintf(text, sizeof text, format, arguments) < 0)
        text[0] = '\0';
    va_end(arguments);
    log->write(log->ctx, level, part, text);
}
