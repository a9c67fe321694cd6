/**
 * Reads a TOML file (toml++ behind a C function). Tables are flattened: each value comes with its dotted path and its line, in the
 * order of the paths.
 */
#ifndef APPS_SERVER_TOML_H
#define APPS_SERVER_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum toml_kind {
    TOML_BOOL,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_STRING,
    TOML_STRINGS,     /* an array of strings; an empty array too */
    TOML_EMPTY_TABLE, /* a table without anything in it, which has a meaning of its own for some */
    TOML_OTHER        /* dates, arrays of other things: nothing that is wanted anywhere */
};

enum { TOML_ERROR_SIZE = 512 };

/** One value; everything is borrowed until the callback returns. */
struct toml_value {
    const char *path; /* "limits.client.rx.bytes_per_second" */
    int line;
    enum toml_kind kind;
    bool boolean;
    int64_t integer;
    double number; /* INTEGER too */
    const char *text;
    const char *const *texts;
    size_t text_count;
};

/**
 * Calls `take` for each value until it returns false, which makes the function return false with what `take` left in `error`
 * (TOML_ERROR_SIZE bytes). False also if the file cannot be read or is no TOML: `error` says where and why.
 */
bool toml_read(const char *file, bool (*take)(void *ctx, const struct toml_value *value, char *error), void *ctx,
               char *error);

#ifdef __cplusplus
}
#endif
#endif
