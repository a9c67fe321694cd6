/* Command-line options from tables. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 28 };

static bool takes_value(const struct option_spec *spec)
{
    return spec->kind != OPTION_FLAG && spec->kind != OPTION_COUNT;
}

static const struct option_spec *find(const struct option_spec *table, const char *name, size_t size, char letter)
{
    for (; table != NULL && table->kind != OPTION_END; table++) {
        if (name != NULL && strlen(table->name) == size && memcmp(table->name, name, size) == 0)
            return table;
        if (name == NULL && table->letter == letter)
            return table;
    }
    return NULL;
}

static const char *take_unsigned(uint64_t *target, const char *text)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != 0 || errno != 0)
        return "a whole number is expected";
    *target = number;
    return NULL;
}

static const char *take_seconds(uint64_t *target, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != 0 || !isfinite(seconds) || seconds < 0 || seconds > 1e9)
        return "a number of seconds is expected, like 2 or 0.5";
    *target = (uint64_t)(seconds * 1e9);
    return NULL;
}

static bool apply(const struct option_spec *spec, const char *shown, const char *value, char *error)
{
    const char *problem = NULL;

    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)spec->target = true;
        break;
    case OPTION_COUNT:
        ++*(int *)spec->target;
        break;
    case OPTION_TEXT:
        *(const char **)spec->target = value;
        break;
    case OPTION_UNSIGNED:
        problem = take_unsigned(spec->target, value);
        break;
    case OPTION_SECONDS:
        problem = take_seconds(spec->target, value);
        break;
    default:
        problem = spec->take(spec->target, value);
        break;
    }
    if (problem == NULL)
        return true;
    snprintf(error, OPTIONS_ERROR_SIZE, "%.40s '%.80s': %s", shown, value, problem);
    return false;
}

/* "--name", "--name=value" or "--name value". */
static bool parse_long(const struct option_spec *own, const struct option_spec *common, int argc, char **argv, int *at,
                       char *error)
{
    const char *name = argv[*at] + 2;
    size_t size = strcspn(name, "=");
    const char *value = name[size] == '=' ? name + size + 1 : NULL;
    const struct option_spec *spec = find(own, name, size, 0);
    char shown[48];

    snprintf(shown, sizeof shown, "--%.*s", (int)(size < 40 ? size : 40), name);
    if (spec == NULL)
        spec = find(common, name, size, 0);
    if (spec == NULL) {
        snprintf(error, OPTIONS_ERROR_SIZE, "there is no option %s", shown);
        return false;
    }
    if (!takes_value(spec) && value != NULL) {
        snprintf(error, OPTIONS_ERROR_SIZE, "%s takes no value", shown);
        return false;
    }
    if (takes_value(spec) && value == NULL) {
        if (*at + 1 >= argc) {
            snprintf(error, OPTIONS_ERROR_SIZE, "%s needs a value: %s", shown, spec->argument);
            return false;
        }
        value = argv[++*at];
    }
    return apply(spec, shown, value, error);
}

/* "-v", "-vv", "-qo file", "-ofile". */
static bool parse_short(const struct option_spec *own, const struct option_spec *common, int argc, char **argv, int *at,
                        char *error)
{
    for (const char *letter = argv[*at] + 1; *letter != 0; letter++) {
        const struct option_spec *spec = find(own, NULL, 0, *letter);
        char shown[3] = { '-', *letter, 0 };

        if (spec == NULL)
            spec = find(common, NULL, 0, *letter);
        if (spec == NULL) {
            snprintf(error, OPTIONS_ERROR_SIZE, "there is no option '-%c'", *letter);
            return false;
        }
        if (!takes_value(spec)) {
            if (!apply(spec, shown, "", error))
                return false;
            continue;
        }
        if (letter[1] != 0)
            return apply(spec, shown, letter + 1, error);
        if (*at + 1 >= argc) {
            snprintf(error, OPTIONS_ERROR_SIZE, "%s needs a value: %s", shown, spec->argument);
            return false;
        }
        return apply(spec, shown, argv[++*at], error);
    }
    return true;
}

bool options_parse(const struct option_spec *own, const struct option_spec *common, int argc, char **argv,
                   struct option_args *args, char *error)
{
    bool options_ended = false;

    args->count = 0;
    for (int at = 1; at < argc; at++) {
        const char *text = argv[at];

        if (!options_ended && strcmp(text, "--") == 0) {
            options_ended = true;
        } else if (!options_ended && text[0] == '-' && text[1] == '-') {
            if (!parse_long(own, common, argc, argv, &at, error))
                return false;
        } else if (!options_ended && text[0] == '-' && text[1] != 0) {
            if (!parse_short(own, common, argc, argv, &at, error))
                return false;
        } else if (args->count == OPTIONS_ARGS_MAX) {
            snprintf(error, OPTIONS_ERROR_SIZE, "too many arguments");
            return false;
        } else {
            args->items[args->count++] = text;
        }
    }
    return true;
}

void options_print(const struct option_spec *table)
{
    for (; table->kind != OPTION_END; table++) {
        int column = 0;

        if (table->help == NULL)
            continue;
        if (table->letter != 0)
            column = printf("  -%c, ", table->letter);
        else
            column = printf("      ");
        column += printf("--%s%s%s", table->name, table->argument != NULL ? " " : "",
                         table->argument != NULL ? table->argument : "");
        if (column >= HELP_COLUMN) {
            printf("\n");
            column = 0;
        }
        printf("%*s%s\n", HELP_COLUMN - column, "", table->help);
    }
}
