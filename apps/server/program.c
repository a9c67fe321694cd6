/* What all server programs have in common. */
#include "program.h"

#include "log.h"
#include "notify.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int fail(const struct server *server, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(const struct server *server, int code, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (server->is_json)
        log_line(LOG_LEVEL_ERROR, "%s", text);
    else
        fprintf(stderr, "%s: %s\n", server->name, text);
    return code;
}

/* ---- Flags ---- */

static bool parse(struct server *server, const struct option_spec *own, int argc, char **argv, char *error)
{
    const struct option_spec common[] = {
        { "config-path", 'c', OPTION_TEXT, &server->config_file, "FILE", "TOML file", NULL },
        { "config", 0, OPTION_TEXT, &server->config_file, "FILE", NULL, NULL },
        { "check-config", 0, OPTION_FLAG, &server->is_checked, NULL, "say whether it could start, and end", NULL },
        { "print-config", 0, OPTION_FLAG, &server->is_printed, NULL, "print what it would run with, and end", NULL },
        { "no-sandbox", 0, OPTION_FLAG, &server->has_no_guard, NULL, "without landlock and seccomp", NULL },
        { "json", 0, OPTION_FLAG, &server->is_json, NULL, "JSON: the start on stdout, logs on stderr", NULL },
        { "quiet", 'q', OPTION_FLAG, &server->is_quiet, NULL, "log warnings and errors only", NULL },
        { "verbose", 'v', OPTION_COUNT, &server->verbose, NULL, "log more; repeat for still more", NULL },
        { "version", 'V', OPTION_FLAG, &server->wants_version, NULL, "print the version, and end", NULL },
        { "help", 'h', OPTION_FLAG, &server->wants_help, NULL, "this text", NULL },
        { 0 },
    };
    struct option_args args;

    if (!options_parse(own, common, argc, argv, &args, error))
        return false;
    if (args.count != 0) {
        snprintf(error, OPTIONS_ERROR_SIZE, "'%.80s' is one argument too many", args.items[0]);
        return false;
    }
    if (server->wants_help) {
        printf("Usage: %s [OPTIONS]\n\n%s\n\nOptions\n", server->name, server->kind->purpose);
        options_print(own);
        options_print(common);
        printf("\n%s\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration. More: man %s\n",
               server->kind->postlude, server->kind->title);
    }
    return true;
}

static void start_log(const struct server *server)
{
    const char *filter = getenv("RUST_LOG");
    int level = LOG_LEVEL_INFO;

    if (server->is_quiet)
        level = LOG_LEVEL_WARN;
    else if (server->verbose != 0)
        level = server->verbose > 1 ? LOG_LEVEL_TRACE : LOG_LEVEL_DEBUG;
    else if (filter != NULL)
        log_level_parse(filter, &level);
    log_init(level, server->is_json);
}

/* ---- What it tells when it runs ---- */

static void print_started(const struct server *server)
{
    json_t *object = json_object();
    char *line;

    json_object_set_new(object, "event", json_string("listening"));
    json_object_set_new(object, "version", json_string(kith_version()));
    server->kind->describe(server->self, object);
    if ((line = json_dumps(object, JSON_COMPACT)) != NULL)
        printf("%s\n", line);
    fflush(stdout);
    free(line);
    json_decref(object);
}

/* ---- Signals ---- */

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

static void reload(struct server *server)
{
    const char *needs_restart = NULL;
    char error[SETTINGS_ERROR_SIZE];

    notify_reloading();
    log_line(LOG_LEVEL_INFO, "reading the configuration again");
    if (!server->kind->reload(server->self, &needs_restart, error)) {
        log_line(LOG_LEVEL_ERROR, "the old configuration stays: %s", error);
    } else {
        if (needs_restart != NULL)
            log_line(LOG_LEVEL_WARN, "%s", needs_restart);
        log_line(LOG_LEVEL_INFO, "the new configuration is in effect");
    }
    notify("READY=1");
}

