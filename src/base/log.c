#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_SIZE = 1024 };

/* Lines carry words of peers: what moves a terminal's cursor, or begins another line, does not get through. */
static void defuse(char *text)
{
    for (; *text != '\0'; text++) {
        bool is_c1 = (unsigned char)text[0] == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80; /* U+0080 to U+009F */

        if ((unsigned char)*text < ' ' || *text == 0x7f || is_c1)
            *text = '?';
        if (is_c1)
            *++text = '?';
    }
}

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
    defuse(text);
    log->write(log->ctx, level, part, text);
}
