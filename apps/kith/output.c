/* What the program prints. */
#include "output.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <qrencode.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    BAR_WIDTH = 24,
    LINE_SIZE = 512,
    COLUMNS_DEFAULT = 80,
    QR_MARGIN = 2,
    ECHO_SIZE = 2 /* "^C": it must not make the line wrap */
};
static const uint64_t NS_PER_S = 1000000000ull;
static const uint64_t REDRAW_NS = 100000000ull;  /* ten times a second looks live */
static const uint64_t RETELL_NS = 5000000000ull; /* plain lines: a log, not a film */
static volatile bool line_is_shown;

static const char *with_unit(double value, const char *const *units, size_t count, char *text)
{
    size_t unit = 0;

    while (value >= 999.5 && unit + 1 < count) {
        value /= 1000;
        unit++;
    }
    if (unit == 0)
        snprintf(text, OUTPUT_NUMBER_SIZE, "%.0f %s", value, units[0]);
    else
        snprintf(text, OUTPUT_NUMBER_SIZE, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[unit]);
    return text;
}

const char *output_size(uint64_t bytes, char *text)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };

    return with_unit((double)bytes, units, 7, text);
}

const char *output_bit_rate(double bytes_per_second, char *text)
{
    static const char *const units[] = { "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s" };

    return with_unit(bytes_per_second * 8, units, 5, text);
}

const char *output_byte_rate(double bytes_per_second, char *text)
{
    static const char *const units[] = { "B/s", "kB/s", "MB/s", "GB/s", "TB/s" };

    return with_unit(bytes_per_second, units, 5, text);
}

const char *output_duration(uint64_t ns, char *text)
{
    uint64_t seconds = ns / NS_PER_S;

    if (ns < NS_PER_S)
        snprintf(text, OUTPUT_NUMBER_SIZE, "%.3f ms", (double)ns / 1e6);
    else if (seconds < 60)
        snprintf(text, OUTPUT_NUMBER_SIZE, "%.2f s", (double)ns / 1e9);
    else if (seconds < 3600)
        snprintf(text, OUTPUT_NUMBER_SIZE, "%" PRIu64 ":%02" PRIu64, seconds / 60, seconds % 60);
    else
        snprintf(text, OUTPUT_NUMBER_SIZE, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, seconds / 3600, seconds / 60 % 60,
                 seconds % 60);
    return text;
}

bool output_json_to(FILE *file, json_t *object)
{
    bool ok;

    if (object == NULL)
        return false;
    ok = json_dumpf(object, file, JSON_COMPACT | JSON_SORT_KEYS) == 0 && fputc('\n', file) != EOF && fflush(file) == 0;
    json_decref(object);
    return ok;
}

bool output_json(json_t *object)
{
    return output_json_to(stdout, object);
}

void output_restore_terminal(void)
{
    static const char clear[] = "\r\033[K";

    if (line_is_shown) {
        ssize_t ignored = write(STDERR_FILENO, clear, sizeof clear - 1);

        (void)ignored;
        line_is_shown = false;
    }
}

void output_note(const char *format, ...)
{
    va_list arguments;

    output_restore_terminal();
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static bool colours_are_wanted(void)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return (no_color == NULL || *no_color == 0) && terminal != NULL && strcmp(terminal, "dumb") != 0;
}

static int columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : COLUMNS_DEFAULT;
}

void output_progress_start(struct output_progress *progress, bool quiet, uint64_t now_ns)
{
    memset(progress, 0, sizeof *progress);
    progress->is_shown = !quiet;
    progress->is_terminal = isatty(STDERR_FILENO) != 0;
    progress->started_ns = progress->drawn_ns = now_ns;
    progress->first_bytes = UINT64_MAX;
}

/* "[########>---------------]", at most BAR_WIDTH + 2 characters. */
static void format_bar(char *text, uint64_t done, uint64_t total)
{
    int filled = (int)((double)done / (double)total * BAR_WIDTH);

    filled = filled > BAR_WIDTH ? BAR_WIDTH : filled;
    text[0] = '[';
    for (int i = 0; i < BAR_WIDTH; i++)
        text[1 + i] = i < filled ? '#' : i == filled ? '>' : '-';
    memcpy(text + 1 + BAR_WIDTH, "]", 2);
}

static void format_line(const struct output_progress *progress, char *line, const char *what, uint64_t done,
                        uint64_t total, uint64_t now_ns, bool with_bar)
{
    double seconds = (double)(now_ns - progress->started_ns) / 1e9;
    double rate = seconds > 0 ? (double)(done - progress->first_bytes) / seconds : 0;
    char size[OUTPUT_NUMBER_SIZE], all[OUTPUT_NUMBER_SIZE], speed[OUTPUT_NUMBER_SIZE], left[OUTPUT_NUMBER_SIZE];
    char bar[BAR_WIDTH + 4] = "", percent[8] = "";
    bool is_total_known = total != 0 && done <= total;

    if (is_total_known) {
        snprintf(percent, sizeof percent, "%3.0f%% ", (double)done / (double)total * 100);
        if (with_bar)
            format_bar(bar, done, total);
    }
    snprintf(line, LINE_SIZE, "%s %s%s%s%s%s%s, %s%s%s", what, percent, bar, *bar != 0 ? " " : "",
             output_size(done, size), is_total_known ? " of " : "", is_total_known ? output_size(total, all) : "",
             output_byte_rate(rate, speed), is_total_known && rate > 1 && done < total ? ", left " : "",
             is_total_known && rate > 1 && done < total
                 ? output_duration((uint64_t)((double)(total - done) / rate) * NS_PER_S + NS_PER_S, left)
                 : "");
}