/* Goes on until a signal asks for the end. */
static int serve(struct server *server, int signals)
{
    uint64_t watchdog_ns = notify_watchdog_ns();
    struct pollfd poll_on = { .fd = signals, .events = POLLIN };
    struct signalfd_siginfo info;

    for (;;) {
        int ready = poll(&poll_on, 1, watchdog_ns != 0 ? (int)(watchdog_ns / KITH_NS_PER_MS) : -1);

        if (ready < 0 && errno != EINTR)
            return fail(server, SERVER_EXIT_FAILED, "poll: %s", strerror(errno));
        if (ready == 0 && server->kind->is_alive(server->self))
            notify("WATCHDOG=1");
        if (ready <= 0 || read(signals, &info, sizeof info) != (ssize_t)sizeof info)
            continue;
        if (info.ssi_signo != SIGHUP)
            return SERVER_EXIT_DONE;
        reload(server);
    }
}

static void stop(struct server *server)
{
    sigset_t set;

    notify("STOPPING=1");
    log_line(LOG_LEVEL_INFO, "ending: %s (a second signal ends at once)", server->kind->farewell);
    fill_signals(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL); /* they have their default action from here on */
    if (server->kind->stop(server->self) != 0)
        log_line(LOG_LEVEL_WARN, "%s: the rest was cut", kith_error_last()->text);
    log_line(LOG_LEVEL_INFO, "ended");
}

/* ---- The whole ---- */

/* Directories are made, whether there is a fence or not. */
static void fence_files(const struct server *server)
{
    struct guard_paths paths = { .readable_count = 0 };

    guard_add_readable(&paths, server->config_file);
    guard_add_readable(&paths, getenv("SSL_CERT_FILE"));
    server->kind->add_paths(server->self, &paths);
    if (server->has_no_guard)
        return;
    guard_files(&paths);
    guard_rings();
}

static int run(struct server *server)
{
    int signals, code;
    sigset_t set;

    fill_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before any thread: none of them gets one by its default action */
    if ((signals = signalfd(-1, &set, SFD_CLOEXEC)) < 0)
        return fail(server, SERVER_EXIT_FAILED, "signals cannot be waited for: %s", strerror(errno));
    fence_files(server);
    if (server->kind->start(server->self) != 0) {
        close(signals);
        return fail(server, SERVER_EXIT_FAILED, "%s", kith_error_last()->text);
    }
    if (!server->has_no_guard)
        guard_calls();
    server->kind->tell(server->self);
    if (server->is_json)
        print_started(server);
    notify("READY=1");
    code = serve(server, signals);
    stop(server);
    close(signals);
    return code;
}

/**
 * Buffers live from the sealing of a record until the kernel has taken it. By default glibc gives the end of its heap back as
 * soon as 128 KiB of it are free, and takes it again for the next one: with TLS that costs a third of the relay's time in page
 * faults. An idle client still holds nothing: what is kept is the process's, once for each thread.
 */
static void keep_heap(void)
{
#ifdef __GLIBC__
    enum { KEPT = 16 << 20, STEP = 1 << 20 };

    /* Refused by an allocator that takes its place: then it has rules of its own. */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT);
    (void)mallopt(M_TOP_PAD, STEP);
#endif
}

static int with_config(struct server *server)
{
    char error[SETTINGS_ERROR_SIZE];

    if (!server->kind->configure(server->self, error))
        return fail(server, SERVER_EXIT_USAGE, "%s", error);
    if (server->is_checked) {
        if (server->kind->check(server->self) != 0)
            return fail(server, SERVER_EXIT_USAGE, "%s", kith_error_last()->text);
        printf("the configuration is fine\n");
        return SERVER_EXIT_DONE;
    }
    if (server->is_printed) {
        server->kind->print(server->self);
        return SERVER_EXIT_DONE;
    }
    keep_heap();
    guard_process();
    return run(server);
}

int server_program(struct server *server, const struct option_spec *own, int argc, char **argv)
{
    char error[OPTIONS_ERROR_SIZE];
    bool is_parsed = parse(server, own, argc, argv, error);
    int code;

    start_log(server); /* how errors look is among what was parsed */
    if (!is_parsed) {
        code = fail(server, SERVER_EXIT_USAGE, "%s (%s --help tells more)", error, server->name);
    } else if (server->wants_help) {
        code = SERVER_EXIT_DONE;
    } else if (server->wants_version) {
        printf("%s %s\n", server->kind->title, kith_version());
        code = SERVER_EXIT_DONE;
    } else {
        code = with_config(server);
    }
    return fflush(stdout) == 0 ? code : SERVER_EXIT_FAILED;
}
