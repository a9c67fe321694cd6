/**
 * What all commands have in common: their options, the identity, the endpoint, errors and exit codes.
 */
#ifndef APPS_CLI_H
#define APPS_CLI_H

#include "loop.h"
#include "options.h"
#include "output.h"
#include <kith/kith.h>

/** Exit codes; the table of the manual page. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILED = 1,
    CLI_EXIT_USAGE = 2,
    CLI_EXIT_UNREACHABLE = 3, /* no answer in time, refused, another key, no protocol in common */
    CLI_EXIT_VERIFY = 4,      /* what arrived is not what was asked for */
    CLI_EXIT_FILES = 5,       /* not found, exists already, permission, no space */
    CLI_EXIT_INTERRUPTED = 130
};
enum { CLI_GO_ON = -1 }; /* of cli_parse: the command shall run */

enum {
    CLI_VIA_SIZE = KITH_ADDR_RELAY_SIZE + 8,
    CLI_BINDS_MAX = 16,
    CLI_PATH_SIZE = 4096,
    CLI_ALPN_SIZE_MAX = 255,
    CLI_DHT_NODES_MAX = 16
};

struct cli;
/** One command, as the list in main.c has it. */
struct cli_command {
    const char *name, *alias; /* alias: NULL or another name for it */
    const char *arguments;    /* for the usage line */
    const char *summary;      /* one line, for the list */
    const char *details;      /* paragraphs for --help; NULL: none */
    int (*run)(struct cli *cli, int argc, char **argv);
};

struct cli {
    const struct cli_command *command;
    bool json, quiet, wants_help;
    bool stdout_is_data; /* then JSON goes to stderr */
    int verbose;
    const char *key_file;
    const char *qlog_directory;
    struct kith_sockaddr binds[CLI_BINDS_MAX];
    size_t bind_count;
    struct kith_endpoint_relay relays[KITH_ENDPOINT_RELAYS_MAX]; /* --relay; their URLs are in relay_urls */
    char relay_urls[KITH_ENDPOINT_RELAYS_MAX][KITH_ADDR_RELAY_SIZE];
    size_t relay_count;
    bool no_relays, relay_only, no_relay_quic;
    uint16_t relay_quic_port; /* 0: the usual one, of relays with https */
    const char *relay_token, *relay_ca, *proxy, *no_proxy;
    struct kith_lookup_option lookups[KITH_ENDPOINT_LOOKUPS_MAX]; /* --lookup; their texts are argv's */
    size_t lookup_count;
    bool no_lookups;
    bool is_default;                              /* nobody named servers: those of n0 are used */
    bool has_new_key;                             /* whatever --key and IROH_SECRET say: who only asks needs no name */
    const char *dht_nodes[CLI_DHT_NODES_MAX + 1]; /* NULL at the end */
    size_t dht_node_count;
    struct kith_sockaddr dns_servers[KITH_ENDPOINT_DNS_SERVERS_MAX];
    size_t dns_server_count;
    const char *user_data;
    uint8_t publish;     /* enum kith_publish */
    uint64_t timeout_ns; /* for reaching the other side */
    struct option_args args;
    struct loop loop;
    bool has_loop;
    struct kith_endpoint *endpoint;
};

/**
 * Reads options and arguments (between args_min and args_max of them). Prints help or an error where that is due.
 * Returns CLI_GO_ON, or the exit code.
 */
int cli_parse(struct cli *cli, const struct option_spec *own, int argc, char **argv, size_t args_min, size_t args_max);
/** Adds "ADDR:PORT" to cli->binds: the `take` of an option; target is the struct cli. */
const char *cli_take_bind(void *target, const char *text);
/** The addresses of dumbpipe's --ipv4-addr and --ipv6-addr: that family there, the other one anywhere. */
const char *cli_take_ipv4(void *target, const char *text);
const char *cli_take_ipv6(void *target, const char *text);

