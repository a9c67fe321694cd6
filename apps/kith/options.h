/**
 * Command-line options from tables: one table for the options that all commands share, one for those of the command.
 * The same tables print the help, so that no option can be missing there.
 */
#ifndef APPS_OPTIONS_H
#define APPS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_END,      /* closes a table */
    OPTION_FLAG,     /* bool *: set to true */
    OPTION_COUNT,    /* int *: one more each time */
    OPTION_TEXT,     /* const char **: borrowed from argv */
    OPTION_UNSIGNED, /* uint64_t *: decimal */
    OPTION_SECONDS,  /* uint64_t *: nanoseconds, given as seconds with a fraction ("0.2") */
    OPTION_CALL      /* take(target, text) tells what is wrong with the text, or NULL */
};

/** One option. A table of them is closed by an entry of zeroes. */
struct option_spec {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    uint8_t kind;     /* enum option_kind */
    void *target;
    const char *argument; /* what the help calls the value; NULL for FLAG and COUNT */
    const char *help;     /* NULL: understood, but not shown */
    const char *(*take)(void *target, const char *text);
};

enum { OPTIONS_ARGS_MAX = 16, OPTIONS_ERROR_SIZE = 256 };

/** What is left when the options are taken out, in order. */
struct option_args {
    const char *items[OPTIONS_ARGS_MAX];
    size_t count;
};

/**
 * Reads argv[1..argc-1]. Options and arguments may come in any order; "--" ends the options, "-" is an argument.
 * Returns true, or false with a sentence in `error` (OPTIONS_ERROR_SIZE bytes).
 */
bool options_parse(const struct option_spec *own, const struct option_spec *common, int argc, char **argv,
                   struct option_args *args, char *error);
/** Prints a table as help lines to stdout. */
void options_print(const struct option_spec *table);

#endif
