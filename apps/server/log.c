/* Log lines of a server program. */
#include "log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_SIZE = 1280 };

static const char *const names[] = { "error", "warn", "info", "debug", "trace" };
static const int priorities[] = { 3, 4, 6, 7, 7 }; /* of syslog, as the journal reads them */
static int level_max = LOG_LEVEL_INFO;
static bool is_json, is_journal;

void log_init(int level, bool json)
{
    level_max = level;
    is_json = json;
    is_journal = getenv("JOURNAL_STREAM") != NULL;
}

bool log_is_json(void)
{
    return is_json;
}

int log_level(void)
{
    return level_max;
}

/* One line, whatever bytes a peer's words put into it. */
static void clean(const char *from, char *to)
{
    size_t size = 0;

    for (; *from != 0 && size + 1 < TEXT_SIZE; from++)
        to[size++] = (unsigned char)*from < 0x20 || (unsigned char)*from == 0x7f ? ' ' : *from;
    to[size] = 0;
}

static void write_json(const char *time, int level, const char *part, char *text)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "time", time, "level", names[level], "part", part, "text", text);
    char *line;

    if (object == NULL) { /* not UTF-8 */
        for (char *c = text; *c != 0; c++)
            *c = (unsigned char)*c > 0x7e ? '?' : *c;
        object = json_pack("{s:s, s:s, s:s, s:s}", "time", time, "level", names[level], "part", part, "text", text);
    }
    line = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (line != NULL)
        fprintf(stderr, "%s\n", line);
    free(line);
}

void log_write(void *ctx, int level, const char *part, const char *text)
{
    char line[TEXT_SIZE], stamp[32], time[48];
    struct timespec now;
    struct tm utc;

    (void)ctx;
    if (level > level_max || level < 0 || level > LOG_LEVEL_TRACE)
        return;
    clean(text, line);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(time, sizeof time, "%s.%03ldZ", stamp, now.tv_nsec / 1000000);
    if (is_json)
        write_json(time, level, part, line);
    else if (is_journal)
        fprintf(stderr, "<%d>%s: %s\n", priorities[level], part, line);
    else
        fprintf(stderr, "%s %-5s %s: %s\n", time, names[level], part, line);
}

void log_line(int level, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log_write(NULL, level, "program", text);
}

bool log_level_parse(const char *text, int *level)
{
    while (*text != 0) {
        size_t size = strcspn(text, ",");

        for (int i = 0; i <= LOG_LEVEL_TRACE; i++) {
            if (strlen(names[i]) == size && strncasecmp(text, names[i], size) == 0) {
                *level = i;
                return true;
            }
        }
        text += size + (text[size] == ',' ? 1 : 0);
    }
    return false;
}
