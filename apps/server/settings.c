/* A TOML file bound to the fields of a struct. */
#include "settings.h"

#include "places.h"

#include <errno.h>
#include <inttypes.h>
#include <kith/kith.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

bool setting_fail(char *error, const struct toml_value *value, const char *format, ...)
{
    char text[TOML_ERROR_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(error, TOML_ERROR_SIZE, "line %d: %.100s: %.380s", value->line, value->path, text);
    return false;
}

bool setting_wrong(char *error, const struct toml_value *value, const char *expected)
{
    return setting_fail(error, value, "expected %s", expected);
}

/* ---- Values ---- */

bool setting_duration_parse(const char *text, uint64_t *ns)
{
    static const struct {
        const char *names; /* each between spaces */
        double ns;
    } units[] = {
        { " ns nsec ", 1 },
        { " us usec ", 1e3 },
        { " ms msec millis ", 1e6 },
        { " s sec secs second seconds ", 1e9 },
        { " m min mins minute minutes ", 60e9 },
        { " h hr hrs hour hours ", 3600e9 },
        { " d day days ", 86400e9 },
        { " w week weeks ", 7 * 86400e9 },
        { " M month months ", 30.44 * 86400e9 },
        { " y year years ", 365.25 * 86400e9 },
    };
    double sum = 0;
    int parts = 0;

    for (text += strspn(text, " "); *text != 0; text += strspn(text, " "), parts++) {
        char *end, unit[16];
        unsigned long long number = strtoull(text, &end, 10);
        size_t size, i;

        if (*text < '0' || *text > '9')
            return false;
        end += strspn(end, " ");
        size = strspn(end, "abcdefghijklmnopqrstuvwxyzM");
        if (size == 0 || size > 10)
            return false;
        snprintf(unit, sizeof unit, " %.*s ", (int)size, end);
        for (i = 0; i < sizeof units / sizeof units[0] && strstr(units[i].names, unit) == NULL; i++)
            ;
        if (i == sizeof units / sizeof units[0])
            return false;
        sum += (double)number * units[i].ns;
        text = end + size;
    }
    if (parts == 0 || sum > 9e18)
        return false;
    *ns = (uint64_t)sum;
    return true;
}

static const char *set_texts(struct texts *texts, const struct toml_value *value)
{
    static const char expected[] = "a text in quotes, or an array of them";
    const char *const *items = value->kind == TOML_STRINGS ? value->texts : &value->text;
    size_t count = value->kind == TOML_STRINGS ? value->text_count : 1;

    if (value->kind != TOML_STRINGS && value->kind != TOML_STRING)
        return expected;
    texts_free(texts);
    for (size_t i = 0; i < count; i++) {
        if (items[i][0] == 0)
            return "texts that are not empty";
        texts_add(texts, items[i]);
    }
    return NULL;
}

static const char *set_number(void *field, enum setting_kind kind, const struct toml_value *value)
{
    bool is_whole = value->kind == TOML_INTEGER && value->integer >= 0;
    bool is_number = value->kind == TOML_INTEGER || (value->kind == TOML_FLOAT && isfinite(value->number));

    switch (kind) {
    case SETTING_PORT:
        if (!is_whole || value->integer > UINT16_MAX)
            return "a port, 0 to 65535";
        *(uint16_t *)field = (uint16_t)value->integer;
        return NULL;
    case SETTING_RATE:
        if (!is_number || value->number <= 0)
            return "a number above 0";
        *(double *)field = value->number;
        return NULL;
    case SETTING_SECONDS:
        if (!is_number || value->number < 0 || value->number > SETTINGS_DAY_S)
            return "a number of seconds";
        *(double *)field = value->number;
        return NULL;
    case SETTING_U32:
        if (!is_whole || value->integer == 0 || value->integer > UINT32_MAX)
            return "a whole number from 1 to 4294967295";
        *(uint32_t *)field = (uint32_t)value->integer;
        return NULL;
    default:
        if (!is_whole)
            return "a whole number, 0 or more";
        *(uint64_t *)field = (uint64_t)value->integer;
        return NULL;
    }
}

/* "a", "b" or "c". */
static bool wrong_choice(char *error, const struct toml_value *value, const struct setting_choice *choices)
{
    char list[200] = "";
    size_t size = 0;

    for (size_t i = 0; choices[i].name != NULL; i++)
        size += (size_t)snprintf(list + size, sizeof list - size, "%s\"%.30s\"",
                                 i == 0                        ? ""
                                 : choices[i + 1].name != NULL ? ", "
                                                               : " or ",
                                 choices[i].name);
    return setting_wrong(error, value, list);
}

static bool set_choice(int *field, const struct setting_choice *choices, const struct toml_value *value, char *error)
{
    for (size_t i = 0; value->kind == TOML_STRING && choices[i].name != NULL; i++) {
        if (strcmp(value->text, choices[i].name) == 0) {
            *field = choices[i].value;
            return true;
        }
    }
    return wrong_choice(error, value, choices);
}

/* Sets a field. Returns what is expected in words if the value is something else. */
static const char *set(void *field, enum setting_kind kind, const struct toml_value *value)
{
    switch (kind) {
    case SETTING_BOOL:
        if (value->kind != TOML_BOOL)
            return "true or false";
        *(bool *)field = value->boolean;
        return NULL;
    case SETTING_TEXT:
        if (value->kind != TOML_STRING || value->text[0] == 0)
            return "a text in quotes that is not empty";
        text_set(field, value->text);
        return NULL;
    case SETTING_TEXTS:
        return set_texts(field, value);
    case SETTING_ADDRESS:
        if (value->kind != TOML_STRING || kith_sockaddr_parse(value->text, field) != 0)
            return "an address and port in quotes, like \"0.0.0.0:80\" or \"[::]:80\"";
        return NULL;
    case SETTING_IP:
        if (value->kind != TOML_STRING || !place_parse_ip(value->text, field))
            return "an IP address in quotes, like \"192.0.2.1\" or \"::\"";
        return NULL;
    case SETTING_DURATION:
        if (value->kind != TOML_STRING || !setting_duration_parse(value->text, field))
            return "a time in quotes with its unit, like \"10s\" or \"7days\"";
        return NULL;
    default:
        return set_number(field, kind, value);
    }
}

/* ---- The file ---- */

struct reading {
    const struct settings *settings;
    void *target;
};

static const struct setting *find(const struct settings *settings, const char *path)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (strcmp(path, settings->items[i].path) == 0)
            return &settings->items[i];
    }
    return NULL;
}

