/**
 * A TOML file bound to the fields of a struct by a table: what a key may hold, and where it goes. The same table prints the
 * outcome, so that no key can be missing there. A key that is in no table is an error, and every error names its line.
 */
#ifndef APPS_SERVER_SETTINGS_H
#define APPS_SERVER_SETTINGS_H

#include "texts.h"
#include "toml.h"

enum { SETTINGS_ERROR_SIZE = 512, SETTINGS_DAY_S = 86400 };

enum setting_kind {
    SETTING_BOOL,     /* bool */
    SETTING_TEXT,     /* char *, owned; not empty */
    SETTING_TEXTS,    /* struct texts: one text, or an array of them; none is empty */
    SETTING_ADDRESS,  /* struct kith_sockaddr: "IP:PORT" */
    SETTING_IP,       /* struct kith_sockaddr without a port: "IP" */
    SETTING_PORT,     /* uint16_t; 0: one of the system's choice */
    SETTING_RATE,     /* double, > 0 */
    SETTING_U64,      /* uint64_t */
    SETTING_U32,      /* uint32_t, > 0 */
    SETTING_SECONDS,  /* double, up to a day */
    SETTING_DURATION, /* uint64_t, ns: a text like "7days" or "1h 30m" */
    SETTING_CHOICE,   /* int: the value of one of the choices' names */
    SETTING_CALL      /* whatever take makes of it; printed by the program itself */
};

/** A name of a SETTING_CHOICE. A list is closed by one without a name. The first name of a value is the one that is printed. */
struct setting_choice {
    const char *name;
    int value;
};

/** One key. */
struct setting {
    const char *path; /* dotted */
    enum setting_kind kind;
    size_t offset; /* of the field in the target */
    const struct setting_choice *choices;
    /** CALL, and others that are read in a way of their own. False: error, as setting_fail makes it. */
    bool (*take)(void *field, const struct toml_value *value, char *error);
    bool is_secret; /* printed as "(secret)" */
};

/** All keys of a program. */
struct settings {
    const struct setting *items;
    size_t count;
    /** Called for each key that is known, before it is set; to see what the file has. NULL: not wanted. */
    void (*on_key)(void *target, const char *path);
    /** True for keys that are to be printed. NULL: all. */
    bool (*is_shown)(const void *target, const char *path);
};

/** Reads a file over what is there. False: `error` (SETTINGS_ERROR_SIZE bytes) says what is wrong in which line. */
bool settings_read(const struct settings *settings, void *target, const char *file, char *error);
/** Prints the fields as a TOML file: those that are set. */
void settings_print(const struct settings *settings, const void *target);
/** For SETTING_CALL: writes that something else was expected; returns false. */
bool setting_wrong(char *error, const struct toml_value *value, const char *expected);
/** For SETTING_CALL: "line N: key: " and the words; returns false. */
bool setting_fail(char *error, const struct toml_value *value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Reads "7days", "10s", "1h 30m": numbers with a unit from ns to years, as iroh-dns-server takes them. False: it is none. */
bool setting_duration_parse(const char *text, uint64_t *ns);
/** A variable of the environment; NULL: not there, or empty. */
const char *environment_text(const char *name);
/** Adds the lines of a file that are not empty. False: error: it cannot be read, or has none. */
bool texts_read(struct texts *texts, const char *file, const char *what, char *error);

#endif