/** The `take` of --relay, --lookup, --dns-server, --publish; target is the struct cli. */
const char *cli_take_relay(void *target, const char *text);
/** Adds n0's public relays. NULL, or what is wrong. */
const char *cli_take_n0_relays(struct cli *cli);
const char *cli_take_lookup(void *target, const char *text);
const char *cli_take_dns_server(void *target, const char *text);
const char *cli_take_publish(void *target, const char *text);
/**
 * After all options: variables of the environment stand in for those that were not given, and n0's public servers where neither
 * relays nor lookup services were named. CLI_GO_ON, or the exit code after telling what is wrong.
 */
int cli_finish_lookup(struct cli *cli);
/** What the options say about lookup services. */
void cli_lookup_options(struct cli *cli, struct kith_endpoint_options *options);

/** Tells what is wrong with the command line. Returns CLI_EXIT_USAGE. */
int cli_usage(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Tells "kith COMMAND: what: why" with the words of kith_error_last. Returns the exit code of `err`. */
int cli_fail(struct cli *cli, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
/** The same with the error of an operation. todo: what the user can do about it, or NULL. */
int cli_fail_op(struct cli *cli, const struct kith_op *op, const char *todo, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** The same with words of ours. */
int cli_fail_text(struct cli *cli, int err, const char *why, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** The same with an errno that tells of a file; todo as above, NULL: the usual advice. */
int cli_fail_file(struct cli *cli, int problem, const char *todo, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** The code of an errno that tells of a file. */
int cli_err_of(int problem);
/** What an error code means for the shell. */
int cli_exit_of(int err);
/** Ends the program when there is no memory: what a command line tool can do. */
void *cli_alloc(size_t size);

/** Path of the key file: --key, else the default. path holds CLI_PATH_SIZE bytes. False if there is no home directory. */
bool cli_key_path(const struct cli *cli, char *path);
/** $XDG_CACHE_HOME/kith or ~/.cache/kith. False if there is no home directory. */
bool cli_cache_path(char *path);
/** The identity of a command that dials or serves: --key, IROH_SECRET, or a new one. 0 or the exit code; wipe it afterwards. */
int cli_secret(struct cli *cli, struct kith_secret *secret);
/** Makes the loop and an endpoint with these protocols. 0, or the exit code after telling why. */
int cli_open(struct cli *cli, const struct kith_slice *alpns, size_t alpn_count);
/** Closes the endpoint gracefully, at most so long, and ends the loop. Fine when nothing is open. */
void cli_close(struct cli *cli, uint64_t limit_ns);
/**
 * The addresses of the endpoint; with --relay it waits until a relay lets us in, or tells that none does. 0, or the exit code
 * after telling that others cannot reach us at all (--relay-only without a relay).
 */
int cli_addr(struct cli *cli, struct kith_addr *addr);

/** The other side of a command that dials. */
struct cli_remote {
    struct kith_addr addr;
    char name[KITH_ID_SHORT_SIZE];
};
/** A ticket or an id, with the addresses given by --addr added. 0, or the exit code after telling why. */
int cli_remote_parse(struct cli *cli, const char *text, const struct kith_sockaddr *extra, size_t extra_count,
                     struct cli_remote *out);
/** Dials and waits for the handshake. 0, or the exit code after telling why. */
int cli_connect(struct cli *cli, const struct cli_remote *remote, struct kith_slice alpn, struct kith_conn **out);
enum { CLI_NO_ANSWER_SIZE = 640 };
/**
 * Why nobody answered in time: the relay of the other side that could not be reached, or the usual. text holds
 * CLI_NO_ANSWER_SIZE bytes. Returns text.
 */
const char *cli_no_answer(struct cli *cli, const struct cli_remote *remote, char *text);
/** Where a path leads: an address, or "relay URL". text holds CLI_VIA_SIZE bytes. Returns text. */
const char *cli_via(struct kith_conn *conn, const struct kith_sockaddr *remote, char *text);
/** Prints address, round trip and packet size of a connection's paths on stderr. */
void cli_note_paths(struct kith_conn *conn);

/** A list of socket addresses from a repeated option. */
struct cli_addrs {
    struct kith_sockaddr items[KITH_ADDR_IPS_MAX];
    size_t count;
};
/** The `take` of --addr; target is a struct cli_addrs. */
const char *cli_take_addr(void *target, const char *text);

static inline struct kith_slice cli_slice(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, __builtin_strlen(text) };
}

#endif