/* True for a table that could have held something. */
static bool is_table(const struct settings *settings, const char *path)
{
    size_t size = strlen(path);

    for (size_t i = 0; i < settings->count; i++) {
        if (strncmp(path, settings->items[i].path, size) == 0 && settings->items[i].path[size] == '.')
            return true;
    }
    return false;
}

static bool take_value(void *ctx, const struct toml_value *value, char *error)
{
    const struct reading *reading = ctx;
    const struct setting *setting = find(reading->settings, value->path);
    bool is_known = setting != NULL || (value->kind == TOML_EMPTY_TABLE && is_table(reading->settings, value->path));
    const char *expected;
    void *field;

    if (!is_known) {
        snprintf(error, TOML_ERROR_SIZE, "line %d: there is no key '%.200s'", value->line, value->path);
        return false;
    }
    if (reading->settings->on_key != NULL)
        reading->settings->on_key(reading->target, value->path);
    if (setting == NULL)
        return true;
    field = (char *)reading->target + setting->offset;
    if (setting->take != NULL)
        return setting->take(field, value, error);
    if (setting->kind == SETTING_CHOICE)
        return set_choice(field, setting->choices, value, error);
    expected = set(field, setting->kind, value);
    return expected == NULL || setting_wrong(error, value, expected);
}

bool settings_read(const struct settings *settings, void *target, const char *file, char *error)
{
    struct reading reading = { settings, target };
    char text[TOML_ERROR_SIZE];
    struct stat info;

    if (access(file, R_OK) != 0 || stat(file, &info) != 0) {
        snprintf(error, SETTINGS_ERROR_SIZE, "%s: %s", file, strerror(errno));
        return false;
    }
    if (S_ISDIR(info.st_mode)) { /* would be read as a file without a word in it */
        snprintf(error, SETTINGS_ERROR_SIZE, "%s: %s", file, strerror(EISDIR));
        return false;
    }
    if (toml_read(file, take_value, &reading, text))
        return true;
    /* What take_value says has no file name yet. */
    if (strncmp(text, "line ", 5) == 0)
        snprintf(error, SETTINGS_ERROR_SIZE, "%.180s: %.320s", file, text);
    else
        snprintf(error, SETTINGS_ERROR_SIZE, "%s", text);
    return false;
}