void output_progress_draw(struct output_progress *progress, const char *what, uint64_t done, uint64_t total,
                          uint64_t now_ns)
{
    char line[LINE_SIZE], cut[LINE_SIZE]; /* cut between characters, not in one */
    int room = columns() - ECHO_SIZE - 1;

    if (progress->first_bytes == UINT64_MAX)
        progress->first_bytes = done;
    if (!progress->is_shown || done < progress->first_bytes)
        return;
    if (now_ns - progress->drawn_ns < (progress->is_terminal ? REDRAW_NS : RETELL_NS))
        return;
    progress->drawn_ns = now_ns;
    format_line(progress, line, what, done, total, now_ns, progress->is_terminal);
    if (!progress->is_terminal) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    if (strlen(line) > (size_t)room) /* the numbers say more than the bar */
        format_line(progress, line, what, done, total, now_ns, false);
    fprintf(stderr, "\r%s%s%s\033[K", colours_are_wanted() ? "\033[36m" : "",
            output_clean(line, cut, (size_t)room + 1 < sizeof cut ? (size_t)room + 1 : sizeof cut),
            colours_are_wanted() ? "\033[0m" : "");
    fflush(stderr);
    line_is_shown = true;
}

void output_progress_end(struct output_progress *progress)
{
    progress->is_shown = false;
    output_restore_terminal();
}

static bool is_dark(const QRcode *code, int x, int y)
{
    return x >= 0 && y >= 0 && x < code->width && y < code->width && (code->data[y * code->width + x] & 1) != 0;
}

/* Two rows of the code in one line of text; light modules are drawn, for terminals are mostly dark. */
static void draw_half_blocks(const QRcode *code)
{
    static const char *const cells[] = { "\xe2\x96\x88", "\xe2\x96\x84", "\xe2\x96\x80", " " };

    for (int y = -QR_MARGIN; y < code->width + QR_MARGIN; y += 2) {
        for (int x = -QR_MARGIN; x < code->width + QR_MARGIN; x++)
            fputs(cells[is_dark(code, x, y) + 2 * is_dark(code, x, y + 1)], stderr);
        fputc('\n', stderr);
    }
}

static void draw_ascii(const QRcode *code)
{
    for (int y = -QR_MARGIN; y < code->width + QR_MARGIN; y++) {
        for (int x = -QR_MARGIN; x < code->width + QR_MARGIN; x++)
            fputs(is_dark(code, x, y) ? "  " : "##", stderr);
        fputc('\n', stderr);
    }
}

const char *output_qr(const char *text)
{
    static char problem[64];
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    bool is_utf8 = setlocale(LC_CTYPE, "") != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    int needed;

    if (code == NULL)
        return "the ticket is too long";
    needed = (code->width + 2 * QR_MARGIN) * (is_utf8 ? 1 : 2);
    problem[0] = 0;
    if (isatty(STDERR_FILENO) && columns() < needed)
        snprintf(problem, sizeof problem, "it needs a terminal with %d columns", needed);
    else if (is_utf8)
        draw_half_blocks(code);
    else
        draw_ascii(code);
    QRcode_free(code);
    return problem[0] != 0 ? problem : NULL;
}

/* Size of the UTF-8 sequence at `text`, 0 if there is none; *code is what it stands for. */
static size_t read_utf8(const unsigned char *text, uint32_t *code)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t size = text[0] < 0x80   ? 1
                  : text[0] < 0xc2 ? 0
                  : text[0] < 0xe0 ? 2
                  : text[0] < 0xf0 ? 3
                  : text[0] < 0xf5 ? 4
                                   : 0;

    *code = size <= 1 ? text[0] : text[0] & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) /* the end of the string too */
            return 0;
        *code = *code << 6 | (text[i] & 0x3f);
    }
    if (size > 1 && (*code < least[size] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000)))
        return 0;
    return size;
}

/* Controls (C0 and C1), line ends, and what steers the direction of text. */
static bool is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c || (code >= 0x200e && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

const char *output_clean(const char *from, char *to, size_t size)
{
    const unsigned char *text = (const unsigned char *)from;
    size_t used = 0;

    while (*text != 0) {
        uint32_t code;
        size_t part = read_utf8(text, &code);
        bool is_bad = part == 0 || is_harmful(code);
        size_t shown = is_bad ? 1 : part;

        if (used + shown >= size)
            break;
        memcpy(to + used, is_bad ? (const void *)"?" : text, shown);
        used += shown;
        text += part == 0 ? 1 : part;
    }
    to[used] = 0;
    return to;
}
