#include "base/log.h"
#include "base/test.h"
#include <string.h>

struct sink {
    int lines;
    size_t size;
    char part[16], text[2048];
};

static void keep(void *ctx, enum kith_log_level level, const char *part, const char *text)
{
    struct sink *sink = ctx;

    (void)level;
    sink->lines++;
    sink->size = strlen(text);
    strcpy(sink->part, part);
    strcpy(sink->text, text);
}

KITH_TEST(log_formats_only_wanted_levels)
{
    struct sink sink = { 0 };
    struct kith_log log = { keep, &sink, KITH_LOG_WARN };

    kith__log(NULL, KITH_LOG_ERROR, "rt", "nobody listens");
    kith__log(&(struct kith_log) { 0 }, KITH_LOG_ERROR, "rt", "nobody listens");
    kith__log(&log, KITH_LOG_INFO, "rt", "too detailed");
    KITH_CHECK_EQ(sink.lines, 0);
    kith__log(&log, KITH_LOG_WARN, "rt", "port %d", 80);
    KITH_CHECK_EQ(sink.lines, 1);
    KITH_CHECK_STR(sink.part, "rt");
    KITH_CHECK_STR(sink.text, "port 80");
    kith__log(&log, KITH_LOG_ERROR, "rt", "%01500d", 1);
    KITH_CHECK_EQ(sink.size, 1023);
}

KITH_TEST(log_lines_carry_no_control_characters)
{
    struct sink sink = { 0 };
    struct kith_log log = { keep, &sink, KITH_LOG_WARN };

    kith__log(&log, KITH_LOG_WARN, "quic", "reason %.*s", 7, "a\n\033[2J\x7f");
    KITH_CHECK_STR(sink.text, "reason a??[2J?");
    kith__log(&log, KITH_LOG_WARN, "quic", "%s",
              "\xc2\x9b"
              "2J gr\xc3\xbc\xc3\x9f \xc2\xa7 \xc2");
    KITH_CHECK_STR(sink.text, "??2J gr\xc3\xbc\xc3\x9f \xc2\xa7 \xc2");
}