/* ---- Printing ---- */

static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            printf("\\u%04x", (unsigned)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static void print_texts(const char *path, const struct texts *texts)
{
    if (texts->count == 0)
        return;
    printf("%s = [", path);
    for (size_t i = 0; i < texts->count; i++) {
        printf("%s", i != 0 ? ", " : "");
        print_quoted(texts->items[i]);
    }
    printf("]\n");
}

static void print_address(const char *path, const struct kith_sockaddr *address, bool has_port)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];
    const char *shown;

    if (address->family == KITH_FAMILY_NONE)
        return;
    shown = kith_sockaddr_format(address, text);
    if (!has_port) { /* "[::1]:0" or "127.0.0.1:0" */
        *strrchr(text, ':') = 0;
        text[strcspn(text, "]")] = 0;
        shown = text[0] == '[' ? text + 1 : text;
    }
    printf("%s = \"%s\"\n", path, shown);
}

static void print_choice(const struct setting *setting, int value)
{
    for (size_t i = 0; setting->choices[i].name != NULL; i++) {
        if (setting->choices[i].value == value) {
            printf("%s = \"%s\"\n", setting->path, setting->choices[i].name);
            return;
        }
    }
}

static void print_number(const struct setting *setting, const void *field)
{
    uint64_t ns;
    bool is_whole;

    switch (setting->kind) {
    case SETTING_PORT:
        printf("%s = %u\n", setting->path, (unsigned)*(const uint16_t *)field);
        break;
    case SETTING_RATE:
    case SETTING_SECONDS:
        if (*(const double *)field != 0)
            printf("%s = %g\n", setting->path, *(const double *)field);
        break;
    case SETTING_U64:
        if (*(const uint64_t *)field != 0)
            printf("%s = %" PRIu64 "\n", setting->path, *(const uint64_t *)field);
        break;
    case SETTING_U32:
        if (*(const uint32_t *)field != 0)
            printf("%s = %" PRIu32 "\n", setting->path, *(const uint32_t *)field);
        break;
    default:
        ns = *(const uint64_t *)field;
        is_whole = ns % KITH_NS_PER_S == 0;
        printf("%s = \"%" PRIu64 "%s\"\n", setting->path, is_whole ? (uint64_t)(ns / KITH_NS_PER_S) : ns,
               is_whole ? "s" : "ns");
        break;
    }
}

static void print_setting(const struct setting *setting, const void *field)
{
    const char *text;

    switch (setting->kind) {
    case SETTING_CALL:
        break;
    case SETTING_BOOL:
        printf("%s = %s\n", setting->path, *(const bool *)field ? "true" : "false");
        break;
    case SETTING_TEXT:
        if ((text = *(char *const *)field) == NULL)
            break;
        printf("%s = ", setting->path);
        print_quoted(setting->is_secret ? "(secret)" : text);
        putchar('\n');
        break;
    case SETTING_TEXTS:
        print_texts(setting->path, field);
        break;
    case SETTING_ADDRESS:
    case SETTING_IP:
        print_address(setting->path, field, setting->kind == SETTING_ADDRESS);
        break;
    case SETTING_CHOICE:
        print_choice(setting, *(const int *)field);
        break;
    default:
        print_number(setting, field);
        break;
    }
}

void settings_print(const struct settings *settings, const void *target)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (settings->is_shown == NULL || settings->is_shown(target, settings->items[i].path))
            print_setting(&settings->items[i], (const char *)target + settings->items[i].offset);
    }
}

/* ---- The environment, and other files ---- */

const char *environment_text(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != 0 ? value : NULL;
}

bool texts_read(struct texts *texts, const char *file, const char *what, char *error)
{
    FILE *stream = fopen(file, "re");
    char *line = NULL;
    size_t capacity = 0, before = texts->count;
    ssize_t size;

    if (stream == NULL) {
        snprintf(error, SETTINGS_ERROR_SIZE, "%s: %s", file, strerror(errno));
        return false;
    }
    while ((size = getline(&line, &capacity, stream)) >= 0) {
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
            line[--size] = 0;
        if (size > 0)
            texts_add(texts, line);
    }
    if (line != NULL)
        explicit_bzero(line, capacity);
    free(line);
    fclose(stream);
    if (texts->count == before) {
        snprintf(error, SETTINGS_ERROR_SIZE, "%s: there is no %s in it", file, what);
        return false;
    }
    return true;
}
