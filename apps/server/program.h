/**
 * What all server programs have in common: flags, configuration, fences, start, signals (SIGHUP reads the configuration again,
 * SIGTERM and SIGINT end in order, a second one at once), words to systemd, exit codes.
 */
#ifndef APPS_SERVER_PROGRAM_H
#define APPS_SERVER_PROGRAM_H

#include "../kith/options.h"
#include "guard.h"
#include "settings.h"

#include <jansson.h>
#include <kith/kith.h>

enum { SERVER_EXIT_DONE = 0, SERVER_EXIT_FAILED = 1, SERVER_EXIT_USAGE = 2 };

/** What one kind of server does where they differ. self: its own state. */
struct server_kind {
    const char *title;    /* of --version: "kith-relay" */
    const char *purpose;  /* the first lines of the help */
    const char *postlude; /* its last lines */
    /** Fills the configuration from file, environment and flags, anew each time. False: error. */
    bool (*configure)(void *self, char *error);
    /** 0: it could start with this configuration. Else a kith error, with text. */
    int (*check)(void *self);
    /** Prints the configuration as TOML. */
    void (*print)(const void *self);
    /** What it reads and writes after the start. */
    void (*add_paths)(const void *self, struct guard_paths *paths);
    /** Starts it with the configuration: a kith error, with text. */
    int (*start)(void *self);
    /** Logs what people want to know of a started server. */
    void (*tell)(const void *self);
    /** Fills the object that --json prints on stdout when it has started. */
    void (*describe)(const void *self, json_t *object);
    /**
     * Takes over what can change while it runs. False: error, and all is as before. *needs_restart: something else changed, too;
     * it says what, or NULL.
     */
    bool (*reload)(void *self, const char **needs_restart, char *error);
    /** True if all its threads have gone round since the last call. */
    bool (*is_alive)(void *self);
    /** Ends it in order; what it logs first. A kith error, with text: something was cut. */
    const char *farewell;
    int (*stop)(void *self);
};

/** A server program that runs. */
struct server {
    const char *name; /* what messages call it */
    const struct server_kind *kind;
    void *self;
    const char *config_file;
    bool is_checked, is_printed, is_json, is_quiet, has_no_guard, wants_help, wants_version;
    int verbose;
};

/** Runs with these arguments (argv[0] is skipped) and the kind's options until a signal ends it. Returns the exit code. */
int server_program(struct server *server, const struct option_spec *own, int argc, char **argv);

#endif
